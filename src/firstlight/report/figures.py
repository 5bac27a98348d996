"""Draws plain figure data: lines, intervals and matrices as SVG, pictures as a grid. All text is escaped.

Colours are the page's: ``s0`` to ``s5``, with a dash (``d0`` to ``d5``) and a marker, so that colour is never the only
difference. Plots stretch with the page while their text keeps its size: positions across are per cent, down pixels.
"""

import base64
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from .axes import Scale, finite, percent_of, scale, shorten, spread_out, tag, tick, width_of
from .montage import groups_of

HUES = 6
_HEIGHT = 220
_MARKERS = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-4-4h8v8h-8z", "M0-5L5 4H-5z", "M0-5.5L5.5 0 0 5.5-5.5 0z",
            "M-5-4H5L0 5z", "M-5-1.6h3.4V-5h3.2v3.4H5v3.2H1.6V5h-3.2V1.6H-5z")  # fmt: skip
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def draw(figure: dict[str, Any], hues: dict[str, int] | None = None) -> Markup:
    """A figure of a result as HTML.

    Args:
        figure: as ``Result.figures`` says. Lines may also have ``note``, ``above: {"title", "factor"}`` (a second
            scale on top: a step times ``factor``) and in a series ``raw: {"x", "y"}`` (drawn faintly behind it).
        hues: the number of the colour, dash and marker of each name; names that are new here are added.

    Raises:
        KeyError, TypeError, ValueError: if the figure has another shape.
    """
    kinds: dict[str, Callable[[dict[str, Any], dict[str, int]], Markup]] = {
        "lines": _lines, "intervals": _intervals, "matrix": _matrix, "pictures": _pictures,
    }  # fmt: skip
    if figure.get("kind") not in kinds:
        raise ValueError(f"no figure of kind {figure.get('kind')!r}")
    return kinds[figure["kind"]](figure, {} if hues is None else hues)


# Lines


def _lines(figure: dict[str, Any], hues: dict[str, int]) -> Markup:
    series = [line for line in map(_clean, figure["series"]) if line["x"]]
    if not series:
        return _figure(figure, tag("p", "Nothing was recorded.", class_="soft"))
    xs, ys = [x for line in series for x in line["x"]], [y for line in series for y in line["seen"]]
    across, down = scale(_start(xs), max(xs), 5, tight=True), scale(*_bulk(ys), 5)
    percent = percent_of(str(figure.get("y", "")), ys)
    names = [str(line["name"]) for line in series]
    direct = 1 < len(series) <= 5 and max(map(width_of, names)) <= 110
    left = 14 + max(width_of(tick(t, down, percent)) for t in down.ticks)
    right = 18 + max(map(width_of, names)) if direct else 16
    inside = [_grid(across, down, percent, figure)]
    for line in series:
        inside.append(_line(line, across, down, _hue(str(line["name"]), hues)))
    ends = spread_out([_HEIGHT * (1 - down(line["y"][-1])) for line in series], 16)
    for line, name, end in zip(series, names, ends):
        hue, x, y = _hue(name, hues), across(line["x"][-1]) * 100, _HEIGHT * (1 - down(line["y"][-1]))
        marker = _marker(hue)
        inside.append(tag("svg", marker, x=f"{x:.2f}%", y=round(y, 1), overflow="visible"))
        if direct:
            inside.append(tag("text", name, x="100%", dx=10, y=round(end, 1), dy="0.35em", class_=f"name {_look(hue)}"))
    said = f"{figure.get('title', '')}. " + " ".join(f"{n} ends at {li['y'][-1]:.4g}." for n, li in zip(names, series))
    plot, kind = _svg(said, *inside, height=_HEIGHT), "plot only" if len(series) == 1 else "plot"
    box = tag("div", plot, class_=kind, style=f"padding:{36 if 'above' in figure else 8}px {right}px 42px {left}px")
    return _figure(figure, "" if direct or len(series) < 2 else _legend(names, hues), box)


