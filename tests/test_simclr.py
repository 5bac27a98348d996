"""SimCLR: NT-Xent and the whole method against the paper's equation and lightly, the head, and how peers differ."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import nt_xent
from firstlight.train.optimisers import LARS
from parity import differ, equal, equal_each, precisions, slopes


def published(a: list[list[float]], b: list[list[float]], temperature: float) -> float:
    """Equation 1 of the paper in plain Python: rows 2k-1 and 2k are a pair, the mean runs over all 2N rows."""
    rows = [row for pair in zip(a, b) for row in pair]
    rows = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    similar = [[sum(x * y for x, y in zip(p, q)) / temperature for q in rows] for p in rows]

    def one(i: int, j: int) -> float:
        others = sum(math.exp(similar[i][k]) for k in range(len(rows)) if k != i)
        return -math.log(math.exp(similar[i][j]) / others)

    pairs = range(0, len(rows), 2)
    return sum(one(k, k + 1) + one(k + 1, k) for k in pairs) / len(rows)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("samples", [2, 7])
def test_nt_xent_is_the_papers(samples, temperature):
    torch.manual_seed(samples)
    a, b = torch.randn(2, samples, 5, dtype=torch.float64).unbind()
    expected = published(a.tolist(), b.tolist(), temperature)
    equal(nt_xent(a, b, temperature), expected)
    equal(nt_xent(a.float(), b.float(), temperature), expected)


@precisions
def test_nt_xent_and_its_gradient_equal_lightlys(dtype):
    from lightly.loss import NTXentLoss

    torch.manual_seed(0)
    a, b = torch.randn(2, 6, 8, dtype=dtype).unbind()
    ours, theirs = (tuple(x.clone().requires_grad_() for x in (a, b)) for _ in range(2))
    loss, reference = nt_xent(*ours, 0.2), NTXentLoss(temperature=0.2)(*theirs)
    equal(loss, reference)
    loss.backward()
    reference.backward()
    for x, y in zip(ours, theirs):
        equal(x.grad, y.grad)


@precisions
def test_the_method_is_the_papers_and_its_gradient_lightlys(dtype):
    """At every weight; lightly's own default temperature is 0.5, which is the paper's for CIFAR-10 alone."""
    from lightly.loss import NTXentLoss

    method = tiny.build("simclr").to(dtype)
    batch = tiny.batch(method, samples=6)
    a, b = method.head(method.encoder(torch.cat(batch.views))).chunk(2)
    loss = method(batch, 0.0)["loss"]
    equal(loss, published(a.tolist(), b.tolist(), 0.1))
    reference = NTXentLoss(temperature=0.1)(a, b)
    equal(loss, reference)
    equal_each(slopes(loss, method), slopes(reference, method))
    differ(loss, NTXentLoss()(a, b))


def test_unlike_solo_learns_it_does_not_overflow():
    """solo-learn sums exponentials as they are, without taking the largest logit off first."""
    rows = torch.eye(4).repeat(2, 1)
    theirs = (rows @ rows.T / 0.01).exp().fill_diagonal_(0)
    theirs = -(theirs[range(8), [4, 5, 6, 7, 0, 1, 2, 3]] / theirs.sum(1)).log().mean()
    assert not theirs.isfinite()
    assert nt_xent(rows[:4], rows[4:], 0.01) == pytest.approx(0, abs=1e-6)


def test_the_head_is_the_published_one():
    """solo-learn's has no batch norm, and lightly's last one learns a shift that the published one has not."""
    from lightly.models.modules import SimCLRProjectionHead

    head, theirs = tiny.build("simclr").head, SimCLRProjectionHead(48, 32, 16).layers
    names = ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in head] == [type(layer).__name__ for layer in theirs] == names
    assert head[0].bias is head[3].bias is theirs[0].bias is theirs[3].bias is None
    assert (head[4].bias.requires_grad, theirs[4].bias.requires_grad) == (False, True)
    assert not head[4].bias.any()
    rows = torch.randn(6, head[0].in_features)
    differ(head(rows), head[3](head[2](head[0](rows)))), "solo-learn's"


@torch.no_grad()
def test_lightlys_lars_is_that_of_swav():
    """It has one rule for all methods, apex's: it divides by |g| + d |w|, where SimCLR and MoCo v3 do by |g + d w|."""
    from lightly.utils.lars import LARS as Theirs

    torch.manual_seed(0)
    start, slope = torch.randn(2, 5, 4, dtype=torch.float64)
    moved = {}
    for rule in ("swav", "simclr", "mocov3", "lightly"):
        weight = torch.nn.Parameter(start.clone())
        weight.grad = slope.clone()
        given = {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.5}
        (Theirs([weight], **given) if rule == "lightly" else LARS([weight], **given, rule=rule)).step()
        moved[rule] = weight - start
    equal(moved["swav"], moved["lightly"])
    for rule in ("simclr", "mocov3"):
        differ(moved[rule], moved["lightly"])


def test_nt_xent_knows_its_extremes():
    one = torch.eye(8)
    assert nt_xent(one, one, 0.01) == pytest.approx(0, abs=1e-6)
    same = torch.ones(8, 4)
    assert nt_xent(same, same, 0.1) == pytest.approx(math.log(15), rel=1e-5)
    assert nt_xent(100 * one, one, 0.5) == pytest.approx(nt_xent(one, one, 0.5).item()), "lengths do not matter"


def test_nt_xent_survives_half_precision():
    a = torch.randn(8, 16)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype):
            loss = nt_xent(a.to(dtype), a.to(dtype) + 0.1, 0.05)
        assert loss.dtype == torch.float32
        assert loss == pytest.approx(nt_xent(a.to(dtype).float(), (a.to(dtype) + 0.1).float(), 0.05).item(), abs=1e-6)


def test_both_views_share_one_pass():
    method = tiny.build("simclr", tiny.RESNET)
    sizes = []
    method.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    method(tiny.batch(method, samples=4), 0.0)
    assert sizes == [8]


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"layers": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"simclr\(.*nearest: (0\.001|1)$"):
        tiny.build("simclr", **settings)


def test_the_papers_optimisation():
    from firstlight.methods.simclr import SimCLR

    chosen = SimCLR.optimisation
    assert (chosen.optimizer, chosen.lars, chosen.lr, chosen.weight_decay) == ("lars", "simclr", 0.3, 1e-6)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("simclr", tiny.RESNET)).double())
    assert losses == pytest.approx([5.180035, 6.320687, 4.566573], abs=1e-4)
