"""Maps of pictures, such as depth, cut, turned and resized exactly as a view of the pictures was."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.maps import UNKNOWN
from . import Geometry, crop

__all__ = ["aligned"]


def aligned(kind: str, maps: Sequence[np.ndarray | None], view: Tensor, geometry: Geometry) -> Tensor:
    """Maps of one kind as a view shows their pictures.

    Depth is resized by the pictures' own bilinear filter, in which places without a measurement have no part: a pixel
    is known if at least half of what the filter sees is. Classes take the nearest pixel.

    Args:
        kind: "depth" or "classes".
        maps: B maps ``[H, W]``, as high and wide as their pictures; None for pictures without one.
        view: ``[B, C, S, S]``.
        geometry: where it came from.

    Returns:
        ``[B, 1, S, S]`` on the view's device: float32, 0 where unknown (depth), or int64, -1 where unknown.
    """
    box, turns = geometry.box.cpu().long(), geometry.turns.cpu()
    flips = {"flipped": geometry.flipped.cpu(), "flipped_vertical": geometry.flipped_vertical.cpu()}
    side, device = view.shape[-1], view.device
    if kind == "classes":
        return crop.turned(_nearest(maps, box, side, **flips).to(device), turns)

    pairs = [_known(values, place) for values, place in zip(maps, box.tolist())]
    alike = len({pair.shape for pair in pairs}) == 1  # packed as the pictures were, so that they are resized alike
    packed = torch.stack(pairs).to(device) if alike else [pair.to(device) for pair in pairs]
    depth, known = crop.turned(crop.resized(packed, box, side, **flips), turns).mul_(255).split(1, dim=1)
    # Weights add up to 1 but for rounding; depth that is known all around stays as it is, to the bit.
    whole, some = known > 255 * (1 - 1e-4), known >= 255 / 2
    return torch.where(whole, depth, torch.where(some, depth / (known / 255).clamp(min=0.5), 0.0))


def _known(values: np.ndarray | None, box: list[int]) -> Tensor:
    """Depth and, as 255 or 0, whether it is known, float32 ``[H, W, 2]``."""
    if values is None:
        return torch.zeros(box[0] + box[2], box[1] + box[3], 2)
    depth = torch.from_numpy(values.astype(np.float32))
    return torch.stack([depth, (depth > 0) * 255.0], dim=-1)


def _nearest(
    maps: Sequence[np.ndarray | None], box: Tensor, side: int, flipped: Tensor, flipped_vertical: Tensor
) -> Tensor:
    """The class at the centre of each new pixel, int64 ``[B, 1, side, side]``."""
    middle = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    rows, columns = ((box[:, i, None] + (middle * box[:, i + 2, None]).floor()).long() for i in (0, 1))
    rows = torch.where(flipped_vertical[:, None], rows.flip(1), rows).numpy()
    columns = torch.where(flipped[:, None], columns.flip(1), columns).numpy()
    out = torch.full((len(maps), 1, side, side), -1)
    for place, values in enumerate(maps):
        if values is not None:
            found = torch.from_numpy(values[rows[place][:, None], columns[place]].astype(np.int64))
            out[place, 0] = torch.where(found == UNKNOWN, -1, found)
    return out
