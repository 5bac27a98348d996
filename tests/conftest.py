"""What every test may ask for."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

import once

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process of tests for each core; torch, imported later, reads it
KEPT = pytest.StashKey[tuple[str, str | None]]()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; what tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config) -> None:
    """What is kept for a user, such as the orders of a puzzle's tiles, is kept for the session alone."""
    config.stash[KEPT] = tempfile.mkdtemp(prefix="firstlight-cache-"), os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = config.stash[KEPT][0]


def pytest_collection_modifyitems(items) -> None:
    """What starts programs and waits for them comes first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: not hasattr(item.module, "once"))


def pytest_unconfigure(config) -> None:
    once.end()
    folder, before = config.stash[KEPT]
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: FIRSTLIGHT_DATA, or ../shared/data beside the repository."""
    path = Path(os.environ.get("FIRSTLIGHT_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"needs the real data sets (FIRSTLIGHT_DATA={path})")
    return path
