"""Small decoders from an encoder's features to a picture or a map of scores: deconvolutions, or one linear layer.

As in Pathak et al., "Context encoders", CVPR 2016. https://arxiv.org/abs/1604.07379
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from ..errors import InputError
from .heads import check_widths
from .losses import full

Kind = Literal["auto", "linear", "deep"]
LINEAR = 32
"""up to this side a painter is linear, if it may be"""
START = 4
"""the least side of the map that the deconvolutions begin with: the last map of a small picture may be one position"""


class Painter(nn.Module):
    """Paints ``values`` numbers at each of ``side x side`` positions from an encoder's pooled features and tokens.

    ``painter(*encoder.pooled_and_tokens(x))`` takes both: tokens know what is where, and pooled features, which are
    what evaluations read, are added so that they learn too (a class token would else be idle in the last block).
    With ``tokens=False`` it is ``painter(encoder(x))``: everything passes through the pooled features, as through an
    autoencoder's bottleneck.

    Build it before anything widens the encoder's features (a neck, a second network) whose own it shall read.

    Args:
        encoder: whose features come in; only its widths and its number of tokens are read, it is not kept.
        values: how many numbers to predict at each position: channels of a picture, or classes.
        side: of what is painted, for pictures of the encoder's size, which it may not exceed.
        width: channels between the layers.
        tokens: whether tokens come in too.

    Raises:
        InputError: for a width below 1, a side larger than the picture's, or an encoder that has no tokens.
    """

    def __init__(self, encoder: Encoder, values: int, side: int, *, width: int = 64, tokens: bool = True):
        super().__init__()
        check_widths("a painter", values=values, side=side, width=width)
        if side > encoder.size:
            raise InputError(
                f"side={side}: pictures of {encoder.size} px have no more positions to paint; nearest: {encoder.size}"
            )
        if tokens and encoder.regions < 1:
            raise InputError(f"{encoder.model!r} has no tokens to paint from; choose a resnet or vit_")
        self.prefix, self.grid, self.side = encoder.prefix, round(encoder.regions**0.5) if tokens else 1, side
        # Where tokens say what is where, the pooled features are the same everywhere; else they must say it themselves,
        # by weights for each position of the first map, which is to be small: what is painted beyond an odd side is cut
        # off. Tokens alone would then lie in the wrong places.
        placed, start = tokens and self.grid >= START, side
        while -(-start // 2) >= max(START, self.grid) and not (placed and start % 2):
            start = -(-start // 2)
        self.start, self.spread = start, 1 if placed else start
        self.pooled = nn.Linear(encoder.width, width * self.spread**2)
        self.token = nn.Linear(encoder.token_width, width) if tokens else None

        steps: list[nn.Module] = [nn.BatchNorm2d(width), nn.ReLU()]
        while start < side:
            steps += [nn.ConvTranspose2d(width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            start *= 2
        last = nn.Conv2d(width, values, 3, padding=1)
        begin_grey(last)
        self.paint = nn.Sequential(*steps, last)

    def forward(self, features: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Paints ``[B, values, side, side]``.

        Args:
            features: pooled, ``[B, encoder.width]``.
            tokens: ``[B, prefix + N, encoder.token_width]`` as ``encoder.tokens`` gives them, N a square number.
        """
        canvas = self.pooled(features).unflatten(1, (-1, self.spread, self.spread))
        if self.token is not None and tokens is not None:
            tokens = self.token(tokens[:, self.prefix :])
            grid = round(tokens.shape[1] ** 0.5)
            placed = tokens.transpose(1, 2).unflatten(2, (grid, grid))
            # Nearest, because the gradient of smoother interpolation is not the same from run to run on a GPU.
            canvas = canvas + F.interpolate(placed, (self.start, self.start), mode="nearest")
        painted = self.paint(canvas.expand(-1, -1, self.start, self.start))
        first = (painted.shape[-1] - self.side) // 2
        return painted[..., first : first + self.side, first : first + self.side]


class LinearPainter(nn.Module):
    """Paints ``values`` numbers at each of ``side x side`` positions from pooled features, in one linear layer.

    What it paints is as sharp as the features are rich, and nothing but the encoder can learn. Its weights grow with
    the area: 1.6 million for 512 features and 32 x 32 colours, 308 million for 2,048 and 224 x 224.

    Args:
        encoder: whose pooled features come in; only its width is read, it is not kept.
        values: how many numbers to predict at each position.
        side: of what is painted.

    Raises:
        InputError: for a width below 1.
    """

    def __init__(self, encoder: Encoder, values: int, side: int):
        super().__init__()
        check_widths("a painter", values=values, side=side)
        self.values, self.side = values, side
        self.paint = nn.Linear(encoder.width, values * side**2)
        begin_grey(self.paint)

    def forward(self, features: Tensor) -> Tensor:
        """Paints ``[B, values, side, side]`` from ``[B, encoder.width]``."""
        return self.paint(features).view(-1, self.values, self.side, self.side)


def painter_from(encoder: Encoder, values: int, side: int, *, width: int, kind: Kind) -> LinearPainter | Painter:
    """A painter that sees pooled features alone: linear, deep, or (auto) linear up to a side of 32."""
    if kind == "linear" or (kind == "auto" and side <= LINEAR):
        return LinearPainter(encoder, values, side)
    return Painter(encoder, values, side, width=width, tokens=False)


def begin_grey(layer: nn.Linear | nn.Conv2d) -> None:
    """Begins with an even grey, not with noise to be unlearned."""
    nn.init.normal_(layer.weight, std=0.002)
    nn.init.zeros_(layer.get_parameter("bias"))


def rows(maps: Tensor) -> Tensor:
    """Scores ``[B, K, S, S]`` as rows ``[B * S * S, K]``, in at least single precision, for a loss of classes.

    torch's own loss of maps is not the same from run to run on a GPU.
    """
    return full(maps).movedim(1, -1).flatten(0, 2)
