"""Radial contours: noisy polygons that grow outwards one from another (RCDB).

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132
"""

import bisect
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._contour import (
    CANVAS,
    OWN,
    areas,
    between,
    centre,
    check,
    ellipse,
    figure,
    outlines,
    whole,
)
from ._random import Draw

_require = requirement("contour")


@dataclass(frozen=True)
class Contour(Formula):
    """Dozens of closed contours around one centre, in random greys.

    A category is six numbers: how many contours, of how many vertices, growing from an ellipse of which radius and
    axes, by how much each, with how much noise. Its members have another centre, other noise and other greys; member 0
    has the centre that was drawn with its class.

    Differs from the public code:

    * In the ``paper`` form, radius and axes belong to the class; the public code draws them anew for every member but
      the first, which the ``code`` form does too.
    * Grey values are even over 0 to 255, where the public code's go to 256.
    * Single precision, where the public code computes in double precision.
    * Lengths are scaled with the side of the picture, from 512 pixels on, and what is smaller than 128 pixels is drawn
      larger and averaged. Lines are one pixel wide on what is drawn.

    Attributes:
        form: whose numbers, where they are not given: the ``paper``'s or the public ``code``'s.
        vertices: the least and the most vertices of a contour. Their number falls off exponentially, by 1 % a vertex.
            If None, 3 to 502 in the ``paper`` form, 3 to 200 in the ``code`` form.
        lines: the least and the most contours.
        radius: the least and the most radius to begin with, in whole pixels.
        oval: the range of the factors by which width and height of that circle are stretched. If None, 1 to 4 in the
            ``paper`` form, 1 to 2 in the ``code`` form.
        noise: the range of the noise's strength, in pixels by which a contour grows from the one before.
        line_width: the most that contours grow beside that, in pixels; the least is 0.
        spread: the centre is up to half of this many pixels from the middle.
        removed: the share of each contour that is left out, 0 to below 1: one arc, elsewhere in each contour. The
            paper's control: with their contours broken, pictures teach less.
        filled: fills the contours, outer ones below inner ones.
        background: grey value, 0 to 255.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below.

    Raises:
        InputError: if a setting is out of range.
    """

    form: Literal["paper", "code"] = "paper"
    vertices: tuple[int, int] | None = None
    lines: tuple[int, int] = (1, 200)
    radius: tuple[int, int] = (0, 100)
    oval: tuple[float, float] | None = None
    noise: tuple[float, float] = (0.0, 4.0)
    line_width: float = 0.1
    spread: int = 400
    removed: float = 0.0
    filled: bool = False
    background: int = 255
    oversample: int | None = None

    def __post_init__(self):
        check(self, "contour")
        _require(self.form in _FORMS, "form", self.form, f"one of {', '.join(_FORMS)}")
        _require(0 <= self.removed < 1, "removed", self.removed, "0 to below 1")
        _require(not (self.filled and self.removed), "removed", self.removed, "0 where filled=True")

    def category(self, draw: Draw) -> Params:
        """Draws the numbers that make a class, each a scalar, and where member 0 has its centre."""
        vertices, oval = self._form()
        units = draw.uniform(0.0, 1.0, 9).tolist()
        params = {
            "vertices": np.array(_falling(units[0], *vertices)),
            "lines": np.array(whole(units[1], self.lines)),
            "noise": np.array(between(units[2], self.noise)),
            "line_width": np.array(units[3] * self.line_width),
        }
        return params | ellipse(units[4:7], self.radius, oval) | centre(units[7:], self.spread)

    def instance(self, params: Params, draw: Draw) -> Params:
        """Moves the centre; in the ``code`` form it also draws another ellipse. Member 0 is as its class was drawn."""
        if draw.instance == 0 and "row" in params and "column" in params:
            return params
        units = draw.uniform(0.0, 1.0, 5).tolist()
        if self.form == "code":
            params = params | ellipse(units[2:], self.radius, self._form()[1])
        return params | centre(units, self.spread)

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a member as uint8 ``[size, size]``.

        Raises:
            InputError: if the size is out of range, or the class, from somebody else's codebook, too large.
        """
        side, factor = drawn_side("contour", size, self.oversample)
        shape = figure("contour", params, 2.0, side / CANVAS)
        pixels = np.full((side, side), self.background, np.uint8)
        with np.errstate(over="ignore"):  # without the compiler, wrapping would warn
            if self.filled:
                areas(np.uint64(draw.key), *shape, pixels)
            else:
                outlines(np.uint64(draw.key), *shape, int(self.removed * int(params["vertices"])), OWN, pixels)
        return averaged(pixels, factor)

    def _form(self) -> tuple[tuple[int, int], tuple[float, float]]:
        vertices, oval = _FORMS[self.form]
        return self.vertices or vertices, self.oval or oval


_FORMS = {"paper": ((3, 502), (1.0, 4.0)), "code": ((3, 200), (1.0, 2.0))}

_FALL = 0.9900498337491681
"""exp(-1 / 100): whole numbers cut from an exponential draw of mean 100 are each so many times rarer than the last."""


def _falling(chance: float, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``, by a chance even over [0, 1)."""
    sums = _falling_sums(most - least + 1)
    return least + min(bisect.bisect_right(sums, chance * sums[-1]), most - least)


@lru_cache
def _falling_sums(count: int) -> list[float]:
    sums, share = [1.0], 1.0
    for _ in range(count - 1):
        share *= _FALL
        sums.append(sums[-1] + share)
    return sums
