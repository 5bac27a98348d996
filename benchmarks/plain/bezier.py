"""Bézier curves the plain way: Bernstein's polynomials in NumPy at 1,000 points a curve, joined by Pillow."""

from collections.abc import Callable
from math import comb

import numpy as np
from PIL import Image, ImageDraw

from firstlight.formulas import Draw, picture
from firstlight.formulas.bezier import Bezier

GOAL = 100.0
SIZE = 256
SETTING = "256 px, Bezier-144"
POINTS = 1000
CATEGORIES = [5 * i % 144 for i in range(40)]
PARAMS = [Bezier().category(Draw(0, category)) for category in CATEGORIES]


def ours() -> Callable[[int], object]:
    formula = Bezier()
    return lambda i: picture(formula, CATEGORIES[i % 40], i, size=SIZE, params=PARAMS[i % 40])


def plain() -> Callable[[int], object]:
    return lambda i: drawn(int(PARAMS[i % 40]["curves"]), int(PARAMS[i % 40]["points"]), i)


def drawn(curves: int, points: int, seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    image = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(image)
    t = np.linspace(0.0, 1.0, POINTS)
    for _ in range(curves):
        controls = random.uniform(0, SIZE, (points, 2))
        curve = np.zeros((POINTS, 2))
        for k in range(points):
            share = comb(points - 1, k) * t**k * (1 - t) ** (points - 1 - k)
            curve += share[:, None] * controls[k]
        draw.line([(x, y) for x, y in curve], fill=255, width=1)
    return image
