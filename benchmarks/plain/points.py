"""Mixed clouds the plain way: two chains in Python loops, one for each part, as the public program walks them."""

from collections.abc import Callable

import numpy as np

from firstlight.formulas import Draw, Params, picture
from firstlight.formulas.points import Points

GOAL = 50.0
SIZE = 32  # no part of a cloud
SETTING = "10,000 points, 8,000 of the class and 2,000 of another"
FORMULA = Points(classes=40)
PARAMS = [FORMULA.category(Draw(0, category)) for category in range(40)]


def ours() -> Callable[[int], object]:
    return lambda i: picture(FORMULA, i % 40, i, size=SIZE, params=PARAMS[i % 40])


def plain() -> Callable[[int], object]:
    return lambda i: mixed(PARAMS[i % 40], PARAMS[i * 7 % 40], i)


def mixed(params: Params, other: Params, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    cloud = np.concatenate([part(params, 8000, random), part(other, 2000, random)])
    return (cloud - cloud.mean(0)).astype(np.float32)


def part(params: Params, count: int, random: np.random.Generator) -> np.ndarray:
    points = np.array(walk(params, count, random))
    points = (points - points.min()) / (points.max() - points.min()) * 2 - 1
    return points - points.mean(0)


def walk(params: Params, count: int, random: np.random.Generator) -> list[tuple[float, float, float]]:
    maps, reached, total = params["maps"].tolist(), [], 0.0
    for row in maps:
        total += row[12]
        reached.append(total)
    chances = random.random(count)
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
