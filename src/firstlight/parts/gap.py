"""A square hole in each picture, filled with one colour, and what belongs there.

As in Pathak et al., "Context encoders", CVPR 2016. https://arxiv.org/abs/1604.07379
"""

from itertools import islice

import torch
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError
from ..views.batches import Batches
from ..views.random import Salt, uniforms

LOOKS = 4096
"""pictures from which the mean colour is taken"""


class Gap(nn.Module):
    """Cuts windows out of pictures; all but a border of the window is hidden from who is shown the rest.

    Args:
        encoder: whose pictures are cut; it is not kept.
        share: the window's side, as a share of the picture's.
        overlap: the width of the border, as a share of the picture's side.
        random: each picture's window is anywhere, in place of in the middle.

    Attributes:
        side: of the window, in pixels of a picture of the encoder's size.
        border: in pixels.

    Raises:
        InputError: if nothing would be hidden, or everything.
    """

    def __init__(self, encoder: Encoder, share: float, overlap: float, random: bool):
        super().__init__()
        self.side, self.border = round(share * encoder.size), round(overlap * encoder.size)
        self.random = random
        if not 0 <= 2 * self.border < self.side < encoder.size:
            raise InputError(
                f"inpaint(hole={share}, overlap={overlap}): at {encoder.size} px, a window of {self.side} px with "
                f"borders of {self.border} px; allowed is less than the picture and more than two borders; "
                "try 0.5 and 0.03"
            )
        self.register_buffer("colour", torch.zeros(encoder.channels))

    @torch.no_grad()
    def look(self, batches: Batches) -> None:
        """Takes the mean colour of the pictures as what fills the hole; until then it is the views' zero."""
        passes = max(1, LOOKS // (batches.part_size * ranks.world()))
        means = [batch.views[0].mean((0, 2, 3)) for batch in islice(batches.once(), passes)]
        self.colour.copy_(ranks.mean(torch.stack(means).mean(0)))

    def corners(self, pictures: Tensor, key: Tensor) -> Tensor:
        """Top and left of each picture's window, int64 ``[2, B]``."""
        room = pictures.shape[-1] - self.side
        if not self.random:
            return torch.full((2, len(key)), room // 2, device=key.device)
        return (uniforms(key, 2, Salt.HOLE) * (room + 1)).long().T

    def forward(self, pictures: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """The pictures with holes, and the windows ``[B, C, side, side]``.

        Args:
            pictures: ``[B, C, S, S]``.
            key: int64 ``[B]``, the samples' keys.
        """
        top, left = self.corners(pictures, key)
        every = torch.arange(len(key), device=key.device)
        windows = pictures.unfold(2, self.side, 1).unfold(3, self.side, 1)[every, :, top, left]
        hidden = self._square(pictures, top, left, self.border)
        return torch.where(hidden, self.colour.to(pictures.dtype).view(1, -1, 1, 1), pictures), windows

    def filled(self, pictures: Tensor, windows: Tensor, key: Tensor) -> Tensor:
        """The pictures with what was hidden taken from other windows; what was seen stays."""
        top, left = self.corners(pictures, key)
        place = torch.arange(pictures.shape[-1], device=key.device)
        rows, columns = ((place - start[:, None]).clamp(0, self.side - 1) for start in (top, left))
        every = torch.arange(len(key), device=key.device)[:, None, None]
        spread = windows[every, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
        return torch.where(self._square(pictures, top, left, self.border), spread, pictures)

    def _square(self, pictures: Tensor, top: Tensor, left: Tensor, border: int) -> Tensor:
        """Which pixels are inside the windows, but for a border, bool ``[B, 1, S, S]``."""
        place = torch.arange(pictures.shape[-1], device=top.device)
        rows, columns = (
            (place >= start[:, None] + border) & (place < start[:, None] + self.side - border) for start in (top, left)
        )
        return (rows[:, :, None] & columns[:, None, :])[:, None]
