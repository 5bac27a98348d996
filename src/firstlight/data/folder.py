"""Finding the picture files of a folder: every one once, in an order that depends on names only."""

import os
import stat
import time
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import InputError
from ..events import Events, Progress
from .decode import shown

__all__ = ["SIDES", "Entry", "Found", "arrange", "order", "side_of", "some", "walk"]

SUFFIXES = frozenset(
    f".{name}"
    for names in ("jpg jpeg jpe jfif mpo png apng gif bmp dib webp tif tiff", "ppm pgm pbm pnm pfm jp2 j2k avif")
    for name in names.split()
)
SIDES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""What people call the sides of a data set."""
JUNK = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"))
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51")


@dataclass(frozen=True)
class Entry:
    """A picture file before it is opened.

    Attributes:
        path: what to open.
        name: what to call it: its path below the root with ``/``, printable.
        label: its class, or None where it has none.
        side: ``"train"``, ``"test"``, ``"val"``, or None where nobody said.
    """

    path: str
    name: str
    label: str | None = None
    side: str | None = None


@dataclass
class Found:
    """What a walk saw, all paths below the root with ``/``, in the order of :func:`order`.

    Attributes:
        files: candidates: files with a picture's suffix or a picture's first bytes.
        folders: every folder that is not junk.
        others: files that are no pictures, counted by suffix.
        junk: hidden and system files, empty files, and things that are no files, counted by reason.
        outside: links to files and folders that lie outside the root; they are followed.
        refused: links that are not followed (dangling, or to a folder that holds the root), and unreadable folders.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    junk: Counter[str] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def order(name: str) -> tuple[str, str]:
    """The sorting key of names: composed accents first, so that all file systems agree."""
    return unicodedata.normalize("NFC", name), name


def walk(root: Path) -> Events[Found]:
    """Lists a folder and all below it.

    Real folders come before links to folders, and each folder is entered once, so loops end and a link to a folder
    of the same root adds nothing. Links out of the root are followed and listed in ``outside``. Only regular files
    are ever opened, and only those whose suffix does not say what they are.

    Raises:
        InputError: if the root cannot be listed.
    """
    root = root.resolve()
    found, seen = Found(), set()
    folders, links, last = [""], [], time.monotonic()
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        for name, kind in _list(root, here, seen, found):
            if kind == "link":
                links.append(name)
            elif kind == "folder":
                folders.append(name)
            else:
                _sort_in(root, name, found)
        links.sort(key=order)
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            yield Progress("find pictures", len(seen), len(seen) + len(folders) + len(links), "folders")
    for names in (found.files, found.folders, found.outside, found.refused):
        names.sort(key=order)
    return found


def side_of(name: str) -> str | None:
    """``"train"``, ``"test"``, ``"val"``, or None for a name that is none of them."""
    return SIDES.get(name.strip().lower())


def arrange(root: Path, found: Found) -> tuple[list[Entry], list[str]]:
    """Reads labels and sides off the folders: ``train/CLASS/...`` and ``test/CLASS/...``, or ``CLASS/...``.

    Returns:
        the pictures, and remarks on folders that hold none or are left out. Pictures outside class folders have no
        label.
    """
    tops = [name for name in found.folders if "/" not in name]
    sided = any(side_of(name) == "train" for name in tops)
    depth = 1 if sided else 0
    entries, strays = [], Counter[str]()
    for name in found.files:
        parts = name.split("/")
        side = side_of(parts[0]) if sided and len(parts) > 1 else None
        if sided and side is None:
            strays[parts[0] + "/" if len(parts) > 1 else "the folder itself"] += 1
            continue
        label = shown(parts[depth]) if len(parts) > depth + 1 else None
        entries.append(Entry(str(root / name), shown(name), label, side))

    remarks = [f"left out because there is a train folder: {shown(place)} ({count})" for place, count in strays.items()]
    holders = {"/".join(name.split("/")[: depth + 1]) for name in found.files}
    empty = [name for name in found.folders if name.count("/") == depth and name not in holders]
    empty = [shown(name) for name in empty if not sided or side_of(name.split("/")[0])]
    if empty:
        remarks.append(f"no pictures in {some(empty)}; left out")
    return entries, remarks


def some(names: list[str], most: int = 5) -> str:
    """The first few of many names, for a message."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _list(root: Path, here: str, seen: set[tuple[int, int]], found: Found) -> list[tuple[str, str]]:
    """The names in a folder and whether each is a file, a folder or a link to a folder; nothing when seen before."""
    place = root / here
    try:
        status = place.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return []
        seen.add(identity)
        with os.scandir(place) as items:
            entries = list(items)
    except OSError as error:
        if not here:
            raise InputError(f"cannot list {shown(root)}: {error.strerror}") from None
        found.refused.append(here)
        return []
    if here:
        found.folders.append(here)

    kinds = []
    for entry in entries:
        name = str(PurePosixPath(here, entry.name))
        if entry.name.startswith(".") or entry.name.lower() in JUNK:
            found.junk["hidden or system"] += 1
        elif not _is_folder(entry):
            kinds.append((name, "file"))
        elif not entry.is_symlink():
            kinds.append((name, "folder"))
        elif root.is_relative_to(Path(entry.path).resolve()):
            found.refused.append(name)
        else:
            if not Path(entry.path).resolve().is_relative_to(root):
                found.outside.append(name)
            kinds.append((name, "link"))
    return kinds


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _sort_in(root: Path, name: str, found: Found) -> None:
    path = root / name
    try:
        status = path.stat()
    except OSError:
        found.refused.append(name)
        return
    if not stat.S_ISREG(status.st_mode):
        found.junk["not a file"] += 1
    elif status.st_size == 0:
        found.junk["empty"] += 1
    elif path.suffix.lower() in SUFFIXES or _looks_like_a_picture(path):
        found.files.append(name)
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            found.outside.append(name)
    else:
        found.others[path.suffix.lower() or "no suffix"] += 1


def _looks_like_a_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return False
    webp, avif = start[:4] == b"RIFF" and start[8:12] == b"WEBP", start[4:12] == b"ftypavif"
    netpbm = start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace()
    bitmap = start[:2] != b"BM" or start[6:10] == b"\0\0\0\0"  # two letters alone begin many a text
    return bitmap and (start.startswith(_MAGIC) or webp or avif or netpbm)
