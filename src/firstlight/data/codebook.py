"""Codebooks: the classes of a formula as one small file, and as the files of the public FractalDB."""

import json
import math
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from ..errors import CorruptError, InputError
from ..formulas import Params
from ..runs import write_whole

_FORMAT = "firstlight-codebook-1"


def save(path: str | Path, entries: Sequence[Params]) -> Path:
    """Writes classes as one safetensors file; entry 7's array ``maps`` is the tensor ``000007.maps``.

    Raises:
        InputError: if there are no entries.
        DiskError: if the file cannot be written.
    """
    if not entries:
        raise InputError("a codebook needs at least one category")
    digits = max(6, len(str(len(entries) - 1)))
    tensors = {
        f"{number:0{digits}d}.{name}": np.ascontiguousarray(value)
        for number, params in enumerate(entries)
        for name, value in params.items()
    }
    write_whole(Path(path), to_bytes(tensors, {"format": _FORMAT, "categories": str(len(entries))}))
    return Path(path)


def load(path: str | Path) -> list[Params]:
    """Reads what :func:`save` wrote.

    Raises:
        InputError: if there is no such file.
        CorruptError: if it is not a codebook, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no codebook {str(path)!r}")
    try:
        tensors, note = load_file(path), _note(path)
        entries: list[Params] = [{} for _ in range(int(note["categories"]))]
        if note["format"] != _FORMAT:
            raise KeyError(note["format"])
        for key, value in tensors.items():
            number, _, name = key.partition(".")
            entries[int(number)][name] = value
    except (SafetensorError, KeyError, ValueError, IndexError, struct.error, OSError) as error:
        raise CorruptError(f"{str(path)!r} is not a codebook: {error}") from None
    for number, params in enumerate(entries):
        if not params:
            raise CorruptError(f"{str(path)!r}: category {number} is missing")
        if "maps" in params:
            _check(params["maps"], f"{str(path)!r}, category {number}")
    return entries


def read_csv(path: str | Path) -> list[Params]:
    """Reads public FractalDB categories: a folder of ``.csv`` files in the order of their names, or one file.

    A file has no header and one row a, b, c, d, e, f, p per map: x' = ax + by + e, y' = cx + dy + f, p the
    probability. The values are those written, to the last bit.

    Raises:
        InputError: if there is no such path, or no file in it.
        CorruptError: naming the file and the row, if one is malformed.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv")
        if not files:
            raise InputError(f"there are no .csv files in {str(path)!r}")
        return [{"maps": _read_system(file)} for file in files]
    if not path.is_file():
        raise InputError(f"there is no file or folder {str(path)!r}")
    return [{"maps": _read_system(path)}]


def write_csv(path: str | Path, entries: Iterable[Params]) -> list[Path]:
    """Writes fractal categories as public FractalDB files ``00000.csv``, ``00001.csv``, ... into a folder.

    Nineteen digits, as the public files have, so that reading them gives the same bits and writing a public file
    gives the same bytes.

    Raises:
        InputError: if an entry is not a fractal's.
        DiskError: if a file cannot be written.
    """
    files = []
    for number, params in enumerate(entries):
        if "maps" not in params:
            raise InputError(f"category {number} has no maps: only fractals have this file format")
        _check(params["maps"], f"category {number}", InputError)
        text = "".join(",".join(f"{value:.18e}" for value in row) + "\n" for row in params["maps"].tolist())
        files.append(Path(path) / f"{number:05d}.csv")
        write_whole(files[-1], text.encode())
    return files


def _read_system(file: Path) -> np.ndarray:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptError(f"{str(file)!r} cannot be read: {error}") from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append([float(value) for value in line.split(",")])
            except ValueError as error:
                raise CorruptError(f"{str(file)!r}, row {number}: {error}") from None
            if len(rows[-1]) != 7:
                raise CorruptError(f"{str(file)!r}, row {number}: expected 7 numbers, found {len(rows[-1])}")
    system = np.array(rows, dtype=np.float64).reshape(-1, 7)
    _check(system, repr(str(file)))
    return system


def _check(system: np.ndarray, where: str, error: type[Exception] = CorruptError) -> None:
    """Refuses what the chaos game could not be played with."""
    if system.ndim != 2 or system.shape[1] != 7 or not 1 <= len(system) <= 8:
        raise error(f"{where}: expected 1 to 8 rows of 7 numbers, found shape {tuple(system.shape)}")
    if not np.isfinite(system).all() or np.abs(system).max() > 1e6:
        raise error(f"{where}: a number is not finite, or beyond a million")
    if (system[:, 6] < 0).any() or not math.isclose(float(system[:, 6].sum()), 1.0, abs_tol=1e-6):
        raise error(f"{where}: the probabilities must be positive and sum to 1")


def _note(path: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file: eight bytes of length, then JSON."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > os.path.getsize(path):
            raise ValueError("the header is longer than the file")
        return json.loads(file.read(length)).get("__metadata__") or {}
