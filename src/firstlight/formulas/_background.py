"""What is empty in a family's pictures, pasting one picture into another, and textures to stand behind them.

The texture is the plasma of Fournier, Fussell & Carpenter, "Computer rendering of stochastic models", CACM 1982
(https://doi.org/10.1145/358523.358553), as Anderson & Farrell colour it, WACV 2022, https://arxiv.org/abs/2110.03091.
"""

from functools import lru_cache

import numpy as np

from . import Formula, picture
from ._classes import known
from ._compile import kernel
from ._math import exp
from ._scratch import borrowed

LOOK_SIZE, LOOK_CLASSES = 64, 8
HIGHEST = 13
"""Halvings of the largest texture, 8193 pixels a side."""


@lru_cache(maxsize=256)
def empty(formula: Formula) -> np.ndarray | None:
    """The pixel that stands for nothing in a family's pictures, uint8 ``[3]``, or None if all of a picture is drawn.

    Found by looking: the value that more than a third of the corners of the first members of the first classes have.
    Black for fractals (all corners) and scenes of contours (.44), white for contours (.66), none for noise and leaves,
    which share no value between pictures (at most .16). So a family need not say it, and one added later has it too.
    """
    count = min(LOOK_CLASSES, formula.categories or LOOK_CLASSES)
    corners = []
    for category in range(count):
        drawn = picture(formula, category, 0, size=LOOK_SIZE, params=known(formula, 0, category))
        corners.append(np.broadcast_to(drawn.reshape(LOOK_SIZE, LOOK_SIZE, -1), (LOOK_SIZE, LOOK_SIZE, 3))[::63, ::63])
    values, times = np.unique(np.array(corners).reshape(-1, 3), axis=0, return_counts=True)
    return values[times.argmax()] if 3 * times.max() > 4 * count else None


def plasma(size: int, decay: float, key: int) -> tuple[np.ndarray, int]:
    """Heights by midpoint displacement: each of n halvings displaces by up to ``.5 * exp(-decay * k)``, k from 0.

    Coarse heights do not depend on the size.

    Returns:
        float32, flat, of a square at least ``size`` wide; and the square's side.
    """
    halvings = max(1, (size - 1).bit_length())
    side = (1 << halvings) + 1
    reach = (0.5 * exp(-decay * np.arange(HIGHEST))).astype(np.float32)
    heights = borrowed("heights", side * side, np.float32)
    _displace(halvings, reach, np.uint32(key & 0xFFFFFFFF), heights)
    return heights, side


@kernel
def _displace(halvings, reach, key, heights):
    """Diamonds, then squares, at each scale, row by row; beyond an edge lies the opposite side."""
    side = (1 << halvings) + 1
    last, count = side - 1, 4
    for corner in range(4):
        heights[(corner >> 1) * last * side + (corner & 1) * last] = _unit(np.uint32(corner), key)
    for k in range(halvings):
        step, cells, width = last >> (k + 1), 1 << k, np.float32(2) * reach[k]
        for row in range(step, side, 2 * step):
            up, here, down = (
                heights[(row - step) * side :],
                heights[row * side + step :],
                heights[(row + step) * side :],
            )
            for j in range(cells):
                i = 2 * step * j
                total = (up[i] + up[i + 2 * step]) + (down[i] + down[i + 2 * step])
                here[i] = _moved(total, count + j, key, width)
            count += cells
        for row in range(0, side, step):
            up = heights[(row - step if row > 0 else last - step) * side :]
            here = heights[row * side :]
            down = heights[(row + step if row < last else step) * side :]
            if row // step % 2 == 0:
                for j in range(cells):
                    i = 2 * step * j
                    total = (up[i + step] + down[i + step]) + (here[i] + here[i + 2 * step])
                    here[i + step] = _moved(total, count + j, key, width)
                count += cells
                continue
            for j in range(cells - 1):
                i = 2 * step * j
                total = (up[i + 2 * step] + down[i + 2 * step]) + (here[i + step] + here[i + 3 * step])
                here[i + 2 * step] = _moved(total, count + j + 1, key, width)
            ends = here[last - step] + here[step]
            here[0] = _moved((up[0] + down[0]) + ends, count, key, width)
            here[last] = _moved((up[last] + down[last]) + ends, count + cells, key, width)
            count += cells + 1


@kernel
def _moved(total, number, key, width):
    """The mean of four, displaced by up to half of ``width``."""
    return total * np.float32(0.25) + (_unit(np.uint32(number), key) - np.float32(0.5)) * width


@kernel
def noise(key, canvas):
    """Fills flat uint8 ``canvas`` with even, independent values."""
    for i in range(len(canvas)):
        canvas[i] = _hash(np.uint32(i), key) >> np.uint32(24)


@kernel
def paste(square, side, channels, nothing, solid, turn, left, top, number, size, canvas, owner):
    """Copies what is not empty of a square onto the canvas, and notes whose those pixels are.

    Args:
        square: flat uint8 ``[side * side * channels]``.
        side: of the square.
        channels: 1 or 3, of both.
        nothing: uint8 ``[3]``, the empty pixel.
        solid: whether there is none, so that all is copied.
        turn: bit 0 transposes the square, then bit 1 turns it upside down and bit 2 left to right.
        left: of the square on the canvas; it may stick out.
        top: likewise.
        number: what to note, 1 to 255.
        size: of the canvas.
        canvas: flat uint8 ``[size * size * channels]``, written.
        owner: flat uint8 ``[size * size]``, written.
    """
    for row in range(max(0, -top), min(side, size - top)):
        down = side - 1 - row if turn & 2 else row
        for i in range(max(0, -left), min(side, size - left)):
            across = side - 1 - i if turn & 4 else i
            start = (across * side + down if turn & 1 else down * side + across) * channels
            seen = solid
            for channel in range(channels):
                seen = seen or square[start + channel] != nothing[channel]
            if seen:
                place = (top + row) * size + left + i
                owner[place] = number
                for channel in range(channels):
                    canvas[place * channels + channel] = square[start + channel]


@kernel
def surround(owner, size, boxes):
    """The tight box of each object, int64 ``[count * 4]`` left, top, right, bottom, flat; right is 0 for a hidden one.

    Right and bottom are one beyond the last pixel.
    """
    for k in range(0, len(boxes), 4):
        boxes[k] = boxes[k + 1] = size
        boxes[k + 2] = boxes[k + 3] = 0
    for row in range(size):
        for i in range(size):
            if owner[row * size + i]:
                k = (int(owner[row * size + i]) - 1) * 4
                boxes[k] = min(boxes[k], i)
                boxes[k + 1] = min(boxes[k + 1], row)
                boxes[k + 2] = max(boxes[k + 2], i + 1)
                boxes[k + 3] = max(boxes[k + 3], row + 1)


@kernel
def _unit(number, key):
    """Even over [0, 1), float32, by the top 24 bits of a hash."""
    return np.float32(_hash(number, key) >> np.uint32(8)) * np.float32(2.0**-24)


@kernel
def _hash(number, key):
    """32 bits that depend on all bits of both; multiplications in 64 bits, which cannot wrap."""
    h = np.uint32((np.uint64(number) * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)) ^ key
    h = h ^ (h >> np.uint32(16))
    h = np.uint32((np.uint64(h) * np.uint64(0x7FEB352D)) & np.uint64(0xFFFFFFFF))
    h = h ^ (h >> np.uint32(15))
    h = np.uint32((np.uint64(h) * np.uint64(0x846CA68B)) & np.uint64(0xFFFFFFFF))
    return np.uint32(h ^ (h >> np.uint32(16)))
