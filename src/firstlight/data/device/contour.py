"""Radial contours on a device, pixel for pixel those of ``formulas/contour.py``."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ...formulas import Params
from ...formulas._canvas import drawn_side
from ...formulas._contour import CANVAS, figure
from ...formulas.contour import Contour
from . import Drawing, Weighing, _contour, _raster


def refusal(formula: Contour) -> str | None:
    """Why these settings have no twin."""
    if formula.filled:
        return "contour(filled=True) is drawn by the CPU only; allowed on a device is filled=False"
    return None


def prepare(formula: Contour, size: int) -> tuple[Drawing, Weighing]:
    """How B members are drawn, and the bytes that each takes."""
    side, factor = drawn_side("contour", size, formula.oversample)
    return partial(_draw, formula, side, factor), partial(_contour.weight, side)


def _draw(formula: Contour, side: int, factor: int, params: Sequence[Params], key: Tensor) -> Tensor:
    figures = [figure("contour", entry, 2.0, side / CANVAS) for entry in params]
    removed = [int(formula.removed * int(entry["vertices"])) for entry in params]
    return _raster.shrink(_contour.outlines(key, figures, removed, side, formula.background), factor)
