"""What every test may ask for."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: FIRSTLIGHT_DATA, or ../shared/data beside the repository."""
    path = Path(os.environ.get("FIRSTLIGHT_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"needs the real data sets (FIRSTLIGHT_DATA={path})")
    return path
