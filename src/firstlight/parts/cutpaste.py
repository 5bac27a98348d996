"""Damage made of a picture's own pixels: a rectangle or a thin scar of it, moved to another place.

Li et al., "CutPaste: self-supervised learning for anomaly detection and localization", CVPR 2021.
https://arxiv.org/abs/2104.04015
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..views.colour import draw_jitter, jitter
from ..views.random import Salt, branch, uniforms

AREA = (0.02, 0.15)
"""of a rectangle, as a share of the picture's"""
ASPECT = 0.3
"""rectangles are at most so many times as high as wide, or as wide as high"""
SCAR_WIDTH, SCAR_HEIGHT = (2.0, 16.0), (10.0, 25.0)
"""in pixels of a picture of 256"""
SCAR_SMALLEST = 64
"""pixels of a side: smaller pictures get the scars of this one, since three pixels of 32 x 32 are nothing to learn"""
SCAR_TURN = math.pi / 4
"""to either side"""
JITTER = (0.1, 0.1, 0.1, 0.1)

Normalisation = float | Sequence[float]


def cut_and_pasted(pictures: Tensor, key: Tensor, mean: Normalisation, std: Normalisation) -> Tensor:
    """Each picture with a rectangle of it, in slightly other colours, laid over another place.

    Height and width are those of the tensor's axes, here and in ``scarred``: the best-known code has them exchanged,
    which goes wrong where pictures are not square.

    Args:
        pictures: ``[B, C, H, W]``, normalised.
        key: int64 ``[B]``, the samples' keys.
        mean: of the normalisation.
        std: of the normalisation.
    """
    key = branch(key.cpu(), Salt.CUT)  # decided on the CPU: a GPU's square roots may round another way
    sides = torch.tensor(pictures.shape[2:])
    area, aspect, *draws = uniforms(key, 6, 0).double().unbind(1)
    area = (AREA[0] + (AREA[1] - AREA[0]) * area) * sides.prod()
    aspect = (math.log(1 / ASPECT) * (2 * aspect - 1)).exp()
    extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).round()
    extent = torch.minimum(extent.clamp(min=1), sides)

    corners = torch.stack(draws, 1).view(-1, 2, 2) * (sides - extent + 1)[:, None]
    source, target = (corners.floor() + extent[:, None] / 2).unbind(1)
    return _moved(pictures, _recoloured(pictures, key, mean, std), extent, source, target, torch.zeros(len(key)))


def scarred(pictures: Tensor, key: Tensor, mean: Normalisation, std: Normalisation) -> Tensor:
    """Each picture with a thin strip of it, in slightly other colours and turned, laid over another place.

    Differs from the paper: scars of small pictures are larger than their share, so that they can be seen.

    The arguments are those of ``cut_and_pasted``.
    """
    key = branch(key.cpu(), Salt.SCAR)
    sides = torch.tensor(pictures.shape[2:])
    draws = uniforms(key, 7, 0).double()
    side = int(sides.min())
    least, most = torch.tensor([SCAR_HEIGHT, SCAR_WIDTH]).double().T * (max(side, SCAR_SMALLEST) / 256)
    extent = (least + (most - least) * draws[:, :2]).clamp(1, max(side / 2, 1))
    angle = SCAR_TURN * (2 * draws[:, 2] - 1)

    source = extent / 2 + draws[:, 3:5] * (sides - extent)
    around = extent * angle.cos()[:, None] + extent.flip(1) * angle.sin().abs()[:, None]
    target = around / 2 + draws[:, 5:] * (sides - around)
    # In the middle of a pixel, or else a strip of one pixel, turned, could slip between the middles of all pixels.
    return _moved(pictures, _recoloured(pictures, key, mean, std), extent, source, target.floor() + 0.5, angle)


def _moved(pictures: Tensor, other: Tensor, extent: Tensor, source: Tensor, target: Tensor, angle: Tensor) -> Tensor:
    """Lays upright rectangles of ``other``, turned about their middle, over the pictures; pixels are not mixed.

    Args:
        pictures: ``[B, C, H, W]``.
        other: the same.
        extent: height and width of the rectangles in pixels, ``[B, 2]``.
        source: row and column of their middles, ``[B, 2]``.
        target: of the middles of where they go.
        angle: in radians, ``[B]``.
    """
    device, (height, width) = pictures.device, pictures.shape[2:]
    turned = torch.stack([angle.cos(), angle.sin()], 1)
    numbers = torch.cat([extent / 2, source, target, turned], 1).float().to(device)  # halves are exact
    half_high, half_wide, row, column, to_row, to_column, cosine, sine = numbers[:, :, None, None].unbind(1)

    down = torch.arange(height, device=device)[:, None] + 0.5 - to_row
    across = torch.arange(width, device=device) + 0.5 - to_column
    down, across = cosine * down + sine * across, cosine * across - sine * down
    inside = (down >= -half_high) & (down < half_high) & (across >= -half_wide) & (across < half_wide)

    rows = (row + down).floor().clamp(0, height - 1)
    columns = (column + across).floor().clamp(0, width - 1)
    place = (rows * width + columns).long().flatten(1)[:, None].expand(-1, pictures.shape[1], -1)
    moved = other.flatten(2).gather(2, place).view_as(pictures)
    return torch.where(inside[:, None], moved, pictures)


def _recoloured(pictures: Tensor, key: Tensor, mean: Normalisation, std: Normalisation) -> Tensor:
    """The pictures in slightly other colours.

    Differs from the paper, which changes a rectangle's contrast about that rectangle's grey: here, the picture's.
    """
    centre, unit = (
        torch.tensor(number, dtype=pictures.dtype, device=pictures.device).view(-1, 1, 1) for number in (mean, std)
    )
    plain = (pictures * unit + centre).clamp(0, 1)
    return (jitter(plain, *draw_jitter(key, JITTER, 1.0)) - centre) / unit