def _clean(line: dict[str, Any]) -> dict[str, Any]:
    """A series without its undefined points; ``seen`` holds every y that has to fit."""
    keys = [key for key in ("x", "y", "low", "high") if line.get(key) is not None]
    points = [p for p in zip(*(line[key] for key in keys)) if all(finite(value) for value in p)]
    cleaned: dict[str, Any] = {key: [float(p[i]) for p in points] for i, key in enumerate(keys)}
    raw = line.get("raw") or {"x": [], "y": []}
    behind = [(float(x), float(y)) for x, y in zip(raw["x"], raw["y"]) if finite(x) and finite(y)]
    seen = [*cleaned["y"], *cleaned.get("low", []), *cleaned.get("high", []), *(y for _, y in behind)]
    return {"name": line["name"], "low": [], "high": [], **cleaned, "raw": behind, "seen": seen}


def _line(line: dict[str, Any], across: Scale, down: Scale, hue: int) -> Markup:
    """Band, faint raw line and line, in a box of 1000 x 1000 that stretches with the page."""
    x = [across(value) * 1000 for value in line["x"]]
    shapes = []
    if line["low"] and line["high"]:
        there, back = zip(x, line["high"]), reversed(list(zip(x, line["low"])))
        shapes.append(tag("path", d=_path(itertools.chain(there, back), down) + "z", class_=f"band {_look(hue)}"))
    if line["raw"]:
        behind = ((across(a) * 1000, b) for a, b in line["raw"])
        shapes.append(tag("path", d=_path(behind, down), class_=f"raw {_look(hue)}"))
    shapes.append(tag("path", d=_path(zip(x, line["y"]), down), class_=f"line {_look(hue)}"))
    return tag("svg", *shapes, viewBox="0 0 1000 1000", preserveAspectRatio="none", width="100%", height="100%")


def _path(points: Any, down: Scale) -> str:
    return "M" + "L".join(f"{x:.0f} {1000 - 1000 * min(max(down(y), -0.02), 1.02):.0f}" for x, y in points)


def _start(xs: list[float]) -> float:
    """Where the scale across begins: at zero if the first point is near it, as step 1 of 200 is."""
    return 0.0 if 0 <= min(xs) <= 0.2 * max(xs) else min(xs)


def _bulk(ys: list[float]) -> tuple[float, float]:
    """The range to show: all of it, but for rare spikes that would flatten everything else."""
    low, high = min(ys), max(ys)
    edge = float(np.quantile(ys, 0.99))
    return low, edge + 0.25 * (edge - low) if high - low > 3 * (edge - low) > 0 else high


def _grid(across: Scale, down: Scale, percent: bool, figure: dict[str, Any]) -> Markup:
    drawn = []
    for value in down.ticks:
        y = round(_HEIGHT * (1 - down(value)), 1)
        drawn.append(tag("line", x1=0, x2="100%", y1=y, y2=y, class_="grid"))
        drawn.append(tag("text", tick(value, down, percent), x=-8, y=y, dy="0.35em", class_="tick end"))
    for value in across.ticks:
        at = {"x": f"{across(value) * 100:.2f}%", "class_": "tick middle"}
        drawn.append(tag("text", tick(value, across, False), y=_HEIGHT + 18, **at))
    drawn.append(tag("text", figure.get("x", ""), x="50%", y=_HEIGHT + 36, class_="axis middle"))
    if above := figure.get("above"):
        top = scale(across.low * above["factor"], across.high * above["factor"], 4, tight=True)
        for value in top.ticks:
            x = f"{top(value) * 100:.2f}%"
            drawn.append(tag("line", x1=x, x2=x, y1=-4, y2=0, class_="grid"))
            drawn.append(tag("text", tick(value, top, False), x=x, y=-9, class_="tick middle"))
        drawn.append(tag("text", above["title"], x="100%", y=-24, class_="axis end"))
    return Markup("").join(drawn)


