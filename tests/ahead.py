"""Work that a test only waits for is begun with the session, beside the tests, and asked for when its test comes.

The tests are one process, and there are two cores. What takes seconds in processes of its own (programs that are
killed, stopped or compiled anew, several ranks, a cluster) is a function marked as ``Work``. ``python ahead.py``, one
more process, does what the session's files have of it, one after the other in their order.
"""

import contextlib
import importlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).parent
LIMIT = 600.0
"""seconds that a test waits"""


class Work:
    """A function of an empty folder; a test calls it without one, and gets what it returned or raised.

    It runs in another process than the test: what it returns has to pickle, and no fixture or patch reaches it.
    """

    known: ClassVar[list["Work"]] = []
    folder: ClassVar[Path | None] = None
    process: ClassVar[subprocess.Popen | None] = None

    def __init__(self, function: Callable[[Path], Any]):
        self.function, self.file = function, Path(function.__code__.co_filename)
        self.name = f"{self.file.stem}.{function.__name__}"
        self.begun = False
        self.known.append(self)

    def __call__(self) -> Any:
        if not self.begun:
            _begin([self])
        told, end = self.folder / f"{self.name}.pickle", time.monotonic() + LIMIT
        while not told.exists():
            if time.monotonic() > end or (self.process.poll() is not None and not told.exists()):
                raise AssertionError(f"{self.name} is not done: {(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.02)
        value, problem = pickle.loads(told.read_bytes())
        assert problem is None, problem
        return value

    def done(self, folder: Path) -> None:
        """In the other process: what comes of it, or its traceback, appears in one go beside its folder."""
        (folder / self.name).mkdir()
        try:
            outcome = self.function(folder / self.name), None
        except Exception:
            outcome = None, traceback.format_exc()
        (folder / f"{self.name}.part").write_bytes(pickle.dumps(outcome))
        (folder / f"{self.name}.part").rename(folder / f"{self.name}.pickle")


def begin(files: Collection[Path]) -> None:
    """Begins the work of some test files, in their order."""
    wanted = [work for file in dict.fromkeys(files) for work in Work.known if work.file == file]
    if wanted:
        _begin(wanted)


def _begin(wanted: list[Work]) -> None:
    end()
    Work.folder = Path(tempfile.mkdtemp(prefix="firstlight-ahead-"))
    command = [sys.executable, __file__, str(Work.folder), str(os.getpid()), *(work.name for work in wanted)]
    with (Work.folder / "log").open("wb") as log:
        Work.process = subprocess.Popen(command, cwd=HERE.parent, start_new_session=True, stdout=log, stderr=log)
    for work in Work.known:
        work.begun = work in wanted


def end() -> None:
    """Ends what is not done, and removes all folders."""
    if Work.process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(Work.process.pid, signal.SIGKILL)
        Work.process.wait()
        shutil.rmtree(Work.folder, ignore_errors=True)
        Work.process = Work.folder = None


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, parent, *names = sys.argv[1:]
    os.nice(5)  # the tests first: some of them look at the clock
    threading.Thread(target=_die_with, args=[int(parent)], daemon=True).start()
    for name in names:
        file, _, function = name.partition(".")
        getattr(importlib.import_module(file), function).done(Path(folder))


if __name__ == "__main__":
    main()
