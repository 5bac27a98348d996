"""Pictures cut into a grid of tiles with random gaps between them: what jigsaws are made of.

Noroozi & Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles", ECCV 2016.
https://arxiv.org/abs/1603.09246
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..views import View
from ..views.batches import side_of
from ..views.random import Salt, uniforms

LARGEST = 16
"""times as large as they are, small pictures are shown at most: a slip of the keyboard would fill the memory"""
SHARE = 64 / 85
"""a tile's side as a share of its cell's: 64 of 85 pixels in the papers"""


def cut(
    pictures: Tensor, key: Tensor, *, grid: int = 3, multiple: int = 1, share: float = SHARE, jitter: float = 1.0
) -> Tensor:
    """Cuts one tile from every cell of a grid, each at a random place of its cell.

    The gap keeps edges from continuing from one tile to the next, which would give a puzzle away.

    Args:
        pictures: ``[B, C, S, S]``.
        key: int64 ``[B]``, the samples' keys.
        grid: cells along a side.
        multiple: the tiles' side is a multiple of this, such as the encoder's patch.
        share: a tile's side as a share of its cell's.
        jitter: the part of the room left in a cell over which a tile's place is drawn, around the middle.

    Returns:
        ``[B, grid * grid, C, s, s]``, row by row.

    Raises:
        InputError: if a cell has no room for a tile.
    """
    cell = pictures.shape[-1] // grid
    side = tile_side(pictures.shape[-1], grid, multiple, share)
    reach = round(jitter * (cell - side))
    draw = uniforms(key, 2 * grid * grid, Salt.TILE).view(-1, 2, grid * grid)
    place = (draw * (reach + 1)).long() + (cell - side - reach) // 2
    start = torch.arange(grid, device=key.device) * cell
    top = place[:, 0] + start.repeat_interleave(grid)
    left = place[:, 1] + start.repeat(grid)

    windows = pictures.unfold(2, side, 1).unfold(3, side, 1)  # a view: every window, copied only where chosen
    return windows[torch.arange(len(key), device=key.device)[:, None], :, top, left]


def tile_side(side: int, grid: int = 3, multiple: int = 1, share: float = SHARE) -> int:
    """The side of the tiles of a picture of side ``side``: a share of a cell's, or the nearest multiple that fits.

    At least half of the rest of the cell is left over: a patch as large as a cell would leave no gap at all.

    Raises:
        InputError: if none fits.
    """
    cell = side // grid
    room = round((1 - share) * cell / 2)
    tile = min(max(round(share * cell / multiple), 1), (cell - room) // multiple) * multiple
    if not tile:
        needed = grid * math.ceil(2 * multiple / (1 + share))
        raise InputError(
            f"a picture of {side} px has {grid}x{grid} cells of {cell} px, and a tile needs {multiple} and a gap; "
            f"show pictures of {needed} px and more, or take a smaller patch_size"
        )
    return tile


def enlarged(view: View, least: int, encoder: Encoder, method: str, *, grid: int = 3, share: float = SHARE) -> View:
    """A view whose tiles measure ``least`` pixels or more, and a patch: small pictures are shown larger than they are.

    Raises:
        InputError: if the encoder takes pictures of one size only, or the tiles would be far larger than the pictures.
    """
    if not encoder.any_size:
        raise InputError(f"{method} shows tiles, and {encoder.model!r} takes one size; choose a resnet or vit_")
    needed = -(-least // encoder.multiple) * encoder.multiple / share * grid / encoder.size
    if needed > LARGEST:
        nearest = int(LARGEST * encoder.size * share / grid)
        raise InputError(
            f"{method}(tile={least}): pictures of {encoder.size} px would be shown at {needed * encoder.size:.0f} px; "
            f"allowed is up to {LARGEST * encoder.size}; nearest: tile={nearest}"
        )
    view = replace(view, size=max(view.size, needed))
    tile_side(side_of(view, encoder.size, encoder.multiple), grid, encoder.multiple, share)
    return view


def shuffled(rows: Tensor, key: Tensor) -> Tensor:
    """Each sample's rows ``[B, T, ...]`` in a random order of their own, drawn from its key."""
    order = uniforms(key, rows.shape[1], Salt.ORDER).argsort(dim=1, stable=True)
    return rows[torch.arange(len(key), device=key.device)[:, None], order]


def around(tiles: Tensor, key: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The middle tile of a 3 x 3 grid with ``count`` of the 8 around it, drawn from each sample's key.

    Args:
        tiles: ``[B, 9, C, s, s]``, row by row.
        key: int64 ``[B]``.
        count: 1 to 8.

    Returns:
        The middle and its neighbours ``[B, 1 + count, C, s, s]``, and the neighbours' places, int64 ``[B, count]``:
        0 to 7, row by row without the middle.
    """
    place = uniforms(key, 8, Salt.NEIGHBOUR).argsort(dim=1, stable=True)[:, :count]
    return tiles[torch.arange(len(key), device=key.device)[:, None], cells_of(place)], place


def cells_of(place: Tensor) -> Tensor:
    """The cells ``[B, 1 + n]`` of the middle of a 3 x 3 grid and of the places ``[B, n]`` around it, from 0 to 7."""
    return torch.cat([torch.full_like(place[:, :1], 4), place + (place >= 4)], dim=1)


def laid(tiles: Tensor, cells: Tensor, side: int, *, grid: int = 3) -> Tensor:
    """Pictures ``[B, C, side, side]`` for people: tiles ``[B, T, C, s, s]`` in the middle of their cells, 0 elsewhere.

    Args:
        tiles: in any order and of any number.
        cells: int64 ``[B, T]``, the number of each tile's cell, row by row.
        side: the pictures'.
        grid: cells along a side.
    """
    batch, _, channels, tile, _ = tiles.shape
    cell = side // grid
    first = (cell - tile) // 2
    canvas = tiles.new_zeros(batch, grid * grid, channels, cell, cell)
    window = slice(first, first + tile)
    canvas[torch.arange(batch, device=tiles.device)[:, None], cells, :, window, window] = tiles
    whole = canvas.unflatten(1, (grid, grid)).permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, *[grid * cell] * 2)
    return F.pad(whole, (0, side - grid * cell, 0, side - grid * cell))
