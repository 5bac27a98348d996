"""Labelled pictures in a fixed order: drawn from formulas, read from folders and lists, or held in memory.

What leaves this layer is uint8 and numpy. Threads, never processes: numba and Pillow release the lock, and a thread
neither outlives its parent nor duplicates a random state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

__all__ = ["Pictures", "Split", "Subset"]


class Pictures:
    """N pictures in a fixed order, read by number.

    Attributes:
        classes: the names of the classes; empty when nothing is labelled.
        labels: int64 ``[N]``, a position in ``classes``, or -1 where a picture has no label.
        maps: the kinds of maps that there are beside the pictures: "depth", "classes".
        map_classes: how many classes the maps of classes tell apart.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    kind: ClassVar[str] = "pictures"
    maps: tuple[str, ...] = ()
    map_classes: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Decodes or draws the pictures ``numbers``: each uint8 ``[H, W]`` (grey) or ``[H, W, 3]`` (RGB).

        Raises:
            InputError: naming the file, if a picture cannot be read.
        """
        raise NotImplementedError

    def read_maps(self, kind: str, numbers: np.ndarray) -> list[np.ndarray | None]:
        """The pictures' maps of one kind, as high and wide as what ``read`` gives; None where a picture has none.

        Args:
            kind: "depth" (0 where it was not measured, in any unit) or "classes" (uint8, 255 where unknown).
            numbers: the pictures'.
        """
        return [None] * len(numbers)

    def name(self, number: int) -> str:
        """What to call a picture in a message or a caption: its path, or the formula's coordinates."""
        return f"{self.kind} {number}"

    def fingerprint(self) -> str:
        """A short hash that changes when the pictures, their order or their labels change."""
        raise NotImplementedError


class Subset(Pictures):
    """Some of another set's pictures, in the given order."""

    def __init__(self, pictures: Pictures, numbers: Sequence[int] | np.ndarray):
        self.pictures = pictures
        self.numbers = np.asarray(numbers, dtype=np.int64)
        self.classes = pictures.classes
        self.labels = pictures.labels[self.numbers]
        self.maps, self.map_classes = pictures.maps, pictures.map_classes

    def read(self, numbers: np.ndarray) -> list[np.ndarray]:
        return self.pictures.read(self.numbers[np.asarray(numbers)])

    def read_maps(self, kind: str, numbers: np.ndarray) -> list[np.ndarray | None]:
        return self.pictures.read_maps(kind, self.numbers[np.asarray(numbers)])

    def name(self, number: int) -> str:
        return self.pictures.name(int(self.numbers[number]))

    def fingerprint(self) -> str:
        import hashlib

        return hashlib.sha256(self.pictures.fingerprint().encode() + self.numbers.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Split:
    """Pictures to learn from and pictures to be judged on. They share the same classes and no picture."""

    train: Pictures
    test: Pictures
