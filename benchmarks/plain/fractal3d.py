"""Views of fractals in space the plain way: one chain in a loop, a camera's matrices, points put down by NumPy.

The public program walks in Python and draws through OpenGL. Here the plain side has no graphics card to call, so it
projects the way people do it in NumPy, and it is spared the walk: its clouds are kept, as the public program's are on
disk. Ours draws in random order, as training does, so nearly every view pays for a cloud of its own.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from firstlight.formulas import Draw, Params, picture
from firstlight.formulas.fractal3d import Fractal3d

GOAL = 15.0
SIZE = 224
SETTING = "224 px, 10,000 points, random views in random order; the plain side's clouds are kept"
FORMULA = Fractal3d()
PARAMS = [FORMULA.category(Draw(0, category)) for category in range(40)]
CLOUDS = 8  # the plain side shows only so many rows of weights of so many classes, to keep few clouds


def ours() -> Callable[[int], object]:
    return lambda i: picture(FORMULA, i % 40, i * 397 % 1000, size=SIZE, params=PARAMS[i % 40])


def plain() -> Callable[[int], object]:
    return lambda i: drawn(i % CLOUDS, i)


def drawn(category: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    q = random.normal(size=4)
    x, y, z, w = q / np.linalg.norm(q)
    view = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    seen = cloud(category) @ view.T
    depth = 4 - seen[:, 2]
    place = SIZE / 2 * (1 + seen[:, :2] * [1, -1] / (np.tan(np.radians(22.5)) * depth[:, None]))
    inside = (depth > 1) & (place >= 0).all(1) & (place < SIZE).all(1)
    column, row = place[inside].astype(int).T
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[row, column] = 255
    return pixels


@lru_cache
def cloud(category: int) -> np.ndarray:
    """10,000 points of a class, as the public program finds them."""
    points = np.array(walk(PARAMS[category], 10_000))
    points = (points - points.min()) / (points.max() - points.min()) * 2 - 1
    return points - points.mean(0)


def walk(params: Params, count: int) -> list[tuple[float, float, float]]:
    maps, reached, total = params["maps"].tolist(), [], 0.0
    for row in maps:
        total += row[12]
        reached.append(total)
    chances = np.random.default_rng(0).random(count)
    x = y = z = 0.0
    points = []
    for i in range(count):
        for k in range(len(maps)):
            if chances[i] <= reached[k] or k == len(maps) - 1:
                a, b, c, d, e, f, g, h, j, right, up, back, _ = maps[k]
                x, y, z = a * x + b * y + c * z + right, d * x + e * y + f * z + up, g * x + h * y + j * z + back
                break
        points.append((x, y, z))
    return points
