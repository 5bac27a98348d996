"""Pictures as rows of patches, and back."""

import torch
from torch import Tensor


def patchify(pictures: Tensor, patch: int) -> Tensor:
    """Cuts ``[B, C, S, S]`` into ``[B, L, patch * patch * C]``.

    Patches run row by row; inside one, values run by row, column, channel, as in the published MAE code.
    """
    batch, channels, side, _ = pictures.shape
    grid = side // patch
    x = pictures.reshape(batch, channels, grid, patch, grid, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, grid * grid, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """The inverse of `patchify`, for square pictures."""
    batch, length, values = patches.shape
    grid, channels = round(length**0.5), values // patch**2
    x = patches.reshape(batch, grid, grid, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, grid * patch, grid * patch)


def enlarged(cells: Tensor, side: int) -> Tensor:
    """Something known of each cell, ``[B, M]`` row by row over a square grid, at all its pixels, ``[B, 1, S, S]``."""
    grid = round(cells.shape[1] ** 0.5)
    return cells.view(-1, 1, grid, grid).repeat_interleave(side, 2).repeat_interleave(side, 3)


def standardised(patches: Tensor, undo: Tensor | None = None) -> Tensor:
    """Each patch with mean 0 and variance 1 over its own values (unbiased, as published), ``[B, L, D]``.

    With ``undo``, such patches with the mean and the variance of ``patches``.
    """
    mean, deviation = patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    return (patches - mean) / deviation if undo is None else undo * deviation + mean


def compared(
    patches: Tensor, painted: Tensor, hidden: Tensor, patch: int, *, scaled: bool = False
) -> dict[str, Tensor]:
    """What there was, what was seen of it, and what was painted where nothing was: three pictures ``[B, C, S, S]``.

    Args:
        patches: as `patchify` gives them, ``[B, L, D]``.
        painted: the same as someone imagines them.
        hidden: bool ``[B, L]``.
        patch: their side.
        scaled: what is painted are ``standardised`` patches. They get the mean and the contrast that each hidden patch
            really had, and the third picture's name says so.
    """
    hidden = hidden[..., None]
    shown = {"picture": patches, "masked": patches.masked_fill(hidden, 0)}
    name = "predicted (mean and contrast given)" if scaled else "predicted"
    shown[name] = torch.where(hidden, standardised(patches, undo=painted) if scaled else painted, patches)
    return {name: unpatchify(rows, patch) for name, rows in shown.items()}


def colour_class(colours: Tensor, levels: int = 8) -> Tensor:
    """The class of a colour in 0..1, ``[..., C]``: each channel in ``levels`` equal steps, the first the coarsest.

    Returns:
        int64 ``[...]`` from 0 to ``levels ** C - 1``; of red, green and blue in 8 steps, ``64 r + 8 g + b``.
    """
    steps = (colours * levels).floor().long().clamp(0, levels - 1)  # in this order what is no number has a class too
    found = steps[..., 0]
    for channel in steps.unbind(-1)[1:]:
        found = found * levels + channel
    return found


def class_colour(found: Tensor, channels: int, levels: int = 8) -> Tensor:
    """The middle of a class of `colour_class`, in 0..1, ``[..., channels]``."""
    steps = [found // levels**place % levels for place in reversed(range(channels))]
    return (torch.stack(steps, -1) + 0.5) / levels
