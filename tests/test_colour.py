"""An encoder's second network: what each sees, that both are kept to the bit, and what others make of the folder."""

import copy
import json
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import firstlight
import tiny
from firstlight import cli
from firstlight.classifier import load_classifier
from firstlight.encoder import Encoder
from firstlight.errors import CorruptError, InputError
from firstlight.methods import Optimisation
from firstlight.methods.classify import Classify
from firstlight.runs import read_json
from firstlight.train.optimisers import parameter_groups
from firstlight.views.lab import as_colours, as_grey, lab_of
from firstlight.views.random import uniforms
from tiny_training import same

MODELS = pytest.mark.parametrize("model", [tiny.VIT, tiny.RESNET])
PLAIN = "resnet10t"


def divided(model: str = tiny.RESNET, size: int = 32) -> Encoder:
    """Two networks whose running statistics are no longer those they began with."""
    torch.manual_seed(0)
    encoder = Encoder(model, size=size)
    encoder.add_colour()
    encoder(pictures())
    return encoder


def pictures(count: int = 4) -> torch.Tensor:
    return uniforms(torch.arange(count), 3 * 32 * 32, 0).view(count, 3, 32, 32) * 2 - 1


@MODELS
@torch.no_grad()
def test_features_tokens_and_maps_stand_side_by_side(model):
    encoder, x = divided(model).eval(), pictures()
    lab = lab_of(x, 0.5, 0.5)
    light, colours = as_grey(lab, 0.5, 0.5), as_colours(lab)
    alone = Encoder(model, size=32).eval()
    alone.net = encoder.net
    second = encoder.colour
    assert second.net is not encoder.net
    assert not torch.equal(next(second.net.parameters()), next(encoder.net.parameters())), "its weights are its own"

    assert (encoder.width, encoder.token_width) == (2 * alone.width, 2 * alone.token_width)
    assert (encoder.regions, encoder.prefix, encoder.patch) == (alone.regions, alone.prefix, alone.patch)
    assert torch.equal(encoder(x), torch.cat([alone(light), second(colours)], 1))
    assert torch.equal(encoder.tokens(x), torch.cat([alone.tokens(light), second.tokens(colours)], 2))
    pooled, tokens = encoder.pooled_and_tokens(x)
    assert torch.equal(pooled, encoder(x))
    assert torch.equal(tokens, encoder.tokens(x))
    expected = [torch.cat(maps, 1) for maps in zip(alone.maps(light), second.maps(colours))]
    assert all(torch.equal(a, b) for a, b in zip(encoder.maps(x), expected, strict=True))


@torch.no_grad()
def test_kept_patches_are_those_of_both():
    encoder, x = divided(tiny.VIT).eval(), pictures()
    keep = torch.tensor([[3, 1]]).expand(4, -1)
    assert encoder.tokens(x, keep).shape == (4, 3, encoder.token_width)
    everything = torch.arange(encoder.patches)[None].expand(4, -1)
    torch.testing.assert_close(encoder.tokens(x, everything), encoder.tokens(x))


@MODELS
def test_both_are_ordered_alike_and_rest_alike(model):
    encoder = divided(model)
    plain = Encoder(model, size=32)
    assert encoder.layers == plain.layers
    for name, _ in plain.named_parameters():
        assert encoder.layer_of(f"colour.{name}") == encoder.layer_of(name) == plain.layer_of(name)
    assert encoder.undecayed == plain.undecayed | {f"colour.{name}" for name in plain.undecayed}
    encoder.add_neck(24, 1)
    assert encoder.layers == plain.layers + 1 == encoder.layer_of("neck.0.weight")


def test_rates_and_frozen_patches():
    encoder = divided(tiny.VIT)
    method = Classify(encoder, categories=3)
    groups = parameter_groups(method, Optimisation(layer_decay=0.5, patch_rate=0.2))
    rate = {id(p): group["rate"] for group in groups for p in group["params"]}
    named = {name: rate[id(p)] for name, p in method.named_parameters()}
    first = named["encoder.net.patch_embed.proj.weight"]
    assert first == 0.2 * 0.5**encoder.layers
    assert named["encoder.colour.net.patch_embed.proj.weight"] == first
    encoder.freeze_patches()
    resting = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert sorted(resting) == sorted(
        f"{part}net.patch_embed.proj.{kind}" for part in ("", "colour.") for kind in ("weight", "bias")
    )


@MODELS
@pytest.mark.parametrize("neck", [False, True])
@torch.no_grad()
def test_both_come_back_to_the_bit(model, neck, tmp_path):
    encoder = divided(model)
    if neck:
        encoder.add_neck(24, 1)
    encoder.mean, encoder.std = (0.4, 0.5, 0.6), 0.25
    encoder.eval().save(tmp_path / "run" / "encoder")
    again = Encoder.load(tmp_path / "run").eval()
    assert same(encoder, again)
    assert again.width == encoder.width
    assert torch.equal(again(pictures()), encoder(pictures()))
    assert all(p.requires_grad for p in again.parameters())

    config = json.loads((tmp_path / "run/encoder/config.json").read_text())
    assert config["format"] == 3, "a reader that knows of no second network must refuse"
    assert config["width"] == encoder.width
    net = timm.create_model(
        config["architecture"], num_classes=0, **config["model_args"],
        checkpoint_path=str(tmp_path / "run/encoder/model.safetensors"),
    )  # fmt: skip
    assert same(net, encoder.net), "the first network is timm's"


