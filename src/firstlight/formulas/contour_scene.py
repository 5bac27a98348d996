"""Scenes of many radial contours with the class of every pixel, for learning to segment (SegRCDB).

Shinoda et al., "SegRCDB: semantic segmentation via formula-driven supervised learning", ICCV 2023.
https://arxiv.org/abs/2309.17083
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._classes import known
from ._contour import CANVAS, OWN, centre, check, extent, figure, outlines
from ._random import Draw
from .contour import Contour

_require = requirement("contour_scene")


@dataclass(frozen=True)
class ContourScene(Formula):
    """Figures of contours, each of its own class, one over the other in a picture, with a mask.

    A category is what it is for ``contour``. A member of category c is a scene whose first figure is of class c and
    whose others are of any class; the first is drawn last, so that nothing covers it. The mask has the value c + 1
    where class c is, and 0 where nothing is.

    Differs from the public code:

    * Its scenes have no category: all their figures are of any class.
    * With ``ring``, its masks lose what is seen through the middle of a ring, and rings of a single contour. Here the
      one is kept unless ``blank_holes``, and the other is a line.
    * The greys, precision and scale of ``contour``. A mask is drawn at the size of the picture, not averaged.

    Attributes:
        mask: ``lines``, the contours themselves; ``ring``, what lies between the innermost and the outermost one, and
            both; ``filled``, the outermost one with all that it encloses.
        blank_holes: the mask of a ring erases what is within it, as the public code does.
        classes: how many, 1 to 254: mask values are bytes, and 255 stands for no label at all by custom.
        figures: how many a scene has.
        vertices: the least and the most vertices of a contour.
        lines: the least and the most contours of a figure.
        radius: the least and the most radius to begin with, in whole pixels.
        oval: the range of the factors by which width and height of that circle are stretched.
        noise: the range of the noise's strength, in pixels by which a contour grows from the one before.
        line_width: the most that contours grow beside that, in pixels. The public script's; its argument's is .01.
        spread: centres are up to half of this many pixels from the middle.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below.

    Raises:
        InputError: if a setting is out of range.
    """

    mask: Literal["lines", "ring", "filled"] = "lines"
    blank_holes: bool = False
    classes: int = 254
    figures: int = 32
    vertices: tuple[int, int] = (3, 500)
    lines: tuple[int, int] = (1, 50)
    radius: tuple[int, int] = (0, 50)
    oval: tuple[float, float] = (1.0, 2.0)
    noise: tuple[float, float] = (0.0, 4.0)
    line_width: float = 0.1
    spread: int = 512
    oversample: int | None = None

    def __post_init__(self):
        check(self, "contour_scene")
        _require(self.mask in _MASKS, "mask", self.mask, f"one of {', '.join(_MASKS)}")
        ring = self.mask == "ring" or not self.blank_holes
        _require(ring, "mask", self.mask, "'ring' where blank_holes=True")
        _require(1 <= self.classes <= 254, "classes", self.classes, "1 to 254")
        _require(1 <= self.figures <= 10_000, "figures", self.figures, "1 to 10,000")

    @property
    def categories(self) -> int:
        return self.classes

    def category(self, draw: Draw) -> Params:
        """Draws the numbers that make a class of figures, as ``contour`` does."""
        self._require_class(draw.category)
        return self._contours().category(draw)

    def instance(self, params: Params, draw: Draw) -> Params:
        """Moves the first figure."""
        return params | centre(draw.uniform(0.0, 1.0, 2).tolist(), self.spread)

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a scene as uint8 ``[size, size]``, on black.

        Raises:
            InputError: if the size is out of range, or a class too large.
        """
        side, factor = drawn_side("contour_scene", size, self.oversample)
        return self._picture(self._figures(params, draw), side, factor)

    def annotated(self, params: Params, size: int, draw: Draw) -> Params:
        """Draws a scene, ``picture``, and the class of each of its pixels, ``mask``, uint8 ``[size, size]`` both."""
        side, factor = drawn_side("contour_scene", size, self.oversample)
        figures = self._figures(params, draw)
        return {"picture": self._picture(figures, side, factor), "mask": self._mask(figures, size)}

    def _figures(self, params: Params, draw: Draw) -> list[tuple[np.uint64, int, Params]]:
        """The key of the noise, the class and the parameters of each figure, the undermost first."""
        self._require_class(draw.category)
        others = draw.integers(0, self.classes, self.figures - 1).tolist()
        places = draw.uniform(0.0, 1.0, (self.figures - 1, 2)).tolist()
        found = []
        for number, (other, place) in enumerate(zip(others, places), 1):
            shape = known(self, draw.seed, other) | centre(place, self.spread)
            found.append((np.uint64(draw.split(number).key), other, shape))
        return [*found, (np.uint64(draw.split(0).key), draw.category, params)]

    def _picture(self, figures: list[tuple[np.uint64, int, Params]], side: int, factor: int) -> np.ndarray:
        pixels = np.zeros((side, side), np.uint8)
        with np.errstate(over="ignore"):  # without the compiler, wrapping would warn
            for key, _, params in figures:
                outlines(key, *figure("contour_scene", params, 2.0, side / CANVAS), 0, OWN, pixels)
        return averaged(pixels, factor)

    def _mask(self, figures: list[tuple[np.uint64, int, Params]], size: int) -> np.ndarray:
        mask = np.zeros((size, size), np.uint8)
        with np.errstate(over="ignore"):
            for key, number, params in figures:
                shape = figure("contour_scene", params, 2.0, size / CANVAS)
                if self.mask == "lines":
                    outlines(key, *shape, 0, number + 1, mask)
                elif self.mask == "filled" or self.blank_holes:
                    extent(key, *shape, self.mask == "ring", number + 1, mask)
                else:
                    alone = np.zeros((size, size), np.uint8)
                    extent(key, *shape, True, number + 1, alone)
                    np.copyto(mask, alone, where=alone > 0)
        return mask

    def _contours(self) -> Contour:
        return Contour(
            vertices=self.vertices,
            lines=self.lines,
            radius=self.radius,
            oval=self.oval,
            noise=self.noise,
            line_width=self.line_width,
            spread=self.spread,
        )

    def _require_class(self, number: int) -> None:
        allowed = f"more than {number}: there is no category {number} among {self.classes}"
        _require(number < self.classes, "classes", self.classes, allowed)


_MASKS = ("lines", "ring", "filled")
