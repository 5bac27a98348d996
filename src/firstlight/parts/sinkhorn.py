"""Soft assignments of a batch to prototypes that use all prototypes alike.

Cuturi, NeurIPS 2013. https://arxiv.org/abs/1306.0895 as in SwAV, Caron et al., NeurIPS 2020.
https://arxiv.org/abs/2006.09882
"""

import torch
import torch.distributed as dist
from torch import Tensor

from .. import ranks


@torch.no_grad()
def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Probabilities whose columns have about equal sums over the rows of all ranks; each row sums to 1 exactly.

    Args:
        scores: similarities to the prototypes ``[B, K]``; never taken in half precision.
        temperature: the regularisation's strength, such as .05.
        iterations: rounds of scaling columns and then rows.

    Returns:
        ``[B, K]``, float32 (or float64 where that comes in).
    """
    log = (scores if scores.dtype == torch.float64 else scores.float()) / temperature
    for _ in range(iterations):  # in logarithms, because a prototype far from all rows would have a sum of 0
        log = log - _total(log)
        log = log.log_softmax(1)
    return log.exp()


def _total(log: Tensor) -> Tensor:
    """The logarithm of each column's sum of ``exp(log)`` over the rows of all ranks, ``[K]``."""
    none = log.new_full((1, log.shape[1]), -torch.inf)  # a rank may have no rows
    largest = torch.cat([log, none]).amax(0)
    if ranks.world() > 1:
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    return ranks.total((log - largest).exp().sum(0)).log() + largest
