"""Clusters of directions: k-means on the unit sphere, the same on every machine and rank.

Dhillon & Modha, "Concept decompositions for large sparse text data using clustering", Machine Learning 2001.
https://doi.org/10.1023/A:1007612920971
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ranks
from ..errors import InputError
from ..views.random import Salt, uniform

CHUNK = 8192
"""rows compared with the centroids at a time"""


@torch.no_grad()
def spherical_kmeans(
    rows: Tensor, clusters: int, *, salt: tuple[int, ...] = (), iterations: int = 10
) -> tuple[Tensor, Tensor]:
    """Divides unit vectors among clusters by their cosine with the centroids.

    It begins with random rows as centroids. A cluster that loses all its rows keeps its centroid.

    Args:
        rows: unit vectors ``[N, D]``, the same on every rank.
        clusters: how many, at most ``N``.
        salt: which random rows to begin with: the same numbers give the same clusters.
        iterations: how often the centroids move to the mean direction of their rows.

    Returns:
        The centroids, unit vectors ``[clusters, D]``, and each row's cluster, int64 ``[N]``.

    Raises:
        InputError: for more clusters than rows.
    """
    if not 1 <= clusters <= len(rows):
        raise InputError(f"{clusters} clusters of {len(rows)} pictures: allowed are 1 to {len(rows)}")
    order = uniform(torch.arange(len(rows), device=rows.device), Salt.CLUSTER, *salt).argsort(stable=True)
    centroids = rows[order[:clusters]].clone()
    for _ in range(iterations):
        nearest = _nearest(rows, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, rows)
        used = nearest.bincount(minlength=clusters)[:, None] > 0
        centroids = torch.where(used, F.normalize(sums, dim=1), centroids)

    nearest = _nearest(rows, centroids)
    ranks.spread([centroids, nearest])  # processors of another make may round another way
    return centroids, nearest


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    return torch.cat([(part @ centroids.T).argmax(1) for part in rows.split(CHUNK)])


@torch.no_grad()
def kmeans(rows: Tensor, counts: Tensor, clusters: int, *, salt: tuple[int, ...] = (), iterations: int = 20) -> Tensor:
    """Divides points among clusters by their Euclidean distance from the centroids (Lloyd's algorithm).

    It begins with random points as centroids. A cluster that loses all its points keeps its centroid.

    Args:
        rows: different points ``[N, D]``, the same on every rank.
        counts: how often each of them is there, ``[N]``.
        clusters: how many, at most ``N``.
        salt: which random points to begin with: the same numbers give the same clusters.
        iterations: how often the centroids move to the mean of their points.

    Returns:
        The centroids ``[clusters, D]``.

    Raises:
        InputError: for more clusters than points.
    """
    if not 1 <= clusters <= len(rows):
        raise InputError(f"{clusters} clusters of {len(rows)} points: allowed are 1 to {len(rows)}")
    # A point that is there often is as likely as that to be drawn: the largest of so many uniforms is u^(1 / count).
    draw = uniform(torch.arange(len(rows), device=rows.device), Salt.CLUSTER, *salt).double() + 2.0**-25
    centroids = rows[(draw.log() / counts).argsort(descending=True, stable=True)[:clusters]].clone()
    for _ in range(iterations):
        near = nearest(rows, centroids)
        sums = torch.zeros_like(centroids).index_add_(0, near, rows * counts[:, None])
        held = torch.zeros_like(centroids[:, 0]).index_add_(0, near, counts.to(rows.dtype))[:, None]
        centroids = torch.where(held > 0, sums / held.clamp(min=1), centroids)
    ranks.spread([centroids])
    return centroids


def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """The number of the centroid that each row is nearest to by Euclidean distance, int64 ``[N]``."""
    half = centroids.square().sum(1) / 2
    return torch.cat([(part @ centroids.T - half).argmax(1) for part in rows.split(CHUNK)])
