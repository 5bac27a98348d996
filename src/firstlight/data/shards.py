"""A formula's pictures as files: cut into shards, each of which is drawn, recorded and checked alone.

A shard is a tar archive, or a share of the pictures in class folders. Which pictures it holds and what their bytes are
depends on nothing but the set, so shards can be drawn anywhere, in any order, by any number of processes that share a
folder; what was cut short is drawn again, and the end is the same.

A shard is written under a hidden name, flushed, renamed, and only then recorded with its size and sha256. Whoever
finds all of them on record writes ``manifest.json``, and the single records go.
"""

import hashlib
import json
import os
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import CorruptError, DiskError, InputError
from ..events import Events, Note
from ..formulas import Formula, Params
from ..spec import Spec
from . import _disk, _tar, codebook, order
from .formula import FormulaPictures

__all__ = ["MANIFEST", "FileSet", "complete", "draw", "finished", "intact", "open_pictures"]

Record = dict[str, Any]
_Samples = Generator[tuple[int, dict[str, bytes]], None, None]
MANIFEST = "manifest.json"
CATEGORIES = "categories.safetensors"
SCHEMA = 1


@dataclass(frozen=True)
class FileSet:
    """Which pictures a folder is to hold, and how they are cut into shards.

    Attributes:
        formula: the family and its settings.
        categories: how many classes.
        instances: pictures of each.
        size: the side in pixels.
        seed: another seed is another data set.
        format: ``"tar"``, archives for the ``webdataset`` library; or ``"folders"``, one for each class.
        order: ``"classes"``, one after the other; or ``"shuffled"`` by a permutation that the seed decides.
        shard_size: pictures in a shard; the last may have fewer.
    """

    formula: Formula
    categories: int
    instances: int
    size: int
    seed: int = 0
    format: Literal["folders", "tar"] = "folders"
    order: Literal["classes", "shuffled"] = "classes"
    shard_size: int = 1000

    @property
    def pictures(self) -> int:
        return self.categories * self.instances

    @property
    def shards(self) -> int:
        return -(-self.pictures // self.shard_size)

    def count(self, shard: int) -> int:
        """How many pictures a shard holds."""
        return min(self.shard_size, self.pictures - shard * self.shard_size)

    def numbers(self, shard: int) -> np.ndarray:
        """The pictures of a shard, in its order, int64 ``[count]``; picture n is n % instances of n // instances."""
        start, count = shard * self.shard_size, self.count(shard)
        if self.order == "classes":
            return np.arange(start, start + count)
        return order.samples(self.pictures, start, count, self.seed)[1]

    def key(self, number: int) -> str:
        """A picture's name: ``00012_0003`` is picture 3 of class 12."""
        category, instance = divmod(int(number), self.instances)
        return f"{category:05d}_{instance:04d}"

    def file(self, number: int, ending: str, alone: bool) -> str:
        """Where a file of a picture stands in class folders.

        If it is not alone, because there are masks or boxes, pictures, masks and notes have a folder each, so that
        nobody takes a mask for a picture.
        """
        kinds = {"png": "images/", "npy": "arrays/", "json": "notes/"}
        above = "" if alone else kinds.get(ending, f"{ending.partition('.')[0]}s/")
        return f"{above}{number // self.instances:05d}/{self.key(number)}.{ending.rpartition('.')[2]}"

    def archive(self, shard: int) -> str:
        """The file name of a shard, as the public sets have it."""
        return f"SHARDS-{shard:06d}.tar"

    def formula_text(self) -> str:
        """The formula with all its settings, also those that were left at their defaults."""
        name = type(self.formula).__module__.rpartition(".")[2]
        return str(Spec(name, {field.name: getattr(self.formula, field.name) for field in fields(self.formula)}))


def open_pictures(made: FileSet, folder: Path, given: Path | None = None) -> Events[FormulaPictures]:
    """The set's pictures, with the classes that the folder keeps; they are found, or copied, once for all processes.

    Args:
        made: the set.
        folder: where it is written; it exists and holds ``recipe.json``.
        given: a codebook to take the classes from, in place of searching for them.

    Raises:
        InputError: if the folder keeps other classes than the codebook that is given.
        CorruptError: if the folder's classes are damaged, or not those that its manifest names.
    """
    kept, told = folder / CATEGORIES, False
    with _disk.one_at_a_time(folder / "recipe.json") as turn:
        while not kept.exists() and not turn():
            if not told:
                yield Note("another process is finding the categories; waiting for them")
            told = True
            time.sleep(0.2)
        if not kept.exists():
            pictures = _pictures(made, None if given is None else codebook.read(given))
            yield from pictures.prepare()
            _disk.replace(kept, codebook.packed([pictures.params(category) for category in range(made.categories)]))
    listed = _read_json(folder / MANIFEST).get("codebook")
    if isinstance(listed, dict) and listed.get("sha256") != _disk.digest(kept):
        raise CorruptError(
            f"{str(kept)!r} is not the one that {str(folder / MANIFEST)!r} names; without it, the same command finds "
            "its classes again"
        )
    entries = codebook.load(kept)
    if given is not None and not _same(entries, codebook.read(given)[: made.categories]):
        raise InputError(f"codebook: {str(given)!r} holds other classes than {str(kept)!r}; choose another --out")
    return _pictures(made, entries)


def draw(made: FileSet, shard: int, pictures: FormulaPictures, folder: Path) -> Generator[int, None, Record]:
    """Draws one shard into the folder and records it. Yields how many of its pictures are done.

    Returns:
        its record: number, name, pictures, bytes, sha256 (for folders: of all names, sizes and contents in order).

    Raises:
        DiskError: naming the path, if the disk refuses. Nothing half-written is left.
        CorruptError: if the set was complete, and the manifest says that this shard was another.
    """
    fresh = _disk.fresh(folder, f"{shard:06d}")
    write = _write_archive if made.format == "tar" else _write_folders
    try:
        record = {"shard": shard} | (yield from write(made, shard, pictures, fresh, folder))
        if (listed := _listed(made, folder)) and listed[shard] != record:
            raise CorruptError(
                f"shard {shard} is not the one that {str(folder / MANIFEST)!r} names: this version of firstlight draws "
                "these pictures differently from the one that wrote it"
            )
        _disk.replace(folder / _record_name(shard), json.dumps(record).encode())
        return record
    except OSError as error:
        reason = error.__cause__ if isinstance(error, DiskError) else error
        if isinstance(reason, FileNotFoundError) and (listed := _listed(made, folder)):
            return listed[shard]  # another process has drawn the same, completed the set, and tidied up
        if isinstance(error, DiskError):
            raise
        raise DiskError(f"cannot write shard {shard} to {error.filename or str(folder)!r}: {error.strerror}") from error
    finally:
        _disk.remove(fresh)


def finished(made: FileSet, folder: Path) -> dict[int, Record]:
    """What is on record, from the manifest or shard by shard. Records that cannot be read do not count."""
    if listed := _listed(made, folder):
        return dict(enumerate(listed))
    single = {shard: _read_json(folder / _record_name(shard)) for shard in range(made.shards)}
    if listed := _listed(made, folder):  # another process has completed the set while we were reading
        return dict(enumerate(listed))
    return {shard: record for shard, record in single.items() if record.get("shard") == shard}


def intact(made: FileSet, shard: int, record: Record, folder: Path) -> bool:
    """Whether a shard on record is there with the size and the bytes that it was recorded with."""
    try:
        if made.format == "tar":
            path = folder / made.archive(shard)
            if path.stat().st_size != record["bytes"]:
                return False
            return _disk.digest(path) == record["sha256"]
        whole, alone = hashlib.sha256(), len(record["endings"]) == 1
        for number in made.numbers(shard).tolist():
            for ending in record["endings"]:
                name = made.file(number, ending, alone)
                _absorb(whole, name, (folder / name).read_bytes())
        return whole.hexdigest() == record["sha256"]
    except (OSError, KeyError, TypeError):
        return False


def complete(made: FileSet, folder: Path) -> bool:
    """Writes the manifest if all shards are on record, and removes what it replaces. Two at once write the same."""
    found = finished(made, folder)
    if len(found) < made.shards:
        return False
    if not _listed(made, folder):
        whole = {
            "schema": SCHEMA,
            "formula": made.formula_text(),
            "kind": made.formula.kind,
            **{name: getattr(made, name) for name in ("categories", "instances", "size", "seed", "format", "order")},
            "pictures": made.pictures,
            "shard_size": made.shard_size,
            "codebook": {"name": CATEGORIES, "sha256": _disk.digest(folder / CATEGORIES)},
            "versions": {name: metadata.version(name) for name in ("firstlight", "numpy", "numba")},
            "shards": [found[shard] for shard in range(made.shards)],
        }
        _disk.replace(folder / MANIFEST, (json.dumps(whole, indent=1) + "\n").encode())
    for shard in range(made.shards):
        (folder / _record_name(shard)).unlink(missing_ok=True)
    _disk.tidy(folder)
    return True


def _write_archive(
    made: FileSet, shard: int, pictures: FormulaPictures, fresh: Path, folder: Path
) -> Generator[int, None, Record]:
    count = 0
    with open(fresh, "xb") as file, closing(_samples(made, shard, pictures)) as samples:
        archive = _tar.Archive(file)
        for number, parts in samples:
            for ending, content in parts.items():
                archive.add(f"{made.key(number)}.{ending}", content)
            count += 1
            yield count
        archive.end()
        file.flush()
        os.fsync(file.fileno())
    name = made.archive(shard)
    fresh.replace(folder / name)
    _disk.flush(folder)
    return {"name": name, "pictures": count, "bytes": archive.size, "sha256": archive.digest.hexdigest()}


def _write_folders(
    made: FileSet, shard: int, pictures: FormulaPictures, fresh: Path, folder: Path
) -> Generator[int, None, Record]:
    whole, size, count, endings = hashlib.sha256(), 0, 0, []
    moves: list[tuple[Path, Path]] = []
    fresh.mkdir()
    with closing(_samples(made, shard, pictures)) as samples:
        for number, parts in samples:
            del parts["cls"]  # the folder says it
            endings = list(parts)
            for ending, content in parts.items():
                name = made.file(number, ending, len(parts) == 1)
                moves.append((fresh / f"{made.key(number)}.{ending}", folder / name))
                moves[-1][0].write_bytes(content)
                _absorb(whole, name, content)
                size += len(content)
            count += 1
            yield count
    with ThreadPoolExecutor(16) as pool:  # a disk flushes many files at once in hardly more time than one
        list(pool.map(_disk.flush, [source for source, _ in moves]))
    for parent in sorted({target.parent for _, target in moves}):
        parent.mkdir(parents=True, exist_ok=True)
    for source, target in moves:
        source.replace(target)
    for parent in sorted({target.parent for _, target in moves}):
        _disk.flush(parent)
    return {"pictures": count, "bytes": size, "sha256": whole.hexdigest(), "endings": endings}


def _samples(made: FileSet, shard: int, pictures: FormulaPictures) -> _Samples:
    """Draws and packs the shard's pictures in its order, as many at once as there are threads."""

    def sample(number: int) -> tuple[int, dict[str, bytes]]:
        (member,) = pictures.annotated(np.array([number]))
        return number, _tar.files(member, number // made.instances)

    numbers = made.numbers(shard).tolist()
    if pictures.threads == 1:
        yield from map(sample, numbers)
        return
    ahead = max(2 * pictures.threads, min(256, (1 << 26) // made.size**2))  # bounds what waits in memory
    with ThreadPoolExecutor(pictures.threads) as pool:
        for start in range(0, len(numbers), ahead):
            yield from pool.map(sample, numbers[start : start + ahead])


def _pictures(made: FileSet, entries: list[Params] | None) -> FormulaPictures:
    return FormulaPictures(
        made.formula, categories=made.categories, instances=made.instances, size=made.size, seed=made.seed,
        codebook=entries,
    )  # fmt: skip


def _same(one: list[Params], other: list[Params]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) for a, b in zip(one, other)
    )


def _record_name(shard: int) -> str:
    return f".shard-{shard:06d}.json"


def _listed(made: FileSet, folder: Path) -> list[Record] | None:
    shards = _read_json(folder / MANIFEST).get("shards")
    return shards if isinstance(shards, list) and len(shards) == made.shards else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}


def _absorb(whole: Any, name: str, content: bytes) -> None:
    whole.update(f"{name} {len(content)}\n".encode() + content)
