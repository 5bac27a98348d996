"""The parts that methods share: curves, momentum, norm, crops, patches, positions, masks, heads, the decoder."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.parts.crops import by_size, each
from firstlight.parts.decoder import Decoder, initialise
from firstlight.parts.heads import PrototypeHead, WithTokens, projector
from firstlight.parts.holes import Holes
from firstlight.parts.losses import entropy, koleo, patch_distillation, spread
from firstlight.parts.masks import block_mask, crop_masks, exact_mask, random_mask, some_of
from firstlight.parts.momentum import Momentum, MovingMean
from firstlight.parts.norm import BatchNorm, synchronised
from firstlight.parts.patches import patchify, standardised, unpatchify
from firstlight.parts.positions import fix, sincos
from firstlight.parts.regions import matched, region_distillation
from firstlight.parts.schedules import cosine, linear
from firstlight.parts.sinkhorn import sinkhorn
from firstlight.parts.targets import Targets
from firstlight.views.random import Salt, uniforms
from parity import equal, leaves, precisions


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


def test_a_moving_mean_weighs_rows_and_not_parts():
    mean = MovingMean(2, momentum=0.5)
    mean.hear(torch.ones(3, 2))
    mean.hear(torch.full((1, 2), 5.0))
    mean.hear(torch.ones(0, 2))
    mean.follow(0.0)
    assert mean.value.tolist() == [1, 1]
    mean.hear(torch.ones(0, 2))
    mean.follow(0.0)
    assert mean.value.tolist() == [1, 1], "nothing heard, nothing moved"
    rows = torch.randn(2, 3, 2)
    torch.testing.assert_close(mean.centred(rows), rows - 1)
    mean.follow(0.0)
    torch.testing.assert_close(mean.value, 0.5 + 0.5 * rows.mean((0, 1)))


@pytest.mark.parametrize("start", [-0.1, 1.5])
def test_a_momentum_beyond_its_bounds_is_refused(start):
    with pytest.raises(InputError, match="0 to 1"):
        Momentum(nn.Linear(2, 2), start=start)


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


def test_each_view_keeps_its_own_outputs():
    views = [torch.randn(2, 3, side, side) for side in (8, 4, 8)]
    found = each(lambda x: (x.sum((1, 2, 3)), x.flatten(1)), views)
    assert [tuple(row.shape) for _, row in found] == [(2, 192), (2, 48), (2, 192)]
    for (total, row), view in zip(found, views):
        torch.testing.assert_close(row, view.flatten(1))
        torch.testing.assert_close(total, view.sum((1, 2, 3)))
    assert each(nn.Flatten(), []) == []


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


@pytest.mark.parametrize(
    "counted",
    [
        lambda m, n: n - int(n * (1 - m)),
        lambda m, n: math.ceil(n * m),
        lambda m, n: round(n * m),
        lambda m, n: int(n * m),
    ],
)
def test_the_nearest_share_that_is_named_works(counted):
    encoder = Encoder(tiny.VIT, size=32)
    for count in (4, 9, 16, 25, 36, 49, 64, 81, 100, 144, 196, 256, 576, 784, 961):
        for mask in (0.0, 1.0):
            with pytest.raises(InputError, match="nearest") as error:
                some_of(encoder, "mae", mask, counted(mask, count), count, "patches")
            nearest = float(str(error.value).rpartition(" ")[2])
            hidden = counted(nearest, count)
            assert some_of(encoder, "mae", nearest, hidden, count, "patches") == hidden
            assert abs(hidden - mask * count) <= 2, "and is near"


def test_masks_belong_to_their_sample():
    key = torch.arange(512) * 7919
    keep, hidden = random_mask(key, 16, 0.75)
    again, _ = random_mask(key[100:103], 16, 0.75)
    assert torch.equal(keep[100:103], again), "no matter who else is in the batch"
    assert len(hidden.unique(dim=0)) > 300
    share = hidden.double().mean(0)
    assert (share - 0.75).abs().max() < 0.08, "every place is hidden equally often (4 standard errors)"


@pytest.mark.parametrize(("length", "count"), [(36, 22), (196, 98), (16, 0), (16, 16)])
def test_a_count_is_hidden_exactly(length, count):
    key = torch.arange(512) * 7919
    hidden = exact_mask(key, length, count)
    assert hidden.shape == (512, length)
    assert (hidden.sum(1) == count).all()
    assert torch.equal(exact_mask(key[100:103], length, count), hidden[100:103])
    assert (hidden.double().mean(0) - count / length).abs().max() < 0.09, "every place equally often"


def test_each_picture_may_hide_another_count():
    counts = torch.arange(17)[:, None]
    assert torch.equal(exact_mask(torch.arange(17), 16, counts).sum(1, keepdim=True), counts)


def rectangles(key: int, grid: int, count: float, smallest: int) -> list[list[bool]]:
    """BEiT's mask for one picture in plain Python, with the numbers that the sample's key gives for each attempt."""
    mask = [[False] * grid for _ in range(grid)]
    done, attempt = 0, 0
    while done < count:
        for _ in range(10):
            draw = uniforms(torch.tensor([key]), 4, Salt.BLOCK, attempt)[0].tolist()
            attempt += 1
            area = smallest + (count - done - smallest) * draw[0]
            aspect = math.exp(math.log(0.3) + (math.log(1 / 0.3) - math.log(0.3)) * draw[1])
            height, width = round(math.sqrt(max(area * aspect, 0))), round(math.sqrt(max(area / aspect, 0)))
            if height >= grid or width >= grid:
                continue
            top, left = int(draw[2] * (grid - height + 1)), int(draw[3] * (grid - width + 1))
            inside = [(row, column) for row in range(top, top + height) for column in range(left, left + width)]
            new = [(row, column) for row, column in inside if not mask[row][column]]
            if 0 < len(new) <= count - done:
                for row, column in new:
                    mask[row][column] = True
                done += len(new)
                break
        else:
            break
    return mask


@pytest.mark.parametrize(
    ("grid", "count", "smallest"), [(14, 75, 16), (8, 21.5, 4), (4, 7.9, 1), (7, 12, 4), (2, 2, 0)]
)
def test_rectangles_are_hidden_by_beits_rule(grid, count, smallest):
    key = torch.arange(24) * 7919 + 3
    hidden = block_mask(key, grid, torch.full((24,), count), smallest).view(-1, grid, grid)
    for number, mask in zip(key.tolist(), hidden):
        assert mask.tolist() == rectangles(number, grid, count, smallest)


def test_masks_of_rectangles_have_beits_counts():
    """Of BEiT's 75 patches, 68 % of the masks hide all, none hides more, and the mean is 74.5 (3,000 draws)."""
    hidden = block_mask(torch.arange(3000) * 7919, 14, torch.full((3000,), 75), 16).sum(1)
    assert hidden.max() == 75
    assert hidden.min() >= 60
    assert (hidden == 75).double().mean() == pytest.approx(0.68, abs=0.03)
    assert hidden.double().mean() == pytest.approx(74.5, abs=0.1)


