"""Codebooks: the classes of a formula as one small file, and in the layouts of the public data sets.

Our own file is safetensors with two JSON notes in its header, and holds whatever arrays the classes are made of. The
public layouts are those of :mod:`._public`.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from ..errors import CorruptError, InputError
from ..formulas import Draw, Formula, Params, picture
from ..runs import write_whole
from ._public import check_maps, from_systems, read_csv, read_npz, to_systems, write_csv, write_npz

__all__ = [
    "check_fits", "from_systems", "load", "packed", "read", "read_csv", "save", "to_systems", "write", "write_csv",
]  # fmt: skip

_FORMAT = "firstlight-codebook-2"


def read(path: str | Path) -> list[Params]:
    """Reads classes in any layout, told from the content and not from the name.

    A folder or a text file holds a public table for each class; a file is ours, or a list of systems in ``.npz`` or
    safetensors.

    Raises:
        InputError: if there is nothing there, or it is a pickle, which could execute code.
        CorruptError: naming the file, and the row in a table, if something is malformed.
    """
    path = Path(path)
    if path.is_dir():
        return read_csv(path)
    if not path.is_file():
        raise InputError(f"there is no codebook {str(path)!r}: expected a file or a folder of .csv files")
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # after eight bytes of length, which may look like anything
        return load(path)
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise InputError(
            f"{str(path)!r} is a pickle, which could execute code and is never loaded; "
            "save its arrays with numpy.savez(path, *systems)"
        )
    if start[:4] == b"PK\x03\x04":
        return read_npz(path)
    return load(path) if path.suffix == ".safetensors" else read_csv(path)


def write(path: str | Path, entries: Sequence[Params], **origin: str) -> Path:
    """Writes classes as the name of ``path`` says: ``.safetensors`` is ours, ``.npz`` a list of planar systems, and
    anything else a folder of public tables.

    Raises:
        InputError: if there are no classes, or the layout cannot hold them.
        DiskError: if the disk refuses.
    """
    path = Path(path)
    if path.suffix in (".csv", ".pkl", ".pt", ".pth", ".json", ".npy", ".txt"):
        raise InputError(
            f"{str(path)!r}: codebooks are written as NAME.safetensors, NAME.npz, or a folder of tables, whose name "
            "has no ending"
        )
    if path.suffix == ".safetensors":
        return save(path, entries, **origin)
    if path.suffix == ".npz":
        return write_npz(path, entries)
    write_csv(path, entries)
    return path


def save(path: str | Path, entries: Sequence[Params], **origin: str) -> Path:
    """Writes classes as one file; see :func:`packed`.

    Args:
        path: the file.
        entries: the classes, in their order.
        origin: what else to note down, such as ``formula`` and ``seed``.

    Raises:
        InputError: if there are no entries.
        DiskError: if the file cannot be written.
    """
    write_whole(Path(path), packed(entries, **origin))
    return Path(path)


def packed(entries: Sequence[Params], **origin: str) -> bytes:
    """Classes as the content of a safetensors file, the same bytes each time.

    An array that has the same shape in all classes is one tensor ``NAME``, ``[categories, ...]``. One whose length
    differs is the tensor ``NAME`` of all its rows and ``NAME.rows``, int64 ``[categories]``, how many belong to each.
    What fits neither way is one tensor for each class, ``000007.NAME``.

    Raises:
        InputError: if there are no entries.
    """
    if not entries:
        raise InputError("a codebook needs at least one category")
    tensors = {}
    for name in sorted({name for params in entries for name in params}):
        tensors |= _packed(name, [np.asarray(params[name]) if name in params else None for params in entries])
    # One note of ours and not several of safetensors' own, whose order changes from one process to the next.
    about = {"format": _FORMAT, "categories": len(entries), "sha256": _digest(tensors)}
    note = json.dumps({**about, **origin}, sort_keys=True)
    return to_bytes(tensors, {"codebook": note})


def load(path: str | Path) -> list[Params]:
    """Reads what :func:`save` wrote, or a list of systems ``[N, 2, 3]`` in safetensors.

    Raises:
        InputError: if there is no such file.
        CorruptError: if it is not a codebook, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no codebook {str(path)!r}")
    try:
        tensors, note = load_file(path), _note(path)
        if note is None:
            return from_systems([tensors[name] for name in sorted(tensors, key=_numbered)])
        if not 0 < note["categories"] <= os.path.getsize(path):
            raise ValueError(f"it says that it holds {note['categories']} categories")
        if note.get("sha256", _digest(tensors)) != _digest(tensors):
            raise ValueError("its arrays are not those that were written")
        entries = _unpacked(tensors, note["categories"])
    except (SafetensorError, InputError, KeyError, TypeError, ValueError, IndexError, struct.error, OSError) as error:
        raise CorruptError(f"{str(path)!r} is not a codebook: {error}") from None
    for number, params in enumerate(entries):
        if not params:
            raise CorruptError(f"{str(path)!r}: category {number} is missing")
        if "maps" in params:
            check_maps(params["maps"], f"{str(path)!r}, category {number}")
    return entries


