"""SimSiam: predict the other view's projection, through which no gradient flows.

Chen & He, CVPR 2021. https://arxiv.org/abs/2011.10566
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..parts.heads import mlp
from ..parts.losses import cosine_distance, spread
from ..ranges import Embedding, Layers, Width
from ..views import MOCO_V2, Batch
from . import Method, Optimisation


class SimSiam(Method):
    """Two views, one network, a predictor and a stop-gradient. The predictor's learning rate stays constant.

    The loss is reported as 1 - cosine, which is the paper's -cosine plus 1.

    Args:
        encoder: any encoder.
        hidden: width of the projector's hidden layers and of its output; None is the encoder's width. The paper's
            2,048 is ResNet-50's.
        layers: linear layers of the projector: 3 in the paper, 2 for CIFAR-10.
        bottleneck: width of the predictor's hidden layer; None is a quarter of the projections', as published.
    """

    views = MOCO_V2
    optimisation = Optimisation(
        "sgd", lr=0.05, warmup=0.0, weight_decay=1e-4, decay_vectors=True, constant=("predictor",)
    )

    def __init__(
        self, encoder: Encoder, *, hidden: Embedding | None = None, layers: Layers = 2, bottleneck: Width | None = None
    ):
        super().__init__()
        dim = hidden or encoder.width
        self.encoder = encoder
        self.projector = mlp(encoder.width, dim, dim, layers, last_norm=True)
        self.predictor = mlp(dim, bottleneck or max(dim // 4, 1), dim, last_bias=True)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = [self.encoder(view) for view in batch.views]
        projections = [self.projector(feature) for feature in features]
        a, b = (self.predictor(projection) for projection in projections)

        loss = (cosine_distance(a, projections[1].detach()) + cosine_distance(b, projections[0].detach())) / 2
        return {"loss": loss, "feature_std": spread(torch.cat(features))}
