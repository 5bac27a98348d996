"""One forward pass for all crops of one size, however many sizes there are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


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
    groups: dict[torch.Size, list[int]] = {}
    for position, view in enumerate(views):
        groups.setdefault(view.shape, []).append(position)
    features: dict[int, Tensor] = {}
    for positions in groups.values():
        together = forward(torch.cat([views[position] for position in positions]))
        features.update(zip(positions, together.chunk(len(positions))))
    return torch.cat([features[position] for position in range(len(views))])
