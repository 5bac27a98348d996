"""What a teacher's logits become before a student learns from them: probabilities that use all prototypes.

Caron et al., "DINO", ICCV 2021. https://arxiv.org/abs/2104.14294 and, for the assignment, Oquab et al., "DINOv2",
TMLR 2024. https://arxiv.org/abs/2304.07193
"""

from typing import Literal

from torch import Tensor, nn

from ..errors import unknown
from .momentum import MovingMean
from .schedules import linear
from .sinkhorn import sinkhorn


class Targets(nn.Module):
    """Centres logits by their running mean and sharpens them, or assigns them evenly to all prototypes.

    Args:
        prototypes: their number.
        temperature: linearly from the first to the second value while ``t`` goes from 0 to ``warm``.
        warm: 0: the second from the beginning.
        centering: "mean", or "sinkhorn" for even assignments within the batch of all ranks.
        momentum: of the mean.
    """

    def __init__(
        self,
        prototypes: int,
        temperature: tuple[float, float],
        warm: float,
        *,
        centering: Literal["mean", "sinkhorn"] = "mean",
        momentum: float = 0.9,
    ):
        super().__init__()
        if centering not in ("mean", "sinkhorn"):
            raise unknown("centering", centering, ("mean", "sinkhorn"))
        self.temperature, self.warm = temperature, warm
        self.center = MovingMean(prototypes, momentum) if centering == "mean" else None

    def forward(self, logits: Tensor, t: float) -> Tensor:
        """Probabilities like ``logits [..., K]``, in at least single precision; the mean then hears the logits."""
        temperature = linear(*self.temperature, t / self.warm if self.warm else 1.0)
        if self.center is None:
            return sinkhorn(logits.flatten(0, -2), temperature).view(logits.shape)
        return (self.center.centred(logits) / temperature).softmax(-1)
