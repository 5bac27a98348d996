"""Statistics of the training pictures themselves, by which the literature explains what transfers.

Filling rate: Kataoka et al., "Pre-training without natural images", IJCV 2022. https://arxiv.org/abs/2101.08515
Edges: Kataoka et al., "Replacing labeled real-image datasets with auto-generated contours", CVPR 2022,
https://arxiv.org/abs/2206.09132. Spectrum: Baradad et al., "Learning to see by looking at noise", NeurIPS 2021,
https://arxiv.org/abs/2106.05963. Compactness: "Intraclass compactness: a metric for evaluating models pre-trained on
various synthetic data", LIMIT workshop 2025, https://openreview.net/forum?id=G2WCuOVVti
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Pictures, Split, Subset
from ..encoder import Encoder
from ..errors import InputError
from ..events import Events, Note, Progress
from ..result import thumbnail
from ..views.make import show
from . import Evaluation, Result
from ._features import inputs
from ._statistics import (
    FAINT,
    FIRST_CYCLES,
    RESAMPLES,
    background_of,
    compactness,
    edge_densities,
    filling_rates,
    percentiles,
    resampled,
    resampled_means,
    slopes,
    spectra,
    spread,
)

CHUNK = 64


@dataclass(frozen=True)
class Statistics(Evaluation):
    """What the training pictures are like. Nothing is trained or guessed, and test pictures are not looked at.

    * Filling rate: the share of pixels that differ from the background.
    * Edge density: the share of pixels whose Sobel gradient is above a threshold.
    * Spectrum slope: of log power against log frequency, averaged over directions; 0 for white noise, about -2 for
      photographs.
    * Intraclass compactness: the mean distance of members to their class's centre over the mean distance between
      centres; small where classes are tight and far apart. Of pixels at 32 pixels a side or less, and of features
      where there is an encoder.

    All but compactness are measured on grey pictures, for each by itself. Intervals are the middle 95 % of 1,000
    bootstrap samples, of pictures, and of classes for compactness, of which it takes three.

    Differs from the papers: the filling rate is that of the pictures as they are shown, and not of the points of a
    search; compactness is divided by the distance of the centres, so that sets and encoders of any scale compare.
    """

    predicts: ClassVar[bool] = False
    describes: ClassVar[bool] = True

    pictures: int = 2000
    """measure at most so many, spread evenly over the classes"""
    edge: float = 0.1
    """the gradient above which a pixel is an edge, as a share of the range from black to white per pixel"""
    background: int | None = None
    """the background's grey value, 0 to 255; unset: what more than a third of the pictures' corners have, else none"""

    def __post_init__(self):
        if self.pictures < 1:
            raise InputError(f"statistics(pictures={self.pictures}): allowed is at least 1")
        if not 0 < self.edge < 1:
            raise InputError(f"statistics(edge={self.edge}): allowed is above 0 and below 1")
        if self.background is not None and not 0 <= self.background <= 255:
            raise InputError(f"statistics(background={self.background}): allowed is 0 to 255")

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        if not len(split.train):
            raise InputError("there are no training pictures to measure")
        if size < 8:
            raise InputError(f"size={size}: pictures of at least 8 pixels are needed")
        chosen = chosen_evenly(split.train, self.pictures, seed)
        if len(chosen) < len(split.train):
            yield Note(f"statistics: of {len(split.train):,} pictures, {len(chosen):,} are measured")
        if (short := min(min(picture.shape[:2]) for picture in chosen.read(np.arange(min(CHUNK, len(chosen)))))) < size:
            yield Note(f"statistics: pictures of {short} pixels are enlarged to {size}, which adds no edges or detail")
        measured, power, background = yield from self._look(chosen, size)
        numbers = {name: _summary(values, seed) for name, values in measured.items()}

        classes = yield from self._compactness(encoder, chosen, size, device, seed)
        used = {"size": size, "pictures": len(chosen), "background": background, "resamples": RESAMPLES}
        figures = [_spectrum(power), *(_histogram(name, values) for name, values in measured.items())]
        return Result(
            name="statistics",
            title="Statistics of the training pictures",
            text=_text(numbers, classes, background, len(chosen)),
            numbers=_flat(numbers | classes),
            tables=[_table(numbers, classes, self.edge), *_by_class(chosen, measured)],
            figures=[f for f in figures if f] + [_examples(chosen, measured["edge_density"])],
            settings=asdict(self) | used,
        )

    def _look(self, pictures: Pictures, size: int) -> Events[tuple[dict[str, np.ndarray], np.ndarray, int | None]]:
        """Each picture's statistics ``[N]``, its spectrum ``[N, size // 2]``, and the background's grey value."""
        background = None if self.background is None else self.background / 255
        if self.background is None:
            some = np.unique(np.linspace(0, len(pictures) - 1, 4 * CHUNK).astype(int))
            background = background_of(_grey(pictures.read(some), size))
        rows, powers = [], []
        for start in range(0, len(pictures), CHUNK):
            stop = min(start + CHUNK, len(pictures))
            grey = _grey(pictures.read(np.arange(start, stop)), size)
            powers.append(spectra(grey))
            rows.append((filling_rates(grey, background), edge_densities(grey, self.edge), slopes(powers[-1])))
            yield Progress("statistics", stop, len(pictures), "pictures")
        columns = (np.concatenate(column) for column in zip(*rows))
        found = dict(zip(("filling_rate", "edge_density", "spectrum_slope"), columns))
        return found, np.concatenate(powers), None if background is None else round(background * 255)

    def _compactness(
        self, encoder: Encoder | None, pictures: Pictures, size: int, device: str, seed: int
    ) -> Events[dict[str, dict[str, float]]]:
        """Of pixels, and of features where there is an encoder; empty where there are no classes to tell apart."""
        found = {}
        for name, by in (("compactness", None), ("feature_compactness", encoder)):
            if by is None and name == "feature_compactness":
                continue
            values = yield from inputs(by, pictures, size=size, device=device)
            within, between = spread(values, pictures.labels)
            if len(within) < 2 or not between.any():
                yield Note(f"statistics: no {name.replace('_', ' ')}; it takes two classes of two pictures each")
                break
            found[name] = {"mean": float(compactness(within, between, np.ones((1, len(within))))[0])}
            if len(within) > 2:  # of two classes, every resampling that holds both is the same
                low, high = percentiles(compactness(within, between, resampled(len(within), seed)))
                found[name] |= {"low": low, "high": high}
        return found


def chosen_evenly(pictures: Pictures, most: int, seed: int) -> Pictures:
    """At most ``most`` pictures, the same number of each class as far as there are, chosen by ``seed``."""
    if len(pictures) <= most:
        return pictures
    shuffled = np.random.default_rng(seed).permutation(len(pictures))
    labels = pictures.labels[shuffled]
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):  # first one of each class, then a second of each, ...
        turn[labels == label] = np.arange((labels == label).sum())
    return Subset(pictures, np.sort(shuffled[np.argsort(turn, kind="stable")[:most]]))


def _grey(pictures: list[np.ndarray], size: int) -> np.ndarray:
    """The pictures as they are shown in evaluations, float64 ``[N, size, size]`` in 0..1."""
    return show(pictures, size=size, channels=1, mean=0.0, std=1.0)[:, 0].double().numpy()


def _summary(values: np.ndarray, seed: int) -> dict[str, float]:
    """Mean, interval of the mean, standard deviation and quartiles of the pictures that have a value."""
    there = values[np.isfinite(values)]
    if not len(there):
        return {}
    low, high = percentiles(resampled_means(there, seed))
    return {"mean": float(there.mean()), "low": low, "high": high, "deviation": float(there.std())}


def _flat(summaries: dict[str, dict[str, float]]) -> dict[str, float]:
    ends = {"mean": "", "low": "_low", "high": "_high"}
    return {f"{n}{end}": v[key] for n, v in summaries.items() for key, end in ends.items() if key in v}


def _text(numbers: dict, classes: dict, background: int | None, count: int) -> str:
    ground = "there is no common background" if background is None else f"the background is grey value {background}"
    said = [
        f"{100 * numbers['filling_rate']['mean']:.1f} % of the pixels are filled",
        f"{100 * numbers['edge_density']['mean']:.1f} % are edges",
    ]
    if numbers["spectrum_slope"]:
        said.append(f"the spectrum's slope is {numbers['spectrum_slope']['mean']:.2f}")
    text = f"{', '.join(said)}. Measured on {count:,} training pictures; {ground}."
    if "compactness" in classes:
        text += (
            f" Members lie {classes['compactness']['mean']:.2f} times as far from their class's centre as classes do"
        )
        text += " from each other, by their pixels."
    return text


def _table(numbers: dict, classes: dict, edge: float) -> dict[str, Any]:
    meant = {
        "filling_rate": ("filling rate", "share of pixels that are not background"),
        "edge_density": ("edge density", f"share of pixels with a Sobel gradient above {edge:g} of the grey range"),
        "spectrum_slope": ("spectrum slope", f"log power over log frequency, from {FIRST_CYCLES} cycles a picture on"),
        "compactness": ("compactness, pixels", "distance to the class's centre over distance between centres"),
        "feature_compactness": ("compactness, features", "the same of the encoder's features"),
    }
    rows = []
    for name, values in (numbers | classes).items():
        if values:
            shown = [round(values[key], 4) if key in values else "–" for key in ("mean", "low", "high", "deviation")]
            rows.append([meant[name][0], *shown, meant[name][1]])
    return {
        "title": "What the pictures are like",
        "columns": ["statistic", "mean", "95 % from", "to", "deviation", "meaning"],
        "rows": rows,
        "note": "Intervals are of the mean, by a bootstrap over pictures, for compactness over classes. The deviation "
        "is that from picture to picture.",
    }


def _by_class(pictures: Pictures, measured: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The classes' means, for sets of few classes."""
    present = np.unique(pictures.labels[pictures.labels >= 0])
    if not 2 <= len(present) <= 30:
        return []
    rows = []
    for label in present:
        here = pictures.labels == label
        means = [values[here][np.isfinite(values[here])] for values in measured.values()]
        shown = [round(float(v.mean()), 4) if len(v) else "–" for v in means]
        rows.append([pictures.classes[label], int(here.sum()), *shown])
    columns = ["class", "pictures", *(name.replace("_", " ") for name in measured)]
    return [{"title": "Class by class", "columns": columns, "rows": rows, "note": ""}]


