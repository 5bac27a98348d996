"""The chaos game in space, played by many chains at once: clouds of points, and what is done with them.

Single precision and no branches, as in ``_chaos``. A cloud is small, 10,000 points, so fewer chains share it: each
has to find the attractor first, and that is work without points.
"""

import threading

import numpy as np
from numba import literally

from ..errors import InputError
from ._chains import roll, seed, thresholds
from ._compile import kernel

MOST_MAPS = 7
"""The largest system the kernel is written out for."""

CHAINS = 128
"""How many chains share a cloud. Part of its definition: point ``i`` belongs to chain ``i % CHAINS``."""

SETTLE = 32
"""Rounds before any point counts, for the chains to reach the attractor from the origin."""

FAR = np.float32(1e6)
"""A system with a chain beyond this distance after the last round is divergent."""

MOST_POINTS = 1 << 24
"""The largest cloud: 200 MB."""

SEARCH_POINTS = 10_000
"""Points on which a category's variance is measured, as in the public code."""

GLANCES = (256, 1024, 4096)
"""Numbers of points after which the search looks whether a system can still pass."""


_kept = threading.local()


def cloud_of(system: np.ndarray, walk: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """The cloud of a system and its frame, as ``play`` leaves them; a system that flies apart is shrunk until it stays.

    Each thread keeps its last cloud, since many views of one follow each other, and draws the next into the same
    memory: use it before asking for another, and do not write to it.

    Args:
        system: float64 ``[N, 13]``.
        walk: 64 bits that seed the chains.
        points: how many.

    Raises:
        InputError: if the system is none, or stays out of all bounds however much it is shrunk.
    """
    name = (system.tobytes(), system.shape, walk, points)
    if getattr(_kept, "name", None) != name:
        if system.dtype != np.float64 or system.ndim != 2 or system.shape[1] != 13 or not 1 <= len(system) <= MOST_MAPS:
            raise InputError(
                f"a system of maps of space is float64 [N, 13] with N from 1 to {MOST_MAPS}, "
                f"got {system.dtype} {list(system.shape)}: check the codebook"
            )
        _kept.name = None  # what follows may fail midway
        if len(getattr(_kept, "cloud", ())) < _room(points):
            _kept.cloud, _kept.frame = np.empty(_room(points), np.float32), np.empty(5)
        _play_until_it_stays(np.ascontiguousarray(system), walk, points)
        _kept.name = name
    return _kept.cloud, _kept.frame


def _room(points: int) -> int:
    """How many numbers ``play`` needs for a cloud of so many points."""
    return (max(-(-points // (4 * CHAINS)) * 4, SETTLE) + 1) * 3 * CHAINS


def _play_until_it_stays(system: np.ndarray, walk: int, points: int) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # without the compiler, wrapping and infinity would warn
        for _ in range(100):
            if play(system, np.uint64(walk), points, _kept.cloud, _kept.frame):
                return
            system = system.copy()
            system[:, :9] *= 0.9
    raise InputError("a system of maps of space stays out of all bounds however much it is shrunk: check the codebook")


@kernel
def play(system, key, points, cloud, frame):
    """Plays the game and measures the cloud.

    Args:
        system: float64 ``[N, 13]``, a row (a .. i, j, k, l, p) per map, N up to ``MOST_MAPS``: x' = ax + by + cz + j,
            y' = dx + ey + fz + k, z' = gx + hy + iz + l, taken with a probability proportional to p.
        key: uint64 that seeds the chains.
        points: how many.
        cloud: float32, written. Round ``t`` of all chains lies in row ``t + 1`` of ``[rounds, 3, CHAINS]``; row 0 and
            what comes after ``points`` points are of no use.
        frame: float64 ``[5]``, written: the mean of the points, the scale that takes the range of all coordinates
            together, so that proportions are kept, to 2, and the least coordinate. ``(point - mean) * scale`` lies
            within -2 to 2. All are measured on whole rounds, a multiple of four, so on a few points more.

    Returns:
        False, with the cloud in no defined state, if the system is divergent.
    """
    edges, state = np.empty(MOST_MAPS, np.uint32), np.empty(2 * CHAINS, np.uint32)
    thresholds(system[:, 12], edges)
    seed(key, state)
    maps = np.zeros(MOST_MAPS * 12, np.float32)
    for k in range(len(system)):
        for j in range(12):
            maps[12 * k + j] = system[k, j]
    for i in range(3 * CHAINS):
        cloud[i] = np.float32(0)
    rounds, last = (points + 4 * CHAINS - 1) // (4 * CHAINS) * 4, 0
    for count in (SETTLE, rounds):  # a loop, because each call would be compiled anew
        for i in range(3 * CHAINS):
            cloud[i] = cloud[last * 3 * CHAINS + i]
        _advance(len(system), count, maps, edges, state, cloud)
        last = count
    if not _near(cloud, rounds):
        return False
    _measure(cloud, rounds, frame)
    return True


@kernel
def gather(cloud, frame, table):
    """Writes the points of a cloud in their order, centred and scaled, to float32 ``table [points, 3]``."""
    for i in range(len(table)):
        place = (i // CHAINS + 1) * 3 * CHAINS + i % CHAINS
        for axis in range(3):
            table[i, axis] = (np.float64(cloud[place + axis * CHAINS]) - frame[axis]) * frame[3]


@kernel
def centre(table):
    """Subtracts the mean of float32 ``table [N, 3]``, summed in the order of the points in double precision."""
    x = y = z = 0.0
    for i in range(len(table)):
        x, y, z = x + np.float64(table[i, 0]), y + np.float64(table[i, 1]), z + np.float64(table[i, 2])
    x, y, z = x / len(table), y / len(table), z / len(table)
    for i in range(len(table)):
        table[i, 0] -= np.float32(x)
        table[i, 1] -= np.float32(y)
        table[i, 2] -= np.float32(z)


@kernel
def fit(table, box, cosine, sine):
    """Stretches every axis of float32 ``table [N, 3]`` to fill a box, then turns and moves it.

    Args:
        table: the points, changed.
        box: float64 ``[7]``, of which the first six are its centre and its size.
        cosine: of the angle by which the first axis turns towards the second.
        sine: of the same.
    """
    low, high, across = np.empty(3), np.empty(3), np.empty(3)
    for axis in range(3):
        low[axis] = high[axis] = table[0, axis]
        for i in range(1, len(table)):
            value = np.float64(table[i, axis])
            low[axis], high[axis] = min(low[axis], value), max(high[axis], value)
    for i in range(len(table)):
        for axis in range(3):
            extent = high[axis] - low[axis]
            place = (np.float64(table[i, axis]) - low[axis]) / extent if extent > 0 else 0.5
            across[axis] = (place - 0.5) * box[3 + axis]
        table[i, 0] = (cosine * across[0] - sine * across[1]) + box[0]
        table[i, 1] = (sine * across[0] + cosine * across[1]) + box[1]
        table[i, 2] = across[2] + box[2]


@kernel
def spread(system, key, least):
    """Whether a cloud has a variance above ``least`` along each axis, once its range is scaled to 2.

    One chain in double precision from the origin, the first step included, as in the public search. The range only
    grows, so a system that passes nearly always has half the variance in its first points too: of 2,454 that pass
    all had, and 95 in 100 of the others were turned away by 4,096 points.

    Returns:
        The points it took: ``SEARCH_POINTS`` for a system that passes, minus their number for one that does not.
    """
    x = y = z = sum_x = sum_y = sum_z = square_x = square_y = square_z = 0.0
    low, high, total = np.inf, -np.inf, 0.0
    edges = np.empty(len(system))
    for k in range(len(system)):
        total += system[k, 12]
        edges[k] = total
    state = np.uint64(key)
    for number in range(1, SEARCH_POINTS + 1):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        w = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        w = (w ^ (w >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        chance, k = float((w ^ (w >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53 * total, 0
        while k < len(system) - 1 and chance >= edges[k]:
            k += 1
        x, y, z = (
            system[k, 0] * x + system[k, 1] * y + system[k, 2] * z + system[k, 9],
            system[k, 3] * x + system[k, 4] * y + system[k, 5] * z + system[k, 10],
            system[k, 6] * x + system[k, 7] * y + system[k, 8] * z + system[k, 11],
        )
        sum_x, sum_y, sum_z = sum_x + x, sum_y + y, sum_z + z
        square_x, square_y, square_z = square_x + x * x, square_y + y * y, square_z + z * z
        low, high = min(low, x, y, z), max(high, x, y, z)
        if number in GLANCES or number == SEARCH_POINTS:
            needed = (least if number == SEARCH_POINTS else 0.5 * least) * number * ((high - low) * (high - low) / 4)
            off_x, off_y = square_x - sum_x * sum_x / number, square_y - sum_y * sum_y / number
            off_z = square_z - sum_z * sum_z / number
            if not (off_x > needed and off_y > needed and off_z > needed):  # nor what is no number
                return -number
    return SEARCH_POINTS


@kernel
def _advance(number, rounds, maps, edges, state, cloud):
    """Plays rounds from row 0 of the cloud.

    Nineteen systems in twenty that are spread enough have two or three maps. Those are written out, as in ``_chaos``;
    each writing costs a second and a half of compiling, so all others are played with absent maps up to seven.
    """
    if number <= 2:
        _rounds(2, rounds, maps, edges, state, cloud)
    elif number == 3:
        _rounds(3, rounds, maps, edges, state, cloud)
    else:
        _rounds(7, rounds, maps, edges, state, cloud)


@kernel
def _rounds(number, rounds, maps, edges, state, cloud):
    """Every map is weighed in turn and the last one whose threshold is reached stays: selects instead of branches."""
    number = literally(number)
    m0, m1, m2, m3 = _row(maps, 0), _row(maps, 1), _row(maps, 2), _row(maps, 3)
    m4, m5, m6 = _row(maps, 4), _row(maps, 5), _row(maps, 6)
    t1, t2, t3, t4, t5, t6 = edges[1], edges[2], edges[3], edges[4], edges[5], edges[6]
    for turn in range(rounds):
        row = turn * 3 * CHAINS
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
            x, y, z = cloud[row + i], cloud[row + CHAINS + i], cloud[row + 2 * CHAINS + i]
            cloud[row + 3 * CHAINS + i] = (m[0] * x + m[1] * y) + (m[2] * z + m[9])
            cloud[row + 4 * CHAINS + i] = (m[3] * x + m[4] * y) + (m[5] * z + m[10])
            cloud[row + 5 * CHAINS + i] = (m[6] * x + m[7] * y) + (m[8] * z + m[11])


@kernel
def _row(maps, k):
    j = 12 * k
    return (
        maps[j], maps[j + 1], maps[j + 2], maps[j + 3], maps[j + 4], maps[j + 5],
        maps[j + 6], maps[j + 7], maps[j + 8], maps[j + 9], maps[j + 10], maps[j + 11],
    )  # fmt: skip


@kernel
def _pick(taken, new, old):
    a, b, c = new[0] if taken else old[0], new[1] if taken else old[1], new[2] if taken else old[2]
    d, e, f = new[3] if taken else old[3], new[4] if taken else old[4], new[5] if taken else old[5]
    g, h, i = new[6] if taken else old[6], new[7] if taken else old[7], new[8] if taken else old[8]
    j, k, l = new[9] if taken else old[9], new[10] if taken else old[10], new[11] if taken else old[11]  # noqa: E741
    return a, b, c, d, e, f, g, h, i, j, k, l


@kernel
def _near(cloud, rounds):
    """Whether every chain ended at a number, and a modest one; a comparison with NaN is false."""
    near = 0
    for i in range(3 * CHAINS):
        near += 1 if abs(cloud[rounds * 3 * CHAINS + i]) < FAR else 0
    return near == 3 * CHAINS


@kernel
def _measure(cloud, rounds, frame):
    """Mean and range of ``rounds``, a multiple of 4.

    Sums run along the chains in single precision, four rounds at a time, and over the chains, in their order, in
    double precision.
    """
    tally = np.zeros(9 * CHAINS, np.float32)  # of each coordinate of each chain the sum, the least and the most
    for i in range(3 * CHAINS):
        tally[3 * CHAINS + i], tally[6 * CHAINS + i] = np.float32(np.inf), np.float32(-np.inf)
    for block in range(rounds // 4):
        four = cloud[(4 * block + 1) * 3 * CHAINS :]  # from here on no index can be negative, or look it
        for i in range(3 * CHAINS):
            a, b, c, d = four[i], four[3 * CHAINS + i], four[6 * CHAINS + i], four[9 * CHAINS + i]
            tally[i] += (a + b) + (c + d)
            tally[3 * CHAINS + i] = _less(tally[3 * CHAINS + i], _less(_less(a, b), _less(c, d)))
            tally[6 * CHAINS + i] = _more(tally[6 * CHAINS + i], _more(_more(a, b), _more(c, d)))
    least, most = tally[3 * CHAINS], tally[6 * CHAINS]
    for i in range(3 * CHAINS):
        least, most = _less(least, tally[3 * CHAINS + i]), _more(most, tally[6 * CHAINS + i])
    extent = np.float64(most - least)  # subtracted in single precision
    frame[3], frame[4] = 2.0 / extent if extent > 0 else 1.0, least
    for axis in range(3):
        total = 0.0
        for i in range(axis * CHAINS, (axis + 1) * CHAINS):
            total += np.float64(tally[i])
        frame[axis] = total / (rounds * CHAINS)


@kernel
def _less(a, b):
    return a if a < b else b


@kernel
def _more(a, b):
    return a if a > b else b
