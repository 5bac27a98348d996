"""Fractals: attractors of a few random affine maps, drawn by the chaos game (FractalDB).

Kataoka et al., "Pre-training without natural images", ACCV 2020, IJCV 2022. https://arxiv.org/abs/2101.08515
Sampling by singular values, density pictures: Anderson & Farrell, "Improving fractal pre-training", WACV 2022.
https://arxiv.org/abs/2110.03091
One fractal with many labels, 1p-frac: Nakamura et al., "Scaling backwards: minimal synthetic pre-training?", ECCV 2024.
https://arxiv.org/abs/2408.00677
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from ..errors import InputError
from . import Formula, Params, _raster
from ._affine import perturbed, svd_system, uniform_system, varied, weights
from ._canvas import averaged, drawn_side, requirement
from ._chaos import COUNT, LATEST, MARK, MOST_MAPS, play
from ._official import hue_wheel, point_picture
from ._random import Draw
from ._scratch import borrowed
from ._search import fills

_require = requirement("fractal")


@dataclass(frozen=True)
class Fractal(Formula):
    """Planar iterated function systems.

    A category is a system of 2 to 7 affine maps whose points fill enough of the frame. Its members count through 25
    rows of weights, 10 repetitions and 4 flips, in this order: member ``i`` has row ``i // 40 % 25``, flip ``i % 4``,
    and the 1,000 public files of a class are members 0 to 999. Later members repeat the walk with other points.

    Differs from the public code:

    * Every member plays a game of its own, where the public one gives all members the same random numbers and lets
      repetitions differ in their patches only.
    * 256 chains side by side in single precision, where the public one has one chain in double precision.
    * The extent is measured on 8,192 points after 32 rounds of settling, without the origin and the way from it. What
      lies beyond the extent and its padding is not drawn.
    * Both margins are alike; the public one leaves one pixel less at the right and the bottom, and its patches hang to
      the right of and above their points.
    * The padding, 6 pixels, and the number of points, 100,000, shrink with small pictures unless given, and what is
      smaller than 128 pixels is drawn larger and averaged: 3x3 patches on 32 pixels would leave nothing but noise.
    * A category that flies apart is refused. A member that does (1 in 40 at ``interval=0.4``, none seen at .1) is
      drawn with its linear parts shrunk by tenths until it stays.
    * The search draws from its own generator, so it finds other systems than the public 1,000, for which there is
      the codebook.

    Attributes:
        mode: how a point is drawn: ``point``, one pixel; ``fixed_patch``, a full 3x3 square; ``picture_patch``, one
            random 3x3 mask for the whole picture; ``patch``, a random mask for every point, whose empty pixels erase;
            ``density``, the count of points on each pixel over the largest.
        colour: draws RGB. The hue turns with the number of the point, or, for ``density``, with the count.
        sampler: coefficients ``uniform`` over (-1, 1), or ``svd``, random rotations with chosen singular values.
        sigma: for ``svd``, the sum of s1 + 2 s2 over the singular values of all maps, drawn within .1 of this. If None,
            between (5 + N) / 2 and (6 + N) / 2 for N maps, as Anderson & Farrell found best.
        delta: makes all categories of a seed out of one system (1p-frac): every coefficient of every map is multiplied
            by a number from 1 - delta to 1 + delta, and the probabilities stay. If None, each has its own system.
        maps: the least and the most maps of a system, 2 to 8.
        min_fill: the share of pixels that must be hit for a category to count, by 100,000 points at 512 pixels. If
            None, .2 for ``uniform`` and 0 for ``svd``, as published.
        tries: systems looked at before the search for a category gives up.
        interval: step w of the weights 1 - 2w, 1 - w, 1 + w, 1 + 2w, 0 to .5. With 0, members are the category itself,
            flipped and walked anew, so that member 0 alone is the one picture of a class in OFDB and 1p-frac.
        rotations: also quarter turns: 8 variants instead of 4, so 2,000 members before the walk repeats.
        points: points a picture. If None, 100,000, less in proportion to the drawn area below 256 pixels.
        pad: pixels left free around the attractor. If None, 6, less in proportion to the drawn side below 192 pixels.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below; 1 for ``density``, whose counts are an average already.
        brightness: grey value of a drawn pixel, 1 to 255. If None, 127, as published, and 255 where pixels are
            averaged, since half of those under random patches are empty. No part in ``density`` or colour.
        official: draws the public renderer's own ``point`` pictures from a codebook of its files: one chain from its
            random numbers. Members are its 25 x 4 files ``{row:02d}_count_0_flip{flip}``.

    Raises:
        InputError: if a setting is out of range, or ``official`` is asked for in another mode.
    """

    mode: Literal["point", "fixed_patch", "picture_patch", "patch", "density"] = "patch"
    colour: bool = False
    sampler: Literal["uniform", "svd"] = "uniform"
    sigma: float | None = None
    delta: float | None = None
    maps: tuple[int, int] = (2, 7)
    min_fill: float | None = None
    tries: int = 10_000
    interval: float = 0.1
    rotations: bool = False
    points: int | None = None
    pad: int | None = None
    oversample: int | None = None
    brightness: int | None = None
    official: bool = False

    def __post_init__(self):
        object.__setattr__(
            self, "maps", tuple(self.maps)
        )  # a recipe read from JSON brings a list, which cannot be hashed
        _require(self.mode in MODES, "mode", self.mode, f"one of {', '.join(MODES)}")
        _require(self.sampler in SAMPLERS, "sampler", self.sampler, f"one of {', '.join(SAMPLERS)}")
        fits = len(self.maps) == 2 and 2 <= self.maps[0] <= self.maps[1] <= MOST_MAPS
        _require(fits, "maps", self.maps, f"(least, most) within 2 to {MOST_MAPS}")
        _require(self.sigma is None or self.sampler == "svd", "sigma", self.sigma, "None where sampler is not 'svd'")
        most = 3 * self.maps[0]
        _require(self.sigma is None or 0 < self.sigma <= most, "sigma", self.sigma, f"above 0 to {most}, 3 a map")
        _require(self.delta is None or 0 < self.delta <= 1, "delta", self.delta, "above 0 to 1")
        _require(self.min_fill is None or 0 <= self.min_fill < 1, "min_fill", self.min_fill, "0 to below 1")
        _require(self.tries >= 1, "tries", self.tries, "at least 1")
        _require(0 <= self.interval <= 0.5, "interval", self.interval, "0 to 0.5")
        most = _raster.MOST_POINTS
        _require(self.points is None or 1 <= self.points <= most, "points", self.points, f"1 to {most:,}")
        _require(self.pad is None or self.pad >= 1, "pad", self.pad, "at least 1")
        _require(self.oversample is None or self.oversample >= 1, "oversample", self.oversample, "at least 1")
        _require(
            not self.official or self.oversample in (None, 1), "oversample", self.oversample, "1 where official=True"
        )
        _require(self.brightness is None or 1 <= self.brightness <= 255, "brightness", self.brightness, "1 to 255")
        _require(not self.official or self.mode == "point", "mode", self.mode, "'point' where official=True")

    def category(self, draw: Draw) -> Params:
        """Draws systems until one fills enough of the frame: ``{"maps": float64 [N, 7]}``.

        Raises:
            InputError: if none of ``tries`` systems does.
        """
        fill = self.min_fill if self.min_fill is not None else {"uniform": 0.2, "svd": 0.0}[self.sampler]
        for attempt in range(self.tries):
            trial = draw.split(attempt)
            system = self._candidate(trial)
            if fills(system, fill, trial):
                return {"maps": system}
        raise InputError(
            f"none of {self.tries:,} fractal systems filled {fill:g} of the frame; lower min_fill or raise tries"
        )

    def _candidate(self, draw: Draw) -> np.ndarray:
        if self.delta is not None:
            return perturbed(_parent(self, draw.seed), draw, self.delta)
        count = int(draw.integers(self.maps[0], self.maps[1] + 1))
        return svd_system(draw, count, self.sigma) if self.sampler == "svd" else uniform_system(draw, count)

    def instance(self, params: Params, draw: Draw) -> Params:
        """Scales one coefficient of every map and flips the plane, as ``draw.instance`` counts."""
        number = draw.instance or 0
        rows = weights(self.interval)
        if self.official:  # its flips are made on the finished picture
            return {"maps": varied(params["maps"], rows[number // 4 % 25], 0), "flip": np.array(number % 4)}
        variants = 8 if self.rotations else 4
        row = rows[number // (10 * variants) % 25]
        return {"maps": varied(params["maps"], row, number % variants)}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a system as uint8 ``[size, size]``, or ``[size, size, 3]`` in colour.

        Raises:
            InputError: if the size is below 8 or leaves no room inside the padding, or the system is out of all
                bounds.
        """
        as_large = self.official or self.mode == "density"
        canvas, factor = drawn_side("fractal", size, self.oversample or (1 if as_large else None))
        pad = self.pad * factor if self.pad is not None else 6 if self.official else max(1, min(6, canvas // 32))
        _require(
            canvas - 2 * pad >= 4, "size", size, f"more than the padding leaves free, {2 * pad} of {canvas} pixels"
        )
        if self.official:
            return self._official(params, size, pad)
        points = self.points or max(1, min(100_000, 100_000 * canvas**2 // 256**2))
        light = self.brightness or (127 if factor == 1 else 255)
        picture = self._draw(params["maps"], canvas, points, pad, light, draw)
        return averaged(picture, factor)

    def _draw(self, system: np.ndarray, size: int, points: int, pad: int, light: int, draw: Draw) -> np.ndarray:
        key, other = draw.split(1), draw.split(2)
        if self.mode == "point" and not self.colour:
            picture = np.zeros((size, size), np.uint8)
            _drop(system, key, points, pad, MARK, light, picture, _NO_WORDS)
            return picture
        words = borrowed("words", size * size, np.uint32).reshape(size, size)
        words.fill(0)
        _drop(system, key, points, pad, COUNT if self.mode == "density" else LATEST, 0, _NO_MARKS, words)
        return self._paint(words, light, other)

    def _paint(self, words: np.ndarray, light: int, draw: Draw) -> np.ndarray:
        """From what the pixels hold, counts or the numbers of points, to a picture."""
        size = len(words)
        picture = np.empty((size, size, 3) if self.colour else (size, size), np.uint8)
        if self.mode == "density":
            _raster.density(words, _palette(draw) if self.colour else _GREYS, picture.reshape(size, size, -1))
            return picture
        if self.mode != "point":
            mask = {"patch": 0, "fixed_patch": 511}.get(self.mode)
            mask = int(draw.integers(1, 512)) if mask is None else mask
            owner = borrowed("owner", size * size, np.uint32).reshape(size, size) if self.colour else picture
            _raster.patches(words, mask, np.uint32(draw.key & 0xFFFFFFFF), 0 if self.colour else light, owner)
            words = owner
        if self.colour:
            _raster.colour(words, _wheel(), picture)
        return picture

    def _official(self, params: Params, size: int, pad: int) -> np.ndarray:
        wheel = _wheel() if self.colour else np.full((128, 3), self.brightness or 127, np.uint8)
        picture = point_picture(params["maps"], size, self.points or 100_000, pad, wheel)
        flip = int(params["flip"]) if "flip" in params else 0
        picture = picture[:: -1 if flip & 1 else 1, :: -1 if flip & 2 else 1]
        return np.ascontiguousarray(picture if self.colour else picture[..., 0])


MODES = ("point", "fixed_patch", "picture_patch", "patch", "density")
SAMPLERS = ("uniform", "svd")


@lru_cache(maxsize=64)
def _parent(formula: Fractal, seed: int) -> np.ndarray:
    """The system that all categories of a seed are made of. Category -1, a number that no class of the set has.

    Differs from the public code of 1p-frac, which takes the first system drawn and may then look for ever for one
    that fills the frame: the system itself has to fill it.
    """
    return replace(formula, delta=None).category(Draw(seed, -1))["maps"]


def _drop(system: np.ndarray, draw: Draw, *where: object) -> None:
    """Plays the game, shrinking the linear parts of a system that flies apart by tenths until it stays."""
    with np.errstate(over="ignore", invalid="ignore"):  # without the compiler, wrapping and infinity would warn
        for _ in range(100):
            if play(system, np.uint64(draw.key), *where):
                return
            system = system.copy()
            system[:, :4] *= 0.9
    raise InputError("a fractal system stays out of all bounds however much it is shrunk: check the codebook")


def _palette(draw: Draw) -> np.ndarray:
    """Colours of the 256 densities, uint8 ``[256, 3]``: once round the wheel from a random hue; nothing is black."""
    start, saturation, value = draw.uniform(), draw.uniform(0.3, 1.0), draw.uniform(0.5, 1.0)
    hue = (np.arange(256) / 255 + start) * 6
    table = np.empty((256, 3))
    for channel, turn in enumerate((5, 3, 1)):  # HSV to RGB: each channel is a trapezium over the wheel
        k = hue + turn - 6 * np.floor((hue + turn) / 6)
        table[:, channel] = value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1)
    table[0] = 0
    return (table * 255).astype(np.uint8)


_NO_MARKS, _NO_WORDS = np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint32)
_GREYS = np.arange(256, dtype=np.uint8).reshape(256, 1)
_wheel = lru_cache(hue_wheel)
