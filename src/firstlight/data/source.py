"""The one door to a user's pictures: a folder, a CSV list, or the word ``digits``.

Understood are ``PHOTOS/train/CLASS/*`` with ``PHOTOS/test/CLASS/*`` (``val`` stands in for a missing ``test``),
``PHOTOS/CLASS/*``, which is divided by content, and lists with the columns ``path,label[,split]``. Nothing is ever
written beside the pictures.
"""

import difflib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..events import Events, Note, Warned
from . import Pictures, Split, Subset
from .decode import short_side, shown
from .digits import digits, split_digits
from .files import FilePictures
from .folder import Entry, Found, arrange, order, side_of, some, walk
from .held import HeldPictures, available_memory, read_all
from .listing import read_list
from .split import contradictions, held_out, leaks

__all__ = ["LAYOUTS", "open_pictures", "open_split", "typical_side"]

LAYOUTS = (
    "understood are PHOTOS/CLASS/*.jpg, PHOTOS/train/CLASS/*.jpg with PHOTOS/test/CLASS/*.jpg, a CSV file with the "
    "columns path,label[,split], and the word digits"
)
FEW_BROKEN = 3
"""so many unreadable pictures are skipped even in a small set"""


@dataclass(frozen=True)
class _Limits:
    """How pictures are read: see :func:`open_split`."""

    short: int | None
    broken: float
    budget: int
    threads: int | None


def open_split(
    path: str | Path,
    *,
    size: int | None,
    seed: int = 0,
    test_fraction: float = 0.25,
    max_broken: float = 0.01,
    budget: int | None = None,
    threads: int | None = None,
) -> Events[Split]:
    """Opens labelled pictures to learn from and to be judged on.

    Where no test pictures are named, a part of each class is set aside by content. Pictures that are also in the test
    set are left out of the training set, never the other way round. Unreadable pictures are named and left out.

    Args:
        path: a folder, a CSV list, or ``digits``.
        size: the side at which pictures will be used; they are kept a quarter larger. None keeps them whole.
        seed: of the division by content.
        test_fraction: the part of each class that is set aside where no test pictures are named.
        max_broken: the largest fraction of unreadable pictures that is skipped; up to three are skipped in any case.
        budget: bytes that decoded pictures may take in memory, by default half of what is available. What does not
            fit is decoded from its files each time.
        threads: how many to decode with, by default one for each core.

    Raises:
        InputError: if nothing usable is there, classes do not match, or too many pictures are unreadable.
    """
    if not 0 < test_fraction < 1:
        raise InputError(f"the test fraction must be between 0 and 1, got {test_fraction}")
    if str(path) == "digits":
        yield from _on_the_word()
        return split_digits(fraction=test_fraction, seed=seed)
    entries = yield from _labelled((yield from _find(path)), path)
    named = _check_sides(entries, path)
    entries, pictures = yield from _read(entries, _limits(size, max_broken, budget, threads))
    names = [entry.name for entry in entries]
    yield from _contradictions(names, pictures)

    test = np.array([entry.side == "test" for entry in entries])
    if not named:
        test = held_out(pictures.digests, pictures.labels, fraction=test_fraction, seed=seed)
        yield Note(f"no test pictures are named: {test.sum()} are set aside by content, {test_fraction:.0%} of a class")
    leaked = leaks(pictures.digests, test)
    if leaked.any():
        same = [names[number] for number in np.flatnonzero(leaked)]
        yield Warned(f"left out of training because the test set holds them too ({len(same)}): {some(same)}")
    train = ~test & ~leaked
    yield from _check_classes(pictures, train, test)
    yield Note(f"{train.sum():,} training and {test.sum():,} test pictures of {len(pictures.classes)} classes")
    return Split(Subset(pictures, np.flatnonzero(train)), Subset(pictures, np.flatnonzero(test)))


def open_pictures(
    path: str | Path,
    *,
    size: int | None,
    max_broken: float = 0.01,
    budget: int | None = None,
    threads: int | None = None,
) -> Events[Pictures]:
    """Opens one set of pictures to learn from, labelled or not (-1); test pictures are left out where they are named.

    The arguments are those of :func:`open_split`.

    Raises:
        InputError: if there is no usable picture, or too many are unreadable.
    """
    if str(path) == "digits":
        yield from _on_the_word()
        return digits()
    entries = yield from _find(path)
    kept = [entry for entry in entries if entry.side != "test"]
    if len(kept) < len(entries):
        yield Note(f"left out as test pictures: {len(entries) - len(kept):,}")
    if not kept:
        raise InputError(f"{shown(path)} names test pictures only")
    _, pictures = yield from _read(kept, _limits(size, max_broken, budget, threads))
    yield Note(f"{len(pictures):,} pictures, {(pictures.labels >= 0).sum():,} of them labelled")
    return pictures


