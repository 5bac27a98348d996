"""Draw a formula's pictures into class folders, tar shards, or onto one labelled contact sheet."""

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import tyro

from .. import spec
from ..errors import DiskError, InputError
from ..events import Events, Note, Progress, Saved, Warned
from ..runs import Run, read_json, write_whole
from . import Recipe, _choose, check_free, next_free

if TYPE_CHECKING:
    from ..data.formula import FormulaPictures
    from ..data.shards import FileSet

ELSEWHERE = ("out", "sheet", "shard", "engine", "ray_address")
"""settings that do not change the files"""
RECORD = "recipe.json"
MOST_PICTURES, MOST_PIXELS = 1 << 30, 1 << 28
"""of a set, whose labels are held in memory, and of a sheet, which is"""


@dataclass(frozen=True, kw_only=True)
class Render(Recipe):
    """Draw a formula's pictures into class folders (OUT/00012/00012_0003.png), tar shards, or one contact sheet.

    The files have the same bytes on every machine. A command that was stopped or killed goes on when it is given again;
    several may work on one folder at a time. OUT/manifest.json is written when all is there.
    """

    formula: tyro.conf.Positional[str] = "fractal"
    """the formula, with settings where wanted: 'fractal(mode="density")'"""
    categories: int | None = None
    """how many classes; if left open, 10, or all that the formula or the codebook has"""
    instances: int = 10
    """how many pictures of each class"""
    size: int = 224
    """side of the pictures in pixels"""
    seed: int = 0
    """another seed is another data set"""
    codebook: Path | None = None
    """take the classes from this file or folder, in place of searching for them"""
    sheet: bool = False
    """one labelled picture with a row for each class and a column for each instance (up to 40), and no files"""
    format: Literal["folders", "tar"] = "folders"
    """class folders, or tar shards for the webdataset library: OUT/SHARDS-000000.tar, ..."""
    order: Literal["classes", "shuffled"] | None = None
    """of the pictures in tar shards; if left open, shuffled, so that reading in a row mixes the classes"""
    shard_size: int = 1000
    """pictures in a shard, the unit in which work is divided, recorded and done again"""
    shard: str | None = None
    """K/N: draw only the K-th of N equal parts, from 1/N to N/N: for job arrays, all on one shared folder"""
    engine: Literal["local", "ray"] = "local"
    """ray: spread the shards over a Ray cluster that shares the folder (pip install 'firstlight[ray]')"""
    ray_address: str | None = None
    """of the cluster; if left open, RAY_ADDRESS, and without that, the cores of this machine"""
    out: Path = Path("pictures")
    """the folder to write to (with --sheet: the .png file)"""

    def run(self, resume: bool = False) -> Events[Path]:
        spec.check(type(self), {field.name: getattr(self, field.name) for field in fields(self)}, "render")
        _choose.positive(
            categories=self.categories, instances=self.instances, size=self.size, shard_size=self.shard_size
        )
        piece = _piece(self.shard)
        if self.order is not None and self.format == "folders":
            raise InputError("order is a setting of tar shards; class folders have none")
        if self.ray_address is not None and self.engine != "ray":
            raise InputError("ray-address is a setting of --engine ray, which was not asked for")
        made = self._made()
        if self.sheet:
            return (yield from self._sheet(self._pictures(made)))
        check_free(self.out, resume=True)  # whether what is there is ours is seen when it is claimed
        if not (self.out / RECORD).exists():
            ends = [0, made.pictures - 1]  # the last class of a grid is its finest
            self._pictures(made).annotated(np.array(ends))  # what cannot be drawn is refused before anything is written
        self._claim(made)
        yield from self._files(made, piece, resume)
        return self.out

    def moved(self, out: Path | None) -> Self:
        return super().moved(next_free("render") if out is None else out)

    def _made(self) -> "FileSet":
        from ..data import codebook
        from ..data.shards import FileSet
        from ..formulas import Formula

        formula = spec.build("formulas", self.formula, Formula)
        count = self.categories
        if count is None:
            count = len(codebook.read(self.codebook)) if self.codebook else min(10, formula.categories or 10)
        if count * self.instances > MOST_PICTURES:
            given = f"categories={count:,} of instances={self.instances:,}"
            raise InputError(f"{given} are {count * self.instances:,} pictures; allowed is up to {MOST_PICTURES:,}")
        order = self.order or ("shuffled" if self.format == "tar" else "classes")
        return FileSet(formula, count, self.instances, self.size, self.seed, self.format, order, self.shard_size)

    def _pictures(self, made: "FileSet") -> "FormulaPictures":
        """The pictures before there is a folder that keeps their classes."""
        from ..data import codebook
        from ..data.formula import FormulaPictures

        return FormulaPictures(
            made.formula, categories=made.categories, instances=made.instances, size=made.size, seed=made.seed,
            codebook=codebook.read(self.codebook) if self.codebook else None,
        )  # fmt: skip

    def _sheet(self, pictures: "FormulaPictures") -> Events[Path]:
        from ..data._png import png
        from ._sheet import labelled

        if self.shard is not None or self.engine != "local":
            raise InputError("a sheet is one picture: it takes no shard and no engine")
        if not self.out.name:
            raise InputError(f"out: {str(self.out)!r} is no name of a file; a sheet is written to NAME.png")
        out = self.out if self.out.suffix.lower() == ".png" else self.out.with_name(f"{self.out.name}.png")
        if out.exists():
            raise InputError(f"{str(out)!r} exists already; choose another --out")
        rows, columns = min(len(pictures.classes), 40), min(self.instances, 40)
        if rows * columns * self.size**2 > MOST_PIXELS:
            raise InputError(
                f"a sheet of {rows} x {columns} pictures of size={self.size} has over {MOST_PIXELS:,} pixels; lower "
                "categories, instances or size"
            )
        yield Progress("drawing", 0, rows * columns, "pictures")
        write_whole(out, png(labelled(pictures, self.formula, range(rows), columns)))
        yield Progress("drawing", rows * columns, rows * columns, "pictures")
        yield Note(f"{rows} classes (rows) x {columns} instances (columns)")
        yield Saved("sheet", str(out))
        return out

    def _claim(self, made: "FileSet") -> None:
        """Makes the folder this set's, or sees that it is.

        Raises:
            InputError: if it holds something else, or a set with other settings, naming the difference.
        """
        from ..data import _disk

        settings = {key: value for key, value in self.settings().items() if key not in ELSEWHERE}
        settings |= {"formula": made.formula_text(), "categories": made.categories}
        settings["order"] = made.order if made.format == "tar" else None
        settings["codebook"] = None if self.codebook is None else str(self.codebook.absolute())
        folder, record = Run(self.out).path, self.out / RECORD
        if not record.exists():
            if _disk.begun(folder) and not record.exists():
                raise InputError(f"{str(folder)!r} is not empty, and holds no rendered set; choose another --out")
            content = {"recipe": "render", "schema": 1, "settings": settings}
            if _disk.create(record, (json.dumps(content, indent=1) + "\n").encode()):
                return
        there = read_json(record)
        if not isinstance(there, dict) or there.get("recipe") != "render":
            raise InputError(f"{str(folder)!r} holds something other than a rendered set; choose another --out")
        if different := _differences(there.get("settings", {}), settings):
            raise InputError(f"{str(folder)!r} holds another set: {'; '.join(different)}; choose another --out")

    def _files(self, made: "FileSet", piece: tuple[int, int], resume: bool) -> Events[None]:
        from ..data import shards

        given = None if resume and (self.out / shards.CATEGORIES).exists() else self.codebook
        pictures = yield from shards.open_pictures(made, self.out, given)
        mine = [shard for shard in range(made.shards) if shard % piece[1] == piece[0] - 1]
        missing = yield from _unfinished(made, mine, self.out)
        if self.engine == "ray" and missing:
            from ..data._ray import spread

            work = spread(made, missing, self.out, self.ray_address)
        else:
            work = _draw_here(made, missing, pictures, self.out)
        try:
            yield from work
        except DiskError as error:
            done = sum(shard in shards.finished(made, self.out) for shard in mine)
            kept = f"{done} of {len(mine)} shards are done and kept; the same command goes on with the rest"
            raise DiskError(f"{error}; {kept}") from error
        if shards.complete(made, self.out):
            shown = f"{made.shards:,} shards" if made.shards > 1 else "one shard"
            yield Note(f"{made.pictures:,} pictures of {made.categories:,} classes in {shown}")
            yield Saved("pictures", str(self.out))
        else:
            there = len(shards.finished(made, self.out))
            yield Note(f"part {piece[0]}/{piece[1]} is done; {there:,} of {made.shards:,} shards are there")


