"""One offline page about a run, made from the files of its folder alone, however far the run came."""

import contextlib
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..runs import write_whole
from .curves import figures_of
from .figures import draw
from .read import Found, read

__all__ = ["write"]

_DIGITS = r"[-+−±]?\d[\d.,]*(e-?\d+)?"
_NUMBER = re.compile(rf"{_DIGITS}( ?%| s| min| h)?((,|;|  ?| to | ± )\[?\(?{_DIGITS}( ?%| s)?\]?\)?)*|[–-]")


def write(run_folder: Path) -> Path:
    """Writes ``run_folder/report.html`` and returns its path.

    The page needs no network and no script. What the folder lacks (a run that stopped early, a result that cannot be
    read) is said on the page; the rest is shown.

    Raises:
        InputError: if ``run_folder`` is not a run folder.
        DiskError: if the page cannot be written.
    """
    folder = Path(run_folder)
    path = folder / "report.html"
    write_whole(path, page(read(folder)).encode("utf-8", errors="replace"))
    return path


def page(found: Found) -> str:
    """The HTML of what was found in a run folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.jinja").render(_told(found))


def _told(found: Found) -> dict[str, Any]:
    """Everything that the template shows, ready to print."""
    hues: dict[str, int] = {}
    sheets = [result for result in [*found.results, *found.part_results] if _only_pictures(result)]
    results = [result for result in found.results if not _only_pictures(result)]
    parts = [result for result in found.part_results if not _only_pictures(result)]
    lead = results.pop(0) if results and (results[0]["name"] == "compare" or len(results) == 1) else None
    first = _shown(lead, hues, found.missing) if lead else None
    if first and lead and lead["settings"] == found.recipe.get("derived"):
        first["settings"] = []  # the recipe shows them
    main, others = figures_of(found.curves)
    headline, explained = _headline((first["text"] if first else "") or _sentence(found, results))
    return {
        "recipe": str(found.recipe.get("recipe") or "run"),
        "name": found.name,
        "started": _moment(found.recipe.get("started")),
        "headline": headline,
        "explained": explained,
        "first": first,
        "curves": [draw(figure, hues) for figure in main],
        "other_curves": [draw(figure, hues) for figure in others],
        "sheets": [_shown(result, hues, found.missing) for result in sheets],
        "results": [_shown(result, hues, found.missing) for result in results],
        "measured": _measured(parts),
        "settings": _settings(found.recipe),
        "facts": [(title, _rows(found.recipe.get(key))) for title, key in _FACTS if _rows(found.recipe.get(key))],
        "timings": _timings(found),
        "warned": found.warned,
        "notes": found.notes,
        "missing": found.missing,
    }


_FACTS = (("Versions", "versions"), ("Machine", "machine"))


def _headline(text: str) -> tuple[str, str]:
    """The first sentence of a verdict, and the rest. What follows may be a name, so a small letter can begin it.

    A number and its per cent sign stay on one line.
    """
    first, *rest = re.split(r"(?<=[.!?])\s+", re.sub(r"(?<=\d) %", "\u00a0%", text.strip()), maxsplit=1)
    return first, "".join(rest)


def _only_pictures(result: dict[str, Any]) -> bool:
    """Whether a result measures nothing and just shows, as the sheet of what an encoder was trained on does."""
    kinds = {figure.get("kind") for figure in result["figures"]}
    return kinds == {"pictures"} and not result["numbers"] and not result["tables"]


def _measured(parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The headline numbers of the parts, a row each."""
    names = list(dict.fromkeys(name for result in parts for name in result["numbers"]))
    rows = [[result["part"], result["title"], *map(result["numbers"].get, names)] for result in parts]
    return _table({"columns": ["part", "measured by", *map(_spoken, names)], "rows": rows}) if names else None


def _shown(result: dict[str, Any], hues: dict[str, int], missing: list[str]) -> dict[str, Any]:
    """A result with its tables as text and its figures drawn; one that cannot be drawn is noted in ``missing``."""
    drawn: list[tuple[str, Markup]] = []
    for figure in result["figures"]:
        try:
            drawn.append((figure["kind"], draw(figure, hues)))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            missing.append(f"A figure of {result['name']} cannot be drawn: {type(error).__name__}: {error}.")
    fractions = {name for name in result["numbers"] if "accuracy" in name}
    fractions |= {"low", "high"} if "accuracy" in fractions else set()
    return {
        "title": f"{result['title']} ({result['part']})" if "part" in result else result["title"],
        "text": result["text"],
        "judged": result["name"] == "compare" or bool(fractions),  # and not only described
        "numbers": [
            (_spoken(key), _value(value, percent=key in fractions)) for key, value in result["numbers"].items()
        ],
        "tables": [_table(table) for table in result["tables"]],
        "intervals": [figure for kind, figure in drawn if kind == "intervals"],
        "figures": [figure for kind, figure in drawn if kind != "intervals"],
        "settings": _rows(result["settings"]),
    }


