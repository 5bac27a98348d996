"""Whether a system of planar maps fills enough of the frame to be a category, as the public FractalDB asks."""

import numpy as np

from . import _raster
from ._chaos import MARK, play
from ._random import Draw
from ._scratch import borrowed

SIZE, POINTS, PAD = 512, 100_000, 6  # where the public code measures the filling rate
GLANCE = 8192
_NO_WORDS = np.zeros((1, 1), np.uint32)


def fills(system: np.ndarray, least: float, draw: Draw) -> bool:
    """Whether the points hit the given share of the frame.

    A glance at a few points settles most cases: the expected number of pixels hit is concave in the number of points,
    so a system that can pass has by then hit its proportional share. A tenth is left for chance.

    Args:
        system: float64 ``[N, 7]``.
        least: the share of pixels, 0 to below 1; two pixels must always be hit.
        draw: names the walk.
    """
    needed = least * SIZE**2
    marks = borrowed("marks", SIZE**2, np.uint8).reshape(SIZE, SIZE)
    with np.errstate(over="ignore", invalid="ignore"):  # without the compiler, wrapping and infinity would warn
        for points, share in ((GLANCE, 0.9 * needed * GLANCE / POINTS), (POINTS, needed)):
            marks.fill(0)
            stays = play(system, np.uint64(draw.key), points, PAD, MARK, 1, marks, _NO_WORDS)
            if not stays or _raster.lit(marks) < max(share, 2):
                return False
    return True
