"""Lists of pictures as CSV files: columns ``path``, ``label`` and, where wanted, ``split``."""

import csv
import difflib
import io
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError, unknown
from .decode import shown
from .folder import SIDES, Entry, order, side_of

__all__ = ["read_list"]

LARGEST_LIST = 2**30


def read_list(path: Path) -> tuple[list[Entry], list[str]]:
    """Reads a list of pictures.

    UTF-8 with or without a byte order mark; separated by commas, semicolons or tabs; paths relative to the list. An
    empty label means unlabelled. Whole numbers written as ``3.0`` count as ``3`` when all labels are numbers. Whether
    the pictures exist is left to reading them.

    Returns:
        the entries, sorted by path, with sides ``"train"``, ``"test"``, ``"val"`` or None; and warnings.

    Raises:
        InputError: naming the line, if the list cannot be understood or says two things of one picture.
    """
    name = shown(path)
    lines = _lines(path, name)
    entries: dict[str, tuple[int, Entry]] = {}
    repeated = []
    as_text = _label_text([label for _, _, label, _ in lines])
    for number, text, label, split in lines:
        side = None
        if split is not None:
            side = side_of(split)
            if side is None:
                raise InputError(f"{name}, line {number}: {unknown('split', split, SIDES)}")
        target = _resolve(path.parent, text)
        entry = Entry(target, shown(text), shown(as_text(label)) or None, side)
        first, known = entries.setdefault(os.path.normpath(target), (number, entry))
        if first != number:
            if (known.label, known.side) != (entry.label, entry.side):
                raise InputError(f"{name}: lines {first} and {number} both list {entry.name!r}, but not alike")
            repeated.append(number)
    warnings = []
    if repeated:
        listed = ", ".join(str(number) for number in repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        warnings.append(f"{name} lists pictures more than once (again in lines {listed}); each is used once")
    return sorted((entry for _, entry in entries.values()), key=lambda entry: order(entry.name)), warnings


def _lines(path: Path, name: str) -> list[tuple[int, str, str, str | None]]:
    """Line number, path, label and split (None without that column) of every row."""
    text = _text(path, name)
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        columns = [column.strip().lower() for column in next(reader, [])]
        _check_columns(columns, name)
        lines = []
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if len(row) > len(columns):
                raise InputError(
                    f"{name}, line {reader.line_num}: {len(row)} fields under {len(columns)} columns; "
                    f'quote paths that hold {separator!r}, like "a{separator}b.jpg"'
                )
            row += [""] * (len(columns) - len(row))
            given = row[columns.index("path")]
            if not given.strip() or "\0" in given:
                raise InputError(f"{name}, line {reader.line_num}: no usable path ({given!r})")
            split = row[columns.index("split")] if "split" in columns else None
            lines.append((reader.line_num, given, row[columns.index("label")].strip(), split))
    except csv.Error as error:
        raise InputError(f"{name} is not a readable CSV file: {error}") from None
    if not lines:
        raise InputError(f"{name} lists no picture; expected lines like: photos/a.jpg,cat")
    return lines


def _text(path: Path, name: str) -> str:
    try:
        if path.stat().st_size > LARGEST_LIST:
            raise InputError(f"{name} is larger than {LARGEST_LIST:,} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from None
    except OSError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} cannot be read: {error.strerror}") from None


def _check_columns(columns: list[str], name: str) -> None:
    if not any(columns):
        raise InputError(f"{name} is empty; expected a first line 'path,label' or 'path,label,split'")
    for wanted in ("path", "label"):
        if wanted not in columns:
            close = difflib.get_close_matches(wanted, columns, n=1)
            nearest = f"; is it {close[0]!r}?" if close else ""
            raise InputError(f"{name} has no column {wanted!r}, only {', '.join(map(repr, columns))}{nearest}")
    repeated = [column for column in ("path", "label", "split") if columns.count(column) > 1]
    if repeated:
        raise InputError(f"{name} has more than one column {repeated[0]!r}")


def _label_text(labels: list[str]) -> Callable[[str], str]:
    """How to write labels: as they are, or without the ``.0`` that spreadsheets put behind whole numbers."""
    numbers = all(label.removesuffix(".0").lstrip("-").isdecimal() for label in labels if label)
    return (lambda label: label.removesuffix(".0")) if numbers else (lambda label: label)


def _resolve(folder: Path, text: str) -> str:
    """The file that a path means: as written, else with accents composed otherwise or with Windows' backslashes."""
    written = os.path.join(folder, text)
    options = [text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)]
    if os.sep == "/" and "\\" in text:
        options.append(text.replace("\\", "/"))
    return next((path for option in options if os.path.exists(path := os.path.join(folder, option))), written)
