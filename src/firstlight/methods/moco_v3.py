"""MoCo v3: momentum contrast within the batch, made for Vision Transformers.

Chen, Xie & He, ICCV 2021. https://arxiv.org/abs/2104.02057
"""

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..parts.heads import mlp
from ..parts.losses import info_nce, spread
from ..parts.momentum import Momentum
from ..parts.positions import fix
from ..ranges import Embedding, Share, Temperature, Width
from ..views import BYOL, Batch
from . import Method, Optimisation


class MoCoV3(Method):
    """Each view's prediction finds the other view's key among those of the whole batch of all ranks.

    A ViT's patch projection stays as it was initialised and its positions are fixed sines and cosines, as published:
    that is for stability. Convolutional encoders get the published ResNet heads.

    Differs from the paper: a fresh ViT begins with timm's weights, not with Xavier's (``weight_init='moco'`` in the
    model's settings gives those to all but the patch projection); the optimiser and the views are those for a ViT, also
    for a ResNet, which has LARS and crops of .2 of a picture and more in the paper, not of .08.

    Args:
        encoder: any encoder.
        hidden: width of the hidden layers of projector and predictor; the paper's is 4,096.
        dim: width of projections and predictions; the paper's is 256.
        temperature: of the softmax: .2 for a ViT and 1 for a ResNet in the paper.
        momentum: of the key network at the beginning; it ends at 1 along a cosine.
        freeze_patches: keep a ViT's patch projection as it is.
        fresh: the encoder has no weights worth keeping: give it fixed positions. False leaves it as it is.
    """

    views = BYOL
    optimisation = Optimisation(lr=1.5e-4, warmup=0.13, weight_decay=0.1)

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: Width = 1024,
        dim: Embedding = 128,
        temperature: Temperature = 0.2,
        momentum: Share = 0.99,
        freeze_patches: bool = True,
        fresh: bool = True,
    ):
        super().__init__()
        transformer = encoder.patches is not None
        if encoder.patches is not None and fresh:
            fix(encoder, encoder.patches)
        if transformer and freeze_patches:
            encoder.freeze_patches()
        self.encoder, self.temperature = encoder, temperature
        self.projector = mlp(encoder.width, hidden, dim, layers=3 if transformer else 2, last_norm=True)
        self.predictor = mlp(dim, hidden, dim, last_norm=transformer)
        self.key = Momentum(nn.Sequential(encoder, self.projector), start=momentum)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = [self.encoder(view) for view in batch.views]
        a, b = (self.predictor(self.projector(feature)) for feature in features)
        keys = [self.key(view) for view in batch.views]

        loss = info_nce(a, keys[1], self.temperature) + info_nce(b, keys[0], self.temperature)
        return {"loss": 2 * self.temperature * loss, "feature_std": spread(torch.cat(features))}
