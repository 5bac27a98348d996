"""Systems of planar affine maps: how they are drawn, varied and handed to the chaos game.

A system is float64 ``[N, 7]``, one row (a, b, c, d, e, f, p) per map: x' = ax + by + e, y' = cx + dy + f, taken with
probability p. This is the row of the public FractalDB files.
"""

from functools import lru_cache

import numpy as np

from ._math import cos_sin
from ._random import Draw


def uniform_system(draw: Draw, count: int) -> np.ndarray:
    """All coefficients even over (-1, 1), as in FractalDB; many such systems are dust or fly apart."""
    return with_chances(draw.uniform(-1.0, 1.0, (count, 6)))


def svd_system(draw: Draw, count: int, sigma: float | None = None) -> np.ndarray:
    """Maps from random rotations, reflections and singular values at most 1, as in Anderson & Farrell (WACV 2022).

    The weighted sum of the singular values is within .1 of ``sigma``, at most 3 a map; if None, it is drawn from the
    band that they found to give well-spread attractors. https://arxiv.org/abs/2110.03091
    """
    band = ((5 + count) / 2, (6 + count) / 2)
    if sigma is not None:
        band = (max(0.0, sigma - 0.1), min(3.0 * count, sigma + 0.1))
    strong, weak = _singular_values(draw, count, float(draw.uniform(*band)))
    (cos_u, cos_v), (sin_u, sin_v) = cos_sin(draw.uniform(0.0, 1.0, (2, count)))
    flip_x, flip_y = 2.0 * draw.integers(0, 2, (2, count)) - 1.0
    table = np.empty((count, 6))
    table[:, 0] = (cos_u * strong * cos_v - sin_u * weak * sin_v) * flip_x
    table[:, 1] = (-cos_u * strong * sin_v - sin_u * weak * cos_v) * flip_y
    table[:, 2] = (sin_u * strong * cos_v + cos_u * weak * sin_v) * flip_x
    table[:, 3] = (-sin_u * strong * sin_v + cos_u * weak * cos_v) * flip_y
    table[:, 4:] = draw.uniform(-1.0, 1.0, (count, 2))
    return with_chances(table)


def perturbed(system: np.ndarray, draw: Draw, delta: float) -> np.ndarray:
    """Multiplies every coefficient of every map by its own number from 1 - delta to 1 + delta (1p-frac, ECCV 2024).

    The probabilities stay those of the unperturbed system, as in the public code. https://arxiv.org/abs/2408.00677
    """
    system = system.copy()
    system[:, :6] *= draw.uniform(1 - delta, 1 + delta, (len(system), 6))
    return system


@lru_cache
def weights(interval: float) -> np.ndarray:
    """The 25 rows by which instances differ, float64 ``[25, 6]``: one coefficient of every map scaled, or none.

    The factors are 1 - 2w, 1 - w, 1 + w and 1 + 2w; the third row changes nothing. Intervals of .0125 to .5 give the
    public ``weights_*.csv`` to the bit: decimals rounded, and .01 where the factor would be 0.
    """
    rows = []
    for coefficient in range(6):
        for step in (-2, -1, 0, 1, 2):
            if step or not coefficient:
                row = [1.0] * 6
                row[coefficient] = max(round(1 + step * interval, 10), 0.01)
                rows.append(row)
    return np.array(rows)


def varied(system: np.ndarray, row: np.ndarray, variant: int) -> np.ndarray:
    """Scales the coefficients by a row of weights, then reflects the whole plane.

    The probabilities stay those of the unscaled system, as in the public code.

    Args:
        system: float64 ``[N, 7]``.
        row: float64 ``[6]``.
        variant: bit 0 turns the picture upside down, bit 1 swaps left and right, bit 2 swaps the axes, so that all
            eight are the flips and quarter turns.
    """
    system = system.copy()
    system[:, :6] *= row
    if variant & 4:
        system = system[:, [3, 2, 1, 0, 5, 4, 6]]
    if variant & 1:
        system[:, [1, 2, 5]] *= -1
    if variant & 2:
        system[:, [1, 2, 4]] *= -1
    return system


def with_chances(table: np.ndarray) -> np.ndarray:
    """Adds the column p, proportional to the area that a map makes of a unit square."""
    area = np.abs(table[:, 0] * table[:, 3] - table[:, 1] * table[:, 2])
    return np.column_stack([table, area / max(np.cumsum(area)[-1], np.finfo(np.float64).tiny)])


def _singular_values(draw: Draw, count: int, total: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs 1 >= s1 >= s2 >= 0 whose sum of s1 + 2 s2 is ``total``, each within the room the others leave."""
    values = np.empty((2, count))
    left, others = total, 3.0 * (count - 1)  # still to be spent; the most that the maps after this one can take
    for i in range(count - 1):
        strong = _between(draw, max(0.0, (left - others) / 3), min(1.0, left))
        weak = _between(draw, max(0.0, (left - others - strong) / 2), min(strong, (left - strong) / 2))
        values[:, i] = strong, weak
        left, others = left - strong - 2 * weak, others - 3.0
    weak = _between(draw, max(0.0, (left - 1) / 2), left / 3)
    values[:, -1] = left - 2 * weak, weak
    return values[0], values[1]


def _between(draw: Draw, low: float, high: float) -> float:
    return float(draw.uniform(low, max(low, high)))
