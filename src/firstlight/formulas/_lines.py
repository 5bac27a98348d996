"""Lines one pixel wide and filled polygons between whole pixels, on grey canvases.

Bresenham, "Algorithm for computer control of a digital plotter", IBM Systems Journal 1965.
https://doi.org/10.1147/sj.41.0025

Everything is integer arithmetic, so that what a canvas shows of a line does not depend on where the canvas ends. The
pixels of a line are those of Pillow's ``ImageDraw.line``, in which the public generators draw.
"""

import numpy as np

from ._compile import kernel

FARTHEST = 1 << 28
"""Coordinates reach from minus this to this; beyond it, products of clipping would not fit 64 bits."""


@kernel
def segment(pixels, x0, y0, x1, y1, light):
    """Draws a line of ``max(|x1 - x0|, |y1 - y0|) + 1`` pixels, both ends included.

    The line takes one pixel of each column if it is flat, of each row if it is steep. Its other coordinate is rounded
    to the nearest, and from halfway away from the first point.

    Args:
        pixels: uint8 ``[H, W]``, contiguous, written.
        x0: column of the first point, a whole number within ``FARTHEST``; all may lie outside.
        y0: its row.
        x1: column of the last point.
        y1: its row.
        light: 0 to 255.
    """
    trace(pixels.reshape(-1), pixels.shape[1], pixels.shape[0], x0, y0, x1, y1, light)


@kernel
def polyline(pixels, xs, ys, closed, light):
    """Draws the segments between consecutive points; ``closed`` adds the one from the last point to the first.

    Args:
        pixels: uint8 ``[H, W]``, contiguous, written.
        xs: columns, whole numbers ``[N]`` within ``FARTHEST``.
        ys: rows.
        closed: True or False. A single point is one pixel either way.
        light: 0 to 255.
    """
    count = len(xs) if closed else len(xs) - 1
    path(pixels.reshape(-1), pixels.shape[1], pixels.shape[0], xs, ys, 0, count, light, np.empty(count, np.int32))
    if len(xs) == 1:
        segment(pixels, xs[0], ys[0], xs[0], ys[0], light)


@kernel
def polygon(pixels, xs, ys, light):
    """Fills every pixel whose centre lies inside the closed polygon, by the even-odd rule, or exactly on its edge.

    Where the corners begin and which way round they go makes no difference. A polygon thinner than a pixel shows only
    where it meets centres: draw its ``polyline`` too for an unbroken outline.

    Args:
        pixels: uint8 ``[H, W]``, contiguous, written.
        xs: columns of the corners, whole numbers ``[N]`` within ``FARTHEST``.
        ys: their rows.
        light: 0 to 255.
    """
    height, width = pixels.shape
    top, bottom = max(ys.min(), 0), min(ys.max(), height - 1)
    left, right = max(xs.min(), 0), min(xs.max(), width - 1)
    if top > bottom or left > right:
        return
    turns = np.zeros((bottom - top + 1, right - left + 1), np.uint8)  # 1 where inside and outside change places
    for i in range(len(xs)):
        k = i + 1 if i + 1 < len(xs) else 0
        if ys[i] < ys[k]:
            _edge(pixels, turns, left, top, xs[i], ys[i], xs[k], ys[k], light)
        elif ys[i] > ys[k]:
            _edge(pixels, turns, left, top, xs[k], ys[k], xs[i], ys[i], light)
        elif 0 <= ys[i] < height:
            for x in range(max(min(xs[i], xs[k]), 0), min(max(xs[i], xs[k]), width - 1) + 1):
                pixels[ys[i], x] = light
    for row in range(bottom - top + 1):
        inside = 0
        for column in range(right - left + 1):
            inside ^= turns[row, column]
            if inside:
                pixels[top + row, left + column] = light


@kernel
def path(flat, width, height, xs, ys, first, count, light, left):
    """Draws ``count`` consecutive segments of a closed polyline, from corner ``first`` on, on a flat canvas.

    Those within the canvas are drawn at once, the few that leave it afterwards: so the loop over the many is short.
    ``left`` is room for their numbers, int32 ``[count]``.
    """
    others, k = 0, first
    for _ in range(count):
        last = k
        k = k + 1 if k + 1 < len(xs) else 0
        left[others] = last
        others += draw_within(flat, width, height, xs[last], ys[last], xs[k], ys[k], light)
    for i in range(others):
        last = left[i]
        k = last + 1 if last + 1 < len(xs) else 0
        if not _beside(width, height, xs[last], ys[last], xs[k], ys[k]):
            draw_across(flat, width, height, xs[last], ys[last], xs[k], ys[k], light)


@kernel
def trace(flat, width, height, x0, y0, x1, y1, light):
    """``segment`` on a canvas laid out flat, uint8 ``[H * W]``."""
    if draw_within(flat, width, height, x0, y0, x1, y1, light) and not _beside(width, height, x0, y0, x1, y1):
        draw_across(flat, width, height, x0, y0, x1, y1, light)