def check_fits(formula: Formula, entries: Sequence[Params], where: str = "the codebook") -> None:
    """Refuses classes that another family drew: they must have the arrays that a class of ``formula`` has.

    What a public table leaves out may be missing, if a member can be drawn without it.

    Raises:
        InputError: naming the class, what it holds and what is expected.
    """
    try:
        expected = formula.category(Draw(0, 0))
    except InputError:  # no class can be found with these settings, which is a reason to bring a codebook
        return
    for number, params in enumerate(entries):
        alike = all(
            params[name].ndim == value.ndim and params[name].shape[1:] == value.shape[1:]
            for name, value in expected.items()
            if name in params
        )
        if not alike or (not set(expected) <= set(params) and not _drawn(formula, params)):
            found, wanted = (
                ", ".join(f"{name} {tuple(array.shape)}" for name, array in one.items()) for one in (params, expected)
            )
            family = type(formula).__module__.rpartition(".")[2]
            raise InputError(
                f"{where} is not for {family!r}: its category {number} holds {found}; expected is like {wanted}"
            )


def _drawn(formula: Formula, params: Params) -> bool:
    try:
        picture(formula, 0, 0, size=16, params=params)
    except KeyError:
        return False
    return True


def _packed(name: str, values: list[np.ndarray | None]) -> dict[str, np.ndarray]:
    """One array of all classes as tensors, by the first of the three ways that fits."""
    known = [value for value in values if value is not None]
    kinds = {(value.dtype, value.shape[1:]) for value in known}
    if len(known) == len(values) and len(kinds) == 1:
        if len({value.shape for value in known}) == 1:
            return {name: np.array(np.stack(known), order="C")}  # safetensors writes the memory as it lies
        rows = np.array([len(value) for value in known], np.int64)
        return {name: np.array(np.concatenate(known), order="C"), f"{name}.rows": rows}
    digits = max(6, len(str(len(values) - 1)))
    return {
        f"{number:0{digits}d}.{name}": np.array(value, order="C")
        for number, value in enumerate(values)
        if value is not None
    }


def _unpacked(tensors: dict[str, np.ndarray], categories: int) -> list[Params]:
    entries: list[Params] = [{} for _ in range(categories)]
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        whole, _, last = key.rpartition(".")
        if number.isdigit() and name:
            entries[int(number)][name] = value
        elif last != "rows" or whole not in tensors:
            for params, part in zip(entries, _parts(value, tensors.get(f"{key}.rows"), categories)):
                params[key] = part
    return entries


def _parts(value: np.ndarray, rows: np.ndarray | None, categories: int) -> Iterator[np.ndarray]:
    if rows is None:
        if len(value) != categories:
            raise ValueError(f"found {len(value)} categories, expected {categories}")
        return map(np.asarray, value)  # a class's number is an array too
    if len(rows) != categories or (rows < 0).any() or rows.sum() != len(value):
        raise ValueError(f"{len(value)} rows are not those of {categories} categories")
    return iter(np.split(value, np.cumsum(rows)[:-1]))


def _digest(tensors: dict[str, np.ndarray]) -> str:
    """A hash of all names, types, shapes and values."""
    whole = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        whole.update(f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes())
    return whole.hexdigest()


def _note(path: Path) -> dict[str, Any] | None:
    """What the header of a safetensors file says of the codebook: eight bytes of length, then JSON. None: nothing."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > os.path.getsize(path):
            raise ValueError("the header is longer than the file")
        said = json.loads(file.read(length)).get("__metadata__") or {}
    if said.get("format") == "firstlight-codebook-1":  # before classes were packed; what it holds is the third way
        return {"categories": int(said["categories"])}
    if "codebook" not in said:
        return None
    note = json.loads(said["codebook"])
    if note.get("format") != _FORMAT:
        raise ValueError(f"its format is {note.get('format')!r}, written by a newer version")
    return note


def _numbered(name: str) -> tuple[int, str]:
    """Sorts ``arr_10`` after ``arr_9``."""
    digits = "".join(c for c in name if c.isdigit())
    return int(digits or 0), name
