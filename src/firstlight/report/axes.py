"""Round scales, the width of text, and escaped elements: what every drawn figure needs."""

import itertools
import math
import unicodedata
from typing import Any

from markupsafe import Markup, escape


class Scale:
    """A linear scale from ``[low, high]`` to ``[0, 1]`` with round ticks inside it."""

    def __init__(self, low: float, high: float, step: float):
        self.low, self.high, self.step = low, high, step
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        self.ticks = [number * step for number in range(first, last + 1)]

    def __call__(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def scale(low: float, high: float, count: int, tight: bool = False) -> Scale:
    """A scale with about ``count`` round ticks: over just the range if ``tight``, else out to the next ticks."""
    if not high > low:
        low, high = low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    if tight:
        return Scale(low, high, step)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)


def tick(value: float, scale: Scale, percent: bool) -> str:
    value, step = (value * 100, scale.step * 100) if percent else (value, scale.step)
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if not percent and max(abs(scale.high), abs(scale.low)) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:.6g}{letter}" if value else "0"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.1e}" if digits > 5 and value else f"{value + 0.0:.{min(digits, 5)}f}"
    return text + (" %" if percent else "")


def percent_of(axis: str, values: list[float]) -> bool:
    """Accuracies are fractions of 1 in the data and per cent for people."""
    return "accuracy" in axis.lower() and "%" not in axis and min(values) >= 0 and max(values) <= 1


def spread_out(wanted: list[float], apart: float) -> list[float]:
    """Moves labels as little as it takes to keep them ``apart`` pixels from one another."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = [wanted[i] for i in order]
    for _ in range(60):
        for i in range(1, len(placed)):
            short = apart - (placed[i] - placed[i - 1])
            if short > 0.01:
                placed[i - 1], placed[i] = placed[i - 1] - short / 2, placed[i] + short / 2
    spread = [0.0] * len(wanted)
    for i, y in zip(order, placed):
        spread[i] = y
    return spread


def finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def width_of(text: str) -> float:
    """About how many pixels a text takes at 13 px."""
    return sum(13 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 7.4 for c in text)


def shorten(text: str, width: float) -> str:
    """The text, or as much of it as fits ``width`` pixels and an ellipsis."""
    if width_of(text) <= width:
        return text
    kept = list(itertools.takewhile(lambda end: width_of(text[:end]) + 10 <= width, range(len(text))))
    return text[: kept[-1]].rstrip("\u200d ") + "…" if kept else "…"


def tag(name: str, *content: Markup | str, **attributes: Any) -> Markup:
    """An element; text and attributes are escaped. ``class_`` is class, an underscore inside a name a hyphen."""
    told = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    opened = Markup("<{}{}>").format(Markup(name), told)
    if name == "img":
        return opened
    return opened + Markup("").join(escape(item) for item in content) + Markup(f"</{name}>")