def _spectrum(power: np.ndarray) -> dict[str, Any] | None:
    """The mean of the logarithms, whose slope is the mean of the slopes, and the middle two thirds of the pictures."""
    there = power[(power > FAINT).any(1)]
    if not len(there):
        return None
    logs = np.log10(np.maximum(there, FAINT))
    octaves = np.log2(np.arange(1, power.shape[1] + 1))
    low, high = np.percentile(logs, (16, 84), axis=0)
    slope, start = np.polyfit(octaves[FIRST_CYCLES - 1 :], logs.mean(0)[FIRST_CYCLES - 1 :], 1)
    band = zip(("x", "y", "low", "high"), (octaves, logs.mean(0), low, high))
    ends = octaves[[FIRST_CYCLES - 1, -1]]
    return {
        "kind": "lines",
        "title": "Spectrum: log10 of the power by log2 of the frequency",
        "x": "log2 of the frequency in cycles a picture",
        "y": "log10 of the power",
        "note": "The mean of the pictures, each averaged over directions, and a band that holds two thirds of them. "
        "Dashed: the straight line that fits best from the second frequency on.",
        "series": [
            {"name": "pictures", **{key: values.round(4).tolist() for key, values in band}},
            {"name": f"slope {slope * np.log2(10):.2f}", "x": ends.tolist(), "y": (start + slope * ends).tolist()},
        ],
    }


