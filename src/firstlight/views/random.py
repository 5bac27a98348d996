"""Random numbers that are a pure function of a sample's key and of what they decide: no generator, no state.

The key and the salts pass through splitmix64's finaliser (Steele, Lea and Flood, OOPSLA 2014,
https://doi.org/10.1145/2660193.2660195) in wrapping int64 arithmetic, which CPUs and GPUs do alike.
"""

import math
from enum import IntEnum

import torch
from torch import Tensor

__all__ = ["Salt", "beta", "branch", "gumbel", "normal", "uniform", "uniforms"]

_GOLDEN = 0x9E3779B97F4A7C15


class Salt(IntEnum):
    """One number for each independent decision. A number once used keeps its meaning: changing it changes every run."""

    BOX = 1
    FLIP = 2
    FLIP_VERTICAL = 3
    TURN = 4
    JITTER = 5
    GRAY = 6
    BLUR = 7
    SOLARIZE = 8
    ERASE = 9
    NOISE = 10
    MIX = 11
    HIDE = 12
    AUGMENT = 13
    NEGATIVES = 14
    SHARE = 15
    BLOCK = 16
    TILE = 17
    ORDER = 18
    CLUSTER = 19
    QUARTER = 30
    NEIGHBOUR = 31
    PAIR = 35
    DROP = 32
    DROPPED = 33
    PERMUTATION = 34
    HOLE = 40
    CORRUPT = 41
    CUT = 42
    SCAR = 43
    CORRUPTION = 50
    OTHER = 51
    PALETTE = 70
    TOKEN = 71
    PAINT = 72
    SUBCROP = 73
    CHANNEL = 74
    MIRROR = 75
    BUDGET = 80
    GUMBEL = 60
    GROUP = 90
    FILLING = 91
    PARTNER = 92
    WINDOW = 93


def branch(key: Tensor, *salt: int) -> Tensor:
    """New keys, int64, independent of the given ones and of each other salt's: one for each view of a picture, say."""
    return _hash(key, *salt)


def uniform(key: Tensor, *salt: int) -> Tensor:
    """One number for each key, evenly spread over the 2^24 multiples of 2^-24 in [0, 1).

    Args:
        key: int64 of any shape, on any device.
        salt: what the number is for. Different salts give independent numbers.

    Returns:
        float32 of the same shape, the same bits on every device.
    """
    return _fraction(_hash(key, *salt), 40)


def uniforms(key: Tensor, count: int, *salt: int) -> Tensor:
    """``count`` numbers for each key: column ``j`` is ``uniform(key, *salt, j)``.

    Args:
        key: int64 ``[B]``.
        count: how many.
        salt: what the numbers are for.

    Returns:
        float32 ``[B, count]`` in [0, 1).
    """
    return _fraction(_counted(key, count, *salt), 40)


def normal(key: Tensor, count: int, *salt: int) -> Tensor:
    """``count`` draws from the standard normal distribution for each key (Box and Muller), float32 ``[B, count]``.

    CPU and GPU agree to rounding, not to the bit: their logarithms differ. No draw is larger than 5.8.
    """
    bits = _counted(key, (count + 1) // 2, *salt)
    first, second = _fraction(bits, 40), _fraction(bits, 16)
    radius = (1 - first).log_().mul_(-2).sqrt_()
    angle = second.mul_(2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


def gumbel(key: Tensor, count: int, *salt: int) -> Tensor:
    """``count`` draws from the standard Gumbel distribution for each key, float32 ``[B, count]``, from -2.9 to 17.4.

    The largest of some logits to which such draws were added is a sample of their softmax. CPU and GPU agree to
    rounding, as in `normal`.
    """
    bits = _counted(key, (count + 1) // 2, *salt)
    draws = torch.cat([_fraction(bits, 40), _fraction(bits, 16)], dim=1)[:, :count]
    exponential = (1 - draws).log_().neg_().clamp_(min=2.0**-25)  # a draw of 0 would be infinitely large
    return exponential.log_().neg_()


def beta(key: Tensor, alpha: float, *salt: int) -> Tensor:
    """One draw from Beta(alpha, alpha) for each key, float64, for any alpha > 0 and without rejection.

    If T follows Student's t with 2 alpha degrees of freedom, (1 + T / sqrt(2 alpha + T^2)) / 2 is Beta(alpha, alpha),
    and T comes from two uniforms by Bailey's polar formula (https://doi.org/10.2307/2153537). Written here in powers
    that cannot overflow.
    """
    radius, angle = uniforms(key, 2, *salt).double().unbind(1)
    tail = (1 - radius) ** (1 / alpha)
    cosine = torch.cos(2 * math.pi * angle)
    across = (1 - tail) * cosine**2
    return (1 + cosine.sign() * torch.sqrt(across / (across + tail))) / 2


def _hash(key: Tensor, *salt: int) -> Tensor:
    bits = _mix(key + _signed(_GOLDEN))
    for number in salt:
        bits = _mix(bits + _signed((int(number) + 1) * _GOLDEN))
    return bits


def _counted(key: Tensor, count: int, *salt: int) -> Tensor:
    counter = torch.arange(1, count + 1, device=key.device) * _signed(_GOLDEN)
    return _mix(_hash(key, *salt)[:, None] + counter)


def _mix(x: Tensor) -> Tensor:
    """Splitmix64's finaliser. Overwrites ``x``."""
    x ^= _shifted(x, 30)
    x *= _signed(0xBF58476D1CE4E5B9)
    x ^= _shifted(x, 27)
    x *= _signed(0x94D049BB133111EB)
    x ^= _shifted(x, 31)
    return x


def _shifted(x: Tensor, places: int) -> Tensor:
    """``x >> places`` for unsigned numbers: torch's int64 shift repeats the sign, so the new bits are masked off."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _fraction(bits: Tensor, lowest: int) -> Tensor:
    """The 24 bits from ``lowest`` on, as a fraction: all that float32 can hold exactly."""
    return ((bits >> lowest) & 0xFFFFFF).float().mul_(2.0**-24)


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
