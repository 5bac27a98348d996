"""How the C library keeps memory while a CPU computes the same step again and again."""

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator

# <malloc.h> of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER, MMAP_MAX, LARGEST = -1, 65536, 32 * 2**20


@contextlib.contextmanager
def kept(device: str) -> Iterator[None]:
    """Lets the process keep the memory that it frees, for the time of the block, if the device is a CPU.

    By default the GNU C library takes large blocks (at most 32 MiB escape that) from the system and gives each back
    when it is freed. Every layer of every training step then touches pages that the system must first find and clear,
    which took up to half of a step's time (docs/log.md). Kept memory is used again as it is; afterwards it is given
    back. At its peak a process under ``kept`` may hold a quarter more.

    Blocks may lie in each other and in threads: the last that ends restores the default, as a process has it that has
    freed a block of 32 MiB. Under another C library or memory allocator nothing happens.
    """
    library = _library() if device == "cpu" else None
    if library is None:
        yield
        return
    mallopt, malloc_trim = library
    with _lock:
        _depth[0] += 1
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        with _lock:
            _depth[0] -= 1
            if not _depth[0]:
                mallopt(M_MMAP_MAX, MMAP_MAX)
                mallopt(M_MMAP_THRESHOLD, LARGEST)  # once anything is set, the library no longer adapts it by itself
                mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
                malloc_trim(0)


@functools.cache
def _library() -> tuple[Callable[[int, int], int], Callable[[int], int]] | None:
    """``mallopt`` and ``malloc_trim`` where there are both."""
    if not sys.platform.startswith("linux"):
        return None
    process = ctypes.CDLL(None)
    try:
        return process.mallopt, process.malloc_trim
    except AttributeError:  # musl
        return None


_depth, _lock = [0], threading.Lock()
