"""A recipe is everything needed to repeat a run. The command line, Python and cluster jobs all end in ``.run()``.

One file each, the file name is the command. Nothing here imports torch at module level, so ``--help`` is quick.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from .. import spec
from ..errors import CorruptError, InputError
from ..events import Events, Value, Warned
from ..runs import Run, read_json

__all__ = ["Recipe", "begin", "check_free", "load", "logged", "next_free", "open_run", "shared_run", "write_report"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Base of all recipes. Fields are settings; None means: work it out, and write down what was chosen."""

    def run(self, resume: bool = False) -> Events[Path]:
        """Does the work, yielding events, and returns the folder or file that holds the outcome.

        Bad settings raise ``InputError`` before anything is allocated or written.

        Args:
            resume: go on with what ``out`` holds from an earlier run with the same settings.
        """
        raise NotImplementedError

    @classmethod
    def command(cls) -> str:
        """The recipe's name: its file's name."""
        return cls.__module__.rpartition(".")[2]

    def settings(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))

    def moved(self, out: Path | None) -> Self:
        """The same recipe, writing to another place (None: the next free one)."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return type(self)(**(fields | {"out": out} if "out" in fields else fields))

    def digest(self) -> str:
        """A short hash of the settings that decide the outcome: all but where it is written."""
        decisive = {key: value for key, value in self.settings().items() if key != "out"}
        return hashlib.sha256(json.dumps([self.command(), decisive], sort_keys=True).encode()).hexdigest()[:16]


def open_run(out: Path | None, name: str, resume: bool = False) -> Run:
    """The folder a recipe writes to: ``out``, or the next free ``runs/NAME-001``.

    Raises:
        InputError: if ``out`` already holds something and this is no resumption; nothing is ever overwritten.
    """
    check_free(out, resume)
    return Run(next_free(name) if out is None else out)


def check_free(out: Path | None, resume: bool = False) -> None:
    """Refuses a folder that cannot be written to, without making it; for before the pictures are read.

    Raises:
        InputError: if ``out`` is no folder, or already holds something and this is no resumption.
    """
    if out is None:
        return
    above = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"cannot write to {str(out)!r}: {str(above)!r} is a file")
    if not resume and out.is_dir() and any(item.name != "run.lock" for item in out.iterdir()):
        hint = f"'firstlight resume {out}' continues it" if (out / "recipe.json").exists() else "it is not a run"
        raise InputError(f"{str(out)!r} is not empty ({hint}); choose another --out")


@contextlib.contextmanager
def shared_run(out: Path | None, name: str, resume: bool = False) -> Iterator[Run]:
    """``open_run`` for processes that train together: rank 0 opens and locks, the others learn where it is to read.

    Only rank 0 may write to the run. Where a method refuses the pictures before its first step, a new folder is taken
    away again: the same ``out`` can be asked for with other settings.

    Raises:
        InputError: on every rank, as ``open_run``.
        LockedError: on every rank, if another process uses the folder.
    """
    from .. import ranks

    there = out is not None and out.exists()
    with contextlib.ExitStack() as held:
        run = ranks.told(lambda: held.enter_context(open_run(out, name, resume).locked()))
        try:
            yield run
        except InputError:
            if not ranks.rank() and not resume and not run.checkpoints.exists():
                run.discard(folder=not there)
            raise


def next_free(name: str) -> Path:
    """The first of ``runs/NAME-001``, ``runs/NAME-002``, ... after those that are there."""
    runs = Path("runs")
    taken = [int(p.name.rpartition("-")[2]) for p in runs.glob(f"{name}-*") if p.name.rpartition("-")[2].isdigit()]
    return runs / f"{name}-{max(taken, default=0) + 1:03d}"


def begin(run: Run, recipe: Recipe, derived: dict[str, Any]) -> None:
    """Writes ``recipe.json``: the settings, what was worked out for those left open, versions and machine."""
    run.write_json(
        "recipe.json",
        {
            "recipe": recipe.command(),
            "settings": recipe.settings() | ({"out": str(run.path)} if hasattr(recipe, "out") else {}),
            "derived": derived,
            "digest": recipe.digest(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(),
            "machine": machine(),
        },
    )


def logged(run: Run, events: Events[Value]) -> Events[Value]:
    """Passes events on after writing them to the run's ``events.jsonl``; what ends the run early is noted there."""
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            run.log(event)
            yield event
    except BaseException as reason:
        # A signal arrives in here or in whoever shows the events, who then closes this generator.
        outside = isinstance(reason, (GeneratorExit, KeyboardInterrupt))
        run.log(Warned(f"stopped: {'interrupted' if outside else f'{type(reason).__name__} {reason}'.strip()}"))
        raise
    finally:
        events.close()
        run.close()


def write_report(run: Run) -> Path:
    """Writes the run's page from what its folder holds by now, and returns its path."""
    from ..report import write

    return write(run.path)


def load(path: str | Path) -> Recipe:
    """Reads a recipe from ``recipe.json`` or from a run folder that holds one.

    Raises:
        InputError: for an unknown recipe or setting, naming the nearest, or a value of the wrong type.
        CorruptError: if the file is not JSON, or not an object with ``recipe`` and ``settings``.
    """
    from pydantic import TypeAdapter, ValidationError

    path = Path(path)
    record = read_json(path / "recipe.json" if path.is_dir() else path)
    if not isinstance(record, dict) or not isinstance(record.get("recipe"), str):
        raise CorruptError(f"{str(path)!r} is not a recipe: expected an object with 'recipe' and 'settings'")
    kind = spec.find("recipe", record["recipe"], Recipe)
    settings = record.get("settings", {})
    known = [f.name for f in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            nearest = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(
                f"recipe {record['recipe']!r} has no setting {key!r}; {nearest}allowed: {', '.join(known)}"
            )
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{str(path)!r}: {where}={first['input']!r}: {first['msg']}") from None


def versions() -> dict[str, str]:
    """The versions of what decides the outcome."""
    names = ("firstlight", "torch", "torchvision", "timm", "numpy", "numba", "pillow", "scikit-learn")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def machine() -> dict[str, Any]:
    """What the run ran on."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
