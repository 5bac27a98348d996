"""Pictures as rows of patches, and back."""

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


def standardised(patches: Tensor) -> Tensor:
    """Each patch with mean 0 and variance 1 over its own values (unbiased, as published), ``[B, L, D]``."""
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
