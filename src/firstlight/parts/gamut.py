"""The colours of CIE Lab in bins: what a network that colours pictures chooses among, and how rare each colour is.

Zhang et al., "Colorful image colorization", ECCV 2016. https://arxiv.org/abs/1603.08511
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..errors import InputError
from ..events import Events, Note
from ..views.batches import Batches
from ..views.lab import lab_of, lab_to_rgb, rgb_to_lab
from .losses import full

GRID = 10
NEAREST, SIGMA = 5, 5.0
"""bins among which a colour is divided, and the standard deviation of their shares, in the units of a and b"""
CHUNK = 1 << 15
"""colours compared with the bins at a time"""
FAINTEST = 1.0
"""below this a and b are what rounding makes of grey; the eye hardly tells colours twice as far apart"""
LOOKS = 4096
"""pictures among which one that is coloured is looked for"""
MARGIN = 13.5
"""how far outside sRGB a bin's centre may lie. The paper does not give its rule for the 313 bins "in gamut"; any
margin from 13.3 to 13.7 gives so many, and with none there would be 226."""


class Gamut(nn.Module):
    """The 313 bins of the paper and their weights, which make rare colours count as much as common ones.

    Args:
        balance: the share of the even distribution in what the weights are the inverse of (the paper's lambda, .5);
            1 weighs all colours alike.

    Attributes:
        bins: the centres, a and b, ``[Q, 2]``.
        weight: of each bin's colour in the loss, ``[Q]``; 1 until ``look`` has seen the pictures.
    """

    bins: Tensor
    weight: Tensor

    def __init__(self, balance: float = 0.5):
        super().__init__()
        if not 0 < balance <= 1:
            raise InputError(f"balance={balance}: allowed is above 0 to 1; nearest: {1 if balance > 1 else 0.1}")
        self.balance = balance
        self.register_buffer("bins", colours_in_gamut(), persistent=False)
        self.register_buffer("weight", torch.ones(len(self.bins)))

    def __len__(self) -> int:
        return len(self.bins)

    def nearest(self, ab: Tensor) -> Tensor:
        """The numbers of the nearest bins ``[B, H, W]`` of colours ``[B, 2, H, W]``."""
        return self._closest(ab, 1)[1][..., 0]

    def encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Divides each colour among its nearest bins, by a Gaussian of the distance.

        Args:
            ab: ``[B, 2, H, W]``.

        Returns:
            The numbers of the bins, nearest first, and their shares, both ``[B, H, W, 5]``.
        """
        distance, number = self._closest(ab, NEAREST)
        return number, (-distance / (2 * SIGMA**2)).softmax(-1)

    def loss(self, logits: Tensor, ab: Tensor) -> Tensor:
        """The mean cross-entropy of ``logits [B, Q, H, W]`` with divided colours, each with its nearest bin's weight.

        The weights are 1 on average over the training pictures, so the mean is over positions, not over weights.
        """
        number, share = self.encode(ab)
        log_p = full(logits).log_softmax(1).movedim(1, -1)
        error = -(log_p.gather(-1, number) * share).sum(-1)
        return (self.weight[number[..., 0]] * error).mean()

    def decode(self, logits: Tensor, temperature: float = 0.38) -> Tensor:
        """Colours ``[B, 2, H, W]``: the mean of the sharpened distribution, between its mean (1) and its mode (0)."""
        return torch.einsum("bqhw,qc->bchw", (full(logits) / temperature).softmax(1), self.bins.to(full(logits).dtype))

    @torch.no_grad()
    def look(self, batches: Batches, side: int, method: str) -> Events[None]:
        """Counts the colours of all pictures at ``side x side`` positions and sets the weights by them."""
        counts = torch.zeros(len(self), dtype=torch.int64, device=self.bins.device)
        for batch in batches.once():
            lab = lab_of(batch.views[0], batches.mean, batches.std)
            counts += self.nearest(shrunk(lab, side)[:, 1:]).flatten().bincount(minlength=len(self))
        counts = ranks.gather(counts[None]).sum(0)
        self.weight.copy_(weights(counts.double() / counts.sum(), self.bins.double(), self.balance))
        low, high = self.weight.aminmax()
        yield Note(f"{method}: {int((counts > 0).sum())} of {len(self)} colours occur; weights {low:.2g} to {high:.2g}")

    @torch.no_grad()
    def _closest(self, ab: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Squared distances of the nearest bins and their numbers ``[B, H, W, count]``, never in half precision."""
        colours = full(ab).movedim(1, -1)
        bins = self.bins.to(colours.dtype)
        found = []
        for part in colours.flatten(0, -2).split(CHUNK):
            distance = (part[:, None] - bins).square().sum(-1)
            found.append(distance.topk(count, largest=False))
        distance, number = (torch.cat(parts).view(*colours.shape[:-1], count) for parts in zip(*found))
        return distance, number


@torch.no_grad()
def look_for_colours(batches: Batches, method: str) -> Events[None]:
    """Refuses pictures without colours, such as photographs in grey that were stored with three equal channels.

    Raises:
        InputError: if there is no colour in all of them, or in the first thousands.
    """
    seen = 0
    for batch in batches.once():
        ab = lab_of(batch.views[0], batches.mean, batches.std)[:, 1:]
        if ranks.gather(ab.abs().amax().view(1)).max() >= FAINTEST:  # all ranks go the same way
            yield from ()
            return
        seen += batches.batch
        if seen >= LOOKS:
            break
    raise InputError(
        f"{method}: the pictures are all grey, and without colours there is nothing to learn; "
        "choose a method that needs none, such as rotation"
    )


def weights(prior: Tensor, bins: Tensor, balance: float = 0.5) -> Tensor:
    """The paper's class rebalancing: w ~ 1 / ((1 - balance) p + balance / Q), with 1 for the mean of w under p.

    Args:
        prior: how often each bin's colour occurs, ``[Q]``; here p is made of it by smoothing with a Gaussian.
        bins: ``[Q, 2]``.
        balance: the paper's lambda.
    """
    kernel = (-torch.cdist(bins, bins).square() / (2 * SIGMA**2)).exp()
    smooth = (kernel / kernel.sum(0)) @ prior
    found = 1 / ((1 - balance) * smooth + balance / len(prior))
    return found / (smooth * found).sum()


def shrunk(pictures: Tensor, side: int) -> Tensor:
    """The mean over the pixels that fall on each of ``side x side`` positions, ``[B, C, side, side]``."""
    return F.adaptive_avg_pool2d(pictures, side)


def colours_in_gamut() -> Tensor:
    """The centres of all bins that have, at one lightness or another, a colour of sRGB within the margin, ``[Q, 2]``.

    Ordered by a, then b. How far a colour is outside is how far it moves when it is brought into sRGB.
    """
    axis = torch.arange(-140, 141, GRID, dtype=torch.float64)
    ab = torch.cartesian_prod(axis, axis)
    lab = torch.stack([torch.cat([light.expand(len(ab), 1), ab], 1) for light in torch.arange(101.0).double()])
    within = rgb_to_lab(lab_to_rgb(lab.flatten(0, 1))).view_as(lab)
    moved = (within - lab)[..., 1:].norm(dim=-1).amin(0)
    return ab[moved < MARGIN].float()
