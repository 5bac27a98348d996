"""Losses of methods; those that compare samples do so across the whole batch of all ranks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ranks


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits ``[B, K]`` with target probabilities ``[B, K]``, never in half precision."""
    return -(targets * _full(logits).log_softmax(1)).sum(1).mean()


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Normalised, temperature-scaled cross-entropy: find a sample's other view among all other rows.

    Chen et al., ICML 2020. https://arxiv.org/abs/2002.05709

    The mean over the 2N rows, as in the paper's equation; the published code sums the two directions, which is twice
    this. Each rank scores its own rows against the rows of all ranks.

    Args:
        a: projections of the first views, ``[B, D]``; they are normalised here.
        b: projections of the second views, ``[B, D]``.
        temperature: the softmax's.
    """
    with torch.autocast(a.device.type, enabled=False):  # similarities / 0.1 need more digits than 16 bits have
        a, b = F.normalize(_full(a), dim=1), F.normalize(_full(b), dim=1)
        every_a, every_b = ranks.gather(a), ranks.gather(b)
        itself = torch.arange(len(a), device=a.device) + ranks.rank() * len(a)
        itself = torch.cat([itself, itself + len(every_a)])

        logits = torch.cat([a, b]) @ torch.cat([every_a, every_b]).T / temperature
        logits = logits.scatter(1, itself[:, None], torch.finfo(logits.dtype).min)
        return F.cross_entropy(logits, (itself + len(every_a)) % logits.shape[1])


def distillation(students: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every student view with every *other* view's target, averaged over the pairs.

    Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294

    Args:
        students: logits ``[V, B, K]``, already divided by the student's temperature.
        targets: probabilities ``[T, B, K]`` of the first ``T`` of those views.

    Returns:
        The mean over ``T * V - T`` pairs and over the batch.
    """
    log_p = _full(students).log_softmax(-1)
    total = log_p.sum(0)  # cross-entropy is linear in log p, so one product a target does for all other views
    terms = [-(target * (total - own)).sum(-1).mean() for target, own in zip(targets, log_p)]
    return torch.stack(terms).sum() / (len(targets) * (len(students) - 1))


def entropy(p: Tensor) -> Tensor:
    """Mean entropy in nats of distributions ``[..., K]``: ``log K`` when uniform, 0 when certain."""
    return torch.special.entr(p).sum(-1).mean()


def spread(features: Tensor) -> Tensor:
    """Standard deviation of each normalised feature over the batch, averaged: 0 when all pictures look the same.

    Healthy features ``[B, D]`` that fill the sphere have ``1 / sqrt(D)``.
    """
    return F.normalize(_full(features.detach()), dim=1).std(0, correction=0).mean()


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
