"""Pictures with maps beside them: how far away each pixel is, and of which class it is.

Understood are ``DATA/rgb/NAME.jpg`` with ``DATA/depth/NAME.png``, ``DATA/classes/NAME.png`` or both, folders within
them included, and the same inside ``DATA/train``. A map bears its picture's name but for the suffix. Depth is a file of
one channel, of 8 or 16 bits or floats, in any unit, 0 where nothing was measured. Classes are whole numbers from 0 to
254, 255 where unknown; of a file with a palette, the places in it count. A picture may lack any map.
"""

import hashlib
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import InputError
from ..events import Events, Note, Progress, Warned
from . import Pictures
from .decode import decode_values, picture_bytes, shown
from .folder import some, walk
from .held import available_memory, threads_here

__all__ = ["FOLDERS", "UNKNOWN", "MappedPictures", "place_of", "read_map", "with_maps"]

FOLDERS = {"depth": ("depth", "depth_mm"), "classes": ("classes", "labels", "label")}
"""what the folder of each kind may be called"""
UNKNOWN = 255
"""the class of pixels of which nobody said what they show"""
FEW_BROKEN = 3
"""so many unusable maps are left out even of a small set; of a large one, a hundredth"""


class MappedPictures(Pictures):
    """Pictures and their maps, which are in memory, or read each time they are asked for.

    Attributes:
        pictures: the pictures alone.
        files: for each kind, N files, None where a picture has none.
        shapes: height and width of each picture.
        held: the maps in memory by kind and number, or None.
    """

    def __init__(self, pictures: Pictures, files: dict[str, list[str | None]]):
        self.pictures, self.files = pictures, files
        self.classes, self.labels, self.maps = pictures.classes, pictures.labels, tuple(files)
        self.shapes = np.zeros((len(pictures), 2), dtype=np.int64)
        self.held: dict[tuple[str, int], np.ndarray] | None = {}
        self._digest = hashlib.sha256()

    def read(self, numbers: np.ndarray) -> list[np.ndarray]:
        return self.pictures.read(numbers)

    def read_maps(self, kind: str, numbers: np.ndarray) -> list[np.ndarray | None]:
        return [self._map(kind, int(number)) for number in np.asarray(numbers).reshape(-1)]

    def name(self, number: int) -> str:
        return self.pictures.name(number)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.pictures.fingerprint().encode() + self._digest.digest()).hexdigest()[:16]

    def load(self, *, budget: int, threads: int) -> Events[list[str]]:
        """Reads every map once, keeps them if they fit into so many bytes, and says what is wrong with which."""
        broken, used = [], 0
        with ThreadPoolExecutor(threads, "maps") as pool:
            for start in range(0, len(self), 64):
                numbers = range(start, min(start + 64, len(self)))
                for kind, number, digest, values in itertools.chain.from_iterable(pool.map(self._first, numbers)):
                    self._digest.update(f"{kind} {number} ".encode() + digest)
                    if isinstance(values, str):
                        broken.append(values)
                        self.files[kind][number] = None
                        continue
                    if kind == "classes":
                        most = int(values.max(initial=0, where=values != UNKNOWN))
                        self.map_classes = max(self.map_classes, most + 1)
                    used += values.nbytes
                    if used > budget:
                        self.held = None
                    if self.held is not None:
                        self.held[kind, number] = values
                yield Progress("read maps", numbers.stop, len(self), "pictures")
        return broken

    def _first(self, number: int) -> list[tuple[str, int, bytes, np.ndarray | str]]:
        """A picture's maps, each with its kind, number and sha256, and instead of its values what is wrong with it."""
        self.shapes[number] = self.read(np.array([number]))[0].shape[:2]
        found = []
        for kind, paths in self.files.items():
            if (path := paths[number]) is not None:
                try:
                    digest, values = hashlib.sha256(picture_bytes(path, shown(path))).digest(), self._read(kind, number)
                except InputError as error:
                    digest, values = b"", str(error)
                found.append((kind, number, digest, values))
        return found

    def _map(self, kind: str, number: int) -> np.ndarray | None:
        if self.files[kind][number] is None:
            return None
        return self._read(kind, number) if self.held is None else self.held[kind, number]

    def _read(self, kind: str, number: int) -> np.ndarray:
        path = str(self.files[kind][number])
        high, wide = self.shapes[number].tolist()
        return read_map(kind, picture_bytes(path, shown(path)), shown(path), (high, wide))


