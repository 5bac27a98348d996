"""What happens to a view's values: brightness, contrast, saturation, hue, grey, blur and inversion, all batched.

Images are float32 ``[B, C, H, W]`` in [0, 1] with C = 1 or 3 and are overwritten; parameters differ from sample to
sample. Definitions follow torchvision.transforms.v2.functional, including its grey weights.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from .random import Salt, uniform, uniforms

__all__ = ["blur", "draw_jitter", "gray", "hue", "jitter", "luma", "solarize"]

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
LUMA = (0.2989, 0.587, 0.114)


def draw_jitter(key: Tensor, strength: tuple[float, float, float, float], chance: float) -> tuple[Tensor, Tensor]:
    """Draws what ``jitter`` does to each sample, in torchvision's ranges.

    Args:
        key: int64 ``[B]``.
        strength: of brightness, contrast, saturation and hue. The first three become factors from 1 - strength (at
            least 0) to 1 + strength, the last a shift from -strength to strength of the colour circle.
        chance: the probability that a sample is changed at all.

    Returns:
        factors float32 ``[B, 4]``, (1, 1, 1, 0) where a sample stays as it is, and the order int64 ``[B, 4]``.
    """
    low = torch.tensor([max(0.0, 1 - s) for s in strength[:3]] + [-strength[3]], device=key.device)
    high = torch.tensor([1 + s for s in strength[:3]] + [strength[3]], device=key.device)
    same = torch.tensor([1.0, 1.0, 1.0, 0.0], device=key.device)
    factors = low + uniforms(key, 4, Salt.JITTER, 0) * (high - low)
    chosen = uniform(key, Salt.JITTER, 1) < chance
    order = uniforms(key, 4, Salt.JITTER, 2).argsort(dim=1, stable=True)
    return torch.where(chosen[:, None], factors, same), order


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Changes brightness, contrast, saturation and hue, each sample in its own order.

    In each of the four places, everything but the hue is one formula: image * f + (1 - f) * other, where ``other`` is
    black (brightness), the mean grey (contrast) or the pixel's grey (saturation).

    Args:
        images: overwritten.
        factors: float32 ``[B, 4]`` on the CPU: three factors and the hue's shift.
        order: int64 ``[B, 4]`` on the CPU: which of the four comes first, second, ...

    Returns:
        ``images``.
    """
    coloured = images.shape[1] == 3
    for step in order.unbind(1):
        factor = factors.gather(1, step[:, None])[:, 0]
        shifted = ((step == HUE) & (factor != 0)).nonzero()[:, 0]
        plain = (step == HUE) | ((step == SATURATION) & (not coloured))
        factor_or_one = torch.where(plain, 1.0, factor)
        if (factor_or_one != 1).any():
            _blend(images, factor_or_one, step)
        if coloured and len(shifted):
            place = shifted.to(images.device)
            images.index_copy_(0, place, hue(images.index_select(0, place), factor[shifted]))
    return images


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turns the colour circle by ``shift`` ``[B]``, from -1/2 to 1/2 of it. Does not overwrite ``images``.

    A channel is max - (max - min) * clamp(2 - 6 d, 0, 1), where d is how far the hue is, as a part of the circle, from
    the colour opposite to that channel: the same result as going through HSV. Written without comparisons, because
    ``where`` takes ten times as long as arithmetic on a CPU.
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    spread = high - torch.minimum(torch.minimum(red, green), blue)
    divisor = spread.clamp(min=1e-12)  # a grey pixel has no hue, and none is needed: its spread is 0
    turn = (red - green).div_(divisor).add_(4)
    turn = torch.lerp((blue - red).div_(divisor).add_(2), turn, (high - green).sign_())
    turn = torch.lerp((green - blue).div_(divisor), turn, (high - red).sign_())
    turn.mul_(1 / 6).add_(shift.to(images.device).view(-1, 1, 1))

    out = torch.empty_like(images)
    for channel, opposite in enumerate((3 / 6, 5 / 6, 1 / 6)):
        away = turn - opposite
        away.sub_(away.round()).abs_()
        torch.addcmul(high, spread, torch.rsub(away, 1 / 3).clamp_(0, 1 / 6), value=-6, out=out[:, channel])
    return out.clamp_(0, 1)


def luma(images: Tensor, weights: tuple[float, float, float] = LUMA) -> Tensor:
    """The grey value ``[B, 1, H, W]`` of colour images; a grey image is its own."""
    if images.shape[1] == 1:
        return images.clone()
    red, green, blue = images.split(1, dim=1)
    return (red * weights[0]).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])


def gray(images: Tensor) -> Tensor:
    """Grey images with as many channels as before."""
    return luma(images).repeat(1, images.shape[1], 1, 1)  # not expanded: the next step may write into it


def solarize(images: Tensor) -> Tensor:
    """Inverts all values of 0.5 (128 of 255) and above: then x and 1 - x, whichever is smaller, is the result."""
    return torch.minimum(images, 1 - images)


def blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Gaussian blur with reflected borders.

    Sums shifted copies, which measured faster than grouped convolutions and banded matrices from 32 to 224 pixels.
    Weights beyond five standard deviations of the batch's widest blur are less than 1e-5 of the middle one and left
    out.

    Args:
        images: their sides must exceed half the kernel.
        sigma: float32 ``[B]`` on the CPU, in pixels, above 0.
        kernel: odd, the largest number of pixels along each axis.
    """
    radius = min(kernel // 2, math.ceil(5 * float(sigma.max())), min(images.shape[2:]) - 1)
    offset = torch.arange(-radius, radius + 1)
    weights = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, dim=1).to(images.device)
    padded = functional.pad(images, (radius,) * 4, mode="reflect")
    return _smoothed(_smoothed(padded, weights, 2), weights, 3)


def _smoothed(padded: Tensor, weights: Tensor, axis: int) -> Tensor:
    taps = weights.shape[1]
    radius, length = taps // 2, padded.shape[axis] - taps + 1
    weights = weights.view(-1, taps, 1, 1, 1)
    out = padded.narrow(axis, radius, length) * weights[:, radius]
    for tap in range(radius):
        both = padded.narrow(axis, tap, length) + padded.narrow(axis, taps - 1 - tap, length)
        out.addcmul_(both, weights[:, tap])
    return out


def _blend(images: Tensor, factor: Tensor, step: Tensor) -> None:
    to_gray = torch.where(step == SATURATION, 1 - factor, 0.0)
    to_mean = torch.where(step == CONTRAST, 1 - factor, 0.0)
    factor, to_gray, to_mean = (x.to(images.device).view(-1, 1, 1, 1) for x in (factor, to_gray, to_mean))
    other = luma(images)
    mean = other.mean(dim=(2, 3), keepdim=True)
    images.mul_(factor).add_(other.mul_(to_gray).add_(mean.mul_(to_mean))).clamp_(0, 1)