@pytest.mark.parametrize("blocks", [True, False])
def test_crops_have_holes_by_chance(blocks):
    key = torch.arange(2000) * 7919
    hidden = crop_masks(key, 2, 14, 0.5, (0.1, 0.5), 16, blocks)
    assert hidden.shape == (4000, 196)
    share = hidden.double().mean(1)
    some = share > 0
    assert some.double().mean() == pytest.approx(0.5, abs=0.03)
    assert share.max() <= 0.5
    assert share[some].mean() == pytest.approx(0.3, abs=0.01)
    assert share[some].min() >= (0.09 if not blocks else 0.02)
    assert torch.equal(crop_masks(key[5:7], 2, 14, 0.5, (0.1, 0.5), 16, blocks), hidden[[5, 6, 2005, 2006]])
    assert not torch.equal(hidden[:2000], hidden[2000:]), "each crop has its own"


def test_single_patches_are_hidden_exactly():
    hidden = crop_masks(torch.arange(50), 1, 14, 1.0, (0.3, 0.3), 16, blocks=False)
    assert (hidden.sum(1) == int(0.3 * 196)).all()
    assert not crop_masks(torch.arange(50), 1, 14, 0.0, (0.3, 0.3), 16).any()


def test_holes_need_an_encoder_with_places_for_them():
    for model, size in ((tiny.RESNET, 32), ("xcit_nano_12_p16_224(depth=2)", 32)):
        with pytest.raises(InputError, match=r"hides patches.*vit_ or swin_"):
            Holes(Encoder(model, size=size), "ibot")
    swin = "swin_tiny_patch4_window7_224(depths=(1, 1, 1, 1), embed_dim=24)"
    with pytest.raises(InputError, match=r"1x1 tokens of 8x8 patches.*smaller patch_size"):
        Holes(Encoder(swin, size=32), "ibot")
    with pytest.raises(InputError, match="3x3 tokens of 22x22 patches"):
        Holes(Encoder(swin, size=88), "ibot")
    for wrong in ({"chance": 1.5}, {"share": (0.5, 0.1)}, {"share": (0.1, 1.1)}):
        with pytest.raises(InputError, match="allowed is 0 to 1"):
            Holes(Encoder(tiny.VIT, size=32), "ibot", **wrong)


