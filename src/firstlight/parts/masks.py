"""Which patches of a picture are hidden, drawn from each sample's key.

Rectangles: Bao et al., "BEiT", ICLR 2022. https://arxiv.org/abs/2106.08254
"""

import math

import torch
from torch import Tensor

from ..views.random import Salt, branch, uniforms

ASPECT = math.log(1 / 0.3)
"""rectangles are at most so many times (in logarithms) as high as wide, or as wide as high"""
TRIES = 10
"""for each rectangle"""


def random_mask(key: Tensor, length: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Hides the same number of patches in every picture, each picture at its own random places.

    Args:
        key: int64 ``[B]``, the samples' keys.
        length: the number of patches ``L``.
        ratio: the hidden share; ``int(L * (1 - ratio))`` patches stay, as in the published MAE code.

    Returns:
        ``keep``, int64 ``[B, K]``, the numbers of the visible patches; ``hidden``, bool ``[B, L]``.
    """
    noise = uniforms(key, length, Salt.HIDE)
    keep = noise.argsort(dim=1, stable=True)[:, : int(length * (1 - ratio))]
    return keep, torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False)


def crop_masks(
    key: Tensor, crops: int, grid: int, holes: float, share: tuple[float, float], smallest: int, blocks: bool = True
) -> Tensor:
    """Masks for several crops of each picture, each crop with its own: bool ``[crops * B, grid * grid]``, crop by crop.

    Args:
        key: int64 ``[B]``, the samples' keys.
        crops: how many of each picture.
        grid: patches along a side.
        holes: the probability that anything is hidden at all; it is then
        share: of the patches, drawn uniformly between these two.
        smallest: the area from which rectangles are drawn, in patches.
        blocks: hide rectangles; otherwise single patches, exactly so many.
    """
    keys = torch.cat([branch(key, crop) for crop in range(crops)])
    draw = uniforms(keys, 2, Salt.SHARE).double()
    count = grid**2 * torch.where(draw[:, 0] < holes, share[0] + (share[1] - share[0]) * draw[:, 1], 0.0)
    if blocks:
        return block_mask(keys, grid, count, smallest)
    order = uniforms(keys, grid**2, Salt.HIDE).argsort(dim=1, stable=True).argsort(dim=1)
    return order < count.long()[:, None]


def block_mask(key: Tensor, grid: int, count: Tensor, smallest: int) -> Tensor:
    """Hides rectangles of patches until ``count`` are hidden, or a little fewer: never more.

    A rectangle's area is drawn uniformly from ``smallest`` to what is still to hide, its aspect log-uniformly from 0.3
    to 1 / 0.3, its place uniformly. It is taken if it is smaller than the picture, hides something new and not more
    than is still to hide. After ten tries in a row without one the mask stays as it is. This is the rule of BEiT, and
    of iBOT and DINOv2, which differ in ``smallest`` alone.

    Args:
        key: int64 ``[B]``, one for each mask.
        grid: patches along a side.
        count: how many to hide, ``[B]``; need not be whole.
        smallest: an area in patches: 16 in BEiT, 4 in DINOv2, a third of the side squared in iBOT.

    Returns:
        bool ``[B, grid * grid]``, True where hidden, the same on every device.
    """
    device, key, count = key.device, key.cpu(), count.cpu().double()  # a GPU's square roots may round another way
    mask, place = torch.zeros(len(key), grid, grid, dtype=torch.bool), torch.arange(grid)
    left, failed, attempt = count, torch.zeros(len(key)), 0
    while (active := (left > 0) & (failed < TRIES)).any():
        area, aspect, *corner = uniforms(key, 4, Salt.BLOCK, attempt).double().unbind(1)
        area, aspect = smallest + (left - smallest) * area, (ASPECT * (2 * aspect - 1)).exp()
        sides = [(area * aspect).clamp(min=0).sqrt().round(), (area / aspect).clamp(min=0).sqrt().round()]
        starts = [(draw * (grid - side + 1)).floor() for draw, side in zip(corner, sides)]

        rows, columns = (
            (place >= start[:, None]) & (place < (start + side)[:, None]) for start, side in zip(starts, sides)
        )
        block = rows[:, :, None] & columns[:, None, :]
        new = (block & ~mask).sum((1, 2))
        taken = active & (torch.maximum(*sides) < grid) & (new > 0) & (new <= left)

        mask |= block & taken[:, None, None]
        left, failed = torch.where(taken, left - new, left), torch.where(taken, 0, failed + 1)
        attempt += 1
    return mask.flatten(1).to(device)
