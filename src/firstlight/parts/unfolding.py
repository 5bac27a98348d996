"""Pixels as a discrete VAE sees them: how likely they are, and the small network that paints them from a map.

Ramesh et al., "Zero-shot text-to-image generation" (DALL-E), ICML 2021. https://arxiv.org/abs/2102.12092
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoder import Encoder
from .losses import full

MARGIN = 0.1
"""how far values in 0..1 are moved away from black and white, whose logits are infinite"""
FINEST = 1 / 64
"""the least scale of the distribution, about the step of 8-bit pixels: a flat background would be infinitely likely"""


class Unfolding(nn.Module):
    """Paints ``values`` numbers at each pixel from a map, of which each position is ``stride x stride`` pixels.

    Residual convolutions, then twice the side and half the channels, as often as ``stride`` is even; an odd rest is
    painted by the last layer at once.

    Args:
        entry: channels of the map.
        values: how many numbers to predict at each pixel.
        stride: as above.
        depth: residual blocks at each resolution.
    """

    def __init__(self, entry: int, values: int, stride: int, *, depth: int = 1):
        super().__init__()
        steps: list[nn.Module] = []
        width = entry
        while True:
            steps += [_Residual(entry if block == 0 else width, width) for block in range(depth)]
            entry = width
            if stride % 2:
                break
            steps.append(nn.Upsample(scale_factor=2))
            stride, width = stride // 2, max(16, width // 2) if depth else width
        self.steps = nn.Sequential(*steps, nn.ReLU(), nn.Conv2d(width, values * stride**2, 1), nn.PixelShuffle(stride))

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, values, stride * S, stride * S]`` from ``[B, entry, S, S]``."""
        return self.steps(maps)


class Colours(nn.Module):
    """From pictures that are normalised for an encoder to values in 0..1, and back."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder):
        super().__init__()
        for name, value in (("mean", encoder.mean), ("std", encoder.std)):
            self.register_buffer(name, torch.tensor(value).float().view(-1, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures ``[B, C, S, S]`` in 0..1."""
        return pictures * self.std + self.mean

    def normalised(self, pictures: Tensor) -> Tensor:
        """The same normalised again."""
        return (pictures - self.mean) / self.std


def logit_laplace(pictures: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Minus the log-likelihood of each pixel, ``[B, C, S, S]``: its logit follows a Laplace distribution.

    Without the term ``log(x (1 - x))`` of the paper's density, which no weight changes.

    Args:
        pictures: ``[B, C, S, S]`` in 0..1.
        mean: of the logit, likewise.
        spread: the logarithm of the scale, likewise; the scale is never finer than ``FINEST``.
    """
    scale = full(spread).exp() + FINEST
    return (2 * scale).log() + (squeezed(full(pictures)).logit() - full(mean)).abs() / scale


def squeezed(pictures: Tensor) -> Tensor:
    """Values in 0..1 as values in 0.1..0.9."""
    return (1 - 2 * MARGIN) * pictures.clamp(0, 1) + MARGIN


def unsqueezed(pictures: Tensor) -> Tensor:
    """The inverse of `squeezed`, for any values."""
    return ((pictures - MARGIN) / (1 - 2 * MARGIN)).clamp(0, 1)


def resized(pictures: Tensor, side: int) -> Tensor:
    """Square pictures at another side, antialiased (bicubic)."""
    if pictures.shape[-1] == side:
        return pictures
    return F.interpolate(pictures, (side, side), mode="bicubic", antialias=True)


class _Residual(nn.Module):
    def __init__(self, entry: int, width: int):
        super().__init__()
        self.aside = nn.Identity() if entry == width else nn.Conv2d(entry, width, 1)
        self.change = nn.Sequential(
            nn.ReLU(), nn.Conv2d(entry, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.aside(x) + self.change(x)
