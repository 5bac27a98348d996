"""Bézier curves: a category is how many there are and how many control points each has.

Kataoka et al., "Pre-training without natural images", ACCV 2020, IJCV 2022. https://arxiv.org/abs/2101.08515
"""

import math
from dataclasses import dataclass

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._compile import kernel
from ._lines import trace
from ._random import Draw

_require = requirement("bezier")

MOST_GRID, MOST_CONTROLS = 64, 66


@dataclass(frozen=True)
class Bezier(Formula):
    """White curves, one pixel wide, on black.

    Category c has ``c // grid + 1`` curves with ``c % grid + fewest`` control points each; an instance draws the
    control points anew, evenly over the picture. ``grid=12`` is Bezier-144, ``grid=32`` Bezier-1024.

    What could not be verified: no public code was found. That these are the two numbers behind the names, and where
    they begin, is not known to us; two control points, a straight line, are left out unless asked for.

    Attributes:
        grid: how many different numbers of curves, and of control points, 1 to 64.
        fewest: control points of the first categories, at least 2; no category has more than 66.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below.

    Raises:
        InputError: if a setting is out of range.
    """

    grid: int = 12
    fewest: int = 3
    oversample: int | None = None

    def __post_init__(self):
        _require(1 <= self.grid <= MOST_GRID, "grid", self.grid, f"1 to {MOST_GRID}")
        most = MOST_CONTROLS + 1 - self.grid
        _require(2 <= self.fewest <= most, "fewest", self.fewest, f"2 to {most} with a grid of {self.grid}")
        _require(self.oversample is None or self.oversample >= 1, "oversample", self.oversample, "at least 1")

    @property
    def categories(self) -> int:
        """The number of classes, ``grid`` squared."""
        return self.grid * self.grid

    def category(self, draw: Draw) -> Params:
        """The two numbers, ``{"curves": int64, "points": int64}``; nothing is random in them.

        Raises:
            InputError: if the grid has not so many categories.
        """
        number = draw.category
        inside = 0 <= number < self.categories
        _require(inside, "grid", self.grid, f"what has a category {number}: this grid has 0 to {self.categories - 1}")
        curves, points = divmod(number, self.grid)
        return {"curves": np.array(curves + 1), "points": np.array(points + self.fewest)}

    def instance(self, params: Params, draw: Draw) -> Params:
        """Draws ``{"controls": float64 [curves, points, 2]}``: x and y as shares of the side."""
        return {"controls": draw.uniform(0.0, 1.0, (int(params["curves"]), int(params["points"]), 2))}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws the curves as uint8 ``[size, size]``.

        A curve is cut into chords so short that none strays from it by more than a quarter of a pixel, which the
        second differences of the control points bound. Their ends are moved to whole pixels; those on a pixel beside
        the last one drawn to are passed over, because lines between neighbours would climb in steps.

        Raises:
            InputError: if the size is out of range.
        """
        canvas, factor = drawn_side("bezier", size, self.oversample)
        picture = np.zeros((canvas, canvas), np.uint8)
        controls = params["controls"] * canvas
        _sketch(controls.reshape(-1), controls.shape[0], controls.shape[1], canvas, picture.reshape(-1))
        return averaged(picture, factor)


@kernel
def _sketch(controls, curves, count, size, flat):
    """Draws curves on a flat canvas, uint8 ``[S * S]``, from ``controls [curves * count * 2]`` in pixels."""
    choices = np.ones(count)
    for i in range(1, count):
        choices[i] = choices[i - 1] * (count - i) / i  # binomial coefficients, exact up to 57 control points
    for curve in range(curves):
        own = controls[curve * 2 * count : (curve + 1) * 2 * count]
        chords = _chords(own, count)
        xs, ys = np.empty(chords + 1), np.empty(chords + 1)
        _evaluate(own, choices, chords, xs, ys)
        column, row = int(xs[0]), int(ys[0])
        for i in range(1, chords + 1):
            next_column, next_row = int(xs[i]), int(ys[i])
            if abs(next_column - column) > 1 or abs(next_row - row) > 1 or i == chords:
                trace(flat, size, size, column, row, next_column, next_row, 255)
                column, row = next_column, next_row


@kernel
def _chords(own, count):
    """An even number of chords that stay within a quarter of a pixel of a curve.

    A chord over a share 1/m of the curve strays by at most ``|second derivative| / (8 m m)``, and the derivative is
    at most ``(count - 1) (count - 2)`` times the largest second difference of the control points.
    """
    bend = 0.0
    for i in range(2, count):
        x = own[2 * i] - 2.0 * own[2 * i - 2] + own[2 * i - 4]
        y = own[2 * i + 1] - 2.0 * own[2 * i - 1] + own[2 * i - 3]
        bend = max(bend, x * x + y * y)
    needed = math.sqrt((count - 1) * (count - 2) * math.sqrt(bend) / 2.0)
    return 2 * (int(needed / 2.0) + 1)


@kernel
def _evaluate(own, choices, chords, xs, ys):
    """The ends of the chords, ``xs`` and ``ys [chords + 1]``, by Horner's rule in t / (1 - t).

    From both ends to the middle, so that this ratio is at most 1 and nothing can overflow or cancel.
    """
    count, half = len(choices), chords // 2
    ratio, share = np.empty(half + 1), np.empty(half + 1)
    left_x, left_y = np.zeros(half + 1), np.zeros(half + 1)
    right_x, right_y = np.zeros(half + 1), np.zeros(half + 1)
    for i in range(half + 1):
        ratio[i], share[i] = i / (chords - i), 1.0
    for k in range(count - 1, -1, -1):
        weight, other = choices[k], 2 * (count - 1 - k)
        ax, ay, bx, by = weight * own[2 * k], weight * own[2 * k + 1], weight * own[other], weight * own[other + 1]
        for i in range(half + 1):
            r = ratio[i]
            left_x[i], left_y[i] = left_x[i] * r + ax, left_y[i] * r + ay
            right_x[i], right_y[i] = right_x[i] * r + bx, right_y[i] * r + by
        if k:
            for i in range(half + 1):
                share[i] *= (chords - i) / chords
    for i in range(half + 1):
        xs[i], ys[i] = left_x[i] * share[i], left_y[i] * share[i]
        xs[chords - i], ys[chords - i] = right_x[i] * share[i], right_y[i] * share[i]
