"""A discriminator that is trained in the same step as what it judges: neither touches the other's gradient.

Goodfellow et al., NeurIPS 2014. https://arxiv.org/abs/1406.2661
Its layers: Radford et al., "DCGAN", ICLR 2016. https://arxiv.org/abs/1511.06434
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .heads import check_widths
from .losses import full

LAST = 8
"""below this side no further layer halves the map: one position more of the last layer is cheaper"""


class Adversary(nn.Module):
    """Tells pictures from painted ones.

    Differs from the paper: there is no batch norm, so that each picture is judged by itself, whatever lies beside it.

    Args:
        channels: of the pictures.
        side: of the pictures, in pixels.
        width: channels of the first layer; each next one has twice as many.
    """

    def __init__(self, channels: int, side: int, *, width: int = 32):
        super().__init__()
        check_widths("an adversary", channels=channels, side=side, width=width)
        steps: list[nn.Module] = []
        while side >= LAST:
            steps += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
            channels, width, side = width, 2 * width, side // 2
        self.judge = nn.Sequential(*steps, nn.Conv2d(channels, 1, side), nn.Flatten(0))

    def forward(self, painted: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """What the painter and what the judge is to minimise; add them, each has its own gradient.

        The painter's is that its pictures be taken for real (the non-saturating form, as published), and only what
        painted gets its gradient. The judge's is the sum over real and painted pictures, and only the judge gets it.

        Args:
            painted: ``[B, channels, side, side]``.
            real: the same.
        """
        fixed = {name: value.detach() for name, value in self.judge.named_parameters()}
        fooled = self._error(functional_call(self.judge, fixed, (painted,)), 1.0)
        judged = self._error(self.judge(real.detach()), 1.0) + self._error(self.judge(painted.detach()), 0.0)
        return fooled, judged

    def _error(self, logits: Tensor, truth: float) -> Tensor:
        logits = full(logits)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
