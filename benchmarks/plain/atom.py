"""The public VisualAtom loop: one vertex after another in Python, one Pillow line after another.

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
from firstlight.formulas.atom import Atom

GOAL, SIZE, CLASSES = 150.0, 512, 64
SETTING = "atom, 512 pixels, 64 classes of 200 to 1,000 vertices and 1 to 200 lines"

FORMULA = Atom()
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
    given = {name: value.item() for name, value in params.items() if name != "waves"}
    count, noise, line_width = given["vertices"], given["noise"], given["line_width"]
    first, second = params["waves"].tolist()
    row, column = ((SIZE + source.randint(-512, 512)) / 2 for _ in range(2))
    image = Image.new("RGB", (SIZE, SIZE), (0, 0, 0))
    draw = ImageDraw.Draw(image)
    angle = 2 * math.pi / count

    def steps() -> list[float]:
        found = []
        for k in range(count):
            value = pnoise1(source.uniform(0, 10_000)) * noise - noise
            found.append(value - 0.5 * math.sin(angle * k * first) - 0.5 * math.sin(angle * k * second))
        return found

    xs = [math.cos(angle * k) * given["radius"] * given["oval_x"] + column for k in range(count)]
    ys = [math.sin(angle * k) * given["radius"] * given["oval_y"] + row for k in range(count)]
    for _ in range(given["lines"]):
        grey, across, down = source.randint(0, 255), steps(), steps()
        for k in range(count):
            xs[k] -= math.cos(angle * k) * (across[k] - line_width)
            ys[k] -= math.sin(angle * k) * (down[k] - line_width)
        for k in range(count):
            after = (k + 1) % count
            draw.line((xs[k], ys[k], xs[after], ys[after]), fill=(grey, grey, grey), width=1)
    return image