def _legend(names: list[str], hues: dict[str, int]) -> Markup:
    items = []
    for name in names:
        hue = _hue(name, hues)
        sample = tag("path", d="M0 7h26", class_=f"line {_look(hue)}"), _marker(hue, transform="translate(13 7)")
        items.append(tag("li", tag("svg", *sample, width=26, height=14, aria_hidden="true"), tag("bdi", name)))
    return tag("ul", *items, class_="legend")


# Intervals


def _intervals(figure: dict[str, Any], hues: dict[str, int]) -> Markup:
    rows = [row for row in figure["rows"] if all(finite(row.get(key)) for key in ("mean", "low", "high"))]
    if not rows:
        return _figure(figure, tag("p", "Nothing was measured.", class_="soft"))
    seen = [float(v) for r in rows for v in (r["mean"], r["low"], r["high"], *filter(finite, r.get("points") or []))]
    percent = percent_of(str(figure.get("x", "")), seen)
    across, tall = scale(min(seen), max(seen), 5), 66
    bottom = tall * len(rows)
    inside = []
    for value in across.ticks:
        x = f"{across(value) * 100:.2f}%"
        inside.append(tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"))
        inside.append(tag("text", tick(value, across, percent), x=x, y=bottom + 18, class_="tick middle"))
    inside.append(tag("text", figure.get("x", ""), x="50%", y=bottom + 37, class_="axis middle"))
    said = []
    for number, row in enumerate(rows):
        name, shown = str(row["name"]), _interval(row, percent)
        said.append(f"{name}: {shown}.")
        hue, y = _hue(name, hues), tall * number
        inside.append(tag("line", x1=0, x2="100%", y1=y, y2=y, class_="rule"))
        inside.append(
            tag("text", shorten(name, 170), tag("title", name), x=0, y=y + 20, class_=f"name halo {_look(hue)}")
        )
        inside.append(tag("text", shown, x="100%", y=y + 20, class_="value halo end"))
        inside.append(_whiskers(row, across, hue, y + 40))
    plot = _svg(f"{figure.get('title', '')}. " + " ".join(said), *inside, height=bottom)
    return _figure(figure, tag("div", plot, class_="plot", style="padding:6px 18px 46px"))


def _whiskers(row: dict[str, Any], across: Scale, hue: int, y: float) -> Markup:
    low, mean, high = (f"{across(float(row[key])) * 100:.2f}%" for key in ("low", "mean", "high"))
    drawn = [tag("line", x1=low, x2=high, y1=y, y2=y, class_=f"whisker {_look(hue)}")]
    drawn += [tag("line", x1=x, x2=x, y1=y - 5, y2=y + 5, class_=f"whisker {_look(hue)}") for x in (low, high)]
    points = sorted(float(v) for v in filter(finite, row.get("points") or []))
    for value in points:
        drawn.append(tag("circle", cx=f"{across(value) * 100:.2f}%", cy=y + 11, r=2.6, class_=f"draw {_look(hue)}"))
    marker = _marker(hue)
    drawn.append(tag("svg", marker, x=mean, y=y, overflow="visible"))
    return Markup("").join(drawn)


def _interval(row: dict[str, Any], percent: bool) -> str:
    mean, low, high = (float(row[key]) * (100 if percent else 1) for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})" if percent else f"{mean:.4g} ({low:.4g} to {high:.4g})"


# Matrix


