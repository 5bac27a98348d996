"""Systems of affine maps of space: how they are drawn, searched for and varied.

A system is float64 ``[N, 13]``, one row (a, b, c, d, e, f, g, h, i, j, k, l, p) per map: x' = ax + by + cz + j,
y' = dx + ey + fz + k, z' = gx + hy + iz + l, taken with probability p. This is the row of the public 3D files.
"""

from functools import lru_cache

import numpy as np

from ..errors import InputError
from ._chaos3d import spread
from ._random import Draw

WEIGHTS = (1, 25, 49, 73, 97, 121, 145)
"""How many rows of weights there may be: the public files ``weights_ins{1,25,49,73,97,121,145}.csv``."""


def spatial_system(draw: Draw, count: int) -> np.ndarray:
    """All coefficients even over (-1, 1), the chances proportional to the volume that a map makes of a unit cube."""
    table = np.empty((count, 13))
    table[:, :12] = draw.uniform(-1.0, 1.0, (count, 12))
    a, b, c, d, e, f, g, h, i = table[:, :9].T
    volume = np.abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
    table[:, 12] = volume / max(np.cumsum(volume)[-1], np.finfo(np.float64).tiny)
    return table


def spacious_system(draw: Draw, maps: tuple[int, int], variance: float, tries: int, formula: str) -> np.ndarray:
    """Draws systems until the variance of one's points is above ``variance`` along every axis.

    Args:
        draw: keyed by (seed, category).
        maps: the least and the most maps.
        variance: of coordinates whose range, over all three axes together, is 2.
        tries: how many systems to look at.
        formula: who asks, for the error.

    Raises:
        InputError: if none of them passes.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # without the compiler, wrapping and infinity would warn
        for attempt in range(tries):
            trial = draw.split(attempt)
            system = spatial_system(trial, int(trial.integers(maps[0], maps[1] + 1)))
            if spread(system, np.uint64(trial.key), variance) > 0:
                return system
    raise InputError(
        f"{formula}: none of {tries:,} systems has a variance above {variance:g} along every axis; "
        "lower variance or raise tries"
    )


@lru_cache
def spatial_weights(count: int) -> np.ndarray:
    """The rows by which instances differ, float64 ``[count, 13]``: one coefficient of every map scaled, or none.

    The factors are .9 and 1.1 for 25 rows, and one tenth further either way for every 24 rows more. The chances,
    the last column, stay those of the unscaled system, as in the public code. Equal to the public
    ``weights_ins*.csv`` to the bit, which takes one slip of theirs.
    """
    reach = (count - 1) // 24
    rows = []
    for coefficient in range(12):
        for step in range(-reach, reach + 1):
            if step or not coefficient:
                row = [1.0] * 13
                row[coefficient] = round(1 + step / 10, 1)
                rows.append(row)
    table = np.array(rows)
    if count == 145:
        table[108, 8] = 0.6  # 1.6 was meant; the public file has the row of .6 twice
    return table
