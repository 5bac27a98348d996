"""Barlow Twins: the loss and its gradient against the paper's formula and lightly's, both gradient conventions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.methods import barlow
from parity import differ, equal, leaves, precisions


def published(a: np.ndarray, b: np.ndarray, off_diagonal: float) -> float:
    """Algorithm 1 of the paper, with the biased standard deviation of batch norm that the public code uses."""
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b))
    c = a.T @ b / len(a)
    difference = (c - np.eye(len(c))) ** 2
    weights = np.full_like(c, off_diagonal)
    np.fill_diagonal(weights, 1.0)
    return float((difference * weights).sum())


@precisions
def test_the_loss_and_its_gradient(dtype):
    from lightly.loss import BarlowTwinsLoss

    method = tiny.build("barlow", tiny.RESNET).to(dtype)
    projections = tiny.outputs(method.projector)
    loss = method(tiny.batch(method, samples=6), 0.0)["loss"]
    loss.backward()
    theirs = leaves(projections)
    a, b = (z.detach().numpy() for z in theirs)
    equal(loss, published(a, b, 0.0051))
    reference = BarlowTwinsLoss(lambda_param=0.0051)(*theirs)
    reference.backward()
    equal(loss, reference)
    for ours, expected in zip(projections, theirs):
        equal(ours.grad, expected.grad)
        differ(ours.grad, 0.1 * expected.grad), "solo-learn's recipes scale the loss, and tune their rates to it"


def test_the_standard_deviation_is_the_public_codes():
    """That of batch norm, over so many rows. The paper's pseudo-code divides by one row fewer.

    stable-pretraining still does so, on each rank by itself, so that a feature's correlation with itself is never 1.
    """
    method = tiny.build("barlow", tiny.RESNET).double()
    projections = tiny.outputs(method.projector)
    loss = method(tiny.batch(method, samples=6), 0.0)["loss"]
    a, b = ((z - z.mean(0)) / z.std(0) for z in leaves(projections))
    c = a.T @ b / 6
    weights = torch.full_like(c, 0.0051).fill_diagonal_(1.0)
    differ(loss, ((c - torch.eye(len(c))).square() * weights).sum())
    equal((a.T @ a / 6).diagonal(), [5 / 6] * 32)


def test_the_public_convention_scales_the_gradient_alone(monkeypatch):
    """Two processes that sum the correlations without their gradient find half of it after averaging.

    So do the published code and solo-learn's; lightly did, until it was mended.
    """
    gradients, losses = [], []
    for public in (False, True):
        method = tiny.build("barlow", public=public).double()
        with monkeypatch.context() as patch:
            patch.setattr(barlow, "ranks", SimpleNamespace(world=lambda: 2))
            losses.append(method(tiny.batch(method), 0.0)["loss"])
        losses[-1].backward()
        gradients.append(method.projector[0].weight.grad)
    equal(losses[0], losses[1])
    equal(gradients[0], 2 * gradients[1])


def test_identical_decorrelated_views_cost_nothing():
    method = tiny.build("barlow")
    from firstlight.parts.losses import cross_correlation

    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    torch.testing.assert_close(cross_correlation(signs, signs), torch.eye(2))
    assert method.standardise.affine is False


def test_the_projector_is_the_published_one():
    """lightly's last layer has a bias, which the standardisation takes off again."""
    from lightly.models.modules import BarlowTwinsProjectionHead

    names = ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    projector = tiny.build("barlow").projector
    assert [type(layer).__name__ for layer in projector] == names
    assert all(layer.bias is None for layer in projector if hasattr(layer, "in_features"))
    assert BarlowTwinsProjectionHead(8, 8, 8).layers[-1].bias is not None


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="off_diagonal=-1"):
        tiny.build("barlow", off_diagonal=-1)
    with pytest.raises(InputError, match=r"batch=1.*at least 2"):
        tiny.build("barlow").check(1)


def test_the_papers_optimisation():
    chosen = barlow.Barlow.optimisation
    assert (chosen.optimizer, chosen.lars, chosen.weight_decay, chosen.lr_end) == ("lars", "mocov3", 1e-6, 0.001)
    assert (chosen.lr, chosen.lr * chosen.vector_rate) == pytest.approx((0.2, 0.0048)), "weights and biases"


def test_three_steps_are_as_recorded():
    losses = tiny.three_steps(tiny.fill(tiny.build("barlow", tiny.RESNET)).double())
    assert losses == pytest.approx([28.775901, 29.935572, 34.348727], abs=1e-4)
