"""Fingerprints of what formulas draw, kept in ``golden/NAME.json``, one file a family.

``python tests/goldens.py NAME`` prints the family's fingerprints as they are now; with ``--write`` it stores them.
A file holds two tables of ``{formula with settings: sha256}``: ``compiled``, and ``interpreted``, whose settings are
small enough to be drawn without the compiler too. To add a row, write it with an empty value and run ``--write``.
A fingerprint that changes is a promise broken: every picture of that family is another one from then on.
"""

import hashlib
import json
import multiprocessing
import sys
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "golden"
PAIRS = ((0, 0), (0, 43), (1, 0), (1, 7))
SIZE = 24


def fingerprint(text: str) -> str:
    """Hashes the names, types, shapes and bytes of four members' arrays."""
    from firstlight import spec
    from firstlight.formulas import Formula, annotated

    warnings.simplefilter("error")
    formula = spec.build("formulas", text, Formula)
    whole = hashlib.sha256()
    for category, instance in PAIRS:
        for name, value in sorted(annotated(formula, category, instance, size=SIZE).items()):
            whole.update(f"{name} {value.dtype.str} {value.shape}".encode() + value.tobytes())
    return whole.hexdigest()


def stored(table: str) -> dict[str, str]:
    """All rows of a table, over all families."""
    files = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    return {text: value for file in files for text, value in file[table].items()}


def drawn(texts: Iterable[str], way: str) -> dict[str, str]:
    """Fingerprints taken in this process, in two ``threads``, or in two processes by ``spawn`` or ``fork``."""
    texts = list(texts)
    if way == "here":
        return {text: fingerprint(text) for text in texts}
    if way == "threads":
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(texts, pool.map(fingerprint, texts)))
    with multiprocessing.get_context(way).Pool(2) as pool:
        return dict(zip(texts, pool.map(fingerprint, texts)))


def main() -> None:
    name, *rest = sys.argv[1:]
    if name in ("compiled", "interpreted"):  # for the tests: a table and a way
        print(json.dumps(drawn(stored(name), rest[0])))
        return
    path = FOLDER / f"{name}.json"
    fresh = {table: drawn(rows, "here") for table, rows in json.loads(path.read_text()).items()}
    print(json.dumps(fresh, indent=1))
    if "--write" in rest:
        path.write_text(json.dumps(fresh, indent=1) + "\n")


if __name__ == "__main__":
    main()
