"""BYOL: predict a slowly moving copy's view of the same picture, with nothing to push away.

Grill et al., NeurIPS 2020. https://arxiv.org/abs/2006.07733
"""

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..parts.heads import mlp
from ..parts.losses import cosine_distance, spread
from ..parts.momentum import Momentum
from ..ranges import Embedding, Share, Width
from ..views import BYOL as VIEWS
from ..views import Batch
from . import Method, Optimisation


class BYOL(Method):
    """The online network predicts the target's projection of the other view; both directions are summed, not averaged.

    The target's batch norm uses the statistics of the batch that it sees, as published.

    Args:
        encoder: any encoder.
        hidden: width of the hidden layers of projector and predictor; the paper's 4,096 is for ImageNet.
        dim: width of the projections; the paper's is 256.
        momentum: of the target at the beginning; it ends at 1 along a cosine. The paper's .996 is for 1,000 epochs,
            its presets for 40 and 100 are .97 and .99; shorter trainings need a faster target.
    """

    views = VIEWS
    optimisation = Optimisation("lars", lr=0.45, warmup=0.1, weight_decay=1e-6)

    def __init__(self, encoder: Encoder, *, hidden: Width = 1024, dim: Embedding = 128, momentum: Share = 0.9):
        super().__init__()
        self.encoder = encoder
        self.projector = mlp(encoder.width, hidden, dim, bias=True)
        self.predictor = mlp(dim, hidden, dim, bias=True)
        self.target = Momentum(nn.Sequential(encoder, self.projector), start=momentum)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = [self.encoder(view) for view in batch.views]
        predictions = [self.predictor(self.projector(feature)) for feature in features]
        targets = [self.target(view) for view in batch.views]

        loss = 2 * (cosine_distance(predictions[0], targets[1]) + cosine_distance(predictions[1], targets[0]))
        return {"loss": loss, "feature_std": spread(torch.cat(features))}
