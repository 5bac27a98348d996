"""Memory that a training frees is used again while it goes on, and given back afterwards."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from firstlight import memory

glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="of the GNU C library"
)
BLOCK = 16 * 2**20  # values of 4 bytes: twice as large as any block that the library keeps by itself


def faults() -> int:
    """Pages that the system had to find while six large blocks were written, each freed before the next."""
    import resource  # of Unix only

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(6):
        torch.ones(BLOCK)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def settled() -> int:
    """The same once the heap has a place for such a block: what is allocated beside it may split the first ones."""
    return min(faults() for _ in range(4))


def resident() -> int:
    """The process's bytes in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(what: str) -> dict[str, int]:
    """In a process of its own: what others have freed in this one would be used, too."""
    done = subprocess.run([sys.executable, __file__, what], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@glibc
def test_freed_memory_is_used_again_and_given_back_afterwards():
    found = measured("alone")
    assert found["kept"] < found["plain"] / 4
    assert found["given back"] > 3 * BLOCK, "of the four bytes a value"


@glibc
def test_the_last_of_several_blocks_gives_back():
    found = measured("nested")
    assert found["kept"] < found["plain"] / 4
    assert found["given back by the first"] < BLOCK
    assert found["given back"] > 3 * BLOCK


@glibc
def test_an_error_gives_back():
    assert measured("error")["given back"] > 3 * BLOCK


def test_nothing_happens_on_other_devices_and_under_other_libraries(monkeypatch):
    called = []
    monkeypatch.setattr(memory, "_library", lambda: called.append(True))
    with memory.kept("cuda"):
        assert not called
    with memory.kept("cpu"):
        assert called
    assert memory._depth == [0]


def _alone() -> dict[str, int]:
    plain = faults()
    with memory.kept("cpu"):
        kept, held = settled(), resident()
    return {"plain": plain, "kept": kept, "given back": held - resident()}


def _nested() -> dict[str, int]:
    plain, outer, inner = faults(), memory.kept("cpu"), memory.kept("cpu")
    outer.__enter__()
    inner.__enter__()
    settled()
    held = resident()
    outer.__exit__(None, None, None)
    kept, first = settled(), held - resident()
    inner.__exit__(None, None, None)
    return {"plain": plain, "kept": kept, "given back by the first": first, "given back": held - resident()}


def _error() -> dict[str, int]:
    with contextlib.suppress(ZeroDivisionError), memory.kept("cpu"):
        faults()
        held = resident()
        raise ZeroDivisionError
    return {"given back": held - resident()}


if __name__ == "__main__":
    print(json.dumps({"alone": _alone, "nested": _nested, "error": _error}[sys.argv[1]]()))
