"""Split-brain autoencoder: from a picture's lightness one network says its colours, and from these another says that.

Zhang et al., "Split-brain autoencoders", CVPR 2017. https://arxiv.org/abs/1611.09842
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..events import Events
from ..parts.gamut import Gamut, look_for_colours, shrunk
from ..parts.losses import full, spread
from ..parts.painter import Painter, rows
from ..ranges import Side, Width
from ..views import Batch
from ..views.batches import Batches
from ..views.lab import as_grey, lab_of, lab_to_rgb, normalised
from . import Method, Optimisation

LEVELS = 100  # bins of the lightness, each one unit wide


class SplitBrain(Method):
    """The features of a picture are those of both networks, side by side, so the encoder becomes twice as wide.

    Each network is one of the encoder's kind: two of the same, as wide as the paper's two halves are together.

    Differs from the paper: any encoder and a small decoder in place of its AlexNet in two halves. Not verified against
    the published code: each colour's target is its nearest bin alone, and none weighs more than another.

    Args:
        encoder: any encoder of coloured pictures; it gets its second network here.
        side: of what is painted, in positions; None for a quarter of the picture's.
        width: channels of the decoders.
    """

    optimisation = Optimisation(lr=1e-3, weight_decay=1e-3, betas=(0.9, 0.99))

    def __init__(self, encoder: Encoder, *, side: Side | None = None, width: Width = 64):
        super().__init__()
        if encoder.channels != 3:
            raise InputError("split_brain with channels=1: grey pictures have no colours to split off; set channels=3")
        self.encoder, self.gamut = encoder, Gamut(balance=1.0)
        self.side = max(encoder.size // 4, 1) if side is None else side
        self.paint_colours = Painter(encoder, len(self.gamut), self.side, width=width)
        self.paint_lightness = Painter(encoder, LEVELS, self.side, width=width)
        encoder.add_colour()

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        lab = shrunk(lab_of(batch.views[0], self.encoder.mean, self.encoder.std), self.side)
        features, colours, lightness = self._painted(batch.views[0])

        of_colours = F.cross_entropy(rows(colours), self.gamut.nearest(lab[:, 1:]).flatten())
        of_lightness = F.cross_entropy(rows(lightness), lab[:, 0].long().clamp(0, LEVELS - 1).flatten())
        return {"loss": of_colours + of_lightness, "lightness": of_lightness.detach(), "feature_std": spread(features)}

    def prepare(self, batches: Batches) -> Events[None]:
        return look_for_colours(batches, "split_brain")

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        mean, std = self.encoder.mean, self.encoder.std
        lab = lab_of(batch.views[0], mean, std)
        _, colours, lightness = self._painted(batch.views[0])
        said = (full(lightness).softmax(1) * (torch.arange(LEVELS, device=lab.device) + 0.5).view(-1, 1, 1)).sum(1)
        said = torch.cat([said[:, None], self.gamut.decode(colours)], 1)
        light, a, b = F.interpolate(said, lab.shape[2:], mode="bilinear").unbind(1)
        return {
            "picture": batch.views[0],
            "grey": as_grey(lab, mean, std),
            "coloured": normalised(lab_to_rgb(torch.stack([lab[:, 0], a, b], 1)), mean, std),
            "lightness from colours": as_grey(light[:, None], mean, std),
        }

    def _painted(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of both networks, what the first says of the colours, and the second of the lightness."""
        features, tokens = self.encoder.pooled_and_tokens(pictures)
        (light, colour), (of_light, of_colour) = (x.chunk(2, dim=-1) for x in (features, tokens))
        return features, self.paint_colours(light, of_light), self.paint_lightness(colour, of_colour)
