"""Perlin noise along a line, with the values of the ``noise`` package, in which the public generators draw contours.

Perlin, "Improving noise", SIGGRAPH 2002. https://doi.org/10.1145/566654.566636
The package's slopes along a line are its own: 1 to 8, or -1. https://github.com/caseman/noise
"""

import numpy as np

from ._compile import kernel

PERMUTATION = bytes.fromhex(
    "97a0895b5a0f830dc95f6035c2e907e18c24671e458e086325f0150a17be0694f778ea4b001ac53e5efcdbcb75230b2039b12158ed953857"
    "ae147d88aba844af4aa547868b301ba64d929ee7536fe57a3cd385e6dc695c29372ef528f4668f3641193fa101d85049d14c84bbd05912a9"
    "c8c4878274bc9f56a4646dc6adba034034d9e2fa7c7b05ca2693767eff5255d4cfce3be32f103a11b6bd1c2adfb7aad577f898022c9aa346"
    "dd99659ba72bac09811627fd13626c6e4f71e0e8b2b97068daf661e4fb22f2c1eed2900cbfb3a2f1513391ebf90eef6b31c0d61fb5c76a9d"
    "b854ccb07379322d7f0496fe8aeccd5dde72431d1848f38d80c34e42d73d9cb4"
)
"""The numbers 0 to 255 in the order of Perlin's reference implementation."""

SLOPES = np.array([-1 if value & 8 else (value & 7) + 1 for value in PERMUTATION], np.int32)
"""The slope of the noise at each of the 256 whole numbers before it repeats: -1 at half of them, else 1 to 8."""

_PAIRS = (SLOPES & 0xFFFF) | np.roll(SLOPES, -1) << 16
"""The slopes at both ends of each cell: one number, because looking two up would take twice as long."""


@kernel
def noise1(position):
    """The noise at a position: 0 at whole numbers, -.953 to .953 between, .33 from 0 by the mean of squares.

    Single precision throughout; each operation is rounded, in the order written here.

    Args:
        position: float32, 0 to 2**24.
    """
    cell = np.int32(position)
    after = position - np.float32(cell)
    before = after - np.float32(1)
    fade = after * after * after * (after * (after * np.float32(6) - np.float32(15)) + np.float32(10))
    slopes = _PAIRS[cell & 255]
    left = np.float32(np.int32(slopes << 16) >> 16) * after
    right = np.float32(slopes >> 16) * before
    return (left + fade * (right - left)) * np.float32(0.4)
