"""Several fractals in colour on plasma the plain way: Anderson & Farrell's generator in numba, NumPy and Pillow.

As the public one does, it keeps the last objects and backgrounds, draws a new one for every second picture at half
the picture's side, and stretches what it pastes. Ours draws every object and background anew.
"""

# ruff: noqa: NPY002 the yardstick is what the public code does, NumPy's global random numbers included
from collections.abc import Callable

import numpy as np
from numba import njit
from PIL import Image, ImageFilter

from firstlight import spec
from firstlight.formulas import Draw, Formula, picture

GOAL = 3.0
SIZE = 224
SETTING = "224 px, 1 to 5 coloured fractals of 100,000 points on plasma"
FORMULA = spec.build(
    "formulas", "painted(of=\"several(of='painted(background=None, blur=0)')\", colour=False)", Formula
)
CATEGORIES = 40
PARAMS = [FORMULA.category(Draw(0, category)) for category in range(CATEGORIES)]
KEPT = 64


def ours() -> Callable[[int], object]:
    for category in range(100):  # objects may be of any class: all are found before the clock starts
        FORMULA.category(Draw(0, category))
    return lambda i: picture(FORMULA, i % CATEGORIES, i, size=SIZE, params=PARAMS[i % CATEGORIES])


def plain() -> Callable[[int], object]:
    kept = [(fractal(k % CATEGORIES), plasma()) for k in range(KEPT)]

    def composed(i: int) -> Image.Image:
        if i % 2 == 0:
            kept[i // 2 % KEPT] = fractal(i % CATEGORIES), plasma()
        canvas = kept[np.random.randint(KEPT)][1].copy()
        for _ in range(np.random.randint(1, 6)):
            paste(coloured(kept[np.random.randint(KEPT)][0]), canvas)
        image = Image.fromarray(canvas)
        return image.filter(ImageFilter.GaussianBlur(np.random.uniform(0.5, 1))) if np.random.rand() > 0.5 else image

    return composed


def fractal(category: int) -> np.ndarray:
    maps = PARAMS[category]["of.maps"]
    points = walked(maps, np.cumsum(maps[:, 6]), 100_000)
    return counted(points, SIZE // 2, points.min(0), points.max(0))


@njit
def walked(maps, chances, count):
    points, x, y = np.empty((count, 2)), 0.0, 0.0
    for n in range(count):
        r, k = np.random.rand(), 0
        while k < len(maps) - 1 and r >= chances[k]:
            k += 1
        x, y = maps[k, 0] * x + maps[k, 1] * y + maps[k, 4], maps[k, 2] * x + maps[k, 3] * y + maps[k, 5]
        points[n] = x, y
    return points


@njit
def counted(points, size, low, high):
    picture, scale = np.zeros((size, size)), (size - 1) / np.maximum(high - low, 1e-9)
    for n in range(len(points)):
        picture[int((points[n, 0] - low[0]) * scale[0]), int((points[n, 1] - low[1]) * scale[1])] += 1
    return picture / picture.max()


def coloured(grey: np.ndarray) -> np.ndarray:
    hue = (grey * 255 + np.random.rand() * 255).astype(np.int64).astype(np.uint8)
    saturation, value = np.random.uniform(0.3, 1) * 255, np.random.uniform(0.5, 1) * 255
    stacked = np.stack([hue, np.full_like(hue, saturation), np.full_like(hue, value)], -1) * (grey > 0)[..., None]
    return np.asarray(Image.fromarray(stacked.astype(np.uint8), "HSV").convert("RGB"))


def paste(square: np.ndarray, canvas: np.ndarray) -> None:
    side = int(np.random.uniform(0.15, 0.6) * SIZE)
    shown = np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BILINEAR))
    left, top = np.random.randint(-(side // 2), SIZE - side // 2, 2)
    shown = shown[max(-top, 0) : SIZE - top, max(-left, 0) : SIZE - left]
    there = canvas[max(top, 0) : max(top, 0) + shown.shape[0], max(left, 0) : max(left, 0) + shown.shape[1]]
    lit = shown.any(-1)
    there[lit] = shown[lit]


def plasma() -> np.ndarray:
    x = displaced(8, np.random.uniform(0.4, 0.8))[:SIZE, :SIZE]
    scale = np.array([np.random.uniform(0.25, 1), np.random.uniform(0.1, 0.3), np.random.uniform(0.3, 0.6)]) * 255
    shift = np.array([np.random.rand(), np.random.uniform(0.4, 0.6), np.random.uniform(0.4, 0.6)]) * 255
    hsv = x[..., None] * scale + shift
    hsv[..., 1:] = hsv[..., 1:].clip(0, 255)
    return np.asarray(Image.fromarray((hsv.astype(np.int64) % 256).astype(np.uint8), "HSV").convert("RGB"))


@njit
def displaced(halvings, decay):
    side = 2**halvings + 1
    a = np.zeros((side, side))
    for corner in range(4):
        a[corner // 2 * (side - 1), corner % 2 * (side - 1)] = np.random.rand()
    for k in range(halvings):
        step, reach = (side - 1) >> (k + 1), 0.5 * np.exp(-decay * k)
        for r in range(step, side, 2 * step):
            for c in range(step, side, 2 * step):
                total = a[r - step, c - step] + a[r - step, c + step] + a[r + step, c - step] + a[r + step, c + step]
                a[r, c] = total / 4 + np.random.uniform(-reach, reach)
        for r in range(0, side, step):
            for c in range(step if r // step % 2 == 0 else 0, side, 2 * step):
                up, down = (
                    a[(r - step) % (side - 1), c],
                    a[(r + step) % (side - 1) if r + step >= side else r + step, c],
                )
                left, right = (
                    a[r, (c - step) % (side - 1)],
                    a[r, (c + step) % (side - 1) if c + step >= side else c + step],
                )
                a[r, c] = (up + down + left + right) / 4 + np.random.uniform(-reach, reach)
    return a
