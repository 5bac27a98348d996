"""Wavy contours on a device, pixel for pixel those of ``formulas/atom.py``."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ...formulas import Params
from ...formulas._canvas import drawn_side
from ...formulas._contour import CANVAS, figure
from ...formulas.atom import Atom
from . import Drawing, Weighing, _contour, _raster


def refusal(formula: Atom) -> str | None:
    """Why these settings have no twin: all have."""
    return None


def prepare(formula: Atom, size: int) -> tuple[Drawing, Weighing]:
    """How B members are drawn, and the bytes that each takes."""
    side, factor = drawn_side("atom", size, formula.oversample)
    return partial(_draw, side, factor), partial(_contour.weight, side)


def _draw(side: int, factor: int, params: Sequence[Params], key: Tensor) -> Tensor:
    figures = [figure("atom", entry, 1.0, side / CANVAS) for entry in params]
    return _raster.shrink(_contour.outlines(key, figures, [0] * len(figures), side, 0), factor)
