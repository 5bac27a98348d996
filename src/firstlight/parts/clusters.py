"""Clusters of all pictures by how they looked in the last epoch, found anew whenever an epoch ends.

Caron et al., "DeepCluster", ECCV 2018. https://arxiv.org/abs/1807.05520
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .bank import Bank
from .kmeans import spherical_kmeans


class Clusters(nn.Module):
    """Holds several clusterings of the pictures, and the embeddings from which the next ones will be found.

    An epoch ends when as many pictures were heard of as there are, whatever the batch.

    Args:
        pictures: how many.
        width: of an embedding.
        count: clusters of each clustering.
        heads: how many clusterings.
        method: whose name errors carry.

    Attributes:
        centroids: unit vectors ``[heads, count, width]``.
        of: each picture's cluster, int64 ``[heads, pictures]``.
        epoch: how many epochs have ended.
    """

    centroids: Tensor
    of: Tensor
    epoch: Tensor

    def __init__(self, pictures: int, width: int, count: int, heads: int, method: str = "clusters"):
        super().__init__()
        if pictures < 2:
            allowed = "how many there are in the training set, 2 and more"
            raise InputError(f"{method}(pictures={pictures}): allowed is {allowed}; nearest: pictures=2")
        if not 2 <= count <= pictures:
            allowed = f"a cluster has at least one picture, so allowed are 2 to {pictures} (the pictures)"
            nearest = min(max(count, 2), pictures)
            raise InputError(f"{method}(prototypes={count}): {allowed}; nearest: prototypes={nearest}")
        if heads < 1:
            raise InputError(f"{method}(heads={heads}): allowed is 1 and more; nearest: heads=1")
        self.method = method
        self.first, self.second = (Bank(pictures, width, momentum=0.0, method=method) for _ in range(2))
        self.register_buffer("centroids", F.normalize(torch.randn(heads, count, width), dim=2))
        self.register_buffer("of", torch.arange(pictures).remainder(count).repeat(heads, 1))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))

    def hear(self, index: Tensor, rows: Tensor, t: float) -> None:
        """Takes in the embeddings of the first two crops, unit vectors ``[2, B, width]``, of the pictures ``index``."""
        self.first.hear(index, rows[0], t)
        self.second.hear(index, rows[1], t)

    def follow(self, t: float) -> None:
        """Remembers what was heard since the last time; if that ends an epoch, finds new clusters."""
        self.first.follow(t)
        self.second.follow(t)
        epochs = int(self.first.seen) // len(self.first.rows)
        if epochs > self.epoch:
            self.epoch.fill_(epochs)
            self.find()

    def find(self) -> None:
        """Clusters what is remembered: the first crops for the first head, the second for the second, and so on."""
        for head, centroids in enumerate(self.centroids):
            rows = (self.second if head % 2 else self.first).rows
            centroids[:], self.of[head] = spherical_kmeans(rows, len(centroids), salt=(int(self.epoch), head))

    def check(self, pictures: int) -> None:
        """Refuses another number of pictures than there is room for.

        Raises:
            InputError: naming it.
        """
        if pictures != self.of.shape[1]:
            given = f"{self.method}(pictures={self.of.shape[1]})"
            raise InputError(f"{given}: the training set has {pictures}; nearest: pictures={pictures}")

    def begin(self) -> None:
        """Clusters the first memory, which a pass over all pictures has filled; the first epoch begins after it."""
        self.first.seen.zero_()
        self.epoch.zero_()
        self.find()
