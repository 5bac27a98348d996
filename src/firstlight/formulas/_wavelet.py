"""A steerable pyramid whose subbands are given generalised Laplacian marginals: the wavelet-marginal model.

Simoncelli & Freeman, "The steerable pyramid", ICIP 1995. https://doi.org/10.1109/ICIP.1995.537667
The model: Baradad et al., "Learning to see by looking at noise", NeurIPS 2021. https://arxiv.org/abs/2106.05963

Everything happens on Fourier coefficients. Rings are raised cosines over the logarithm of the radius, one octave wide;
each ring but the outermost is cut into four orientations by the cube of a cosine. All filters are real kernels, so two
pictures go through as the real and the imaginary part of one.
"""

from functools import lru_cache

import numpy as np

from ._compile import kernel
from ._fourier import roots, transform
from ._histogram import match, standardise
from ._math import cos_sin, exp, log, power

ORIENTATIONS = 4
SPAN = 200.0
"""Coefficients lie within 200 either way, and their densities are tabled in steps of a half, as in the public code."""

CUBES = 0.8944271909999159
"""The root of 4/5: the squares of the four cubed cosines add up to 5/4 in every direction."""


def impose(
    real: np.ndarray, imaginary: np.ndarray, marginals: list[tuple[np.ndarray, np.ndarray]], scales: int
) -> None:
    """Gives every subband its marginal distribution, all at once, and puts the picture together again, in place.

    Args:
        real: a picture, float64 ``[N, N]``, N a power of two.
        imaginary: another one, or zeros.
        marginals: of one or both pictures, what ``densities`` gives.
        scales: how often the pyramid halves the picture; what is left then stays as it is.
    """
    size, second = len(real), len(marginals) > 1
    high = rings(size)[0]
    transform(real, imaginary, roots(size), -1.0)
    whole, whole_imaginary = real.copy(), imaginary.copy()
    tables, spreads = (np.stack([pair[k] for pair in marginals]) for k in (0, 1))
    _keep(whole, whole_imaginary, rings(size >> scales)[1], real, imaginary)
    band, band_imaginary = whole * high, whole_imaginary * high
    _reshape(band, band_imaginary, roots(size), tables[:, 0], spreads[:, 0])
    real += band * high
    imaginary += band_imaginary * high
    turns = cos_sin(np.arange(ORIENTATIONS) / (2 * ORIENTATIONS))
    for level in range(scales):
        part, own = slice(1 + ORIENTATIONS * level, 1 + ORIENTATIONS * (level + 1)), rings(size >> level)[2]
        given, made = (whole, whole_imaginary), (real, imaginary)
        _ring(given, own, turns, roots(size >> level), tables[:, part], spreads[:, part], made)
    transform(real, imaginary, roots(size), 1.0)
    if not second:
        imaginary.fill(0.0)


def densities(shapes: np.ndarray, scales: int) -> tuple[np.ndarray, np.ndarray]:
    """The densities ``exp(-|x / 4**(2**level)| ** shape)`` of the subbands, cut off at 200.

    Args:
        shapes: float64 ``[1 + 4 * scales]`` or longer: of the outermost ring, then of the orientations of each scale,
            finest first. The outermost counts as level 0.
        scales: how many there are.

    Returns:
        The share of values below each of the edges -200.25, -199.75 ... 200.25, float64 ``[bands, 802]``, and the
        standard deviations, float64 ``[bands]``.
    """
    levels = [0, *np.arange(scales).repeat(ORIENTATIONS).tolist()]
    widths = np.array([float(4 ** (2**level)) for level in levels])
    x = np.arange(2 * SPAN + 1) / 2
    half = exp(-power(x / widths[:, None], shapes[: len(levels), None]))
    whole = np.concatenate([half[:, :0:-1], half], 1)
    reached = np.cumsum(whole, 1)
    variance = np.cumsum(half * x * x, 1)[:, -1] * 2 / reached[:, -1]
    return np.concatenate([np.zeros((len(levels), 1)), reached / reached[:, -1:]], 1), np.sqrt(variance)


