"""Pictures that stay in their files and are decoded each time they are asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from . import Pictures
from .decode import decode_bytes, picture_bytes
from .folder import Entry
from .held import fingerprint, threads_here

__all__ = ["FilePictures"]


class FilePictures(Pictures):
    """Pictures read on demand by a few threads, for sets that memory cannot hold."""

    kind = "file"

    def __init__(
        self,
        entries: Sequence[Entry],
        labels: np.ndarray,
        classes: Sequence[str],
        digests: np.ndarray,
        *,
        short: int | None = None,
        threads: int | None = None,
    ):
        """Remembers the files without opening them.

        Args:
            entries: N files.
            labels: int64 ``[N]``, -1 where unlabelled.
            classes: the names of the classes.
            digests: uint8 ``[N, 32]``, sha256 of each file.
            short: the longest that a picture's short side may be, None for any.
            threads: how many to decode with, by default one for each core.
        """
        self.entries = list(entries)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)
        self.digests = digests
        self.short = short
        self.threads = threads or threads_here()

    def read(self, numbers: np.ndarray) -> list[np.ndarray]:
        entries = [self.entries[int(number)] for number in np.asarray(numbers).reshape(-1)]
        if len(entries) < 2 or self.threads == 1:
            return [self._decode(entry) for entry in entries]
        with ThreadPoolExecutor(min(self.threads, len(entries)), "decode") as pool:
            return list(pool.map(self._decode, entries))

    def name(self, number: int) -> str:
        return self.entries[number].name

    def fingerprint(self) -> str:
        return fingerprint(self.digests, self.labels, self.classes)

    def _decode(self, entry: Entry) -> np.ndarray:
        return decode_bytes(picture_bytes(entry.path, entry.name), entry.name, short=self.short)
