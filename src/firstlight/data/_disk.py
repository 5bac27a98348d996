"""Files that several processes may write at the same time, on one machine or on many that share a folder.

Everything unfinished has a hidden name of its own, so writers never meet; a rename makes it whole. What two of them
write under one name is the same, so it does not matter who is last.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import DiskError

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None

_BEGINS = ".drawing-"


def fresh(folder: Path, name: str) -> Path:
    """A hidden path for something unfinished that no other process or thread has, on any machine."""
    return folder / f"{_BEGINS}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{name}"


def begun(folder: Path) -> bool:
    """Whether a folder holds anything that is finished."""
    return any(not item.name.startswith(_BEGINS) for item in folder.iterdir())


def tidy(folder: Path) -> None:
    """Removes what processes that were killed left unfinished."""
    for path in folder.glob(f"{_BEGINS}*"):
        remove(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Writes a file whole, in the place of the one that is there.

    Raises:
        DiskError: if the disk refuses.
    """
    with _written(path, content) as new:
        new.replace(path)


def create(path: Path, content: bytes) -> bool:
    """Writes a file whole if there is none yet; false if another process was first.

    Raises:
        DiskError: if the disk refuses.
    """
    with _written(path, content) as new:
        try:
            os.link(new, path)  # unlike a rename, it never replaces
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            new.replace(path)
        return True
    return False


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether it is this process's turn. The kernel ends the turn of one that dies.

    Where files cannot be locked, it is everybody's turn at once.
    """
    with open(path, "r+b") as file:

        def turn() -> bool:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                except OSError:
                    return True
            return True

        yield turn


def flush(path: Path) -> None:
    """Makes a file's contents, or a folder's renames, last. Windows cannot open folders, and does without."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """A file's sha256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    new = fresh(path.parent, path.name)
    try:
        with open(new, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield new
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.exists():
            return  # another process wrote the same, finished the set, and tidied up
        raise DiskError(f"cannot write {str(path)!r} ({len(content):,} bytes): {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)
