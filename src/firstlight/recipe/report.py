"""Write a run's report again: one offline HTML page, made from the run folder's files alone."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..errors import InputError
from ..events import Events, Saved
from . import Recipe


@dataclass(frozen=True, kw_only=True)
class Report(Recipe):
    """Write a run's report again: one offline HTML page, made from the run folder's files alone."""

    folder: tyro.conf.Positional[Path]
    """a run folder, finished or not"""

    def run(self, resume: bool = False) -> Events[Path]:
        if not (self.folder / "recipe.json").exists() and not (self.folder / "events.jsonl").exists():
            raise InputError(f"{str(self.folder)!r} is not a run folder: it has neither recipe.json nor events.jsonl")
        from ..report import write

        path = write(self.folder)
        yield Saved("report", str(path))
        return path
