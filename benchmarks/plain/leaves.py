"""Dead leaves the plain way: shapes from the back, with a look for black pixels after each, as the public code does.

It draws with OpenCV; here Pillow fills the same shapes, and the looks for black pixels, most of the time in both,
are NumPy's.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from firstlight.formulas import Draw, picture
from firstlight.formulas.leaves import Leaves

GOAL = 300.0
SIZE = 128
SETTING = "128 px, six shapes, published statistics"
KINDS = ("circle", "square", "oriented_square", "rectangle", "triangle", "quadrilateral")
FORMULA = Leaves(shapes="mixed", exponent=(3.0, 3.0), palette=0)
PARAMS = [FORMULA.category(Draw(0, category)) for category in range(40)]


def ours() -> Callable[[int], object]:
    return lambda i: picture(FORMULA, i % 40, i, size=SIZE, params=PARAMS[i % 40])


def plain() -> Callable[[int], object]:
    return lambda i: drawn(float(PARAMS[i % 40]["exponent"]), i)


def drawn(exponent: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    radii = np.linspace(0.03, 1, 200)
    reached = np.cumsum(1 / radii**exponent - 1)
    reached = reached / reached.max()
    for _ in range(5000):
        kind = KINDS[random.integers(len(KINDS))]
        colour = tuple(int(value) for value in random.uniform(0, 1, 3) * 255)
        radius = max(int(radii[np.argmin(np.abs(reached - random.uniform()))] * SIZE), 1)
        x, y = random.uniform(0, SIZE, 2).astype(int)
        if kind == "circle":
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            corners = np.stack(outline(kind, random), 1) * radius + (x, y)
            draw.polygon([(int(a), int(b)) for a, b in corners], fill=colour)
        pixels = np.asarray(image)
        if (pixels.sum(-1) == 0).sum() == 0:
            break
    return np.asarray(image)


def outline(kind: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a shape on the circle of radius 1."""
    if kind in ("square", "oriented_square"):
        angles = np.pi / 4 + np.arange(4) * np.pi / 2 + (kind == "oriented_square") * random.uniform(0, 2 * np.pi)
    elif kind == "rectangle":
        angle = random.uniform(0, np.pi / 2)
        angles = np.array([angle, np.pi - angle, np.pi + angle, -angle])
    else:
        angles = np.sort(random.uniform(0, 2 * np.pi, 3 if kind == "triangle" else 4))
    return np.cos(angles), np.sin(angles)
