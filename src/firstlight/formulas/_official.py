"""The point pictures of the public FractalDB renderer, pixel for pixel.

Kataoka et al., ACCV 2020. https://github.com/hirokatsukataoka16/FractalDB-Pretrained-ResNet-PyTorch
Its patches come from an unseeded generator and cannot be had again.
"""

import math

import numpy as np

from ..errors import InputError
from ._compile import kernel


def point_picture(system: np.ndarray, size: int, points: int, pad: int, wheel: np.ndarray) -> np.ndarray:
    """The picture before its four flips, uint8 ``[size, size, 3]``.

    Args:
        system: float64 ``[N, 7]``, probabilities last.
        size: the side in pixels.
        points: how many, the origin included.
        pad: pixels left free on each side.
        wheel: uint8 ``[128, 3]``, the colours that the points take in turn.

    Raises:
        InputError: where the public code has no picture: nothing finite is left, or it has no extent.
    """
    # RandomState is NumPy's frozen legacy generator: its stream is promised never to change.
    chances = np.random.RandomState(100).random_sample(points)
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = _walk(system, np.cumsum(system[:, 6]), chances)
    keep = _without_lost(x)
    x, y = x[keep], y[keep]
    keep = _without_lost(y)  # asked after x has been cut, as the public code does
    x, y = x[keep], y[keep]
    column, row = _pixels(x, size, pad), _pixels(y, size, pad)
    pixels = np.zeros((size, size, 3), np.uint8)
    _paint(row, column, wheel, pixels)
    return pixels[::-1]


@kernel
def _walk(system, cumulated, chances):
    """One chain of float64 from the origin, which counts as the first point. The map is searched for in order."""
    x, y = np.zeros(len(chances)), np.zeros(len(chances))
    for i in range(len(chances) - 1):
        x[i + 1], y[i + 1] = x[i], y[i]  # where rounding leaves the last sum below 1, the point may stay
        for k in range(len(system)):
            if chances[i] <= cumulated[k]:
                x[i + 1] = x[i] * system[k, 0] + y[i] * system[k, 1] + system[k, 4]
                y[i + 1] = x[i] * system[k, 2] + y[i] * system[k, 3] + system[k, 5]
                break
    return x, y


def _without_lost(axis: np.ndarray) -> np.ndarray:
    """Which points stay: not those that are no number, nor the hundred before the first of them, huge by then."""
    lost = np.flatnonzero(np.isnan(axis))
    keep = np.ones(len(axis), bool)
    if len(lost):
        before = np.arange(lost[0] - 100, lost[0])  # below 0 it counts from the end, as the public code's does
        keep[np.concatenate([before[before >= -len(axis)], lost])] = False
    return keep


def _pixels(axis: np.ndarray, size: int, pad: int) -> np.ndarray:
    """Each axis is stretched by itself to reach from pad to size - pad, and cut down to whole pixels."""
    extent = axis.max() - axis.min() if len(axis) else 0.0
    if not 0 < extent < math.inf:
        raise InputError("this system has no picture in the public renderer: its points have no finite extent")
    if axis.min() < 0:
        axis = axis - axis.min()
        extent = axis.max() - axis.min()
    return (axis / extent * float(size - 2 * pad) + float(pad)).astype(np.uint16)


@kernel
def _paint(row, column, wheel, pixels):
    for i in range(len(row)):
        for channel in range(3):
            pixels[row[i], column[i], channel] = wheel[i % 128, channel]


def hue_wheel() -> np.ndarray:
    """128 colours of saturation and intensity .75, uint8 ``[128, 3]``, in the public code's order of channels."""
    intensity = saturation = 0.75
    wheel = []
    for k in range(128):
        hue = 3.0 / math.pi * (2.0 * math.pi * (k / 128.0))
        sextant = math.floor(hue)
        low = intensity * (1.0 - saturation)
        falling = intensity * (1.0 - saturation * (hue - sextant))
        rising = intensity * (1.0 - saturation * ((1.0 - hue) + sextant))
        order = [
            (low, rising, intensity),
            (low, intensity, falling),
            (rising, intensity, low),
            (intensity, falling, low),
            (intensity, low, rising),
            (falling, low, intensity),
        ][sextant]
        wheel.append([int(channel * 255.0) for channel in order])
    return np.array(wheel, np.uint8)