def _matrix(figure: dict[str, Any], hues: dict[str, int]) -> Markup:
    values = np.nan_to_num(np.array(figure["values"], dtype=float)).clip(0)
    labels = [str(label) for label in figure["labels"]]
    n = len(labels)
    if values.shape != (n, n) or not n:
        raise ValueError(f"a matrix of shape {values.shape} with {n} labels")
    share = values / np.maximum(values.sum(1, keepdims=True), 1e-12)
    cell = 44 if n <= 4 else 30 if n <= 12 else 24 if n <= 20 else max(520 / n, 5)
    margin = min(96, 10 + max(map(width_of, labels))) if n <= 40 else 4
    turned = any(width_of(label) > cell - 4 for label in labels)
    top = (margin if turned else 18) if n <= 40 else 4
    inside = [*_margins(labels, cell, margin, top, turned)] if n <= 40 else []
    numbered = [*_numbers(values, share, labels, cell)] if n <= 20 else []
    inside.append(tag("g", *_shades(share, cell), *numbered, transform=f"translate({margin} {top})"))
    wide, high = margin + cell * n + 1, top + cell * n + 1
    right = float(np.trace(values) / max(values.sum(), 1e-12))
    said = f"{figure.get('title', '')}. {n} classes, {right:.1%} on the diagonal."
    view = {"viewBox": f"0 0 {wide:.0f} {high:.0f}", "class_": "matrix"}
    floor = f"min-width:{0.85 * wide:.0f}px;" if n <= 20 else ""
    drawn = _svg(said, *inside, style=f"{floor}max-width:{1.15 * wide:.0f}px", **view)
    axes = f"Down: {figure.get('rows', 'truth')}. Across: {figure.get('columns', 'guess')}. Shade: share of the row."
    below = [tag("p", *_confusions(values, labels), class_="note")]
    if n > 40:
        names = tag("ol", *(tag("li", label, dir="auto") for label in labels))
        below.append(tag("details", tag("summary", f"The {n} classes, in the order of the rows"), names))
    note = f"{axes} {figure.get('note', '')}"
    return _figure({**figure, "note": note}, tag("div", drawn, class_="scroll"), *below)


def _confusions(values: np.ndarray, labels: list[str]) -> list[Markup | str]:
    """The five pairs that are confused most often, in words."""
    off = np.where(np.eye(len(labels), dtype=bool), 0, values)
    worst = [divmod(int(at), len(labels)) for at in np.argsort(-off, axis=None, kind="stable")[:5]]
    said: list[Markup | str] = []
    for row, column in ((r, c) for r, c in worst if off[r, c] > 0):
        names = tag("b", tag("bdi", labels[row])), " for ", tag("b", tag("bdi", labels[column]))
        counts = f" ({values[row, column]:g} of {values[row].sum():g})"
        said += ["; " if said else "Most often taken for another: ", *names, counts]
    return [*said, "."] if said else ["No picture was taken for another class."]


def _margins(labels: list[str], cell: float, margin: float, top: float, turned: bool) -> list[Markup]:
    drawn, size = [], f"font-size:{min(12, max(cell - 1, 7)):.0f}px"
    for number, label in enumerate(labels):
        at = cell * (number + 0.5)
        text = shorten(label, margin - 8), tag("title", label)
        drawn.append(tag("text", *text, x=margin - 6, y=top + at, dy="0.35em", class_="tick end", style=size))
        if turned:
            turn = f"translate({margin + at:.1f} {top - 6}) rotate(-90)"
            drawn.append(tag("text", *text, transform=turn, dy="0.35em", class_="tick", style=size))
        else:
            drawn.append(tag("text", *text, x=margin + at, y=top - 6, class_="tick middle", style=size))
    return drawn


def _shades(share: np.ndarray, cell: float) -> list[Markup]:
    """All cells of the same shade as one path: ten thousand rectangles would not be a small page."""
    levels = np.ceil(np.sqrt(share) * 10 - 1e-9).astype(int)
    gap = 1 / cell if cell >= 12 else 0  # of a cell's side, which is the unit here
    box = f"h{1 - gap:.3g}v{1 - gap:.3g}h{gap - 1:.3g}z"
    drawn = [tag("path", d=f"M0 0h{len(share)}v{len(share)}H0z", class_="empty")]
    on = np.eye(len(share), dtype=bool)
    for level, (kind, where) in itertools.product(range(1, 11), (("right", on), ("wrong", ~on))):
        cells = np.argwhere((levels == level) & where)
        if len(cells):
            d = "".join(f"M{c + gap / 2:.4g} {r + gap / 2:.4g}{box}" for r, c in cells)
            drawn.append(tag("path", d=d, class_=kind, fill_opacity=level / 10))
    return [tag("g", *drawn, transform=f"scale({cell:.4g})")]


