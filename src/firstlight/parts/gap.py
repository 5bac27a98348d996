"""A square hole in each picture, filled with one colour, and what belongs there and around it.

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
    """Hides a square of each picture, and cuts out the window around it that is to be painted.

    Args:
        encoder: whose pictures are cut; it is not kept.
        hole: the hidden square's side, as a share of the picture's.
        overlap: how far the window reaches beyond the hole on every side, as a share of the picture's side; where the
            picture ends, the window does.
        random: each picture's hole is anywhere, in place of in the middle.

    Attributes:
        hidden: the hole's side, in pixels of a picture of the encoder's size.
        border: how far the window reaches beyond it, in pixels.
        side: of the window, in pixels: as large as the picture, if border and hole are.

    Raises:
        InputError: if nothing would be hidden, or everything.
    """

    def __init__(self, encoder: Encoder, hole: float, overlap: float, random: bool):
        super().__init__()
        self.hidden, self.border = round(hole * encoder.size), round(overlap * encoder.size)
        self.side, self.random = min(self.hidden + 2 * self.border, encoder.size), random
        if not 0 < self.hidden < encoder.size:
            raise InputError(
                f"inpaint(hole={hole}): of {encoder.size} px, {self.hidden} px would be hidden; "
                f"allowed is 1 to {encoder.size - 1} px; try 0.5"
            )
        self.register_buffer("colour", torch.zeros(encoder.channels))

    @torch.no_grad()
    def look(self, batches: Batches) -> None:
        """Takes the mean colour of the pictures as what fills the hole; until then it is the views' zero."""
        passes = max(1, LOOKS // (batches.part_size * ranks.world()))
        means = [batch.views[0].mean((0, 2, 3)) for batch in islice(batches.once(), passes)]
        self.colour.copy_(ranks.mean(torch.stack(means).mean(0)))

    def forward(self, pictures: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pictures with holes; their windows ``[B, C, side, side]``; where those were hidden, bool, of one channel.

        Args:
            pictures: ``[B, C, S, S]``.
            key: int64 ``[B]``, the samples' keys.
        """
        corners = self.corners(pictures, key)
        hole, (top, left) = self._hole(pictures, corners), self._window(pictures, corners)
        every = torch.arange(len(key), device=key.device)
        opened = torch.where(hole, self.colour.to(pictures.dtype).view(1, -1, 1, 1), pictures)
        cut = lambda maps: maps.unfold(2, self.side, 1).unfold(3, self.side, 1)[every, :, top, left]  # noqa: E731
        return opened, cut(pictures), cut(hole)

    def corners(self, pictures: Tensor, key: Tensor) -> Tensor:
        """Top and left of each picture's hole, int64 ``[2, B]``."""
        room = pictures.shape[-1] - self.hidden
        if not self.random:
            return torch.full((2, len(key)), room // 2, device=key.device)
        return (uniforms(key, 2, Salt.HOLE) * (room + 1)).long().T

    def filled(self, pictures: Tensor, windows: Tensor, key: Tensor) -> Tensor:
        """The pictures with what was hidden taken from other windows; what was seen stays."""
        corners = self.corners(pictures, key)
        place = torch.arange(pictures.shape[-1], device=key.device)
        rows, columns = ((place - start[:, None]).clamp(0, self.side - 1) for start in self._window(pictures, corners))
        every = torch.arange(len(key), device=key.device)[:, None, None]
        spread = windows[every, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
        return torch.where(self._hole(pictures, corners), spread, pictures)

    def _hole(self, pictures: Tensor, corners: Tensor) -> Tensor:
        """Which pixels are hidden, bool ``[B, 1, S, S]``."""
        place = torch.arange(pictures.shape[-1], device=corners.device)
        rows, columns = ((place >= start[:, None]) & (place < start[:, None] + self.hidden) for start in corners)
        return (rows[:, :, None] & columns[:, None, :])[:, None]

    def _window(self, pictures: Tensor, corners: Tensor) -> Tensor:
        """Top and left of each picture's window, int64 ``[2, B]``."""
        return (corners - self.border).clamp(0, pictures.shape[-1] - self.side)
