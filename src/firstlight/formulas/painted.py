"""Another family's pictures in random colours on a random background, or in grey.

Anderson & Farrell, "Improving fractal pre-training", WACV 2022. https://arxiv.org/abs/2110.03091
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import Formula, Params
from ._background import empty, noise, plasma
from ._canvas import requirement
from ._colour import blur, cover, fill, luma, shade, wheel
from ._inner import checked, inner
from ._math import exp
from ._random import Draw
from ._scratch import borrowed

_require = requirement("painted")

LEVELS, LOWEST, HIGHEST = 4096, -1.5, 2.5
"""Heights of a texture lie between those, in so many steps of colour."""


@dataclass(frozen=True)
class Painted(Formula):
    """Grey values become hues, what is empty becomes a texture.

    Classes and members are the inner family's, drawn as they would be without paint; colours, background and blur
    differ from member to member. Boxes, labels and masks pass through.

    Differs from the public code: hues go once round the wheel from grey 0 to 255, and textures as the settings say,
    where its bytes make 1.4 rounds with a jump; saturation below 0 is 0, where its bytes wrap around.

    Attributes:
        of: the inner formula with its settings, as text. Not ``painted`` again.
        colour: gives a grey picture hues: the grey value over 255 plus a random offset. Coloured families keep theirs.
        grey: brings picture and background to grey, uint8 ``[S, S]``; hues are then not given.
        background: what stands where the inner picture is empty: a ``texture`` of coloured plasma, one ``plain``
            colour, ``noise`` of independent pixels, or, if None, what was there.
        saturation: least and most, of the hues and the plain background, 0 to 1.
        value: least and most, of the same, 0 to 1.
        decay: least and most rate at which the texture's details fade from scale to scale, 0 to 10; small is rough.
        blur: the chance of a 3 x 3 Gaussian blur whose standard deviation is .5 to 1 pixels, 0 to 1.

    Raises:
        InputError: if a setting is out of range, or ``of`` is no formula of pictures.
    """

    of: str = "fractal(mode='density', sampler='svd', points=100_000)"
    colour: bool = True
    grey: bool = False
    background: Literal["texture", "plain", "noise"] | None = "texture"
    saturation: tuple[float, float] = (0.3, 1.0)
    value: tuple[float, float] = (0.5, 1.0)
    decay: tuple[float, float] = (0.4, 0.8)
    blur: float = 0.5

    def __post_init__(self):
        for name, most in (("saturation", 1), ("value", 1), ("decay", 10)):
            pair = tuple(getattr(self, name))
            object.__setattr__(self, name, pair)  # a recipe read from JSON brings a list, which cannot be hashed
            fits = len(pair) == 2 and 0 <= pair[0] <= pair[1] <= most
            _require(fits, name, pair, f"(least, most) within 0 to {most}")
        _require(self.background in BACKGROUNDS, "background", self.background, f"one of {BACKGROUNDS}")
        _require(0 <= self.blur <= 1, "blur", self.blur, "a chance, 0 to 1")
        checked("painted", self.of, never="painted", directly=True)

    @property
    def categories(self) -> int | None:
        return inner(self.of).categories

    def category(self, draw: Draw) -> Params:
        """A class of the inner family."""
        return inner(self.of).category(draw)

    def instance(self, params: Params, draw: Draw) -> Params:
        """A member of the inner family."""
        return inner(self.of).instance(params, draw)

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws and paints a member as uint8 ``[size, size, 3]``.

        It is ``[size, size]`` with ``grey``, or where a grey picture gets neither hues nor a background.

        Raises:
            InputError: if the size is out of range.
        """
        return self._paint(inner(self.of).render(params, size, draw), draw.split(-1))

    def annotated(self, params: Params, size: int, draw: Draw) -> Params:
        """What is known of the inner member, with the picture painted."""
        known = inner(self.of).annotated(params, size, draw)
        return known | {"picture": self._paint(known["picture"], draw.split(-1))}

    def _paint(self, drawn: np.ndarray, draw: Draw) -> np.ndarray:
        hues = self.colour and not self.grey and drawn.ndim == 2
        if drawn.ndim == 3 or hues or self.background:
            drawn = self._covered(drawn, hues, draw)
        if self.grey and drawn.ndim == 3:
            greys = np.empty(drawn.shape[:2], np.uint8)
            luma(drawn.reshape(-1), greys.reshape(-1))
            drawn = greys
        return _blurred(drawn, draw.split(2)) if draw.split(1).chance(self.blur) else drawn

    def _covered(self, drawn: np.ndarray, hues: bool, draw: Draw) -> np.ndarray:
        """The picture in hues, where wanted, over its background: uint8 ``[size, size, 3]``."""
        size, nothing = len(drawn), empty(inner(self.of))
        table = _palette(self._hsv(draw.split(3)), (1 / 255, 0, 0), 256) if hues else _GREYS
        canvas = np.empty((size, size, 3), np.uint8)
        flat = canvas.reshape(-1)
        if nothing is not None:
            self._background(nothing, size, draw.split(4), canvas)
        black = np.zeros(3, np.uint8)
        channels = drawn.size // size**2
        cover(drawn.reshape(-1), channels, black if nothing is None else nothing, nothing is None, table, flat)
        return canvas

    def _background(self, nothing: np.ndarray, size: int, draw: Draw, canvas: np.ndarray) -> None:
        if self.background == "noise":
            noise(np.uint32(draw.key & 0xFFFFFFFF), canvas.reshape(-1))
        elif self.background == "texture":
            heights, side = plasma(size, float(draw.uniform(*self.decay)), draw.key)
            start, step = _between(_START, draw), _between(_STEP, draw)
            scale = LEVELS / (HIGHEST - LOWEST)
            table = _palette(start + LOWEST * step, step / scale, LEVELS)
            shade(heights, side, np.float32(LOWEST), np.float32(scale), table, size, canvas.reshape(-1))
        else:
            fill(_palette(self._hsv(draw), (0, 0, 0), 1) if self.background else nothing, canvas.reshape(-1))

    def _hsv(self, draw: Draw) -> np.ndarray:
        return np.array([draw.uniform(), draw.uniform(*self.saturation), draw.uniform(*self.value)])


BACKGROUNDS = ("texture", "plain", "noise", None)
_START = np.array([[0, 0.4, 0.4], [1, 0.6, 0.6]])
"""Least and most hue, saturation and value of a texture's height 0, as published."""
_STEP = np.array([[0.25, 0.1, 0.3], [1, 0.3, 0.6]])
"""What they gain up to height 1."""
_GREYS = np.arange(256, dtype=np.uint8).repeat(3)


def _between(ends: np.ndarray, draw: Draw) -> np.ndarray:
    return ends[0] + (ends[1] - ends[0]) * draw.uniform(shape=3)


def _palette(first: np.ndarray, step: object, count: int) -> np.ndarray:
    """RGB of ``count`` steps of hue, saturation and value, uint8 ``[count * 3]``."""
    table = np.empty(3 * count, np.uint8)
    wheel(np.asarray(first, np.float64), np.asarray(step, np.float64), table)
    return table


def _blurred(drawn: np.ndarray, draw: Draw) -> np.ndarray:
    deviation = draw.uniform(0.5, 1.0)
    ratio = exp(-0.5 / (deviation * deviation))
    side = int(4096 * ratio / (1 + 2 * ratio) + 0.5)
    between, result = borrowed("between", drawn.size, np.uint32), np.empty_like(drawn)
    blur(drawn.reshape(-1), len(drawn), drawn.size // len(drawn) ** 2, side, between, result.reshape(-1))
    return result
