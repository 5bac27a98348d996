"""CIE Lab: lightness apart from colour, in which equal distances look about equally different (D65, 2 degrees).

CIE 15, Colorimetry, and IEC 61966-2-1 (sRGB). https://en.wikipedia.org/wiki/CIELAB_color_space
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["as_colours", "as_grey", "lab_of", "lab_to_rgb", "normalised", "rgb_to_lab"]

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""of linear red, green and blue, in the digits of scikit-image and OpenCV"""
WHITE = (0.95047, 1.0, 1.08883)
LIMIT = 6 / 29
REACH = 110.0
"""a and b of sRGB's colours lie within plus and minus this"""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """L in 0..100, a and b of sRGB pictures ``[B, 3, ...]`` with values in 0..1, in at least single precision."""
    rgb = rgb if rgb.dtype == torch.float64 else rgb.float()
    # Clamped on either side of its threshold, so that no power of a negative number arises in what is not chosen.
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = (_cube_root(value / white) for value, white in zip(_mixed(linear, XYZ), WHITE))
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """The sRGB in 0..1 of Lab values ``[B, 3, ...]``; what sRGB does not have is brought into it value by value."""
    lab = lab if lab.dtype == torch.float64 else lab.float()
    light, a, b = lab.unbind(1)
    y = (light + 16) / 116
    roots = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(roots > LIMIT, roots**3, 3 * LIMIT**2 * (roots - 4 / 29))
    xyz = torch.stack([value * white for value, white in zip(xyz.unbind(1), WHITE)], dim=1)
    linear = torch.stack(_mixed(xyz, _INVERSE), dim=1).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def lab_of(pictures: Tensor, mean: float | Sequence[float], std: float | Sequence[float]) -> Tensor:
    """Lab values of normalised pictures ``[B, 3, H, W]``."""
    pictures = pictures if pictures.dtype == torch.float64 else pictures.float()
    return rgb_to_lab((pictures * _along(std, pictures) + _along(mean, pictures)).clamp(0, 1))


def normalised(rgb: Tensor, mean: float | Sequence[float], std: float | Sequence[float]) -> Tensor:
    """Pictures ``[B, 3, H, W]`` in 0..1 as networks take them."""
    return (rgb - _along(mean, rgb)) / _along(std, rgb)


def as_grey(lab: Tensor, mean: float | Sequence[float], std: float | Sequence[float]) -> Tensor:
    """The lightness as a normalised grey picture of three channels, from Lab values ``[B, 3, H, W]``."""
    return normalised((lab[:, :1] / 100).expand(-1, 3, -1, -1), mean, std)


def as_colours(lab: Tensor) -> Tensor:
    """The colours without the lightness, as a picture of three channels: a and b, each in -1..1, and zero."""
    a, b = (lab[:, 1:] / REACH).unbind(1)
    return torch.stack([a, b, torch.zeros_like(a)], dim=1)


def _cube_root(t: Tensor) -> Tensor:
    """CIE's cube root, which is a straight line near zero."""
    return torch.where(t > LIMIT**3, t.clamp(min=LIMIT**3) ** (1 / 3), t / (3 * LIMIT**2) + 4 / 29)


def _mixed(channels: Tensor, weights: Sequence[Sequence[float]]) -> list[Tensor]:
    """Weighted sums of three channels; not a matrix product, which autocast would do in half precision."""
    red, green, blue = channels.unbind(1)
    return [row[0] * red + row[1] * green + row[2] * blue for row in weights]


def _along(value: float | Sequence[float], pictures: Tensor) -> Tensor:
    """One number, or one per channel, to be combined with pictures."""
    return torch.as_tensor(value, dtype=pictures.dtype, device=pictures.device).view(-1, 1, 1)


_INVERSE: list[list[float]] = torch.linalg.inv(torch.tensor(XYZ, dtype=torch.float64)).tolist()
