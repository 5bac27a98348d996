"""From the pixel numbers of points, in the order drawn, to pictures: marks, counts, 3x3 patches and colours.

Painting a 3x3 patch per point overwrites nine pixels 100,000 times. Only the last point to fall on a pixel can show,
so one store a point notes that point, and each pixel then looks for the latest of its nine neighbours: a maximum,
which is separable. The result is the one that overwriting in order would give, pixel for pixel.
"""

import numpy as np

from ._compile import kernel

MOST_POINTS = 1 << 27
"""A point's number and its place in the patch share 32 bits."""


@kernel
def mark(spots, light, pixels):
    """Sets every pixel of uint8 ``pixels [S, S]`` that a point falls on to ``light``."""
    flat = pixels.reshape(-1)
    for i in range(len(spots)):
        flat[spots[i]] = light


@kernel
def count(spots, pixels):
    """Adds the points of every pixel to uint32 ``pixels [S, S]``."""
    flat = pixels.reshape(-1)
    for i in range(len(spots)):
        flat[spots[i]] += np.uint32(1)


@kernel
def latest(spots, first, pixels):
    """Notes in uint32 ``pixels [S, S]`` the last point on each pixel, counted from ``first + 1``."""
    flat = pixels.reshape(-1)
    for i in range(len(spots)):
        flat[spots[i]] = np.uint32(first + i + 1)


@kernel
def clear_rim(pixels):
    """Blackens the outermost pixels, where strays were sent."""
    last = len(pixels) - 1
    for i in range(len(pixels)):
        pixels[0, i] = pixels[last, i] = pixels[i, 0] = pixels[i, last] = 0


@kernel
def lit(pixels):
    """How many of the uint8 pixels ``[S, S]`` are not black."""
    found = 0
    for row in range(len(pixels)):
        for i in range(len(pixels)):
            found += 1 if pixels[row, i] else 0
    return found


@kernel
def density(counts, palette, pixels):
    """Paints uint8 ``pixels [S, S, C]`` by count: ``palette [256, C]`` from 0, no point, to 255, the largest count."""
    most = np.uint32(max(counts.max(), 1))
    step = np.float32(254) / np.float32(most)
    for row in range(len(counts)):
        for i in range(len(counts)):
            hit = counts[row, i] > 0
            shade = np.int32(np.float32(counts[row, i]) * step) + 1 if hit else 0
            for channel in range(pixels.shape[2]):
                pixels[row, i, channel] = palette[shade, channel]


@kernel
def patches(last, mask, key, value, pixels):
    """Paints 3x3 patches in the order of their points, the empty pixels of a patch erasing what they cover.

    The outermost pixels stay black.

    Args:
        last: uint32 ``[S, S]``, the last point on each pixel counted from 1, 0 where there is none; the outermost
            pixels have none.
        mask: nine bits, row by row from the lowest, the same for every point; 0 gives each point its own of the 511
            masks that are not empty.
        key: uint32 that the points' own masks hash.
        value: what to paint with; 0 paints the number of the point.
        pixels: uint8 or, for numbers, uint32 ``[S, S]``, written.
    """
    size = len(last)
    tallest = np.zeros(size, np.uint32)
    clear_rim(pixels)
    for row in range(1, size - 1):
        above, here, below = last[row - 1], last[row], last[row + 1]
        for i in range(size):
            # the point's number, then how far down (two bits) and how far across (two bits) its patch this pixel is
            tallest[i] = _greatest(_tag(above[i], 8), _tag(here[i], 4), _tag(below[i], 0))
        shown, paint = pixels[row], np.uint32(value)
        for i in range(1, size - 1):
            top = _greatest(tallest[i - 1] | np.uint32(2), tallest[i] | np.uint32(1), tallest[i + 1])
            point = top >> np.uint32(4)
            bit = ((top >> np.uint32(2)) & np.uint32(3)) * np.uint32(3) + (top & np.uint32(3))
            own = _own_mask(point, key) if mask == 0 else np.uint32(mask)
            light = point if value == 0 else paint
            shown[i] = light if (own >> np.uint32(bit)) & np.uint32(1) and point else np.uint32(0)


@kernel
def colour(owner, wheel, pixels):
    """Paints uint8 ``pixels [S, S, 3]``; the colour in ``wheel``, uint8 ``[128, 3]``, turns with a point's number."""
    for row in range(len(owner)):
        for i in range(len(owner)):
            point = owner[row, i]
            for channel in range(3):
                pixels[row, i, channel] = wheel[(point - 1) % 128, channel] if point > 0 else 0


@kernel
def shrink(pixels, factor, smaller):
    """Averages squares of ``factor`` pixels: uint8 ``[S * factor, S * factor, C]`` to ``[S, S, C]``, rounded down."""
    area = factor * factor
    for row in range(smaller.shape[0]):
        for i in range(smaller.shape[1]):
            for channel in range(smaller.shape[2]):
                total = 0
                for down in range(factor):
                    for across in range(factor):
                        total += np.int64(pixels[row * factor + down, i * factor + across, channel])
                smaller[row, i, channel] = total // area


@kernel
def _tag(point, place):
    return np.uint32(np.uint64(point) << np.uint64(4)) | np.uint32(place)


@kernel
def _greatest(a, b, c):
    a = a if a > b else b
    return a if a > c else c


@kernel
def _own_mask(point, key):
    """One of 1 .. 511 by a 32-bit hash of the point's number."""
    h = np.uint32(np.uint64(point ^ key) * np.uint64(0x9E3779B1))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(np.uint64(h) * np.uint64(0x85EBCA77)) >> np.uint32(16)
    return np.uint32(np.uint32(h * np.uint32(511)) >> np.uint32(16)) + np.uint32(1)
