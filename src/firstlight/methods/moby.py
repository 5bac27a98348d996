"""MoBY: MoCo's queue of keys and BYOL's predictor, made for Swin.

Xie et al., 2021. https://arxiv.org/abs/2105.04553
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..parts.heads import mlp
from ..parts.losses import info_nce, spread
from ..parts.momentum import Momentum
from ..parts.queue import Queue
from ..ranges import Count, Embedding, Share, Temperature, Width
from ..views import BYOL, Batch
from . import Method, Optimisation


class MoBY(Method):
    """Each view's prediction finds the other view's key among past keys of that other view: two queues.

    The key network moves after each step, which is before the next step's keys, as published, and none of its blocks
    are ever dropped; the online network's drop path, .2 in the paper, is the encoder's setting. Differs from the public
    code: past keys of the same picture, which small sets have in the queues, are no negatives.

    Args:
        encoder: any encoder.
        hidden: width of the hidden layers of projector and predictor; the paper's is 4,096.
        dim: width of projections and predictions; the paper's is 256.
        queue: how many past keys each queue has. A multiple of the batch.
        temperature: of the softmax.
        momentum: of the key network at the beginning; it ends at 1 along a cosine.
    """

    views = BYOL
    optimisation = Optimisation(lr=5e-4, warmup=0.017, weight_decay=0.05, clip=5.0)

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: Width = 1024,
        dim: Embedding = 128,
        queue: Count = 4096,
        temperature: Temperature = 0.2,
        momentum: Share = 0.99,
    ):
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        self.projector = mlp(encoder.width, hidden, dim, bias=True, last_bias=True)
        self.predictor = mlp(dim, hidden, dim, bias=True, last_bias=True)
        self.key = Momentum(nn.Sequential(encoder, self.projector), start=momentum)
        self.queue1, self.queue2 = Queue(queue, dim), Queue(queue, dim)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = [self.encoder(view) for view in batch.views]
        a, b = (self.predictor(self.projector(feature)) for feature in features)
        keys = [self.key(view) for view in batch.views]

        own = self.queue1.own(batch.index)
        loss = info_nce(a, keys[1], self.temperature, self.queue2.rows, own)
        loss = loss + info_nce(b, keys[0], self.temperature, self.queue1.rows, own)
        self.queue1.hear(F.normalize(keys[0], dim=1), t, batch.index)
        self.queue2.hear(F.normalize(keys[1], dim=1), t, batch.index)
        return {"loss": loss, "feature_std": spread(torch.cat(features))}

    def check(self, batch: int, parts: int = 1) -> None:
        super().check(batch, parts)
        self.queue1.check(batch, "moby")
