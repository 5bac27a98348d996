"""Mixup and CutMix: each picture is blended with, or gets a rectangle of, another one of the batch, and so its label.

Zhang et al., ICLR 2018. https://arxiv.org/abs/1710.09412 and Yun et al., ICCV 2019. https://arxiv.org/abs/1905.04899.
Every sample has its own share and rectangle, as in timm's ``Mixup(mode="elem")``; the partner of sample i is sample
B - 1 - i of the same micro-batch, so that changing the number of ranks or parts changes who is mixed with whom.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .erase import inside
from .random import Salt, beta, uniform, uniforms

__all__ = ["mix", "shares", "targets"]


def mix(
    images: Tensor, label: Tensor, key: Tensor, *, mixup: float, cutmix: float, categories: int, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Mixes the pictures of a batch and their labels.

    Args:
        images: ``[B, C, H, W]``.
        label: int64 ``[B]``, from 0 to ``categories`` - 1.
        key: int64 ``[B]``, on the same device.
        mixup: alpha of the Beta(alpha, alpha) that the share is drawn from; 0 switches mixup off.
        cutmix: the same for CutMix. If both are on, each sample tosses a fair coin.
        categories: the number of classes.
        smoothing: label smoothing, from 0 to 1.

    Returns:
        images ``[B, C, H, W]`` and target probabilities float32 ``[B, categories]``.

    Raises:
        InputError: if a setting is out of its range.
    """
    if min(mixup, cutmix) < 0:
        raise InputError(f"mixup={mixup!r}, cutmix={cutmix!r}: expected 0 (off) or a positive alpha such as 0.8")
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing={smoothing!r}: expected a number from 0 to below 1, such as 0.1")
    if mixup == cutmix == 0:
        return images, targets(label, torch.ones_like(label, dtype=torch.float32), categories, smoothing)

    share, kept = shares(key, *images.shape[2:], mixup=mixup, cutmix=cutmix)
    mixed = torch.lerp(images.flip(0), images, kept.to(images.dtype))
    return mixed, targets(label, share, categories, smoothing)


def shares(key: Tensor, height: int, width: int, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Draws how much of each picture remains.

    Returns:
        its share in the target, float32 ``[B]``, and its weight in each pixel, float32 ``[B, 1, height, width]``: the
        share everywhere (mixup), or 0 inside a rectangle and 1 outside (CutMix; there the share is the area left).
    """
    cut = uniform(key, Salt.MIX, 0) < (0.5 if mixup and cutmix else float(bool(cutmix)))
    blended = beta(key, mixup, Salt.MIX, 1) if mixup else torch.ones_like(key, dtype=torch.float64)
    uncut = beta(key, cutmix, Salt.MIX, 2) if cutmix else torch.ones_like(key, dtype=torch.float64)
    box = _boxes(uncut, uniforms(key, 2, Salt.MIX, 3), height, width)

    share = torch.where(cut, 1 - box[:, 2] * box[:, 3] / (height * width), blended).float()
    outside = ~inside(box, height, width)
    return share, torch.where(cut.view(-1, 1, 1, 1), outside.float(), share.view(-1, 1, 1, 1))


def targets(label: Tensor, share: Tensor, categories: int, smoothing: float) -> Tensor:
    """``share`` of each sample's own smoothed label and the rest of its partner's, float32 ``[B, categories]``."""
    own = functional.one_hot(label, categories).float().mul_(1 - smoothing).add_(smoothing / categories)
    return torch.lerp(own.flip(0), own, share[:, None])


def _boxes(uncut: Tensor, place: Tensor, height: int, width: int) -> Tensor:
    """Rectangles of area 1 - ``uncut`` around a uniform pixel, clipped to the picture: int64 ``[B, 4]``."""
    ratio = torch.sqrt(1 - uncut)
    edges = []
    for length, middle in ((height, place[:, 0]), (width, place[:, 1])):
        size, at = (length * ratio).long(), (length * middle).long()
        low, high = (at - size // 2).clamp(0, length), (at + (size + 1) // 2).clamp(0, length)
        edges.append((low, high - low))
    (top, high), (left, wide) = edges
    return torch.stack([top, left, high, wide], dim=1)
