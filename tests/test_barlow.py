"""Barlow Twins: the loss and its gradient against the paper's formula and lightly's, both gradient conventions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny
from firstlight.errors import InputError
from firstlight.methods import barlow


def published(a: np.ndarray, b: np.ndarray, off_diagonal: float) -> float:
    """Algorithm 1 of the paper, with the biased standard deviation of batch norm that the public code uses."""
    a, b = ((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) for z in (a, b))
    c = a.T @ b / len(a)
    difference = (c - np.eye(len(c))) ** 2
    weights = np.full_like(c, off_diagonal)
    np.fill_diagonal(weights, 1.0)
    return float((difference * weights).sum())


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_loss_and_its_gradient(dtype, rtol):
    from lightly.loss import BarlowTwinsLoss

    method = tiny.build("barlow", tiny.RESNET).to(dtype)
    projections = tiny.outputs(method.projector)
    loss = method(tiny.batch(method, samples=6), 0.0)["loss"]
    loss.backward()
    a, b = (z.detach().double().numpy() for z in projections)
    assert loss.item() == pytest.approx(published(a, b, 0.0051), rel=rtol)

    theirs = [z.detach().clone().requires_grad_() for z in projections]
    reference = BarlowTwinsLoss(lambda_param=0.0051)(*theirs)
    reference.backward()
    torch.testing.assert_close(loss, reference, rtol=rtol, atol=0)
    for ours, expected in zip(projections, theirs):
        torch.testing.assert_close(ours.grad, expected.grad, rtol=rtol, atol=rtol)


def test_the_public_convention_scales_the_gradient_alone(monkeypatch):
    """Two processes that sum the correlations without their gradient find half of it after averaging."""
    gradients, losses = [], []
    for public in (False, True):
        method = tiny.build("barlow", public=public).double()
        with monkeypatch.context() as patch:
            patch.setattr(barlow, "ranks", SimpleNamespace(world=lambda: 2))
            losses.append(method(tiny.batch(method), 0.0)["loss"])
        losses[-1].backward()
        gradients.append(method.projector[0].weight.grad)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-14, atol=0)
    torch.testing.assert_close(gradients[0], 2 * gradients[1], rtol=1e-12, atol=0)


def test_identical_decorrelated_views_cost_nothing():
    method = tiny.build("barlow")
    from firstlight.parts.losses import cross_correlation

    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    torch.testing.assert_close(cross_correlation(signs, signs), torch.eye(2))
    assert method.standardise.affine is False


def test_the_projector_is_the_published_one():
    names = ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    projector = tiny.build("barlow").projector
    assert [type(layer).__name__ for layer in projector] == names
    assert all(layer.bias is None for layer in projector if hasattr(layer, "in_features"))


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
