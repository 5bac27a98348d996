"""Collects what a report needs from the files of a run folder, and says what is missing or unreadable."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CorruptError, InputError
from ..runs import read_events, read_json

_DRAW = re.compile(r"(?:^|[\s,:/_-]+)(?:seed|draw|fold)[\s_-]?\d+(?:$|[\s,:/_-]+)")


@dataclass(frozen=True)
class Curve:
    """What one training wrote while it ran.

    Attributes:
        name: the task, or the folder of the part that trained where that says more.
        steps: int64 ``[N]``, ascending.
        images: int64 ``[N]``, images seen by each of ``steps``.
        values: a float64 ``[N]`` of every scalar; NaN where a step did not report it.
        total: the steps it meant to take.
        seconds: how long it trained, over all the processes that continued it.
    """

    name: str
    steps: np.ndarray
    images: np.ndarray
    values: dict[str, np.ndarray]
    total: int
    seconds: float

    @property
    def family(self) -> str:
        """The name without its draw: ``fractal`` for ``fractal-seed0``. Curves of a family are drawn as one."""
        return _DRAW.sub(" ", self.name).strip() or self.name

    @property
    def rate(self) -> float:
        """Images per second of training, or NaN."""
        told = self.values.get("images_per_second", np.array([]))
        told = told[np.isfinite(told)]
        if len(told):
            return float(np.median(told))
        return float(self.images[-1]) / self.seconds if self.seconds > 0 else float("nan")


@dataclass
class Found:
    """All that a run folder holds for its report.

    Attributes:
        name: the folder's name.
        recipe: ``recipe.json``, or empty.
        results: the results of the run itself, ``compare`` first.
        part_results: the results of the runs inside it, with the name of the part under ``"part"``.
        curves: one per training.
        notes, warned: the lines that the run wrote for its reader, in order.
        missing: one sentence for each thing that is not there or cannot be read.
    """

    name: str
    recipe: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    part_results: list[dict[str, Any]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def read(folder: Path) -> Found:
    """Reads a run folder. Nothing in it has to be complete.

    Raises:
        InputError: if ``folder`` is not a folder, or holds nothing that a run writes.
    """
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is not a folder; a report is made of a run folder")
    parts = _parts(folder)
    written = ("recipe.json", "events.jsonl", "results")
    if not parts and not any((folder / name).exists() for name in written):
        raise InputError(f"{str(folder)!r} is not a run folder: it has none of {', '.join(written)}")
    found = Found(folder.resolve().name)
    found.recipe = _recipe(folder, found)
    found.results = list(_results(folder, found))
    if found.recipe.get("recipe") == "compare" and not any(r["name"] == "compare" for r in found.results):
        found.missing.append("No verdict: the comparison has not written results/compare.json.")
    elif not found.results and found.recipe.get("recipe") not in ("pretrain", "render"):
        found.missing.append("No results: nothing was measured before the run ended, or its results were removed.")
    for part in parts:
        name = part.relative_to(folder).as_posix()
        found.part_results += [{**result, "part": name} for result in _results(part, found, name)]
        found.curves += _curves(part, found, name)
    _own_curves(folder, found)
    for curve in found.curves:
        if curve.steps[-1] < curve.total:
            found.missing.append(f"{curve.name} stopped at step {curve.steps[-1]:,} of {curve.total:,}.")
    return found


def _parts(folder: Path) -> list[Path]:
    """The runs inside a run, those that are no draw of a family first: they come before the draws that use them."""
    marks = ("events.jsonl", "results")
    found = {path.parent for depth in ("*/", "*/*/") for mark in marks for path in folder.glob(depth + mark)}
    found = {path for path in found if path.name != "results" and "checkpoints" not in path.parts}
    return sorted(found, key=lambda path: (bool(_DRAW.search(path.name)), path))


def _recipe(folder: Path, found: Found) -> dict[str, Any]:
    try:
        recipe = read_json(folder / "recipe.json")
    except (InputError, CorruptError, OSError) as error:
        found.missing.append(f"No recipe: {error}.")
        return {}
    if not isinstance(recipe, dict):
        found.missing.append("No recipe: recipe.json is not a JSON object.")
        return {}
    return recipe


def _results(folder: Path, found: Found, part: str = "") -> Iterator[dict[str, Any]]:
    """The readable results of a folder: ``compare`` first, then by name."""
    for path in sorted((folder / "results").glob("*.json"), key=lambda path: (path.stem != "compare", path.stem)):
        shown = f"{part}/results/{path.name}" if part else f"results/{path.name}"
        try:
            result = read_json(path)
        except (CorruptError, InputError, OSError, RecursionError):
            found.missing.append(f"{shown} cannot be read: it is not valid JSON.")
            continue
        if not isinstance(result, dict):
            found.missing.append(f"{shown} cannot be read: it is not a JSON object.")
            continue
        yield _complete(result, path.stem)


def _complete(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A result whose fields all exist with the right container; what has another shape is left out."""
    shapes = {"title": str, "text": str, "numbers": dict, "tables": list, "figures": list, "settings": dict}
    kept = {key: result[key] if isinstance(result.get(key), shape) else shape() for key, shape in shapes.items()}
    kept["tables"] = [table for table in kept["tables"] if isinstance(table, dict)]
    kept["figures"] = [figure for figure in kept["figures"] if isinstance(figure, dict)]
    return {**kept, "name": name, "title": kept["title"] or name}


