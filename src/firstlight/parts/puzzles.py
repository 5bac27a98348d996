"""Tiles of pictures in one of some known orders, drawn for each sample, and the way back.

Noroozi & Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles", ECCV 2016.
https://arxiv.org/abs/1603.09246
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ..views.random import Salt, uniforms
from .permutations import permutations


class Puzzles(nn.Module):
    """Holds the orders, so that a checkpoint has those that it was trained with.

    Args:
        count: how many.
        tiles: of a puzzle.
        rule: how they are chosen, "max_min" or "max_avg".
        seed: of that choice.

    Attributes:
        orders: int64 ``[count, tiles]``. The tile ``order[i]`` stands at place ``i``.
    """

    orders: Tensor

    def __init__(self, count: int, tiles: int = 9, *, rule: str = "max_min", seed: int = 0):
        super().__init__()
        self.register_buffer("orders", torch.tensor(permutations(count, tiles, rule=rule, seed=seed)))

    def forward(self, key: Tensor, count: int = 1) -> Tensor:
        """The numbers of ``count`` orders for each sample, or of all: int64 ``[B, n]``, no two of a sample's the same.

        The list, from a random place on and round, is cut into ``count`` parts as equal as can be, and each gives one.
        """
        count = min(count, len(self.orders))
        ends = torch.arange(count + 1, device=key.device) * len(self.orders) // count
        first, within = uniforms(key, 1 + count, Salt.PERMUTATION).split([1, count], dim=1)
        return ((first * len(self.orders)).long() + ends[:-1] + (within * ends.diff()).long()) % len(self.orders)

    def arranged(self, rows: Tensor, number: Tensor) -> Tensor:
        """Each sample's rows ``[B, T, ...]`` in the orders of the numbers ``[B, n]``: ``[B, n, T, ...]``.

        The row at place ``i`` of what comes out was at place ``orders[number, i]``.
        """
        return rows[torch.arange(len(rows), device=rows.device)[:, None, None], self.orders[number]]

    def solution(self, logits: Tensor, simple: bool = False) -> Tensor:
        """At which place each shown tile is said to belong, int64 ``[B, T]``, no two at the same one.

        Args:
            logits: ``[B, count]`` of the orders; or, if ``simple``, ``[B * T, T]`` of every tile's place by itself.
            simple: which of the two. The places are then those whose probabilities have the largest product.
        """
        if not simple:
            return self.orders[logits.argmax(1)]
        odds = logits.log_softmax(1).unflatten(0, (-1, logits.shape[1])).double().cpu().numpy()
        places = np.stack([linear_sum_assignment(sample, maximize=True)[1] for sample in odds])
        return torch.from_numpy(places).to(logits.device)
