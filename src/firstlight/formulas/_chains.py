"""What the chains of a chaos game have in common, in the plane and in space: their random bits and the maps' shares."""

import numpy as np

from ._compile import kernel


@kernel
def thresholds(chances, edges):
    """Map ``k`` is taken by 24-bit values from ``edges[k]`` up to the next; absent maps are out of reach.

    Args:
        chances: float64 ``[N]``, proportional to how often each map is taken.
        edges: uint32 ``[M]``, M at least N, written.
    """
    total = 0.0
    for k in range(len(chances)):
        total += chances[k]
    reached = 0.0
    for k in range(len(edges)):
        edges[k] = 1 << 24
        if k < len(chances):
            share = min(reached / total, 1.0) if total > 0 else 0.0
            edges[k] = np.uint32(share * float(1 << 24))
            reached += chances[k]


@kernel
def seed(key, state):
    """The chains' first states by splitmix64, uint32 ``[2 * chains]``; odd, because all zero would stay zero."""
    z = np.uint64(key)
    for i in range(len(state)):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        w = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        w = (w ^ (w >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state[i] = np.uint32((w ^ (w >> np.uint64(31))) & np.uint64(0xFFFFFFFF)) | np.uint32(1)


@kernel
def roll(state, i, chains):
    """The next 24 random bits of chain ``i``, by xoroshiro64* (Blackman & Vigna, https://prng.di.unimi.it).

    Products and left shifts pass through 64 bits because NumPy's 32-bit scalars warn when they wrap around; the
    compiler narrows them again.
    """
    first = state[i]
    second = np.uint32(state[chains + i] ^ first)
    value = np.uint32(np.uint64(first) * np.uint64(0x9E3779BB)) >> np.uint32(8)
    turned = np.uint32(np.uint64(first) << np.uint64(26)) | np.uint32(first >> np.uint32(6))
    state[i] = turned ^ second ^ np.uint32(np.uint64(second) << np.uint64(9))
    state[chains + i] = np.uint32(np.uint64(second) << np.uint64(13)) | np.uint32(second >> np.uint32(19))
    return value
