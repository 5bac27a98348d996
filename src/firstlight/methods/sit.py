"""SiT: repair corrupted views of a picture, and find each in what a teacher makes of the other one, undamaged.

Atito, Awais & Kittler, 2021. https://arxiv.org/abs/2104.03602
"""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..parts.corruption import Corruption
from ..parts.heads import Repair
from ..parts.losses import hidden_distance, info_nce, spread
from ..parts.momentum import Momentum
from ..ranges import Embedding, Share, Temperature, Weight, Width
from ..views import BYOL, Batch
from . import Method, Optimisation


class SiT(Method):
    """Groups of patches are dropped from both views and others replaced by those of another picture of the batch.

    Follows the released code; the paper's first version also told rotations. Any encoder with tokens on a grid of 4 by
    4 or more will do: pixels are corrupted, not embeddings. The paper's drop path of .1 is the encoder's setting.
    Differs from the published code: linear layers before a batch norm have no bias, groups reach every patch, and the
    replaced share is drawn from 0.

    Args:
        encoder: a ViT, or another with such tokens.
        hidden: width of the class head's two hidden layers; 4,096 in the paper.
        dim: width of what is contrasted; 256 in the paper.
        temperature: of the softmax.
        momentum: of the teacher at the beginning; it ends at 1 along a cosine. The paper's is .996.
        drop: the largest share of the patches that is dropped; at least half of them are, where it is more than that.
        noise: the share of the views whose dropped patches become noise and not zeros.
        swapped: the largest share of the patches that is replaced.
        weight: of the reconstruction; 1 for ImageNet and 5 for small sets in the paper.
    """

    views = tuple(replace(view, scale=(0.2, 1.0)) for view in BYOL)
    optimisation = Optimisation(lr=5e-4, lr_end=0.002, warmup=0.1, weight_decay=(0.04, 0.1), clip=3.0, clip_each=True)

    def __init__(
        self, encoder: Encoder, *, hidden: Width = 1024, dim: Embedding = 128, temperature: Temperature = 0.2,
        momentum: Share = 0.99, drop: Share = 0.5, noise: Share = 0.0, swapped: Share = 0.3, weight: Weight = 5.0,
    ):  # fmt: skip
        super().__init__()
        self.corrupt = Corruption(encoder, "sit", drop=drop, noise=noise, swapped=swapped)
        self.painter = Repair(encoder.token_width, encoder.channels, self.corrupt.patch)
        self.encoder, self.temperature, self.weight = encoder, temperature, weight
        widths = (encoder.width, hidden, hidden, dim)
        first, second, last = (nn.Linear(*pair, bias=False) for pair in pairwise(widths))
        for layer in (first, second, last):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        middle = [first, nn.BatchNorm1d(hidden), nn.ReLU(), second, nn.BatchNorm1d(hidden), nn.GELU()]
        self.head = nn.Sequential(*middle, last, nn.BatchNorm1d(dim, affine=False))
        self.teacher = Momentum(nn.Sequential(encoder, self.head), start=momentum)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        seen, hidden = self.corrupt(batch.views, batch.key)
        features, tokens = self.encoder.pooled_and_tokens(seen)
        a, b = self.head(features).chunk(2)
        painted, clean = self.painter(tokens[:, self.encoder.prefix :]), torch.cat(batch.views)
        keys = self.teacher(clean).chunk(2)

        contrast = info_nce(a, keys[1], self.temperature) + info_nce(b, keys[0], self.temperature)
        repair = hidden_distance(painted, clean, hidden)
        loss = 2 * self.temperature * contrast + self.weight * repair
        return {"loss": loss, "repair": repair.detach(), "feature_std": spread(features)}

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        seen, _ = self.corrupt(batch.views[:1], batch.key)
        painted = self.painter(self.encoder.tokens(seen)[:, self.encoder.prefix :])
        return {"picture": batch.views[0], "masked": seen, "predicted": painted}