def test_the_loss_of_patches_is_a_mean_of_means():
    torch.manual_seed(0)
    hidden = torch.tensor([[True, False, True, True], [False] * 4, [False, True, False, False]])
    students, targets = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64).softmax(-1)
    rows = [
        -sum(p * math.log(q) for p, q in zip(*pair)) for pair in zip(targets.tolist(), students.softmax(-1).tolist())
    ]
    expected = (sum(rows[:3]) / 3 + 0 + rows[3]) / 3
    assert patch_distillation(students, targets, hidden).item() == pytest.approx(expected, abs=1e-12)
    nothing = patch_distillation(torch.zeros(0, 5, requires_grad=True), torch.zeros(0, 5), torch.zeros(3, 4).bool())
    assert nothing == 0
    assert nothing.requires_grad, "a step without holes gives zero, not NaN"


@precisions
def test_the_loss_of_patches_and_its_gradient_equal_lightlys(dtype):
    """lightly's weights of patches are in single precision, which is exact for 1, 2 or 4 hidden ones in 4 pictures."""
    from lightly.loss import IBOTPatchLoss

    torch.manual_seed(1)
    hidden = (torch.arange(9).flip(0) < torch.tensor([4, 2, 0, 1])[:, None]).view(4, 3, 3)
    logits, teacher = torch.randn(2, int(hidden.sum()), 6, dtype=dtype).unbind()
    ours, (theirs,) = logits.clone().requires_grad_(), leaves([logits])
    loss = patch_distillation(ours / 0.1, (teacher / 0.0625).softmax(-1), hidden.flatten(1))
    reference = IBOTPatchLoss(6, teacher_temp=0.0625)(teacher.double(), theirs, hidden)
    equal(loss, reference)
    loss.backward()
    reference.backward()
    equal(ours.grad, theirs.grad)


@precisions
def test_koleo_and_its_gradient_equal_lightlys(dtype):
    from lightly.loss import KoLeoLoss

    torch.manual_seed(0)
    rows = torch.randn(9, 5, dtype=dtype)
    ours, (theirs,) = rows.clone().requires_grad_(), leaves([rows])
    loss, reference = koleo(ours), KoLeoLoss()(theirs)
    equal(loss, reference)
    loss.backward()
    reference.backward()
    equal(ours.grad, theirs.grad)


