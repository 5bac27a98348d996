"""SwAV: the loss against the paper and lightly, the queue, the prototypes."""

import math

import numpy as np
import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import distillation
from firstlight.parts.sinkhorn import sinkhorn
from parity import differ, equal, leaves, precisions


def assigned(scores: np.ndarray, epsilon: float) -> np.ndarray:
    """Three rounds of the paper's Sinkhorn-Knopp algorithm."""
    q = np.exp(scores / epsilon).T
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(1, keepdims=True) * len(q)
        q /= q.sum(0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T


def published(scores: np.ndarray, temperature: float, epsilon: float, *, together: bool = False) -> float:
    """The swapped prediction of the paper's pseudo-code: two assignments, each predicted from all other crops.

    ``together`` finds the assignments of both in one, as stable-pretraining does.
    """
    total = 0.0
    for i in range(2):
        both = assigned(np.concatenate(scores[:2]), epsilon)
        q = np.split(both, 2)[i] if together else assigned(scores[i], epsilon)
        others = [v for v in range(len(scores)) if v != i]
        for v in others:
            logits = scores[v] / temperature
            log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            total -= (q * log_p).sum(1).mean() / len(others) / 2
    return float(total)


@precisions
def test_the_loss_is_the_papers_and_its_gradient_lightlys(dtype):
    from lightly.loss import SwaVLoss

    method = tiny.build("swav", tiny.RESNET, epsilon=0.05).to(dtype)
    scores = tiny.outputs(method.prototypes)
    loss = method(tiny.batch(method, samples=6), 0.0)["loss"]
    loss.backward()
    (crops,) = leaves(scores)
    equal(loss, published(crops.detach().numpy(), 0.1, 0.05))
    reference = SwaVLoss(temperature=0.1, sinkhorn_epsilon=0.05)(list(crops[:2]), list(crops[2:]))
    reference.backward()
    equal(loss, reference[0])
    equal(scores[0].grad, crops.grad)


def test_each_crop_is_assigned_by_itself():
    """stable-pretraining shares the prototypes out among both crops at once, which is another loss."""
    crops = np.random.default_rng(0).uniform(-1, 1, (4, 6, 5))
    targets = torch.stack([sinkhorn(torch.from_numpy(crop), 0.05) for crop in crops[:2]])
    loss = distillation(torch.from_numpy(crops) / 0.1, targets)
    equal(loss, published(crops, 0.1, 0.05))
    differ(loss, published(crops, 0.1, 0.05, together=True))


def test_embeddings_and_prototypes_are_unit_vectors():
    """lightly's prototypes have a bias; the published ones have none, and length 1."""
    from lightly.models.modules import SwaVPrototypes

    assert SwaVPrototypes(16, 48).heads[0].bias is not None
    method = tiny.build("swav")
    scores = tiny.outputs(method.prototypes)
    tiny.three_steps(method)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(48))
    assert max(score.abs().max() for score in scores) <= 1 + 1e-6
    assert [name for name, _ in method.prototypes.named_parameters()] == ["weight"]


def test_the_queue_joins_once_it_is_full_and_it_is_time():
    method = tiny.build("swav", queue=8, queue_from=0.5).double()
    plain = tiny.build("swav", queue=0).double()
    method.after_step(0.0)  # float32's unit vectors become float64's
    plain.load_state_dict({key: value for key, value in method.state_dict().items() if "queue" not in key})
    for step in range(3):
        batch = tiny.batch(method, seed=step)
        for t, joined in ((0.4, False), (0.6, step == 2)):  # full after two steps of four
            same = method(batch, t)["loss"].item() == pytest.approx(plain(batch, t)["loss"].item(), abs=1e-12)
            assert same != joined, f"step {step} at {t}"
        method.after_step(0.6)


def test_the_queue_holds_embeddings_which_todays_prototypes_score():
    method = tiny.build("swav", queue=4, queue_from=0.0, epsilon=0.05).double()
    method.after_step(0.0)
    scores = tiny.outputs(method.prototypes)
    method(tiny.batch(method, seed=1), 0.0)
    method.after_step(0.0)
    first = scores[0][:2]
    with torch.no_grad():
        method.prototypes.weight.copy_(method.prototypes.weight.roll(1, 0))
    scores.clear()
    out = method(tiny.batch(method, seed=2), 0.1)
    rolled = first.detach().roll(1, -1)
    both = [torch.cat([scores[0][crop].detach(), rolled[crop]]) for crop in range(2)]
    targets = torch.stack([sinkhorn(x, 0.05)[:4] for x in both])
    equal(out["entropy"], torch.special.entr(targets).sum(-1).mean())


def test_the_queue_moves_once_a_step_under_accumulation():
    method = tiny.build("swav", queue=8)
    batch = tiny.batch(method, samples=4)
    for part in (slice(0, 2), slice(2, 4)):
        method(tiny.rows(batch, part), 0.0)
        assert method.queue.filled == 0
    method.after_step(0.0)
    assert method.queue.filled == 4


def test_prototypes_rest_at_first():
    method = tiny.build("swav", freeze=0.5)
    frozen = method.prototypes.weight.detach().clone()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for t, moves in ((0.0, False), (0.49, False), (0.5, True)):
        optimizer.zero_grad()
        method(tiny.batch(method), t)["loss"].backward()
        method.before_step(t)
        optimizer.step()
        method.after_step(t)
        assert torch.allclose(method.prototypes.weight, frozen, atol=1e-6) != moves


def test_collapse_shows_in_the_entropy():
    method = tiny.build("swav")
    entropy = method(tiny.batch(method), 0.0)["entropy"].item()
    assert 0 < entropy <= math.log(48)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"epsilon": 0.0}, {"prototypes": 1}, {"queue": -1}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match="swav"):
        tiny.build("swav", **settings)


def test_models_of_one_size_and_batches_of_one_are_refused():
    with pytest.raises(InputError, match="two sizes"):
        tiny.build("swav", "mixer_s32_224")
    with pytest.raises(InputError, match=r"batch=1.*at least 2"):
        tiny.build("swav").check(1)


def test_the_papers_optimisation():
    from firstlight.methods.swav import SwAV

    chosen = SwAV.optimisation
    assert (chosen.optimizer, chosen.lars, chosen.weight_decay, chosen.lr_end) == ("lars", "swav", 1e-6, 0.001)
    assert chosen.lr * 4096 / 256 == pytest.approx(4.8)
    assert [(view.count, view.scale) for view in SwAV.views] == [(2, (0.14, 1.0)), (6, (0.05, 0.14))]


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("swav", epsilon=0.05)).double())
    assert losses == pytest.approx([6.731301, 6.735402, 6.193154], abs=1e-4)
