"""Turns the logs of trainings into line figures: smoothed, thinned, and averaged over draws."""

from typing import Any

import numpy as np

from .read import Curve

POINTS = 300
"""the most points a line keeps: more than a screen shows, few enough for a small page"""
_SMOOTHED = 25
"""a moving average spans one part in this many of a curve"""
_TITLES = {
    "loss": "Training loss",
    "lr": "Learning rate",
    "accuracy": "Training accuracy",
    "images_per_second": "Images/s",
}


def figures_of(curves: list[Curve]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The figures that everyone wants (loss, accuracy), and the others (learning rate, what a method adds).

    Draws of a family are averaged, and families that were drawn (``scratch-seed0``, ``fractal-seed0``, ...) share a
    figure: they learn the same thing. Every other training has its own.
    """
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault("" if curve.family != curve.name else curve.name, []).append(curve)
    main, others = [], []
    for group, members in sorted(groups.items(), key=lambda item: item[0] != ""):  # the drawn families first
        for value in dict.fromkeys(key for curve in members for key in curve.values):
            wanted = value == "loss" or "accuracy" in value or value.startswith("knn")
            (main if wanted else others).extend(_figures(group, members, value))
    return main, others


def _figures(group: str, curves: list[Curve], value: str) -> list[dict[str, Any]]:
    """One value of one group by step and by images: one figure with two scales where they are proportional."""
    curves = [curve for curve in curves if np.isfinite(curve.values.get(value, np.array([np.nan]))).any()]
    if not curves:
        return []
    title = _TITLES.get(value, value.replace("_", " "))
    families = dict.fromkeys(curve.family for curve in curves)
    about = group or (next(iter(families)) if len(families) == 1 else "the contenders")
    figure = {"kind": "lines", "title": f"{title}: {about}", "x": "step", "y": title.lower()}
    batches = {round(float(i) / s, 6) for curve in curves for s, i in zip(curve.steps, curve.images) if s > 0}
    if not batches or batches == {0.0}:
        return [{**figure, **_series(curves, value, "steps")}]
    if len(batches) == 1:
        above = {"title": "images seen", "factor": batches.pop()}
        return [{**figure, "above": above, **_series(curves, value, "steps")}]
    by_images = {**figure, "title": f"{figure['title']}, by images seen", "x": "images seen"}
    return [
        {**figure, "title": f"{figure['title']}, by step", **_series(curves, value, "steps")},
        {**by_images, **_series(curves, value, "images")},
    ]


def _series(curves: list[Curve], value: str, along: str) -> dict[str, Any]:
    """The lines of a figure, and the note that says how they were smoothed."""
    length = max(int(np.isfinite(curve.values[value]).sum()) for curve in curves)
    window = length // _SMOOTHED // 2 * 2 + 1 if value != "lr" else 1
    families: dict[str, list[Curve]] = {}
    for curve in curves:
        families.setdefault(curve.family, []).append(curve)
    series, averaged, lost = [], 0, 0
    for family, members in families.items():
        furthest = max(int(curve.steps[-1]) for curve in members)
        whole = [curve for curve in members if curve.steps[-1] == furthest]
        averaged = max(averaged, len(whole))
        series.append(_mean(family, whole, value, along, window))
        # A draw that stopped early would bend the mean where it ends, so it has a line of its own.
        stopped = [curve for curve in members if curve.steps[-1] < furthest]
        series += [_mean(curve.name, [curve], value, along, window) for curve in stopped]
        lost += sum(int((~np.isfinite(c.values[value])).sum()) for c in members if value == "loss")
    every = max(int(np.median(np.diff(curve.steps))) if len(curve.steps) > 1 else 1 for curve in curves)
    return {"series": series, "note": _note(window * every, averaged, any("raw" in line for line in series), lost)}


def _mean(name: str, curves: list[Curve], value: str, along: str, window: int) -> dict[str, Any]:
    """One line: a training's moving average, or the mean of several with a band from lowest to highest."""
    smooth = []
    for curve in curves:
        x, y = _finite(getattr(curve, along), curve.values[value])
        if len(x):
            smooth.append((x, moving_average(y, window)))
    grid = smooth[0][0] if smooth else np.array([])
    grid = grid[thin(len(grid))]
    if len(smooth) > 1:
        lines = np.stack([np.interp(grid, x, y) for x, y in smooth])
        band = {"low": _plain(lines.min(0)), "high": _plain(lines.max(0))}
        return {"name": name, "x": _plain(grid), "y": _plain(lines.mean(0)), **band}
    line: dict[str, Any] = {
        "name": name,
        "x": _plain(grid),
        "y": _plain(smooth[0][1][thin(len(smooth[0][1]))]) if smooth else [],
    }
    if window > 1 and smooth:
        x, y = _finite(getattr(curves[0], along), curves[0].values[value])
        kept = _extremes(y)
        line["raw"] = {"x": _plain(x[kept]), "y": _plain(y[kept])}
    return line


def _note(steps: int, draws: int, raw: bool, lost: int) -> str:
    smooth = f"moving average over {steps} steps" if steps > 1 else ""
    if draws > 1:
        said = f"Line: mean of {draws} draws{', each a ' + smooth if smooth else ''}. Band: lowest to highest draw."
    else:
        said = f"Line: {smooth}." if smooth else ""
    said += " Faint: every step." if raw else ""
    return (said + (f" At {lost} steps the loss was not a finite number." if lost else "")).strip()


def moving_average(y: np.ndarray, window: int) -> np.ndarray:
    """The mean of the ``window`` values around each value; float64 ``[N]`` in and out.

    At the beginning, where a loss falls steeply, the window shrinks evenly so as not to run ahead; at the end, where
    it hardly moves, it only loses its later half, so as not to end on the noise of one step.
    """
    if window <= 1 or len(y) < 2:
        return y
    sums = np.concatenate([[0.0], np.cumsum(y)])
    at = np.arange(len(y))
    before = np.minimum(window // 2, at)
    after = np.minimum(before, len(y) - 1 - at)
    return (sums[at + after + 1] - sums[at - before]) / (before + after + 1)


def thin(count: int) -> np.ndarray:
    """At most ``POINTS`` of ``count`` positions, evenly, the first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int)) if count else np.arange(0)


def _extremes(y: np.ndarray) -> np.ndarray:
    """The positions of the lowest and highest value of each stretch, so that thinning hides no spike."""
    if len(y) <= POINTS:
        return np.arange(len(y))
    stretches = np.array_split(np.arange(len(y)), POINTS // 2)
    return np.array(sorted({int(s[pick(y[s])]) for s in stretches for pick in (np.argmin, np.argmax)}))


def _finite(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    good = np.isfinite(y)
    return x[good].astype(float), y[good]


def _plain(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
