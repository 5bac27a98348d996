"""One forward pass for all crops of one size, however many sizes there are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..encoder import Encoder
from ..errors import InputError
from ..views import View

LEAST = 24
"""pixels of a side below which a small crop says too little of the picture to be worth its time"""


def crops(views: tuple[View, ...], small: int | None, encoder: Encoder, method: str) -> tuple[View, ...]:
    """A method's views with another number of small crops, which are the last of them.

    Args:
        views: as published for ImageNet.
        small: how many; None for as many as published, or none where they would measure less than 24 pixels. There
            they cover some ten pixels of the picture, and are most of the loss: at equal time they gained nothing.
        encoder: what will see them.
        method: whose name errors carry.

    Raises:
        InputError: for a number below 0, or an encoder that takes pictures of one size only.
    """
    *large, last = views
    if small is None:
        small = last.count if last.size * encoder.size >= LEAST else 0
    if small < 0:
        raise InputError(f"{method}(small={small}): allowed is 0 and more")
    if small and not encoder.any_size:
        raise InputError(
            f"{method} shows crops of two sizes and {encoder.model!r} takes one; choose a resnet, vit_, swin_ or "
            "xcit_, or small=0"
        )
    return (*large, replace(last, count=small)) if small else tuple(large)


def by_size(forward: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> Tensor:
    """Features of every view, in the order of the views.

    Views of one size go through ``forward`` together: one pass for the global crops and one for the local ones, and
    batch norm sees them together.

    Args:
        forward: an encoder, from ``[N, C, S, S]`` to ``[N, D]``.
        views: ``V`` tensors ``[B, C, S, S]``; ``S`` may differ from view to view.

    Returns:
        ``[V * B, D]``, view after view.
    """
    return torch.cat(each(forward, views))


def each(forward: Callable[[Tensor], Any], views: Sequence[Tensor]) -> list[Any]:
    """The same as a list with what ``forward`` makes of each view: a tensor, or a tuple of tensors of any shapes."""
    groups: dict[torch.Size, list[int]] = {}
    for position, view in enumerate(views):
        groups.setdefault(view.shape, []).append(position)
    outputs: dict[int, Any] = {}
    for positions in groups.values():
        together = forward(torch.cat([views[position] for position in positions]))
        whole = isinstance(together, Tensor)
        parts = [part.chunk(len(positions)) for part in ((together,) if whole else together)]
        outputs.update(zip(positions, parts[0] if whole else zip(*parts)))
    return [outputs[position] for position in range(len(views))]
