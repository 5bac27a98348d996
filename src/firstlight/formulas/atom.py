"""Visual atoms: contours that grow as waves, two frequencies round a circle, in random greys (VisualAtom).

Takashima et al., "Visual atoms: pre-training vision transformers with sinusoidal waves", CVPR 2023.
https://arxiv.org/abs/2303.01112
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._contour import (
    CANVAS,
    OWN,
    between,
    centre,
    check,
    ellipse,
    figure,
    outlines,
    whole,
)
from ._random import Draw

_require = requirement("atom")


@dataclass(frozen=True)
class Atom(Formula):
    """Up to two hundred contours round a nucleus; two sine waves along each add up from contour to contour.

    A category is how many contours, of how many vertices, the two frequencies, and the radius, axes, growth and noise
    of the contours. Its members have another centre, other noise and other greys; member 0 has the centre that was
    drawn with its class.

    The public code has two sets of defaults: those of its script, with which its data sets are made, and those of its
    arguments, which others have taken over.

    Differs from the public code: single precision instead of double; lengths are scaled with the side of the picture,
    from 512 pixels on; what is smaller than 128 pixels is drawn larger and averaged. Lines are one pixel wide on what
    is drawn.

    Attributes:
        defaults: whose numbers, where ``noise``, ``line_width`` and ``radius`` are not given: the public ``script``'s
            or its ``argparse`` ones.
        vertices: the least and the most vertices of a contour.
        lines: the least and the most contours.
        waves: the least and the most of the two frequencies, whole waves a turn. The two differ, or both are 0.
        noise: the range of the noise's strength, in pixels by which a contour grows from the one before. If None,
            0 to 4 for ``script``, 2 to 6 for ``argparse``.
        line_width: the most that contours grow beside that, in pixels; the least is 0. If None, .1 for ``script``, .01
            for ``argparse``.
        radius: the least and the most radius to begin with, in whole pixels. If None, 10 to 60 for ``script``, 0 to 50
            for ``argparse``.
        oval: the range of the factors by which width and height of that circle are stretched.
        spread: the centre is up to half of this many pixels from the middle.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below.

    Raises:
        InputError: if a setting is out of range.
    """

    defaults: Literal["script", "argparse"] = "script"
    vertices: tuple[int, int] = (200, 1000)
    lines: tuple[int, int] = (1, 200)
    waves: tuple[int, int] = (0, 20)
    noise: tuple[float, float] | None = None
    line_width: float | None = None
    radius: tuple[int, int] | None = None
    oval: tuple[float, float] = (1.0, 2.0)
    spread: int = 512
    oversample: int | None = None

    def __post_init__(self):
        check(self, "atom")
        _require(self.defaults in _DEFAULTS, "defaults", self.defaults, f"one of {', '.join(_DEFAULTS)}")
        differ = self.waves[0] < self.waves[1] or self.waves == (0, 0)
        _require(differ, "waves", self.waves, "(0, 0), or two frequencies, since the waves are to differ")

    def category(self, draw: Draw) -> Params:
        """Draws the numbers that make a class, scalars but for ``waves [2]``, and where member 0 has its centre."""
        noise, line_width, radius = _DEFAULTS[self.defaults]
        units = draw.uniform(0.0, 1.0, 11).tolist()
        params = {
            "vertices": np.array(whole(units[0], self.vertices)),
            "lines": np.array(whole(units[1], self.lines)),
            "noise": np.array(between(units[2], self.noise or noise)),
            "line_width": np.array(units[3] * (line_width if self.line_width is None else self.line_width)),
            "waves": np.array(_frequencies(units[4], units[5], *self.waves)),
        }
        return params | ellipse(units[6:9], self.radius or radius, self.oval) | centre(units[9:], self.spread)

    def instance(self, params: Params, draw: Draw) -> Params:
        """Moves the centre. Member 0 is as its class was drawn."""
        if draw.instance == 0 and "row" in params and "column" in params:
            return params
        return params | centre(draw.uniform(0.0, 1.0, 2).tolist(), self.spread)

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a member as uint8 ``[size, size]``, on black.

        Raises:
            InputError: if the size is out of range, or the class, from somebody else's codebook, too large.
        """
        side, factor = drawn_side("atom", size, self.oversample)
        pixels = np.zeros((side, side), np.uint8)
        with np.errstate(over="ignore"):  # without the compiler, wrapping would warn
            outlines(np.uint64(draw.key), *figure("atom", params, 1.0, side / CANVAS), 0, OWN, pixels)
        return averaged(pixels, factor)


_DEFAULTS = {"script": ((0.0, 4.0), 0.1, (10, 60)), "argparse": ((2.0, 6.0), 0.01, (0, 50))}


def _frequencies(first: float, second: float, least: int, most: int) -> tuple[int, int]:
    """Two frequencies from two units. The second is any where the first is 0, and any other where it is not."""
    one = whole(first, (least, most))
    two = whole(second, (least, most if one == 0 else most - 1))
    return one, two + (one > 0 and two >= one)
