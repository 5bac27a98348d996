"""SimCLR: NT-Xent against the paper's equation and lightly, and the published head."""

import math

import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import nt_xent


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
    assert nt_xent(a, b, temperature).item() == pytest.approx(expected, abs=1e-9)
    assert nt_xent(a.float(), b.float(), temperature).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_nt_xent_and_its_gradient_equal_lightlys(dtype, atol):
    from lightly.loss import NTXentLoss

    torch.manual_seed(0)
    a, b = torch.randn(2, 6, 8, dtype=dtype).unbind()
    ours, theirs = (tuple(x.clone().requires_grad_() for x in (a, b)) for _ in range(2))
    loss, reference = nt_xent(*ours, 0.2), NTXentLoss(temperature=0.2)(*theirs)
    torch.testing.assert_close(loss, reference, rtol=0, atol=atol)
    loss.backward()
    reference.backward()
    for x, y in zip(ours, theirs):
        torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=atol)


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
