"""MAE: the loss on hidden patches only, fixed positions, the paper's initialisation, and whom it refuses."""

import math

import pytest
import torch

import tiny
from firstlight import spec
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.methods import Optimisation
from firstlight.methods.classify import Classify
from firstlight.methods.mae import MAE
from firstlight.parts.decoder import Decoder
from firstlight.parts.masks import random_mask
from firstlight.parts.patches import patchify
from firstlight.parts.positions import sincos
from firstlight.train.optimisers import parameter_groups
from parity import equal, equal_each, precisions, slopes


def published(pictures: torch.Tensor, painted: torch.Tensor, hidden: torch.Tensor, patch: int) -> float:
    """The paper's loss in plain loops: hidden patches only, mean and deviation removed."""
    errors = []
    channels, grid = pictures.shape[1], pictures.shape[2] // patch
    for sample in range(len(pictures)):
        for place in range(grid * grid):
            if not hidden[sample, place]:
                continue
            top, left = place // grid * patch, place % grid * patch
            values = [
                pictures[sample, channel, top + row, left + column].item()
                for row in range(patch)
                for column in range(patch)
                for channel in range(channels)
            ]
            mean = sum(values) / len(values)
            var = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
            target = [(v - mean) / math.sqrt(var + 1e-6) for v in values]
            guess = painted[sample, place].tolist()
            errors.append(sum((g - t) ** 2 for g, t in zip(guess, target)) / len(target))
    return sum(errors) / len(errors)


def written_out(pictures: torch.Tensor, painted: torch.Tensor, keep: torch.Tensor, patch: int) -> torch.Tensor:
    """The same in torch, for its gradient."""
    cells = pictures.unfold(2, patch, patch).unfold(3, patch, patch)  # [B, C, grid, grid, patch, patch]
    target = cells.flatten(2, 3).permute(0, 2, 3, 4, 1).flatten(2)
    target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    away = [[place for place in range(target.shape[1]) if place not in row] for row in keep.tolist()]
    return torch.stack([(painted[n, row] - target[n, row]).square().mean() for n, row in enumerate(away)]).mean()


@pytest.mark.parametrize("channels", [1, 3])
@precisions
def test_the_loss_and_its_gradient_are_the_papers(dtype, channels):
    method = tiny.build("mae", channels=channels).to(dtype)
    batch = tiny.batch(method, samples=2, channels=channels)
    keep, hidden = random_mask(batch.key, 16, 0.75)
    painted = method.decoder(method.encoder.tokens(batch.views[0], keep), keep)
    loss, reference = method(batch, 0.0)["loss"], written_out(batch.views[0], painted, keep, patch=8)
    equal(loss, published(batch.views[0], painted, hidden, patch=8))
    equal(loss, reference)
    equal_each(slopes(loss, method), slopes(reference, method))


def test_visible_patches_carry_no_loss_and_hidden_ones_are_not_seen():
    method = tiny.build("mae", standardise=False)
    batch = tiny.batch(method)
    keep, hidden = random_mask(batch.key, 16, 0.75)
    batch.views[0].requires_grad_()
    out = method.decoder(method.encoder.tokens(batch.views[0], keep), keep)
    out.square().sum().backward()
    grad = batch.views[0].grad.unfold(2, 8, 8).unfold(3, 8, 8).abs().sum((1, 4, 5)).flatten(1)
    assert (grad[hidden] == 0).all(), "the prediction does not depend on any hidden pixel"
    assert (grad[~hidden] > 0).all()

    weights = {}
    method.decoder.register_forward_hook(lambda *_: weights.update(out=_[2]) or _[2].retain_grad())
    batch.views[0] = batch.views[0].detach()
    method(batch, 0.0)["loss"].backward()
    error = weights["out"].grad.abs().sum(-1)
    assert (error[~hidden] == 0).all()
    assert (error[hidden] > 0).all()


def test_positions_are_fixed_in_the_encoder_too():
    method = tiny.build("mae")
    positions = dict(method.encoder.named_parameters())["net.pos_embed"]
    assert not positions.requires_grad
    torch.testing.assert_close(positions[0], sincos(48, 4, prefix=1))
    before = positions.clone()
    tiny.three_steps(method)
    assert torch.equal(positions, before)