@torch.no_grad()
def test_the_first_network_alone(tmp_path):
    encoder = divided()
    encoder.add_neck(24, 1)
    encoder.eval().save(tmp_path)
    alone = Encoder.load(tmp_path, colour=False).eval()
    assert alone.colour is None
    assert alone.neck is None, "a neck is made for both"
    assert torch.equal(alone(pictures()), encoder.net(pictures()))
    without = Encoder.load(tmp_path, neck=False)
    assert without.colour is not None
    assert without.neck is None
    alone.save(tmp_path)
    assert read_json(tmp_path / "config.json")["format"] == 1
    assert Encoder.load(tmp_path).colour is None, "a file that is no longer named is not read"


@torch.no_grad()
def test_another_size(tmp_path):
    divided(tiny.VIT).save(tmp_path)
    larger = Encoder.load(tmp_path, size=64)
    assert larger.colour.size == 64
    assert larger(torch.zeros(1, 3, 64, 64)).shape == (1, larger.width)


def test_what_cannot_be_divided_is_refused(tmp_path):
    encoder = divided()
    with pytest.raises(InputError, match="second network already; load it with colour=False"):
        encoder.add_colour()
    with pytest.raises(InputError, match=r"channels=1.*set channels=3"):
        Encoder(tiny.RESNET, size=32, channels=1).add_colour()
    necked = Encoder(tiny.RESNET, size=32)
    necked.add_neck(24, 1)
    with pytest.raises(InputError, match=r"has a neck already.*neck=False"):
        necked.add_colour()
    vit = divided(tiny.VIT)
    with pytest.raises(InputError, match="second network"):
        vit.read_at(1)
    encoder.save(tmp_path)
    with pytest.raises(InputError, match=r"channels=1.*set channels=3"):
        Encoder.load(tmp_path, channels=1)
    assert Encoder.load(tmp_path, channels=1, colour=False).channels == 1


def test_damage_is_noticed(tmp_path):
    def broken(name: str):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / name)
        return folder, folder / "colour.safetensors", folder / "config.json"

    divided().save(tmp_path / "whole")
    folder, second, _ = broken("flipped")
    content = bytearray(second.read_bytes())
    content[-1] ^= 1
    second.write_bytes(content)
    with pytest.raises(CorruptError, match=r"colour\.safetensors.*is not what was written"):
        Encoder.load(folder)

    folder, second, _ = broken("missing")
    second.unlink()
    with pytest.raises(CorruptError, match="is missing; the network alone loads with colour=False"):
        Encoder.load(folder)
    Encoder.load(folder, colour=False)

    for number, about in enumerate(("yes", None, {"num_classes": 0})):
        folder, _, config = broken(f"half{number}")
        config.write_text(json.dumps(read_json(config) | {"colour": about}))
        with pytest.raises(CorruptError, match="does not say what the second network is"):
            Encoder.load(folder)


@pytest.mark.parametrize("neck", [False, True])
@torch.no_grad()
def test_a_classifier_comes_back_whole(neck, tmp_path):
    encoder = divided()
    if neck:
        encoder.add_neck(24, 1)
    head = nn.Linear(encoder.width, 3)
    encoder.save(tmp_path, head=head, classes=["a", "b", "c"])
    again = load_classifier(tmp_path)
    assert torch.equal(again(pictures()), head(encoder.eval()(pictures())))
    assert read_json(tmp_path / "config.json")["num_classes"] == 0, "timm's first network has none"
    assert read_json(tmp_path / "config.json")["neck" if neck else "colour"]["num_classes"] == 3
    encoder.save(tmp_path)
    with pytest.raises(InputError, match="an encoder without a classifier"):
        load_classifier(tmp_path)


def test_fine_tuning_trains_both():
    method = Classify(divided(), categories=4, smoothing=0.0)
    before = copy.deepcopy(method.state_dict())
    tiny.three_steps(method)
    assert not [name for name, p in method.named_parameters() if torch.equal(p, before[name])]


# From here on as a user runs it.

SMALL = ["--size", "32", "--device", "cpu", "--precision", "fp32", "--batch", "8"]


def test_a_run_from_pretraining_to_export(tmp_path, capsys):
    random = np.random.default_rng(0)
    for number in range(8):  # digits are grey
        (tmp_path / "coloured").mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "coloured" / f"{number}.png")
    run, small = tmp_path / "run", ["--data", str(tmp_path / "coloured"), "--model", PLAIN, *SMALL, "--steps", "1"]
    assert cli.run(["pretrain", "--method", "split_brain(width=8)", *small, "--out", str(run)]) == 0
    loaded = firstlight.load(run)
    assert loaded.colour is not None
    assert loaded.width == 1024

    capsys.readouterr()
    common = ["finetune", "digits", "--encoder", str(run), "--labels-per-class", "2", "--steps", "1", "--batch", "8"]
    common += ["--device", "cpu", "--precision", "fp32"]
    assert cli.run([*common, "--out", str(tmp_path / "tuned")]) == 0
    assert "a second one for the colours" in _said(capsys)
    whole = firstlight.load_classifier(tmp_path / "tuned")
    assert whole[1].weight.shape == (10, 1024)

    out = tmp_path / "exported"
    assert cli.run(["export", str(tmp_path / "tuned"), "--what", "classifier", "--out", str(out)]) == 0
    assert "its second network, for colours, and the classifier are in colour.safetensors" in _said(capsys)
    assert same(firstlight.load_classifier(out), whole)
    assert cli.run(["export", str(run), "--out", str(tmp_path / "again")]) == 0
    assert "its second network, for colours, is in colour.safetensors" in _said(capsys)

    arguments = ["pretrain", "--method", "simclr(hidden=16, dim=8)", "--init", str(run), *small]
    assert cli.run([*arguments, "--out", str(tmp_path / "next")]) == 0
    assert "left out, so the first" in _said(capsys)
    assert firstlight.load(tmp_path / "next").colour is None


def _said(capsys) -> str:
    shown = capsys.readouterr()
    return " ".join((shown.out + shown.err).split())
