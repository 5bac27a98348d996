"""What moves slowly, once for each optimiser step: a copy of a module, the running mean of an output.

Tarvainen & Valpola, NeurIPS 2017. https://arxiv.org/abs/1703.01780
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import ranks
from ..errors import InputError
from .schedules import cosine


class Momentum(nn.Module):
    """Holds ``copy``, whose parameters are an exponential moving average of those of ``module``.

    Only parameters follow. In training, batch norm layers of the copy use the statistics of the batch they see and
    keep their own running averages, as in the published code of MoCo, BYOL and DINO; dropout and drop path are off.
    ``module`` itself is not registered, so that its parameters are counted, saved and moved once.

    Args:
        module: what to follow; it must own the very parameters that are trained.
        start: the share of the old value kept at each step at the beginning, such as 0.996.
        end: the same at the end, reached along a cosine.
    """

    def __init__(self, module: nn.Module, start: float = 0.996, end: float = 1.0):
        super().__init__()
        if not 0 <= start <= 1:
            raise InputError(f"momentum={start}: allowed is 0 to 1")
        self.copy = copy.deepcopy(module).requires_grad_(False)
        self.start, self.end = start, end
        self._source = [module]  # a list hides it from registration
        self.train(module.training)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What the copy makes of ``inputs``, without gradient."""
        return self.copy(*inputs)

    @torch.no_grad()
    def follow(self, t: float) -> None:
        """Moves the copy once: ``copy <- m copy + (1 - m) module`` with ``m`` between ``start`` and ``end``."""
        mine, theirs = ([p.detach() for p in module.parameters()] for module in (self.copy, self._source[0]))
        torch._foreach_lerp_(mine, theirs, 1 - cosine(self.start, self.end, t))

    def train(self, mode: bool = True) -> "Momentum":
        super().train(mode)
        for module in self.copy.modules():
            module.training = mode and isinstance(module, _BatchNorm)
        return self


class MovingMean(nn.Module):
    """The exponential moving average of the mean row of some output, over the batches of all ranks.

    An optimiser step may see its batch in several micro-batches: ``hear`` collects from each, ``follow`` moves the
    average once. Nothing is left to save between two steps but ``value``, a buffer ``[width]`` that begins at zero.

    Args:
        width: of the rows.
        momentum: the share of the old value kept at each step.
    """

    value: Tensor
    heard: Tensor
    count: Tensor

    def __init__(self, width: int, momentum: float = 0.9):
        super().__init__()
        if width < 1 or not 0 <= momentum <= 1:
            raise InputError(f"a mean of width={width} with momentum={momentum}: allowed are 1 and more, 0 to 1")
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(width))
        self.register_buffer("heard", torch.zeros(width), persistent=False)
        self.register_buffer("count", torch.zeros(()), persistent=False)

    @torch.no_grad()
    def centred(self, rows: Tensor) -> Tensor:
        """Rows ``[..., width]`` less the average as it is before them, which then hears them."""
        self.hear(rows.flatten(0, -2))
        return rows.to(self.value.dtype) - self.value

    @torch.no_grad()
    def hear(self, rows: Tensor) -> None:
        """Takes in one micro-batch, ``[B, width]``; there may be any number of rows, none included."""
        self.heard += rows.sum(0, dtype=self.heard.dtype)
        self.count += len(rows)

    @torch.no_grad()
    def follow(self, t: float) -> None:
        """Moves ``value`` towards the mean of all rows heard since the last time; ``t`` does not matter."""
        heard, count = ranks.mean(self.heard), ranks.mean(self.count)
        moved = (1 - self.momentum) * (heard / count.clamp(min=1 / ranks.world()) - self.value)
        self.value.add_(torch.where(count > 0, moved, 0.0))
        self.heard.zero_()
        self.count.zero_()
