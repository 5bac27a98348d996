"""Batch norm by groups of the batch, the same groups however many ranks there are.

"Shuffling BN": He et al., "Momentum contrast", CVPR 2020, section 3.3. https://arxiv.org/abs/1911.05722
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .. import ranks
from ..errors import InputError


def in_groups(forward: Callable[[Tensor], Tensor], pictures: Tensor, groups: int) -> Tensor:
    """Passes this rank's share of ``groups`` equal groups through a network one after the other.

    Args:
        forward: a network whose batch norm is not synchronised.
        pictures: this rank's ``[B, ...]``.
        groups: of the batch of all ranks; a multiple of the number of ranks.

    Returns:
        What the network makes of all pictures, in their order.

    Raises:
        InputError: if the pictures of this rank cannot be divided so.
    """
    check_groups(groups, len(pictures) * ranks.world(), "batch norm")
    return torch.cat([forward(group) for group in pictures.chunk(groups // ranks.world())])


@torch.no_grad()
def shuffled(forward: Callable[[Tensor], Tensor], pictures: Tensor, key: Tensor, groups: int) -> Tensor:
    """The same with pictures dealt to the groups at random, over all ranks, and put back in order afterwards.

    Args:
        forward: a network that gives no gradient.
        pictures: this rank's ``[B, ...]``.
        key: int64 ``[B]``, the samples' random keys; their order over all ranks is the permutation.
        groups: of the batch of all ranks.
    """
    order = ranks.gather(key).argsort(stable=True)
    mine = order.chunk(ranks.world())[ranks.rank()]
    rows = ranks.gather(in_groups(forward, ranks.gather(pictures)[mine], groups))
    back = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
    return rows[back.chunk(ranks.world())[ranks.rank()]]


def check_groups(groups: int, batch: int, method: str) -> None:
    """Refuses groups that do not divide a batch of all ranks evenly, or hold less than two pictures.

    Raises:
        InputError: naming the nearest number that works.
    """
    works = [n for n in range(1, batch // 2 + 1) if batch % n == 0 and n % ranks.world() == 0]
    if groups not in works:
        nearest = min(works, key=lambda n: abs(n - groups), default=None)
        better = f"; nearest: {nearest}" if nearest else f"; a batch of {2 * ranks.world()} or more is needed"
        raise InputError(
            f"{method}: groups={groups} must divide the pictures of a pass ({batch}) into groups of 2 or more, "
            f"equally many on each of {ranks.world()} process(es){better}"
        )
