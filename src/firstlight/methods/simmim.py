"""SimMIM: hide large squares of a picture from the whole encoder, and paint their pixels with a single layer.

Xie et al., CVPR 2022. https://arxiv.org/abs/2111.09886
"""

import math

import torch
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from ..parts.holes import token_grid
from ..parts.losses import hidden_distance
from ..parts.masks import exact_mask, some_of
from ..parts.patches import enlarged
from ..ranges import Share, Side
from ..views import Batch, View
from . import Method, Optimisation


class SimMIM(Method):
    """Hidden patches keep their places, taken by a learned vector, so that a Swin can learn as well as a ViT.

    Nothing is asked of a class token: features are the mean of the patches from then on, as the paper fine-tunes.
    The paper's learning rate is 1e-4 for Swin-B (100 epochs) and 5e-5 for ViT-B (800), its drop path 0 and .1 (the
    encoder's setting). Differs from the paper: a ViT has whatever positions its model has, not a shared relative bias.

    Args:
        encoder: a ViT or a Swin.
        mask: the hidden share of the squares; their number is rounded up, as published.
        unit: side of the squares in pixels, by which whole tokens are hidden. None is one of Swin's last tokens; and
            for a ViT the largest, up to the paper's 32 pixels, of which six or more stand along a side.
    """

    views = (View(scale=(0.67, 1.0)),)
    optimisation = Optimisation(lr=5e-4, warmup=0.1, weight_decay=0.05, clip=5.0)
    decays_places = False

    def __init__(self, encoder: Encoder, *, mask: Share = 0.6, unit: Side | None = None):
        super().__init__()
        self.grid = token_grid(encoder, "simmim")
        token = encoder.size // self.grid
        self.unit = _unit(encoder, token, unit)
        self.cells = (encoder.size // self.unit) ** 2
        self.count = some_of(encoder, "simmim", mask, math.ceil(self.cells * mask), self.cells, "squares")
        encoder.average_patches()
        self.encoder = encoder
        self.hole = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, encoder.entry or 0), std=0.02))  # 2-D: it decays
        values = encoder.channels * token**2
        self.decoder = nn.Sequential(nn.Conv2d(encoder.token_width, values, 1), nn.PixelShuffle(token))

    def forward(self, batch: Batch, t: float) -> dict[str, Tensor]:
        painted, hidden = self.paint(batch)
        return {"loss": hidden_distance(painted, batch.views[0], hidden)}

    def paint(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Every pixel as the method thinks it is, ``[B, C, S, S]``, and which were hidden, bool ``[B, 1, S, S]``."""
        hidden = exact_mask(batch.key, self.cells, self.count)
        tokens = self.encoder.tokens(batch.views[0], hidden=hidden, hole=self.hole[0])[:, self.encoder.prefix :]
        painted = self.decoder(tokens.mT.unflatten(2, (self.grid, self.grid)))
        return painted, enlarged(hidden, self.unit)

    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        (painted, hidden), picture = self.paint(batch), batch.views[0]
        return {
            "picture": picture,
            "masked": picture.masked_fill(hidden, 0),
            "predicted": torch.where(hidden, painted, picture),
        }


def _unit(encoder: Encoder, token: int, unit: int | None) -> int:
    allowed = [side for side in range(token, encoder.size // 2 + 1, token) if encoder.size % side == 0]
    if unit is None:
        return max([side for side in allowed if encoder.maskable and side <= min(32, encoder.size / 6)], default=token)
    if unit not in allowed:
        nearest = min(allowed, key=lambda side: abs(side - unit))
        raise InputError(f"simmim(unit={unit}): squares of {encoder.model!r} can measure {allowed}; nearest: {nearest}")
    return unit
