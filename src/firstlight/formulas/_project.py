"""Pictures of clouds of points as a camera sees them, without a graphics library.

The camera of the public MV-FractalDB renderer: 4 from the origin, which it looks at, with an angle of view of 45
degrees; points are one pixel large, white on black, and what is nearer than 1 is not seen.
https://github.com/ryosuke-yamada/3dfractaldb
"""

import numpy as np

from ._chaos3d import CHAINS
from ._compile import kernel
from ._math import _COSINE, _QUARTER, _SINE

DISTANCE = 4.0
"""Of the camera from the origin."""

FOCAL = 2.414213562373095
"""Distance over half of what fits the picture there: 1 / tan(22.5 degrees) = 1 + sqrt(2)."""

NEAR = 1.0
"""The nearest that is seen."""

ROUNDS = 8
"""Rounds of a cloud projected at a time; their pixel numbers stay in the first-level cache."""


_CORNER = np.array([[0.8, 0.6, 0.0], [-0.36, 0.48, 0.8], [0.48, -0.64, 0.6]])


def look(cloud: np.ndarray, size: int) -> np.ndarray:
    """A cloud as seen from a corner of its room and somewhat above, for contact sheets: uint8 ``[size, size]``.

    The third axis points up, near points are brighter, and all points are in the picture.

    Args:
        cloud: float32 ``[N, 3]``, N at least 1, all finite, at any place and of any scale.
        size: the side in pixels, at least 1.
    """
    count = len(cloud)
    low, high = cloud.min(0).astype(np.float64), cloud.max(0).astype(np.float64)
    away = cloud - (low + high) / 2
    farthest = np.sqrt((away[:, 0] ** 2 + away[:, 1] ** 2 + away[:, 2] ** 2).max())
    frame = np.append((low + high) / 2, 1.5 / farthest if farthest > 0 else 1.0)  # 1.6 would reach the margin
    rows = np.zeros((-(-count // CHAINS), CHAINS, 3), np.float32)
    rows.reshape(-1, 3)[:count] = cloud
    flat = np.concatenate([np.zeros(3 * CHAINS, np.float32), rows.transpose(0, 2, 1).reshape(-1)])
    picture = np.zeros((size, size), np.uint8)
    project(flat, frame, count, _CORNER, True, picture)
    return picture


@kernel
def project(cloud, frame, points, view, shaded, picture):
    """Draws the points of a cloud.

    A point ``p`` becomes ``q = view @ (p - mean) * scale``, its depth is ``4 - q[2]``, and it falls on column
    ``size / 2 + q[0] f / depth`` and row ``size / 2 - q[1] f / depth``, rounded down, with ``f = FOCAL * size / 2``.
    All in single precision; view, mean and scale are first made one map in double precision.

    Args:
        cloud: float32 ``[rounds, 3, CHAINS]``, flat, after a row that does not count, as ``_chaos3d.play`` leaves it.
        frame: float64, at least ``[4]``: mean and scale.
        points: how many of its points.
        view: float64 ``[3, 3]``, a rotation; its rows are what the camera has to its right, above it and behind it.
        shaded: whether near points are brighter: 255 at a depth of 3 and less, falling by 96 a unit to 63 at 5 and
            beyond, rounded down. Where points share a pixel the brightest, which is the nearest, shows.
        picture: uint8 ``[size, size]``, all zero, drawn on.
    """
    size = len(picture)
    flat, area = picture.reshape(-1), np.uint32(size * size)
    seen = np.empty(12, np.float32)
    for row in range(3):
        offset = 0.0
        for axis in range(3):
            seen[4 * row + axis] = view[row, axis] * frame[3]
            offset += view[row, axis] * frame[3] * frame[axis]
        seen[4 * row + 3] = -offset
    spots, shades = np.empty(ROUNDS * CHAINS, np.uint32), np.empty(ROUNDS * CHAINS, np.uint8)
    for block in range((points + ROUNDS * CHAINS - 1) // (ROUNDS * CHAINS)):
        start = block * ROUNDS * CHAINS
        part = cloud[3 * (start + CHAINS) :]
        count = min(points - start, ROUNDS * CHAINS)
        rounds = (count + CHAINS - 1) // CHAINS
        _place(part, rounds, seen, size, spots)
        if shaded:
            _shade(part, rounds, seen, shades)
            for i in range(count):
                if spots[i] < area:
                    flat[spots[i]] = max(flat[spots[i]], shades[i])
        else:
            for i in range(count):
                if spots[i] < area:
                    flat[spots[i]] = 255


@kernel
def random_view(key, view):
    """Writes a rotation even over all rotations to float64 ``view [3, 3]``.

    Shoemake, "Uniform random rotations", Graphics Gems III, 1992: a unit quaternion from three even numbers, the
    first three that a ``Draw`` of this key would give.
    """
    share, first, second = _even(key, 1), _even(key, 2), _even(key, 3)
    (w, z), (y, x) = _cos_sin(second), _cos_sin(first)
    w, z, y, x = np.sqrt(share) * w, np.sqrt(share) * z, np.sqrt(1.0 - share) * y, np.sqrt(1.0 - share) * x
    view[0, 0], view[0, 1], view[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    view[1, 0], view[1, 1], view[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    view[2, 0], view[2, 1], view[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@kernel
def ring_view(key, turns, stray, view):
    """Writes the view from a ring about the vertical axis to float64 ``view [3, 3]``.

    The camera looks along (cos t, 0, -sin t), t being ``turns`` full turns and up to ``stray`` more or less, by the
    first number that a ``Draw`` of this key would give.
    """
    cosine, sine = _cos_sin(turns + stray * (2.0 * _even(key, 1) - 1.0))
    view[0, 0], view[0, 1], view[0, 2] = sine, 0.0, cosine
    view[1, 0], view[1, 1], view[1, 2] = 0.0, 1.0, 0.0
    view[2, 0], view[2, 1], view[2, 2] = -cosine, 0.0, sine


@kernel
def _even(key, number):
    """Number ``number``, from 1, of the stream of a key, even over [0, 1), as ``Draw.uniform`` makes it."""
    z = np.uint64(key) + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@kernel
def _cos_sin(turns):
    """``_math.cos_sin`` of one number, to the bit."""
    quarters = np.floor(turns * 4 + 0.5)
    angle = (turns * 4 - quarters) * _QUARTER
    square = angle * angle
    cosine, sine = _COSINE[8], _SINE[7]
    for k in range(7, -1, -1):
        cosine = cosine * square + _COSINE[k]
    for k in range(6, -1, -1):
        sine = sine * square + _SINE[k]
    sine *= angle
    quadrant = quarters - 4 * np.floor(quarters / 4)
    if quadrant == 1 or quadrant == 3:
        cosine, sine = sine, cosine
    return -cosine if quadrant == 1 or quadrant == 2 else cosine, -sine if quadrant >= 2 else sine


@kernel
def _place(part, rounds, seen, size, spots):
    """The pixel number of every point of some rounds; ``size * size`` where it is not in the picture."""
    a, b, c, d = seen[0], seen[1], seen[2], seen[3]
    e, f, g, h = seen[4], seen[5], seen[6], seen[7]
    i, j, k, l = seen[8], seen[9], seen[10], np.float32(DISTANCE) - seen[11]  # noqa: E741
    half, reach, wide = np.float32(size * 0.5), np.float32(FOCAL * size * 0.5), np.int32(size)
    zero, near, far, lost = np.float32(0), np.float32(NEAR), np.float32(size), np.uint32(size * size)
    for turn in range(rounds):
        own, out = part[turn * 3 * CHAINS :], spots[turn * CHAINS :]
        for lane in range(CHAINS):
            x, y, z = own[lane], own[CHAINS + lane], own[2 * CHAINS + lane]
            depth = (l - i * x) - (j * y + k * z)
            grown = reach / depth
            column = half + grown * ((a * x + b * y) + (c * z + d))
            row = half - grown * ((e * x + f * y) + (g * z + h))
            inside = (depth >= near) & (column >= zero) & (column < far) & (row >= zero) & (row < far)
            spot = np.uint32(np.int32(np.int32(row) * wide) + np.int32(column))
            out[lane] = spot if inside else lost


@kernel
def _shade(part, rounds, seen, shades):
    """The brightness of every point of some rounds, by its depth."""
    i, j, k, l = seen[8], seen[9], seen[10], np.float32(DISTANCE) - seen[11]  # noqa: E741
    step, top, bottom = np.float32(96), np.float32(255), np.float32(63)
    start = np.float32(255 + 96 * 3)
    for turn in range(rounds):
        own, out = part[turn * 3 * CHAINS :], shades[turn * CHAINS :]
        for lane in range(CHAINS):
            x, y, z = own[lane], own[CHAINS + lane], own[2 * CHAINS + lane]
            light = start - step * ((l - i * x) - (j * y + k * z))
            light = light if light < top else top
            light = light if light > bottom else bottom
            out[lane] = np.uint8(light)
