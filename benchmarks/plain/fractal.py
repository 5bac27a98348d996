"""The usual numba loop for planar fractals: one chain, double precision, NumPy's random numbers."""

# ruff: noqa: NPY002 the yardstick is what people write, NumPy's global random numbers included
import numpy as np
from numba import njit


@njit(nogil=True)
def plain_walk(system, points, seed):
    """The yardstick: one chain, NumPy's random numbers, a search through the cumulated probabilities."""
    np.random.seed(seed)
    cumulated = np.cumsum(system[:, 6])
    x = y = 0.0
    for _ in range(points):
        chance, k = np.random.random(), 0
        while k < len(system) - 1 and chance > cumulated[k]:
            k += 1
        x, y = (
            system[k, 0] * x + system[k, 1] * y + system[k, 4],
            system[k, 2] * x + system[k, 3] * y + system[k, 5],
        )
    return x + y


@njit(nogil=True)
def plain_picture(system, points, size, pad, seed, patch):
    """The same, drawing: points kept for their extent, then one by one a pixel or a random 3x3 patch."""
    np.random.seed(seed)
    cumulated, xs, ys = np.cumsum(system[:, 6]), np.empty(points), np.empty(points)
    x = y = 0.0
    for i in range(points):
        chance, k = np.random.random(), 0
        while k < len(system) - 1 and chance > cumulated[k]:
            k += 1
        x, y = (
            system[k, 0] * x + system[k, 1] * y + system[k, 4],
            system[k, 2] * x + system[k, 3] * y + system[k, 5],
        )
        xs[i], ys[i] = x, y
    pixels = np.zeros((size, size), np.uint8)
    left, bottom = xs.min(), ys.min()
    wide, high = (size - 2 * pad - 0.01) / (xs.max() - left), (size - 2 * pad - 0.01) / (ys.max() - bottom)
    for i in range(points):
        column, row = int((xs[i] - left) * wide + pad), int((ys[i] - bottom) * high + pad)
        if patch:
            mask = np.random.randint(1, 512)
            for j in range(9):
                pixels[row + j // 3 - 1, column + j % 3 - 1] = 127 if mask >> j & 1 else 0
        else:
            pixels[row, column] = 127
    return pixels
