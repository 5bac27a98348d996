"""SupCon: pull together all views of all pictures of a class, push away the others.

Khosla et al., NeurIPS 2020. https://arxiv.org/abs/2004.11362
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..parts.heads import mlp
from ..parts.losses import spread, supervised_contrast
from ..ranges import Embedding, Several, Temperature
from ..views import MOCO_V2, Batch
from . import Method, Optimisation


class SupCon(Method):
    """Supervised contrast (L_out) over two views of each picture of the batch of all ranks.

    Differs from the published code: that multiplies the loss by temperature / 0.07; this is the paper's equation.

    Args:
        encoder: any encoder.
        categories: the number of classes; the labels say the rest.
        dim: width of the projections.
        temperature: of the softmax.
    """

    views, least = (replace(MOCO_V2[0], blur=0.0),), 2  # a picture alone has nothing to be pushed away from
    optimisation = Optimisation("sgd", lr=0.125, warmup=0.1, weight_decay=1e-4, decay_vectors=True)

    def __init__(
        self, encoder: Encoder, *, categories: Several = 0, dim: Embedding = 128, temperature: Temperature = 0.1
    ):
        super().__init__()
        self.encoder, self.temperature, self.categories = encoder, temperature, categories
        self.head = mlp(encoder.width, encoder.width, dim, norm=False, bias=True, last_bias=True)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        if (batch.label < 0).any():
            raise InputError("supcon needs a label for every picture, and some have none; leave those out")
        features = self.encoder(torch.cat(batch.views))

        loss = supervised_contrast(self.head(features), batch.label.repeat(len(batch.views)), self.temperature)
        return {"loss": loss, "feature_std": spread(features)}
