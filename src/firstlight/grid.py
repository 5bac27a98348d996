"""The grid: overlapping patches of a picture, of which an encoder sees one at a time, each as a picture of its own.

CPC: van den Oord et al., "Representation learning with contrastive predictive coding", 2018.
https://arxiv.org/abs/1807.03748
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .errors import InputError


@dataclass(frozen=True)
class Grid:
    """So many square patches along a side, each overlapping the next by half.

    Raises:
        InputError: for fewer than 2, or patches of no pixels.
    """

    name = "a grid of patches"
    """for people"""
    count: int
    """patches along a side: 7 in the paper"""
    least: int
    """the least side of a patch in pixels; of larger pictures, 2 / (count + 1) of their side, so that the grid covers
    them as they are: 64 of 256 in the paper"""

    def __post_init__(self):
        if type(self.count) is not int or type(self.least) is not int or self.count < 2 or self.least < 1:
            raise InputError(
                f"a grid of {self.count!r} patches along a side, of {self.least!r} px and more: allowed are whole "
                "numbers of 2 and more, and of 1 and more; try 7 and 16"
            )

    def side(self, size: int, multiple: int = 1) -> int:
        """The side of the patches of a picture of side ``size``, a multiple of what the encoder takes."""
        return -(-max(self.least, 2 * size // (self.count + 1)) // multiple) * multiple

    def whole(self, side: int) -> int:
        """The side of what patches of a side cover."""
        return side + (self.count - 1) * max(side // 2, 1)

    def cut(self, pictures: Tensor, side: int) -> Tensor:
        """Patches ``[B, count * count, C, side, side]``, row by row, of pictures ``[B, C, S, S]`` that are no smaller.

        What lies to the right of the grid and below it is left out.
        """
        stride = max(side // 2, 1)
        windows = pictures.unfold(2, side, stride).unfold(3, side, stride)[:, :, : self.count, : self.count]
        return windows.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)

    def over(self, pictures: Tensor, multiple: int = 1) -> Tensor:
        """Patches as ``cut`` gives them, of square pictures of any size: smaller ones than the grid are enlarged to it.

        Raises:
            InputError: if the pictures are not square.
        """
        height, size = pictures.shape[-2:]
        if height != size:
            raise InputError(f"{self.name} is read of square pictures, got {height} x {size}")
        side = self.side(size, multiple)
        whole = self.whole(side)
        if whole > size:
            pictures = F.interpolate(pictures, (whole, whole), mode="bilinear", align_corners=False)
        first = max(size - whole, 0) // 2
        return self.cut(pictures[..., first:, first:], side)

    def unused(self, net: Any) -> list[Any]:
        """What of the network has no part in the features: nothing."""
        return []
