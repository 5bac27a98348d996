"""Many short lines at once: the pixels of ``_lines.path``, worked out for hundreds of lines side by side.

A short line drawn alone costs more for its beginning and its unforeseeable end than for its pixels. Here the lines of a
block are put in order of their length, longest first, and pixel number ``slot`` of all that are so long is found in one
loop without branches, which compiles to vector instructions.
"""

import numpy as np

from ._compile import kernel
from ._lines import draw_across, draw_within

BLOCK = 256
"""Lines that are drawn together; what is known of them stays in the first-level cache."""

WORTHWHILE = 96
"""With fewer lines, drawing them one after the other is as fast."""

NUMBERS, SHARES = 14 * BLOCK + 2, 2 * BLOCK
"""Room that ``path`` needs: int32 and float32."""

LENGTHS = 50
"""Room for the numbers of lines of each length up to the longest that is drawn here, int32."""

_LONGEST = LENGTHS - 2
_ONE_HALF, _EIGHTH = np.float32(0.5), np.float32(0.125)
_X, _Y = 0, BLOCK + 1
_BASE, _FAR, _NEAR, _ALONG, _ASIDE, _STATE = (2 * BLOCK + 2 + k * BLOCK for k in range(6))
_SORTED, _SORTED_FAR, _SORTED_NEAR, _SORTED_ALONG, _SORTED_ASIDE, _SPOT = (8 * BLOCK + 2 + k * BLOCK for k in range(6))


@kernel
def path(flat, width, height, xs, ys, first, count, light, numbers, shares, lengths):
    """Draws ``count`` consecutive segments of a closed polyline, from corner ``first`` on, on a flat canvas.

    Args:
        flat: uint8 ``[H * W]``, written.
        width: of the canvas.
        height: of the canvas.
        xs: int32 ``[N]``, the corners' columns, within 2**19 of the canvas.
        ys: int32 ``[N]``, their rows.
        first: the corner to begin at.
        count: up to N.
        light: grey value.
        numbers: int32 ``[NUMBERS]``, working memory.
        shares: float32 ``[SHARES]``, working memory.
        lengths: int32 ``[LENGTHS]``, working memory.
    """
    corner = first
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        used = (size + 15) // 16 * 16  # the rest are points at the last corner
        corner = _copy(xs, ys, corner, size, used, numbers)
        _plan(used, np.int32(width), np.int32(height), numbers)
        for i in range(size):
            if numbers[_STATE + i] == 2 or (numbers[_STATE + i] == 1 and numbers[_FAR + i] > _LONGEST):
                x0, y0, x1, y1 = numbers[_X + i], numbers[_Y + i], numbers[_X + i + 1], numbers[_Y + i + 1]
                if draw_within(flat, width, height, x0, y0, x1, y1, light):
                    draw_across(flat, width, height, x0, y0, x1, y1, light)
        longest = _sort(size, numbers, lengths)
        _share(lengths[0], numbers, shares)
        for slot in range(longest + 1):
            _step(lengths[slot], np.int32(slot), numbers, shares)
            for j in range(lengths[slot]):
                flat[np.uint32(numbers[np.uint64(_SPOT) + np.uint64(j)])] = light


@kernel
def _copy(xs, ys, corner, size, used, numbers):
    """Copies the ends of ``size`` lines from a corner on, round the end of the polyline; returns the corner reached."""
    straight = min(size + 1, len(xs) - corner)
    for j in range(straight):
        numbers[np.uint64(j)] = xs[np.uint64(corner) + np.uint64(j)]
    for j in range(straight):
        numbers[np.uint64(_Y) + np.uint64(j)] = ys[np.uint64(corner) + np.uint64(j)]
    for j in range(size + 1 - straight):
        numbers[straight + j], numbers[_Y + straight + j] = xs[j], ys[j]
    for j in range(size + 1, used + 1):
        numbers[j], numbers[_Y + j] = numbers[size], numbers[_Y + size]
    reached = corner + size
    return reached if reached < len(xs) else reached - len(xs)


