"""Anomaly detection: how far a picture's features lie from those of normal training pictures, under one Gaussian.

Li et al., "CutPaste", CVPR 2021. https://arxiv.org/abs/2104.04015. The density is that of Rippel, Mertens & Merhof,
ICPR 2020, https://arxiv.org/abs/2005.14140, its covariance that of Ledoit & Wolf, Journal of Multivariate Analysis
2004, https://doi.org/10.1016/S0047-259X(03)00096-4
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from ..data import Pictures, Split, Subset
from ..encoder import Encoder
from ..errors import InputError, unknown
from ..events import Events, Note
from ..result import thumbnail
from . import Evaluation, Result
from ._features import inputs
from ._statistics import RESAMPLES, percentiles, resampled

NORMAL = ("good", "normal", "free", "ok", "healthy", "defect_free", "defect-free")
"""what public sets call the class without defects"""
SHOWN = 6
MOST_POINTS = 200


@dataclass(frozen=True)
class Anomaly(Evaluation):
    """The Mahalanobis distance of test pictures from the normal training pictures tells how anomalous they are.

    One class is normal; all others are defects, of which nothing is learned: training pictures of other classes are
    not looked at. The area under the ROC curve (AUROC) is the chance that a defect's distance is larger than a normal
    picture's. Its interval is the middle 95 % of 1,000 bootstrap samples of the test pictures, normal ones and defects
    drawn apart; where no pair is in the wrong order, it has no width, which says little of small sets.

    Without an encoder the features are the pixels at 32 pixels a side or less.
    """

    predicts: ClassVar[bool] = False

    normal: str | None = None
    """the class of the normal pictures; unset: the one that is called good, normal, free or ok"""

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        normal = normal_class(split, self.normal)
        chosen = np.flatnonzero(split.train.labels == normal)
        defect = split.test.labels != normal
        _check(split, normal, chosen, defect)
        if left := len(split.train) - len(chosen):
            yield Note(f"anomaly: {left:,} training pictures that are not {_name(split, normal)!r} are not looked at")
        train = yield from inputs(encoder, Subset(split.train, chosen), size=size, device=device)
        test = yield from inputs(encoder, split.test, size=size, device=device)
        distance = Gaussian(train).distance(test)

        numbers, rows = _measured(distance, split.test, normal, seed)
        used = {"normal": _name(split, normal), "train": len(chosen), "size": size, "resamples": RESAMPLES}
        sure = f"95 % interval {numbers['auroc_low']:.3f} to {numbers['auroc_high']:.3f}"
        return Result(
            name="anomaly",
            title="Anomalies: distance from the normal training pictures",
            text=f"Image AUROC {numbers['auroc']:.3f} ({sure}): {defect.sum():,} defects against {(~defect).sum():,} "
            f"normal test pictures, by a Gaussian fitted to {len(chosen):,} normal training pictures.",
            numbers=numbers,
            tables=[
                {
                    "title": "Defect by defect",
                    "columns": ["class", "test pictures", "AUROC", "95 % from", "to"],
                    "rows": rows,
                    "note": f"Each class against the {(~defect).sum():,} normal test pictures.",
                }
            ],
            figures=[_curve(distance, defect), _spread(distance, defect), *_mistakes(distance, split.test, defect)],
            settings=asdict(self) | used | {"on": "pixels" if encoder is None else "features"},
        )


class Gaussian:
    """A normal distribution of features, its covariance shrunk towards a ball so far as Ledoit and Wolf find best.

    The distances are those of scikit-learn's ``LedoitWolf``. Of features wider than there are pictures (pixels),
    nothing as large as width times width is made: the covariance is known by the singular vectors, of which there are
    no more than pictures, and beyond them it is the ball's.

    Args:
        features: ``[N, width]`` with N of 2 or more.
    """

    def __init__(self, features: np.ndarray):
        self.mean = features.mean(0, dtype=np.float64)
        centred = features - self.mean
        shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
        if len(features) > features.shape[1]:  # the same by the smaller matrix
            variance, axes = np.linalg.eigh(centred.T @ centred / len(features))
            variance, self.axes = np.maximum(variance, 0), axes.T
        else:
            _, lengths, self.axes = np.linalg.svd(centred, full_matrices=False)
            variance = lengths**2 / len(features)
        ball = variance.sum() / features.shape[1]
        # Constant features have no scale; then all distances are of the same, arbitrary unit.
        self.floor = max(shrinkage * ball, np.finfo(np.float64).eps * variance.max()) or 1.0
        self.variance = (1 - shrinkage) * variance + self.floor

    def distance(self, features: np.ndarray) -> np.ndarray:
        """The squared Mahalanobis distance of each of ``features [M, width]`` from the mean, float64 ``[M]``."""
        centred = features - self.mean
        along = centred @ self.axes.T
        beyond = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0) if len(self.axes) < len(self.mean) else 0.0
        return (along**2 / self.variance).sum(1) + beyond / self.floor


def normal_class(split: Split, name: str | None) -> int:
    """The number of the class of normal pictures, by its name or by what such classes are usually called.

    Raises:
        InputError: if there is no such class, or more than one.
    """
    classes = split.test.classes
    if split.train.classes != classes:
        raise InputError(f"training and test pictures must have the same classes, got {split.train.classes}, {classes}")
    if name is not None:
        if name not in classes:
            raise unknown("class", name, classes)
        return classes.index(name)
    found = [number for number, named in enumerate(classes) if named.casefold() in NORMAL]
    if len(found) != 1:
        named = " and ".join(repr(classes[n]) for n in found) + " could be it" if found else "none is called good or so"
        listed = ", ".join(map(repr, classes[:12])) or "none"
        which = classes[found[0] if found else 0] if classes else "good"
        raise InputError(
            f"which class is normal? Of the classes ({listed}), {named}; say so: anomaly(normal={which!r})"
        )
    return found[0]


def auroc(distance: np.ndarray, defect: np.ndarray, times: np.ndarray | None = None) -> float:
    """The share of pairs of a defect and a normal picture of which the defect is farther; a tie counts half.

    Args:
        distance: float ``[N]``.
        defect: bool ``[N]``, with some of either.
        times: how often each picture counts, ``[N]``; once if None.
    """
    times = np.ones(len(distance)) if times is None else times
    values, place = np.unique(distance, return_inverse=True)
    normals = np.bincount(place, times * ~defect, len(values))
    defects = np.bincount(place, times * defect, len(values))
    nearer = np.cumsum(normals) - normals / 2
    return float(nearer @ defects / (normals.sum() * defects.sum()))


def _check(split: Split, normal: int, chosen: np.ndarray, defect: np.ndarray) -> None:
    """Refuses what cannot be fitted or judged, before any work."""
    name = _name(split, normal)
    if len(chosen) < 2:
        raise InputError(
            f"a Gaussian needs 2 normal training pictures or more; of class {name!r} there are {len(chosen)}"
        )
    if not len(split.test):
        raise InputError("there are no test pictures to measure on")
    unlabelled = np.flatnonzero(split.test.labels < 0)
    if len(unlabelled):
        raise InputError(
            f"{len(unlabelled)} of the test pictures have no label, such as {split.test.name(unlabelled[0])!r}"
        )
    if defect.all() or not defect.any():
        there = "defects" if defect.all() else f"normal pictures ({name!r})"
        raise InputError(f"the test pictures are {there} only; telling apart needs normal ones and defects")


def _name(split: Split, number: int) -> str:
    return split.test.classes[number]


def _measured(
    distance: np.ndarray, test: Pictures, normal: int, seed: int
) -> tuple[dict[str, float], list[list[str | int | float]]]:
    """The headline numbers, and a row for each class of defects."""

    def judged(some: np.ndarray) -> tuple[float, float, float]:
        near, labels = distance[some], test.labels[some] != normal
        times = np.empty((RESAMPLES, len(near)))
        for number, side in enumerate((labels, ~labels)):  # each with draws of its own
            times[:, side] = resampled(int(side.sum()), 2 * seed + number)
        low, high = percentiles(np.array([auroc(near, labels, row) for row in times]))
        return auroc(near, labels), low, high

    every = judged(np.arange(len(distance)))
    rows: list[list[str | int | float]] = []
    for label in np.unique(test.labels[test.labels != normal]):
        some = np.flatnonzero((test.labels == label) | (test.labels == normal))
        rows.append([test.classes[label], int((test.labels == label).sum()), *(round(x, 4) for x in judged(some))])
    return dict(zip(("auroc", "auroc_low", "auroc_high"), every)), rows


def _curve(distance: np.ndarray, defect: np.ndarray) -> dict[str, Any]:
    """The ROC curve: what is found and what is falsely raised, at every threshold."""
    values, place = np.unique(-distance, return_inverse=True)
    found, raised = (
        np.concatenate([[0], np.cumsum(np.bincount(place[side], minlength=len(values))) / side.sum()])
        for side in (defect, ~defect)
    )
    kept = np.unique(np.linspace(0, len(found) - 1, MOST_POINTS).round().astype(int))
    return {
        "kind": "lines",
        "title": "ROC curve",
        "x": "share of normal pictures called defect",
        "y": "share of defects found",
        "series": [
            {"name": "distance", "x": raised[kept].round(4).tolist(), "y": found[kept].round(4).tolist()},
            {"name": "chance", "x": [0.0, 1.0], "y": [0.0, 1.0]},
        ],
    }


def _spread(distance: np.ndarray, defect: np.ndarray) -> dict[str, Any]:
    """How the distances of normal pictures and of defects are distributed, as outlines of histograms."""
    logs = np.log10(np.maximum(distance, 1e-12))
    _, edges = np.histogram(logs, 30)
    series = []
    for name, side in (("normal", ~defect), ("defects", defect)):
        share = np.histogram(logs[side], edges)[0] / side.sum()
        outline = np.concatenate([[0], share.repeat(2), [0]])
        series.append({"name": name, "x": edges.repeat(2).round(4).tolist(), "y": outline.round(5).tolist()})
    title = "How far test pictures lie from normal training pictures"
    return {"kind": "lines", "title": title, "x": "log10 of the squared distance", "y": "share", "series": series}


def _mistakes(distance: np.ndarray, test: Pictures, defect: np.ndarray) -> list[dict[str, Any]]:
    """The normal pictures that lie farthest and the defects that lie nearest."""
    figures = []
    for title, side, sign in (
        ("Normal pictures that lie farthest", ~defect, -1),
        ("Defects that lie nearest", defect, 1),
    ):
        chosen = np.flatnonzero(side)
        chosen = chosen[np.argsort(sign * distance[chosen], kind="stable")][:SHOWN]
        shown = [
            {"png": thumbnail(picture), "caption": f"{test.classes[test.labels[number]]}, {distance[number]:.3g}"}
            for number, picture in zip(chosen, test.read(chosen))
        ]
        figures.append({"kind": "pictures", "title": title, "columns": SHOWN, "pictures": shown})
    return figures
