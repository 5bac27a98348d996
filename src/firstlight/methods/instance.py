"""Instance discrimination (NPID): every picture is a class of its own, told apart by a memory of all pictures.

Wu et al., CVPR 2018. https://arxiv.org/abs/1805.01978
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..events import Events
from ..parts.bank import Bank, Discrimination
from ..parts.losses import full, spread
from ..ranges import Amount, Embedding, Share, Temperature
from ..views import MOCO_V1, Batch
from ..views.batches import Batches
from . import Method, Optimisation


class Instance(Method):
    """The memory's vector of a picture is its class; for small sets the softmax runs over all of them, as published.

    With ``negatives`` it is noise-contrastive estimation instead, which is what the paper does for ImageNet.

    Differs from the paper: its proximal term, which keeps vectors near where they were, is left out; the memory begins
    with a look at all pictures, not with random vectors; the rate falls along a cosine, not in steps.

    Args:
        encoder: any encoder.
        pictures: how many there are in the training set.
        dim: width of the vectors.
        temperature: .07 in the paper, .1 for CIFAR-10.
        momentum: of the memory: the share of a vector that stays when its picture is seen.
        negatives: 4,096 in the paper for ImageNet; 0 takes the full softmax.
    """

    views = (replace(MOCO_V1[0], count=1),)
    optimisation = Optimisation("sgd", lr=0.03, warmup=0.0, weight_decay=1e-4, decay_vectors=True)

    def __init__(
        self,
        encoder: Encoder,
        *,
        pictures: int = 0,
        dim: Embedding = 128,
        temperature: Temperature = 0.1,
        momentum: Share = 0.5,
        negatives: Amount = 0,
    ):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, dim)
        self.bank = Bank(pictures, dim, momentum, "instance")
        self.find = Discrimination(temperature, negatives)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = self.encoder(batch.views[0])
        rows = F.normalize(full(self.head(features)), dim=1)

        loss = self.find(rows, self.bank, batch.index, batch.key)
        self.bank.hear(batch.index, rows, t)
        return {"loss": loss, "feature_std": spread(features)}

    def prepare(self, batches: Batches) -> Events[None]:
        rows = lambda batch: F.normalize(full(self.head(self.encoder(batch.views[0]))), dim=1)  # noqa: E731
        yield from self.bank.fill(rows, batches)
