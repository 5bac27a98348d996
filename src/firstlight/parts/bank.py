"""A memory of every picture of the training set, one unit vector each, and how a picture is told from all others by it.

Wu et al., "Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018.
https://arxiv.org/abs/1805.01978
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..errors import InputError
from ..events import Events, Note
from ..views import Batch
from ..views.batches import Batches
from ..views.random import Salt, uniforms


class Bank(nn.Module):
    """Holds one unit vector for each picture, the same on every rank; those of a batch move once a step.

    Args:
        pictures: how many.
        width: of a vector.
        momentum: the share of the old vector kept when its picture is seen: .5 in the papers, 0 keeps the newest.
        method: whose name errors carry.

    Attributes:
        rows: the vectors, ``[pictures, width]``.
        seen: how many pictures came in, int64, each time counted.
    """

    rows: Tensor
    seen: Tensor

    def __init__(self, pictures: int, width: int, momentum: float = 0.5, method: str = "bank"):
        super().__init__()
        if pictures < 1:
            allowed = "how many there are in the training set, 1 and more"
            raise InputError(f"{method}(pictures={pictures}): allowed is {allowed}; nearest: pictures=1")
        if not 0 <= momentum < 1:
            nearest = 0 if momentum < 0 else 0.99
            raise InputError(f"{method}(momentum={momentum}): allowed is 0 to below 1; nearest: momentum={nearest}")
        self.momentum, self.method = momentum, method
        self.register_buffer("rows", F.normalize(torch.rand(pictures, width) - 0.5, dim=1))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self._heard: list[tuple[Tensor, Tensor]] = []
        self._when = -1.0

    @torch.no_grad()
    def hear(self, index: Tensor, rows: Tensor, t: float) -> None:
        """Takes in the unit vectors ``[B, width]`` of the pictures ``index``, int64 ``[B]``, of the step at ``t``."""
        if t != self._when:
            self._heard, self._when = [], t
        self._heard.append((index, rows.detach().to(self.rows.dtype)))

    @torch.no_grad()
    def fill(self, rows_of: Callable[[Batch], Tensor], batches: Batches) -> Events[None]:
        """Looks at every picture once, so that training does not begin against random vectors.

        With those, the right answer is for an epoch the *least* similar vector: all pictures that were seen already
        share the direction that the network gives everything in the beginning. It cost a short training four epochs.

        Args:
            rows_of: gives the unit vectors ``[B, width]`` of a batch.
            batches: all pictures.

        Raises:
            InputError: if there are more or fewer pictures than vectors.
        """
        if len(self.rows) != (there := len(batches.pictures)):
            given = f"{self.method}(pictures={len(self.rows)})"
            raise InputError(f"{given}: the training set has {there}; nearest: pictures={there}")
        for batch in batches.once():
            index, rows = ranks.gather(batch.index), ranks.gather(rows_of(batch).to(self.rows.dtype))
            last = _last(index)
            self.rows[index[last]] = rows[last]
        yield Note(f"{self.method}: {len(self.rows):,} pictures remembered")

    @torch.no_grad()
    def follow(self, t: float) -> None:
        """Moves the vectors heard of since the last time, of all ranks, and scales them to length 1."""
        if not self._heard:
            return
        index, rows = (ranks.gather(torch.cat(parts)) for parts in zip(*self._heard))
        self.seen += len(index)
        last = _last(index)  # where two epochs meet, a step may hold a picture twice
        index, rows = index[last], rows[last]
        self.rows[index] = F.normalize(torch.lerp(rows, self.rows[index], self.momentum), dim=1)
        self._heard = []


class Discrimination(nn.Module):
    """The loss of finding each picture's own vector in a bank: the picture is a class of its own.

    The softmax runs over the whole bank; or, with ``negatives``, it is noise-contrastive estimation against so many
    vectors of the bank, drawn anew for each sample, evenly over all pictures. The normaliser of the probabilities is
    then estimated from the first batch and kept, as published.

    Args:
        temperature: of the softmax.
        negatives: how many; 0 for the full softmax.
    """

    normaliser: Tensor

    def __init__(self, temperature: float, negatives: int = 0):
        super().__init__()
        if not temperature > 0 or negatives < 0:
            raise InputError(f"temperature={temperature}, negatives={negatives}: allowed are above 0, 0 and more")
        self.temperature, self.negatives = temperature, negatives
        self.register_buffer("normaliser", torch.zeros(()))

    def forward(self, rows: Tensor, bank: Bank, index: Tensor, key: Tensor) -> Tensor:
        """The mean loss of unit vectors ``[B, width]`` of the pictures ``index``, with the samples' keys."""
        with torch.autocast(rows.device.type, enabled=False):
            if not self.negatives:
                return F.cross_entropy(rows @ bank.rows.T / self.temperature, index)
            pictures = len(bank.rows)
            drawn = (uniforms(key, self.negatives, Salt.NEGATIVES).double() * pictures).long()
            chosen = bank.rows[torch.cat([index[:, None], drawn], dim=1)]
            weight = ((chosen * rows[:, None]).sum(2) / self.temperature).exp()
            if not self.normaliser:
                self.normaliser.copy_(ranks.mean(weight.detach().mean()) * pictures)
            return noise_contrast(weight / self.normaliser, self.negatives / pictures)


def noise_contrast(p: Tensor, noise: float) -> Tensor:
    """Noise-contrastive estimation: tell one sample of the data from others of the noise, by their probabilities.

    Gutmann & Hyvärinen, AISTATS 2010. https://proceedings.mlr.press/v9/gutmann10a.html

    Args:
        p: the model's probabilities ``[B, 1 + M]`` of the sample from the data and of ``M`` from the noise.
        noise: ``M`` times the probability of a sample under the noise.
    """
    data, others = p[:, 0] / (p[:, 0] + noise), noise / (p[:, 1:] + noise)
    return -(data.log() + others.log().sum(1)).mean()


def _last(index: Tensor) -> Tensor:
    """Where each number of ``index`` stands for the last time."""
    _, group = index.unique(return_inverse=True)
    place = torch.arange(len(index), device=index.device)
    return place.new_zeros(int(group.max()) + 1).scatter_reduce(0, group, place, "amax", include_self=False)
