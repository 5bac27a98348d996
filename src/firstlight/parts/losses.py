"""Losses of methods; those that compare samples do so across the whole batch of all ranks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ranks
from ..errors import InputError


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits ``[B, K]`` with target probabilities ``[B, K]``, never in half precision."""
    return -(targets * full(logits).log_softmax(1)).sum(1).mean()


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
        a, b = F.normalize(full(a), dim=1), F.normalize(full(b), dim=1)
        every_a, every_b = ranks.gather(a), ranks.gather(b)
        itself = torch.arange(len(a), device=a.device) + ranks.rank() * len(a)
        itself = torch.cat([itself, itself + len(every_a)])

        logits = torch.cat([a, b]) @ torch.cat([every_a, every_b]).T / temperature
        logits = logits.scatter(1, itself[:, None], torch.finfo(logits.dtype).min)
        return F.cross_entropy(logits, (itself + len(every_a)) % logits.shape[1])


def info_nce(
    queries: Tensor, keys: Tensor, temperature: float, negatives: Tensor | None = None, own: Tensor | None = None
) -> Tensor:
    """Finds each query's own key: among the keys of all ranks, or, with ``negatives``, among those.

    van den Oord et al., 2018. https://arxiv.org/abs/1807.03748

    Args:
        queries: ``[B, D]``; normalised here, as all rows are.
        keys: ``[B, D]``, row by row the queries' own.
        temperature: the softmax's.
        negatives: ``[K, D]``; if None, the other keys of the batch, of all ranks.
        own: bool ``[B, K]``, which of them are none to a query, being its own picture's.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = F.normalize(full(queries), dim=1), F.normalize(full(keys), dim=1)
        if negatives is None:
            own = torch.arange(len(queries), device=queries.device) + ranks.rank() * len(queries)
            return F.cross_entropy(queries @ ranks.gather(keys).T / temperature, own)
        positive = (queries * keys).sum(1, keepdim=True)
        others = queries @ full(negatives).T
        if own is not None:
            others = others.masked_fill(own, -torch.inf)
        logits = torch.cat([positive, others], dim=1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """``1 - cos`` of each row of ``a`` with the same row of ``b`` (``[B, D]``), averaged."""
    return (1 - (F.normalize(full(a), dim=-1) * F.normalize(full(b), dim=-1)).sum(-1)).mean()


def cross_correlation(a: Tensor, b: Tensor) -> Tensor:
    """The correlation of every feature of ``a`` with every one of ``b`` over the rows of all ranks, ``[D, D]``.

    Args:
        a: ``[B, D]``, each feature standardised over the rows of all ranks.
        b: the same of the other views.
    """
    with torch.autocast(a.device.type, enabled=False):
        return ranks.total(full(a).T @ full(b)) / (len(a) * ranks.world())


def supervised_contrast(rows: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Supervised contrast with the sum over positives outside the logarithm (L_out): pull together what shares a label.

    Khosla et al., NeurIPS 2020. https://arxiv.org/abs/2004.11362

    Args:
        rows: ``[N, D]``, all views of this rank; normalised here. They are compared with those of all ranks.
        label: int64 ``[N]``.
        temperature: the softmax's. The published code also multiplies the loss by temperature / 0.07.
    """
    with torch.autocast(rows.device.type, enabled=False):
        rows = F.normalize(full(rows), dim=1)
        every, every_label = ranks.gather(rows), ranks.gather(label)
        itself = torch.arange(len(rows), device=rows.device)[:, None] + ranks.rank() * len(rows)
        logits = (rows @ every.T / temperature).scatter(1, itself, torch.finfo(rows.dtype).min)
        alike = (label[:, None] == every_label[None]).scatter(1, itself, False)
        log_p = logits.log_softmax(1)
        return -(torch.where(alike, log_p, 0.0).sum(1) / alike.sum(1).clamp(min=1)).mean()


def distillation(students: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of every student view with every *other* view's target, averaged over the pairs.

    Caron et al., ICCV 2021. https://arxiv.org/abs/2104.14294

    Args:
        students: logits ``[V, B, K]``, already divided by the student's temperature.
        targets: probabilities ``[T, B, K]`` of the first ``T`` of those views.

    Returns:
        The mean over ``T * V - T`` pairs and over the batch.
    """
    log_p = full(students).log_softmax(-1)
    total = log_p.sum(0)  # cross-entropy is linear in log p, so one product a target does for all other views
    terms = [-(target * (total - own)).sum(-1).mean() for target, own in zip(targets, log_p)]
    return torch.stack(terms).sum() / (len(targets) * (len(students) - 1))


def patch_distillation(students: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
    """Cross-entropy of hidden patches with their targets: the mean over a picture's hidden patches, then over pictures.

    Zhou et al., "iBOT", ICLR 2022. https://arxiv.org/abs/2111.07832

    Args:
        students: logits of the hidden patches alone, picture by picture, ``[M, K]``, divided by the temperature.
        targets: probabilities ``[M, K]``.
        hidden: bool ``[B, N]`` with ``M`` times True. A picture where nothing is hidden counts as zero.
    """
    count = hidden.sum(1, keepdim=True).expand_as(hidden)[hidden]
    return -((targets * full(students).log_softmax(-1)).sum(-1) / count).sum() / len(hidden)


def hidden_distance(painted: Tensor, pictures: Tensor, hidden: Tensor) -> Tensor:
    """The mean absolute error of the hidden pixels of all ranks: their sum / (their number + 1e-5) / channels.

    Xie et al., "SimMIM", CVPR 2022. https://arxiv.org/abs/2111.09886

    Args:
        painted: ``[B, C, S, S]``.
        pictures: what was there, likewise.
        hidden: bool ``[B, 1, S, S]``.
    """
    count = ranks.mean(hidden.sum().to(pictures.dtype)) + 1e-5 / ranks.world()
    return ((full(painted) - pictures).abs() * hidden).sum() / count / pictures.shape[1]


def koleo(rows: Tensor) -> Tensor:
    """Spreads rows over the sphere: minus the mean logarithm of the distance to the nearest other row, of all ranks.

    Sablayrolles et al., "Spreading vectors for similarity search", ICLR 2019. https://arxiv.org/abs/1806.03198

    Args:
        rows: ``[B, D]``; normalised here.
    """
    with torch.autocast(rows.device.type, enabled=False):
        rows = F.normalize(full(rows), dim=-1, eps=1e-8)
        every = ranks.gather(rows)
        if len(every) < 2:
            raise InputError("one picture alone has no nearest neighbour; take 2 or more in each part of the batch")
        itself = torch.arange(len(rows), device=rows.device)[:, None] + ranks.rank() * len(rows)
        nearest = (rows @ every.T).detach().scatter(1, itself, -2.0).argmax(1)
        return -(F.pairwise_distance(rows, every[nearest], eps=1e-8) + 1e-8).log().mean()


def entropy(p: Tensor) -> Tensor:
    """Mean entropy in nats of distributions ``[..., K]``: ``log K`` when uniform, 0 when certain."""
    return torch.special.entr(p).sum(-1).mean()


def spread(features: Tensor) -> Tensor:
    """Standard deviation of each normalised feature over the batch, averaged: 0 when all pictures look the same.

    Healthy features ``[B, D]`` that fill the sphere have ``1 / sqrt(D)``.
    """
    return F.normalize(full(features.detach()), dim=1).std(0, correction=0).mean()


def full(x: Tensor) -> Tensor:
    """At least single precision: what is compared or exponentiated needs more digits than 16 bits have."""
    return x if x.dtype == torch.float64 else x.float()
