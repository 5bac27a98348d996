"""Statistical picture models: 1/f noise, natural colours and wavelet marginals, each imposed on white noise.

Baradad et al., "Learning to see by looking at noise", NeurIPS 2021. https://arxiv.org/abs/2106.05963
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError
from . import Formula, Params
from ._canvas import requirement
from ._compile import kernel
from ._fourier import inverse_amplitudes, roots, shape_spectrum
from ._histogram import match
from ._math import cos_sin, log
from ._palette import BINS, palette
from ._random import Draw
from ._wavelet import ORIENTATIONS, densities, impose

_require = requirement("spectrum")

MODELS = ("spectrum", "wavelet", "spectrum_colour", "spectrum_colour_wavelet")
MOST_SCALES = 7


@dataclass(frozen=True)
class Spectrum(Formula):
    """Noise with some of the statistics of photographs.

    A category is a model's parameters, a member another white noise that they are imposed on:

    * Spectrum: the amplitude of the frequency (u, v), in cycles a pixel, is ``1 / (|u|**a + |v|**b)``. With s even
      between the two ``slopes`` and d normal with a 60th of their distance, a = s + d and b = s - d.
    * Colour: the histograms of the picture along three orthogonal axes of colour are those of 3 to 22 random colours
      in random proportions with blurred borders (``formulas/_palette.py``).
    * Wavelet: every subband of a steerable pyramid with four orientations has the density ``exp(-|x / w|**r)``, r even
      between .4 and .8 for each subband and channel, w = 4, 16, 256, 65,536 ... from fine to coarse
      (``formulas/_wavelet.py``).

    All statistics of a model are imposed in turn, ten times over; three independent channels become colours along the
    axes of the colour model; the extremes of the three become 0 and 255.

    The models ``spectrum``, ``wavelet``, ``spectrum_colour`` and ``spectrum_colour_wavelet`` are the published stat-
    spectrum, wmm, spectrum_color and spectrum_color_wmm. Differs from the public code, of which we follow the MATLAB
    part that made the published pictures:

    * Without classes there, every picture has its own parameters; here the members of a class share them.
    * A size that is not a power of two is cut from the next one. (The spectrum is by the pixel, so it does not change;
      the picture loses its wrapping around.)
    * The pyramid's filters are raised cosines over frequencies, as in the Python part, with the gains of the MATLAB
      one's kernels: values double from scale to scale.
    * Histograms of the noise have 4,096 bins, where MATLAB has as many as the wanted one and Python sorts.
    * Flat areas are blurred with their borders continued, not darkened, and have their exact shares of the picture;
      the colour model is measured at 128 pixels whatever the size.
    * The spectrum alone is imposed once: it does not change by repetition.
    * Pyramids have 3 scales at 128 and 4 at 256 pixels; other sizes, one more or fewer for each doubling.

    Attributes:
        model: which statistics.
        colour: draws RGB; otherwise one grey channel, for ``spectrum`` and ``wavelet``.
        slopes: the least and the largest exponent of the spectrum, 0 to 8.
        iterations: how often the statistics are imposed in turn, 1 to 100.
        scales: of the pyramid, 1 to 7, or as many as halve the picture to 8 pixels. If None, see above.

    Raises:
        InputError: if a setting is out of range.
    """

    model: Literal["spectrum", "wavelet", "spectrum_colour", "spectrum_colour_wavelet"] = "spectrum"
    colour: bool = True
    slopes: tuple[float, float] = (0.5, 3.5)
    iterations: int = 10
    scales: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "slopes", tuple(self.slopes))  # a recipe read from JSON brings a list
        _require(self.model in MODELS, "model", self.model, f"one of {', '.join(MODELS)}")
        needs = self.colour or "colour" not in self.model
        _require(needs, "colour", self.colour, f"True where model={self.model!r}")
        fits = len(self.slopes) == 2 and 0 <= self.slopes[0] <= self.slopes[1] <= 8
        _require(fits, "slopes", self.slopes, "(least, largest) within 0 to 8")
        _require(1 <= self.iterations <= 100, "iterations", self.iterations, "1 to 100")
        most = MOST_SCALES
        _require(self.scales is None or 1 <= self.scales <= most, "scales", self.scales, f"1 to {most}")

    def category(self, draw: Draw) -> Params:
        """Draws the parameters of the model.

        Returns:
            With a spectrum, ``slopes`` float64 ``[2]`` (a, b); with wavelets, ``shapes`` float64 ``[3, 29]`` (r of
            each channel's outermost ring and four orientations of up to 7 scales); in colour, what ``palette`` gives.
        """
        params: Params = {}
        if "spectrum" in self.model:
            own = draw.split(1)
            middle = own.uniform(*self.slopes)
            away = _normal(own) * (self.slopes[1] - self.slopes[0]) / 60
            params["slopes"] = np.array([middle + away, middle - away])
        if "wavelet" in self.model:
            params["shapes"] = draw.split(2).uniform(0.4, 0.8, (3, 1 + ORIENTATIONS * MOST_SCALES))
        if self.colour:
            params |= palette(draw.split(3))
        return params

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws uint8 ``[size, size, 3]``, or ``[size, size]`` in grey.

        Raises:
            InputError: if the size is below 8 or above 8,192 (2,048 with wavelets), or the class is not of this model.
        """
        self._check(params)
        most = 2048 if "wavelet" in self.model else 8192
        _require(8 <= size <= most, "size", size, f"8 to {most} pixels")
        canvas = 1 << (size - 1).bit_length()
        channels = 3 if self.colour else 1
        planes = np.zeros((2 * (channels // 2 + 1), canvas, canvas))  # in pairs, for the transforms
        for plane in planes[:channels]:
            plane[:] = draw.uniform(0, 256, (canvas, canvas))
        self._impose(params, planes, channels)
        pixels = np.empty((size, size, channels), np.uint8)
        axes, mean = (params["axes"], params["mean"]) if self.colour else (np.ones((1, 1)), np.zeros(1))
        _paint(planes, axes, mean, pixels)
        return pixels if self.colour else pixels[..., 0]

    def _impose(self, params: Params, planes: np.ndarray, channels: int) -> None:
        """Imposes the statistics on float64 ``[2 or 4, N, N]``: channels in pairs, zeros where there are no more."""
        canvas, pairs = planes.shape[1], [range(k, min(k + 2, channels)) for k in range(0, channels, 2)]
        amplitudes, marginals, scales = None, [], self._scales(canvas)
        if "spectrum" in self.model:
            amplitudes = inverse_amplitudes(params["slopes"], canvas)
        if "wavelet" in self.model:
            marginals = [densities(shapes, scales) for shapes in params["shapes"]]
        for _ in range(1 if self.model == "spectrum" else self.iterations):
            for used in pairs:
                pair = planes[used[0]], planes[used[0] + 1]
                if amplitudes:
                    shape_spectrum(*pair, roots(canvas), *amplitudes, len(used) > 1)
                if marginals:
                    impose(*pair, [marginals[k] for k in used], scales)
            if "colour" in self.model:
                for k in range(channels):
                    low, high = params["ends"][k]
                    match(planes[k].reshape(-1), params["reached"][k], low, (high - low) / BINS)

    def _check(self, params: Params) -> None:
        """Refuses what a damaged or a foreign codebook may hold, before kernels count on it."""
        shapes = {"slopes": (2,)} if "spectrum" in self.model else {}
        shapes |= {"shapes": (3, 1 + ORIENTATIONS * MOST_SCALES)} if "wavelet" in self.model else {}
        if self.colour:
            shapes |= {"axes": (3, 3), "mean": (3,), "ends": (3, 2), "reached": (3, BINS + 1)}
        for name, shape in shapes.items():
            value = params.get(name, np.zeros(0))
            if value.shape != shape or value.dtype != np.float64 or not np.isfinite(value).all():
                raise InputError(
                    f"spectrum(model={self.model!r}) needs finite {name} {list(shape)}: check the codebook"
                )

    def _scales(self, canvas: int) -> int:
        doublings = canvas.bit_length() - 1
        return min(self.scales or max(1, doublings - 4), max(1, doublings - 3))


def _normal(draw: Draw) -> float:
    """One number from the normal distribution (Box & Muller 1958)."""
    radius = np.sqrt(-2 * log(1 - draw.uniform()))
    return float(radius * cos_sin(draw.uniform())[0])


@kernel
def _paint(planes, axes, mean, pixels):
    """Turns channels to colours, and stretches what is seen of them to 0 .. 255, rounded."""
    size, channels = pixels.shape[1], pixels.shape[2]
    least, most = np.inf, -np.inf
    for row in range(size):
        for i in range(size):
            for c in range(channels):
                value = _mixed(planes, axes, mean, row, i, c)
                least, most = min(least, value), max(most, value)
    scale = 255.0 / (most - least) if most > least else 0.0
    for row in range(size):
        for i in range(size):
            for c in range(channels):
                value = (_mixed(planes, axes, mean, row, i, c) - least) * scale
                pixels[row, i, c] = np.uint8(int(value + 0.5))


@kernel
def _mixed(planes, axes, mean, row, i, c):
    """A pixel's colour ``c``: the mean and its coordinates along the axes."""
    value = mean[c]
    for k in range(len(mean)):
        value += axes[c, k] * planes[k, row, i]
    return value
