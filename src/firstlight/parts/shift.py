"""Two views of one crop of a picture, shifted by a few pixels against each other, only the second in other colours.

Huang et al., "CMAE", TPAMI 2023. https://arxiv.org/abs/2207.13532
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..views import View
from ..views.random import Salt, uniforms

_PLAIN = View(size=8 / 7, bicubic=True)
SHIFTED = (_PLAIN, replace(_PLAIN, like=0, jitter=(0.4, 0.4, 0.4, 0.1), gray=0.2, blur=0.5))
"""the crop that both squares are cut from, 256 pixels for squares of 224, plain and in other colours"""


class Shift:
    """Cuts squares of the encoder's size out of a larger crop; a pair is less than ``pixels`` apart along both axes.

    Args:
        encoder: what will see them.
        method: whose name errors carry.
        share: of the squares' side.

    Attributes:
        views: ``SHIFTED``, at least one patch larger than the squares.
        pixels: the share in pixels; 32 of 224 in the paper.

    Raises:
        InputError: for a share below 0 or above 1.
    """

    def __init__(self, encoder: Encoder, method: str, share: float):
        if not 0 <= share <= 1:
            raise InputError(f"{method}(shift={share}): allowed is 0 to 1, a share of the side; try 1/7")
        self.side, self.pixels = encoder.size, round(share * encoder.size)
        size = 1 + max(share, encoder.multiple / encoder.size)
        self.views = tuple(replace(view, size=size) for view in SHIFTED)

    def __call__(self, pictures: Tensor, key: Tensor, number: int) -> Tensor:
        """Cuts a square out of each picture, its corner drawn evenly among the first pixels along both axes.

        Args:
            pictures: ``[B, C, S, S]``, S no less than the squares' side.
            key: int64 ``[B]``, the samples' keys.
            number: which of the picture's squares this is.

        Returns:
            ``[B, C, side, side]``.
        """
        room = min(self.pixels, pictures.shape[-1] - self.side)
        top, left = (uniforms(key, 2, Salt.WINDOW, number).double() * room).long().unbind(1)
        windows = pictures.unfold(2, self.side, 1).unfold(3, self.side, 1)  # a view: copied only where chosen
        return windows[torch.arange(len(key), device=key.device), :, top, left]
