"""Grids of overlapping patches, a context that reads them row by row, and how well it tells the rows to come.

As in van den Oord et al., "Representation learning with contrastive predictive coding", 2018.
https://arxiv.org/abs/1807.03748
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError
from ..grid import Grid
from ..views import View
from ..views.random import Salt, uniforms
from .heads import check_widths
from .losses import full
from .tiles import LARGEST


class Overlapping:
    """Cuts square patches out of pictures on a grid, each overlapping the next by half.

    Args:
        encoder: what each patch is for, one at a time; it is not kept.
        method: whose name errors carry.
        grid: patches along a side.
        least: the least side of a patch in pixels; of larger pictures, so much that the grid covers them as they are:
            2 / (grid + 1) of their side.
        drop: the probability that a patch shows one of its channels alone, in all of them.
        flip: the probability that a patch is flipped left-right, each by itself.

    Raises:
        InputError: if the encoder takes pictures of one size only, or a setting is out of its range.
    """

    def __init__(self, encoder: Encoder, method: str, grid: int, least: int, drop: float, flip: float = 0.0):
        if not encoder.any_size:
            raise InputError(f"{method} shows patches, and {encoder.model!r} takes one size; choose a resnet or vit_")
        check_widths(method, grid=grid, patch=least)
        if grid < 2 or not (0 <= drop <= 1 and 0 <= flip <= 1):
            given = f"{method}(grid={grid}, drop={drop}, flip={flip})"
            raise InputError(f"{given}: allowed are 2 and more, 0 to 1, 0 to 1; try 7, 0.8 and 0.5")
        self.drop, self.flip = drop, flip
        self.grid = Grid(grid, least)
        self.side = self.grid.side(encoder.size, encoder.multiple)
        self.whole = -(-self.grid.whole(self.side) // encoder.multiple) * encoder.multiple / encoder.size
        if self.whole > LARGEST:
            raise InputError(
                f"{method}(grid={grid}, patch={least}): pictures of {encoder.size} px would be shown at "
                f"{self.whole * encoder.size:.0f} px; allowed is up to {LARGEST * encoder.size}; take fewer "
                "or smaller patches, such as 5 of 16 px"
            )

    def view(self, view: View) -> View:
        """The view in the size that the grid needs."""
        return replace(view, size=self.whole)

    def __call__(self, pictures: Tensor, key: Tensor) -> Tensor:
        """Patches ``[B * grid * grid, C, side, side]``, row by row, of pictures ``[B, C, S, S]`` with keys ``[B]``."""
        # A picture may be larger than the grid, since its side is a multiple of the encoder's patch.
        patches, places = self.grid.cut(pictures, self.side), self.grid.count**2
        draw = uniforms(key, 2 * places, Salt.CHANNEL).unflatten(1, (2, -1))
        channel = (draw[:, 0] * patches.shape[2]).long()[..., None, None, None].expand_as(patches[:, :, :1])
        alone = (draw[:, 1] < self.drop)[..., None, None, None]
        patches = torch.where(alone, patches.gather(2, channel), patches).flatten(0, 1)
        if not self.flip:
            return patches
        mirrored = uniforms(key, places, Salt.MIRROR).flatten() < self.flip
        return torch.where(mirrored[:, None, None, None], patches.flip(3), patches)


class Rows(nn.Module):
    """Reads a grid of vectors from the top: each place knows its own row and those above, and none below.

    Residual blocks of a convolution over three places of the row and of the one above, without batch norm.

    Args:
        width: of the vectors that come in and go out.
        hidden: of the blocks.
        depth: blocks; each sees one row further up.
    """

    def __init__(self, width: int, hidden: int, depth: int):
        super().__init__()
        check_widths("a context of rows", hidden=hidden, depth=depth)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, hidden, 1),
                nn.ReLU(),
                nn.ZeroPad2d((1, 1, 1, 0)),
                nn.Conv2d(hidden, hidden, (2, 3)),
                nn.ReLU(),
                nn.Conv2d(hidden, width, 1),
            )
            for _ in range(depth)
        )

    def forward(self, grid: Tensor) -> Tensor:
        """What each place knows ``[B, width, H, W]``."""
        for block in self.blocks:
            grid = grid + block(grid)
        return grid.relu()


class Future(nn.Module):
    """Predicts each vector from the rows above it, and finds it among those of all places of all pictures of all ranks.

    Args:
        width: of the encoder's vectors.
        dim: in which predictions and vectors are compared, by ``scale`` times their product.
        hidden: of the context's blocks.
        depth: of the context.
        steps: how many rows ahead to predict, each with a matrix of its own, from
        first: so many rows ahead.
        scale: see ``dim``.
    """

    def __init__(
        self, width: int, dim: int, *, hidden: int, depth: int, steps: int, first: int = 1, scale: float = 0.1
    ):
        super().__init__()
        self.rows, self.first, self.scale = Rows(width, hidden, depth), first, scale
        self.target = nn.Linear(width, dim, bias=False)
        self.predict = nn.ModuleList(nn.Linear(width, dim, bias=False) for _ in range(steps - first + 1))

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of all steps, and how often the right one was found, of vectors ``[B, H, W, width]``."""
        context = self.rows(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        targets = full(self.target(grid))
        count, (batch, height, width) = grid[..., 0].numel(), grid.shape[:3]
        every = ranks.gather(targets).flatten(0, 2)
        place = (torch.arange(count, device=grid.device) + ranks.rank() * count).view(batch, height, width)

        losses, right = [], []
        with torch.autocast(grid.device.type, enabled=False):
            for ahead, predict in enumerate(self.predict, start=self.first):
                predicted = predict(full(context[:, :-ahead]))
                logits, own = self.scale * predicted.flatten(0, 2) @ every.T, place[:, ahead:].flatten()
                losses.append(F.cross_entropy(logits, own))
                right.append((logits.detach().argmax(1) == own).to(logits.dtype).mean())
        return torch.stack(losses).mean(), torch.stack(right).mean()