def test_koleo_is_the_papers():
    """With the public code's 1e-8, which it adds to each number of a difference and to its length."""
    angles = [0.0, 0.3, 2.0, 4.0]
    rows, away = [(math.cos(a), math.sin(a)) for a in angles], ((0, 1), (1, 0), (2, 1), (3, 2))
    nearest = [math.hypot(*(a - b + 1e-8 for a, b in zip(rows[i], rows[j]))) + 1e-8 for i, j in away]
    equal(koleo(3 * torch.tensor(rows, dtype=torch.float64)), -sum(map(math.log, nearest)) / 4)
    with pytest.raises(InputError, match="2 or more"):
        koleo(torch.ones(1, 2))


def test_a_region_learns_from_the_most_similar_one():
    torch.manual_seed(0)
    sides = (4, 4, 2)
    students = [torch.randn(3, n, 6, dtype=torch.float64) for n in sides]
    features = [torch.randn(3, n, 5, dtype=torch.float64) for n in sides]
    targets = torch.randn(2, 3, 4, 6, dtype=torch.float64).softmax(-1)
    others = torch.randn(2, 3, 4, 5, dtype=torch.float64)

    def cosine_of(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b)) / math.dist(a, [0] * 5) / math.dist(b, [0] * 5)

    terms = []
    for crop in range(2):
        for view in range(3):
            if view == crop:
                continue
            rows = []
            for picture in range(3):
                for region in range(sides[view]):
                    mine = features[view][picture, region].tolist()
                    best = max(range(4), key=lambda j: cosine_of(mine, others[crop][picture][j].tolist()))
                    log_q = students[view][picture, region].log_softmax(0).tolist()
                    rows.append(-sum(p * q for p, q in zip(targets[crop, picture, best].tolist(), log_q)))
                    assert matched(features[view], others[crop])[picture, region] == best
            terms.append(sum(rows) / len(rows))
    assert len(terms) == 4
    found = region_distillation(students, features, targets, others)
    assert found.item() == pytest.approx(sum(terms) / 4, abs=1e-12)


def test_targets_are_centred_and_sharpened_or_assigned():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 6)
    mean = Targets(6, (0.1, 0.3), 0.5, momentum=0.5)
    torch.testing.assert_close(mean(logits, 0.25), (logits / 0.2).softmax(-1))
    mean.center.follow(0.25)
    center = 0.5 * logits.mean((0, 1))
    torch.testing.assert_close(mean(logits, 0.9), ((logits - center) / 0.3).softmax(-1))
    even = Targets(6, (0.1, 0.3), 0.0, centering="sinkhorn")
    torch.testing.assert_close(even(logits, 0.0).flatten(0, 1), sinkhorn(logits.flatten(0, 1), 0.3))
    assert not list(even.state_dict())
    with pytest.raises(InputError, match="did you mean 'sinkhorn'"):
        Targets(6, (0.1, 0.3), 0.0, centering="sinkhron")


def test_no_rows_are_assigned_to_no_prototypes():
    assert sinkhorn(torch.zeros(0, 4), 0.05).shape == (0, 4)


def test_an_encoder_with_two_heads():
    encoder = Encoder(tiny.VIT, size=32).eval()
    both, one = WithTokens(encoder, nn.Linear(48, 3), nn.Linear(48, 5)), WithTokens(encoder, nn.Linear(48, 3))
    x = torch.randn(2, 3, 32, 32)
    picture, patches, tokens = both(x)
    torch.testing.assert_close(picture, both.head(encoder(x)))
    torch.testing.assert_close(patches, both.token_head(encoder.tokens(x)[:, 1:]))
    torch.testing.assert_close(tokens, encoder.tokens(x)[:, 1:])
    chosen = torch.rand(2, 16) < 0.3
    torch.testing.assert_close(both(x, chosen)[1], patches[chosen])
    assert one(x)[1].shape == (2, 16, 3)


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
            content = decoder.enter(tokens[sample, 1 + int(found)]) if len(found) else decoder.hole[0, 0]
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
