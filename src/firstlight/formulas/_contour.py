"""Closed contours that grow outwards one from another, the common part of ``contour``, ``atom`` and ``contour_scene``.

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132

The definition. A figure has L contours of n vertices each, about a centre. Vertex k lies in the direction k / n of a
turn; before the first contour it is on an ellipse, and each contour moves it on, across and down separately, by

    x += cos(k / n) (g_k - a noise1(p)),    y += sin(k / n) (g_k - a noise1(q)),    g_k = g + w_k,

with growth g, amplitude a, and positions p and q even over 0 .. 10,000, new for every vertex of every contour. Waves of
frequencies u and v are w_k = scale * (sin(u k / n) / 2 + sin(v k / n) / 2), or 0 where there are none. All in single
precision, in pixels, each operation rounded; then the fractions of column + x and row + y are cut off, towards 0, and
lines are drawn from each vertex to the next, k upwards, the last to vertex 0.

Contour l, from 0, takes n + 1 words of the stream ``key``, words l (n + 1) + 1 to (l + 1) (n + 1), counted from 1 as
``Draw.bits`` gives them. Of the first, the upper half h chooses the grey value, ``h * 256 >> 32``, and the lower half
the vertex at which the removed arc begins, ``h * n >> 32``. Of the word of vertex k, the upper half is for p and the
lower half for q: its upper 24 bits times 10,000 / 2**24.
"""

from functools import lru_cache

import numpy as np

from ..errors import InputError
from . import Formula, Params, _strokes
from ._canvas import LARGEST, requirement
from ._compile import kernel
from ._lines import path, polygon, polyline
from ._math import cos_sin
from ._noise1 import noise1
from ._strokes import LENGTHS, NUMBERS, SHARES, WORTHWHILE

CANVAS = 512
"""The side of the public pictures. Lengths are given in their pixels, and scaled with the side that is drawn."""

MOST_LINES, MOST_VERTICES, MOST_LENGTH = 1_000, 10_000, 10_000
"""The largest figures that are drawn: 10 million vertices, radii and movements up to 10,000 pixels."""

BEYOND = np.float32(1 << 19)
"""Coordinates are cut off at this distance, far outside of any picture."""

