"""The public layouts of classes: tables of planar and spatial maps, RCDB's keys and values, lists of arrays.

FractalDB and its descendants: https://github.com/hirokatsukataoka16/FractalDB-Pretrained-ResNet-PyTorch
RCDB: https://github.com/masora1030/CVPR2022-Pretrained-ViT-PyTorch
SegRCDB: https://github.com/dahlian00/SegRCDB
Systems as arrays: https://github.com/catalys1/fractal-pretraining
"""

import csv
import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import CorruptError, FirstlightError, InputError
from ..formulas import Params
from ..formulas._affine import with_chances
from ..runs import write_whole

PLANE, SPACE = 7, 13  # numbers in a row: a matrix, a shift and a probability

CONTOUR = {
    "Vertex": "vertices",
    "Perlin_noise": "noise",
    "line_width": "line_width",
    "Center_rad": "radius",
    "Line_num": "lines",
    "Oval_rate_x": "oval_x",
    "Oval_rate_y": "oval_y",
}
"""What RCDB and SegRCDB call the parameters of ``contour``, in the order of their rows."""

CENTRE = {"start_pos_h": "row", "start_pos_w": "column"}
"""What RCDB adds: the centre of a class's first picture, in pixels of 512."""

WHOLE = ("Vertex", "Center_rad", "Line_num")
COUNTED = ("Category_num", "Color_Gray")
"""What SegRCDB adds, as its first and last row: the class's number, from 1, and its grey value in masks, the same."""