def place_of(path: str | Path) -> Path | None:
    """The folder that holds ``rgb`` and maps beside it, or None where there are no maps.

    Raises:
        InputError: if there are maps without ``rgb``, or ``rgb`` has folders beside it of other names than maps have.
    """
    root = Path(os.path.expanduser(path))
    for place in (root / "train", root):
        there = [name for names in FOLDERS.values() for name in names if (place / name).is_dir()]
        if there and (place / "rgb").is_dir():
            return place
        if FOLDERS.keys() & set(there):
            raise InputError(f"{shown(place)} has a folder {there[0]} but none named rgb, for the pictures themselves")
        if (place / "rgb").is_dir():
            others = sorted(shown(str(each.name)) for each in place.iterdir() if each.is_dir() and each.name != "rgb")
            known = "; ".join(f"{kind} in {' or '.join(names)}" for kind, names in FOLDERS.items())
            if others:
                raise InputError(
                    f"{shown(place)} has no maps beside rgb, but {some(others, 3)}; expected are {known}. "
                    f"Rename the folder, or give {shown(place / 'rgb')} for the pictures alone"
                )
    return None


def with_maps(
    pictures: Pictures, place: Path, *, budget: int | None = None, threads: int | None = None
) -> Events[MappedPictures]:
    """Finds, reads and checks the maps of pictures.

    Pictures without a map, maps without a picture and maps that cannot be used are named.

    Args:
        pictures: those of ``place/rgb``.
        place: see :func:`place_of`.
        budget: bytes that the maps may take in memory, by default a quarter of what is available; what does not fit is
            read from its files each time.
        threads: how many to read with, by default one for each core.

    Raises:
        InputError: if no map of a kind belongs to a picture, or too many are unreadable, no such maps, or of another
            shape than their pictures.
    """
    files = {}
    for kind, names in FOLDERS.items():
        folder = next((place / name for name in names if (place / name).is_dir()), None)
        if folder is not None:
            files[kind] = yield from _partners(pictures, folder, kind)
    budget = available_memory() // 4 if budget is None else budget
    maps = MappedPictures(pictures, files)
    broken = yield from maps.load(budget=budget, threads=threads or threads_here())
    if len(broken) > max(FEW_BROKEN, 0.01 * len(pictures)):
        raise InputError(f"too many unusable maps ({len(broken)}): {some(broken, 10)}")
    if broken:
        yield Warned(f"left out as unusable ({len(broken)} maps): {some(broken)}")
    for kind, paths in maps.files.items():
        tell = f", {maps.map_classes} of them" if kind == "classes" else ""
        yield Note(f"maps of {kind}{tell}: {sum(path is not None for path in paths):,} of {len(paths):,} pictures")
    if maps.held is None:
        yield Note(f"the maps exceed {budget / 2**30:.1f} GiB: each is read whenever it is needed")
    return maps


def read_map(kind: str, data: bytes, name: str, shape: tuple[int, int]) -> np.ndarray:
    """A map's numbers, each pixel of its picture taking the nearest of the map.

    Args:
        kind: "depth" or "classes".
        data: the file's contents.
        name: what messages call it.
        shape: the picture's height and width.

    Returns:
        uint8 (classes), or unsigned integers or float32 (depth), ``[H, W]``.

    Raises:
        InputError: if it is unreadable, of another shape, or no such map.
    """
    values = decode_values(data, name)
    if kind == "classes":
        if values.dtype.kind not in "uib" or values.min() < 0 or values.max() > UNKNOWN:
            raise InputError(
                f"{name}: classes are whole numbers from 0 to {UNKNOWN}, got {values.min()}..{values.max()}"
            )
        values = values.astype(np.uint8)
    elif values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        values = values.astype(np.uint16)
    else:
        values = np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)

    (high, wide), (height, width) = values.shape, shape
    if abs(high * width / wide - height) > 1 + 0.01 * height:
        raise InputError(f"{name}: {wide} x {high} is another shape than its picture's, {width} x {height}")
    if (high, wide) == shape:
        return values
    rows, columns = ((np.arange(new) + 0.5) * (old / new) for new, old in ((height, high), (width, wide)))
    return values[rows.astype(np.int64)[:, None], columns.astype(np.int64)]


def _partners(pictures: Pictures, folder: Path, kind: str) -> Events[list[str | None]]:
    """Each picture's map, by the names."""
    places: dict[str, str] = {}
    for name in (yield from walk(folder)).files:
        stem = _stem(shown(name))
        if stem in places:
            raise InputError(f"{shown(folder)} has two maps for the picture {stem!r}; expected one")
        places[stem] = name
    stems = [_stem(pictures.name(number)) for number in range(len(pictures))]
    paths = [str(folder / places[stem]) if stem in places else None for stem in stems]
    if not any(paths):
        given = f"{stems[0]!r}; the maps are called {some(list(places), 3)}" if places else "nothing is there"
        raise InputError(f"no map in {shown(folder)} is named like a picture of rgb, such as {given}")
    bare = [stem for stem, path in zip(stems, paths) if path is None]
    if bare:
        yield Warned(f"pictures without a map of {kind} ({len(bare)} of {len(stems)}): {some(bare)}")
    spare = sorted(places.keys() - set(stems))
    if spare:
        yield Warned(f"maps of {kind} without a picture ({len(spare)} of {len(places)}): {some(spare)}")
    return paths


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
