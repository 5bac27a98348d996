"""The usual vectorised NumPy version of Perlin noise, beside ours: 256 pixels, one octave, frequencies 1 to 10.

Gradients from random angles, repeated over the pixels of their cells, four ramps, quintic fade: what most people run.
It needs sizes that are multiples of the frequency; where they are not, as many whole cells as cover the picture are
drawn and the rest is cut off. Pierre Vigier, https://pvigier.github.io/2018/06/13/perlin-noise-numpy.html
"""

from collections.abc import Callable

import numpy as np

from firstlight.formulas import Draw, Params, picture
from firstlight.formulas.perlin import Perlin

GOAL, SIZE = 100.0, 256
SETTING = "256 pixels, one octave, frequencies 1 to 10, grey picture"


def ours() -> Callable[[int], object]:
    formula = Perlin()
    classes = [formula.category(Draw(0, category)) for category in range(100)]
    return lambda i: picture(formula, i % 100, i, size=SIZE, params=classes[i % 100])


def plain() -> Callable[[int], object]:
    formula = Perlin()
    classes = [formula.category(Draw(0, category)) for category in range(100)]
    return lambda i: plain_picture(classes[i % 100], SIZE, i)


def plain_picture(params: Params, size: int, seed: int) -> np.ndarray:
    across, down = params["frequency"].tolist()
    wide, high = -(-size // across), -(-size // down)  # pixels of a cell, rounded up
    noise = perlin_noise((high * down, wide * across), (down, across), np.random.default_rng(seed))[:size, :size]
    return np.clip(127.5 + 127.5 * noise, 0, 255).astype(np.uint8)


def perlin_noise(shape: tuple[int, int], cells: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    pixels = shape[0] // cells[0], shape[1] // cells[1]
    rows, columns = np.meshgrid(np.arange(shape[0]) / pixels[0], np.arange(shape[1]) / pixels[1], indexing="ij")
    place = np.stack([rows, columns], axis=2) % 1

    angles = 2 * np.pi * random.random((cells[0] + 1, cells[1] + 1))
    gradients = np.dstack((np.cos(angles), np.sin(angles)))
    spread = gradients.repeat(pixels[0], 0).repeat(pixels[1], 1)
    g00, g10 = spread[: -pixels[0], : -pixels[1]], spread[pixels[0] :, : -pixels[1]]
    g01, g11 = spread[: -pixels[0], pixels[1] :], spread[pixels[0] :, pixels[1] :]

    n00 = np.sum(place * g00, 2)
    n10 = np.sum((place - np.array([1, 0])) * g10, 2)
    n01 = np.sum((place - np.array([0, 1])) * g01, 2)
    n11 = np.sum((place - np.array([1, 1])) * g11, 2)

    fade = 6 * place**5 - 15 * place**4 + 10 * place**3
    left = n00 * (1 - fade[:, :, 0]) + fade[:, :, 0] * n10
    right = n01 * (1 - fade[:, :, 0]) + fade[:, :, 0] * n11
    return np.sqrt(2) * ((1 - fade[:, :, 1]) * left + fade[:, :, 1] * right)