def _own_curves(folder: Path, found: Found) -> None:
    """Adds the curves of the run itself, but for those that a part of it also wrote."""
    if not (folder / "events.jsonl").exists():
        found.missing.append("No log: events.jsonl is not there.")
    known = {curve.name for curve in found.curves}
    same = {(curve.total, tuple(curve.steps[:50]), _key(curve)) for curve in found.curves}
    for curve in _curves(folder, found, ""):
        if curve.name not in known and (curve.total, tuple(curve.steps[:50]), _key(curve)) not in same:
            found.curves.append(curve)


def _key(curve: Curve) -> tuple[float, ...]:
    return tuple(curve.values.get("loss", np.array([]))[:50])


def _curves(folder: Path, found: Found, part: str) -> list[Curve]:
    """The curves of one log, one per task; the words it wrote go to ``found``."""
    path = folder / "events.jsonl"
    try:
        events = [event for event in read_events(folder) if isinstance(event, dict)]
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    except OSError as error:
        found.missing.append(f"The log {part + '/' if part else ''}events.jsonl cannot be read: {error.strerror}.")
        return []
    if torn:
        found.missing.append(f"The last line of {part + '/' if part else ''}events.jsonl was cut off.")
    tasks: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("event") == "step" and isinstance(event.get("step"), int):
            tasks.setdefault(str(event.get("task", "")), []).append(event)
        elif event.get("event") in ("note", "warned") and event.get("text"):
            lines = found.notes if event["event"] == "note" else found.warned
            if (line := str(event["text"])) not in lines:  # a run repeats what its parts wrote
                lines.append(line)
    return [_curve(_name(part, task, len(tasks)), own) for task, own in tasks.items()]


def _name(part: str, task: str, tasks: int) -> str:
    """What to call a task of a part: by its own name if that says which draw it is, else by the part's."""
    if not part or _DRAW.search(task):
        return task
    return part if tasks == 1 else f"{part} {task}"


def _curve(name: str, events: list[dict[str, Any]]) -> Curve:
    """One training's curve. A resumed one repeats the steps after its checkpoint: the last report of each counts."""
    seconds, before = 0.0, 0.0
    for event in events:
        now = _number(event.get("seconds"))
        seconds += now - before if now >= before else max(now, 0.0)  # the clock of a new process starts at zero
        before = now if np.isfinite(now) else before
    last = {event["step"]: event for event in events}
    ordered = [last[step] for step in sorted(last)]
    told = [event["values"] if isinstance(event.get("values"), dict) else {} for event in ordered]
    names = dict.fromkeys(key for values in told for key in values)
    return Curve(
        name=name or "training",
        steps=np.array([event["step"] for event in ordered], dtype=np.int64),
        images=np.array([int(np.nan_to_num(_number(event.get("images")))) for event in ordered], dtype=np.int64),
        values={key: np.array([_number(values.get(key)) for values in told]) for key in names},
        total=int(np.nan_to_num(max(_number(event.get("total", 0)) for event in ordered))),
        seconds=seconds if np.isfinite(seconds) else 0.0,
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
