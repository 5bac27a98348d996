"""Dead leaves: shapes of all sizes that hide one another, as things in the world do.

Baradad et al., "Learning to see by looking at noise", NeurIPS 2021. https://arxiv.org/abs/2106.05963
Lee, Mumford & Huang, "Occlusion models for natural images", IJCV 2001. https://doi.org/10.1023/A:1011109015675
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._math import power
from ._random import Draw
from ._scratch import borrowed
from ._shapes import ORIENTED_SQUARE, SQUARE, lay

_require = requirement("leaves")

BINS = 200  # different radii, as in the public code
MOST_LEAVES = 1_000_000


@dataclass(frozen=True)
class Leaves(Formula):
    """Circles, squares, rectangles, triangles and quadrilaterals that fall until nothing behind them is seen.

    A leaf of relative radius r comes with a density proportional to ``r**-exponent - largest**-exponent``, at an even
    place, in an even colour. A category is a law of leaves: in what proportions the six kinds come, which exponent
    their sizes follow, which colours they take. An instance is a fresh fall of leaves.

    Differs from the paper and its public code:

    * The published sets have no classes. ``leaves(shapes="mixed", exponent=(3.0, 3.0), palette=0)`` has their
      statistics in every category, and so have ``squares`` and ``oriented``. What makes a class here is ours.
    * Leaves are laid from the front, which gives the exact law of what is seen; the public code lays them from the
      back and stops when the last black pixel is hidden, so that its last leaves are not quite like the others.
    * Corners, centres and radii are not rounded to whole pixels, so a picture looks alike at every size. A radius is
      taken where the cumulated density passes the draw, not at the nearest of its steps.
    * Leaves filled with textures (the paper's fourth set) are not drawn.

    Attributes:
        shapes: ``squares``, upright; ``oriented``, turned at random; ``mixed``, all six kinds alike often; ``blend``,
            all six in proportions that belong to the category.
        exponent: the lowest and the highest exponent that a category may draw, 0 to 8; 3 as published. Higher ones
            have more small leaves.
        radii: the smallest and the largest radius as shares of the side, 0.001 to 2.
        palette: how many colours a category has, up to 256; with 0 its leaves take any colour, as published, and
            categories differ in shapes and sizes alone, which is far harder to learn.
        colour: draws RGB; otherwise grey.
        leaves: the most that fall, 1 to 1,000,000; pixels that are then still free stay black.
        oversample: how many times larger the picture is drawn before it is averaged down; 1, as published, leaves
            hard borders.

    Raises:
        InputError: if a setting is out of range.
    """

    shapes: Literal["squares", "oriented", "mixed", "blend"] = "blend"
    exponent: tuple[float, float] = (2.5, 4.0)
    radii: tuple[float, float] = (0.03, 1.0)
    palette: int = 8
    colour: bool = True
    leaves: int = 5000
    oversample: int = 1

    def __post_init__(self):
        for name in ("exponent", "radii"):  # a recipe read from JSON brings a list, which cannot be hashed
            object.__setattr__(self, name, tuple(self.__dict__[name]))
        _require(self.shapes in SHAPES, "shapes", self.shapes, f"one of {', '.join(SHAPES)}")
        fits = len(self.exponent) == 2 and 0 <= self.exponent[0] <= self.exponent[1] <= 8
        _require(fits, "exponent", self.exponent, "(lowest, highest) within 0 to 8")
        fits = len(self.radii) == 2 and 0.001 <= self.radii[0] < self.radii[1] <= 2
        _require(fits, "radii", self.radii, "(smallest, largest) within 0.001 to 2, and not the same")
        _require(0 <= self.palette <= 256, "palette", self.palette, "0 to 256")
        _require(1 <= self.leaves <= MOST_LEAVES, "leaves", self.leaves, f"1 to {MOST_LEAVES:,}")
        _require(self.oversample >= 1, "oversample", self.oversample, "at least 1")

    def category(self, draw: Draw) -> Params:
        """Draws a law of leaves.

        Returns:
            ``kinds``: float64 ``[6]``, the shares of circles, squares, turned squares, rectangles, triangles and
            quadrilaterals. ``exponent``: float64. ``palette``: uint8 ``[palette, 3 or 1]``, unless any colour may come.
        """
        lone = {"squares": SQUARE, "oriented": ORIENTED_SQUARE}.get(self.shapes)
        share = draw.uniform(0.0, 1.0, 6)
        share = share * share * share  # one or two kinds prevail
        if lone is not None or self.shapes == "mixed":
            share = np.ones(6) if lone is None else np.eye(6)[lone]
        params = {"kinds": share / np.cumsum(share)[-1], "exponent": draw.uniform(*self.exponent)}
        if self.palette:
            params["palette"] = draw.integers(0, 256, (self.palette, 3 if self.colour else 1)).astype(np.uint8)
        return params

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Lets leaves fall: uint8 ``[size, size, 3]``, or ``[size, size]`` without colour.

        Raises:
            InputError: if the size is out of range.
        """
        canvas, factor = drawn_side("leaves", size, self.oversample)
        channels = 3 if self.colour else 1
        # A copy, because the kernel would be compiled anew for one that cannot be written to.
        palette = np.array(params.get("palette", np.zeros((0, channels), np.uint8)))
        pixels = np.zeros((canvas, canvas, channels), np.uint8)
        free = borrowed("free", canvas * (canvas + 1), np.uint16)
        reached, radii = _sizes(float(params["exponent"]), *self.radii)
        with np.errstate(over="ignore"):  # without the compiler, wrapping would warn
            lay(
                np.uint64(draw.key), self.leaves, np.cumsum(params["kinds"]), reached, radii, palette, canvas, free,
                pixels.reshape(-1),
            )  # fmt: skip
        pixels = averaged(pixels, factor)
        return pixels if self.colour else pixels[..., 0]


SHAPES = ("squares", "oriented", "mixed", "blend")


@lru_cache(maxsize=4096)
def _sizes(exponent: float, smallest: float, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """The chance of each radius or a smaller one, and the radii: float64 ``[200]`` each.

    The density is shifted so that it ends in 0 at the largest radius; at exponent 0 all radii are alike.
    """
    radii = smallest + (largest - smallest) * (np.arange(BINS) / (BINS - 1))
    density = power(radii, -exponent)
    if exponent > 0:
        density = density - density[-1]
    reached = np.cumsum(density)
    return reached / reached[-1], radii