_RANGES = {
    "vertices": (3, MOST_VERTICES),
    "lines": (1, MOST_LINES),
    "radius": (0, MOST_LENGTH),
    "oval": (0, 100),
    "noise": (0, 100),
    "waves": (0, 1_000),
}
_LIMITS = {
    "line_width": (0, 100),
    "spread": (0, MOST_LENGTH),
    "background": (0, 255),
    "oversample": (1, LARGEST // 8),
}

AHEAD = 1024
"""Noise values worked out at once, in vector instructions; few enough to stay in the first-level cache."""

OWN = -1
"""Asks for the grey value that each contour draws for itself."""

_STEP = np.float32(10_000 / (1 << 24))


@lru_cache(maxsize=1024)
def circle(count: int) -> np.ndarray:
    """Cosines, then sines, of ``count`` directions evenly round a turn, float32 ``[2 * count]``."""
    return np.concatenate(cos_sin(np.arange(count) / count)).astype(np.float32)


def check(formula: Formula, family: str) -> None:
    """Refuses settings of these families that are out of range; a setting may be None. Lists become tuples.

    Raises:
        InputError: naming what was given and what is allowed.
    """
    require = requirement(family)
    for name, (low, high) in _RANGES.items():
        given = getattr(formula, name, None)
        if given is not None:
            object.__setattr__(formula, name, tuple(given))  # a recipe read from JSON brings lists
            fine = len(given) == 2 and low <= given[0] <= given[1] <= high
            require(fine, name, given, f"(least, most) within {low:,} to {high:,}")
    for name, (low, high) in _LIMITS.items():
        given = getattr(formula, name, None)
        require(given is None or low <= given <= high, name, given, f"{low:,} to {high:,}")


def whole(unit: float, bounds: tuple[int, int]) -> int:
    """The whole number, both bounds included, that a number even over [0, 1) stands for."""
    return bounds[0] + int(unit * (bounds[1] - bounds[0] + 1))


def between(unit: float, bounds: tuple[float, float]) -> float:
    """The number within the bounds that a number even over [0, 1) stands for."""
    return bounds[0] + unit * (bounds[1] - bounds[0])


def ellipse(units: list[float], radius: tuple[int, int], oval: tuple[float, float]) -> Params:
    """What contours begin with, from three units: a radius, and how many times it is stretched across and down."""
    return {
        "radius": np.array(whole(units[0], radius)),
        "oval_x": np.array(between(units[1], oval)),
        "oval_y": np.array(between(units[2], oval)),
    }


def centre(units: list[float], spread: int) -> Params:
    """Where it all is, from two units: up to ``spread / 2`` from the middle, in half pixels."""
    row, column = ((CANVAS + whole(unit, (-spread, spread))) / 2 for unit in units[:2])
    return {"row": np.array(row), "column": np.array(column)}


def figure(family: str, params: Params, amplitude: float, scale: float) -> tuple:
    """What the kernels below want to know of a figure, from its contours' number to the amplitude of their noise.

    Args:
        family: its name, for messages.
        params: scalars ``vertices``, ``lines``, ``radius``, ``oval_x``, ``oval_y``, ``noise``, ``line_width``, ``row``
            and ``column``, and for some families ``waves [2]``.
        amplitude: of the noise, in multiples of ``noise``.
        scale: drawn pixels per pixel of the public canvas.

    Raises:
        InputError: if the class, from somebody else's codebook, is too large to be drawn.
    """
    lines, vertices = int(params["lines"]), int(params["vertices"])
    if not (1 <= lines <= MOST_LINES and 1 <= vertices <= MOST_VERTICES):
        raise InputError(
            f"{family}: a class of {lines:,} lines and {vertices:,} vertices; allowed is 1 to {MOST_LINES:,} and 1 to "
            f"{MOST_VERTICES:,}"
        )
    first, second = params["waves"].tolist() if "waves" in params else (0, 0)
    noise, reach = float(params["noise"]), float(params["radius"]) * scale
    numbers = (
        float(params["column"]) * scale,
        float(params["row"]) * scale,
        reach * float(params["oval_x"]),
        reach * float(params["oval_y"]),
        (noise + float(params["line_width"])) * scale,
        scale,
        amplitude * noise * scale,
    )
    return lines, circle(vertices), first % vertices, second % vertices, np.array(numbers, np.float32)


@kernel
def outlines(key, lines, circle, first_wave, second_wave, numbers, removed, light, pixels):
    """Draws the contours of one figure, the innermost first.

    Args:
        key: uint64, of the stream.
        lines: how many contours.
        circle: float32 ``[2 * n]``.
        first_wave: a frequency in whole waves a turn, less than n.
        second_wave: another.
        numbers: float32 ``[7]``: the centre's column and row, half the width and height of the ellipse that the first
            contour grows from, growth, scale and amplitude.
        removed: how many lines of each contour are left out, one after the other, below n.
        light: grey value of all contours, or ``OWN``.
        pixels: uint8 ``[H, W]``, contiguous, drawn on.
    """
    flat, height, width, count = pixels.reshape(-1), pixels.shape[0], pixels.shape[1], len(circle) // 2
    state = _begun(lines, circle, first_wave, second_wave, numbers)
    columns, rows = np.empty(count, np.int32), np.empty(count, np.int32)
    room, shares = np.empty(max(count, NUMBERS), np.int32), np.empty(SHARES, np.float32)
    lengths = np.empty(LENGTHS, np.int32)
    for line in range(lines):
        grey, k = _first_word(key, line, count)
        _grow(key, line, circle, numbers, state, columns, rows)
        grey = grey if light < 0 else light
        first, drawn = (k + removed) % count, count - removed
        if drawn < WORTHWHILE:
            path(flat, width, height, columns, rows, first, drawn, grey, room)
        else:
            _strokes.path(flat, width, height, columns, rows, first, drawn, grey, room, shares, lengths)


@kernel
def areas(key, lines, circle, first_wave, second_wave, numbers, pixels):
    """Fills the contours of one figure, the outermost first, each with its own grey value."""
    count = len(circle) // 2
    state = _begun(lines, circle, first_wave, second_wave, numbers)
    columns, rows = np.empty((lines, count), np.int32), np.empty((lines, count), np.int32)
    for line in range(lines):
        _grow(key, line, circle, numbers, state, columns[line], rows[line])
    for line in range(lines - 1, -1, -1):
        grey, _ = _first_word(key, line, count)
        polygon(pixels, columns[line], rows[line], grey)
        polyline(pixels, columns[line], rows[line], True, grey)


@kernel
def extent(key, lines, circle, first_wave, second_wave, numbers, hollow, light, pixels):
    """Fills what one figure covers: its outermost contour, ``hollow`` without what its innermost one encloses."""
    count = len(circle) // 2
    state = _begun(lines, circle, first_wave, second_wave, numbers)
    columns, rows = np.empty((2, count), np.int32), np.empty((2, count), np.int32)
    for line in range(lines):
        _grow(key, line, circle, numbers, state, columns[min(line, 1)], rows[min(line, 1)])
    last = min(lines - 1, 1)
    polygon(pixels, columns[last], rows[last], light)
    if hollow:
        polygon(pixels, columns[0], rows[0], 0)
        polyline(pixels, columns[0], rows[0], True, light)
    polyline(pixels, columns[last], rows[last], True, light)


@kernel
def _begun(lines, circle, first_wave, second_wave, numbers):
    """What a figure's contours share and hand on, float32.

    Returns:
        The vertices on the ellipse, ``[n]`` across and ``[n]`` down from the centre; their growths ``[n]``; and room
        for the noise of the next contours, across and down, ``n + 1`` a contour.
    """
    count, half = len(circle) // 2, np.float32(0.5)
    xs, ys, growths = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    reach_x, reach_y, growth, scale = numbers[2], numbers[3], numbers[4], numbers[5]
    first = second = 0
    for k in range(count):
        xs[k], ys[k] = circle[k] * reach_x, circle[count + k] * reach_y
        growths[k] = growth + scale * (half * circle[count + first] + half * circle[count + second])
        first, second = first + first_wave, second + second_wave  # times k, and less whole turns
        first, second = first if first < count else first - count, second if second < count else second - count
    room = min(max(AHEAD // (count + 1), 1), lines) * (count + 1)
    return xs, ys, growths, np.empty(room, np.float32), np.empty(room, np.float32)


@kernel
def _grow(key, line, circle, numbers, state, columns, rows):
    """Moves the vertices on to their next contour, and finds their pixels."""
    xs, ys, growths, across, down = state
    count = len(growths)
    held = len(across) // (count + 1)
    if line % held == 0:
        _draw_noise(key, line * (count + 1) + 1, across, down)
    start = line % held * (count + 1) + 1
    amplitude = numbers[6]
    _move(xs, growths, circle[:count], across[start : start + count], numbers[0], amplitude, columns)
    _move(ys, growths, circle[count:], down[start : start + count], numbers[1], amplitude, rows)


@kernel
def _draw_noise(key, first, across, down):
    """Noise at the positions that words ``first`` and following give. Contours' first words are passed through too."""
    for i in range(len(across)):
        word = _word(key, np.uint64(first) + np.uint64(i))
        across[i], down[i] = _position(word >> np.uint64(32)), _position(word & np.uint64(0xFFFFFFFF))
    for i in range(len(across)):
        across[i] = noise1(across[i])
    for i in range(len(across)):
        down[i] = noise1(down[i])


@kernel
def _move(places, growths, directions, noise, centre, amplitude, pixels):
    """One coordinate of all vertices. Few arrays, or the compiler would not make vector instructions of it."""
    for k in range(len(places)):
        place = places[k] + directions[k] * (growths[k] - amplitude * noise[k])
        places[k], pixels[k] = place, _pixel(centre + place)


@kernel
def _position(half):
    """Where on the line of noise, 0 to below 10,000, from 32 bits."""
    return np.float32(np.int32(half >> np.uint64(8))) * _STEP


@kernel
def _pixel(place):
    place = place if place > -BEYOND else -BEYOND
    return np.int32(place if place < BEYOND else BEYOND)


@kernel
def _first_word(key, line, count):
    """A contour's grey value and the vertex at which its removed arc begins."""
    word = _word(key, np.uint64(line * (count + 1) + 1))
    upper, lower = word >> np.uint64(32), word & np.uint64(0xFFFFFFFF)
    return np.int64(upper >> np.uint64(24)), np.int64((lower * np.uint64(count)) >> np.uint64(32))


@kernel
def _word(key, number):
    """Value ``number``, from 1, of the stream that ``Draw.bits`` gives for this key."""
    z = key + number * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
