"""Which region of one crop shows what a region of another shows, and a distillation along those pairs.

Li et al., "EsViT", ICLR 2022. https://arxiv.org/abs/2106.09785
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .losses import full


@torch.no_grad()
def matched(features: Tensor, others: Tensor) -> Tensor:
    """The number of the most similar region of another crop, int64 ``[B, N]``.

    Args:
        features: of the regions of one crop, from the encoder, ``[B, N, D]``.
        others: of those of the other crop of the same pictures, ``[B, M, D]``; compared by cosine.
    """
    with torch.autocast(features.device.type, enabled=False):
        return (F.normalize(full(features), dim=-1) @ F.normalize(full(others), dim=-1).mT).argmax(-1)


def region_distillation(
    students: Sequence[Tensor], features: Sequence[Tensor], targets: Tensor, others: Tensor
) -> Tensor:
    """Cross-entropy of each region with the target of its match in every other target crop, averaged over all.

    Args:
        students: logits of each crop's regions, divided by the temperature: ``V`` tensors ``[B, N, K]``, ``N`` of
            each crop's own.
        features: the same regions' features, ``V`` tensors ``[B, N, D]``.
        targets: probabilities of the regions of the first ``T`` crops, ``[T, B, M, K]``.
        others: the same regions' features as the teacher has them, ``[T, B, M, D]``.

    Returns:
        The mean over regions, over the batch and over ``T * V - T`` pairs of crops.
    """
    terms = []
    for view, (student, feature) in enumerate(zip(students, features)):
        log_p = full(student).log_softmax(-1)
        for crop, (target, other) in enumerate(zip(targets, others)):
            if crop != view:
                match = matched(feature, other)[..., None].expand(-1, -1, target.shape[-1])
                terms.append(-(target.gather(1, match) * log_p).sum(-1).mean())
    return torch.stack(terms).mean()
