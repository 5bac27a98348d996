"""Takes from tiles what a lens gives away: its colours drift apart towards the corners of a photograph.

Doersch, Gupta & Efros, "Unsupervised visual representation learning by context prediction", ICCV 2015.
https://arxiv.org/abs/1505.05192
"""

import torch
from torch import Tensor

from ..encoder import Encoder
from ..views.random import Salt, normal, uniforms

AXIS = (-1.0, 2.0, -1.0)
"""from magenta to green, between which a lens shifts its colours, in RGB"""
NOISE = 0.01
"""the standard deviation of what replaces a channel, of that of the channel that stays"""


def one_channel(tiles: Tensor, key: Tensor) -> Tensor:
    """Colour dropping: one random channel of each tile stays, the others become faint noise around the mean colour.

    Args:
        tiles: normalised, ``[B, T, C, s, s]``; grey ones (C = 1) stay as they are.
        key: int64 ``[B]``, the samples' keys.
    """
    count, channels = tiles.shape[1:3]
    if channels == 1:
        return tiles
    kept = (uniforms(key, count, Salt.DROP) * channels).long()[:, :, None, None, None]
    stays = torch.arange(channels, device=tiles.device).view(-1, 1, 1) == kept
    spread = tiles.std((3, 4), correction=0, keepdim=True).gather(2, kept)
    noise = normal(key, tiles[0].numel(), Salt.DROPPED).view_as(tiles).to(tiles.dtype)
    return torch.where(stays, tiles, noise * spread * NOISE)


def without_green_magenta(tiles: Tensor, encoder: Encoder) -> Tensor:
    """Projection: every colour loses its part along the axis from magenta to green, ``B = I - a'a / (a a')``.

    Args:
        tiles: ``[..., C, s, s]``; grey ones (C = 1) stay as they are.
        encoder: knows by what they are normalised; the axis is one of colours that are not.
    """
    if tiles.shape[-3] == 1:
        return tiles
    like = {"dtype": tiles.dtype, "device": tiles.device}
    mean, std, axis = (torch.tensor(x, **like).view(-1, 1, 1) for x in (encoder.mean, encoder.std, AXIS))
    colours = tiles * std + mean
    along = (colours * axis).sum(-3, keepdim=True) / axis.square().sum()
    return (colours - along * axis - mean) / std