def _table(table: dict[str, Any]) -> dict[str, Any]:
    """A table as text, with the columns that hold numbers marked, to be aligned by their end."""
    rows = [list(row) for row in table.get("rows") or [] if isinstance(row, (list, tuple))]
    columns = [str(column) for column in table.get("columns") or []]
    columns += [""] * (max((len(row) for row in rows), default=0) - len(columns))
    digits = [_digits([row[i] for row in rows if i < len(row)]) for i in range(len(columns))]
    cells = [
        [_value(value, digits=n) for value, n in zip(row, digits)] + [""] * (len(columns) - len(row)) for row in rows
    ]
    numeric = [  # the first column names the rows, even where the names are digits
        i > 0 and any(row[i] for row in cells) and all(not row[i] or _NUMBER.fullmatch(row[i]) for row in cells)
        for i in range(len(columns))
    ]
    title, note = str(table.get("title") or ""), str(table.get("note") or "")
    return {"title": title, "note": note, "columns": list(zip(columns, numeric)), "rows": cells, "numeric": numeric}


def _digits(values: list[Any]) -> int:
    """How many decimals a column shows: as many as its numbers need, at most three."""
    floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    return next((n for n in range(3) if all(abs(value - round(value, n)) < 1e-9 for value in floats)), 3)


def _settings(recipe: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, value and whether it was derived, for every setting of a recipe."""
    given, derived = (dict(_flat(recipe.get(key))) for key in ("settings", "derived"))
    names = dict.fromkeys([*given, *derived])
    return [
        (key, _value(derived.get(key, given.get(key)), exact=True), _is_derived(key, given, derived)) for key in names
    ]


def _is_derived(name: str, given: dict[str, Any], derived: dict[str, Any]) -> bool:
    return name in derived and (name not in given or given[name] != derived[name])


def _flat(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The names and values of nested objects, the names joined by dots."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _rows(values: Any) -> list[tuple[str, str]]:
    return [(key, _value(value, exact=True)) for key, value in _flat(values)]


def _timings(found: Found) -> dict[str, Any] | None:
    if not found.curves:
        return None
    rows: list[list[Any]] = []
    for curve in found.curves:
        rate = f"{curve.rate:,.0f}" if math.isfinite(curve.rate) else "–"
        steps = f"{curve.steps[-1]:,}" + (f" of {curve.total:,}" if curve.steps[-1] != curve.total else "")
        rows.append([curve.name, steps, f"{curve.images[-1]:,}", rate, duration(curve.seconds)])
    rows.append(["all training", "", f"{sum(int(curve.images[-1]) for curve in found.curves):,}", "",
                 duration(sum(curve.seconds for curve in found.curves))])  # fmt: skip
    columns = ["training", "steps", "images seen", "images/s", "time"]
    table = _table({"columns": columns, "rows": rows})
    return {**table, "columns": [(name, at > 0) for at, name in enumerate(columns)], "numeric": [False] + [True] * 4}


def _sentence(found: Found, results: list[dict[str, Any]]) -> str:
    """What to say first about a run without a verdict."""
    measured = [
        (result["title"], result["numbers"]["accuracy"]) for result in results if "accuracy" in result["numbers"]
    ]
    if measured:
        told = ", ".join(f"{title} {_value(accuracy, percent=True)}" for title, accuracy in measured)
        return f"Measured in {len(measured)} ways: {told}." if len(measured) > 1 else f"{told}."
    if not found.curves:
        titles = [result["title"] for result in found.results]  # pictures alone among them
        return f"{', '.join(titles)}." if titles else "Nothing was measured in this run."
    last = found.curves[-1]
    loss = last.values.get("loss")
    ended = f"; the last loss was {loss[-1]:.4g}" if loss is not None and math.isfinite(loss[-1]) else ""
    reached = f"{last.steps[-1]:,} of {last.total:,} steps" if last.steps[-1] < last.total else f"{last.total:,} steps"
    return f"{last.name} trained for {reached} on {last.images[-1]:,} images{ended}."


def duration(seconds: float) -> str:
    """``4.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


def _moment(text: Any) -> str:
    with contextlib.suppress(TypeError, ValueError):
        moment = datetime.fromisoformat(text)
        return f"{moment.day} {moment:%B %Y, %H:%M} {moment:%Z}".strip()
    return str(text or "")


def _value(value: Any, *, percent: bool = False, exact: bool = False, digits: int | None = None) -> str:
    """A value as people write it, with so many ``digits`` after the point; ``exact`` leaves numbers as given."""
    if value is None:
        return "none" if exact else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and digits is not None and abs(value) < 1e6:
        return f"{value:.{digits}f}"
    if isinstance(value, float) and not exact:
        return f"{value:.1%}".replace("%", " %") if percent and 0 <= value <= 1 else f"{value:.4g}"
    if isinstance(value, int) and not exact:
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _spoken(key: Any) -> str:
    return str(key).replace("_", " ")