@lru_cache
def rings(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a pyramid keeps of each Fourier coefficient, float64 ``[size, size]`` each, the zero frequency first.

    Returns:
        ``high``, the outermost octave of frequencies; ``low``, the rest, so that the squares add up to 1; and
        ``band``, the part of ``low`` that is not in the pyramid of half the size, over the cube of the frequency.
    """
    steps = np.arange(size)
    steps = np.where(steps < size // 2, steps, steps - size).astype(np.float64)
    square = steps[:, None] ** 2 + steps[None, :] ** 2
    square[0, 0] = 1.0
    octave = log(4 * square / size**2) / (2 * 0.6931471805599453)  # 0 at the finest frequency of a row or column
    outer, inner = (np.clip(octave + shift, 0.0, 1.0) for shift in (1, 2))
    outer[0, 0] = inner[0, 0] = 0.0
    low, high = cos_sin(outer / 4)
    return high, low, low * cos_sin(inner / 4)[1] / (square * np.sqrt(square))


@kernel
def _keep(whole, whole_imaginary, low, real, imaginary):
    """Starts a picture from what is left of another one's frequencies below the last scale."""
    size, small = len(whole), len(low)
    real[:] = 0.0
    imaginary[:] = 0.0
    for row in range(small):
        there = row if row < small // 2 else row + size - small
        for i in range(small):
            k = i if i < small // 2 else i + size - small
            share = low[row, i] * low[row, i]
            real[there, k] = whole[there, k] * share
            imaginary[there, k] = whole_imaginary[there, k] * share


@kernel
def _ring(given, band, turns, roots, tables, spreads, made):
    """Cuts a ring into its orientations, gives each its marginal, and adds them to a picture's frequencies.

    The filters are odd (times i), and a scale's values are twice the finer one's, which keeps the energy: the pyramid
    of the original code does both.
    """
    (whole, whole_imaginary), (real, imaginary) = given, made
    size, small = len(whole), len(band)
    gain = small / size
    part, part_imaginary = np.empty((small, small)), np.empty((small, small))
    for orientation in range(len(turns[0])):
        across, down = turns[0][orientation], turns[1][orientation]
        for row in range(small):
            y = row if row < small // 2 else row - small
            there = row if row < small // 2 else row + size - small
            for i in range(small):
                x, k = (i, i) if i < small // 2 else (i - small, i + size - small)
                slope = x * across + y * down
                share = gain * CUBES * band[row, i] * (slope * slope * slope)
                part[row, i] = -share * whole_imaginary[there, k]
                part_imaginary[row, i] = share * whole[there, k]
        _reshape(part, part_imaginary, roots, tables[:, orientation], spreads[:, orientation])
        for row in range(small):
            y = row if row < small // 2 else row - small
            there = row if row < small // 2 else row + size - small
            for i in range(small):
                x, k = (i, i) if i < small // 2 else (i - small, i + size - small)
                slope = x * across + y * down
                share = CUBES * band[row, i] * (slope * slope * slope) / gain
                real[there, k] += share * part_imaginary[row, i]
                imaginary[there, k] -= share * part[row, i]


@kernel
def _reshape(band, band_imaginary, roots, tables, spreads):
    """From a subband's frequencies to its values, which are matched, and back."""
    transform(band, band_imaginary, roots, 1.0)
    match(band.reshape(-1), tables[0], -SPAN - 0.25, 0.5)
    standardise(band.reshape(-1), 0.0, spreads[0])
    if len(tables) > 1:
        match(band_imaginary.reshape(-1), tables[1], -SPAN - 0.25, 0.5)
        standardise(band_imaginary.reshape(-1), 0.0, spreads[1])
    else:
        band_imaginary[:] = 0.0
    transform(band, band_imaginary, roots, -1.0)
