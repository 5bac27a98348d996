"""Work that takes seconds and that several tests look at: programs that are killed or stopped, ranks, a cluster."""

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_folders: list[Path] = []


def once(function: Callable[[Path], Any]) -> Callable[[], Any]:
    """A function of an empty folder, done when the first test calls it without one; it stays until the session ends.

    It is no fixture, so that it may run where no fixture reaches, and what it raises is raised for every test.
    """

    @functools.cache
    def outcome() -> tuple[Any, Exception | None]:
        _folders.append(Path(tempfile.mkdtemp(prefix="firstlight-once-")))
        try:
            return function(_folders[-1]), None
        except Exception as error:
            return None, error

    @functools.wraps(function)
    def call() -> Any:
        value, error = outcome()
        if error is not None:
            raise error
        return value

    return call


def end() -> None:
    """Removes all folders."""
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
