"""BYOL: the loss against the paper and lightly, the target and when it moves, the published heads."""

import math

import pytest
import torch
from torch import nn

import tiny
from firstlight.errors import InputError
from firstlight.parts.losses import cosine_distance
from parity import differ, equal, leaves, precisions


def published(predictions: list, targets: list) -> float:
    """Equation 2 of the paper in plain Python, for both directions: the sum, each averaged over the batch."""

    def unit(row: list[float]) -> list[float]:
        return [x / math.sqrt(sum(y * y for y in row)) for x in row]

    total = 0.0
    for prediction, target in zip(predictions, targets):
        rows = [sum((p - z) ** 2 for p, z in zip(unit(a), unit(b))) for a, b in zip(prediction, target)]
        total += sum(rows) / len(rows)
    return total


def seen(method, batch):
    """The loss of a batch, the predictions of both views (with gradients), the targets of both views."""
    predictions, targets = tiny.outputs(method.predictor), tiny.outputs(method.target)
    loss = method(batch, 0.0)["loss"]
    loss.backward()
    return loss, predictions, targets


@precisions
def test_the_loss_is_the_papers_and_its_gradient_lightlys(dtype):
    from lightly.loss import NegativeCosineSimilarity

    method = tiny.build("byol", tiny.RESNET).to(dtype)
    loss, predictions, targets = seen(method, tiny.batch(method, samples=5))
    other_view = [targets[1].double(), targets[0].double()]
    equal(loss, published([p.tolist() for p in predictions], [z.tolist() for z in other_view]))

    # lightly's example averages the two directions, of which it reports -cos; the paper adds up 2 - 2 cos.
    theirs = leaves(predictions)
    terms = [NegativeCosineSimilarity()(p, z) for p, z in zip(theirs, other_view)]
    reference = sum(2 + 2 * term for term in terms)
    reference.backward()
    equal(loss, reference)
    differ(loss, sum(terms) / 2)
    for ours, expected in zip(predictions, theirs):
        equal(ours.grad, expected.grad)
        differ(ours.grad, expected.grad / 4)


def test_no_gradient_reaches_the_target():
    method = tiny.build("byol")
    _, _, targets = seen(method, tiny.batch(method))
    assert not any(target.requires_grad for target in targets)
    assert not any(p.grad is not None for p in method.target.parameters())


def test_the_target_has_no_predictor_and_ends_where_it_is():
    method = tiny.build("byol", momentum=0.9)
    online = nn.Sequential(method.encoder, method.projector)
    assert len(list(method.target.parameters())) == len(list(online.parameters()))
    start = [p.clone() for p in method.target.copy.parameters()]
    with torch.no_grad():
        for p in online.parameters():
            p.add_(1.0)
    for t in (0.0, 0.5):
        method.after_step(t)
        m = 1 - 0.1 * (math.cos(math.pi * t) + 1) / 2
        start = [m * old + (1 - m) * new.detach() for old, new in zip(start, online.parameters())]
        for mine, expected in zip(method.target.copy.parameters(), start):
            torch.testing.assert_close(mine, expected)
    rest = [p.clone() for p in method.target.copy.parameters()]
    method.after_step(1.0)
    assert all(torch.equal(mine, old) for mine, old in zip(method.target.copy.parameters(), rest))


def test_the_target_moves_once_a_step_under_accumulation():
    method = tiny.build("byol")
    start = [p.clone() for p in method.target.copy.parameters()]
    batch = tiny.batch(method, samples=6)
    for part in (slice(0, 3), slice(3, 6)):
        method(tiny.rows(batch, part), 0.0)["loss"].backward()
    assert all(torch.equal(mine, old) for mine, old in zip(method.target.copy.parameters(), start)), "not before"


def test_the_target_norms_by_its_own_batch():
    method = tiny.build("byol", tiny.RESNET)
    ran = method.target.copy[0].net.bn1.running_mean.clone()
    method(tiny.batch(method), 0.0)
    assert not torch.equal(method.target.copy[0].net.bn1.running_mean, ran)


def test_the_heads_are_the_published_ones():
    """lightly's have their biases the other way round: none before batch norm, and one at the end."""
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead

    method = tiny.build("byol")
    for head, other in ((method.projector, BYOLProjectionHead), (method.predictor, BYOLPredictionHead)):
        theirs = other(8, 8, 8).layers
        for layers in (head, theirs):
            assert [type(layer).__name__ for layer in layers] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert (head[0].bias is None, head[3].bias is None) == (False, True)
        assert (theirs[0].bias is None, theirs[3].bias is None) == (True, False)
    assert (method.predictor[0].in_features, method.predictor[3].out_features) == (16, 16)


def test_equal_directions_are_no_distance_and_opposite_ones_two():
    rows = torch.randn(4, 3, dtype=torch.float64)
    assert cosine_distance(rows, 5 * rows).item() == pytest.approx(0, abs=1e-12)
    assert cosine_distance(rows, -rows).item() == pytest.approx(2)


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match=r"momentum=1\.5.*0 to 1"):
        tiny.build("byol", momentum=1.5)
    with pytest.raises(InputError, match=r"batch=1.*at least 2"):
        tiny.build("byol").check(1)


def test_the_papers_optimisation():
    from firstlight.methods.byol import BYOL

    chosen = BYOL.optimisation
    assert (chosen.optimizer, chosen.lars, chosen.lr, chosen.weight_decay) == ("lars", "mocov3", 0.45, 1e-6)
    assert [(view.blur, view.solarize, view.scale) for view in BYOL.views] == [(1, 0, (0.08, 1)), (0.1, 0.2, (0.08, 1))]


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("byol", tiny.RESNET, momentum=0.97)).double())
    assert losses == pytest.approx([4.987362, 4.870890, 4.482303], abs=1e-4)
