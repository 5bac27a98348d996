"""Which patches of a picture are hidden, drawn from each sample's key."""

import torch
from torch import Tensor

from ..views.random import Salt, uniforms


def random_mask(key: Tensor, length: int, ratio: float) -> tuple[Tensor, Tensor]:
    """Hides the same number of patches in every picture, each picture at its own random places.

    Args:
        key: int64 ``[B]``, the samples' keys.
        length: the number of patches ``L``.
        ratio: the hidden share; ``int(L * (1 - ratio))`` patches stay, as in the published MAE code.

    Returns:
        ``keep``, int64 ``[B, K]``, the numbers of the visible patches; ``hidden``, bool ``[B, L]``.
    """
    noise = uniforms(key, length, Salt.HIDE)
    keep = noise.argsort(dim=1, stable=True)[:, : int(length * (1 - ratio))]
    return keep, torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False)
