"""What every test may ask for."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

import ahead

ROOT = Path(__file__).resolve().parent.parent
KEPT = pytest.StashKey[tuple[str, str | None]]()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; what tests start would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config) -> None:
    """What is kept for a user, such as the orders of a puzzle's tiles, is kept for the session alone."""
    config.stash[KEPT] = tempfile.mkdtemp(prefix="firstlight-cache-"), os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = config.stash[KEPT][0]


def pytest_collection_finish(session) -> None:
    if not session.config.option.collectonly and not hasattr(session.config, "workerinput"):  # of pytest-xdist
        ahead.begin([item.path for item in session.items])


def pytest_unconfigure(config) -> None:
    ahead.end()
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
