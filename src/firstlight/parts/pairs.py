"""Pairs of adjacent tiles, of which one is to be told by the other where it lies.

Doersch, Gupta & Efros, "Unsupervised visual representation learning by context prediction", ICCV 2015.
https://arxiv.org/abs/1505.05192
"""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..views.random import Salt, uniforms
from .heads import mlp
from .tiles import around, cells_of, laid

FOUR = [*itertools.permutations(range(4), 2)]
"""all pairs of the tiles of a 2 x 2 grid"""
CELLS = [(b // 2 - a // 2 + 1) * 3 + b % 2 - a % 2 + 1 for a, b in FOUR]
"""where the second tile of each lies, were the first one the middle of a 3 x 3 grid"""


class Pairs:
    """Which tiles of a grid make pairs, and in which of 8 directions the second one lies from the first.

    Args:
        grid: 2: each of four tiles with each other, both ways: 12 pairs; 3: the middle with some around it.
        count: of 3 x 3 tiles, how many of the 8 around the middle, drawn from each sample's key.
    """

    def __init__(self, grid: int, count: int):
        self.grid, self.count = grid, count
        self.numbers = FOUR if grid == 2 else [(0, 1 + number) for number in range(count)]

    def __call__(self, tiles: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the tiles ``[B, grid * grid, C, s, s]`` are shown, and each pair's direction.

        Returns:
            ``[B, T, C, s, s]``, and int64 ``[B, pairs]``: 0 to 7, row by row around the middle.
        """
        if self.grid == 3:
            return around(tiles, key, self.count)
        return tiles, torch.tensor([cell - (cell > 4) for cell in CELLS], device=tiles.device).expand(len(tiles), -1)

    def pictured(self, picture: Tensor, tiles: Tensor, key: Tensor, places: dict[str, Tensor]) -> dict[str, Tensor]:
        """For people: one pair of each sample, with the first in the middle and the second where it is said to be.

        Args:
            picture: ``[B, C, S, S]``; it gets a border where grids of 3 x 3 such cells are larger.
            tiles: those that are shown.
            key: int64 ``[B]``, which decides on the pair.
            places: for each name, the directions ``[B, pairs]``.
        """
        every = torch.arange(len(key), device=key.device)[:, None]
        one = (uniforms(key, 1, Salt.PAIR) * len(self.numbers)).long()
        pair = tiles[every, torch.tensor(self.numbers, device=key.device)[one[:, 0]]]
        room = max(0, picture.shape[-1] // self.grid * 3 - picture.shape[-1])
        picture = F.pad(picture, [room // 2, room - room // 2] * 2)
        drawn = {name: laid(pair, cells_of(each.gather(1, one)), picture.shape[-1]) for name, each in places.items()}
        return {"picture": picture} | drawn


class PairHead(nn.Module):
    """An `mlp` that tells the direction of each pair from the features of both tiles, side by side.

    What its first layer makes of a tile is computed once, not in every pair that the tile is part of.

    Args:
        width: of a tile's features.
        hidden: of the layers between.
        layers: as in ``mlp``.
    """

    def __init__(self, width: int, hidden: int, layers: int):
        super().__init__()
        self.layers = mlp(2 * width, hidden, 8, layers, last_bias=True)

    def forward(self, features: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
        """Logits ``[B * pairs, 8]`` of features ``[B, T, width]``, for the numbers of two tiles each."""
        enter = cast("nn.Linear", self.layers[0])
        halves = zip(enter.weight.chunk(2, dim=1), zip(*pairs))
        first, second = (F.linear(features, half)[:, list(numbers)] for half, numbers in halves)
        found = (first + second).flatten(0, 1)
        return self.layers[1:](found if enter.bias is None else found + enter.bias)
