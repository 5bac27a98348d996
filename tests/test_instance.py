"""Instance discrimination: softmax and noise contrast against the paper's formulas, the memory and when it moves."""

import math

import pytest
import torch
from torch import nn

import tiny
from firstlight.errors import InputError
from firstlight.parts.bank import noise_contrast
from firstlight.views.random import Salt, uniforms
from parity import equal, leaves, precisions


def unit(row: list[float]) -> list[float]:
    return [x / math.sqrt(sum(y * y for y in row)) for x in row]


def softmax(rows: list, bank: list, index: list[int], temperature: float) -> float:
    """Equation 2 of the paper in plain Python."""
    total = 0.0
    for row, i in zip(map(unit, rows), index):
        logits = [sum(x * y for x, y in zip(row, other)) / temperature for other in bank]
        total += -logits[i] + math.log(sum(map(math.exp, logits)))
    return total / len(rows)


def contrast(rows: list, bank: list, index: list, drawn: list, temperature: float, z: float) -> float:
    """Equations 4 to 8 of the paper in plain Python: h = P / (P + m Pn) with Pn = 1 / n, for data and noise."""
    m, n, total = len(drawn[0]), len(bank), 0.0
    for row, i, others in zip(map(unit, rows), index, drawn):
        p = [math.exp(sum(x * y for x, y in zip(row, bank[j])) / temperature) / z for j in [i, *others]]
        h = [x / (x + m / n) for x in p]
        total -= math.log(h[0]) + sum(math.log(1 - x) for x in h[1:])
    return total / len(rows)


def softmax_of(rows: torch.Tensor, bank: torch.Tensor, index: torch.Tensor, temperature: float) -> torch.Tensor:
    """The same in torch, for its gradient."""
    log_p = (nn.functional.normalize(rows) @ bank.double().T / temperature).log_softmax(1)
    return -log_p[torch.arange(len(rows)), index].mean()


def contrast_of(
    rows: torch.Tensor, bank: torch.Tensor, index: torch.Tensor, drawn: torch.Tensor, temperature: float, z: float
) -> torch.Tensor:
    """Noise contrast in torch, likewise."""
    chosen = bank.double()[torch.cat([index[:, None], drawn], 1)]
    p = torch.einsum("bkd,bd->bk", chosen, nn.functional.normalize(rows)).div(temperature).exp() / z
    h = p / (p + drawn.shape[1] / len(bank))
    return -(h[:, 0].log() + (1 - h[:, 1:]).log().sum(1)).mean()


@precisions
def test_the_full_softmax_and_its_gradient_are_the_papers(dtype):
    method = tiny.build("instance", tiny.RESNET).to(dtype)
    rows = tiny.outputs(method.head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    bank, index = method.bank.rows, batch.index
    equal(loss, softmax(rows[0].tolist(), bank.tolist(), index.tolist(), 0.1))
    (theirs,) = leaves(rows)
    softmax_of(theirs, bank, index, 0.1).backward()
    equal(rows[0].grad, theirs.grad)


@precisions
def test_noise_contrast_and_its_gradient_are_the_papers(dtype):
    method = tiny.build("instance", tiny.RESNET, negatives=5, pictures=20).to(dtype)
    rows = tiny.outputs(method.head)
    batch = tiny.batch(method)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    drawn = (uniforms(batch.key, 5, Salt.NEGATIVES).double() * 20).long()
    bank, z = method.bank.rows, method.find.normaliser.item()
    equal(loss, contrast(rows[0].tolist(), bank.tolist(), batch.index.tolist(), drawn.tolist(), 0.1, z))
    (theirs,) = leaves(rows)
    contrast_of(theirs, bank, batch.index, drawn, 0.1, z).backward()
    equal(rows[0].grad, theirs.grad)


def test_the_normaliser_comes_from_the_first_batch_and_stays():
    method = tiny.build("instance", negatives=6)
    rows = tiny.outputs(method.head)
    batch = tiny.batch(method)
    method(batch, 0.0)
    drawn = (uniforms(batch.key, 6, Salt.NEGATIVES).double() * 6).long()
    chosen = method.bank.rows[torch.cat([batch.index[:, None], drawn], 1)]
    weights = torch.einsum("bkd,bd->bk", chosen, nn.functional.normalize(rows[0])).div(0.1).exp()
    assert method.find.normaliser.item() == pytest.approx(weights.mean().item() * 6, rel=1e-5)
    kept = method.find.normaliser.clone()
    method(tiny.batch(method, seed=1), 0.1)
    assert torch.equal(method.find.normaliser, kept)
    assert "find.normaliser" in method.state_dict(), "a resumed run needs it"


def test_a_perfect_model_tells_data_from_noise():
    p = torch.tensor([[1e6, 0.0, 0.0]], dtype=torch.float64)
    assert noise_contrast(p, 0.1).item() == pytest.approx(0, abs=1e-6)
    even = torch.full((1, 3), 0.5, dtype=torch.float64)
    assert noise_contrast(even, 0.5).item() == pytest.approx(3 * math.log(2)), "as likely as noise: a coin each"


def test_the_memory_moves_half_way_after_the_step():
    method = tiny.build("instance")
    rows = tiny.outputs(method.head)
    before = method.bank.rows.clone()
    batch = tiny.batch(method)
    for part in (slice(0, 2), slice(2, 4)):
        method(tiny.rows(batch, part), 0.0)
    assert torch.equal(method.bank.rows, before), "not in a micro-batch"
    method.after_step(0.0)
    seen = nn.functional.normalize(torch.cat(rows), dim=1)
    expected = nn.functional.normalize(0.5 * before[:4] + 0.5 * seen, dim=1)
    torch.testing.assert_close(method.bank.rows[:4], expected)
    assert torch.equal(method.bank.rows[4:], before[4:])


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"momentum": 1.0}, {"negatives": -1}, {"pictures": 0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        tiny.build("instance", **settings)


def test_the_papers_optimisation():
    from firstlight.methods.instance import Instance

    chosen = Instance.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay) == ("sgd", 0.03, 1e-4)
    assert sum(view.count for view in Instance.views) == 1


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("instance", tiny.RESNET)).double())
    assert losses == pytest.approx([3.824081, 3.076812, 1.725664], abs=1e-4)


def test_a_recipe_says_how_many_pictures_there_are():
    from firstlight.recipe import _choose

    encoder = tiny.build("byol", tiny.RESNET).encoder
    for name in ("instance", "pirl"):
        assert len(_choose.method(name, encoder, 0, fresh=True, pictures=7).bank.rows) == 7
    with pytest.raises(InputError, match=r"pictures=9.*7"):
        _choose.method("instance(pictures=9)", encoder, 0, fresh=True, pictures=7)
