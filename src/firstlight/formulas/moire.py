"""Moiré: the broad fringes that appear where fine gratings lie on one another (MoireDB).

Matsuo et al., "MoireDB: Formula-generated interference-fringe image dataset", 2025. https://arxiv.org/abs/2502.01490
Amidror, "The theory of the moiré phenomenon", Springer 2009. https://lspwww.epfl.ch/publications/books/moire/
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import Formula, Params
from ._canvas import averaged, drawn_side, requirement
from ._compile import kernel
from ._math import cos_sin
from ._random import Draw

_require = requirement("moire")

LINES, RINGS, ZONES = range(3)
KINDS = {"lines": (LINES,), "rings": (RINGS,), "zones": (ZONES,), "mixed": (LINES, RINGS, ZONES)}
MOST_LAYERS = 8


@dataclass(frozen=True)
class Moire(Formula):
    """Two or three gratings of nearly the same spacing on one another.

    A grating is a wave of brightness: straight lines, rings around a point, or zones, rings that grow narrower
    outwards and reach the grating's frequency one side away from their centre. A category is a set of gratings as
    they lie to one another, which fixes the shape of their fringes. An instance turns and moves them all together,
    and shifts the wave of each.

    What could be verified of MoireDB is its abstract: pictures of interference fringes, drawn by a formula, that are
    mixed into training pictures as PixMix does, in the place of fractal art and feature visualisations. Its formula,
    the ranges of its parameters and the number of its pictures could not, and no public code was found. What is built
    here is the textbook superposition of gratings. The paper augments; its pictures need no classes, and these are
    ours.

    Attributes:
        gratings: the kind of all gratings, ``lines``, ``rings`` or ``zones``; ``mixed`` draws each one's kind.
        layers: the fewest and the most gratings, 2 to 8.
        frequency: the lowest and the highest number of waves to a side, 1 to 1000.
        mismatch: how far the frequencies of a category's gratings lie from their middle at most, as a share, 0 to 0.9.
            Small ones give broad fringes.
        tilt: how far straight gratings are turned against each other at most, in turns either way, 0 to 0.25.
        distance: how far from the middle of the picture the centres lie at most, in each direction, as a share of the
            side, 0 to 1.
        combine: ``product`` lays transparent films on one another, lit twice as brightly for each beyond the second;
            ``sum`` takes the mean of the waves, whose fringes are changes of contrast and not of brightness.
        profile: the brightness of a grating follows a ``sine``, or is black or white: ``square``.
        colour: draws RGB; every channel has its own shifts of the waves.
        oversample: how many times larger the picture is drawn before it is averaged down. If None, what brings it to
            128 pixels or just below, so that fine gratings do not interfere with the pixels instead.

    Raises:
        InputError: if a setting is out of range.
    """

    gratings: Literal["lines", "rings", "zones", "mixed"] = "mixed"
    layers: tuple[int, int] = (2, 3)
    frequency: tuple[float, float] = (12.0, 40.0)
    mismatch: float = 0.1
    tilt: float = 0.05
    distance: float = 0.2
    combine: Literal["product", "sum"] = "product"
    profile: Literal["sine", "square"] = "sine"
    colour: bool = False
    oversample: int | None = None

    def __post_init__(self):
        for name in ("layers", "frequency"):  # a recipe read from JSON brings a list, which cannot be hashed
            object.__setattr__(self, name, tuple(self.__dict__[name]))
        _require(self.gratings in KINDS, "gratings", self.gratings, f"one of {', '.join(KINDS)}")
        fits = len(self.layers) == 2 and 2 <= self.layers[0] <= self.layers[1] <= MOST_LAYERS
        _require(fits, "layers", self.layers, f"(fewest, most) within 2 to {MOST_LAYERS}")
        fits = len(self.frequency) == 2 and 1 <= self.frequency[0] <= self.frequency[1] <= 1000
        _require(fits, "frequency", self.frequency, "(lowest, highest) within 1 to 1000")
        _require(0 <= self.mismatch <= 0.9, "mismatch", self.mismatch, "0 to 0.9")
        _require(0 <= self.tilt <= 0.25, "tilt", self.tilt, "0 to 0.25")
        _require(0 <= self.distance <= 1, "distance", self.distance, "0 to 1")
        _require(self.combine in ("product", "sum"), "combine", self.combine, "'product' or 'sum'")
        _require(self.profile in ("sine", "square"), "profile", self.profile, "'sine' or 'square'")
        _require(self.oversample is None or self.oversample >= 1, "oversample", self.oversample, "at least 1")

    def category(self, draw: Draw) -> Params:
        """Draws ``{"gratings": float64 [L, 5]}``: kind (0 lines, 1 rings, 2 zones), frequency, x, y, turn.

        Places are shares of the side, from the middle of the picture; turns are full ones.
        """
        count = int(draw.integers(self.layers[0], self.layers[1] + 1))
        table = np.empty((count, 5))
        table[:, 0] = np.array(KINDS[self.gratings])[draw.integers(0, len(KINDS[self.gratings]), count)]
        table[:, 1] = draw.uniform(*self.frequency) * (1 + draw.uniform(-self.mismatch, self.mismatch, count))
        table[:, 2:4] = draw.uniform(-self.distance, self.distance, (count, 2))
        table[:, 4] = draw.uniform(-self.tilt, self.tilt, count)
        return {"gratings": table}

    def instance(self, params: Params, draw: Draw) -> Params:
        """Adds one ``turn`` and one ``shift [2]`` for all gratings, and ``phases [L, 3 or 1]`` in waves."""
        phases = draw.uniform(0.0, 1.0, (len(params["gratings"]), 3 if self.colour else 1))
        return params | {"turn": draw.uniform(), "shift": draw.uniform(-0.25, 0.25, 2), "phases": phases}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Lays the gratings on one another: uint8 ``[size, size]``, or ``[size, size, 3]`` in colour.

        Raises:
            InputError: if the size is out of range.
        """
        canvas, factor = drawn_side("moire", size, self.oversample)
        channels = params["phases"].shape[1]
        pixels = np.empty((canvas, canvas, channels), np.uint8)
        placed = _placed(params).astype(np.float32).reshape(-1)
        for channel in range(channels):
            phases = params["phases"][:, channel].astype(np.float32)
            _superpose(placed, phases, self.combine == "product", self.profile == "square", channel, pixels)
        pixels = averaged(pixels, factor)
        return pixels if self.colour else pixels[..., 0]


