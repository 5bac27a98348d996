"""SimCLR: pull two views of a picture together, push all other pictures away.

Chen et al., ICML 2020. https://arxiv.org/abs/2002.05709
SimCLR v2: Chen et al., NeurIPS 2020. https://arxiv.org/abs/2006.10029
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..parts.heads import projector
from ..parts.losses import nt_xent, spread
from ..ranges import Amount, Embedding, Layers, Temperature, Width
from ..views import PAIR, Batch
from . import Method, Optimisation


class SimCLR(Method):
    """Contrasts the projections of two views of each picture over the batch of all ranks.

    Both views go through the network in one pass, as published, so that batch norm cannot tell them apart. The loss
    is the mean over the 2N rows (the paper's equation). Gradient accumulation contrasts within one micro-batch only.

    Args:
        encoder: any encoder.
        hidden: width of the head's hidden layers; None is the encoder's width, as published.
        dim: width of the projections.
        layers: linear layers of the head: 2 in the paper, 3 in SimCLR v2.
        keep: how many of them, each with its batch norm and ReLU, stay with the encoder as its neck, so that
            fine-tuning starts from the middle of the head: 0 in the first paper, 1 of 3 in SimCLR v2.
        temperature: of the softmax: .1 for ImageNet in the paper, whose views these are; .5 for CIFAR-10, with half as
            much change of colours and no blur.
    """

    views = PAIR
    optimisation = Optimisation("lars", lr=0.3, warmup=0.1, weight_decay=1e-6, momentum=0.9, lars="simclr")

    def __init__(
        self,
        encoder: Encoder,
        *,
        hidden: Width | None = None,
        dim: Embedding = 128,
        layers: Layers = 2,
        keep: Amount = 0,
        temperature: Temperature = 0.1,
    ):
        super().__init__()
        if keep >= layers:
            raise InputError(f"simclr(layers={layers}, keep={keep}): keep is below layers; nearest: {layers - 1}")
        hidden = hidden or encoder.width
        if keep:
            encoder.add_neck(hidden, keep)
        self.encoder = encoder
        self.head = projector(encoder.width, hidden, dim, layers - keep)
        self.temperature = temperature

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = self.encoder(torch.cat(batch.views))
        a, b = self.head(features).chunk(2)

        loss = nt_xent(a, b, self.temperature)
        return {"loss": loss, "feature_std": spread(features)}
