"""Many short lines at once: the pixels of ``_lines.path``, worked out for hundreds of lines side by side.

A short line drawn alone costs more for its beginning and its unforeseeable end than for its pixels. Here pixel number
``slot`` of all lines of a block is found in one loop without branches, which compiles to vector instructions; lines
that are over by then give their last pixel again.
"""

import numpy as np

from ._compile import kernel
from ._lines import draw_across, draw_within

BLOCK = 256
"""Lines that are drawn together; what is known of them stays in the first-level cache."""

WORTHWHILE = 96
"""With fewer lines, drawing them one after the other is as fast."""

NUMBERS, SHARES = 9 * BLOCK + 2, 2 * BLOCK
"""Room that ``path`` needs: int32 and float32."""

_LONGEST = 48
_ONE_HALF, _EIGHTH = np.float32(0.5), np.float32(0.125)
_X, _Y = 0, BLOCK + 1
_BASE, _FAR, _NEAR, _ALONG, _ASIDE, _STATE, _SPOT = (2 * BLOCK + 2 + k * BLOCK for k in range(7))


@kernel
def path(flat, width, height, xs, ys, first, count, light, numbers, shares):
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
    """
    corner = first
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        used = (size + 15) // 16 * 16  # the rest are points at the last corner
        corner = _copy(xs, ys, corner, size, used, numbers)
        limit, spare = _plan(used, np.int32(width), np.int32(height), numbers)
        if spare >= 0:
            _settle(used, limit, spare, numbers, shares)
            for slot in range(limit + 1):
                _step(used, np.int32(slot), numbers, shares)
                for j in range(used):
                    flat[np.uint32(numbers[np.uint64(_SPOT) + np.uint64(j)])] = light
        for i in range(size):
            if numbers[_STATE + i]:
                x0, y0, x1, y1 = numbers[_X + i], numbers[_Y + i], numbers[_X + i + 1], numbers[_Y + i + 1]
                if draw_within(flat, width, height, x0, y0, x1, y1, light):
                    draw_across(flat, width, height, x0, y0, x1, y1, light)


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

    Returns:
        The length up to which it pays to draw lines together, and a pixel that is drawn anyway, below 0 if there is
        none.
    """
    one = np.int32(1)
    total, inside, spare = np.int32(0), np.int32(0), np.int32(-1)
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
    for j in range(used):
        i = np.uint64(j)
        within = np.int32(numbers[np.uint64(_STATE) + i] & one)
        total = np.int32(total + np.int32(within * numbers[np.uint64(_FAR) + i]))
        inside = np.int32(inside + within)
    # Twice the mean covers most lines; each slot is paid for by all of them.
    limit = min(np.int64(_LONGEST), 2 * np.int64(total) // max(np.int64(inside), 1) + 1)
    for j in range(used):
        i = np.uint64(j)
        fits = (numbers[np.uint64(_STATE) + i] == 1) & (numbers[np.uint64(_FAR) + i] <= limit)
        base = numbers[np.uint64(_BASE) + i]
        spare = base if fits and base > spare else spare
    return limit, spare


@kernel
def _settle(used, limit, spare, numbers, shares):
    """Leaves the lines up to the limit to the slots and the other ones, now points at ``spare``, to their states.

    Pixel number s of a line is ``floor(s near / far + 1/2)`` aside. An eighth over ``far`` more never reaches the next
    whole number, and keeps rounding from falling short of one.
    """
    for j in range(used):
        i = np.uint64(j)
        far, state = numbers[np.uint64(_FAR) + i], numbers[np.uint64(_STATE) + i]
        fits = (state == 1) & (far <= limit)
        numbers[np.uint64(_STATE) + i] = np.int32(0) if fits else state
        numbers[np.uint64(_BASE) + i] = numbers[np.uint64(_BASE) + i] if fits else spare
        numbers[np.uint64(_FAR) + i] = far if fits else np.int32(0)
    for j in range(used):
        i = np.uint64(j)
        far, near = np.float32(numbers[np.uint64(_FAR) + i]), np.float32(numbers[np.uint64(_NEAR) + i])
        far = far if far > np.float32(0) else np.float32(1)
        shares[i] = near / far
        shares[np.uint64(BLOCK) + i] = _ONE_HALF + _EIGHTH / far


@kernel
def _step(used, slot, numbers, shares):
    """Where pixel number ``slot`` of each line is, or its last."""
    for j in range(used):
        i = np.uint64(j)
        far = numbers[np.uint64(_FAR) + i]
        step = slot if slot < far else far
        aside = np.int32(np.float32(step) * shares[i] + shares[np.uint64(BLOCK) + i])
        along = np.int32(step * numbers[np.uint64(_ALONG) + i])
        aside = np.int32(aside * numbers[np.uint64(_ASIDE) + i])
        numbers[np.uint64(_SPOT) + i] = np.int32(np.int32(numbers[np.uint64(_BASE) + i] + along) + aside)
