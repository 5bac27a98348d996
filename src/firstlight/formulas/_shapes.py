"""Overlapping shapes of random places, sizes and kinds, laid from the front until no pixel is free.

Kendall & Thönnes, "Perfect simulation in stochastic geometry", Pattern Recognition 32, 1999: to see dead leaves as
they lie in the end, look from below at the first ones to fall.

From the front, the first shape on a pixel stays: every pixel is written once, whatever lies behind it, and the
picture is finished when no pixel is free.
"""

import math

import numpy as np

from ._compile import kernel

CIRCLE, SQUARE, ORIENTED_SQUARE, RECTANGLE, TRIANGLE, QUADRILATERAL = range(6)

WORDS = 16
"""Random words set aside for each shape; at most nine are used."""

GAMMA = np.uint64(0x9E3779B97F4A7C15)


@kernel
def lay(key, most, kinds, reached, radii, palette, size, free, pixels):
    """Lays shapes on black pixels, each behind those before it.

    The centres of pixels are the whole numbers 0 to S - 1. A shape covers the centres in a row from its left border on
    up to, but without, its right border.

    Args:
        key: uint64; the words of the stream of this name are used, ``WORDS`` for each shape.
        most: shapes to lay at most.
        kinds: float64 ``[6]``, ascending to 1: the chance of a kind up to this one.
        reached: float64 ``[R]``, ascending to 1: the chance of a radius up to this one.
        radii: float64 ``[R]``, as shares of the side. All shapes but the circle have their corners on this circle.
        palette: uint8 ``[K, C]``, the colours to choose from, evenly; with K = 0 any colour may come.
        size: the side S, up to 65535.
        free: uint16 ``[S * (S + 1)]``, written: for each pixel, the way to the next free one in its row.
        pixels: uint8 ``[S * S * C]``, written where shapes lie.

    Returns:
        How many shapes were laid.
    """
    colours, channels = palette.shape
    for row in range(size):
        for i in range(size + 1):
            free[row * (size + 1) + i] = i
    flat_palette, light = palette.reshape(-1), np.empty(channels, np.uint8)
    turns, corners, slopes = np.empty(4), np.empty(8), np.empty(4)
    left, room = size * size, np.full(size, size)  # free pixels of the picture, and of each row
    for number in range(most):
        start = np.uint64(key) + np.uint64(number * WORDS) * GAMMA
        kind = _first_reaching(kinds, _unit(start, 0))
        radius = radii[_first_reaching(reached, _unit(start, 1))] * size
        x, y = _unit(start, 2) * size - 0.5, _unit(start, 3) * size - 0.5
        word = _word(start, 4)
        chosen = int(float(word >> np.uint64(11)) * 2.0**-53 * colours) * channels
        for channel in range(channels):
            drawn = np.uint8((word >> np.uint64(56 - 8 * channel)) & np.uint64(255))
            light[channel] = flat_palette[chosen + channel] if colours else drawn
        if kind == CIRCLE:
            left -= _disc(x, y, radius, size, light, room, free, pixels)
        else:
            count = _corners(kind, start, x, y, radius, turns, corners)
            left -= _fill(corners, count, slopes, size, light, room, free, pixels)
        if left == 0:
            return number + 1
    return most


@kernel
def _disc(x, y, radius, size, light, room, free, pixels):
    """Covers what is free of a disc; returns how many pixels that were."""
    covered = 0
    for row in range(max(0, math.ceil(y - radius)), min(size, math.floor(y + radius) + 1)):
        if room[row]:
            half = math.sqrt(max(radius * radius - (row - y) * (row - y), 0.0))
            covered += _cover(row, x - half, x + half, size, light, room, free, pixels)
    return covered


