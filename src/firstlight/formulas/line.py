"""Straight lines: a category is how many there are, and nothing else (LineDB).

Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022.
https://arxiv.org/abs/2206.09132
"""

from dataclasses import dataclass

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._compile import kernel
from ._lines import trace
from ._random import Draw

_require = requirement("line")

MOST_LINES = 1_000_000


@dataclass(frozen=True)
class Line(Formula):
    """White segments, one pixel wide, between even random points on black.

    Category c has ``(c + 1) * step`` lines; an instance draws their ends anew. The paper takes 16, 32, 64 ... 512 and
    1,000 classes. It asks what is left of pre-training when pictures hold nothing but lines to be counted, and, as the
    control, when labels say nothing about the pictures: with ``shuffled`` every instance has the number of lines of
    a random class, and there is nothing to learn.

    What could not be verified: no public code was found, and whether the paper's classes also differ by one line is
    not known to us. Several hundred lines fill a small picture: 1,000 need 512 pixels to be seen.

    Attributes:
        classes: how many, 1 to 1,000,000.
        step: how many lines each class has more than the one before, 1 to 1,000,000 in all classes together.
        shuffled: the number of lines does not depend on the label.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below.

    Raises:
        InputError: if a setting is out of range.
    """

    classes: int = 1000
    step: int = 1
    shuffled: bool = False
    oversample: int | None = None

    def __post_init__(self):
        _require(1 <= self.classes <= MOST_LINES, "classes", self.classes, f"1 to {MOST_LINES:,}")
        most = MOST_LINES // self.classes
        _require(1 <= self.step <= most, "step", self.step, f"1 to {most:,} with {self.classes:,} classes")
        _require(self.oversample is None or self.oversample >= 1, "oversample", self.oversample, "at least 1")

    @property
    def categories(self) -> int:
        """The number of classes."""
        return self.classes

    def category(self, draw: Draw) -> Params:
        """The number of lines, ``{"lines": int64}``; nothing is random in it.

        Raises:
            InputError: if there are not so many classes.
        """
        number = draw.category
        inside = 0 <= number < self.classes
        _require(inside, "classes", self.classes, f"what has a category {number}: there are 0 to {self.classes - 1}")
        return {"lines": np.array((number + 1) * self.step)}

    def instance(self, params: Params, draw: Draw) -> Params:
        """Draws the ends, ``{"ends": float64 [lines, 4]}``: x, y, x, y as shares of the side."""
        count = int(params["lines"])
        if self.shuffled:
            count = (int(draw.integers(0, self.classes)) + 1) * self.step
        return {"ends": draw.uniform(0.0, 1.0, (count, 4))}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws the lines as uint8 ``[size, size]``.

        Raises:
            InputError: if the size is out of range.
        """
        canvas, factor = drawn_side("line", size, self.oversample)
        picture = np.zeros((canvas, canvas), np.uint8)
        _strew(np.floor(params["ends"] * canvas).astype(np.int64).reshape(-1), canvas, picture.reshape(-1))
        return averaged(picture, factor)


@kernel
def _strew(ends, size, flat):
    """Draws the segments ``ends [4 * N]``, columns and rows in turn, on a flat canvas, uint8 ``[S * S]``."""
    for i in range(0, len(ends), 4):
        trace(flat, size, size, ends[i], ends[i + 1], ends[i + 2], ends[i + 3], 255)
