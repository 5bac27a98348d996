"""Pictures held decoded in memory, and the one reading of all files that finds out whether they fit."""

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..events import Events, Progress
from . import Pictures
from .decode import decode_bytes, picture_bytes
from .folder import Entry

__all__ = ["HeldPictures", "Reading", "available_memory", "fingerprint", "read_all", "threads_here"]


class HeldPictures(Pictures):
    """Decoded pictures in memory. What ``read`` returns is the held array itself: it is not to be written to."""

    kind = "picture"

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        labels: np.ndarray | Sequence[int],
        classes: Sequence[str] = (),
        names: Sequence[str] | None = None,
        digests: np.ndarray | None = None,
    ):
        """Keeps the arrays as they are.

        Args:
            arrays: N pictures, each uint8 ``[H, W]`` or ``[H, W, 3]``.
            labels: N positions in ``classes``, -1 where unlabelled.
            classes: the names of the classes.
            names: N names for messages and captions.
            digests: uint8 ``[N, 32]``, what identifies each picture: its file's sha256. Taken from the pixels when
                absent.
        """
        self.arrays = list(arrays)
        self.labels = np.asarray(labels, dtype=np.int64).reshape(-1)
        self.classes = tuple(classes)
        self.names = None if names is None else list(names)
        if len(self.labels) != len(self.arrays) or len(self.names or self.arrays) != len(self.arrays):
            raise InputError(f"{len(self.arrays)} pictures need as many labels and names, got {len(self.labels)}")
        self.digests = np.array([pixel_digest(a) for a in self.arrays], np.uint8) if digests is None else digests
        self.digests = self.digests.reshape(len(self.arrays), 32)

    def read(self, numbers: np.ndarray) -> list[np.ndarray]:
        return [self.arrays[int(number)] for number in np.asarray(numbers).reshape(-1)]

    def name(self, number: int) -> str:
        return self.names[number] if self.names is not None else super().name(number)

    def fingerprint(self) -> str:
        return fingerprint(self.digests, self.labels, self.classes)


@dataclass
class Reading:
    """What reading all files gave.

    Attributes:
        digests: uint8 ``[N, 32]``, sha256 of each file; zeros where it could not be read.
        broken: for each file that is no readable picture, its number and what is wrong with it.
        arrays: the decoded pictures (None for broken ones), or None when together they exceed the memory budget.
    """

    digests: np.ndarray
    broken: dict[int, str]
    arrays: list[np.ndarray | None] | None


def read_all(
    entries: Sequence[Entry], *, short: int | None, budget: int, threads: int | None = None
) -> Events[Reading]:
    """Reads, identifies and decodes every file once, in threads.

    Reading all of them ahead, even where they do not fit into memory, costs about one epoch and means that a broken
    picture is known before training starts.

    Args:
        entries: the files.
        short: the longest that a held picture's short side may be, None for any.
        budget: bytes that the decoded pictures may take.
        threads: how many to use, by default one for each core.
    """
    threads = threads or threads_here()
    digests = np.zeros((len(entries), 32), dtype=np.uint8)
    broken: dict[int, str] = {}
    arrays: list[np.ndarray | None] | None = []
    used = 0
    pool = ThreadPoolExecutor(threads, "decode")
    try:
        step = 32 * threads
        for start in range(0, len(entries), step):
            part = pool.map(lambda entry: _read_one(entry, short), entries[start : start + step])
            for number, (digest, pixels) in enumerate(part, start):
                if digest is not None:
                    digests[number] = digest
                if isinstance(pixels, str):
                    broken[number] = pixels
                    pixels = None
                used += 0 if pixels is None else pixels.nbytes
                if used > budget:
                    arrays = None
                if arrays is not None:
                    arrays.append(pixels)
            yield Progress("read pictures", min(start + step, len(entries)), len(entries), "pictures")
    finally:
        pool.shutdown(cancel_futures=True)
    return Reading(digests, broken, arrays)


def pixel_digest(pixels: np.ndarray) -> np.ndarray:
    """Identifies a picture that has no file: uint8 ``[32]``, sha256 of its shape and pixels."""
    data = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    return np.frombuffer(hashlib.sha256(data).digest(), dtype=np.uint8)


def fingerprint(digests: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> str:
    """A short hash of what pictures show, their order and their labels."""
    state = hashlib.sha256(digests.tobytes())
    state.update(labels.astype("<i8").tobytes())
    state.update("\0".join(classes).encode("utf-8", "backslashreplace"))
    return state.hexdigest()[:16]


def threads_here() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that this process may still take without hurting others: the machine's, or its container's if less.

    Processes that torchrun started on the same machine share them equally.
    """
    options = [math.inf]
    try:
        options.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        options.append(4 * 2**30)  # unknown system: assume little
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            options.append(int(line.split()[1]) * 1024)
    group = Path("/sys/fs/cgroup")
    for here, most, now in (
        (group, "memory.max", "memory.current"),
        (group / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, taken = _text(here / most).strip(), _text(here / now).strip()
        if limit.isdigit() and taken.isdigit():
            stats = dict(line.split() for line in _text(here / "memory.stat").splitlines())
            cached = int(stats.get("inactive_file", 0))  # file contents that the system drops when asked for memory
            options.append(max(0, int(limit) - int(taken) + cached))
    return int(min(options)) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE") or 1))


def _read_one(entry: Entry, short: int | None) -> tuple[np.ndarray | None, np.ndarray | str]:
    try:
        data = picture_bytes(entry.path, entry.name)
    except InputError as error:
        return None, str(error)
    digest = np.frombuffer(hashlib.sha256(data).digest(), dtype=np.uint8)
    try:
        return digest, decode_bytes(data, entry.name, short=short)
    except InputError as error:
        return digest, str(error)


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