@kernel
def _fill(corners, count, slopes, size, light, room, free, pixels):
    """Covers what is free of a convex polygon; returns how many pixels that were.

    An edge crosses the rows from its upper end on up to, but without, its lower end; what is noted in ``slopes`` for
    one that is level is never used.
    """
    top = bottom = corners[1]
    for i in range(count):
        k = i + 1 if i + 1 < count else 0
        top, bottom = min(top, corners[2 * i + 1]), max(bottom, corners[2 * i + 1])
        rise = corners[2 * k + 1] - corners[2 * i + 1]
        slopes[i] = (corners[2 * k] - corners[2 * i]) / (rise if rise != 0 else 1.0)
    covered = 0
    for row in range(max(0, math.ceil(top)), min(size, math.floor(bottom) + 1)):
        if room[row]:
            left, right = float(size), -1.0
            for i in range(count):
                k = i + 1 if i + 1 < count else 0
                if (corners[2 * i + 1] <= row) != (corners[2 * k + 1] <= row):
                    place = corners[2 * i] + (row - corners[2 * i + 1]) * slopes[i]
                    left, right = min(left, place), max(right, place)
            covered += _cover(row, left, right, size, light, room, free, pixels)
    return covered


@kernel
def _cover(row, left, right, size, light, room, free, pixels):
    """Paints the free pixels of a row from ``left`` on up to, but without, ``right``; returns how many.

    ``free`` holds a path from each pixel to the next free one, halved whenever it is walked.
    """
    i, last = math.ceil(max(left, 0.0)), math.ceil(min(right, float(size)))  # the second is the pixel after the last
    base, channels, covered = row * (size + 1), len(light), 0
    while i < last:
        while free[base + i] != i:
            further = int(free[base + int(free[base + i])])
            free[base + i] = further
            i = further
        if i < last:
            for channel in range(channels):
                pixels[(row * size + i) * channels + channel] = light[channel]
            free[base + i] = i + 1
            covered, i = covered + 1, i + 1
    room[row] -= covered
    return covered


@kernel
def _corners(kind, start, x, y, radius, turns, corners):
    """Places the corners of a shape, on a circle, in the order of their angles; returns how many there are."""
    random = kind in (TRIANGLE, QUADRILATERAL)
    count = (4 if kind == QUADRILATERAL else 3) if random else 1
    for i in range(count):
        turn, place = _unit(start, 5 + i), i
        while place and turns[place - 1] > turn:
            turns[place] = turns[place - 1]
            place -= 1
        turns[place] = turn
    if not random:  # the other three corners mirror the first, or are turned from it
        turns[0] = 0.125 if kind == SQUARE else turns[0] * (0.25 if kind == RECTANGLE else 1.0)
    for i in range(count):
        cosine, sine = direction(turns[i])
        u, v = radius * cosine, radius * sine
        corners[2 * i], corners[2 * i + 1] = x + u, y + v
        if not random:
            corners[4], corners[5] = x - u, y - v
            u, v = (-v, u) if kind == ORIENTED_SQUARE else (-u, v)
            corners[2], corners[3], corners[6], corners[7] = x + u, y + v, x - u, y - v
    return count if random else 4


@kernel
def direction(turn):
    """Cosine and sine of 0 to 1 full turns, each within 1e-15 of the truth.

    Within an eighth of a turn of the nearest quarter, Taylor's polynomials end where doubles do.
    """
    quarter = math.floor(turn * 4.0 + 0.5)
    angle = (turn * 4.0 - quarter) * 1.5707963267948966
    s = angle * angle
    cosine = 1 / 479001600 - s * (1 / 87178291200 - s / 20922789888000)
    cosine = 1 - s * (1 / 2 - s * (1 / 24 - s * (1 / 720 - s * (1 / 40320 - s * (1 / 3628800 - s * cosine)))))
    sine = 1 / 39916800 - s * (1 / 6227020800 - s / 1307674368000)
    sine = angle * (1 - s * (1 / 6 - s * (1 / 120 - s * (1 / 5040 - s * (1 / 362880 - s * sine)))))
    if quarter == 1:
        return -sine, cosine
    if quarter == 2:
        return -cosine, -sine
    if quarter == 3:
        return sine, -cosine
    return cosine, sine


@kernel
def _first_reaching(reached, chance):
    """The first place whose value is above ``chance``, by halving; the last where none is."""
    low, high = 0, len(reached) - 1
    while low < high:
        middle = (low + high) // 2
        if reached[middle] > chance:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _unit(start, number):
    """Word ``number`` of a shape as float64 of [0, 1)."""
    return float(_word(start, number) >> np.uint64(11)) * 2.0**-53


@kernel
def _word(start, number):
    """The word of that number after ``start``, as ``Draw.bits`` counts them."""
    z = start + np.uint64(number + 1) * GAMMA
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
