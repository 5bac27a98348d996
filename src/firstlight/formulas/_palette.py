"""A model of how colours occur together: the histograms of a blurred picture of a few flat areas, along its own axes.

Baradad et al., "Learning to see by looking at noise", NeurIPS 2021. https://arxiv.org/abs/2106.05963
"""

import math

import numpy as np

from ._random import Draw

SIDE, BINS = 128, 256


def palette(draw: Draw) -> dict[str, np.ndarray]:
    """Draws 3 to 22 colours in random proportions, blurs the edges between them, and takes the statistics.

    Returns:
        ``axes`` float64 ``[3, 3]``, the principal axes of the colours as columns; ``mean`` float64 ``[3]``, their
        mean, 0 to 255; ``ends`` float64 ``[3, 2]``, the least and the largest coordinate along each axis; ``reached``
        float64 ``[3, 257]``, the shares of pixels below the edges of 256 bins between them.
    """
    reference = _reference(draw)
    mean = _mean(reference)
    away = reference - mean[:, None]
    axes = principal_axes(np.array([[_mean(a * b) for b in away] for a in away]))
    along = [axes[0, k] * away[0] + axes[1, k] * away[1] + axes[2, k] * away[2] for k in range(3)]
    ends, reached = np.empty((3, 2)), np.zeros((3, BINS + 1))
    for k, values in enumerate(along):
        ends[k] = values.min(), values.max()
        bins = np.floor((values - ends[k, 0]) * (BINS / max(ends[k, 1] - ends[k, 0], 1e-9))).astype(np.int64)
        reached[k, 1:] = np.cumsum(np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)) / values.size
    return {"axes": axes, "mean": mean, "ends": ends, "reached": reached}


def principal_axes(matrix: np.ndarray) -> np.ndarray:
    """Orthogonal eigenvectors of a symmetric ``[3, 3]`` matrix as columns, by Jacobi's rotations.

    In Python's own floats: LAPACK's bits depend on the processor.
    """
    a, axes = matrix.tolist(), [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    for _ in range(10):  # it converges quadratically; four rounds would do
        for p, q in ((0, 1), (0, 2), (1, 2)):
            if a[p][q] == 0:
                continue
            slope = (a[q][q] - a[p][p]) / (2 * a[p][q])
            tangent = math.copysign(1.0, slope) / (abs(slope) + math.sqrt(slope * slope + 1))
            cosine = 1 / math.sqrt(tangent * tangent + 1)
            sine = tangent * cosine
            for table, across in ((a, False), (a, True), (axes, False)):
                for k in range(3):
                    x, y = (table[p][k], table[q][k]) if across else (table[k][p], table[k][q])
                    u, v = cosine * x - sine * y, sine * x + cosine * y
                    if across:
                        table[p][k], table[q][k] = u, v
                    else:
                        table[k][p], table[k][q] = u, v
    return np.array(axes)


def _reference(draw: Draw) -> np.ndarray:
    """The picture, float64 ``[3, 128 * 128]``, stretched to 0 .. 255."""
    colours = draw.uniform(0, 256, (3 + int(draw.integers(0, 20)), 3))
    reached = np.cumsum(0.001 + draw.uniform(0, 1, len(colours)))
    edges = np.floor(reached / reached[-1] * SIDE**2 + 0.5).astype(np.int64)
    picture = colours.repeat(np.diff(edges, prepend=0), 0).T.reshape(3, SIDE, SIDE)
    width = int(draw.integers(1, 11))
    for axis in (1, 2):
        widened = [(0, 0), (0, 0), (0, 0)]
        widened[axis] = ((width - 1) // 2, width // 2)
        padded, total = np.pad(picture, widened, mode="edge"), np.zeros_like(picture)
        for shift in range(width):
            total += padded[:, shift : shift + SIDE] if axis == 1 else padded[:, :, shift : shift + SIDE]
        picture = total / width
    picture = picture + draw.uniform(0, 10, picture.shape)
    picture = picture - picture.min()
    return (255 * picture / picture.max()).reshape(3, -1)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean along the last axis, added up from the first to the last."""
    return np.cumsum(values, axis=-1)[..., -1] / values.shape[-1]
