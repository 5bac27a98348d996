"""Draw a formula's pictures into class folders, or onto one contact sheet."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from .. import spec
from ..errors import InputError
from ..events import Events, Note, Progress, Saved
from ..runs import write_whole
from . import Recipe, _choose


@dataclass(frozen=True, kw_only=True)
class Render(Recipe):
    """Draw a formula's pictures into class folders (OUT/00012/00012_0003.png), or onto one contact sheet."""

    formula: tyro.conf.Positional[str] = "fractal"
    """the formula, with settings where wanted: 'fractal(patch="density")'"""
    categories: int = 10
    """how many classes"""
    instances: int = 10
    """how many pictures of each class"""
    size: int = 224
    """side of the pictures in pixels"""
    sheet: bool = False
    """one picture with a row for each class and a column for each instance, and no folders"""
    seed: int = 0
    """another seed is another data set"""
    out: Path = Path("pictures")
    """the folder to write to (with --sheet: the .png file)"""

    def run(self, resume: bool = False) -> Events[Path]:
        _choose.positive(categories=self.categories, instances=self.instances, size=self.size)
        from ..formulas import Formula

        formula = spec.build("formulas", self.formula, Formula)
        out = self.out.with_suffix(".png") if self.sheet else self.out
        if out.exists() and (self.sheet or not out.is_dir() or any(out.iterdir())) and not resume:
            raise InputError(f"{str(out)!r} exists already; choose another --out")

        from ..data.formula import FormulaPictures

        pictures = FormulaPictures(
            formula, categories=self.categories, instances=self.instances, size=self.size, seed=self.seed
        )
        yield from pictures.prepare()
        if self.sheet:
            yield from self._sheet(pictures, out)
        else:
            yield from self._folders(pictures, out)
        yield Saved("sheet" if self.sheet else "pictures", str(out))
        return out

    def _folders(self, pictures: Any, out: Path) -> Events[None]:
        total, chunk = len(pictures), 256
        for start in range(0, total, chunk):
            numbers = np.arange(start, min(start + chunk, total))
            for number, pixels in zip(numbers, pictures.read(numbers)):
                category, instance = divmod(int(number), self.instances)
                write_whole(out / f"{category:05d}" / f"{category:05d}_{instance:04d}.png", png(pixels))
            yield Progress("rendering", int(numbers[-1]) + 1, total, "pictures")
        yield Note(f"{total:,} pictures of {self.categories:,} classes")

    def _sheet(self, pictures: Any, out: Path) -> Events[None]:
        rows, columns = min(self.categories, 40), min(self.instances, 40)
        drawn = pictures.read(first_of_each(pictures, rows, columns))
        write_whole(out, png(tile(drawn, columns)))
        yield Note(f"{rows} classes (rows) x {columns} instances (columns)")


def first_of_each(pictures: Any, classes: int, members: int) -> np.ndarray:
    """The numbers of the first ``members`` pictures of the first ``classes`` classes, class by class."""
    found = [np.flatnonzero(pictures.labels == label)[:members] for label in range(min(classes, len(pictures.classes)))]
    return np.concatenate(found) if found else np.arange(min(len(pictures), classes * members))


def tile(pictures: list[np.ndarray], columns: int, gap: int = 2) -> np.ndarray:
    """Lays uint8 pictures of one size out in rows, ``gap`` pixels apart on mid-grey: ``[H, W]`` or ``[H, W, 3]``."""
    size, rows = len(pictures[0]), -(-len(pictures) // columns)
    cell = size + gap
    canvas = np.full((rows * cell - gap, columns * cell - gap, *pictures[0].shape[2:]), 96, np.uint8)
    for number, pixels in enumerate(pictures):
        top, left = number // columns * cell, number % columns * cell
        canvas[top : top + size, left : left + size] = pixels
    return canvas


def png(pixels: np.ndarray) -> bytes:
    """A uint8 picture as PNG bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
