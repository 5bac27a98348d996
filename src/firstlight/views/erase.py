"""Random erasing: a rectangle of each chosen sample becomes noise, after normalising.

Zhong et al., AAAI 2020. https://arxiv.org/abs/1708.04896. Area, aspect and per-pixel noise are those of timm's
``RandomErasing(mode="pixel")``.
"""

import torch
from torch import Tensor

from .crop import rectangles
from .random import Salt, normal, uniform, uniforms

__all__ = ["boxes", "erase"]

AREA = (0.02, 1 / 3)
RATIO = (0.3, 1 / 0.3)


def boxes(key: Tensor, side: int, chance: float) -> Tensor:
    """Draws the rectangles of a square view: top, left, height, width, int64 ``[B, 4]``; all zero where none is erased.

    Args:
        key: int64 ``[B]``.
        side: the view's, in pixels. A rectangle is always smaller than the view along both axes.
        chance: the probability that a sample loses one.
    """
    limit = torch.full_like(key, side)
    high, wide, fits = rectangles(key, limit, limit, AREA, RATIO, Salt.ERASE, margin=1)
    fits &= uniform(key, Salt.ERASE, 1) < chance
    place = uniforms(key, 2, Salt.ERASE, 2).double()
    top = (place[:, 0] * (side - high + 1)).long()
    left = (place[:, 1] * (side - wide + 1)).long()
    return torch.stack([top, left, high, wide], dim=1) * fits[:, None]


def erase(images: Tensor, box: Tensor, key: Tensor) -> Tensor:
    """Writes standard normal noise into each sample's rectangle.

    Args:
        images: float32 ``[B, C, H, W]``, overwritten.
        box: int64 ``[B, 4]`` on the CPU.
        key: int64 ``[B]`` on the CPU.

    Returns:
        ``images``.
    """
    chosen = (box[:, 2] > 0).nonzero()[:, 0]
    if not len(chosen):
        return images
    place = chosen.to(images.device)
    some = images[place]
    noise = normal(key[chosen].to(images.device), some[0].numel(), Salt.NOISE).view_as(some)
    images[place] = torch.where(inside(box[chosen].to(images.device), *some.shape[2:]), noise, some)
    return images


def inside(box: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in each sample's box ``[B, 4]``: bool ``[B, 1, height, width]``."""
    top, left, high, wide = box.view(-1, 4, 1).unbind(1)
    row, column = torch.arange(height, device=box.device), torch.arange(width, device=box.device)
    rows, columns = (row >= top) & (row < top + high), (column >= left) & (column < left + wide)
    return (rows[:, None, :, None]) & (columns[:, None, None, :])
