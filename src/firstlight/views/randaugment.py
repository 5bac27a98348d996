"""RandAugment: two random operations a sample, each a change of shape or of colour of about one strength.

Cubuk et al., NeurIPS 2020. https://arxiv.org/abs/1909.13719. Operations, strengths and chances are those of timm's
``rand-m9-mstd0.5-inc1``, with which DeiT and the published formula-driven recipes train. Differs from timm's: shears
keep the centre in place, not the corner; moves are bilinear, where timm also tosses for bicubic; values between the
256 levels are kept.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from . import colour
from .random import Salt, normal, uniforms

__all__ = ["OPERATIONS", "Chosen", "augment", "draw"]

STEPS, CHANCE, SPREAD, STRONGEST = 2, 0.5, 0.5, 10.0
FILL = 0.5
"""what comes in from outside a rotated, sheared or shifted picture: the grey that normalises to zero"""


class Chosen(NamedTuple):
    """What happens to each sample, all ``[B, 2]`` on the CPU."""

    operation: Tensor
    """int64, a place in ``OPERATIONS``, or -1 for none"""
    level: Tensor
    """float32, the strength as a fraction of the strongest"""
    sign: Tensor
    """float32, 1 or -1: to which side"""


def draw(key: Tensor, magnitude: float) -> Chosen:
    """Draws the operations of each sample.

    Args:
        key: int64 ``[B]``.
        magnitude: the mean strength, 0 (nothing happens) to 10; each operation's own has a standard deviation of .5.
    """
    if not magnitude:
        return Chosen(*(torch.full((len(key), STEPS), value) for value in (-1, 0.0, 1.0)))
    operation = (uniforms(key, STEPS, Salt.AUGMENT, 0) * len(OPERATIONS)).long()
    happens = uniforms(key, STEPS, Salt.AUGMENT, 1) < CHANCE
    strength = (magnitude + SPREAD * normal(key, STEPS, Salt.AUGMENT, 2)).clamp_(0, STRONGEST)
    sign = torch.where(uniforms(key, STEPS, Salt.AUGMENT, 3) < 0.5, 1.0, -1.0)
    return Chosen(torch.where(happens, operation, -1), strength / STRONGEST, sign)


def augment(images: Tensor, chosen: Chosen) -> Tensor:
    """Applies each sample's operations in turn; samples that share one are changed together.

    Args:
        images: float32 ``[B, C, S, S]`` in [0, 1], overwritten.
        chosen: what to do.

    Returns:
        ``images``.
    """
    for step in range(STEPS):
        for number, operation in enumerate(OPERATIONS.values()):
            some = (chosen.operation[:, step] == number).nonzero()[:, 0]
            if len(some):
                place = some.to(images.device)
                level, sign = (x[some, step].to(images.device).view(-1, 1, 1, 1) for x in chosen[1:])
                images.index_copy_(0, place, operation(images.index_select(0, place), level, sign))
    return images


def _auto_contrast(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Stretches each channel to reach from 0 to 1; a flat one stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-12), x)


def _equalize(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Pillow's equalisation of each channel's 256 levels."""
    values = (x * 255).round().long().flatten(2)
    counts = torch.zeros(*values.shape[:2], 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - last) // 255  # the pixels that one of the new levels is to hold
    before = counts.cumsum(2) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    return torch.where((step > 0)[..., None], (table.gather(2, values) / 255).view_as(x), x)


def _invert(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return 1 - x


def _posterize(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Keeps 4 bits at level 0, none at 1."""
    step = 2 ** (8 - (4 - (level * 4).floor()))
    return ((x * 255).round() / step).floor() * step / 255


def _solarize(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Inverts what is at least 1 - level."""
    threshold = 256 - (level * 256).floor()
    return torch.where((x * 255).round() >= threshold, 1 - x, x)


def _solarize_add(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Lightens what is darker than half by up to 110 of 255."""
    return torch.where((x * 255).round() < 128, (x + (level * 110).floor() / 255).clamp(max=1), x)


def _color(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _enhanced(x, colour.luma(x), level, sign)


def _contrast(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _enhanced(x, colour.luma(x).mean((2, 3), keepdim=True), level, sign)


def _brightness(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _enhanced(x, torch.zeros_like(x), level, sign)


def _sharpness(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """Away from or towards Pillow's smoothed picture; the outermost pixels stay."""
    weights = torch.ones(3, 3, device=x.device)
    weights[1, 1] = 5
    channels = x.shape[1]
    smooth = x.clone()
    kernel = (weights / 13).expand(channels, 1, 3, 3)
    smooth[..., 1:-1, 1:-1] = functional.conv2d(x, kernel, groups=channels)
    return _enhanced(x, smooth, level, sign)


def _enhanced(x: Tensor, other: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    factor = (1 + sign * 0.9 * level).clamp(min=0.1)
    return (x * factor + other * (1 - factor)).clamp_(0, 1)


def _rotate(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    angle = sign * level * math.radians(30)
    return _moved(x, angle.cos(), -angle.sin(), 0 * level, angle.sin(), angle.cos(), 0 * level)


def _shear_x(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _moved(x, 1 + 0 * level, 0.3 * sign * level, 0 * level, 0 * level, 1 + 0 * level, 0 * level)


def _shear_y(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _moved(x, 1 + 0 * level, 0 * level, 0 * level, 0.3 * sign * level, 1 + 0 * level, 0 * level)


def _translate_x(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _moved(x, 1 + 0 * level, 0 * level, 0.9 * sign * level, 0 * level, 1 + 0 * level, 0 * level)


def _translate_y(x: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    return _moved(x, 1 + 0 * level, 0 * level, 0 * level, 0 * level, 1 + 0 * level, 0.9 * sign * level)


def _moved(x: Tensor, *entries: Tensor) -> Tensor:
    """Looks up each pixel at an affine map of its place, both from -1 to 1 across the picture, bilinearly."""
    theta = torch.cat([entry.view(-1, 1) for entry in entries], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x - FILL, grid, align_corners=False).add_(FILL).clamp_(0, 1)


OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "auto contrast": _auto_contrast, "equalize": _equalize, "invert": _invert, "rotate": _rotate,
    "posterize": _posterize, "solarize": _solarize, "solarize add": _solarize_add, "color": _color,
    "contrast": _contrast, "brightness": _brightness, "sharpness": _sharpness, "shear x": _shear_x,
    "shear y": _shear_y, "translate x": _translate_x, "translate y": _translate_y,
}  # fmt: skip
"""Each takes images ``[B, C, S, S]``, levels and signs ``[B, 1, 1, 1]``."""
