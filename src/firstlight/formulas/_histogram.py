"""Gives the values of a picture a wanted distribution, keeping their order, and measures their mean and spread.

Heeger & Bergen, "Pyramid-based texture analysis/synthesis", SIGGRAPH 1995. https://doi.org/10.1145/218380.218446

Counts are whole numbers and sums run in a fixed order, so the bits do not depend on the processor.
"""

import numpy as np

from ._compile import kernel

BINS = 4096
"""Bins of the values that are given; between their edges the map is linear."""

SMALLEST = 1e-200
"""Values closer together than this are left as they are."""

LANES = 8
"""Sums are taken over every eighth value, then over the eight: as fixed an order as any, and fit for vectors."""


@kernel
def match(values, reached, low, step):
    """Moves values so that they are distributed as wanted.

    Args:
        values: float64 ``[n]``, changed.
        reached: float64 ``[m + 1]``, the wanted share of values below each of the edges ``low + k * step``: rises from
            0 to 1, not necessarily strictly.
        low: the least wanted value.
        step: the distance of the edges.
    """
    least, most = _extent(values)
    if not SMALLEST < most - least < np.inf:
        return
    wide = BINS / (most - least)
    counts = np.zeros(BINS + 1, np.int64)
    for i in range(len(values)):
        counts[min(max(int((values[i] - least) * wide), 0), BINS)] += 1
    counts[BINS - 1] += counts[BINS]  # the largest value itself
    wanted = _inverse(counts, len(values), reached, low, step)
    for i in range(len(values)):
        place = (values[i] - least) * wide
        k = min(max(int(place), 0), BINS - 1)
        values[i] = wanted[k] + (place - k) * (wanted[k + 1] - wanted[k])


@kernel
def _inverse(counts, total, reached, low, step):
    """The wanted value at each edge of the given bins, float64 ``[BINS + 1]``."""
    wanted = np.empty(BINS + 1)
    below, k = 0, 0
    for i in range(BINS + 1):
        share = below / total
        while k < len(reached) - 2 and reached[k + 1] <= share:
            k += 1
        rise = reached[k + 1] - reached[k]
        part = min((share - reached[k]) / rise, 1.0) if rise > 0 else 0.0
        wanted[i] = low + (k + part) * step
        if i < BINS:
            below += counts[i]
    return wanted


@kernel
def standardise(values, mean, spread):
    """Moves and scales values, float64 ``[n]``, to the given mean and standard deviation; constant ones are moved."""
    middle, width = moments(values)
    scale = spread / width if width > 0 else 0.0
    for i in range(len(values)):
        values[i] = (values[i] - middle) * scale + mean


@kernel
def moments(values):
    """Mean and standard deviation of float64 ``[n]``, n a multiple of eight."""
    sums = np.zeros(LANES)
    for start in range(0, len(values), LANES):
        for k in range(LANES):
            sums[k] += values[start + k]
    mean = _total(sums) / len(values)
    sums[:] = 0.0
    for start in range(0, len(values), LANES):
        for k in range(LANES):
            away = values[start + k] - mean
            sums[k] += away * away
    return mean, np.sqrt(_total(sums) / len(values))


@kernel
def _total(sums):
    total = 0.0
    for k in range(LANES):
        total += sums[k]
    return total


@kernel
def _extent(values):
    least, most = values[0], values[0]
    for i in range(len(values)):
        least = values[i] if values[i] < least else least
        most = values[i] if values[i] > most else most
    return least, most
