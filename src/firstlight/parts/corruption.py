"""Pictures with groups of patches dropped, and others shown in the place of more: group-masked model learning.

Atito et al., "SiT", 2021. https://arxiv.org/abs/2104.03602
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError
from ..views.random import Salt, branch, normal, uniform, uniforms
from .patches import enlarged

LARGEST = 0.3
"""side of the largest group, as a share of the picture's"""
LEAST = 4
"""patches along a side, so that a group is not most of the picture"""
MOST = 0.9
"""share of the patches; the last few would be long in coming"""


class Corruption(nn.Module):
    """Spoils several views of each picture, each in its own way, and leaves the views themselves as they are.

    What takes the place of replaced patches is the same place of the same view of another picture, drawn from the
    pictures of all ranks, which for that send theirs: so it matters to no picture how many ranks there are.

    Args:
        encoder: whose tokens stand for the patches; it is not kept.
        method: whose name errors carry.
        drop: the largest share of the patches that is dropped: drawn evenly from half of the picture, or from this if
            it is less, up to this.
        noise: the share of the views whose dropped patches are normal noise; those of the others are zeros.
        swapped: the largest share of the patches that is then replaced, dropped before or not: drawn evenly from 0.

    Attributes:
        patch: the side of a patch in pixels.

    Raises:
        InputError: for shares out of their ranges, or an encoder without a grid of 4 by 4 tokens or more.
    """

    def __init__(self, encoder: Encoder, method: str, *, drop: float = 0.5, noise: float = 0.0, swapped: float = 0.3):
        super().__init__()
        if not 0 < drop <= MOST or not 0 <= noise <= 1 or not 0 <= swapped <= MOST:
            given = f"drop={drop}, noise={noise}, swapped={swapped}"
            raise InputError(f"{method}({given}): allowed are above 0 to {MOST}, 0 to 1, 0 to {MOST}; try .5, 0, .3")
        self.grid = math.isqrt(encoder.regions)
        if self.grid < LEAST or self.grid**2 != encoder.regions or encoder.size % self.grid:
            raise InputError(
                f"{method} hides groups among {LEAST}x{LEAST} patches or more; {encoder.model!r} has {encoder.regions} "
                f"tokens for {encoder.size} px: take a vit_, such as 'vit_tiny_patch16_224(patch_size=4)'"
            )
        self.patch = encoder.size // self.grid
        self.drop, self.noise, self.swapped = drop, noise, swapped

    @torch.no_grad()
    def forward(self, views: Sequence[Tensor], key: Tensor) -> tuple[Tensor, Tensor]:
        """The spoilt views ``[V * B, C, S, S]``, view after view, and where they are, bool ``[V * B, 1, S, S]``.

        Args:
            views: ``V`` tensors ``[B, C, S, S]``.
            key: int64 ``[B]``, the samples' keys.
        """
        keys = torch.cat([branch(key, number) for number in range(len(views))])
        share, least = uniforms(keys, 2, Salt.GROUP).double(), min(0.5, self.drop)
        dropped = grouped_mask(keys, self.grid, self.grid**2 * (least + (self.drop - least) * share[:, 0]), 1)
        replaced = grouped_mask(keys, self.grid, self.grid**2 * self.swapped * share[:, 1], 2)
        dropped, replaced = (enlarged(mask, self.patch) for mask in (dropped, replaced))

        clean = torch.cat(list(views))
        filling = torch.zeros_like(clean)
        noisy = uniform(keys, Salt.FILLING, 0) < self.noise
        filling[noisy] = normal(keys[noisy], clean[0].numel(), Salt.FILLING, 1).view(-1, *clean.shape[1:]).to(clean)
        others = torch.cat([_others(view, part) for view, part in zip(views, keys.chunk(len(views)))])
        return torch.where(replaced, others, torch.where(dropped, filling, clean)), dropped | replaced


def grouped_mask(key: Tensor, grid: int, count: Tensor, number: int) -> Tensor:
    """Hides rectangles of patches until ``count`` or more are hidden.

    Their sides are drawn evenly from one patch to 30 % of the picture's, their upper left corners evenly over all
    patches; what reaches beyond the picture is cut off.

    Args:
        key: int64 ``[B]``.
        grid: patches along a side.
        count: how many to hide, ``[B]``; need not be whole. None are hidden for 0.
        number: which of a key's masks this is, from 1.

    Returns:
        bool ``[B, grid * grid]``, the same on every device.
    """
    device, key, count = key.device, key.cpu(), count.cpu()  # the loop would wait for a GPU in every round
    mask, place = torch.zeros(len(key), grid, grid, dtype=torch.bool), torch.arange(grid)
    largest, attempt = max(1, int(LARGEST * grid)), 0
    while (short := mask.sum((1, 2)) < count).any():
        draw = uniforms(key, 4, Salt.GROUP, number, attempt).double()
        side, start = 1 + (draw[:, :2] * largest).floor(), (draw[:, 2:] * grid).floor()
        inside = (place >= start[..., None]) & (place < (start + side)[..., None])
        mask |= inside[:, 0, :, None] & inside[:, 1, None, :] & short[:, None, None]
        attempt += 1
    return mask.flatten(1).to(device)


def _others(view: Tensor, key: Tensor) -> Tensor:
    """For each picture another one of the batch of all ranks, ``[B, C, S, S]``; itself if it is alone."""
    every = ranks.gather(view)
    itself = torch.arange(len(view), device=view.device) + ranks.rank() * len(view)
    step = 1 + (uniform(key, Salt.PARTNER).double() * (len(every) - 1)).long()
    return every[(itself + step) % len(every)]
