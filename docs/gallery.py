"""Draws the gallery: a labelled contact sheet of every formula family, and the page that shows them.

``python docs/gallery.py`` draws all of it, ``python docs/gallery.py NAME ...`` some families. Families are found by
listing, so a new one needs nothing here.
"""

import ast
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from firstlight import spec
from firstlight.data.formula import FormulaPictures
from firstlight.formulas import Formula
from firstlight.recipe._sheet import labelled

ROOT = Path(__file__).resolve().parent
SIZE, CATEGORIES, INSTANCES = 96, 4, 6
LARGEST = 140_000
"""bytes of a sheet"""
MORE = {
    "fractal": ["fractal(sampler='svd', mode='density', colour=True)"],
    "perlin": ["perlin(frames=16)"],
    "points": ["points(scene=True)"],
}
"""a second sheet, where a setting shows another side of the family"""


def sheets(family: str) -> dict[str, str]:
    """The formulas shown of a family, by the names of their files."""
    return {family: family} | {f"{family}_{n}": text for n, text in enumerate(MORE.get(family, []), 2)}


def draw(name: str, text: str) -> Path:
    """Draws one sheet to ``gallery/NAME.png``, in as many colours as fit."""
    formula = spec.build("formulas", text, Formula)
    # Where classes are counted through, neighbours are nearly the same: show the first, the last and some between.
    last = formula.categories
    shown = range(CATEGORIES) if last is None else (np.geomspace(1, last, CATEGORIES).round().astype(int) - 1).tolist()
    frames = 4 if formula.kind == "clip" or "mask" in _known(formula) else 1
    pictures = FormulaPictures(formula, categories=max(shown) + 1, instances=INSTANCES, size=SIZE)
    sheet = Image.fromarray(labelled(pictures, text, shown, max(2, INSTANCES // frames)))
    path = ROOT / "gallery" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    for colours, dither in ((256, Image.Dither.FLOYDSTEINBERG), *((2**n, Image.Dither.NONE) for n in (8, 7, 6, 5))):
        reduced = _reduced(sheet, colours, dither) if sheet.mode == "RGB" else _fewer(sheet, colours)
        reduced.save(path, "PNG", optimize=True)
        if path.stat().st_size <= LARGEST:
            break
    return path


def _fewer(sheet: Image.Image, greys: int) -> Image.Image:
    """The sheet with that many levels of grey, black and white among them."""
    return sheet.point([(level * greys // 256) * 255 // (greys - 1) for level in range(256)])


def _reduced(sheet: Image.Image, colours: int, dither: Image.Dither) -> Image.Image:
    """The sheet in that many colours, some greys among them for the letters."""
    greys = [20 + 235 * level // 11 for level in range(12)]
    palette = sheet.quantize(colours - 12).getpalette() or []
    wanted = Image.new("P", (1, 1))
    wanted.putpalette(palette[: 3 * (colours - 12)] + [value for grey in greys for value in (grey, grey, grey)])
    return sheet.quantize(palette=wanted, dither=dither)


def page() -> str:
    """The text of ``gallery.md``."""
    lines = [
        "# Gallery",
        "",
        f"The first {INSTANCES} instances of {CATEGORIES} categories of every formula family, drawn by",
        "`python docs/gallery.py`. `firstlight render FORMULA --sheet` draws such a sheet of any formula with any",
        "settings, and `firstlight list formulas` lists the families.",
    ]
    for family in spec.names("formulas"):
        lines += ["", f"## {family}", "", *_about(family)]
        for name, text in sheets(family).items():
            lines += ["", f"`{text}`:", "", f"![{text}](gallery/{name}.png)"]
    return "\n".join(lines) + "\n"


def _about(family: str) -> list[str]:
    """The first sentence and the source from the family's file."""
    tree = ast.parse((spec.ROOT / "formulas" / f"{family}.py").read_text(encoding="utf-8"))
    first, *rest = (ast.get_docstring(tree) or "").split("\n\n")
    source = next((part for part in rest if "http" in part), "")
    return [" ".join(first.split()), *(["", " ".join(source.split())] if source else [])]


def _known(formula: Formula) -> set[str]:
    pictures = FormulaPictures(formula, categories=1, instances=1, size=32)
    return set(pictures.annotated(np.array([0]))[0])


def main() -> None:
    """Draws what is asked for and writes the page."""
    for family in sys.argv[1:] or spec.names("formulas"):
        for name, text in sheets(family).items():
            path = draw(name, text)
            print(f"{path.relative_to(ROOT.parent)}: {path.stat().st_size:,} bytes")
    (ROOT / "gallery.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