@kernel
def draw_within(flat, width, height, x0, y0, x1, y1, light):
    """Draws a line if it lies within the canvas. Returns whether it does not.

    The line is walked from both ends at once: each step of a walk waits for the one before, so two take half as long.
    """
    if min(x0, x1) < 0 or min(y0, y1) < 0 or max(x0, x1) >= width or max(y0, y1) >= height:
        return True
    across, down = abs(x1 - x0), abs(y1 - y0)
    step_x, step_y = 1 if x1 >= x0 else -1, width if y1 >= y0 else -width
    far, near = (down, across) if down >= across else (across, down)  # how far along its own direction, and aside
    along, aside = (step_y, step_x) if down >= across else (step_x, step_y)
    place, error = y0 * width + x0, 2 * near - far
    back, rest = y1 * width + x1, 2 * near - far - 1  # halfway is rounded away from the first point, not the last
    for _ in range((far >> 1) + 1):
        flat[place] = flat[back] = light
        place += along + aside if error >= 0 else along
        error += 2 * (near - far) if error >= 0 else 2 * near
        back -= along + aside if rest >= 0 else along
        rest += 2 * (near - far) if rest >= 0 else 2 * near
    return False


@kernel
def _beside(width, height, x0, y0, x1, y1):
    """Whether all of a line is to one side of the canvas."""
    return max(x0, x1) < 0 or max(y0, y1) < 0 or min(x0, x1) >= width or min(y0, y1) >= height


@kernel
def draw_across(flat, width, height, x0, y0, x1, y1, light):
    """Draws what is on the canvas of a line that leaves it, if anything; not for single points."""
    across, down = abs(x1 - x0), abs(y1 - y0)
    step_x, step_y = 1 if x1 >= x0 else -1, width if y1 >= y0 else -width
    far, near = (down, across) if down >= across else (across, down)
    along, aside = (step_y, step_x) if down >= across else (step_x, step_y)
    if down >= across:
        first, last = _visible(y0, y1, height, x0, x1, width)
    else:
        first, last = _visible(x0, x1, width, y0, y1, height)
    moved = (2 * first * near + far) // (2 * far)
    place, error = y0 * width + x0 + first * along + moved * aside, 2 * (first + 1) * near - (2 * moved + 1) * far
    for _ in range(first, last + 1):
        flat[place] = light
        place += along + aside if error >= 0 else along
        error += 2 * (near - far) if error >= 0 else 2 * near


@kernel
def _visible(a0, a1, a_size, b0, b1, b_size):
    """Which pixels of a line are on the canvas, the first and the last; the last is below the first if none is.

    Args:
        a0: where the line begins along the direction in which every step moves on.
        a1: where it ends.
        a_size: the side of the canvas in that direction.
        b0: where the line begins in the other direction.
        b1: where it ends.
        b_size: the side of the canvas in that direction.
    """
    far, near = abs(a1 - a0), abs(b1 - b0)
    start, begin = a0 if a1 >= a0 else a_size - 1 - a0, b0 if b1 >= b0 else b_size - 1 - b0  # mirrored to ascend
    first, last = max(0, -start), min(far, a_size - 1 - start)
    if near == 0:
        return (first, last) if 0 <= begin < b_size else (0, -1)
    # Pixel i has moved aside by k or more from i = ceil((2k - 1) far / (2 near)) on.
    enters = -(((2 * begin + 1) * far) // (2 * near)) if begin < 0 else 0  # k = -begin
    leaves = -((-(2 * (b_size - begin) - 1) * far) // (2 * near)) if begin < b_size else 0  # k = b_size - begin
    return max(first, enters), min(last, leaves - 1)


@kernel
def _edge(pixels, turns, left, top, x0, y0, x1, y1, light):
    """Notes in ``turns`` where rows cross an edge that leads down from row y0 to before row y1.

    A crossing counts at the first centre that is not left of it; a centre exactly on the edge is lit at once.
    """
    rise = y1 - y0
    first, last = max(y0, top), min(y1, top + turns.shape[0])
    whole, part = (x1 - x0) // rise, (x1 - x0) % rise
    column = x0 + ((first - y0) * (x1 - x0)) // rise
    over = ((first - y0) * (x1 - x0)) % rise  # the crossing is at column + over / rise
    for row in range(first, last):
        place = column + (1 if over else 0) - left
        if place < turns.shape[1]:
            turns[row - top, max(place, 0)] ^= 1
            if over == 0 and place >= 0:
                pixels[row, column] = light
        column, over = column + whole, over + part
        if over >= rise:
            column, over = column + 1, over - rise
    if top <= y1 < top + turns.shape[0] and 0 <= x1 - left < turns.shape[1]:
        pixels[y1, x1] = light
