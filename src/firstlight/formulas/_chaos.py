"""The chaos game played by many chains at once: pixel numbers of an affine system's attractor.

A single chain waits for its own last multiplication and its own branch. Here 256 chains take their turns side by
side: the inner loops run over chains, hold no branch and no gather, and compile to vector instructions. The maps come
as a tuple, so that numba compiles one kernel per number of maps with the choice between them unrolled.

Arithmetic is strict: no fast-math flag is set, so nothing is contracted, reordered or assumed finite, and every
processor gives the same bits. Under ``NUMBA_DISABLE_JIT=1`` the same code runs as Python.
"""

import numpy as np
from numba import njit

CHAINS = 256
"""How many chains share a picture. Part of a picture's definition: point ``i`` belongs to chain ``i % CHAINS``."""

SETTLE = 48
"""Rounds played before any point counts, for the chains to reach the attractor from the origin."""

SURVEY = 32
"""Rounds that measure the extent (8,192 points); what lies further out than a picture's padding is not drawn."""

FAR = np.float32(1e6)
"""A system whose chains leave this distance while it is surveyed counts as divergent."""

Maps = tuple[tuple[float, float, float, float, float, float], ...]
strict = {"nogil": True, "error_model": "numpy"}


@njit(**strict)
def play(maps, thresholds, state, size, pad, spots):
    """Plays the game and notes where each point falls.

    Args:
        maps: one tuple of floats (a, b, c, d, e, f) per map: x' = ax + by + e, y' = cx + dy + f.
        thresholds: one integer per map; map ``k`` is taken by 24-bit values from ``thresholds[k]`` up to the next
            map's. The first is 0.
        state: uint32 ``[2 * CHAINS]`` of random bits, not both words of a chain zero; used up.
        size: the side of the picture in pixels.
        pad: pixels left free around the surveyed extent, at least 1.
        spots: uint32 ``[rounds * CHAINS]``, filled with ``row * size + column`` of each point in the order drawn, or
            ``size * size`` for a point outside rows and columns ``1 .. size - 2``.

    Returns:
        False, with ``spots`` untouched, if the system is divergent.
    """
    place = np.zeros(2 * CHAINS, np.float32)
    for _ in range(SETTLE):
        for i in range(CHAINS):
            place[i], place[CHAINS + i] = _move(maps, thresholds, _roll(state, i), place[i], place[CHAINS + i])
    left, right, bottom, top = _survey(maps, thresholds, state, place)
    if not (left > -FAR and right < FAR and bottom > -FAR and top < FAR):
        return False
    room = np.float32(size - 2 * pad - 0.01)
    scale_x = room / (right - left) if right > left else np.float32(0)
    scale_y = room / (top - bottom) if top > bottom else np.float32(0)
    margin, edge = np.float32(pad), np.float32(size - 1)
    for start in range(0, len(spots), CHAINS):
        for i in range(CHAINS):
            x, y = _move(maps, thresholds, _roll(state, i), place[i], place[CHAINS + i])
            place[i], place[CHAINS + i] = x, y
            column, row = (x - left) * scale_x + margin, (top - y) * scale_y + margin
            inside = (column >= np.float32(1)) & (column < edge) & (row >= np.float32(1)) & (row < edge)
            column = column if inside else np.float32(0)
            row = row if inside else np.float32(size)
            spots[start + i] = np.uint32(np.int32(row) * np.int32(size) + np.int32(column))
    return True


@njit(inline="always")
def _move(maps, thresholds, value, x, y):
    """One chain's turn. Every map is weighed and the last one whose threshold is reached stays: no branch."""
    a, b, c, d, e, f = _single(maps[0])
    for k in range(1, len(maps)):
        taken = value >= np.uint32(thresholds[k])
        ak, bk, ck, dk, ek, fk = _single(maps[k])
        a = ak if taken else a
        b = bk if taken else b
        c = ck if taken else c
        d = dk if taken else d
        e = ek if taken else e
        f = fk if taken else f
    return a * x + (b * y + e), c * x + (d * y + f)


@njit(inline="always")
def _single(row):
    a, b, c, d, e, f = row
    return np.float32(a), np.float32(b), np.float32(c), np.float32(d), np.float32(e), np.float32(f)


@njit(inline="always")
def _roll(state, i):
    """The next 24 random bits of chain ``i``, by xoroshiro64* (Blackman & Vigna, https://prng.di.unimi.it).

    Products and left shifts pass through 64 bits because NumPy's 32-bit scalars warn when they wrap around; the
    compiler narrows them again.
    """
    first = state[i]
    second = np.uint32(state[CHAINS + i] ^ first)
    value = np.uint32(np.uint64(first) * np.uint64(0x9E3779BB)) >> np.uint32(8)
    turned = np.uint32(np.uint64(first) << np.uint64(26)) | np.uint32(first >> np.uint32(6))
    state[i] = turned ^ second ^ np.uint32(np.uint64(second) << np.uint64(9))
    state[CHAINS + i] = np.uint32(np.uint64(second) << np.uint64(13)) | np.uint32(second >> np.uint32(19))
    return value


@njit(**strict)
def _survey(maps, thresholds, state, place):
    """Plays on and returns the extent (left, right, bottom, top), all of it FAR if a chain flies off."""
    extent = np.empty(4 * CHAINS, np.float32)
    extent[: 2 * CHAINS] = np.float32(np.inf)
    extent[2 * CHAINS :] = np.float32(-np.inf)
    for _ in range(SURVEY):
        for i in range(CHAINS):
            x, y = _move(maps, thresholds, _roll(state, i), place[i], place[CHAINS + i])
            place[i], place[CHAINS + i] = x, y
            low_x, low_y = extent[i], extent[CHAINS + i]
            high_x, high_y = extent[2 * CHAINS + i], extent[3 * CHAINS + i]
            extent[i] = x if x < low_x else low_x
            extent[CHAINS + i] = y if y < low_y else low_y
            extent[2 * CHAINS + i] = x if x > high_x else high_x
            extent[3 * CHAINS + i] = y if y > high_y else high_y
    left, bottom, right, top = extent[0], extent[CHAINS], extent[2 * CHAINS], extent[3 * CHAINS]
    for i in range(CHAINS):
        # a comparison with NaN is false, so a chain that has left the numbers must be asked where it is
        if not (abs(place[i]) < FAR and abs(place[CHAINS + i]) < FAR):
            return -FAR, FAR, -FAR, FAR
        left, bottom = min(left, extent[i]), min(bottom, extent[CHAINS + i])
        right, top = max(right, extent[2 * CHAINS + i]), max(top, extent[3 * CHAINS + i])
    return left, right, bottom, top