def _numbers(values: np.ndarray, share: np.ndarray, labels: list[str], cell: float) -> list[Markup]:
    drawn = []
    for row, column in np.argwhere(values > 0):
        size = 12 if cell >= 30 and values.max() < 1000 else 9
        said = tag("title", f"{labels[row]}, taken for {labels[column]}: {values[row, column]:g}")
        where = {"x": f"{cell * (column + 0.5):.4g}", "y": f"{cell * (row + 0.5):.4g}", "dy": "0.35em"}
        strong = math.sqrt(share[row, column]) > 0.62
        kind = f"count middle{' strong' if strong else ''}"
        drawn.append(tag("text", f"{values[row, column]:g}", said, **where, class_=kind, style=f"font-size:{size}px"))
    return drawn


# Pictures


def _pictures(figure: dict[str, Any], hues: dict[str, int]) -> Markup:
    cells = []
    captioned = any(str(picture.get("caption") or "") for picture in figure["pictures"])
    for picture in figure["pictures"]:
        if not _BASE64.fullmatch(picture["png"]):
            raise ValueError("a picture is not base64")
        caption = str(picture.get("caption") or "")
        kind = {"class_": "coarse"} if _side(picture["png"]) <= 48 else {}  # its pixels are meant to be seen
        image = tag("img", **kind, src=f"data:image/png;base64,{picture['png']}", alt=caption, decoding="async")
        cells.append(tag("li", image, tag("span", caption, dir="auto", title=caption) if caption else ""))
    if not cells:
        return _figure(figure, tag("p", "There are none.", class_="soft"))
    columns = min(max(int(figure.get("columns") or 8), 1), 24)
    if heads := [str(head) for head in figure.get("heads") or []]:
        return _figure(figure, tag("div", *_headed(heads, cells), class_="headed"))
    kind = "pictures captioned" if captioned else "pictures dense"
    return _figure(figure, tag("ul", *cells, class_=kind, style=f"--columns:{columns}"))


def _headed(heads: list[str], cells: list[Markup]) -> list[Markup]:
    """Rows of pictures under what each column shows, in as many groups side by side as make a sheet and no column."""
    rows = -(-len(cells) // len(heads))
    each = -(-rows // groups_of(rows, len(heads))) * len(heads)
    above = [tag("li", head, class_="head", dir="auto", title=head) for head in heads]
    groups = [cells[start : start + each] for start in range(0, len(cells), each)]
    return [tag("ul", *above, *group, class_="pictures dense", style=f"--columns:{len(heads)}") for group in groups]


def _side(png: str) -> int:
    """The larger side of a PNG, read from its header."""
    header = base64.b64decode(png[:32])
    if header[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("a picture is not a PNG file")
    return max(int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big"))


# What all of them share


def _hue(name: str, hues: dict[str, int]) -> int:
    return hues.setdefault(name, len(hues))


def _shape(hue: int) -> int:
    """The marker and dash of a colour; where colours come round again, another one, so that each pair is unique."""
    return (hue + hue // HUES) % HUES


def _marker(hue: int, **where: Any) -> Markup:
    return tag("path", d=_MARKERS[_shape(hue)], class_=f"marker {_look(hue)}", **where)


def _look(hue: int) -> str:
    """The classes of the page's style for the colour and the dash."""
    return f"s{hue % HUES} d{_shape(hue)}"


def _figure(figure: dict[str, Any], *content: Markup | str) -> Markup:
    title, note = str(figure.get("title") or ""), str(figure.get("note") or "").strip()
    heading = tag("figcaption", tag("b", title, dir="auto")) if title else ""
    below = tag("p", note, class_="note") if note else ""
    return tag("figure", heading, *content, below, class_=str(figure["kind"]))


def _svg(said: str, *content: Markup, **attributes: Any) -> Markup:
    return tag("svg", tag("title", said), *content, role="img", **attributes)
