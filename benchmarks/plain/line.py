"""LineDB the plain way: the paper's authors draw their contours with Pillow, one segment a call."""

import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from firstlight.formulas import Draw, picture
from firstlight.formulas.line import Line

GOAL = 5.0  # Pillow draws in C too, with the same stores: what can be gained is the Python around its calls
SIZE = 512
SETTING = "512 px, 1 to 1,000 segments a picture"
CATEGORIES = [25 * i for i in range(40)]
PARAMS = [Line().category(Draw(0, category)) for category in CATEGORIES]


def ours() -> Callable[[int], object]:
    formula = Line()
    return lambda i: picture(formula, CATEGORIES[i % 40], i, size=SIZE, params=PARAMS[i % 40])


def plain() -> Callable[[int], object]:
    return lambda i: drawn(int(PARAMS[i % 40]["lines"]), i)


def drawn(lines: int, seed: int) -> Image.Image:
    random.seed(seed)
    image = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(image)
    for _ in range(lines):
        start = (random.randrange(SIZE), random.randrange(SIZE))
        end = (random.randrange(SIZE), random.randrange(SIZE))
        draw.line((start, end), fill=255, width=1)
    return image
