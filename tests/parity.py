"""When numbers equal those of an independent reference: to 1e-9 in double precision and to 1e-5 in single."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
"""the largest difference allowed, as a share of the reference's largest entry"""
precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)

Numbers = Tensor | np.ndarray | Sequence[Any] | float


def equal(ours: Tensor, theirs: Numbers, *, scale: float | None = None, of: str = "") -> None:
    """Holds ours to the tolerance of its precision.

    Args:
        ours: a loss, a gradient or whatever else.
        theirs: the same of the reference, in any precision.
        scale: of which the tolerance is a share; the reference's largest entry unless given.
        of: what it is, for the message.
    """
    assert ours is not None, f"{of}: none"
    mine, other = ours.detach().double(), _double(theirs)
    assert mine.shape == other.shape
    assert other.isfinite().all(), f"{of}: the reference is not finite"
    scale = other.abs().max().item() if scale is None else scale
    torch.testing.assert_close(mine, other, rtol=0, atol=TOLERANCE[ours.dtype] * scale, msg=lambda m: f"{of} {m}")


def equal_each(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Holds the gradients of many weights to it, each by its own largest entry.

    A gradient which beside the largest is rounding alone, such as that of a bias before batch norm, is held to that
    one's scale.
    """
    assert ours.keys() == theirs.keys()
    largest = {name: other.abs().max().item() for name, other in theirs.items()}
    whole = max(largest.values())
    assert whole > 0
    for name, other in theirs.items():
        rounding = largest[name] <= TOLERANCE[ours[name].dtype] * whole
        equal(ours[name], other, scale=whole if rounding else None, of=name)


def differ(ours: Numbers, theirs: Numbers) -> None:
    """Holds that a peer's other form gives something else: by more than a hundredth of the largest entry."""
    mine, other = _double(ours), _double(theirs)
    assert (mine - other).abs().max() > 0.01 * other.abs().max()


def leaves(outputs: Sequence[Tensor]) -> list[Tensor]:
    """The same values in double precision, at which a reference may find its own gradients."""
    return [out.detach().double().requires_grad_() for out in outputs]


def slopes(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """The gradient of a loss at every trained weight, by name."""
    trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    return dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))


def _double(values: Numbers) -> Tensor:
    return values.detach().double() if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.float64)