def _placed(params: Params) -> np.ndarray:
    """Gratings turned and moved: float64 ``[L, 6]``, kind, frequency, x, y, and cosine and sine of the direction.

    Places are shares of the side from the upper left corner.
    """
    table, turn = params["gratings"], float(params["turn"])
    cosine, sine = cos_sin(np.append(table[:, 4] + turn, turn))
    placed = np.empty((len(table), 6))
    placed[:, :2] = table[:, :2]
    placed[:, 2] = 0.5 + params["shift"][0] + (cosine[-1] * table[:, 2] - sine[-1] * table[:, 3])
    placed[:, 3] = 0.5 + params["shift"][1] + (sine[-1] * table[:, 2] + cosine[-1] * table[:, 3])
    placed[:, 4], placed[:, 5] = cosine[:-1], sine[:-1]
    return placed


@kernel
def _superpose(placed, phases, product, square, channel, pixels):
    """Draws one channel of uint8 ``pixels [S, S, C]`` from float32 ``placed [L * 6]`` and ``phases [L]``."""
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    size, layers = len(pixels), len(phases)
    step, gain = np.float32(1 / size), np.float32(1 << (layers - 2))
    light = np.empty(size, np.float32)
    for row in range(size):
        for i in range(size):
            light[i] = one if product else zero
        for layer in range(layers):
            kind, frequency, phase = int(placed[6 * layer]), placed[6 * layer + 1], phases[layer]
            left, cosine, sine = placed[6 * layer + 2], placed[6 * layer + 4], placed[6 * layer + 5]
            y = (np.float32(row) + half) * step - placed[6 * layer + 3]
            for i in range(size):
                x = (np.float32(i) + half) * step - left
                far = x * x + y * y
                way = half * far if kind == ZONES else np.sqrt(far) if kind == RINGS else cosine * x + sine * y
                wave = _cosine(frequency * way + phase)
                if square:
                    wave = one if wave > zero else -one
                light[i] = light[i] * (half + half * wave) if product else light[i] + wave
        for i in range(size):
            shown = min(light[i] * gain, one) if product else half + half * (light[i] / np.float32(layers))
            pixels[row, i, channel] = np.uint8(np.int32(shown * np.float32(255) + half))


@kernel
def _cosine(turns):
    """Cosine of an angle in full turns, float32, by Taylor's polynomial; within 1e-5 of the truth below 1 turn."""
    turns = turns - np.floor(turns + np.float32(0.5))
    s = turns * turns * np.float32(39.47841760435743)  # the square of two pi
    value = np.float32(1 / 20922789888000)
    value = value * s - np.float32(1 / 87178291200)
    value = value * s + np.float32(1 / 479001600)
    value = value * s - np.float32(1 / 3628800)
    value = value * s + np.float32(1 / 40320)
    value = value * s - np.float32(1 / 720)
    value = value * s + np.float32(1 / 24)
    value = value * s - np.float32(1 / 2)
    return value * s + np.float32(1)
