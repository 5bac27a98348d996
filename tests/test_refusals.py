"""Settings that cannot be trained are refused in one line, before there is a run folder, with what would work."""

import math
import re
import typing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

import tiny
from firstlight import cli, ranks, spec
from firstlight.data import Subset
from firstlight.data.source import open_pictures
from firstlight.errors import InputError
from firstlight.events import drain
from firstlight.parts.bank import Bank
from firstlight.ranges import Range
from firstlight.recipe import _choose

CNN, TINY_VIT = "test_resnet", tiny.VIT
names = pytest.mark.parametrize("name", spec.names("methods"))


@pytest.fixture
def pictures(tmp_path):
    """Six pictures of noise in two classes."""
    random = np.random.default_rng(0)
    for number in range(6):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("method", "model", "more", "said"),
    [
        ("ibot", CNN, [], "choose a vit_"),
        ("dinov2", CNN, [], "choose a vit_"),
        ("mae", CNN, [], "mae needs a ViT, such as"),
        ("moco(queue=10, groups=1)", CNN, [], "must be a multiple of the batch (4); nearest: 8"),
        ("moco(queue=2, groups=1)", CNN, [], "must be a multiple of the batch (4); nearest: 4"),
        ("moby(queue=2)", CNN, [], "must be a multiple of the batch (4); nearest: 4"),
        ("moco(queue=8, groups=3)", CNN, [], "groups=3 must divide the pictures of a pass (4)"),
        ("moco(queue=8, groups=2)", CNN, ["--accumulate", "2"], "must divide the pictures of a pass (2)"),
        ("byol", CNN, ["--accumulate", "4"], "batch=4 in 4 parts: batch norm needs at least 2 pictures in a pass; nea"),
        (
            "dinov2",
            TINY_VIT,
            ["--batch", "1"],
            "batch=1: the loss needs at least 2 pictures in a pass; nearest: batch=2",
        ),
        ("simclr", CNN, ["--accumulate", "3"], "nearest: batch=6"),
        ("deepcluster(prototypes=7)", CNN, [], "allowed are 2 to 6 (the pictures); nearest: prototypes=6"),
        ("deepcluster", CNN, [], "deepcluster(prototypes=100): a cluster has at least one picture"),
        ("swav(prototypes=1)", CNN, [], "prototypes=1): expected int from 2"),
        ("dino(prototypes=1)", CNN, [], "nearest: 2"),
        ("ibot(prototypes=-3)", TINY_VIT, [], "nearest: 2"),
        ("esvit(bottleneck=0)", TINY_VIT, [], "bottleneck=0): expected int from 2"),
        ("instance(dim=-4)", CNN, [], "dim=-4): expected int from 2"),
        ("instance(pictures=5)", CNN, [], "the training set has 6 pictures"),
        ("mae(depth=-1)", TINY_VIT, [], "depth=-1"),
        ("mae(maks=0.5)", TINY_VIT, [], "no setting 'maks'; did you mean 'mask'?"),
        ("mae(mask=1e999)", TINY_VIT, [], "mae(mask=inf)"),
        ("mae", TINY_VIT.replace("patch_size=8", "patch_size=32"), [], "a larger size or a smaller patch_size"),
        ("beit", TINY_VIT, [], "tokenizer='': there is none; train one with"),
        ("simmim(unit=12)", TINY_VIT, [], "nearest: 8"),
        ("sit", TINY_VIT.replace("patch_size=8", "patch_size=16"), [], "take a vit_"),
        ("pirl", "mixer_s16_224", [], "choose a resnet or vit_"),
        ("dino(small=8)", "mixer_s16_224", [], "choose a resnet"),
        ("rotation(scale=(0.2, 1.5))", CNN, [], "nearest: (0.2, 1)"),
        (
            "rotation",
            CNN,
            ["--batch", "1"],
            "batch=1: batch norm needs at least 2 pictures in a pass; nearest: batch=2",
        ),
        ("context(neighbours=9)", CNN, [], "from 1 to 8, default"),
        ("context(gap=1e999)", CNN, [], "from 0 to 2, default"),
        ("context(colour='gray')", CNN, [], "expected one of 'drop', 'project', 'keep'"),
        ("context(tile=200)", CNN, [], "allowed is up to 512; nearest: tile=192"),
        ("context", "mixer_s16_224", [], "choose a resnet or vit_"),
        ("jigsaw(permutations=1)", CNN, [], "allowed are 2 to 362,880"),
        ("jigsaw(permutations=400_000)", CNN, [], "allowed are 2 to 362,880"),
        ("jigsaw(permutation=10)", CNN, [], "did you mean 'permutations'?"),
        ("jigsaw(rule='max')", CNN, [], "'max_min' and 'max_avg'"),
        ("jigsaw(tile=-1)", CNN, [], "nearest: 1"),
        ("cutpaste(layers=-1)", CNN, [], "nearest: 0"),
        ("cutpaste(hidden=100_000)", CNN, [], "nearest: 65536"),
        ("colorize(side=64)", CNN, [], "nearest: 32"),
        ("colorize(balance=0)", CNN, [], "allowed is above 0 to 1; nearest: 0.1"),
        ("colorize", CNN, ["--channels", "1"], "grey pictures have no colours to learn from; set channels=3"),
        ("split_brain", CNN, ["--channels", "1"], "grey pictures have no colours to split off; set channels=3"),
        ("split_brain(side=33)", CNN, [], "nearest: 32"),
        ("cmc", CNN, ["--channels", "1"], "grey pictures have no colours to compare with; set channels=3"),
        ("cmc(temperature=0)", CNN, [], "nearest: 0.001"),
        ("cmc(momentum=1)", CNN, [], "cmc(momentum=1): allowed is 0 to below 1; nearest: momentum=0.99"),
        ("cmc(pictures=5)", CNN, [], "the training set has 6 pictures"),
        ("autoencoder(noise=1)", CNN, [], "try 0.25"),
        ("inpaint(hole=1)", CNN, [], "allowed is 1 to 31 px; try 0.5"),
        ("inpaint(border=0)", CNN, [], "allowed is above 0, and 0 to below 1; try 10 and 0.001"),
        ("cpc(steps=5)", CNN, [], "allowed are 1 <= first <= steps < grid"),
        ("cpc(grid=200)", CNN, [], "allowed is up to 512"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(method, model, more, said, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    how = ["--size", "32", "--steps", "2", "--batch", "4", "--precision", "fp32", "--device", "cpu", "--out", str(out)]
    assert cli.run(["pretrain", "--data", str(pictures), "--method", method, "--model", model, *how, *more]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("firstlight: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not out.exists()


MASKED = ("beit", "cmae", "dvae", "igpt", "mae", "masked_patch", "multimae", "simmim", "sit")
NUMBERS = [
    (name, setting)
    for name in MASKED
    for setting, about in spec.settings_of(spec.find("methods", name, tiny.Method)).items()
    if type(about.default) in (int, float) or (about.default is None and setting != "objective")
]


@pytest.mark.parametrize(("name", "setting"), NUMBERS)
@pytest.mark.parametrize("value", [-1, 10**12, math.nan, math.inf, "12", True])
def test_numbers_that_nothing_can_have_are_refused(name, setting, value):
    with pytest.raises(InputError, match=rf"{name}\({setting}=.*(from|expected|allowed)"):
        tiny.build(name, **{setting: value})
    if not isinstance(value, str):
        encoder = tiny.build("classify").encoder
        own = {"tokenizer": tiny.tokenizer()} if name == "beit" else {}
        with pytest.raises(InputError, match=setting):
            spec.find("methods", name, tiny.Method)(encoder, **own, **{setting: value})


@pytest.mark.parametrize(("name", "setting"), [pair for pair in NUMBERS if pair[1] in ("mask", "visible")])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_masks_that_hide_all_or_nothing_are_refused(name, setting, share):
    with pytest.raises(InputError, match=rf"{name}\({setting}={share}\).*(nearest|try|above 0 and below 1)"):
        tiny.build(name, **{setting: share})


@pytest.mark.parametrize("method", ["colorize", "split_brain", "cmc"])
def test_pictures_in_grey_cannot_teach_colours(method, tmp_path, capsys):
    """Known only when the pictures are looked at, when there is a run folder: it is taken away again."""
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        Image.fromarray(random.integers(0, 256, (32, 32), np.uint8)).save(tmp_path / "pictures" / f"{number}.png")
    out = tmp_path / "run"
    how = ["--size", "32", "--steps", "2", "--batch", "4", "--precision", "fp32", "--device", "cpu", "--out", str(out)]
    given = ["pretrain", "--data", str(tmp_path / "pictures"), "--method", method, "--model", CNN, *how]
    assert cli.run(given) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("firstlight: ")]
    assert len(lines) == 1
    assert f"{method}: the pictures are all grey" in lines[0]
    assert not out.exists()


@pytest.mark.parametrize("name", ["instance", "pirl", "cmc"])
def test_memories_say_whose_they_are_and_what_would_work(name):
    with pytest.raises(InputError, match=rf"^{name}\(pictures=0\): allowed is how many .*; nearest: pictures=1$"):
        tiny.build(name, pictures=0)
    with pytest.raises(InputError, match=rf"^{name}\(momentum=1\): allowed is 0 to below 1; nearest: momentum=0\.99$"):
        tiny.build(name, momentum=1)
    method = tiny.build(name, momentum=0.99, pictures=1)
    more = SimpleNamespace(pictures=range(6))
    banks = [module for module in method.modules() if isinstance(module, Bank)]
    assert len(banks) == 1 + (name == "cmc")
    for bank in banks:
        with pytest.raises(InputError, match=rf"^{name}\(pictures=1\): the training set has 6; nearest: pictures=6$"):
            drain(bank.fill(lambda batch: batch, more))


def test_clusters_say_what_would_work():
    with pytest.raises(InputError, match=r"^deepcluster\(pictures=1\): allowed is how many .*; nearest: pictures=2$"):
        tiny.build("deepcluster", tiny.RESNET, pictures=1)
    with pytest.raises(InputError, match=r"^deepcluster\(prototypes=100\): .*\b2 to 60 .*; nearest: prototypes=60$"):
        tiny.build("deepcluster", tiny.RESNET, pictures=60, prototypes=100)
    method = tiny.build("deepcluster", tiny.RESNET, pictures=60, prototypes=60)
    with pytest.raises(InputError, match=r"^deepcluster\(pictures=60\): the training set has 6; nearest: pictures=6$"):
        method.clusters.check(6)


@names
def test_passes_too_small_for_a_method_are_refused(name):
    try:
        method = tiny.build(name, tiny.RESNET)
    except InputError:
        method = tiny.build(name)
    if method.least == 1 and not any(isinstance(module, _BatchNorm) for module in method.modules()):
        method.check(1)  # nothing is compared
        return
    for batch, parts in ((1, 1), (2, 2), (6, 6)):
        with pytest.raises(InputError, match=rf"batch={batch}.* at least 2 pictures in a pass"):
            method.check(batch, parts)


@names
@pytest.mark.parametrize("setting", ["hidden", "dim", "bottleneck", "prototypes", "temperature", "layers"])
def test_settings_that_no_layer_can_have_are_refused(name, setting):
    default = spec.settings_of(spec.find("methods", name, tiny.Method)).get(setting)
    if default is None:
        return
    value = -0.1 if setting == "temperature" else -1
    with pytest.raises(InputError, match=rf"{value}\b"):
        tiny.build(name, **{setting: value})


# What joint-embedding methods, and the settings around every method, refuse.

BARE = {"pictures", "directions", "categories", "classes", "fresh", "has_depth"}
"""worked out from the data, or checked by hand"""


def ranges_of(hint):
    """Every range that a type names, with where it stands: (2, range) is that of a tuple's third number."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return [(0, limits) for limits in inside[1:] if isinstance(limits, Range)]
    if origin is tuple:
        return [(place, limits) for place, item in enumerate(inside) for _, limits in ranges_of(item)]
    return [found for option in inside for found in ranges_of(option)] if origin is not typing.Literal else []


def numbers():
    for name in spec.names("methods"):
        kind = spec.find("methods", name, tiny.Method)
        for setting, hint in typing.get_type_hints(kind.__init__, include_extras=True).items():
            if any(word in str(hint) for word in ("int", "float")) and setting not in BARE:
                yield name, setting, hint


@pytest.mark.parametrize(("name", "setting", "hint"), list(numbers()))
def test_every_number_has_a_range_and_is_held_to_it(name, setting, hint):
    limits = ranges_of(hint)
    assert limits, f"{name}({setting}): say in its type what it may be, see ranges.py"
    place, (least, most) = limits[-1][0], (limits[-1][1].least, limits[-1][1].most)
    kind = spec.find("methods", name, tiny.Method)
    whole = spec.settings_of(kind)[setting].default
    whole = (0,) * (place + 1) if whole is None else whole
    for bad, nearest in ((least - 1, least), (most + 1, most), (math.nan, None), ("x", None)):
        value = (*whole[:place], bad, *whole[place + 1 :]) if isinstance(whole, tuple) and place else bad
        value = (bad, *whole[1:]) if isinstance(whole, tuple) and not place and len(limits) > 1 else value
        shown = re.escape(f"{name}({setting}=") + ".*" + ("expected" if nearest is None else f"nearest: .*{nearest}")
        with pytest.raises(InputError, match=shown):
            kind(None, **{setting: value})  # before it looks at the encoder


def test_a_method_made_by_its_class_refuses_the_same():
    from firstlight.methods.byol import BYOL

    encoder = tiny.build("byol").encoder
    with pytest.raises(InputError, match=r"byol\(momentum=1\.5\): expected float from 0 to 1, default 0\.9; nea"):
        BYOL(encoder, momentum=1.5)
    assert BYOL(encoder=encoder, hidden=8, dim=4, momentum=1).target.start == 1


@pytest.mark.parametrize("error", [RuntimeError("CPUAllocator: can't allocate memory"), MemoryError(), None])
def test_what_does_not_fit_into_memory_is_refused(error, monkeypatch):
    def full(*size, **_):
        raise error or RuntimeError("something else")

    monkeypatch.setattr(torch, "randn", full)
    refused = pytest.raises(InputError, match=r"moco\(.*queue=1000000\): there is not enough memory")
    with refused if error else pytest.raises(RuntimeError, match="something else"):
        tiny.build("moco", queue=1_000_000)


def told(data, method, tmp_path, capsys, *more):
    """The one line with which a training is refused, and nothing is left of it."""
    out = tmp_path / "run"
    how = ["--size", "32", "--steps", "2", "--batch", "4", "--precision", "fp32", "--device", "cpu", "--out", str(out)]
    assert cli.run(["pretrain", "--data", str(data), "--method", method, "--model", CNN, *how, *more]) == 2
    assert not out.exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("firstlight: ")]
    return line


@pytest.mark.parametrize(("method", "more", "said"), [
    ("swav(queue=10)", [], "swav(queue=10): must be a multiple of the batch (4); nearest: 8"),
    ("swav(queue=2)", [], "nearest: 4"),
    ("supcon", ["--batch=1", f"--model={TINY_VIT}"], "the loss needs at least 2 pictures in a pass; nearest: batch=2"),
    ("supcon(categories=3)", [], "the training set has 2 classes; leave the setting out"),
    ("simclr(layers=2, keep=2)", [], "keep is below layers; nearest: 1"),
    ("simclr(temprature=1)", [], "did you mean 'temperature'?"),
    ("moco(version=3)", [], "one of 1, 2"),
    ("moco(version=True)", [], "one of 1, 2"),
    ("byol(momentum=2.0)", [], "expected float from 0 to 1, default 0.9; nearest: 1"),
    ("barlow(off_diagonal=1e999)", [], "barlow(off_diagonal=inf): expected float from 0 to 1,000"),
    ("dino(teacher_temperature=(0.04, 0))", [], "nearest: (0.04, 0.001)"),
    ("simclr(hidden=0)", [], "expected int from 1 to 65,536 or None, default None; nearest: 1"),
    ("simclr", ["--warmup=2.0"], "warmup=2.0): expected float from 0 to 1, default 0.05; nearest: 1"),
    ("simclr", ["--warmup=nan"], "pretrain(warmup=nan): expected float"),
    ("simclr", ["--lr=inf"], "pretrain(lr=inf): expected float"),
    ("simclr", ["--lr=1e9"], "nearest: 1000000"),
    ("simclr", ["--weight-decay=-1"], "nearest: 0"),
    ("simclr", ["--save-every=0"], "save_every must be at least 1, got 0"),
    ("simclr", ["--seed=100000000000000000000"], "seed=100000000000000000000): expected int from"),
])  # fmt: skip
def test_a_joint_embedding_is_refused_in_one_line(method, more, said, pictures, tmp_path, capsys):
    assert said in told(pictures, method, tmp_path, capsys, *more)


def test_too_few_pictures_and_classes_are_refused(pictures, tmp_path, capsys):
    for path in sorted((pictures / "b").iterdir()):
        path.unlink()
    assert "pictures of fewer than two classes" in told(pictures, "supcon", tmp_path, capsys), "one class is empty"
    for path in sorted((pictures / "a").iterdir())[1:]:
        path.unlink()
    assert "has 1 picture;" in told(pictures, "simclr", tmp_path, capsys)
    few = ("--categories", "1", "--instances", "4")
    assert "--categories 2 and more; nearest: 2" in told("line", "classify", tmp_path, capsys, *few)
    few = ("--categories", "3", "--instances", "4")
    assert "has 3 classes" in told("line", "classify(categories=2)", tmp_path, capsys, *few)


def test_a_class_whose_pictures_were_all_held_out_is_none(pictures):
    both = drain(open_pictures(pictures, size=32))
    left = Subset(both, np.flatnonzero(both.labels == 0))
    assert len(left.classes) == 2
    with pytest.raises(InputError, match="pictures of fewer than two classes"):
        drain(_choose.labelled(left, "supcon", str(pictures)))
    assert drain(_choose.labelled(both, "supcon", str(pictures))) is both


def test_more_ranks_than_pictures_in_a_batch_are_refused(monkeypatch):
    monkeypatch.setattr(ranks, "world", lambda: 8)
    for batch, nearest in ((4, 8), (12, 16), (21, 24)):
        with pytest.raises(InputError, match=rf"batch={batch}: 8 process.*nearest: batch={nearest}"):
            tiny.build("moco", queue=24).check(batch)
    with pytest.raises(InputError, match="nearest: batch=16"):
        tiny.build("simclr").check(2, 2)
    tiny.build("simclr").check(16, 2)