@kernel
def _plan(used, width, height, numbers):
    """Finds each line's lengths and steps, and whether it is within the canvas (1), crosses its border (2) or neither.

    Indices are unsigned throughout: those that might be negative would not be vectorised.
    """
    one = np.int32(1)
    for j in range(used):
        i = np.uint64(j)
        x0, x1 = numbers[i], numbers[i + np.uint64(1)]
        y0, y1 = numbers[np.uint64(_Y) + i], numbers[np.uint64(_Y + 1) + i]
        right, down = np.int32(x1 - x0), np.int32(y1 - y0)
        step_x, step_y = one if right >= 0 else np.int32(-1), width if down >= 0 else np.int32(-width)
        right, down = right if right >= 0 else np.int32(-right), down if down >= 0 else np.int32(-down)
        steep = down >= right
        numbers[np.uint64(_FAR) + i] = down if steep else right
        numbers[np.uint64(_NEAR) + i] = right if steep else down
        numbers[np.uint64(_ALONG) + i] = step_y if steep else step_x
        numbers[np.uint64(_ASIDE) + i] = step_x if steep else step_y
        numbers[np.uint64(_BASE) + i] = np.int32(np.int32(y0 * width) + x0)
        # What is negative has its highest bit set: so is a union if one is, and an intersection if all are.
        left0, left1 = np.int32(width - one - x0), np.int32(width - one - x1)
        below0, below1 = np.int32(height - one - y0), np.int32(height - one - y1)
        union = np.int32(x0 | x1 | y0 | y1 | left0 | left1 | below0 | below1)
        beside = np.int32((x0 & x1) | (y0 & y1) | (left0 & left1) | (below0 & below1))
        numbers[np.uint64(_STATE) + i] = one if union >= 0 else (np.int32(2) if beside >= 0 else np.int32(0))


@kernel
def _sort(size, numbers, lengths):
    """Puts the lines within the canvas in order of their length and forgets the others.

    Returns:
        The longest length. ``lengths[s]`` is then the number of lines that have a pixel ``s``.
    """
    for length in range(LENGTHS):
        lengths[length] = 0
    for i in range(size):
        if numbers[_STATE + i] == 1 and numbers[_FAR + i] <= _LONGEST:
            lengths[numbers[_FAR + i]] += 1
    reached, longest = np.int32(0), 0
    for length in range(_LONGEST, -1, -1):
        count = lengths[length]
        longest = length if count and length > longest else longest
        lengths[length] = reached
        reached += count
    for i in range(size):
        if numbers[_STATE + i] == 1 and numbers[_FAR + i] <= _LONGEST:
            k = lengths[numbers[_FAR + i]]
            lengths[numbers[_FAR + i]] = k + 1
            for kind in range(5):
                numbers[_SORTED + kind * BLOCK + k] = numbers[_BASE + kind * BLOCK + i]
    return longest


@kernel
def _share(used, numbers, shares):
    """How far aside a line is at its first pixel, plus a half, and how much more at each following one.

    Pixel number s is ``floor(s near / far + 1/2)`` aside. An eighth over ``far`` more never reaches the next whole
    number, and keeps rounding from falling short of one.
    """
    for j in range(used):
        i = np.uint64(j)
        far, near = np.float32(numbers[np.uint64(_SORTED_FAR) + i]), np.float32(numbers[np.uint64(_SORTED_NEAR) + i])
        far = far if far > np.float32(0) else np.float32(1)
        shares[i] = near / far
        shares[np.uint64(BLOCK) + i] = _ONE_HALF + _EIGHTH / far


@kernel
def _step(used, slot, numbers, shares):
    """Where pixel number ``slot`` of the first lines is."""
    for j in range(used):
        i = np.uint64(j)
        aside = np.int32(np.float32(slot) * shares[i] + shares[np.uint64(BLOCK) + i])
        along = np.int32(slot * numbers[np.uint64(_SORTED_ALONG) + i])
        aside = np.int32(aside * numbers[np.uint64(_SORTED_ASIDE) + i])
        numbers[np.uint64(_SPOT) + i] = np.int32(np.int32(numbers[np.uint64(_SORTED) + i] + along) + aside)
