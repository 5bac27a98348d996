"""Features of patches: what they are, at which sizes, that they come back, and what is refused."""

import json

import pytest
import torch
from torch import nn

import tiny
from firstlight import cli
from firstlight.classifier import load_classifier
from firstlight.encoder import Encoder
from firstlight.errors import CorruptError, InputError
from firstlight.grid import Grid
from firstlight.methods.classify import Classify
from firstlight.runs import read_json
from test_reading import comes_back

VIT = "vit_tiny_patch16_224(patch_size=8, embed_dim=48, depth=1, num_heads=2)"


def encoder(count: int = 3, least: int = 16, model: str = tiny.RESNET) -> Encoder:
    torch.manual_seed(0)
    made = Encoder(model, size=32).eval()
    made.read_patches(count, least)
    return made


def pictures(side: int = 32) -> torch.Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("side", "patch", "stride"), [(32, 16, 8), (40, 20, 10), (41, 20, 10)])
@torch.no_grad()
def test_features_are_the_mean_of_those_of_patches(side, patch, stride):
    """Against a loop that shows the timm model one patch after the other; a pixel that is left over is the last."""
    made, shown = encoder(), pictures(side)
    each = [
        made.net(shown[:, :, top : top + patch, left : left + patch])
        for top in range(0, 3 * stride, stride)
        for left in range(0, 3 * stride, stride)
    ]
    assert made.width == made(shown).shape[1]
    torch.testing.assert_close(made(shown), sum(each) / 9)
    pooled, tokens = made.pooled_and_tokens(shown)
    assert torch.equal(pooled, made(shown))
    plain = Encoder(tiny.RESNET, size=32).eval()
    plain.load_state_dict(made.state_dict())
    assert torch.equal(tokens, plain.tokens(shown)), "of the whole picture"
    assert torch.equal(made.seen_whole(shown), plain(shown))
    assert not torch.equal(made(shown), plain(shown))


@torch.no_grad()
def test_pictures_smaller_than_the_grid_are_enlarged():
    made, flat = encoder(4), torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32)
    assert made.reading.whole(made.reading.side(32)) == 40
    torch.testing.assert_close(made(flat), made.net(flat[:, :, :16, :16]))
    ramp = torch.arange(32.0).expand(1, 3, 32, 32)
    lefts = Grid(4, 16).over(ramp)[0, :4, 0, 0, 0]
    torch.testing.assert_close(lefts, torch.tensor([0.0, 6.3, 12.7, 19.1]), rtol=0, atol=0.2)


@pytest.mark.parametrize(("size", "count", "multiple", "side"), [(256, 7, 1, 64), (224, 7, 1, 56), (224, 2, 16, 160)])
def test_a_grid_covers_larger_pictures_as_they_are(size, count, multiple, side):
    grid = Grid(count, 16)
    assert grid.side(size, multiple) == side
    patches = grid.over(torch.zeros(1, 1, size, size), multiple)
    assert patches.shape == (1, count**2, 1, side, side)


@torch.no_grad()
def test_a_vision_transformer_reads_patches_of_its_own_multiple():
    made = encoder(3, 10, VIT)
    assert made.reading.over(pictures(), made.multiple).shape == (3, 9, 3, 16, 16)
    assert made(pictures()).shape == (3, 48)


@pytest.mark.parametrize("neck", [False, True])
def test_it_comes_back(neck, tmp_path):
    made = encoder()
    again = comes_back(made, neck, tmp_path, form=4)
    assert again.reading == made.reading == Grid(3, 16)
    assert all(p.requires_grad for p in again.parameters())


def test_what_is_hidden_from_the_network_would_be_seen_in_patches():
    made = encoder(3, 10, VIT)
    with pytest.raises(InputError, match=r"patch by patch.*neck=False"):
        made.pooled_and_tokens(pictures(), torch.ones(3, 16, dtype=torch.bool), torch.zeros(48))


@torch.no_grad()
def test_a_classifier_comes_back_whole(tmp_path):
    made = encoder()
    head = nn.Linear(made.width, 3)
    made.save(tmp_path, head=head, classes=["a", "b", "c"])
    assert read_json(tmp_path / "config.json")["num_classes"] == 0, "timm would classify whole pictures"
    assert torch.equal(load_classifier(tmp_path)(pictures()), head(made(pictures())))
    assert Encoder.load(tmp_path).neck is None


def test_fine_tuning_trains_all_of_it(tmp_path):
    encoder().save(tmp_path)
    method = Classify(Encoder.load(tmp_path), categories=4)
    method(tiny.batch(method), 0.0)["loss"].backward()
    assert all(p.grad is not None for p in method.parameters())


def test_cpc_leaves_an_encoder_that_reads_patches(tmp_path):
    method = tiny.build("cpc", grid=4, steps=3)
    assert method.encoder.reading == Grid(4, 16)
    features = method.eval().encoder(tiny.batch(method).views[0])
    patches = method.patches.grid.over(tiny.batch(method).views[0])
    each = method.encoder.seen_whole(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
    assert torch.equal(features, each.mean(1))


def test_people_are_told(tmp_path, capsys):
    encoder().save(tmp_path / "encoder")
    assert cli.run(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert "the grid of patches by which features are read is in config.json" in shown


@pytest.mark.parametrize("wrong", [(1, 16), (3, 0), (2.5, 16), (True, 16)])
def test_what_is_no_grid_is_refused(wrong):
    with pytest.raises(InputError, match=r"a grid of .* try 7 and 16"):
        encoder(*wrong)


def test_what_cannot_see_patches_is_refused():
    with pytest.raises(InputError, match="square pictures, got 32 x 40"):
        encoder()(torch.zeros(1, 3, 32, 40))
    with pytest.raises(InputError, match=r"one size.*choose a resnet or vit_"):
        encoder(model="mixer_s32_224")
    colours = Encoder(tiny.RESNET, size=32)
    colours.add_colour()
    with pytest.raises(InputError, match=r"second network.*colour=False"):
        colours.read_patches(3, 16)
    with pytest.raises(InputError, match=r"a grid of patches already.*neck=False"):
        encoder().add_colour()
    inside = Encoder(VIT, size=32)
    inside.read_at(0)
    with pytest.raises(InputError, match=r"a block to read at already.*neck=False"):
        inside.read_patches(3, 16)


@pytest.mark.parametrize("said", [{"count": 1, "least": 16}, {"count": 3}, {"count": 3, "least": 1.5}])
def test_damage_is_noticed(said, tmp_path):
    encoder().save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(read_json(config) | {"reading": said}))
    with pytest.raises(CorruptError, match=r"features are read|a grid of"):
        Encoder.load(tmp_path)
