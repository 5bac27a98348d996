"""Dividing pictures by what they show: identical pictures stay together, and every machine divides alike.

Each picture has a rank, a hash of a seed and its content. A picture's side or membership depends on no file name,
order or random state, and a smaller subset lies inside every larger one.
"""

import hashlib

import numpy as np

from ..errors import InputError
from . import Pictures, Subset
from .held import pixel_digest

__all__ = ["contradictions", "digests", "few", "held_out", "leaks"]


def few(pictures: Pictures, per_class: int, seed: int = 0) -> Subset:
    """Keeps ``per_class`` labelled pictures of every class; with the same seed, fewer are always among more.

    Copies of a picture come last, so that labels are not wasted on them. Unlabelled pictures are left out.

    Args:
        pictures: labelled pictures, each class with at least ``per_class``.
        per_class: at least 1.
        seed: another seed is another draw.

    Raises:
        InputError: naming the class that has too few.
    """
    if per_class < 1:
        raise InputError(f"labels per class must be at least 1, got {per_class}")
    counts = np.bincount(pictures.labels[pictures.labels >= 0], minlength=len(pictures.classes))
    if not len(counts) or counts.min() < per_class:
        raise InputError(_too_few(pictures.classes, counts, per_class))
    contents = [row.tobytes() for row in digests(pictures)]
    chosen = []
    for label in range(len(pictures.classes)):
        seen: dict[bytes, int] = {}
        places = []
        for number in np.flatnonzero(pictures.labels == label):
            content = contents[number]
            copy = seen[content] = seen.get(content, -1) + 1
            places.append((copy, _rank("few", seed, content), int(number)))
        chosen += [number for _, _, number in sorted(places)[:per_class]]
    return Subset(pictures, sorted(chosen))


def digests(pictures: Pictures) -> np.ndarray:
    """What identifies each picture, uint8 ``[N, 32]``: its file's sha256 where there is one, else its pixels'."""
    if isinstance(pictures, Subset):
        if isinstance(pictures.pictures, Subset) or hasattr(pictures.pictures, "digests"):
            return digests(pictures.pictures)[pictures.numbers]
    elif hasattr(pictures, "digests"):
        return pictures.digests
    rows = [pixel_digest(pixels) for number in range(len(pictures)) for pixels in pictures.read(np.array([number]))]
    return np.array(rows, dtype=np.uint8).reshape(-1, 32)


def held_out(contents: np.ndarray, labels: np.ndarray, *, fraction: float = 0.25, seed: int = 0) -> np.ndarray:
    """Chooses the test pictures: about ``fraction`` of each class, at least one where a class has two or more.

    A class always keeps a training picture. All copies of a picture are on one side, also across classes.

    Args:
        contents: uint8 ``[N, 32]``, see :func:`digests`.
        labels: int64 ``[N]``.
        fraction: between 0 and 1, both excluded.
        seed: another seed is another division.

    Returns:
        bool ``[N]``, true for test pictures.
    """
    if not 0 < fraction < 1:
        raise InputError(f"the test fraction must be between 0 and 1, got {fraction}")
    keys = [row.tobytes() for row in contents]
    train: set[bytes] = set()
    for label in np.unique(labels):
        copies: dict[bytes, int] = {}
        for number in np.flatnonzero(labels == label):
            copies[keys[number]] = copies.get(keys[number], 0) + 1
        ranked = sorted(copies, key=lambda content: (_rank("split", seed, content), content))
        wanted, taken, last = max(1, round(fraction * sum(copies.values()))), 0, ranked[-1]
        for content in ranked:
            if content == last or taken >= wanted:
                train.add(content)
            else:
                taken += copies[content]
    return np.array([key not in train for key in keys], dtype=bool)


def leaks(contents: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The training pictures that are also in the test set, bool ``[N]``.

    Args:
        contents: uint8 ``[N, 32]``, see :func:`digests`.
        test: bool ``[N]``, true for test pictures.
    """
    tested = {row.tobytes() for row in contents[test]}
    return ~test & np.array([row.tobytes() in tested for row in contents], dtype=bool)


def contradictions(contents: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Groups of numbers whose pictures are identical but whose labels are not; the unlabelled do not count."""
    groups: dict[bytes, list[int]] = {}
    for number in np.flatnonzero(labels >= 0):
        groups.setdefault(contents[number].tobytes(), []).append(int(number))
    return [np.array(group) for group in groups.values() if len(set(labels[group].tolist())) > 1]


def _rank(purpose: str, seed: int, content: bytes) -> bytes:
    return hashlib.sha256(f"{purpose} {seed} ".encode() + content).digest()


def _too_few(classes: tuple[str, ...], counts: np.ndarray, per_class: int) -> str:
    if not len(counts):
        return f"{per_class} labels per class were asked for, but no picture has a label"
    short = int(counts.argmin())
    return (
        f"{per_class} labels per class were asked for, but class {classes[short]!r} has only {counts[short]} "
        f"training pictures; at most {counts.min()} per class would work"
    )
