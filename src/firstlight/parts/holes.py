"""Crops with holes: some patches are replaced by a learned vector, and what the encoder then makes of their places.

As in Zhou et al., "iBOT", ICLR 2022. https://arxiv.org/abs/2111.07832
"""

import math

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from .masks import crop_masks


class Holes(nn.Module):
    """Holds the vector that stands in for hidden patches, and draws which are hidden.

    Args:
        encoder: what the pictures will pass through; it is not kept.
        method: whose name errors carry.
        chance: the probability that a crop has holes at all.
        share: of its patches, drawn uniformly between these two.
        blocks: holes are rectangles; otherwise single patches, exactly so many.
        smallest: the area from which rectangles are drawn, in patches: no more than a third of the side, squared.

    Raises:
        InputError: if the encoder has no place for holes, naming some that do.
    """

    def __init__(
        self,
        encoder: Encoder,
        method: str,
        *,
        chance: float = 0.5,
        share: tuple[float, float] = (0.1, 0.5),
        blocks: bool = True,
        smallest: int = 1024,
    ):
        super().__init__()
        self.grid = token_grid(encoder, method)
        if not 0 <= chance <= 1 or not 0 <= share[0] <= share[1] <= 1:
            raise InputError(f"{method}: holes in {chance} of the crops, share={share}: allowed is 0 to 1, ascending")
        self.chance, self.share, self.blocks = chance, share, blocks
        self.smallest = min(smallest, (self.grid // 3) ** 2)
        self.vector = nn.Parameter(torch.zeros(1, encoder.entry or 0))  # two dimensions: it decays, as published

    def forward(self, encoder: Encoder, crops: list[Tensor], key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes crops with holes.

        Args:
            encoder: the one given to the constructor.
            crops: tensors ``[B, C, S, S]``, all of one size.
            key: int64 ``[B]``, the samples' keys.

        Returns:
            Pooled features ``[V * B, D]``, the tokens of hidden patches ``[M, D]``, and which those are, bool
            ``[V * B, N]``.
        """
        hidden = crop_masks(key, len(crops), self.grid, self.chance, self.share, self.smallest, self.blocks)
        pooled, tokens = encoder.pooled_and_tokens(torch.cat(crops), hidden, self.vector[0])
        return pooled, tokens[:, encoder.prefix :][hidden], hidden


def token_grid(encoder: Encoder, method: str) -> int:
    """How many tokens an encoder has along a side of a picture, each of which stands for a whole number of patches.

    Raises:
        InputError: if patches cannot be hidden from it, or it makes a single token of them all.
    """
    if encoder.entry is None:
        raise InputError(f"{method} hides patches, and {encoder.model!r} has none; choose a vit_ or swin_")
    grid, patches = math.isqrt(encoder.regions), encoder.size // encoder.multiple
    if grid < 2 or patches % grid:
        raise InputError(
            f"{method}: {encoder.model!r} makes {grid}x{grid} tokens of {patches}x{patches} patches; it "
            "needs 2x2 or more, by which the patches divide: take a smaller patch_size, another size or a vit_"
        )
    return grid