def read_csv(path: str | Path) -> list[Params]:
    """Reads public classes: a folder of ``.csv`` files in the order of their names, or one file.

    What a file is, its first row says; all files of a folder are of one kind, and none has a header:

    * 7 numbers a row: a planar map a, b, c, d, e, f, p: x' = ax + by + e, y' = cx + dy + f, p the probability.
    * 13 numbers a row: a spatial map, its 3x3 matrix row by row, the shift, the probability.
    * a word and a number a row: a class of RCDB, or of SegRCDB, whose number is its place in the order.

    The values are those written, to the last bit.

    Raises:
        InputError: if there is no such path, or no file in it.
        CorruptError: naming the file and the row, if one is malformed.
    """
    path = Path(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv") if path.is_dir() else [path]
    if not files:
        raise InputError(f"there are no .csv files in {str(path)!r}")
    if not files[0].is_file():
        raise InputError(f"there is no file or folder {str(path)!r}")
    entries = []
    for file in files:
        entries.append(_read_table(file))
        if _kind(entries[-1]) != _kind(entries[0]):
            raise CorruptError(
                f"{str(file)!r} holds {_kind(entries[-1])}, and {files[0].name} {_kind(entries[0])}: "
                "a folder is of one kind"
            )
    return entries


def write_csv(path: str | Path, entries: Iterable[Params]) -> list[Path]:
    """Writes classes as public files into a folder, named and numbered as the public ones are.

    Nineteen digits for maps, as the public files have, so that reading them gives the same bits and writing a public
    file gives the same bytes. Contours without a centre are written as SegRCDB's, others as RCDB's.

    Raises:
        InputError: if there is no public table for such a class.
        DiskError: if a file cannot be written.
    """
    files = []
    for number, params in enumerate(entries):
        if "maps" in params:
            check_maps(params["maps"], f"category {number}", InputError)
            text = "".join(",".join(f"{value:.18e}" for value in row) + "\n" for row in params["maps"].tolist())
            name = f"{number:05d}.csv" if params["maps"].shape[1] == PLANE else f"{number:06d}.csv"
        else:
            text = _to_keys(params, number)
            name = f"{number:05d}.csv" if "row" in params else f"{number + 1:05d}.csv"
        files.append(Path(path) / name)
        write_whole(files[-1], text.encode())
    return files


def from_systems(systems: Sequence[np.ndarray]) -> list[Params]:
    """Classes from Anderson & Farrell's list of systems: arrays ``[N, 2, 3]`` of rows ((a, b, e), (c, d, f)).

    The probabilities, which they do not store, are proportional to the determinants, as in their code.

    Raises:
        InputError: naming the system that is not one.
    """
    entries = []
    for number, system in enumerate(systems):
        system = np.asarray(system)
        if system.ndim != 3 or system.shape[1:] != (2, 3) or system.dtype.kind not in "fiu":
            raise InputError(f"system {number}: expected numbers [N, 2, 3], found {system.dtype} {system.shape}")
        maps = np.ascontiguousarray(with_chances(system.astype(np.float64).reshape(-1, 6)[:, [0, 1, 3, 4, 2, 5]]))
        check_maps(maps, f"system {number}", InputError)
        entries.append({"maps": maps})
    if not entries:
        raise InputError("expected at least one system of maps, found none")
    return entries


def to_systems(entries: Sequence[Params]) -> list[np.ndarray]:
    """Planar classes as Anderson & Farrell's list of systems, float64 ``[N, 2, 3]``; their probabilities are lost.

    Raises:
        InputError: if a class is not a planar system, or its probabilities are not those that reading would give it.
    """
    systems = []
    for number, params in enumerate(entries):
        maps = params.get("maps")
        if maps is None or maps.ndim != 2 or maps.shape[1] != PLANE:
            raise InputError(f"category {number} is no planar system of maps: only those can be lists of systems")
        if np.abs(with_chances(maps[:, :6])[:, 6] - maps[:, 6]).max() > 1e-9:
            raise InputError(
                f"category {number}: its probabilities do not follow from its maps, and a list of systems has none"
            )
        systems.append(maps[:, [0, 1, 4, 2, 3, 5]].reshape(-1, 2, 3))
    return systems


def read_npz(path: Path) -> list[Params]:
    """Reads a list of systems: one array ``[N, 2, 3]`` for each, in the order stored, or one ``[categories, N, 2, 3]``.

    Raises:
        CorruptError: if it is damaged, or holds something else.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = [stored[name] for name in stored.files]
        return from_systems(list(arrays[0]) if len(arrays) == 1 and arrays[0].ndim == 4 else arrays)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, FirstlightError) as error:
        raise CorruptError(f"{str(path)!r} is not a list of systems: {error}") from None


def write_npz(path: Path, entries: Sequence[Params]) -> Path:
    """Writes planar classes as a list of systems.

    Raises:
        InputError: as :func:`to_systems`.
        DiskError: if the file cannot be written.
    """
    content = io.BytesIO()
    np.savez(content, *to_systems(entries))
    write_whole(path, content.getvalue())
    return path


def check_maps(maps: np.ndarray, where: str, error: type[FirstlightError] = CorruptError) -> None:
    """Refuses what the chaos game could not be played with."""
    if maps.ndim != 2 or maps.shape[1] not in (PLANE, SPACE) or not 1 <= len(maps) <= 8:
        raise error(f"{where}: expected 1 to 8 rows of 7 or 13 numbers, found shape {tuple(maps.shape)}")
    if not np.isfinite(maps).all() or np.abs(maps).max() > 1e6:
        raise error(f"{where}: a number is not finite, or beyond a million")
    if (maps[:, -1] < 0).any() or not math.isclose(float(maps[:, -1].sum()), 1.0, abs_tol=1e-6):
        raise error(f"{where}: the probabilities must be positive and sum to 1")


def _read_table(file: Path) -> Params:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptError(f"{str(file)!r} cannot be read: {error}") from None
    rows = [(number, line.split(",")) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if rows and rows[0][1][0].strip() in (*CONTOUR, *CENTRE, *COUNTED):
        return _from_keys(rows, file)
    wanted = SPACE if rows and len(rows[0][1]) == SPACE else PLANE
    maps = []
    for number, cells in rows:
        try:
            maps.append([float(cell) for cell in cells])
        except ValueError as error:
            raise CorruptError(f"{str(file)!r}, row {number}: {error}") from None
        if len(cells) != wanted:
            raise CorruptError(f"{str(file)!r}, row {number}: expected {wanted} numbers, found {len(cells)}")
    system = np.array(maps, dtype=np.float64).reshape(-1, wanted)
    check_maps(system, repr(str(file)))
    return {"maps": system}


def _kind(params: Params) -> str:
    if "maps" not in params:
        return "keys and values"
    return "planar maps" if params["maps"].shape[1] == PLANE else "spatial maps"


def _from_keys(rows: list[tuple[int, list[str]]], file: Path) -> Params:
    known, found = CONTOUR | CENTRE, {}
    for number, cells in rows:
        key, where = cells[0].strip(), f"{str(file)!r}, row {number}"
        if len(cells) != 2 or key not in (*known, *COUNTED) or key in found:
            allowed = ", ".join([*known, *COUNTED])
            raise CorruptError(f"{where}: expected a number for one of {allowed}, each once, found {','.join(cells)!r}")
        try:
            found[key] = float(cells[1])
        except ValueError as error:
            raise CorruptError(f"{where}: {error}") from None
        if not abs(found[key]) <= 1e6 or (key in WHOLE and found[key] != int(found[key])):
            kind = "a whole number" if key in WHOLE else "a finite number"
            raise CorruptError(f"{where}: {key} must be {kind} within a million, found {cells[1].strip()}")
    missing = [key for key in CONTOUR if key not in found]
    if missing:
        raise CorruptError(f"{str(file)!r}: {', '.join(missing)} missing")
    return {
        name: np.array(int(found[key]) if key in WHOLE else found[key]) for key, name in known.items() if key in found
    }


def _to_keys(params: Params, number: int) -> str:
    known = CONTOUR | CENTRE
    if not set(CONTOUR.values()) <= set(params) <= set(known.values()):
        raise InputError(f"category {number} is neither a system of maps nor a contour: only those have a public table")
    rows = [[key, params[name].item()] for key, name in known.items() if name in params]
    if "row" not in params:
        rows = [[COUNTED[0], number + 1], *rows, [COUNTED[1], number + 1]]
    written = io.StringIO()
    csv.writer(written).writerows(rows)  # with its \r\n, as the public files have
    return written.getvalue()
