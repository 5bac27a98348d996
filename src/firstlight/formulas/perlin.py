"""Perlin noise: smooth random pictures and clips whose class is how fine they are along each axis.

Inoue et al., "Initialization using Perlin noise for training networks with a limited amount of data", ICPR 2020.
https://doi.org/10.1109/ICPR48806.2021.9412955
Clips (Video Perlin Noise): Kataoka et al., "Spatiotemporal initialization for 3D CNNs with generated motion patterns",
WACV 2022. https://hirokatsukataoka16.github.io/Spatiotemporal-Initialization-for-3DCNNs/
"""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from . import Formula, Kind, Params
from ._canvas import requirement
from ._noise import plane_directions, plane_noise, space_directions, space_noise
from ._random import Draw

_require = requirement("perlin")

FULL_PLANE, FULL_SPACE = 127.5 * math.sqrt(2), 127.5 * 2 / math.sqrt(3)
"""Grey values that a noise of 1 stands for at contrast 1: unit gradients reach at most sqrt(1/2) and sqrt(3/4)."""


@dataclass(frozen=True)
class Perlin(Formula):
    """Gradient noise on a lattice with a given number of cells along each axis.

    A category is a pair of frequencies, cells across and cells down: class ``c`` has ``1 + c // grid`` and
    ``1 + c % grid``. A grid of 10 gives the 100 classes of Perlin-100, one of 36 the 1,296 of Perlin-1296. With
    ``frames`` a member is a clip and a class has a third frequency, cells along the frames: class ``c`` has
    ``1 + c // (grid * times)``, ``1 + c // times % grid`` and ``1 + c % times``. Members differ in their gradients.
    The arithmetic, to the last bit, stands in ``formulas/_noise.py``; the gradients come from the ``Draw`` of the
    rendering.

    There is no public code and we have not seen the papers' exact settings: that the classes are the pairs of
    frequencies from 1 on, and the length of a clip, are our reading. Differs from the usual NumPy version:

    * Gradients are one of 256 unit vectors, not of all angles; in clips they are even over the sphere.
    * Pixels are sampled at their centres, so that the same noise appears at every size, a size need not be a multiple
      of the frequency, and cells as small as a pixel are not all zero.
    * Grey values follow a fixed rule, 127.5 for zero, instead of each picture's own darkest and brightest values.

    Attributes:
        grid: frequencies along each side of the picture, 1 to 512.
        frames: frames of a clip, up to 1,024; 0 draws pictures.
        times: frequencies along the frames, up to ``frames``. If None, ``grid`` or ``frames``, whichever is less.
        octaves: layers of noise, each twice as fine as the one before (fractal Brownian motion), 1 to 8. Those finer
            than the pixels are left out.
        persistence: strength of an octave beside the one before, above 0 up to 1. The sum is scaled to the variance of
            a single octave.
        contrast: 1 lets the largest possible value of one octave reach black and white; more than 1 cuts off what
            lies beyond. Above 0, up to 16.

    Raises:
        InputError: if a setting is out of range.
    """

    grid: int = 10
    frames: int = 0
    times: int | None = None
    octaves: int = 1
    persistence: float = 0.5
    contrast: float = 1.0

    def __post_init__(self):
        _require(1 <= self.grid <= 512, "grid", self.grid, "1 to 512")
        _require(0 <= self.frames <= 1024, "frames", self.frames, "0, for pictures, to 1024")
        most = f"1 to frames, {self.frames}" if self.frames else "None where frames=0"
        _require(self.times is None or 1 <= self.times <= self.frames, "times", self.times, most)
        _require(1 <= self.octaves <= 8, "octaves", self.octaves, "1 to 8")
        _require(0 < self.persistence <= 1, "persistence", self.persistence, "above 0, up to 1")
        _require(0 < self.contrast <= 16, "contrast", self.contrast, "above 0, up to 16")

    @property
    def kind(self) -> Kind:
        return "clip" if self.frames else "picture"

    @property
    def categories(self) -> int:
        return self.grid**2 * self._times

    def category(self, draw: Draw) -> Params:
        """The frequencies of a class: ``{"frequency": int64 [2] or [3]}``, cells across, down and along the frames.

        Raises:
            InputError: if there are fewer classes.
        """
        if not 0 <= draw.category < self.categories:
            axes = f"grid={self.grid}" + (f" and times={self._times}" if self.frames else "")
            raise InputError(
                f"perlin has no category {draw.category}: with {axes} there are {self.categories:,}, numbered from 0"
            )
        place, along = divmod(draw.category, self._times)
        across, down = divmod(place, self.grid)
        return {"frequency": np.array([across + 1, down + 1, along + 1][: 3 if self.frames else 2])}

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws uint8 ``[size, size]``, or a clip, uint8 ``[frames, size, size]``.

        Raises:
            InputError: if the size is below 8, above 8,192 or below a frequency of the class, whose cells would be
                smaller than the pixels, or the class is of the other kind.
        """
        _require(8 <= size <= 8192, "size", size, "8 to 8192 pixels")
        lengths = (size, size, self.frames) if self.frames else (size, size)
        frequency = params["frequency"].tolist()
        fits = len(frequency) == len(lengths) and all(
            type(f) is int and 1 <= f <= n for f, n in zip(frequency, lengths)
        )
        _require(
            fits, "size", size, f"a size and frames not below the class's frequencies {frequency}, one for each axis"
        )
        amplitudes = self._amplitudes(frequency, lengths)
        with np.errstate(over="ignore"):  # without the compiler, numbers that wrap around would warn
            if self.frames:
                pixels = np.empty((self.frames, size, size), np.uint8)
                space_noise(np.uint64(draw.key), *frequency, amplitudes, space_directions(), pixels)
            else:
                pixels = np.empty((size, size), np.uint8)
                plane_noise(np.uint64(draw.key), *frequency, amplitudes, plane_directions(), pixels)
        return pixels

    @property
    def _times(self) -> int:
        return (self.times or min(self.grid, self.frames)) if self.frames else 1

    def _amplitudes(self, frequency: list[int], lengths: tuple[int, ...]) -> np.ndarray:
        """Grey values of each octave that the pixels can show, float64 ``[octaves]``."""
        parts, total = [1.0], 1.0
        for _ in range(1, self.octaves):
            parts.append(parts[-1] * self.persistence)
            total += parts[-1] * parts[-1]
        whole = self.contrast * (FULL_SPACE if self.frames else FULL_PLANE) / math.sqrt(total)
        shown = min((n // f).bit_length() for f, n in zip(frequency, lengths))
        return np.array([whole * part for part in parts[:shown]])
