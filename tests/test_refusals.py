"""Settings that cannot be trained are refused in one line, before there is a run folder, with what would work."""

import numpy as np
import pytest
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

import tiny
from firstlight import cli, spec
from firstlight.errors import InputError

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
        ("deepcluster(prototypes=7)", CNN, [], "allowed are 2 to 6 (the pictures)"),
        ("swav(prototypes=1)", CNN, [], "2 and more"),
        ("dino(prototypes=1)", CNN, [], "nearest: 2"),
        ("ibot(prototypes=-3)", TINY_VIT, [], "nearest: 2"),
        ("esvit(bottleneck=0)", TINY_VIT, [], "bottleneck=0: allowed is 1 and more"),
        ("instance(dim=-4)", CNN, [], "dim=-4: allowed is 1 and more"),
        ("instance(pictures=5)", CNN, [], "the training set has 6 pictures"),
        ("mae(depth=-1)", TINY_VIT, [], "depth=-1"),
        ("pirl", "mixer_s16_224", [], "choose a resnet or vit_"),
        ("dino(small=8)", "mixer_s16_224", [], "choose a resnet"),
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
