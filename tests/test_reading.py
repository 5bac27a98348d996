"""Features from inside the network: what they are, that they come back, and what it means for training after it."""

import json
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import tiny
from firstlight.classifier import load_classifier
from firstlight.encoder import Encoder
from firstlight.errors import CorruptError, InputError
from firstlight.methods import Optimisation
from firstlight.methods.classify import Classify
from firstlight.parts.attention import with_attention
from firstlight.runs import read_json
from firstlight.train.optimisers import parameter_groups

MODEL = "vit_tiny_patch16_224(patch_size=8, embed_dim=48, depth=4, num_heads=2)"


def encoder(block: int | None = None, causal: bool = True) -> Encoder:
    torch.manual_seed(0)
    made = Encoder(MODEL, size=32).eval()
    made.read_at(block, causal=causal)
    return made


def pictures() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block", [0, 2, 3])
@torch.no_grad()
def test_features_are_what_enters_the_attention(block, causal):
    """timm's own pass, with a look at what its attention is given."""
    made, seen = encoder(block, causal), []
    made.net.blocks[block].attn.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    last = made.net.forward_features(pictures(), is_causal=causal)
    torch.testing.assert_close(made(pictures()), seen[0][:, 1:].mean(1), rtol=0, atol=1e-6)
    assert made.width == made(pictures()).shape[1] == 48
    torch.testing.assert_close(made.tokens(pictures()), last, rtol=0, atol=1e-6)
    pooled, tokens = made.pooled_and_tokens(pictures())
    assert torch.equal(pooled, made(pictures()))
    torch.testing.assert_close(tokens, last, rtol=0, atol=1e-6)
    assert len(made.maps(pictures())) == 4


def test_the_middle_is_the_default():
    assert encoder().reading.block == 2


def test_nothing_behind_a_place_reaches_it():
    made = encoder(causal=True).double()
    x = pictures().double().requires_grad_()
    for place in (0, 1, 7, 16):
        (grad,) = torch.autograd.grad(made.tokens(x)[:, place].square().sum(), x)
        of = grad.unfold(2, 8, 8).unfold(3, 8, 8).abs().sum((1, 4, 5)).flatten(1)
        assert (of[:, place:] == 0).all(), "a token's own patch has the number of the token less the class token"
        assert (of[:, :place] > 0).all()


@torch.no_grad()
def comes_back(made: Encoder, neck: bool, folder: Path, form: int) -> Encoder:
    """Saves and loads an encoder, all of it and the network alone, for us and for timm; returns all of it."""
    if neck:
        made.add_neck(24, 1)
        made.eval()
    made.save(folder)
    assert read_json(folder / "config.json")["format"] == form, "a reader that knows of no such reading must refuse"
    again = Encoder.load(folder).eval()
    assert again.reading == made.reading
    assert torch.equal(again(pictures()), made(pictures()))
    alone = Encoder.load(folder, neck=False).eval()
    assert alone.reading is alone.neck is None
    assert all(p.requires_grad for p in alone.parameters())
    plain = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    torch.testing.assert_close(alone(pictures()), plain(pictures()), rtol=0, atol=1e-6)
    alone.save(folder)
    assert read_json(folder / "config.json")["format"] == 1
    return again


@pytest.mark.parametrize("neck", [False, True])
def test_it_comes_back(neck, tmp_path):
    again = comes_back(encoder(), neck, tmp_path, form=3)
    rests = {name.split(".")[0] for name, p in again.net.named_parameters() if not p.requires_grad}
    assert rests == {"blocks", "norm"}
    assert again.net.blocks[2].norm1.weight.requires_grad
    assert not again.net.blocks[2].attn.qkv.weight.requires_grad


@torch.no_grad()
def test_a_classifier_comes_back_whole(tmp_path):
    made = encoder()
    head = nn.Linear(48, 3)
    made.save(tmp_path, head=head, classes=["a", "b", "c"])
    assert read_json(tmp_path / "config.json")["num_classes"] == 0, "timm cannot classify by a block in the middle"
    assert torch.equal(load_classifier(tmp_path)(pictures()), head(made(pictures())))
    assert Encoder.load(tmp_path).neck is None


def test_fine_tuning_trains_what_comes_before_and_counts_layers_from_there(tmp_path):
    encoder().save(tmp_path)
    method = Classify(Encoder.load(tmp_path), categories=4)
    assert method.encoder.layers == 3, "the patches, two blocks, and the norm of the third"
    method(tiny.batch(method), 0.0)["loss"].backward()
    assert all((p.grad is not None) == p.requires_grad for p in method.parameters())
    rates = {
        id(p): group["rate"]
        for group in parameter_groups(method, Optimisation(layer_decay=0.5))
        for p in group["params"]
    }
    assert rates[id(method.head.weight)] == rates[id(method.encoder.net.blocks[2].norm1.weight)] == 1.0
    assert rates[id(method.encoder.net.blocks[0].attn.qkv.weight)] == 0.25


def test_attention_is_causal_too_and_only_of_blocks_in_use():
    _, found = with_attention(encoder(), pictures(), block=1)
    assert (found.exp().triu(1) == 0).all()
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, 2, 17))
    with pytest.raises(InputError, match=r"read at block 2.*neck=False"):
        with_attention(encoder(), pictures())


@pytest.mark.parametrize("block", [-1, 4, 1.5, True])
def test_other_blocks_are_refused(block):
    with pytest.raises(InputError, match="allowed is 0 to 3"):
        encoder(block)


@pytest.mark.parametrize("model", [tiny.RESNET, "test_vit2"])
def test_other_models_are_refused(model):
    made = Encoder(model, size=32)
    if model != tiny.RESNET and type(made.net.blocks[0]).__name__ == "Block":
        pytest.skip("its blocks are plain")
    with pytest.raises(InputError, match="vit_"):
        made.read_at()


@pytest.mark.parametrize("said", [None, "2", {}, {"block": 2}, {"block": 9, "causal": True}, {"block": 2, "causal": 1}])
def test_damage_is_noticed(said, tmp_path):
    encoder().save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(read_json(config) | {"reading": said}))
    with pytest.raises(CorruptError, match="read"):
        Encoder.load(tmp_path)


@torch.no_grad()
def test_level_patches_see_the_mean_colour_alone():
    made = encoder(causal=False)
    flat = torch.randn(2, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    before = made(flat)
    made.level_patches()
    torch.testing.assert_close(made(flat), before, rtol=0, atol=1e-5)
    small = nn.functional.avg_pool2d(pictures(), 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(made(small), made(pictures()), rtol=0, atol=1e-5)
