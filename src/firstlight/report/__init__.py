"""One offline page about a run, made from the files of its folder alone, however far the run came."""

import contextlib
import json
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..runs import write_whole
from .curves import figures_of
from .figures import draw, sheet
from .read import Found, read

__all__ = ["sheet", "write"]

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
    lead = found.results[0] if found.results else None
    first = _shown(lead, hues, found.missing) if lead else None
    main, others = figures_of(found.curves)
    return {
        "recipe": str(found.recipe.get("recipe") or "run"),
        "name": found.name,
        "started": _moment(found.recipe.get("started")),
        "verdict": (first["text"] if first else "") or _sentence(found),
        "first": first,
        "curves": [draw(figure, hues) for figure in main],
        "other_curves": [draw(figure, hues) for figure in others],
        "results": [_shown(result, hues, found.missing) for result in found.results[1:]],
        "part_results": [_shown(result, hues, found.missing) for result in found.part_results],
        "settings": _settings(found.recipe),
        "facts": [(title, _rows(found.recipe.get(key))) for title, key in _FACTS if _rows(found.recipe.get(key))],
        "timings": _timings(found),
        "warned": found.warned,
        "notes": found.notes,
        "missing": found.missing,
    }


_FACTS = (("Versions", "versions"), ("Machine", "machine"))


def _shown(result: dict[str, Any], hues: dict[str, int], missing: list[str]) -> dict[str, Any]:
    """A result with its tables as text and its figures drawn; one that cannot be drawn is noted in ``missing``."""
    drawn: list[tuple[str, Markup]] = []
    for figure in result["figures"]:
        try:
            drawn.append((figure["kind"], draw(figure, hues)))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            missing.append(f"A figure of {result['name']} cannot be drawn: {type(error).__name__}: {error}.")
    return {
        "title": f"{result['part']}: {result['title']}" if "part" in result else result["title"],
        "text": result["text"],
        "numbers": [(_spoken(key), _value(value, key)) for key, value in result["numbers"].items()],
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
    cells = [[_value(value) for value in row] + [""] * (len(columns) - len(row)) for row in rows]
    numeric = [
        any(row[i] for row in cells) and all(not row[i] or _NUMBER.fullmatch(row[i]) for row in cells)
        for i in range(len(columns))
    ]
    title, note = str(table.get("title") or ""), str(table.get("note") or "")
    return {"title": title, "note": note, "columns": list(zip(columns, numeric)), "rows": cells, "numeric": numeric}


def _settings(recipe: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, value and whether it was derived, for every setting of a recipe."""
    given, derived = ((value if isinstance(value, dict) else {}) for value in map(recipe.get, ("settings", "derived")))
    names = dict.fromkeys([*given, *derived])
    return [(str(name), _value(derived.get(name, given.get(name)), exact=True), name in derived) for name in names]


def _rows(values: Any) -> list[tuple[str, str]]:
    if not isinstance(values, dict):
        return []
    return [(str(key), _value(value, exact=True)) for key, value in values.items()]


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


def _sentence(found: Found) -> str:
    """What to say first about a run without a verdict."""
    if not found.curves:
        return "Nothing was measured in this run."
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


def _value(value: Any, name: str = "", exact: bool = False) -> str:
    """A value as people write it; ``exact`` leaves numbers as they were given."""
    if value is None:
        return "none" if exact else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not exact:
        return f"{value:.1%}".replace("%", " %") if "accuracy" in name and 0 <= value <= 1 else f"{value:.4g}"
    if isinstance(value, int) and not exact:
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _spoken(key: Any) -> str:
    return str(key).replace("_", " ")
