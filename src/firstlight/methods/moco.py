"""MoCo: find a picture's other view among a queue of past pictures, as a slowly moving copy saw them.

He et al., CVPR 2020. https://arxiv.org/abs/1911.05722 and, for version 2, Chen et al. https://arxiv.org/abs/2003.04297
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..parts.groups import check_groups, in_groups, shuffled
from ..parts.heads import mlp
from ..parts.losses import info_nce, spread
from ..parts.momentum import Momentum
from ..parts.queue import Queue
from ..ranges import Count, Embedding, Share, Temperature
from ..views import MOCO_V1, MOCO_V2, Batch
from . import Method, Optimisation


class MoCo(Method):
    """Batch norm sees the batch in groups, and the keys are dealt to groups of other pictures than the queries.

    Otherwise the statistics that a query shares with its own key would give the answer away; the groups stand for the
    published code's GPUs, so that one process learns what eight do. The copy moves after each step, which is before
    the next step's keys, as published. The numbers, also the optimiser's, are those of the authors' CIFAR-10 notebook;
    the head and the views are version 2's, of which the notebook has neither hidden layer nor blur.

    Differs from the paper: past keys of the same picture, which small sets have in the queue, are no negatives; the
    rate falls along a cosine in version 1 too, where the paper's falls in steps. The notebook's symmetric loss, which
    it leaves off, is the sum of the two directions, ours their mean.

    Args:
        encoder: any encoder.
        version: 2 has a hidden layer in the head, and blur in its views.
        dim: width of queries and keys.
        queue: how many past keys: 65,536 in the paper, 4,096 for CIFAR-10. A multiple of the batch.
        temperature: of the softmax: .07 (version 1) and .2 (version 2) in the papers, .1 for CIFAR-10.
        momentum: of the key network: .999 in the papers, .99 for CIFAR-10.
        groups: into how many parts the batch of all ranks is divided for batch norm.
        symmetric: use each view as query and as key, as the notebook offers.
    """

    views = MOCO_V2
    optimisation = Optimisation("sgd", lr=0.03, warmup=0.0, weight_decay=5e-4, decay_vectors=True)
    synchronised = False

    def __init__(
        self, encoder: Encoder, *, version: Literal[1, 2] = 2, dim: Embedding = 128, queue: Count = 4096,
        temperature: Temperature = 0.1, momentum: Share = 0.99, groups: Count = 8, symmetric: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.views = MOCO_V1 if version == 1 else MOCO_V2
        self.encoder, self.temperature, self.groups, self.symmetric = encoder, temperature, groups, symmetric
        self.head = mlp(encoder.width, encoder.width, dim, version, norm=False, bias=True, last_bias=True)
        self.key = Momentum(nn.Sequential(encoder, self.head), start=momentum, end=momentum)
        self.queue = Queue(queue, dim)

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        a, b = batch.views
        pairs = [(a, b), (b, a)] if self.symmetric else [(a, b)]
        features = [in_groups(self.encoder, query, self.groups) for query, _ in pairs]
        keys = [shuffled(self.key, key, batch.key, self.groups) for _, key in pairs]

        past = self.queue.rows, self.queue.own(batch.index)
        losses = [info_nce(self.head(feature), key, self.temperature, *past) for feature, key in zip(features, keys)]
        for key in keys:
            self.queue.hear(F.normalize(key, dim=1), t, batch.index)
        return {"loss": torch.stack(losses).mean(), "feature_std": spread(torch.cat(features))}

    def check(self, batch: int, parts: int = 1) -> None:
        super().check(batch, parts)
        self.queue.check(batch, "moco")
        check_groups(self.groups, batch // parts, "moco")
