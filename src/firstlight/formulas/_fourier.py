"""The discrete Fourier transform of square pictures whose side is a power of two, and 1/f amplitudes by it.

Cooley & Tukey, "An algorithm for the machine calculation of complex Fourier series", Mathematics of Computation 1965.
https://doi.org/10.1090/S0025-5718-1965-0178586-1

NumPy's transform picks its instructions by the processor. This one is radix 2, its roots of unity from ``cos_sin``.
A picture's columns are transformed eight side by side, which compiles to vector instructions and stays in the cache,
and written as rows; doing that twice transforms both ways and turns the picture back.
"""

from functools import lru_cache

import numpy as np

from ._compile import kernel
from ._histogram import moments, standardise
from ._math import cos_sin, power

SIDE_BY_SIDE = 8
"""Columns transformed at once, and so the least side."""


@lru_cache
def roots(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the first half of ``size`` equal turns, float64 ``[size / 2]`` each."""
    return cos_sin(np.arange(size // 2) / size)


@kernel
def transform(real, imaginary, roots, sign):
    """Transforms in place; forth with ``sign`` -1 and, divided by the number of pixels, back with 1.

    Args:
        real: float64 ``[N, N]``, the zero frequency first; N a power of two from 8.
        imaginary: float64 ``[N, N]``; two real pictures can be transformed as one complex one.
        roots: what ``roots(N)`` gives.
        sign: float64, of the exponent.
    """
    size = len(real)
    turned, turned_imaginary = np.empty((size, size)), np.empty((size, size))
    scale = 1.0 / size if sign > 0 else 1.0  # a power of two: exact
    _columns(real, imaginary, roots, sign, scale, turned, turned_imaginary)
    _columns(turned, turned_imaginary, roots, sign, scale, real, imaginary)


def inverse_amplitudes(slopes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The two terms of ``|u|**a + |v|**b`` for ``slopes`` (a, b), by column and by row, float64 ``[size]`` each."""
    cycles = np.minimum(np.arange(size), size - np.arange(size)) / size
    return power(cycles, slopes[0]), power(cycles, slopes[1])


@kernel
def shape_spectrum(real, imaginary, roots, columns, rows, second):
    """Gives one or two pictures the amplitudes ``1 / (columns + rows)``; their phases, means and variances stay."""
    size = len(real)
    mean, spread = moments(real.reshape(-1))
    mean_second, spread_second = moments(imaginary.reshape(-1))
    transform(real, imaginary, roots, -1.0)
    for row in range(size):
        other = (size - row) % size
        for i in range(size // 2 + 1):
            k = (size - i) % size
            if i == k and row > other:
                continue  # its mirror image has been done, and it with that
            amplitude = 1.0 / (1e-16 + columns[i] + rows[row]) if i + row else 0.0
            a, b = real[row, i] + real[other, k], imaginary[row, i] - imaginary[other, k]
            c, d = imaginary[row, i] + imaginary[other, k], real[other, k] - real[row, i]
            a, b = _scaled(a, b, amplitude)
            c, d = _scaled(c, d, amplitude)
            real[row, i], imaginary[row, i] = a - d, b + c
            real[other, k], imaginary[other, k] = a + d, c - b
    transform(real, imaginary, roots, 1.0)
    standardise(real.reshape(-1), mean, spread)
    if second:
        standardise(imaginary.reshape(-1), mean_second, spread_second)
    else:
        imaginary[:] = 0.0


@kernel
def _columns(real, imaginary, roots, sign, scale, to_real, to_imaginary):
    """Transforms every column and writes it as a row."""
    size = len(real)
    cosines, sines = roots
    places = _reversed_bits(size)
    block, block_imaginary = np.empty(size * SIDE_BY_SIDE), np.empty(size * SIDE_BY_SIDE)
    for first in range(0, size, SIDE_BY_SIDE):
        for row in range(size):
            here = places[row] * SIDE_BY_SIDE
            for k in range(SIDE_BY_SIDE):
                block[here + k] = real[row, first + k] * scale
                block_imaginary[here + k] = imaginary[row, first + k] * scale
        half = 1
        while half < size:
            step = size // (2 * half)
            for j in range(half):
                _butterflies(block, block_imaginary, cosines[j * step], sign * sines[j * step], j, half, size)
            half *= 2
        for k in range(SIDE_BY_SIDE):
            for row in range(size):
                to_real[first + k, row] = block[row * SIDE_BY_SIDE + k]
                to_imaginary[first + k, row] = block_imaginary[row * SIDE_BY_SIDE + k]


@kernel
def _butterflies(block, block_imaginary, cosine, sine, first, half, size):
    """Sums and differences of the pairs of rows ``half`` apart that share a root of unity."""
    for start in range(first, size, 2 * half):
        one, other = np.uint64(start * SIDE_BY_SIDE), np.uint64((start + half) * SIDE_BY_SIDE)
        for lane in range(SIDE_BY_SIDE):
            k = np.uint64(lane)
            x, y = block[other + k], block_imaginary[other + k]
            u, v = x * cosine - y * sine, x * sine + y * cosine
            x, y = block[one + k], block_imaginary[one + k]
            block[one + k], block_imaginary[one + k] = x + u, y + v
            block[other + k], block_imaginary[other + k] = x - u, y - v


@kernel
def _reversed_bits(size):
    """Where each row goes before the first stage: its number read backwards in binary, int64 ``[size]``."""
    places = np.zeros(size, np.int64)
    half, step = size // 2, 1
    while half > 0:
        for i in range(step):
            places[step + i] = places[i] + half
        half, step = half // 2, step * 2
    return places


@kernel
def _scaled(real, imaginary, amplitude):
    """A number of the same phase; where there is none, 0."""
    length = np.sqrt(real * real + imaginary * imaginary)
    if length > 0:
        return real / length * amplitude, imaginary / length * amplitude
    return amplitude, 0.0
