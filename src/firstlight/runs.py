"""A run folder: the interface between the process that computes and everything that looks at it later.

``recipe.json  events.jsonl  checkpoints/  encoder/  results/  report.html``, and folders of the same shape inside it
for the parts of a larger run (``pretrain/``, ``fractal-seed0/``).
"""

import contextlib
import json
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import CorruptError, DiskError, InputError, LockedError
from .events import Event, Progress

try:
    import fcntl
except ImportError:  # Windows has no flock; there a run folder is not locked
    fcntl = None


class Run:
    """One run folder, open for writing.

    Raises:
        InputError: if the path is a file, or a folder that holds something other than a run.
        DiskError: if it cannot be created or written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._log: Any = None
        self._lost = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"cannot write to {str(self.path)!r}: it, or a parent of it, is a file") from None
        except OSError as error:
            raise DiskError(f"cannot create {str(self.path)!r}: {error.strerror}") from error
        if not os.access(self.path, os.W_OK):
            raise DiskError(f"cannot write to {str(self.path)!r}: read-only")

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def encoder(self) -> Path:
        return self.path / "encoder"

    @property
    def results(self) -> Path:
        return self.path / "results"

    def part(self, name: str) -> "Run":
        """A run inside this one."""
        return Run(self.path / name)

    @contextlib.contextmanager
    def locked(self) -> Iterator["Run"]:
        """Keeps other processes out for the time of the block; the kernel frees the lock if this one dies.

        Raises:
            LockedError: naming the process that holds it.
        """
        handle = open(self.path / "run.lock", "a+", encoding="utf-8")  # noqa: SIM115 closed below, after the block
        try:
            if fcntl:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    handle.seek(0)
                    owner = handle.read().strip() or "another process"
                    raise LockedError(f"{str(self.path)!r} is in use by {owner}; choose another --out") from None
            handle.seek(0)
            handle.truncate()
            handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            handle.flush()
            yield self
        finally:
            handle.close()
            self.close()

    def log(self, event: Event) -> None:
        """Appends an event to ``events.jsonl``. Bars are not kept.

        A full disk loses lines, with one warning, and not the run.
        """
        if isinstance(event, Progress):
            return
        if self._log is None:
            path = self.path / "events.jsonl"
            _drop_partial_line(path)
            self._log = open(path, "ab", buffering=0)  # noqa: SIM115 kept open
        try:
            self._log.write(json.dumps(event.record()).encode() + b"\n")
        except OSError as error:
            if not self._lost:
                warnings.warn(f"events are being lost: cannot write {self._log.name}: {error.strerror}", stacklevel=2)
            self._lost = True

    def close(self) -> None:
        """Closes ``events.jsonl``; the next event opens it again."""
        if self._log:
            self._log.close()
            self._log = None

    def discard(self, *, folder: bool = True) -> None:
        """Removes all that the folder holds, and with ``folder`` itself: for a run of which nothing was computed."""
        self.close()
        for item in self.path.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        if folder:
            self.path.rmdir()

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file in one piece."""
        write_whole(self.path / name, (json.dumps(value, indent=1, default=str) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a part.

    Raises:
        DiskError: naming the path and the bytes, if the disk refuses.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(fresh, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise DiskError(f"cannot write {str(path)!r} ({len(content):,} bytes): {error.strerror}") from error


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a run folder. A torn last line (the process was killed while writing) is left out."""
    file = path / "events.jsonl"
    if not file.exists():
        return []
    events = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def read_json(path: Path) -> Any:
    """A JSON file of a run folder.

    Raises:
        InputError: if it is not there.
        CorruptError: if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not path.parent.is_dir() or path.name != "recipe.json":
            raise InputError(f"there is no file {str(path)!r}") from None
        raise InputError(f"{str(path.parent)!r} has no {path.name}: is it a run folder?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"{str(path)!r} is not valid JSON: {error}") from None


def _drop_partial_line(path: Path) -> None:
    if path.is_file():
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
