"""The chaos game played by many chains at once: pixel numbers of an affine system's attractor.

One chain alone waits for its own last multiplication and its own branch. Here 256 chains take their turns side by
side: the inner loops run over chains, hold no branch and no gather, and compile to vector instructions.
"""

import numpy as np
from numba import literally

from ._chains import roll, seed, thresholds
from ._compile import kernel
from ._raster import clear_rim, count, latest, mark

MOST_MAPS = 8
"""The largest system the kernel is written out for."""

CHAINS = 256
"""How many chains share a picture. Part of a picture's definition: point ``i`` belongs to chain ``i % CHAINS``."""

ROUNDS = 8
"""Rounds played between two looks at the points; 2,048 points and the chains' state stay in the first-level cache."""

SETTLE = 4 * ROUNDS
"""Rounds before any point counts, for the chains to reach the attractor from the origin."""

SURVEY = 4 * ROUNDS
"""Rounds that measure the extent (8,192 points); what lies further out than the picture's padding is not drawn."""

FAR = np.float32(1e6)
"""A system with a chain beyond this distance at the end of the survey is divergent."""

MARK, COUNT, LATEST = 0, 1, 2


@kernel
def play(system, key, points, pad, kind, light, marks, words):
    """Plays the game and drops its points on pixels.

    The pixels must be zero; their outermost ones stay so, and points that miss the others are lost.

    Args:
        system: float64 ``[N, 7]``, a row (a, b, c, d, e, f, p) per map, N up to ``MOST_MAPS``: x' = ax + by + e,
            y' = cx + dy + f, taken with a probability proportional to p.
        key: uint64 that seeds the chains.
        points: how many to drop.
        pad: pixels left free around the surveyed extent, at least 1.
        kind: ``MARK`` sets bytes to ``light`` where a point falls, ``COUNT`` counts the points of each word, ``LATEST``
            notes in words the last point that fell there, counted from 1.
        light: what ``MARK`` sets, 1 to 255.
        marks: uint8 ``[S, S]`` for ``MARK``, else anything of this type.
        words: uint32 ``[S, S]`` for the other two, else anything of this type.

    Returns:
        False, with the pixels untouched, if the system is divergent.
    """
    size = len(marks) if kind == MARK else len(words)
    edges, state = np.empty(MOST_MAPS, np.uint32), np.empty(2 * CHAINS, np.uint32)
    thresholds(system[:, 6], edges)
    seed(key, state)
    walk = np.zeros((ROUNDS + 1) * 2 * CHAINS, np.float32)
    maps = np.zeros((MOST_MAPS, 6), np.float32)
    for k in range(len(system)):
        for j in range(6):
            maps[k, j] = system[k, j]
    for _ in range(SETTLE // ROUNDS):
        _advance(len(system), maps, edges, state, walk)
    low, high = np.empty(2 * CHAINS, np.float32), np.empty(2 * CHAINS, np.float32)
    for i in range(2 * CHAINS):
        low[i], high[i] = FAR, -FAR
    for _ in range(SURVEY // ROUNDS):
        _advance(len(system), maps, edges, state, walk)
        _stretch(walk, low, high)
    if not _near(walk):
        return False
    _to_pixels(system, low, high, size, pad, maps, walk)
    spots = np.empty(ROUNDS * CHAINS, np.uint32)
    for start in range(0, points, ROUNDS * CHAINS):
        _advance(len(system), maps, edges, state, walk)
        _place(walk, size, spots)
        part = spots[: min(points - start, ROUNDS * CHAINS)]
        if kind == MARK:
            mark(part, light, marks)
        elif kind == COUNT:
            count(part, words)
        else:
            latest(part, start, words)
    if kind == MARK:
        clear_rim(marks)
    else:
        clear_rim(words)
    return True


@kernel
def _to_pixels(system, low, high, size, pad, maps, walk):
    """Changes the coordinates of the maps and the chains to columns and rows, so that points need no scaling."""
    left, right, bottom, top = low[0], high[0], low[CHAINS], high[CHAINS]
    for i in range(CHAINS):
        left, right = min(left, low[i]), max(right, high[i])
        bottom, top = min(bottom, low[CHAINS + i]), max(top, high[CHAINS + i])
    across, upward = np.float64(right - left), np.float64(top - bottom)  # subtracted in single precision
    left, top = np.float64(left), np.float64(top)
    room = size - 2 * pad - 0.01  # the hundredth keeps the outermost point inside its own pixel
    u = room / across if across > 0 else 1.0
    v = -room / upward if upward > 0 else -1.0  # a picture's first row is its top
    shift_u, shift_v = pad - u * left, pad - v * top
    for k in range(len(system)):
        a, b, c, d = system[k, 0], system[k, 1] * (u / v), system[k, 2] * (v / u), system[k, 3]
        e = u * system[k, 4] + shift_u - (a * shift_u + b * shift_v)
        f = v * system[k, 5] + shift_v - (c * shift_u + d * shift_v)
        maps[k, 0], maps[k, 1], maps[k, 2], maps[k, 3], maps[k, 4], maps[k, 5] = a, b, c, d, e, f
    for i in range(CHAINS):
        walk[i] = u * walk[i] + shift_u
        walk[CHAINS + i] = v * walk[CHAINS + i] + shift_v


@kernel
def _advance(number, maps, edges, state, walk):
    """Plays ``ROUNDS`` rounds.

    ``walk`` holds one row ``[2 * CHAINS]``, all x and then all y, for the beginning and for each round after it; the
    last row becomes the next beginning. It is one flat array, and the maps are scalars, because otherwise the
    compiler cannot tell that a store leaves the other arrays alone and gives up on vector instructions.
    """
    if number <= 2:
        _rounds(2, maps, edges, state, walk)
    elif number == 3:
        _rounds(3, maps, edges, state, walk)
    elif number == 4:
        _rounds(4, maps, edges, state, walk)
    elif number == 5:
        _rounds(5, maps, edges, state, walk)
    elif number == 6:
        _rounds(6, maps, edges, state, walk)
    elif number == 7:
        _rounds(7, maps, edges, state, walk)
    else:
        _rounds(8, maps, edges, state, walk)


@kernel
def _rounds(number, maps, edges, state, walk):
    """Rounds of a system of ``number`` maps, known to the compiler, which leaves out the lines beyond it.

    Every map is weighed in turn and the last one whose threshold is reached stays: selects instead of branches.
    """
    number = literally(number)
    m0, m1, m2, m3 = _row(maps[0]), _row(maps[1]), _row(maps[2]), _row(maps[3])
    m4, m5, m6, m7 = _row(maps[4]), _row(maps[5]), _row(maps[6]), _row(maps[7])
    t1, t2, t3, t4 = edges[1], edges[2], edges[3], edges[4]
    t5, t6, t7 = edges[5], edges[6], edges[7]
    for turn in range(ROUNDS):
        row = turn * 2 * CHAINS
        for i in range(CHAINS):
            value = roll(state, i, CHAINS)
            m = _pick(value >= t1, m1, m0)
            if number > 2:
                m = _pick(value >= t2, m2, m)
            if number > 3:
                m = _pick(value >= t3, m3, m)
            if number > 4:
                m = _pick(value >= t4, m4, m)
            if number > 5:
                m = _pick(value >= t5, m5, m)
            if number > 6:
                m = _pick(value >= t6, m6, m)
            if number > 7:
                m = _pick(value >= t7, m7, m)
            x, y = walk[row + i], walk[row + CHAINS + i]
            walk[row + 2 * CHAINS + i] = m[0] * x + (m[1] * y + m[4])
            walk[row + 3 * CHAINS + i] = m[2] * x + (m[3] * y + m[5])
    for i in range(2 * CHAINS):
        walk[i] = walk[ROUNDS * 2 * CHAINS + i]


@kernel
def _row(table):
    return table[0], table[1], table[2], table[3], table[4], table[5]


@kernel
def _pick(taken, new, old):
    a = new[0] if taken else old[0]
    b = new[1] if taken else old[1]
    c = new[2] if taken else old[2]
    d = new[3] if taken else old[3]
    e = new[4] if taken else old[4]
    f = new[5] if taken else old[5]
    return a, b, c, d, e, f


@kernel
def _stretch(walk, low, high):
    """Widens each chain's lowest and highest coordinates by the rounds just played."""
    for turn in range(1, ROUNDS + 1):
        for i in range(2 * CHAINS):
            value = walk[turn * 2 * CHAINS + i]
            low[i] = value if value < low[i] else low[i]
            high[i] = value if value > high[i] else high[i]


@kernel
def _near(walk):
    """Whether every chain is still at a number, and a modest one; a comparison with NaN is false."""
    near = 0
    for i in range(2 * CHAINS):
        near += 1 if abs(walk[i]) < FAR else 0
    return near == 2 * CHAINS


@kernel
def _place(walk, size, spots):
    """Turns columns and rows into pixel numbers; a stray, or what is no number, goes to the rim."""
    zero, far, wide = np.float32(0), np.float32(size - 1), np.int32(size)
    for turn in range(ROUNDS):
        here = (turn + 1) * 2 * CHAINS
        for i in range(CHAINS):
            column, row = walk[here + i], walk[here + CHAINS + i]
            column = column if column < far else far
            row = row if row < far else far
            column = column if column > zero else zero
            row = row if row > zero else zero
            spots[turn * CHAINS + i] = np.uint32(np.int32(np.int32(row) * wide) + np.int32(column))
