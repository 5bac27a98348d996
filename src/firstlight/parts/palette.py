"""A palette of colours found on the training pictures, and pictures painted with it, one colour for each patch.

As in Chen et al., "Generative pretraining from pixels", ICML 2020. https://proceedings.mlr.press/v119/chen20s.html
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError
from ..views.batches import Batches
from ..views.random import Salt, uniforms
from .kmeans import kmeans, nearest
from .losses import full

ROWS = 1 << 17
"""colours from which the palette is found, about"""


class Palette(nn.Module):
    """Holds colours, and says which of them each patch of a picture has; a patch's colour is its pixels' mean.

    Args:
        encoder: a Vision Transformer; its patches are coloured, and pictures are normalised as it wants them. It is
            not kept.
        colours: how many.

    Attributes:
        rows: the colours in 0..1, ``[colours, channels]``; random until `find` has looked at the pictures.
    """

    rows: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, colours: int):
        super().__init__()
        if colours < 2:
            raise InputError(f"a palette of colours={colours}: allowed are 2 and more; the paper has 512")
        self.patch = encoder.patch or 1
        self.register_buffer("rows", uniforms(torch.arange(colours), encoder.channels, Salt.PALETTE))
        for name in ("mean", "std"):
            value = torch.tensor(getattr(encoder, name)).float().expand(encoder.channels).clone()
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def codes(self, pictures: Tensor) -> Tensor:
        """The nearest colour of every patch, row by row, int64 ``[B, N]``, of normalised pictures ``[B, C, S, S]``."""
        colours = self._colours(pictures)
        with torch.autocast(pictures.device.type, enabled=False):
            return nearest(colours.flatten(0, 1), self.rows).view(colours.shape[:2])

    def paint(self, codes: Tensor) -> Tensor:
        """Normalised pictures ``[B, C, S, S]`` whose patches have these colours: the inverse of `codes`."""
        grid = round(codes.shape[1] ** 0.5)
        small = ((self.rows[codes] - self.mean) / self.std).mT.unflatten(2, (grid, grid))
        return small.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)

    @torch.no_grad()
    def find(self, batches: Batches) -> None:
        """Finds the palette by k-means on patches of all pictures, the same number of each, drawn from its key.

        The result depends on neither the batches nor the ranks among which the pictures are divided.

        Raises:
            InputError: if the patches have fewer colours than the palette.
        """
        share, found = max(1, ROWS // len(batches.pictures)), []
        for batch in batches.once():
            colours = self._colours(batch.views[0])
            chosen = uniforms(batch.key, colours.shape[1], Salt.PALETTE).argsort(dim=1, stable=True)[:, :share]
            found.append(
                ranks.gather(colours.gather(1, chosen[..., None].expand(-1, -1, colours.shape[2])).flatten(0, 1))
            )
        # Resampling leaves traces of rounding, by which pictures of few colours would have many.
        rows, counts = ((torch.cat(found) * 1024).round() / 1024).unique(dim=0, return_counts=True)
        if len(rows) < len(self.rows):
            raise InputError(
                f"colours={len(self.rows)}: the patches of the training pictures have {len(rows)}; "
                f"nearest: colours={len(rows)}"
            )
        self.rows.copy_(kmeans(rows, counts, len(self.rows)))

    def _colours(self, pictures: Tensor) -> Tensor:
        """The mean colour of every patch in 0..1, ``[B, N, C]``."""
        small = F.avg_pool2d(full(pictures), self.patch).flatten(2).mT
        return (small * self.std + self.mean).to(self.rows.dtype)