def typical_side(path: str | Path, *, most: int = 200) -> Events[int]:
    """The median short side in pixels, by the headers of at most ``most`` pictures spread over the set.

    Raises:
        InputError: if there are no pictures, or none of those looked at can be read.
    """
    if str(path) == "digits":
        return 8
    entries = yield from _find(path)
    sides = [side for entry in entries[:: max(1, len(entries) // most)] if (side := short_side(entry.path))]
    if not sides:
        raise InputError(f"none of the pictures of {shown(path)} that were looked at can be read")
    return int(np.median(sides))


def _limits(size: int | None, max_broken: float, budget: int | None, threads: int | None) -> _Limits:
    short = None if size is None else math.ceil(1.25 * size)
    return _Limits(short, max_broken, available_memory() // 2 if budget is None else budget, threads)


def _find(path: str | Path) -> Events[list[Entry]]:
    """The entries of a folder or list, with sides ``"train"``, ``"test"`` or None."""
    place = Path(os.path.expanduser(path))
    if not str(path).strip() or not os.path.exists(place):
        raise InputError(_missing(path, place))
    if place.is_dir():
        if (place / "recipe.json").is_file() and (place / "images").is_dir():
            yield Note(f"{shown(path)} is a rendered set with annotations; its pictures are those in images/")
            place = place / "images"
        found = yield from walk(place)
        yield from _remarks(found)
        entries, remarks = arrange(place, found)
        if not entries:
            others = some([f"{suffix} {count}" for suffix, count in found.others.most_common()])
            instead = f" (but files that are none: {others})" if others else ""
            raise InputError(f"{shown(path)} holds no pictures{instead}; {LAYOUTS}")
    elif place.is_file() and place.suffix.lower() in (".csv", ".tsv"):
        entries, remarks = read_list(place)
    else:
        raise InputError(f"{shown(path)} is a file, not a folder or a CSV list; {LAYOUTS}")
    yield from (Warned(remark) for remark in remarks)
    entries.sort(key=lambda entry: order(entry.name))

    sides = {entry.side for entry in entries}
    if "val" not in sides:
        return entries
    if "test" in sides:
        rest = [entry for entry in entries if entry.side != "val"]
        yield Note(f"left out because there are test pictures: validation pictures ({len(entries) - len(rest):,})")
        return rest
    yield Note("the validation pictures serve as test pictures: there are no others")
    return [replace(entry, side="test") if entry.side == "val" else entry for entry in entries]


def _labelled(entries: list[Entry], path: str | Path) -> Events[list[Entry]]:
    """The entries with a label; two classes at least."""
    kept = [entry for entry in entries if entry.label is not None]
    classes = sorted({entry.label for entry in kept if entry.label is not None}, key=order)
    if not kept:
        raise InputError(f"{shown(path)} holds pictures, but neither class folders nor labels; {LAYOUTS}")
    if len(kept) < len(entries):
        names = [entry.name for entry in entries if entry.label is None]
        yield Warned(f"left out for want of a label ({len(names)}): {some(names)}")
    if all(side_of(name) for name in classes):
        raise InputError(f"{shown(path)} has {some(classes)} but no train folder; {LAYOUTS}")
    if len(classes) == 1:
        inside = Path(os.path.expanduser(path)) / classes[0]
        deeper = sorted(shown(item.name) for item in inside.iterdir() if item.is_dir()) if inside.is_dir() else []
        hint = f"; did you mean {shown(inside)}, with {some(deeper)}?" if len(deeper) > 1 else ""
        raise InputError(f"{shown(path)} has only one class, {classes[0]!r}; telling apart needs two or more{hint}")
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(name.casefold(), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            yield Warned(f"classes that differ in upper and lower case only are kept apart: {some(group)}")
    return kept


def _check_sides(entries: list[Entry], path: str | Path) -> bool:
    """Whether test pictures are named. Refuses those without training pictures, of the whole set or of a class."""
    sides = {entry.side for entry in entries}
    if sides == {"test"} or (None in sides and sides & {"test"}):
        raise InputError(f"{shown(path)} names test pictures but no training pictures; {LAYOUTS}")
    train = {entry.label for entry in entries if entry.side != "test"}
    unknown = sorted({str(entry.label) for entry in entries if entry.side == "test"} - {str(name) for name in train})
    if unknown:
        close = difflib.get_close_matches(unknown[0], [str(name) for name in train], n=1)
        nearest = f"; is {unknown[0]!r} {close[0]!r}?" if close else ""
        raise InputError(f"test pictures of classes without training pictures: {some(unknown)}{nearest}")
    return "test" in sides


def _read(entries: list[Entry], limits: _Limits) -> Events[tuple[list[Entry], HeldPictures | FilePictures]]:
    """Reads all entries; returns those that are pictures, and the pictures."""
    reading = yield from read_all(entries, short=limits.short, budget=limits.budget, threads=limits.threads)
    reasons = list(reading.broken.values())
    if len(reasons) == len(entries):
        raise InputError(f"none of {len(entries)} pictures can be read: {some(reasons, 10)}")
    if len(reasons) > max(FEW_BROKEN, limits.broken * len(entries)):
        raise InputError(
            f"too many unreadable pictures ({len(reasons)} of {len(entries)}, allowed are {limits.broken:.0%}): "
            + some(reasons, 10)
        )
    if reasons:
        yield Warned(f"left out as unreadable ({len(reasons)} of {len(entries)} pictures): {some(reasons)}")

    good = [number for number in range(len(entries)) if number not in reading.broken]
    kept = [entries[number] for number in good]
    classes = sorted({entry.label for entry in kept if entry.label is not None}, key=order)
    classes = classes if len(classes) > 1 else []  # a single folder says where pictures are, not what they show
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places.get(entry.label or "", -1) for entry in kept], dtype=np.int64)
    contents = reading.digests[good]
    if reading.arrays is not None:
        arrays = [pixels for pixels in reading.arrays if pixels is not None]
        return kept, HeldPictures(arrays, labels, classes, [entry.name for entry in kept], contents)
    yield Note(f"decoded, the pictures exceed {limits.budget / 2**30:.1f} GiB: each is decoded whenever it is needed")
    return kept, FilePictures(kept, labels, classes, contents, short=limits.short, threads=limits.threads)


def _check_classes(pictures: Pictures, train: np.ndarray, test: np.ndarray) -> Events[None]:
    count = len(pictures.classes)
    if count < 2:
        raise InputError("pictures of only one class can be read; telling apart needs two or more")
    trained, tested = (np.bincount(pictures.labels[side], minlength=count) for side in (train, test))
    lost = [pictures.classes[number] for number in np.flatnonzero(trained == 0)]
    if lost:
        raise InputError(f"no training picture is left in {some(lost)}: all are unreadable or also test pictures")
    if not tested.any():
        raise InputError("no test picture is left; every class needs two different pictures or more")
    untested = [f"{pictures.classes[number]} ({trained[number]})" for number in np.flatnonzero(tested == 0)]
    if untested:
        yield Warned(f"no test pictures, only training pictures, in {some(untested)}")


def _contradictions(names: list[str], pictures: HeldPictures | FilePictures) -> Events[None]:
    groups = contradictions(pictures.digests, pictures.labels)
    if groups:
        listed = [" = ".join(names[number] for number in group) for group in groups]
        yield Warned(f"identical pictures in different classes, so a label is wrong ({len(groups)}): {some(listed)}")


def _remarks(found: Found) -> Events[None]:
    if found.others:
        yield Note("left out as no pictures: " + some([f"{suffix} {n}" for suffix, n in found.others.most_common()]))
    if found.junk:
        yield Note("left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(found.junk.items())))
    if found.outside:
        yield Warned(
            f"links that lead out of the folder ({len(found.outside)}): {some([shown(n) for n in found.outside])}"
        )
    if found.refused:
        names = [shown(name) for name in found.refused]
        yield Warned(f"left out as dangling, circular or unreadable ({len(names)}): {some(names)}")


def _on_the_word() -> Events[None]:
    if os.path.exists("digits"):
        yield Note("digits are scikit-learn's handwritten digits; the folder of that name would be ./digits")


def _missing(path: str | Path, place: Path) -> str:
    """What to say of a path that does not exist, with the nearest names that do."""
    here = place
    while here != here.parent and not os.path.isdir(here.parent):
        here = here.parent
    try:
        names = [item.name for item in here.parent.iterdir() if not item.name.startswith(".")]
    except OSError:
        names = []
    close = [str(here.parent / name) for name in difflib.get_close_matches(here.name, names, n=3)]
    close += difflib.get_close_matches(str(path), ["digits"], n=1)
    nearest = f"did you mean {' or '.join(shown(name) for name in close)}? " if close else ""
    return f"no folder or list {shown(path)!r}; {nearest}{LAYOUTS}"
