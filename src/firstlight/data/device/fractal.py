"""Fractals on a device: all modes, with and without colour, pixel for pixel those of ``formulas/fractal.py``."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...formulas import Params
from ...formulas._chaos import COUNT, LATEST, MARK, MOST_MAPS
from ...formulas._official import hue_wheel
from ...formulas.fractal import Fractal
from . import Drawing, Weighing, _chaos, _choice, _raster
from ._draws import Draws, divided


def refusal(formula: Fractal) -> str | None:
    """Why these settings have no twin."""
    if formula.official:
        return "fractal(official=True) is drawn by the CPU only; allowed on a device is official=False"
    if (formula.points or 1) > _raster.MOST_POINTS:
        return f"fractal(points={formula.points}): allowed on a device is up to {_raster.MOST_POINTS:,}"
    return None


def prepare(formula: Fractal, size: int) -> tuple[Drawing, Weighing]:
    """How B systems are drawn, and the bytes that each takes."""
    canvas, factor, pad, points, light = _layout(formula, size)
    draw = partial(_draw, formula, canvas, factor, pad, points, light)
    weight = _chaos.BYTES + canvas**2 * (_raster.COLOUR_BYTES if formula.colour else _raster.BYTES)
    return draw, lambda params: [weight] * len(params)


def _layout(formula: Fractal, size: int) -> tuple[int, int, int, int, int]:
    """Side of the canvas, how many times larger it is than the picture, padding, points and grey, as ``render``'s."""
    if not 8 <= size <= 8192:
        raise InputError(f"fractal(size={size}): allowed is 8 to 8192 pixels")
    factor = formula.oversample or (1 if formula.mode == "density" else max(1, 128 // size))
    canvas = size * factor
    if canvas > 8192:
        raise InputError(f"fractal(oversample={factor}): allowed is at most {8192 // size} at {size} pixels")
    pad = formula.pad * factor if formula.pad is not None else max(1, min(6, canvas // 32))
    if canvas - 2 * pad < 4:
        raise InputError(f"fractal(size={size}): the padding leaves less than 4 pixels free, {2 * pad} of {canvas}")
    points = formula.points or max(1, min(100_000, 100_000 * canvas**2 // 256**2))
    return canvas, factor, pad, points, formula.brightness or (127 if factor == 1 else 255)


class Kernels(NamedTuple):
    """The three steps that Triton has too."""

    survey: Callable[..., tuple[Tensor, ...]] = _chaos.survey
    drop: Callable[..., Tensor] = _chaos.drop
    patches: Callable[..., Tensor] = _raster.patches


def _draw(
    formula: Fractal, canvas: int, factor: int, pad: int, points: int, light: int,
    params: Sequence[Params], key: Tensor,
) -> Tensor:  # fmt: skip
    draws = Draws(key)
    point = formula.mode == "point" and not formula.colour
    kind = MARK if point else COUNT if formula.mode == "density" else LATEST
    where = ([entry["maps"] for entry in params], draws.split(1).key, canvas, pad, points, kind, light)

    def drawn(kernels: Kernels) -> Tensor:
        pixels = _dropped(kernels, *where)
        return pixels if point else _painted(kernels, formula, pixels, light, draws.split(2))

    def fused() -> Tensor:
        triton = _choice.triton()
        return drawn(Kernels(triton.survey, triton.drop, triton.patches))

    pixels = _choice.fastest(f"fractal {formula.mode}", key.device, lambda: drawn(Kernels()), fused)
    return _raster.shrink(pixels, factor)


def _dropped(
    kernels: Kernels, systems: Sequence[np.ndarray], key: Tensor, canvas: int, pad: int, points: int, kind: int,
    light: int,
) -> Tensor:  # fmt: skip
    """Plays the games; what flies apart plays again with its linear parts shrunk, as the CPU's does."""
    table, steps = _chaos.stacked(systems, MOST_MAPS, 7)
    steps = torch.from_numpy(steps).to(key.device)
    maps = torch.from_numpy(table[:, :, :6].copy()).to(key.device)

    def survey(these: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
        return kernels.survey(_chaos.seeded(key[these]), steps[these], maps.float())

    state, walk, low, high = _chaos.until_they_stay(maps, 4, survey)
    maps, walk = _chaos.to_pixels(maps, low, high, canvas, pad, walk)
    return _raster.clear_rim(kernels.drop(state, walk, steps, maps, canvas, points, kind, light))


def _painted(kernels: Kernels, formula: Fractal, pixels: Tensor, light: int, draws: Draws) -> Tensor:
    """From what the pixels hold, counts or the numbers of points, to pictures."""
    if formula.mode == "density":
        palette = _palettes(draws) if formula.colour else torch.arange(256, device=pixels.device).byte()[None, :, None]
        return _raster.density(pixels, palette).squeeze(-1)
    if formula.mode != "point":
        mask = None
        if formula.mode != "patch":
            mask = draws.integers(1, 512) if formula.mode == "picture_patch" else torch.full_like(draws.key, 511)
        pixels = kernels.patches(pixels, mask, draws.key & 0xFFFFFFFF, 0 if formula.colour else light)
    if not formula.colour:
        return pixels
    wheel = torch.from_numpy(np.concatenate([np.zeros((1, 3), np.uint8), hue_wheel()])).to(pixels.device)
    return _raster.coloured(torch.where(pixels > 0, (pixels - 1) % 128 + 1, 0), wheel[None])


def _palettes(draws: Draws) -> Tensor:
    """Colours of the 256 densities, uint8 ``[B, 256, 3]``."""
    start, saturation, value = draws.uniform(), draws.uniform(0.3, 1.0), draws.uniform(0.5, 1.0)
    hue = (divided(torch.arange(256, device=start.device).double(), 255) + start[:, None]) * 6
    channels = []
    for turn in (5, 3, 1):
        k = hue + turn - 6 * torch.floor(divided(hue + turn, 6))
        channels.append(value[:, None] - (value * saturation)[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))
    table = torch.stack(channels, 2)
    table[:, 0] = 0
    return (table * 255).byte()
