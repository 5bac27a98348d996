"""Memory that a training frees is used again while it goes on, and given back afterwards."""

import contextlib
import os
import platform
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


@glibc
def test_freed_memory_is_used_again_and_given_back_afterwards():
    plain = faults()
    with memory.kept("cpu"):
        assert settled() < plain / 4
        held = resident()
    assert held - resident() > 3 * BLOCK, "of the four bytes a value"


@glibc
def test_the_last_of_several_blocks_gives_back():
    plain, outer, inner = faults(), memory.kept("cpu"), memory.kept("cpu")
    outer.__enter__()
    inner.__enter__()
    settled()
    held = resident()
    outer.__exit__(None, None, None)
    assert settled() < plain / 4
    assert held - resident() < BLOCK
    inner.__exit__(None, None, None)
    assert held - resident() > 3 * BLOCK


@glibc
def test_an_error_gives_back():
    with contextlib.suppress(ZeroDivisionError), memory.kept("cpu"):
        faults()
        held = resident()
        raise ZeroDivisionError
    assert held - resident() > 3 * BLOCK


def test_nothing_happens_on_other_devices_and_under_other_libraries(monkeypatch):
    called = []
    monkeypatch.setattr(memory, "_library", lambda: called.append(True))
    with memory.kept("cuda"):
        assert not called
    with memory.kept("cpu"):
        assert called
    assert memory._depth == [0]