def test_the_encoder_starts_as_in_the_paper_unless_it_has_weights_to_keep():
    fresh, kept = tiny.build("mae"), tiny.build("mae", fresh=False)
    weight = dict(fresh.encoder.named_parameters())["net.blocks.0.mlp.fc1.weight"]
    bound = math.sqrt(6 / sum(weight.shape))
    assert 0.97 * bound < weight.abs().max() <= bound, "Xavier-uniform"
    untouched = tiny.build("classify").encoder.state_dict()
    assert all(torch.equal(value, untouched[key]) for key, value in kept.encoder.state_dict().items())
    assert all(p.requires_grad for p in kept.encoder.parameters())


def test_the_paper_s_numbers_are_the_defaults_but_for_the_depth():
    assert spec.settings_of(MAE)["mask"].default == 0.75
    with torch.device("meta"):
        decoder = Decoder(768, 196, 768)
    assert (decoder.enter.out_features, len(decoder.blocks) - 1, decoder.blocks[0].self_attn.num_heads) == (512, 8, 16)
    assert (MAE.optimisation.lr, MAE.optimisation.betas, MAE.optimisation.weight_decay) == (1.5e-4, (0.9, 0.95), 0.05)


@pytest.mark.parametrize("model", ["test_resnet", "mixer_s32_224"])
def test_models_that_cannot_leave_patches_out_are_refused(model):
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224.*" + model):
        tiny.build("mae", model)


@pytest.mark.parametrize(("mask", "nearest"), [(0.0, 0.063), (0.99, 0.937), (1.0, 0.937)])
def test_a_mask_must_hide_some_and_leave_some(mask, nearest):
    with pytest.raises(InputError, match=rf"mae\(mask={mask}\) must hide some of the 16 patches.*nearest: {nearest}"):
        tiny.build("mae", mask=mask)
    tiny.build("mae", mask=nearest)


def test_a_picture_of_one_patch_is_refused():
    with pytest.raises(InputError, match=r"1 for 32 px; take a larger size or a smaller patch_size"):
        tiny.build("mae", tiny.VIT.replace("patch_size=8", "patch_size=32"))


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("mae")).double())
    assert losses == pytest.approx([1.962117, 1.921212, 1.851968], abs=1e-4)


@pytest.mark.parametrize(("entry", "width", "heads"), [(192, 128, 4), (384, 256, 8), (1024, 672, 21), (48, 32, 1)])
def test_the_decoder_follows_the_width_of_the_encoder(entry, width, heads):
    with torch.device("meta"):
        decoder = Decoder(entry, 16, 3, depth=1)
    assert (decoder.enter.out_features, decoder.blocks[0].self_attn.num_heads) == (width, heads)
    assert Decoder(6, 4, 3, width=40, depth=1).blocks[0].self_attn.num_heads == 1, "as many as divide the width"


@pytest.mark.parametrize("standardise", [True, False])
def test_reconstructions_keep_what_was_seen_and_paint_the_rest(standardise):
    method = tiny.build("mae", standardise=standardise).double().eval()
    batch = tiny.batch(method)
    shown = method.reconstruct(batch)
    assert list(shown) == ["picture", "masked", "predicted" + " (mean and contrast given)" * standardise]
    picture, masked, predicted = (patchify(view, 8) for view in shown.values())
    torch.testing.assert_close(shown["picture"], batch.views[0])

    keep, hidden = random_mask(batch.key, 16, 0.75)
    assert (masked[hidden] == 0).all()
    assert torch.equal(masked[~hidden], picture[~hidden])
    assert torch.equal(predicted[~hidden], picture[~hidden])
    painted = method.decoder(method.encoder.tokens(batch.views[0], keep), keep)
    if standardise:
        painted = painted * (picture.var(2, keepdim=True) + 1e-6).sqrt() + picture.mean(2, keepdim=True)
    torch.testing.assert_close(predicted[hidden], painted[hidden])


def test_what_it_learned_is_fine_tuned_by_layer_decay(tmp_path):
    """The rates from the heads down to the patches, each .65 of the next, on an encoder that MAE kept."""
    encoder = tiny.build("mae").encoder
    kept = Encoder.load(encoder.save(tmp_path))
    learner = Classify(kept, categories=3).requires_grad_(True)
    groups = parameter_groups(learner, Optimisation(layer_decay=0.65))
    rates = {id(parameter): group["rate"] for group in groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in learner.named_parameters()}
    assert found["head.weight"] == 1
    for name, layer in (
        ("norm.weight", 3),
        ("blocks.1.mlp.fc1.weight", 2),
        ("blocks.0.norm1.bias", 1),
        ("pos_embed", 0),
    ):
        assert found[f"encoder.net.{name}"] == pytest.approx(0.65 ** (3 - layer)), name
    assert found["encoder.net.patch_embed.proj.weight"] == pytest.approx(0.65**3)
