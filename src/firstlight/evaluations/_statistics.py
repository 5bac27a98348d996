"""Statistics of pictures as plain functions of arrays: filling rate, edge density, spectrum, compactness of classes."""

import numpy as np

FIRST_CYCLES = 2
"""The fit begins here: the window blurs frequencies by one cycle a picture, so the first lacks the mean."""
FAINT = 1e-14
"""Power that is but rounding, of pictures in 0..1."""
RESAMPLES = 1000


def background_of(pictures: np.ndarray) -> float | None:
    """The grey value of the background: what more than a third of all pictures' corners have, or None.

    Args:
        pictures: ``[N, S, S]`` in 0..1, of bytes.
    """
    corners = np.rint(pictures[:, :: pictures.shape[1] - 1, :: pictures.shape[2] - 1] * 255).astype(int)
    times = np.bincount(corners.ravel(), minlength=256)
    return float(times.argmax()) / 255 if 3 * times.max() > corners.size else None


def filling_rates(pictures: np.ndarray, background: float | None) -> np.ndarray:
    """The share of pixels that differ from the background by half a grey value or more, float64 ``[N]``."""
    if background is None:
        return np.ones(len(pictures))
    return (np.abs(pictures - background) >= 0.5 / 255).mean((1, 2))


def edge_densities(pictures: np.ndarray, threshold: float) -> np.ndarray:
    """The share of pixels where the Sobel gradient is steeper than ``threshold``, float64 ``[N]``.

    The gradient is in units of the range from black to white per pixel: the operator's weights are divided by 8, so
    that a ramp gives its slope. A step of height h gives h / 2 on the pixels at either side. Borders are repeated.
    """
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    along = wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]
    across, upright = (down[:, :, 2:] - down[:, :, :-2]) / 8, (along[:, 2:] - along[:, :-2]) / 8
    return (np.hypot(across, upright) > threshold).mean((1, 2))


def spectra(pictures: np.ndarray) -> np.ndarray:
    """Power by frequency, averaged over directions, float64 ``[N, S // 2]`` for 1, 2, ... S // 2 cycles a picture.

    Of the picture less its mean, under a Hann window: without it, the border's step from one side to the other would
    add a slope of its own (van der Schaaf & van Hateren, Vision Research 1996).
    """
    size = pictures.shape[-1]
    fade = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    window = np.outer(fade, fade)
    middle = (pictures * window).sum((1, 2), keepdims=True) / window.sum()
    power = np.abs(np.fft.fft2((pictures - middle) * window)) ** 2 / (window**2).sum()
    cycles = np.fft.fftfreq(size) * size
    ring = np.rint(np.hypot(cycles[:, None], cycles)).astype(int).ravel()
    count = np.bincount(ring)
    total = np.stack([np.bincount(ring, one.ravel()) for one in power])
    return (total / count)[:, 1 : size // 2 + 1]


def slopes(power: np.ndarray) -> np.ndarray:
    """The least-squares slope of log power against log frequency from 2 cycles on, float64 ``[N]``.

    NaN for a picture without contrast. Frequencies that hold nothing but rounding are left out.
    """
    kept = power[:, FIRST_CYCLES - 1 :]
    cycles = np.log(np.arange(FIRST_CYCLES, FIRST_CYCLES + kept.shape[1]))
    found = np.full(len(power), np.nan)
    for n, row in enumerate(kept):
        there = row > max(1e-10 * row.max(initial=0), FAINT)
        if there.sum() >= 3:
            found[n] = np.polyfit(cycles[there], np.log(row[there]), 1)[0]
    return found


def spread(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far members lie from their class's centre, and centres from each other.

    Args:
        values: float ``[N, width]``.
        labels: int ``[N]``; classes of one member and unlabelled pictures (-1) do not count.

    Returns:
        The mean Euclidean distance of each class's members, float64 ``[K]``, and between centres, ``[K, K]``.
    """
    counted = [label for label in np.unique(labels[labels >= 0]) if (labels == label).sum() > 1]
    centres, within = [], []
    for label in counted:
        members = values[labels == label].astype(np.float64)
        centres.append(members.mean(0))
        # Members pull their own centre towards them: n of them seem closer by the square root of 1 - 1 / n.
        nearer = np.sqrt(1 - 1 / len(members))
        within.append(np.linalg.norm(members - centres[-1], axis=1).mean() / nearer)
    stacked = np.array(centres).reshape(len(counted), values.shape[1])
    square = (stacked**2).sum(1)
    apart = np.sqrt(np.maximum(square[:, None] + square - 2 * stacked @ stacked.T, 0))
    np.fill_diagonal(apart, 0)
    return np.array(within), apart


def compactness(within: np.ndarray, between: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The mean of ``within`` over the mean of ``between`` for different classes, float64 ``[B]``.

    Args:
        within: ``[K]``.
        between: ``[K, K]``, 0 on the diagonal.
        times: how often each class is counted, ``[B, K]``. NaN where that leaves one class, or centres coincide.
    """
    members = (times @ within) / times.sum(1)
    pairs = times.sum(1) ** 2 - (times**2).sum(1)
    apart = (times @ between * times).sum(1)
    there = apart > 1e-12 * pairs
    return np.where(there, members * pairs / np.where(there, apart, 1), np.nan)


def resampled(number: int, seed: int) -> np.ndarray:
    """How often each of ``number`` classes is drawn in each of 1,000 draws with replacement, float64 ``[B, K]``."""
    return np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), RESAMPLES).astype(np.float64)


def resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    """The means of 1,000 draws with replacement from ``values [N]``, float64 ``[B]``."""
    random, count = np.random.default_rng(seed), len(values)
    return np.array([values[random.integers(0, count, count)].mean() for _ in range(RESAMPLES)])


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the bootstrap's values (Efron & Tibshirani, An Introduction to the Bootstrap, 1993)."""
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
