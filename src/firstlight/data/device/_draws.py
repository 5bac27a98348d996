"""Many streams of ``formulas.Draw`` side by side: the same numbers, as tensors on a device.

The 64-bit words are int64 tensors, whose products and sums wrap around alike; only the shift to the right differs.
"""

import math

import torch
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Draws:
    """B streams, each what ``Draw`` with its key is.

    Args:
        key: int64 ``[B]``, the 64 bits of each stream's key.
    """

    def __init__(self, key: Tensor):
        self.key = key
        self._count = 0

    def split(self, number: int) -> "Draws":
        """Independent streams, as ``Draw.split``."""
        return Draws(mixed((self.key ^ signed(GAMMA) ^ number) + signed(GAMMA)))

    def bits(self, count: int) -> Tensor:
        """The next ``count`` values of each stream, int64 ``[B, count]``."""
        words = counted(self.key, self._count, count)
        self._count += count
        return words

    def uniform(self, low: float | Tensor = 0.0, high: float | Tensor = 1.0, shape: tuple[int, ...] = ()) -> Tensor:
        """Even over ``[low, high)``, float64 ``[B, *shape]``."""
        unit = (shifted(self.bits(math.prod(shape)), 11).double() * 2.0**-53).reshape(-1, *shape)
        return low + (high - low) * unit

    def integers(self, low: int, high: int, shape: tuple[int, ...] = ()) -> Tensor:
        """Even over ``low .. high - 1``, int64 ``[B, *shape]``."""
        top = shifted(self.bits(math.prod(shape)), 32)
        return shifted(top * (high - low), 32).reshape(-1, *shape) + low


def counted(key: Tensor, first: int, count: int) -> Tensor:
    """Values ``first`` to ``first + count - 1`` of the streams named by ``key [B]``, int64 ``[B, count]``."""
    steps = torch.arange(first + 1, first + 1 + count, device=key.device) * signed(GAMMA)
    return mixed(key[:, None] + steps)


def mixed(x: Tensor) -> Tensor:
    """Splitmix64's finaliser. Overwrites ``x``."""
    x ^= shifted(x, 30)
    x *= signed(_FIRST)
    x ^= shifted(x, 27)
    x *= signed(_SECOND)
    x ^= shifted(x, 31)
    return x


def shifted(x: Tensor, places: int) -> Tensor:
    """``x >> places`` of unsigned numbers: the shift of int64 repeats the sign, so the new bits are masked off."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def divided(x: Tensor, by: float) -> Tensor:
    """``x / by``, rounded once: CUDA multiplies by the reciprocal of a plain number."""
    return x / torch.full((), by, dtype=x.dtype, device=x.device)


def signed(number: int) -> int:
    """The int64 with the same 64 bits."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
