"""SwAV: predict from one crop the prototypes to which another crop of the picture was assigned.

Caron et al., NeurIPS 2020. https://arxiv.org/abs/2006.09882
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..parts.crops import by_size, crops
from ..parts.heads import mlp
from ..parts.losses import distillation, entropy, full, spread
from ..parts.prototypes import Prototypes
from ..parts.queue import Queue
from ..parts.sinkhorn import sinkhorn
from ..ranges import Amount, Embedding, Few, Several, Share, Temperature, Width
from ..views import SWAV, Batch
from . import Method, Optimisation


class SwAV(Method):
    """The two large crops are assigned to prototypes so that all are used alike; every other crop predicts that.

    Args:
        encoder: any encoder that accepts the sizes of all crops.
        small: how many small crops; None for the published 6, or none where they would measure under 24 pixels.
        hidden: width of the projector's hidden layer.
        dim: width of the embeddings.
        prototypes: their number: 3,000 in the paper; about ten for each expected class on small sets.
        temperature: of the prediction's softmax.
        epsilon: strength of the assignment's smoothing: .05 in the paper, with which small sets may end up uniform.
        queue: how many past embeddings join the assignment of small batches, a multiple of the batch; 0: none.
        queue_from: the fraction of the training after which they do.
        freeze: the fraction of the training during which the prototypes rest.
    """

    views = SWAV
    optimisation = Optimisation("lars", lr=0.3, lr_end=0.001, warmup=0.1, weight_decay=1e-6, lars="swav")

    def __init__(
        self, encoder: Encoder, *, hidden: Width = 1024, dim: Embedding = 128, prototypes: Several = 100,
        temperature: Temperature = 0.1, epsilon: Temperature = 0.03, queue: Amount = 0, queue_from: Share = 0.1,
        freeze: Share = 0.02, small: Few | None = None,
    ):  # fmt: skip
        super().__init__()
        self.views = crops(SWAV, small, encoder, "swav")
        self.encoder, self.temperature, self.epsilon, self.freeze = encoder, temperature, epsilon, freeze
        self.projector = mlp(encoder.width, hidden, dim, bias=True, last_bias=True)
        self.prototypes = Prototypes(dim, prototypes)
        self.queue = Queue(queue, 2 * dim, empty=True) if queue else None  # a row holds both large crops
        self.queue_from = queue_from

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        features = by_size(self.encoder, batch.views)
        rows = F.normalize(full(self.projector(features)), dim=1).unflatten(0, (len(batch.views), -1))
        scores = self.prototypes(rows)

        targets = torch.stack([self._assigned(scores[crop].detach(), crop, t) for crop in range(2)])
        if self.queue:
            self.queue.hear(rows[:2].transpose(0, 1).flatten(1), t)

        loss = distillation(scores / self.temperature, targets)
        return {"loss": loss, "entropy": entropy(targets), "feature_std": spread(features[: 2 * len(batch)])}

    def _assigned(self, scores: Tensor, crop: int, t: float) -> Tensor:
        """Assignments of one large crop, with the queue's past embeddings once it is full, ``[B, prototypes]``."""
        if self.queue and t >= self.queue_from and self.queue.full:
            past = self.prototypes(self.queue.part().unflatten(1, (2, -1))[:, crop]).detach()
            return sinkhorn(torch.cat([scores, past]), self.epsilon)[: len(scores)]
        return sinkhorn(scores, self.epsilon)

    def check(self, batch: int, parts: int = 1) -> None:
        super().check(batch, parts)
        if self.queue:
            self.queue.check(batch, "swav")

    def before_step(self, t: float) -> None:
        if t < self.freeze:
            self.prototypes.weight.grad = None
