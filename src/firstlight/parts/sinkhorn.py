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
    scores = scores if scores.dtype == torch.float64 else scores.float()
    none = scores.new_tensor([-torch.inf])  # a rank may have no rows
    largest = torch.cat([scores.flatten(), none]).max()  # a common factor cancels out, and without it exp overflows
    if ranks.world() > 1:
        dist.all_reduce(largest, dist.ReduceOp.MAX)
    mass = ((scores - largest) / temperature).exp()
    for _ in range(iterations):
        mass /= ranks.total(mass.sum(0))
        mass /= mass.sum(1, keepdim=True)
    return mass
