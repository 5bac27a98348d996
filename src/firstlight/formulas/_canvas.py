"""What families do alike: refusing settings, and drawing small pictures larger before they are averaged down."""

from collections.abc import Callable

import numpy as np

from ..errors import InputError
from ._raster import shrink

LARGEST = 8192
"""The longest side of a picture, and of what is drawn for it, in pixels."""

USUAL = 128
"""Smaller pictures are drawn larger, up to this side: lines and points of one pixel would leave nothing but noise."""


def requirement(family: str) -> Callable[[bool, str, object, str], None]:
    """A check of a family's settings: ``require(fine, name, given, allowed)`` raises ``InputError`` if not fine."""

    def require(fine: bool, name: str, given: object, allowed: str) -> None:
        if not fine:
            raise InputError(f"{family}({name}={given!r}): allowed is {allowed}")

    return require


def drawn_side(family: str, size: int, oversample: int | None) -> tuple[int, int]:
    """The side that is drawn for a picture, and by how much it is then averaged down.

    Args:
        family: its name, for messages.
        size: the picture's side.
        oversample: how many times larger to draw; if None, what brings it to 128 pixels or just below.

    Raises:
        InputError: if the size is out of range.
    """
    require = requirement(family)
    require(8 <= size <= LARGEST, "size", size, f"8 to {LARGEST} pixels")
    factor = oversample or max(1, USUAL // size)
    require(size * factor <= LARGEST, "oversample", factor, f"at most {LARGEST // size} at {size} pixels")
    return size * factor, factor


def averaged(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Averages squares of ``factor`` pixels of uint8 ``[S, S]`` or ``[S, S, C]``; S is a multiple of ``factor``."""
    if factor == 1:
        return pixels
    canvas = len(pixels)
    side = canvas // factor
    smaller = np.empty((side, side, *pixels.shape[2:]), np.uint8)
    shrink(pixels.reshape(canvas, canvas, -1), factor, smaller.reshape(side, side, -1))
    return smaller
