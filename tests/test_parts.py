"""The parts that methods share: curves, momentum, norm, crops, patches, positions, masks, heads, the decoder."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from firstlight.errors import InputError
from firstlight.parts.crops import by_size
from firstlight.parts.decoder import Decoder, initialise
from firstlight.parts.heads import PrototypeHead, projector
from firstlight.parts.losses import entropy, spread
from firstlight.parts.masks import random_mask
from firstlight.parts.momentum import Momentum, MovingMean
from firstlight.parts.norm import BatchNorm, synchronised
from firstlight.parts.patches import patchify, standardised, unpatchify
from firstlight.parts.positions import fix, sincos
from firstlight.parts.schedules import cosine, linear


def test_curves():
    assert [cosine(2.0, 4.0, t) for t in (-1, 0, 0.5, 1, 2)] == pytest.approx([2, 2, 3, 4, 4])
    assert [linear(2.0, 4.0, t) for t in (-1, 0, 0.25, 1, 2)] == pytest.approx([2, 2, 2.5, 4, 4])
    # The published momentum schedule: 1 - (1 - m0) (cos(pi t) + 1) / 2.
    for t in np.linspace(0, 1, 7):
        assert cosine(0.996, 1.0, t) == pytest.approx(1 - 0.004 * (math.cos(math.pi * t) + 1) / 2, abs=1e-15)


def test_momentum_follows_its_closed_form():
    source = nn.Linear(3, 2).double()
    momentum = Momentum(source, start=0.9, end=1.0)
    expected = source.weight.detach().clone()
    for step in range(5):
        with torch.no_grad():
            source.weight.add_(step + 1.0)
        momentum.follow(step / 5)
        m = 1 - 0.1 * (math.cos(math.pi * step / 5) + 1) / 2
        expected = m * expected + (1 - m) * source.weight.detach()
    torch.testing.assert_close(momentum.copy.weight, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(momentum.copy.weight.grad_fn, None)


def test_momentum_holds_a_copy_and_only_that():
    source = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    momentum = Momentum(source)
    assert {name.split(".")[0] for name in momentum.state_dict()} == {"copy"}
    assert not any(p.requires_grad for p in momentum.parameters())
    assert not momentum(torch.randn(8, 4, requires_grad=True)).requires_grad
    assert all(p.requires_grad for p in source.parameters()), "the source is left as it was"


def test_a_momentum_copy_in_training_norms_by_batch_and_drops_nothing():
    source = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    momentum = Momentum(source)
    x = 3 + 2 * torch.randn(64, 4)
    out = momentum(x)
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    assert (out != 0).all(), "dropout is off"
    ran = momentum.copy[0].running_mean.clone()
    source(10 + x)
    momentum.follow(0.0)
    assert torch.equal(momentum.copy[0].running_mean, ran), "running averages do not follow"
    momentum.eval()
    assert not momentum.copy[0].training
    momentum.train()
    assert momentum.copy[0].training
    assert not momentum.copy[1].training


def test_a_copied_momentum_follows_the_copied_source():
    both = nn.ModuleDict({"source": nn.Linear(2, 2)})
    both["momentum"] = Momentum(both["source"], start=0.0)
    twin = copy.deepcopy(both)
    with torch.no_grad():
        twin["source"].weight.fill_(5.0)
    twin["momentum"].follow(0.0)
    assert (twin["momentum"].copy.weight == 5).all()
    assert (both["momentum"].copy.weight != 5).all()


def test_a_moving_mean_moves_once_a_step_however_often_it_hears():
    rows = torch.arange(24.0).view(6, 4)
    whole, parts = MovingMean(4, momentum=0.9), MovingMean(4, momentum=0.9)
    for _ in range(3):
        whole.hear(rows)
        whole.follow(0.0)
        for part in rows.chunk(3):
            parts.hear(part)
        parts.follow(0.0)
    torch.testing.assert_close(parts.value, whole.value)
    torch.testing.assert_close(whole.value, rows.mean(0) * (1 - 0.9**3))
    assert list(whole.state_dict()) == ["value"]


@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_our_batch_norm_equals_torchs(shape):
    torch.manual_seed(0)
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    theirs = kinds[len(shape)](3).double()
    nn.init.normal_(theirs.weight)
    ours = BatchNorm(copy.deepcopy(theirs))
    for _ in range(2):
        x = (5 + torch.randn(shape, dtype=torch.float64)).requires_grad_()
        y = x.detach().clone().requires_grad_()
        a, b = ours(x), theirs(y)
        a.square().mul(torch.arange(a.numel()).view_as(a)).sum().backward()
        b.square().mul(torch.arange(b.numel()).view_as(b)).sum().backward()
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_our_batch_norm_keeps_what_timm_adds():
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    theirs = BatchNormAct2d(3, act_layer=nn.SiLU)
    ours = BatchNorm(copy.deepcopy(theirs))
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_one_process_keeps_its_norms():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert type(synchronised(module)[1]) is nn.BatchNorm1d


def test_crops_of_one_size_share_a_pass_and_keep_their_order():
    calls = []

    def forward(x):
        calls.append(tuple(x.shape))
        return x.flatten(1).sum(1, keepdim=True)

    views = [torch.randn(2, 3, side, side) for side in (8, 4, 8, 4, 4)]
    out = by_size(forward, views)
    assert calls == [(4, 3, 8, 8), (6, 3, 4, 4)]
    torch.testing.assert_close(out, torch.cat([view.flatten(1).sum(1, keepdim=True) for view in views]))


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_match_lightly_and_come_back(channels):
    from lightly.models.utils import normalize_mean_var
    from lightly.models.utils import patchify as reference

    x = torch.randn(2, channels, 12, 12)
    patches = patchify(x, 4)
    assert torch.equal(patches, reference(x, 4))
    assert torch.equal(unpatchify(patches, 4), x)
    torch.testing.assert_close(standardised(patches), normalize_mean_var(patches))


def test_standardised_patches_use_the_unbiased_variance():
    patch = torch.tensor([[[1.0, 2.0, 4.0, 9.0]]], dtype=torch.float64)
    mean, var = 4.0, (9 + 4 + 0 + 25) / 3
    torch.testing.assert_close(standardised(patch), (patch - mean) / math.sqrt(var + 1e-6))


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_positions_match_lightly(prefix):
    from lightly.models.utils import get_2d_sincos_pos_embed

    theirs = torch.from_numpy(get_2d_sincos_pos_embed(16, 3, num_prefix_tokens=prefix)).float()
    torch.testing.assert_close(sincos(16, 3, prefix), theirs, atol=1e-6, rtol=0)


def test_positions_need_a_width_of_fours():
    with pytest.raises(InputError, match="multiple of 4"):
        sincos(18, 3)


def test_fixing_positions_leaves_other_parameters_alone():
    module = nn.Module()
    module.pos_embed, module.other = nn.Parameter(torch.randn(1, 10, 8)), nn.Parameter(torch.randn(1, 10, 8))
    fix(module, 9)
    assert torch.equal(module.pos_embed[0], sincos(8, 3, prefix=1))
    assert (module.pos_embed[0, 0] == 0).all()
    assert not module.pos_embed.requires_grad
    assert module.other.requires_grad


@pytest.mark.parametrize(("length", "ratio", "kept"), [(196, 0.75, 49), (64, 0.75, 16), (16, 0.6, 6), (49, 0.75, 12)])
def test_masks_hide_exactly_so_many(length, ratio, kept):
    keep, hidden = random_mask(torch.arange(32), length, ratio)
    assert keep.shape == (32, kept)
    assert (hidden.sum(1) == length - kept).all()
    assert not hidden.gather(1, keep).any()
    assert (keep.sort(1).values.diff(dim=1) > 0).all(), "no patch twice"


def test_masks_belong_to_their_sample():
    key = torch.arange(512) * 7919
    keep, hidden = random_mask(key, 16, 0.75)
    again, _ = random_mask(key[100:103], 16, 0.75)
    assert torch.equal(keep[100:103], again), "no matter who else is in the batch"
    assert len(hidden.unique(dim=0)) > 300
    share = hidden.double().mean(0)
    assert (share - 0.75).abs().max() < 0.08, "every place is hidden equally often (4 standard errors)"


def test_the_projector_is_the_published_one():
    two, three = projector(8, 6, 4), projector(8, 6, 4, layers=3)
    assert [type(layer).__name__ for layer in two] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [layer.out_features for layer in three if isinstance(layer, nn.Linear)] == [6, 6, 4]
    assert not two[-1].bias.requires_grad
    out = two(torch.randn(32, 8))
    torch.testing.assert_close(out.mean(0), torch.zeros(4), atol=1e-5, rtol=0)


def test_prototypes_equal_weight_norm_with_a_frozen_gain():
    torch.manual_seed(0)
    head = PrototypeHead(8, 12, 6, 20)
    reference = nn.utils.parametrizations.weight_norm(copy.deepcopy(head.last))
    with torch.no_grad():
        reference.parametrizations.weight.original0.fill_(1.0)
    x = torch.randn(5, 8)
    ours, theirs = head(x), reference(nn.functional.normalize(head.layers(x), dim=-1))
    torch.testing.assert_close(ours, theirs)
    (ours**3).sum().backward()
    (theirs**3).sum().backward()
    torch.testing.assert_close(head.last.weight.grad, reference.parametrizations.weight.original1.grad)
    assert ours.abs().max() <= 1 + 1e-6
    assert torch.equal(copy.deepcopy(head)(x), ours)


def test_the_decoder_puts_tokens_where_they_belong():
    torch.manual_seed(0)
    decoder = Decoder(6, patches=9, values=5, width=16, depth=0, heads=2)  # no attention: every place by itself
    keep = torch.tensor([[7, 2], [0, 4]])
    tokens = torch.randn(2, 3, 6)  # one prefix token
    out = decoder(tokens, keep)
    assert out.shape == (2, 9, 5)

    norm, position = decoder.blocks[-1], decoder.position
    for sample in range(2):
        for place in range(9):
            found = (keep[sample] == place).nonzero()
            content = decoder.enter(tokens[sample, 1 + int(found)]) if len(found) else decoder.hole
            torch.testing.assert_close(out[sample, place], decoder.leave(norm(content + position[place])))


def test_the_decoder_refuses_what_does_not_divide():
    with pytest.raises(InputError, match="16 heads"):
        Decoder(6, patches=9, values=5, width=40, depth=1, heads=16)


def test_initialisation_sees_patch_convolutions_as_linear():
    module = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.Linear(64, 32))
    initialise(module)
    for layer, row in zip(module, (3 * 64, 64)):
        bound = math.sqrt(6 / (row + 32))
        assert 0.97 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()


def test_diagnostics():
    assert entropy(torch.full((3, 8), 1 / 8)) == pytest.approx(math.log(8))
    assert entropy(torch.eye(4)) == 0
    assert spread(torch.ones(6, 4)) == 0
    torch.manual_seed(0)
    assert spread(torch.randn(4096, 64)) == pytest.approx(1 / 8, rel=0.02)
