"""Find the classes of a formula and keep them in one small file; convert such files to and from public layouts."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from .. import spec
from ..errors import InputError
from ..events import Events, Note, Saved
from . import Recipe, _choose

DEFAULT = Path("codebook.safetensors")


@dataclass(frozen=True, kw_only=True)
class Codebook(Recipe):
    """Find the classes of a formula and keep them in one small file; convert such files to and from public layouts.

    `firstlight codebook fractal --categories 1000 --out set.safetensors` searches;
    `firstlight codebook --convert csv_rate0.2_category1000 --out set.safetensors` reads the public FractalDB files.
    `pretrain` and `render` take the file as --codebook, and need not search again.
    """

    formula: tyro.conf.Positional[str] = "fractal"
    """the formula, with settings where wanted: 'fractal(min_fill=0.1)'; of no account with --convert"""
    categories: int = 1000
    """how many classes to find; of no account with --convert"""
    convert: Path | None = None
    """classes in any layout, to write again and not search: a file of ours, a folder or file of public tables (planar
    or spatial maps, RCDB's keys and values), or Anderson & Farrell's list of systems as .npz or .safetensors"""
    seed: int = 0
    """another seed finds other classes"""
    out: Path | None = None
    """where to: NAME.safetensors is our file, NAME.npz a list of systems, any other name a folder of public tables;
    unset: codebook.safetensors"""

    def run(self, resume: bool = False) -> Events[Path]:
        _choose.positive(categories=self.categories)
        out = DEFAULT if self.out is None else self.out
        if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
            raise InputError(f"{str(out)!r} exists already; choose another --out")
        from ..data import codebook

        if self.convert is not None:
            entries, origin = codebook.read(self.convert), {}
        else:
            entries, origin = (yield from self._found()), {"formula": self.formula, "seed": str(self.seed)}
        codebook.write(out, entries, **origin)
        arrays = sum(array.nbytes for params in entries for array in params.values())
        yield Note(f"{len(entries):,} classes, {arrays / 1e6:.2f} MB of parameters")
        yield Saved("codebook", str(out))
        return out

    def _found(self) -> Events[list]:
        from ..data.formula import FormulaPictures
        from ..formulas import Formula

        formula = spec.build("formulas", self.formula, Formula)
        pictures = FormulaPictures(formula, categories=self.categories, instances=1, size=8, seed=self.seed)
        yield from pictures.prepare()
        return [pictures.params(category) for category in range(self.categories)]
