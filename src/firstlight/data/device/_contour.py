"""Contours that grow outwards one from another, for many pictures at once: ``formulas/_contour.py``.

Pictures have different numbers of contours and of vertices. With the pictures sorted by their contours, the vertices
that line ``l`` still has are a prefix of those of line ``l - 1``: so the vertices lie line after line without gaps, and
each line is moved on from the one before by a single addition.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...formulas import Params
from ...formulas._contour import BEYOND
from ...formulas._noise1 import SLOPES
from . import _lines
from ._draws import GAMMA, mixed, shifted, signed

VERTEX_BYTES, PIXEL_BYTES = 480, 88
"""What a vertex takes, and a pixel of a line beyond the first few."""

Figure = tuple[int, np.ndarray, int, int, np.ndarray]
"""One picture's contours, as ``formulas._contour.figure`` describes them."""


def weight(side: int, params: Sequence[Params]) -> list[int]:
    """The bytes that each of B pictures takes: an estimate, for contours of up to half the picture's circumference."""
    sizes = ((max(1, int(entry["lines"])), max(1, int(entry["vertices"]))) for entry in params)
    return [lines * (VERTEX_BYTES * vertices + PIXEL_BYTES * 2 * side) for lines, vertices in sizes]


def outlines(key: Tensor, figures: Sequence[Figure], removed: Sequence[int], size: int, background: int) -> Tensor:
    """Draws the contours of one figure a picture: uint8 ``[B, size, size]``.

    Args:
        key: int64 ``[B]``, of the streams.
        figures: B of them.
        removed: how many lines of each contour are left out.
        size: the side in pixels.
        background: grey value.
    """
    order = np.argsort([-figure[0] for figure in figures], kind="stable")
    place = torch.from_numpy(order).to(key.device)
    lay = _Lay([figures[i] for i in order], [removed[i] for i in order], key[place])
    column, row = lay.grown()
    following = lay.following()
    light, begin = lay.chosen()
    value = ((lay.line + 1) * 256 + light).int()
    start = place[lay.owner] * size**2
    ends = (column, row, column[following], row[following])
    if any(removed):
        kept = (lay.vertex - begin) % lay.count < lay.count - lay.removed
        start, value, *ends = (part[kept] for part in (start, value, *ends))
    canvas = torch.full((len(figures) * size**2,), background, dtype=torch.int32, device=key.device)
    _lines.draw(canvas, start, size, ends, value)
    return (canvas & 255).byte().view(-1, size, size)


class _Lay:
    """All vertices of all contours of a batch, N of them, line after line; within a line picture after picture.

    Attributes:
        line: int64 ``[N]``, the contour of each vertex; ``owner`` its picture, ``vertex`` its number in the contour,
            ``count`` how many the contour has, ``removed`` how many segments are left out of it.
    """

    def __init__(self, figures: Sequence[Figure], removed: Sequence[int], key: Tensor):
        self.figures, self.key = figures, key
        lines = np.array([figure[0] for figure in figures])
        count = np.array([len(figure[1]) // 2 for figure in figures])
        reached = np.cumsum(count)
        active = len(lines) - np.searchsorted(lines[::-1], np.arange(lines[0]), side="right")  # pictures with the line
        self._wide = reached[active - 1]
        self._begin = np.cumsum(self._wide) - self._wide
        self._counts, self._starts = self._to(count), self._to(reached - count)
        self._first_owner = torch.repeat_interleave(self._counts, output_size=int(reached[-1]))
        self.line = torch.repeat_interleave(self._to(self._wide), output_size=int(self._wide.sum()))
        self.column = torch.arange(len(self.line), device=key.device) - self._to(self._begin)[self.line]
        self.owner = self._first_owner[self.column]
        self.count = self._counts[self.owner]
        self.vertex = self.column - self._starts[self.owner]
        self.removed = self._to(np.array(removed))[self.owner]

    def grown(self) -> tuple[Tensor, Tensor]:
        """Column and row of each vertex, int64 ``[N]``."""
        circle = self._to(np.concatenate([figure[1].reshape(2, -1) for figure in self.figures], 1))
        column, row, reach_x, reach_y, growth, scale, amplitude = self._to(
            np.stack([figure[4] for figure in self.figures], 1)
        )
        place = circle * torch.stack([reach_x, reach_y])[:, self._first_owner]
        growth = (self._waves(circle[1]) * scale[self._first_owner] + growth[self._first_owner])[self.column]
        amplitude, step = amplitude[self.owner], circle[:, self.column]
        word = self._words(self.line * (self.count + 1) + self.vertex + 2)
        for axis, places in enumerate((40, 8)):
            position = (shifted(word, places) & 0xFFFFFF).float() * _STEP
            step[axis] *= growth - amplitude * noise1(position)
        for begin, wide in zip(self._begin.tolist(), self._wide.tolist()):
            place = step[:, begin : begin + wide].add_(place[:, :wide])
        step += torch.stack([column, row])[:, self.owner]
        x, y = torch.nan_to_num(step, nan=-float(BEYOND)).clamp_(-float(BEYOND), float(BEYOND)).long()
        return x, y

    def following(self) -> Tensor:
        """The vertex to which each vertex's segment leads, int64 ``[N]``."""
        here = torch.arange(len(self.line), device=self.key.device)
        return torch.where(self.vertex + 1 < self.count, here + 1, here + 1 - self.count)

    def chosen(self) -> tuple[Tensor, Tensor]:
        """Grey value of each vertex's contour, and the vertex at which drawing begins, int64 ``[N]``."""
        word = self._words(self.line * (self.count + 1) + 1)
        begin = shifted((word & 0xFFFFFFFF) * self.count, 32) + self.removed
        return shifted(word, 56), begin % self.count

    def _waves(self, sine: Tensor) -> Tensor:
        """Half the sum of two sines of each vertex's direction, float32, of the vertices of the first contours."""
        start = self._starts[self._first_owner]
        vertex, count = torch.arange(len(sine), device=sine.device) - start, self._counts[self._first_owner]
        first, second = self._to(np.array([figure[2:4] for figure in self.figures]).T.copy())[:, self._first_owner]
        return 0.5 * sine[start + vertex * first % count] + 0.5 * sine[start + vertex * second % count]

    def _words(self, number: Tensor) -> Tensor:
        return mixed(number.mul_(signed(GAMMA)).add_(self.key[self.owner]))

    def _to(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.key.device)


def noise1(position: Tensor) -> Tensor:
    """Noise along a line at float32 positions, as ``formulas._noise1.noise1``."""
    slopes = torch.from_numpy(SLOPES).to(position.device)
    cell = position.int()
    after = position - cell.float()
    fade = after * after * after * (after * (after * 6.0 - 15.0) + 10.0)
    left = slopes[cell & 255] * after
    right = slopes[(cell + 1) & 255] * (after - 1.0)
    return (left + fade * (right - left)) * _SOFTER


# The kernel's constants of single precision: a device may take a Python number to be one of double precision.
_STEP = float(np.float32(10_000 / (1 << 24)))
_SOFTER = float(np.float32(0.4))
