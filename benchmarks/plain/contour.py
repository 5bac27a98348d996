"""The public RCDB loop: one vertex after another in Python, one Pillow line after another.

Its noise is a compiled function called for each vertex, as the public code's is (there a C extension).
"""

import math
import random
from collections.abc import Callable

import numpy as np
from numba import njit
from PIL import Image, ImageDraw

from firstlight.formulas import Draw, picture
from firstlight.formulas._noise1 import noise1
from firstlight.formulas.contour import Contour

GOAL, SIZE, CLASSES = 150.0, 512, 64
SETTING = "contour(form='code'), 512 pixels, 64 classes of 3 to 200 vertices and 1 to 200 lines"

FORMULA = Contour(form="code")
KNOWN = [FORMULA.category(Draw(0, category)) for category in range(CLASSES)]


@njit
def pnoise1(position):
    return noise1(np.float32(position))


def ours() -> Callable[[int], object]:
    return lambda i: picture(FORMULA, i % CLASSES, i, size=SIZE, params=KNOWN[i % CLASSES])


def plain() -> Callable[[int], object]:
    pnoise1(0.0)  # compiled before it is timed
    return lambda i: loop(KNOWN[i % CLASSES], random.Random(i))


def loop(params: dict[str, np.ndarray], source: random.Random) -> Image.Image:
    count, noise, line_width = params["vertices"].item(), params["noise"].item(), params["line_width"].item()
    radius, oval_x, oval_y = source.randint(0, 100), source.uniform(1, 2), source.uniform(1, 2)
    row, column = ((SIZE + source.randint(-400, 400)) / 2 for _ in range(2))
    image = Image.new("RGB", (SIZE, SIZE), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    angle = 2 * math.pi / count
    xs = [math.cos(angle * k) * radius * oval_x for k in range(count)]
    ys = [math.sin(angle * k) * radius * oval_y for k in range(count)]
    xs.append(xs[0])
    ys.append(ys[0])
    for _ in range(params["lines"].item()):
        grey = source.randint(0, 255)
        across, down = [], []
        for values in (across, down):
            for k in range(count):
                values.append(source.uniform(0, 10_000))
                values[k] = pnoise1(values[k]) * noise * 2 - noise
        for k in range(count):
            xs[k] -= math.cos(angle * k) * (across[k] - line_width)
            ys[k] -= math.sin(angle * k) * (down[k] - line_width)
        xs[count], ys[count] = xs[0], ys[0]
        for k in range(count):
            line = (xs[k] + column, ys[k] + row, xs[k + 1] + column, ys[k + 1] + row)
            draw.line(line, fill=(grey, grey, grey), width=1)
    return image
