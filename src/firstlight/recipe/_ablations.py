"""The published ablations of formula pictures: their settings, their numbers, and whether ours come in the same order.

Numbers are top-1 accuracies in per cent after fine-tuning. C10, C100: CIFAR; IN100: ImageNet-100; P30: Places-30.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..evaluations import Result

R50 = ("C10", "C100", "IN100", "P30")
VIT = ("C100", "IN100")
FRACTALDB = "ResNet-50, FractalDB-1k; Kataoka et al., IJCV 2022, https://arxiv.org/abs/2101.08515"
OFDB = "ViT-T, 1,000 classes, equal training; Nakamura et al., ICCV 2023, https://arxiv.org/abs/2307.14710"
ONE_P_FRAC = "ViT-T, 1p-frac, 1,000 classes; Nakamura et al., ECCV 2024, https://arxiv.org/abs/2408.00677"
CONTOURS = "ViT; Kataoka et al., CVPR 2022, https://arxiv.org/abs/2206.09132"
R50_SCRATCH, VIT_SCRATCH = (87.6, 60.6, 75.3, 70.3), (64.2, 74.9)


@dataclass(frozen=True)
class Arm:
    """One setting: what is drawn, and what was published for it."""

    name: str
    formula: str
    published: tuple[float, ...] = ()
    """an accuracy for each of the ablation's columns; empty where no numbers are known"""
    categories: int | None = None
    """None: the recipe's"""
    instances: int | None = None
    """None: the recipe's"""
    draw_size: int | None = None
    """None: the size at which pictures are shown"""
    points: int | None = None
    """on a canvas of 512 pixels; as many to the area are drawn on ours"""

    def text(self, size: int) -> str:
        """The formula for pictures of ``size`` pixels, which small ones draw larger and average down."""
        if self.points is None:
            return self.formula
        canvas = size * max(1, 128 // size)
        return f"{self.formula}(points={max(1, self.points * canvas**2 // 512**2)})"


@dataclass(frozen=True)
class Ablation:
    """Settings to be compared. Where no numbers are known, the one that the publication expects least of is first."""

    question: str
    arms: tuple[Arm, ...]
    columns: tuple[str, ...] = ()
    scratch: tuple[float, ...] = ()
    """the published accuracies without pre-training"""
    source: str = ""
    note: str = ""
    """what else has to be known to read the table"""

    def expected(self) -> list[float]:
        """Larger for the arms that the publication finds better: their mean over the columns, or their place."""
        if not self.columns:
            return [float(place) for place in range(len(self.arms))]
        return [sum(arm.published) / len(arm.published) for arm in self.arms]


_ONE = "fractal(sampler='svd', maps=(2, 2), sigma={}, delta={}, min_fill=0.05, interval=0)"
ABLATIONS = {
    "patch": Ablation("Point or patch: what is drawn where a point falls?", (
        Arm("point", "fractal(mode='point')", (87.4, 66.1, 73.9, 73.0)),
        Arm("random 3x3 patches", "fractal", (92.1, 72.0, 78.9, 73.2)),
        Arm("fixed 3x3 patch", "fractal(mode='fixed_patch')", (92.9, 73.6, 80.0, 75.0)),
    ), R50, R50_SCRATCH, FRACTALDB),
    "fill": Ablation("Filling rate: how much of the frame must a category cover?", (
        Arm("0.05", "fractal(min_fill=0.05)", (91.8, 72.4, 80.2, 74.6)),
        Arm("0.10", "fractal(min_fill=0.1)", (92.0, 72.3, 80.5, 75.5)),
        Arm("0.15", "fractal(min_fill=0.15)", (91.7, 71.6, 80.2, 74.3)),
        Arm("0.20", "fractal(min_fill=0.2)", (91.3, 70.8, 78.8, 74.7)),
        Arm("0.25", "fractal(min_fill=0.25)", (91.1, 63.2, 72.4, 74.1)),
    ), R50, R50_SCRATCH, FRACTALDB),
    "interval": Ablation("Weight interval: how far do the members of a category differ?", (
        Arm("0.1", "fractal(interval=0.1)", (92.1, 72.0, 78.9, 73.2)),
        Arm("0.2", "fractal(interval=0.2)", (92.4, 72.7, 79.2, 73.9)),
        Arm("0.3", "fractal(interval=0.3)", (92.4, 72.6, 79.2, 74.3)),
        Arm("0.4", "fractal(interval=0.4)", (92.7, 73.1, 79.6, 74.9)),
        Arm("0.5", "fractal(interval=0.5)", (91.8, 72.1, 78.9, 73.5)),
    ), R50, R50_SCRATCH, FRACTALDB),
    "points": Ablation("Points: how many are drawn?", (
        Arm("100k", "fractal", (91.3, 70.8, 78.8, 74.7), points=100_000),
        Arm("200k", "fractal", (90.9, 71.0, 79.2, 74.8), points=200_000),
        Arm("400k", "fractal", (90.4, 70.3, 80.0, 74.5), points=400_000),
    ), R50, R50_SCRATCH, FRACTALDB, "Ours are as many to the area as on the published 512 px."),
    "size": Ablation("Image size: how large are pictures drawn, before they are shown at one size?", (
        Arm("256 px", "fractal", (92.9, 73.6, 80.0, 75.0), draw_size=256),
        Arm("362 px", "fractal", (92.2, 73.2, 80.5, 75.1), draw_size=362),
        Arm("512 px", "fractal", (90.9, 71.0, 79.2, 73.0), draw_size=512),
        Arm("724 px", "fractal", (90.8, 71.0, 79.2, 73.0), draw_size=724),
        Arm("1024 px", "fractal", (89.6, 68.6, 77.5, 71.9), draw_size=1024),
    ), R50, R50_SCRATCH, FRACTALDB),
    "categories": Ablation("Categories: do more classes make a better start?", (
        Arm("10", "fractal", categories=10),
        Arm("30", "fractal", categories=30),
        Arm("100", "fractal", categories=100),
        Arm("300", "fractal", categories=300),
    ), source=FRACTALDB, note="Published as rising curves; C10 is 93.4 for FractalDB-1k and 94.1 for FractalDB-10k."),
    "instances": Ablation("Instances: one picture a class, or many?", (
        Arm("1", "fractal(interval=0)", (84.0, 88.6), instances=1),
        Arm("1000", "fractal", (81.6, 88.5), instances=1000),
    ), VIT, VIT_SCRATCH, OFDB),
    "contour": Ablation("Contours removed: how much of the outlines may be missing?", (
        Arm("75 % removed", "contour(removed=0.75)"),
        Arm("50 % removed", "contour(removed=0.5)"),
        Arm("25 % removed", "contour(removed=0.25)"),
        Arm("none removed", "contour"),
    ), source=CONTOURS, note="Published as a sharp fall where contours are interrupted; no numbers are at hand."),
    "labels": Ablation("Labels: must they tell something about the picture?", (
        Arm("shuffled", "line(classes=100, shuffled=True)", categories=100),
        Arm("lines counted", "line(classes=100)", categories=100),
    ), source=CONTOURS, note="Published as the control of LineDB, whose effect is gone; no numbers are at hand."),
    "formula": Ablation("Formula: which family of pictures is the best start?", (
        Arm("Bezier-144", "bezier(grid=12)", (87.6, 62.5, 72.7, 73.5), 144),
        Arm("Bezier-1024", "bezier(grid=32)", (89.7, 68.1, 73.0, 73.6), 1024),
        Arm("Perlin-100", "perlin(grid=10)", (90.9, 70.2, 73.0, 73.3), 100),
        Arm("Perlin-1296", "perlin(grid=36)", (90.4, 71.1, 79.7, 74.2), 1296),
        Arm("FractalDB-1k", "fractal", (93.4, 75.7, 82.7, 75.9), 1000),
    ), R50, R50_SCRATCH, FRACTALDB),
    "delta": Ablation("Delta: how far apart must the classes made of one single fractal be?", (
        Arm("0.001", _ONE.format(3.5, 0.001), (1.2, 1.9), instances=1),
        Arm("0.01", _ONE.format(3.5, 0.01), (19.9, 61.8), instances=1),
        Arm("0.05", _ONE.format(3.5, 0.05), (83.0, 88.2), instances=1),
        Arm("0.1", _ONE.format(3.5, 0.1), (84.2, 89.0), instances=1),
        Arm("0.2", _ONE.format(3.5, 0.2), (83.4, 88.5), instances=1),
    ), VIT, VIT_SCRATCH, ONE_P_FRAC),
    "sigma": Ablation("Sigma: how little do the maps of one single fractal contract?", (
        Arm("3.5", _ONE.format(3.5, 0.1), (84.2, 89.0), instances=1),
        Arm("5", _ONE.format(5.0, 0.1), (82.2, 87.1), instances=1),
        Arm("6", _ONE.format(6.0, 0.1), (81.3, 86.3), instances=1),
    ), VIT, VIT_SCRATCH, ONE_P_FRAC),
}  # fmt: skip


def conclude(ablation: Ablation, correct: Mapping[str, np.ndarray], plan: dict[str, Any]) -> "Result":
    """One result out of which test pictures each arm had right, ``[seeds, pictures]``, with ``scratch`` among them."""
    from ..evaluations import Result
    from ..evaluations._intervals import interval as sure

    rows, figure = [], []
    shown = {"scratch": ablation.scratch} | {arm.name: arm.published for arm in ablation.arms}
    for name, published in shown.items():
        mean, low, high = sure(correct[name])
        numbers = [f"{number:.1f}" for number in published] or ["-"] * len(ablation.columns)
        rows.append([name, f"{mean:.1%}", f"{low:.1%} to {high:.1%}", *numbers])
        figure.append({"name": name, "mean": mean, "low": low, "high": high, "points": correct[name].mean(1).tolist()})
    return Result(
        "ablate",
        ablation.question,
        text=told(ablation, correct),
        numbers={name: float(correct[name].mean()) for name in shown},
        tables=[
            {
                "title": ablation.question,
                "columns": [
                    "setting",
                    "accuracy",
                    "95 % interval",
                    *(f"published {name}" for name in ablation.columns),
                ],
                "rows": rows,
                "note": f"Published: {ablation.source}. {ablation.note}".strip(),
            }
        ],
        figures=[{"kind": "intervals", "title": "Test accuracy", "x": "accuracy", "rows": figure}],
        settings=plan,
    )


def told(ablation: Ablation, correct: Mapping[str, np.ndarray]) -> str:
    """In words: which setting won here and there, and how many pairs of settings come in the published order."""
    names = [arm.name for arm in ablation.arms]
    means = [float(correct[name].mean()) for name in names]
    expected = ablation.expected()
    ours, theirs = (names[int(np.argmax(values))] for values in (means, expected))
    agree, against, open_ = pairs(ablation, correct)
    total = agree + against + open_
    if not agree + against:
        first = f"No order can be told from {_counted(total, 'pair')} of settings: all differences may be chance."
    else:
        first = f"Of {_counted(total, 'pair')} of settings, {agree} differ{'s' * (agree == 1)} as published"
        first += f", {against} the other way round and {open_} may be chance."
    where = f"on average over {', '.join(ablation.columns)}" if ablation.columns else "in its order"
    level = [name for name, mean in zip(names, means) if mean == max(means)]
    best = f"Best here: {' and '.join(level)} ({max(means):.1%}); published {where}: {theirs}."
    return f"{first} {best} {_against_scratch(ours, correct)}"


def pairs(ablation: Ablation, correct: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """How many pairs of settings come in the published order, in the opposite one, and too close to tell (95 %).

    Pairs that are equal as published are left out.
    """
    from ..evaluations._intervals import difference

    counts = [0, 0, 0]
    arms = list(zip((arm.name for arm in ablation.arms), ablation.expected()))
    for (name, value), (other, least) in combinations(arms, 2):
        if value == least:
            continue
        better, worse = (name, other) if value > least else (other, name)
        _, low, high = difference(correct[better], correct[worse])
        counts[0 if low > 0 else 1 if high < 0 else 2] += 1
    return counts[0], counts[1], counts[2]


def _against_scratch(best: str, correct: Mapping[str, np.ndarray]) -> str:
    from ..evaluations._intervals import difference

    mean, low, high = difference(correct[best], correct["scratch"])
    surely = "ahead of" if low > 0 else "behind" if high < 0 else "not surely different from"
    seeds, pictures = correct[best].shape
    return (
        f"Here {best} is {surely} training from scratch ({100 * mean:+.1f} points, 95 % interval {100 * low:.1f} to "
        f"{100 * high:.1f}). {_counted(seeds, 'seed')}, {_counted(pictures, 'test picture')}."
    )


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"
