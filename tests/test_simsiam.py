"""SimSiam: the loss and its gradient against the paper and lightly, the stop-gradient, the published heads."""

import math

import pytest

import tiny
from firstlight.errors import InputError
from parity import equal, leaves, precisions


def published(predictions: list, projections: list) -> float:
    """Algorithm 1 of the paper in plain Python: L = D(p1, z2) / 2 + D(p2, z1) / 2 with D = -cos."""

    def unit(row: list[float]) -> list[float]:
        return [x / math.sqrt(sum(y * y for y in row)) for x in row]

    total = 0.0
    for prediction, projection in zip(predictions, reversed(projections)):
        rows = [-sum(p * z for p, z in zip(unit(a), unit(b))) for a, b in zip(prediction, projection)]
        total += sum(rows) / len(rows) / 2
    return total


@precisions
def test_the_loss_is_the_papers_and_its_gradient_lightlys(dtype):
    from lightly.loss import NegativeCosineSimilarity

    method = tiny.build("simsiam", tiny.RESNET).to(dtype)
    predictions, projections = tiny.outputs(method.predictor), tiny.outputs(method.projector)
    loss = method(tiny.batch(method, samples=5), 0.0)["loss"]
    loss.backward()
    equal(loss, 1 + published([p.tolist() for p in predictions], [z.tolist() for z in projections]))

    theirs = leaves(predictions)
    z = [projection.detach().double() for projection in projections]
    reference = (NegativeCosineSimilarity()(theirs[0], z[1]) + NegativeCosineSimilarity()(theirs[1], z[0])) / 2
    reference.backward()
    for ours, other in zip(predictions, theirs):
        equal(ours.grad, other.grad)


def test_the_gradient_stops_at_the_other_projection():
    method = tiny.build("simsiam").double()
    predictions, projections = tiny.outputs(method.predictor), tiny.outputs(method.projector)
    method(tiny.batch(method), 0.0)["loss"].backward()
    for prediction, projection in zip(predictions, projections):
        leaf = projection.detach().requires_grad_()
        method.predictor(leaf).backward(prediction.grad)
        equal(projection.grad, leaf.grad, of="only through its own predictor")


def test_the_heads_are_the_published_ones():
    method = tiny.build("simsiam", layers=3)
    names = ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in method.projector] == names
    assert not method.projector[-1].affine
    assert all(layer.bias is None for layer in method.projector if hasattr(layer, "in_features"))
    assert [type(layer).__name__ for layer in method.predictor] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert (method.predictor[0].bias is None, method.predictor[3].bias is None) == (True, False)
    free = tiny.build("simsiam", bottleneck=None)
    assert (free.predictor[0].out_features, free.predictor[3].out_features) == (8, 32), "a quarter of the projections"


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="layers=0"):
        tiny.build("simsiam", layers=0)
    with pytest.raises(InputError, match=r"batch=1.*at least 2"):
        tiny.build("simsiam").check(1)


def test_the_papers_optimisation():
    from firstlight.methods.simsiam import SimSiam

    chosen = SimSiam.optimisation
    assert (chosen.optimizer, chosen.lr, chosen.weight_decay, chosen.warmup) == ("sgd", 0.05, 1e-4, 0.0)
    assert chosen.constant == ("predictor",)


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("simsiam", tiny.RESNET)).double())
    assert losses == pytest.approx([0.988176, 1.037065, 0.895724], abs=1e-4)
