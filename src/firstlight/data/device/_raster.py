"""From what pixels hold, counts or the numbers of points, to pictures: ``formulas/_raster.py`` for a batch.

Every function takes and gives ``[B, S, S]`` tensors; the arithmetic is that file's, in 32-bit integers where they
suffice.
"""

import torch
from torch import Tensor
from torch.nn import functional

MOST_POINTS = (1 << 27) - 1
"""A point's number and its place in the patch share 31 bits."""

BYTES, COLOUR_BYTES = 88, 96
"""What painting takes for each pixel of a picture: a few words of 32 bits and the masks' 64."""

_ONES = 0xFFFFFFFF


def clear_rim(pixels: Tensor) -> Tensor:
    """Blackens the outermost pixels, in place."""
    pixels[:, 0] = pixels[:, -1] = 0
    pixels[:, :, 0] = pixels[:, :, -1] = 0
    return pixels


def density(counts: Tensor, palette: Tensor) -> Tensor:
    """Paints by count, uint8 ``[B, S, S, C]``.

    Args:
        counts: int32 ``[B, S, S]``.
        palette: uint8 ``[B, 256, C]`` or ``[1, 256, C]``, from 0, no point, to 255, the largest count.
    """
    most = counts.amax((1, 2), keepdim=True).clamp_(min=1).float()
    step = torch.full_like(most, 254.0) / most
    shade = torch.where(counts > 0, (counts.float() * step).int() + 1, 0)
    return coloured(shade, palette)


def coloured(shade: Tensor, palette: Tensor) -> Tensor:
    """Looks colours up: shades ``[B, S, S]`` in ``palette [B or 1, N, C]`` become ``[B, S, S, C]``."""
    first = torch.arange(len(palette), device=shade.device)[:, None, None] * palette.shape[1]
    return palette.flatten(0, 1)[shade.long() + first]


def patches(last: Tensor, mask: Tensor | None, key: Tensor, light: int) -> Tensor:
    """Paints 3x3 patches, the empty pixels of a patch erasing what they cover.

    Args:
        last: int32, the last point on each pixel counted from 1; the outermost pixels have none.
        mask: int64 ``[B]``, the nine bits of each picture's mask; None gives each point its own.
        key: int64 ``[B]``, 32 bits that the points' own masks hash.
        light: what to paint with, uint8; 0 paints the number of the point, int32.
    """
    tag = last << 4
    around = functional.pad(tag, (0, 0, 1, 1))
    tallest = torch.maximum(torch.maximum(around[:, :-2] | 8, tag | 4), around[:, 2:])
    around = functional.pad(tallest, (1, 1))
    top = torch.maximum(torch.maximum(around[:, :, :-2] | 2, tallest | 1), around[:, :, 2:])
    point = top >> 4
    bit = ((top >> 2) & 3) * 3 + (top & 3)
    own = own_mask(point, key[:, None, None]) if mask is None else mask[:, None, None]
    shown = clear_rim(point * ((own >> bit) & 1).int())
    return (shown > 0).byte() * light if light else shown


def own_mask(point: Tensor, key: Tensor) -> Tensor:
    """One of 1 .. 511 by a 32-bit hash of the point's number, int64."""
    h = ((point.long() ^ key) * 0x9E3779B1) & _ONES
    h ^= h >> 15
    h = ((h * 0x85EBCA77) & _ONES) >> 16
    return ((h * 511) >> 16) + 1


def shrink(pixels: Tensor, factor: int) -> Tensor:
    """Averages squares of ``factor`` pixels of uint8 ``[B, S * factor, S * factor(, C)]``, rounded down."""
    if factor == 1:
        return pixels
    size = pixels.shape[1] // factor
    squares = pixels.reshape(len(pixels), size, factor, size, factor, *pixels.shape[3:])
    return (squares.sum((2, 4), dtype=torch.int32) // factor**2).to(torch.uint8)