def _histogram(name: str, values: np.ndarray) -> dict[str, Any] | None:
    """How the pictures are distributed, as the outline of a histogram of 30 steps or fewer."""
    there = values[np.isfinite(values)]
    if len(there) < 2 or np.ptp(there) < 1e-9:
        return None
    steps = int(min(30, max(5, np.sqrt(len(there)))))
    share, edges = np.histogram(there, steps)
    x, y = edges.repeat(2), np.concatenate([[0], (share / len(there)).repeat(2), [0]])
    spoken = name.replace("_", " ")
    return {
        "kind": "lines",
        "title": f"How the pictures differ: {spoken}",
        "x": spoken,
        "y": "share of the pictures",
        "series": [{"name": spoken, "x": x.round(5).tolist(), "y": y.round(5).tolist()}],
    }


def _examples(pictures: Pictures, values: np.ndarray) -> dict[str, Any]:
    """Six pictures from the fewest edges to the most."""
    order = np.argsort(values, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, 6).round().astype(int))]
    drawn = [
        {"png": thumbnail(picture), "caption": f"{100 * values[number]:.1f} %"}
        for number, picture in zip(shown, pictures.read(shown))
    ]
    return {"kind": "pictures", "title": "From the fewest edges to the most", "columns": 6, "pictures": drawn}