def _piece(text: str | None) -> tuple[int, int]:
    """Reads ``3/64``."""
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"shard must be K/N with K from 1 to N, such as 1/64 to 64/64; got {text!r}")
    return int(found[1]), int(found[2])


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What is set otherwise. Formulas are compared as built, so that settings at their defaults may be left out."""
    from ..formulas import Formula

    different = []
    for name, value in here.items():
        other = there.get(name)
        if name == "formula" and isinstance(other, str):
            if spec.build("formulas", other, Formula) == spec.build("formulas", value, Formula):
                continue
            one, two = spec.Spec.parse(other), spec.Spec.parse(value)
            if one.name == two.name:
                different += _differences(one.settings, two.settings)
                continue
            other, value = one.name, two.name
        if other != value:
            different.append(f"{name.replace('_', '-')} is {other!r} there and {value!r} here")
    return different


def _unfinished(made: "FileSet", mine: list[int], folder: Path) -> Events[list[int]]:
    """The shards that are not there, or not as they were recorded."""
    from ..data.shards import finished, intact

    found, missing = finished(made, folder), []
    recorded = sum(shard in found for shard in mine)
    checked = 0
    for shard in mine:
        if shard not in found:
            missing.append(shard)
            continue
        yield Progress("checking finished shards", checked, recorded, "shards")
        checked += 1
        if not intact(made, shard, found[shard], folder):
            missing.append(shard)
            yield Warned(f"shard {shard} is not as it was recorded, and is drawn again")
    if recorded:
        yield Progress("checking finished shards", recorded, recorded, "shards")
        yield Note(f"{len(mine) - len(missing):,} of {len(mine):,} shards were there already")
    return missing


def _draw_here(made: "FileSet", missing: list[int], pictures: "FormulaPictures", folder: Path) -> Events[None]:
    from ..data.shards import draw

    done, total = 0, sum(made.count(shard) for shard in missing)
    for shard in missing:
        for count in draw(made, shard, pictures, folder):
            yield Progress("rendering", done + count, total, "pictures")
        done += made.count(shard)


def first_of_each(pictures: Any, classes: int, members: int) -> np.ndarray:
    """The numbers of the first ``members`` pictures of the first ``classes`` classes, class by class."""
    found = [np.flatnonzero(pictures.labels == label)[:members] for label in range(min(classes, len(pictures.classes)))]
    return np.concatenate(found) if found else np.arange(min(len(pictures), classes * members))
