"""Perlin noise on a device, pictures and clips, pixel for pixel those of ``formulas/perlin.py``."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...formulas import Params
from ...formulas._noise import plane_directions, space_directions
from ...formulas.perlin import Perlin
from . import Drawing, Weighing, _noise

BYTES, CLIP_BYTES = 48, 32
"""What a pixel, or a pixel of a frame, takes while it is drawn. The lattice is at most as fine as the pixels."""


def refusal(formula: Perlin) -> str | None:
    """Why these settings have no twin: all have."""
    return None


def prepare(formula: Perlin, size: int) -> tuple[Drawing, Weighing]:
    """How B members are drawn, and the bytes that each takes."""
    if not 8 <= size <= 8192:
        raise InputError(f"perlin(size={size}): allowed is 8 to 8192 pixels")
    weight = size**2 * (CLIP_BYTES * (formula.frames + 4) if formula.frames else BYTES)
    return partial(_draw, formula, size), lambda params: [weight] * len(params)


def _draw(formula: Perlin, size: int, params: Sequence[Params], key: Tensor) -> Tensor:
    lengths = (size, size, formula.frames) if formula.frames else (size, size)
    wanted = [entry["frequency"].tolist() for entry in params]
    for given in wanted:
        if len(given) != len(lengths) or not all(1 <= f <= n for f, n in zip(given, lengths)):
            raise InputError(f"perlin(size={size}): the class's frequencies {given} do not fit {lengths} pixels")
    parts = [formula._amplitudes(given, lengths) for given in wanted]
    amplitudes = np.zeros((len(parts), max(len(part) for part in parts)))
    for row, part in zip(amplitudes, parts):
        row[: len(part)] = part
    directions = space_directions().reshape(-1, 3) if formula.frames else plane_directions().reshape(-1, 2)
    table, frequency = torch.from_numpy(directions).to(key.device), np.array(wanted)
    if formula.frames:
        return _noise.space_noise(key, frequency, amplitudes, table, size, formula.frames)
    return _noise.plane_noise(key, frequency, amplitudes, table, size)
