"""Gradient noise on a lattice for many pictures at once: ``formulas/_noise.py``, whose definition it follows.

Each picture has frequencies of its own. The lattice of a batch is as large as its finest picture needs; what lies
beyond a picture's own lattice is computed and never looked at.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ._draws import GAMMA, divided, mixed, shifted, signed

Axis = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""The four weights float32 ``[B, S]`` and the cell int64 ``[B, S]`` of each pixel along an axis."""


def axis(cells: Tensor, size: int, scale: Tensor | float = 1.0) -> Axis:
    """Weights and cells along an axis of ``size`` pixels.

    Args:
        cells: int64 ``[B]``, the frequency.
        size: pixels, or frames.
        scale: float64 ``[B, 1]``, what the weights are multiplied by.
    """
    u = divided((torch.arange(size, device=cells.device).double() + 0.5) * cells[:, None], size)
    c = torch.floor(u)
    t = u - c
    w = ((6.0 * t - 15.0) * t + 10.0) * (t * t * t)
    near, near_slope = (scale * (1.0 - w)).float(), (scale * ((1.0 - w) * t)).float()
    far, far_slope = (scale * w).float(), (scale * (w * (t - 1.0))).float()
    return near, near_slope, far, far_slope, c.long()


def plane_noise(key: Tensor, frequency: np.ndarray, amplitudes: np.ndarray, table: Tensor, size: int) -> Tensor:
    """Pictures, uint8 ``[B, size, size]``.

    Args:
        key: int64 ``[B]``, the streams of the gradients.
        frequency: int64 ``[B, 2]``, cells of the first octave across and down.
        amplitudes: float64 ``[B, octaves]``, 0 where a picture has no such octave.
        table: float32 ``[256, 2]``, the unit vectors.
        size: the side in pixels.
    """
    total = torch.full((len(key), size, size), 128.0, device=key.device)
    first = torch.zeros_like(key)
    for shape, (wide, high), amplitude in _octaves(frequency, amplitudes, key.device):
        across, down = axis(wide, size), axis(high, size, amplitude)
        gradients = _gradients(key, first, (*shape, 1), wide + 1, high + 1, table)[:, 0]
        total += _blended(_slopes(gradients[..., 0], across), _levels(gradients[..., 1], across), down)
        first += (wide + 1) * (high + 1)
    return total.clamp_(0, 255).byte()


def space_noise(
    key: Tensor, frequency: np.ndarray, amplitudes: np.ndarray, table: Tensor, size: int, frames: int
) -> Tensor:
    """Clips, uint8 ``[B, frames, size, size]``; ``frequency [B, 3]`` and ``table [256, 3]`` have one more axis."""
    total = torch.full((len(key), frames, size, size), 128.0, device=key.device)
    first = torch.zeros_like(key)
    for shape, (wide, high, along), amplitude in _octaves(frequency, amplitudes, key.device):
        across, down, after = axis(wide, size), axis(high, size), axis(along, frames, amplitude)
        gradients = _gradients(key, first, shape, wide + 1, high + 1, table)
        fields, slopes = [], []
        for plane in gradients.unbind(1):
            x, y, z = (part(plane[..., i], across) for i, part in enumerate((_slopes, _levels, _levels)))
            fields.append(_blended(x, y, down).flatten(1))
            slopes.append(_between(z, down).flatten(1))
        total += _blended(torch.stack(fields, 1), torch.stack(slopes, 1), after).view_as(total)
        first += (wide + 1) * (high + 1) * (along + 1)
    return total.clamp_(0, 255).byte()


def _octaves(
    frequency: np.ndarray, amplitudes: np.ndarray, device: torch.device
) -> Iterator[tuple[list[int], tuple[Tensor, ...], Tensor]]:
    """Of each octave the lattice points that a batch needs along each axis, the frequencies, and the amplitude.

    Worked out on the CPU, so that the device is never waited for.
    """
    for octave in range(amplitudes.shape[1]):
        amplitude = amplitudes[:, octave, None]
        cells = np.where(amplitude > 0, frequency << octave, 1)
        cells_there, amplitude = (torch.from_numpy(array).to(device) for array in (cells, amplitude))
        yield (cells.max(0) + 1).tolist(), cells_there.unbind(1), amplitude


def _gradients(key: Tensor, first: Tensor, shape: Sequence[int], wide: Tensor, high: Tensor, table: Tensor) -> Tensor:
    """The gradients of all lattice points, float32 ``[B, planes, lines, columns, 2 or 3]``.

    Args:
        key: int64 ``[B]``.
        first: int64 ``[B]``, how many lattice points the octaves before have.
        shape: columns, lines and planes to look up.
        wide: int64 ``[B]``, columns that a picture has.
        high: int64 ``[B]``, lines that it has.
        table: float32 ``[256, 2]`` or ``[256, 3]``.
    """
    ranges = (torch.arange(count, device=key.device) for count in reversed(shape))
    planes, lines, columns = torch.meshgrid(*ranges, indexing="ij")
    high, wide, first = (x[:, None, None, None] for x in (high, wide, first))
    number = (planes * high + lines) * wide + columns + (first + 1)
    words = mixed(number.mul_(signed(GAMMA)).add_(key[:, None, None, None]))
    return table[shifted(words, 56)]


def _slopes(gradients: Tensor, across: Axis) -> Tensor:
    """What the gradients ``[B, L, W]`` say along the columns, on every pixel of each lattice line, ``[B, L, S]``."""
    _, near, _, far, cell = (part[:, None] for part in across)
    left, right = _beside(gradients, cell)
    return near * left + far * right


def _levels(gradients: Tensor, across: Axis) -> Tensor:
    """The same of what they say along another axis."""
    near, _, far, _, cell = (part[:, None] for part in across)
    left, right = _beside(gradients, cell)
    return near * left + far * right


def _beside(gradients: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    cell = cell.expand(-1, gradients.shape[1], -1)
    return gradients.gather(2, cell), gradients.gather(2, cell + 1)


def _blended(slope: Tensor, level: Tensor, down: Axis) -> Tensor:
    """Four products a pixel, ``[B, S, W]``, from lattice lines ``[B, L, W]``."""
    a, b, c, d, cell = (part[:, :, None] for part in down)
    cell = cell.expand(-1, -1, slope.shape[2])
    above = a * slope.gather(1, cell) + b * level.gather(1, cell)
    return above + (c * slope.gather(1, cell + 1) + d * level.gather(1, cell + 1))


def _between(level: Tensor, down: Axis) -> Tensor:
    """Two products a pixel: what gradients say along a third axis."""
    near, _, far, _, cell = (part[:, :, None] for part in down)
    cell = cell.expand(-1, -1, level.shape[2])
    return near * level.gather(1, cell) + far * level.gather(1, cell + 1)
