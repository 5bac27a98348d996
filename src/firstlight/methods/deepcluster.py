"""DeepCluster-v2: cluster all pictures by how they looked in the last epoch, and predict each picture's cluster.

Caron et al., NeurIPS 2020 (SwAV, appendix). https://arxiv.org/abs/2006.09882
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..events import Events, Note
from ..parts.clusters import Clusters
from ..parts.crops import by_size, crops
from ..parts.heads import mlp
from ..parts.losses import full, spread
from ..ranges import Embedding, Few, Layers, Several, Temperature, Width
from ..views import SWAV, Batch
from ..views.batches import Batches
from . import Method, Optimisation


class DeepCluster(Method):
    """Each epoch begins with spherical k-means of the last epoch's embeddings; all crops then predict the cluster.

    The clusterings of several heads take turns with the embeddings of the first and of the second large crop. Their
    centroids are the prototypes, which nothing else moves. The first memory comes from a pass over all pictures.

    Args:
        encoder: any encoder that accepts the sizes of all crops.
        small: how many small crops; None for the published 6, or none where they would measure under 24 pixels.
        pictures: how many there are in the training set.
        hidden: width of the projector's hidden layer: 2,048 in the paper.
        dim: width of the embeddings.
        prototypes: clusters of each head: 3,000 in the paper; about ten for each expected class on small sets.
        heads: how many clusterings: 3 in the paper.
        temperature: of the prediction's softmax.
    """

    views = SWAV
    optimisation = Optimisation("lars", lr=0.3, lr_end=0.001, warmup=0.1, weight_decay=1e-6, lars="swav")

    def __init__(
        self, encoder: Encoder, *, pictures: int = 0, hidden: Width = 1024, dim: Embedding = 128,
        prototypes: Several = 100, heads: Layers = 3, temperature: Temperature = 0.1, small: Few | None = None,
    ):  # fmt: skip
        super().__init__()
        self.views = crops(SWAV, small, encoder, "deepcluster")
        self.encoder, self.temperature = encoder, temperature
        self.projector = mlp(encoder.width, hidden, dim, bias=True, last_bias=True)
        self.clusters = Clusters(pictures, dim, prototypes, heads, "deepcluster")

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = by_size(self.encoder, batch.views)
        rows = F.normalize(full(self.projector(features)), dim=1)
        self.clusters.hear(batch.index, rows.unflatten(0, (len(batch.views), -1))[:2], t)

        with torch.autocast(rows.device.type, enabled=False):
            logits = rows @ self.clusters.centroids.mT / self.temperature  # [heads, views * B, prototypes]
        targets = self.clusters.of[:, batch.index].repeat(1, len(batch.views))

        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return {"loss": loss, "feature_std": spread(features[: 2 * len(batch)])}

    def prepare(self, batches: Batches) -> Events[None]:
        """Fills the first memory. In training mode, so that running statistics move as in the published code."""
        self.clusters.check(len(batches.pictures))
        for batch in batches.once():
            self._remember(batch)
            self.clusters.follow(0.0)
        self.clusters.begin()
        heads, count, _ = self.clusters.centroids.shape
        yield Note(f"deepcluster: {len(batches.pictures):,} pictures in {count:,} clusters, {heads} times")

    @torch.no_grad()
    def _remember(self, batch: Batch) -> None:
        rows = torch.stack([self.projector(self.encoder(view)) for view in batch.views[:2]])  # one by one, as published
        self.clusters.hear(batch.index, F.normalize(full(rows), dim=2), 0.0)
