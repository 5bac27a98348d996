"""Learned directions with which unit vectors are compared.

Caron et al., "SwAV", NeurIPS 2020. https://arxiv.org/abs/2006.09882
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import full


class Prototypes(nn.Module):
    """Cosines with unit vectors that are trained, and put back to length 1 after each step, as published.

    Args:
        width: of a vector.
        count: how many.
    """

    def __init__(self, width: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width))
        self.follow(0.0)

    def forward(self, rows: Tensor) -> Tensor:
        """Cosines ``[..., count]`` of unit vectors ``[..., width]``, never in half precision."""
        with torch.autocast(rows.device.type, enabled=False):
            return F.linear(full(rows), self.weight)

    @torch.no_grad()
    def follow(self, t: float) -> None:
        """Scales every prototype to length 1; ``t`` does not matter."""
        self.weight.copy_(F.normalize(self.weight, dim=1))
