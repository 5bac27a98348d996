"""Barlow Twins: make the correlation of two views' features the identity.

Zbontar et al., ICML 2021. https://arxiv.org/abs/2103.03230
"""

import torch
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..parts.heads import mlp
from ..parts.losses import cross_correlation, spread
from ..ranges import Embedding, Weight
from ..views import BYOL, Batch
from . import Method, Optimisation


class Barlow(Method):
    """Features are standardised and correlated over the batch of all ranks.

    The gradient is that of one process with the whole batch. The public code sums the correlations without their
    gradient, which makes it smaller by the number of processes; ``public`` does the same.

    Args:
        encoder: any encoder.
        hidden: width of the projector's three layers; the paper's 8,192 is for ImageNet.
        off_diagonal: weight of the terms off the diagonal.
        public: scale the gradient as the public code does.
    """

    views = BYOL
    optimisation = Optimisation("lars", lr=0.2, lr_end=0.001, warmup=0.1, weight_decay=1e-6, vector_rate=0.024)

    def __init__(
        self, encoder: Encoder, *, hidden: Embedding = 1024, off_diagonal: Weight = 0.0051, public: bool = False
    ):
        super().__init__()
        self.encoder = encoder
        self.projector = mlp(encoder.width, hidden, hidden, layers=3)
        self.standardise = nn.BatchNorm1d(hidden, affine=False)
        self.off_diagonal, self.public = off_diagonal, public

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = [self.encoder(view) for view in batch.views]
        a, b = (self.standardise(self.projector(feature)) for feature in features)
        correlation = cross_correlation(a, b)

        squares = (correlation - torch.eye(len(correlation), device=a.device)).square()
        on = squares.diagonal().sum()
        loss = on + self.off_diagonal * (squares.sum() - on)
        if self.public:
            loss = loss.detach() + (loss - loss.detach()) / ranks.world()
        return {"loss": loss, "feature_std": spread(torch.cat(features))}
