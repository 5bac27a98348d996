"""A queue of past rows that a batch is contrasted with: first in, first out, over all ranks.

He et al., "Momentum contrast", CVPR 2020. https://arxiv.org/abs/1911.05722
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..errors import InputError


class Queue(nn.Module):
    """Holds the newest ``size`` rows, the same on every rank; new ones come in once for each optimiser step.

    An optimiser step may see its batch in several micro-batches: ``hear`` collects from each, ``follow`` lets them in.
    Of each row it knows which picture it came from, if ``hear`` was told: where the training set is not much larger
    than the queue, past keys of a picture are still there when it comes again, and are no negatives to it.

    Args:
        size: how many rows.
        width: of a row.
        empty: begin with zeros (and ``filled`` at 0), not with random unit vectors, as MoCo does.
    """

    rows: Tensor
    index: Tensor
    place: Tensor
    filled: Tensor

    def __init__(self, size: int, width: int, *, empty: bool = False):
        super().__init__()
        start = torch.zeros(size, width) if empty else F.normalize(torch.randn(size, width), dim=1)
        self.register_buffer("rows", start)
        self.register_buffer("index", torch.full((size,), -1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.tensor(0 if empty else size))
        self._heard: list[tuple[Tensor, Tensor]] = []
        self._when = -1.0

    @torch.no_grad()
    def hear(self, rows: Tensor, t: float, index: Tensor | None = None) -> None:
        """Takes in one micro-batch ``[B, width]`` of the step at ``t``; what a skipped step left is dropped.

        Args:
            rows: the new rows.
            t: progress of the training.
            index: int64 ``[B]``, the numbers of the pictures that they came from.
        """
        if t != self._when:
            self._heard, self._when = [], t
        index = torch.full((len(rows),), -1, device=rows.device) if index is None else index
        self._heard.append((rows.detach().to(self.rows.dtype), index))

    @torch.no_grad()
    def follow(self, t: float) -> None:
        """Puts what was heard, of all ranks, in the place of the oldest rows."""
        if not self._heard:
            return
        rows, index = zip(*((ranks.gather(rows), ranks.gather(index)) for rows, index in self._heard))
        new = torch.cat(rows)[-len(self.rows) :]
        at = (self.place + torch.arange(len(new), device=new.device)) % len(self.rows)
        self.rows[at], self.index[at] = new, torch.cat(index)[-len(self.rows) :]
        self.place.copy_((self.place + len(new)) % len(self.rows))
        self.filled.copy_((self.filled + len(new)).clamp(max=len(self.rows)))
        self._heard = []

    def own(self, index: Tensor) -> Tensor:
        """Which rows came from the same picture as each of these, bool ``[B, size]`` for int64 ``[B]``."""
        return self.index == index[:, None]

    @property
    def full(self) -> bool:
        """Whether every row has come in from outside."""
        return int(self.filled) == len(self.rows)

    def check(self, batch: int, method: str) -> None:
        """Refuses a batch of all ranks that does not divide the rows, as the published codes do.

        Raises:
            InputError: naming the nearest queue that works.
        """
        if len(self.rows) % batch:
            nearest = max(round(len(self.rows) / batch), 1) * batch
            raise InputError(
                f"{method}(queue={len(self.rows)}): must be a multiple of the batch ({batch}); nearest: {nearest}"
            )

    def part(self) -> Tensor:
        """This rank's share of the rows, where all ranks together are to count each row once."""
        return self.rows.chunk(ranks.world())[ranks.rank()]
