"""Random draws that are the same on every machine: counted splitmix64 bits, turned into numbers by IEEE arithmetic.

Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
https://doi.org/10.1145/2660193.2660195

NumPy may change how its distributions use their bits from one release to the next; this file never does.
"""

import math

import numpy as np

_ONES = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_ROOT = 0x66697273746C6967  # the bytes of "firstlig": keeps seed 0, category 0 away from the all-zero state

FEW = 8
"""Up to so many numbers are drawn one by one."""


class Draw:
    """A stream of random numbers named by (seed, category, instance).

    Calls take consecutive values from the stream, so a function given a fresh ``Draw`` is pure. Bit ``k`` of the
    stream is a hash of its key and the count ``k``: nothing but the key and the count is ever stored.

    Attributes:
        seed: names the data set; any integer.
        category: the number of the class, from 0.
        instance: the number of the picture within its class, from 0; None while a class is being drawn.
        key: the 64-bit name of the stream, from which kernels seed themselves.
    """

    __slots__ = ("_count", "category", "instance", "key", "seed")

    def __init__(self, seed: int, category: int, instance: int | None = None):
        self.seed, self.category, self.instance = seed, category, instance
        self.key = _absorb(_absorb(_absorb(_ROOT, seed), category), 0 if instance is None else instance + 1)
        self._count = 0

    def split(self, number: int) -> "Draw":
        """An independent stream, whatever has been drawn from this one. The same number gives the same stream."""
        branch = Draw.__new__(Draw)
        branch.seed, branch.category, branch.instance = self.seed, self.category, self.instance
        branch.key = _absorb(self.key ^ _GAMMA, number)
        branch._count = 0
        return branch

    def bits(self, count: int) -> np.ndarray:
        """The next ``count`` values, uint64 ``[count]``."""
        z = np.arange(self._count + 1, self._count + 1 + count, dtype=np.uint64)
        self._count += count
        z = z * np.uint64(_GAMMA) + np.uint64(self.key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Even over ``[low, high)``, float64 of the given shape, from the top 53 bits of each value."""
        if (count := _volume(shape)) <= FEW:
            few = [low + (high - low) * ((word >> 11) * 2.0**-53) for word in self._words(count)]
            return np.array(few, np.float64).reshape(shape)
        unit = (self.bits(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(shape)

    def integers(self, low: int, high: int, shape: int | tuple[int, ...] = ()) -> np.ndarray:
        """Even over ``low .. high - 1``, int64 of the given shape; ``high - low`` is at most 2**31.

        Multiplies the top 32 bits by the range and keeps the upper half, which favours no value by more than one
        part in 2**32 / (high - low).
        """
        if (count := _volume(shape)) <= FEW:
            few = [((word >> 32) * int(high - low) >> 32) + int(low) for word in self._words(count)]
            return np.array(few, np.int64).reshape(shape)
        top = self.bits(count) >> np.uint64(32)
        return ((top * np.uint64(high - low)) >> np.uint64(32)).astype(np.int64).reshape(shape) + low

    def _words(self, count: int) -> list[int]:
        """The next few values, as ``bits`` gives them; NumPy takes as long for one as for hundreds."""
        words = []
        for number in range(self._count + 1, self._count + 1 + count):
            z = (number * _GAMMA + self.key) & _ONES
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ONES
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ONES
            words.append(z ^ (z >> 31))
        self._count += count
        return words

    def chance(self, p: float) -> bool:
        """True with probability ``p``."""
        return bool(self.uniform() < p)


def _absorb(key: int, value: int) -> int:
    """Mixes an integer of any sign into a key, by splitmix64's finaliser."""
    z = ((key ^ (value & _ONES)) + _GAMMA) & _ONES
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _ONES
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _ONES
    return z ^ (z >> 31)


def _volume(shape: int | tuple[int, ...]) -> int:
    return shape if isinstance(shape, int) else math.prod(shape)
