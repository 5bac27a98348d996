"""Pictures cut into a grid of tiles with random gaps between them: what jigsaws are made of.

Noroozi & Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles", ECCV 2016.
https://arxiv.org/abs/1603.09246
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..views import View
from ..views.batches import side_of
from ..views.random import Salt, uniforms

SHARE = 64 / 85
"""a tile's side as a share of its cell's: 64 of 85 pixels in the papers"""


def cut(pictures: Tensor, key: Tensor, *, grid: int = 3, multiple: int = 1) -> Tensor:
    """Cuts one tile from every cell of a grid, each at a random place of its cell.

    The gap keeps edges from continuing from one tile to the next, which would give a puzzle away.

    Args:
        pictures: ``[B, C, S, S]``.
        key: int64 ``[B]``, the samples' keys.
        grid: cells along a side.
        multiple: the tiles' side is a multiple of this, such as the encoder's patch.

    Returns:
        ``[B, grid * grid, C, s, s]``, row by row.

    Raises:
        InputError: if a cell has no room for a tile.
    """
    cell = pictures.shape[-1] // grid
    side = tile_side(pictures.shape[-1], grid, multiple)
    draw = uniforms(key, 2 * grid * grid, Salt.TILE).view(-1, 2, grid * grid)
    place = (draw * (cell - side + 1)).long()
    start = torch.arange(grid, device=key.device) * cell
    top = place[:, 0] + start.repeat_interleave(grid)
    left = place[:, 1] + start.repeat(grid)

    windows = pictures.unfold(2, side, 1).unfold(3, side, 1)  # a view: every window, copied only where chosen
    return windows[torch.arange(len(key), device=key.device)[:, None], :, top, left]


def tile_side(side: int, grid: int = 3, multiple: int = 1) -> int:
    """The side of the tiles of a picture of side ``side``: three quarters of a cell, or the nearest multiple that fits.

    Raises:
        InputError: if none fits.
    """
    cell = side // grid
    tile = min(max(round(SHARE * cell / multiple), 1), cell // multiple) * multiple
    if not tile:
        raise InputError(
            f"a picture of {side} px has {grid}x{grid} cells of {cell} px, and a tile needs {multiple}; "
            f"show pictures of {grid * multiple} px and more, or take a smaller patch_size"
        )
    return tile


def enlarged(view: View, least: int, encoder: Encoder, method: str, *, grid: int = 3) -> View:
    """A view whose tiles measure ``least`` pixels or more: small pictures are shown larger than they are.

    Raises:
        InputError: if the encoder takes pictures of one size only, or no tile fits.
    """
    if not encoder.any_size:
        raise InputError(f"{method} shows tiles, and {encoder.model!r} takes one size; choose a resnet or vit_")
    view = replace(view, size=max(view.size, least / SHARE * grid / encoder.size))
    tile_side(side_of(view, encoder.size, encoder.multiple), grid, encoder.multiple)
    return view


def shuffled(rows: Tensor, key: Tensor) -> Tensor:
    """Each sample's rows ``[B, T, ...]`` in a random order of their own, drawn from its key."""
    order = uniforms(key, rows.shape[1], Salt.ORDER).argsort(dim=1, stable=True)
    return rows[torch.arange(len(key), device=key.device)[:, None], order]
