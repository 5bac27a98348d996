"""Colours of grey pictures: hue, saturation and value to RGB, luma, and a small blur, in exact arithmetic."""

import numpy as np

from ._compile import kernel


@kernel
def wheel(first, step, table):
    """The RGB of hue, saturation and value ``first + n * step``.

    Args:
        first: float64 ``[3]``; hue counts turns of the wheel, saturation and value are cut to 0..1.
        step: float64 ``[3]``.
        table: flat uint8 ``[N * 3]``, written.
    """
    for n in range(len(table) // 3):
        hue = first[0] + n * step[0]
        saturation = min(max(first[1] + n * step[1], 0.0), 1.0)
        value = min(max(first[2] + n * step[2], 0.0), 1.0)
        sector = (hue - np.floor(hue)) * 6.0
        for channel in range(3):  # each is a trapezium over the wheel: Smith, "Color gamut transform pairs", 1978
            turn = sector + (5.0, 3.0, 1.0)[channel]
            turn = turn - 6.0 if turn >= 6.0 else turn
            share = min(max(min(turn, 4.0 - turn), 0.0), 1.0)
            table[3 * n + channel] = np.uint8((value - value * saturation * share) * 255.0 + 0.5)


@kernel
def shade(heights, side, low, scale, table, size, canvas):
    """Colours flat uint8 ``canvas [size * size * 3]`` by height: ``table``'s entry ``(height - low) * scale``."""
    last = len(table) // 3 - 1
    for row in range(size):
        here, painted = heights[row * side : row * side + size], canvas[row * size * 3 : (row + 1) * size * 3]
        for i in range(size):
            entry = min(max(int((here[i] - low) * scale), 0), last) * 3
            painted[3 * i] = table[entry]
            painted[3 * i + 1] = table[entry + 1]
            painted[3 * i + 2] = table[entry + 2]


@kernel
def cover(pixels, channels, nothing, solid, table, canvas):
    """Paints what is not empty of a picture over another.

    Args:
        pixels: flat uint8 ``[P * channels]``.
        channels: 1, or 3, whose colours stay.
        nothing: uint8 ``[3]``, the empty pixel.
        solid: whether there is none, so that all is painted.
        table: flat uint8 ``[256 * 3]``, the RGB of grey values.
        canvas: flat uint8 ``[P * 3]``, written.
    """
    if channels == 1:
        for place in range(len(pixels)):
            if solid or pixels[place] != nothing[0]:
                entry = int(pixels[place]) * 3
                canvas[place * 3] = table[entry]
                canvas[place * 3 + 1] = table[entry + 1]
                canvas[place * 3 + 2] = table[entry + 2]
        return
    for at in range(0, len(pixels), 3):
        red, green, blue = pixels[at], pixels[at + 1], pixels[at + 2]
        if solid or red != nothing[0] or green != nothing[1] or blue != nothing[2]:
            canvas[at], canvas[at + 1], canvas[at + 2] = red, green, blue


@kernel
def fill(pixel, canvas):
    """Gives all of flat uint8 ``canvas [P * 3]`` one colour, uint8 ``[3]``."""
    for at in range(0, len(canvas), 3):
        canvas[at], canvas[at + 1], canvas[at + 2] = pixel[0], pixel[1], pixel[2]


@kernel
def luma(colours, greys):
    """The brightness of flat uint8 RGB ``[P * 3]`` as uint8 ``[P]``: .299, .587, .114 (ITU-R BT.601), rounded."""
    for place in range(len(greys)):
        red, green, blue = int(colours[3 * place]), int(colours[3 * place + 1]), int(colours[3 * place + 2])
        greys[place] = (299 * red + 587 * green + 114 * blue + 500) // 1000


@kernel
def blur(pixels, size, channels, side, between, blurred):
    """Weighs each pixel 4096 - 2 ``side``, and its neighbours ``side``, down and then across; edges are mirrors.

    Args:
        pixels: flat uint8 ``[size * size * channels]``.
        size: of the picture.
        channels: 1 or 3.
        side: the weight, of 4096: what is summed then fits 32 bits.
        between: flat uint32, as many, overwritten.
        blurred: flat uint8, as many, written.
    """
    middle, beside, line = np.uint32(4096 - 2 * side), np.uint32(side), size * channels
    for row in range(size):
        start, up, down = row * line, abs(row - 1) * line, (row + 1 if row < size - 1 else size - 2) * line
        here, above, below = pixels[start : start + line], pixels[up : up + line], pixels[down : down + line]
        sums = between[start : start + line]  # rows counted from 0: the compiler then knows that no index is negative
        for i in range(line):
            sums[i] = _weighed(here[i], above[i], below[i], middle, beside)
    for row in range(size):
        start = row * line
        sums, result = between[start : start + line], blurred[start : start + line]
        left, right = sums[: line - 2 * channels], sums[2 * channels :]
        centre, inside = sums[channels:], result[channels:]
        for i in range(line - 2 * channels):
            inside[i] = _rounded(_weighed(centre[i], left[i], right[i], middle, beside))
        last = line - channels
        for i in range(channels):
            first, final = sums[channels + i], sums[last - channels + i]
            result[i] = _rounded(_weighed(sums[i], first, first, middle, beside))
            result[last + i] = _rounded(_weighed(sums[last + i], final, final, middle, beside))


@kernel
def _weighed(here, before, behind, middle, beside):
    ends = np.uint32(np.uint32(before) + np.uint32(behind))
    return np.uint32(np.uint32(middle * np.uint32(here)) + np.uint32(beside * ends))


@kernel
def _rounded(total):
    """From units of 1 / 4096 ** 2 to whole grey values."""
    return np.uint8(np.uint32(total + np.uint32(1 << 23)) >> np.uint32(24))
