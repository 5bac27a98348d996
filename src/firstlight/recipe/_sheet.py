"""A labelled contact sheet: categories down, instances across, drawn with Pillow's own font."""

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..data.formula import FormulaPictures
    from ..formulas import Params

__all__ = ["labelled"]

INK, FAINT, EDGE = (20, 20, 20), (110, 110, 110), (200, 200, 200)
TITLE, NUMBER, SMALL = 17, 14, 11
MARGIN, GAP, WIDEST = 12, 4, 132
FRAMES = 4
"""of a clip are shown"""


def labelled(pictures: "FormulaPictures", title: str, categories: Sequence[int], instances: int) -> np.ndarray:
    """Draws a sheet: uint8 ``[H, W]`` if nothing on it has a colour, else ``[H, W, 3]``.

    Pictures stand beside their masks, with their boxes drawn in; clips show some of their frames; clouds are projected.

    Args:
        pictures: where the members come from.
        title: what stands above.
        categories: the classes, a row for each.
        instances: how many members of each.
    """
    from PIL import Image, ImageDraw

    numbers = [category * pictures.instances + instance for category in categories for instance in range(instances)]
    cells = [_cell(member, pictures.size) for member in pictures.annotated(np.array(numbers))]
    height, width = cells[0].shape[:2]
    labels = _labels([pictures.params(category) for category in categories], height)
    left = MARGIN + 12 + int(max(_font(SMALL).getlength(text) for lines in labels for text in ["0000", *lines]))
    across = max(left + instances * (width + GAP) - GAP + MARGIN, 320)
    heading = textwrap.wrap(title, (across - 2 * MARGIN) * 2 // TITLE)
    top = MARGIN + len(heading) * (TITLE + 4) + 2 * (SMALL + 6) + NUMBER + 8
    sheet = Image.new("RGB", (across, top + len(categories) * (height + GAP) - GAP + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)

    for line, text in enumerate(heading):
        pen.text((MARGIN, MARGIN + line * (TITLE + 4)), text, INK, _font(TITLE))
    said = f"{pictures.size} pixels, seed {pictures.seed}: a category in each row, an instance in each column"
    pen.text((MARGIN, MARGIN + len(heading) * (TITLE + 4) + 2), said, FAINT, _font(SMALL))
    for column in range(instances):
        middle = left + column * (width + GAP) + width // 2
        pen.text((middle, top - 6), str(column), INK, _font(NUMBER), anchor="ms")
    for place, cell in enumerate(cells):
        row, column = divmod(place, instances)
        corner = left + column * (width + GAP), top + row * (height + GAP)
        pen.rectangle((corner[0] - 1, corner[1] - 1, corner[0] + width, corner[1] + height), outline=EDGE)
        sheet.paste(Image.fromarray(cell), corner)
    for row, category in enumerate(categories):
        _label(pen, str(category), labels[row], top + row * (height + GAP), height)
    drawn = np.asarray(sheet)
    return drawn[..., 0].copy() if (drawn == drawn[..., :1]).all() else drawn


def _label(pen: Any, number: str, lines: list[str], above: int, height: int) -> None:
    room = NUMBER + 4 + len(lines) * (SMALL + 3)
    at = above + max(0, (height - room) // 2)
    pen.text((MARGIN, at), number, INK, _font(NUMBER))
    for line, text in enumerate(lines):
        pen.text((MARGIN, at + NUMBER + 5 + line * (SMALL + 3)), text, FAINT, _font(SMALL))


def _labels(classes: "list[Params]", height: int) -> list[list[str]]:
    """For each class what it is made of, as far as it differs from the others and there is room beside a picture."""
    told = [{name: _told(name, value) for name, value in params.items()} for params in classes]
    names = [name for name in told[0] if len(told) == 1 or len({lines.get(name) for lines in told}) > 1]
    room = max(0, (height - NUMBER - 4) // (SMALL + 3))
    return [[_short(lines[name]) for name in names if lines.get(name)][:room] for lines in told]


def _short(text: str) -> str:
    while _font(SMALL).getlength(text) > WIDEST:
        text = f"{text.rstrip('…')[:-1]}…"
    return text


def _told(name: str, value: np.ndarray) -> str:
    """A parameter in a few letters: a number or three as they are, of a table how many rows it has."""
    name = name.replace("_", " ")
    if value.size == 0 or value.dtype.kind not in "biuf":
        return ""
    if value.size <= 3:
        numbers = [
            f"{number:.3g}" if isinstance(number, float) else str(number) for number in value.reshape(-1).tolist()
        ]
        return f"{name} {', '.join(numbers)}"
    return f"{len(value)} {name}" if value.ndim == 2 else ""


def _cell(member: "Params", size: int) -> np.ndarray:
    """All that is shown of one member, side by side: uint8 ``[size, W, 3]``."""
    if "clip" in member:
        clip = member["clip"]
        tiles = [clip[number] for number in np.linspace(0, len(clip) - 1, min(FRAMES, len(clip))).round().astype(int)]
    elif "cloud" in member:
        from ..formulas._project import look

        tiles = [look(member["cloud"], size)]
    else:
        tiles = [_boxed(_colour(member["picture"]), member.get("boxes"), member.get("labels"))]
    if "mask" in member and member["mask"].ndim == 2:
        tiles.append(_palette(256)[member["mask"]])
    tiles = [_colour(tile) for tile in tiles]
    edge = np.full((len(tiles[0]), 1, 3), 255, np.uint8)
    return np.concatenate([part for tile in tiles for part in (tile, edge)][:-1], axis=1)


def _boxed(picture: np.ndarray, boxes: np.ndarray | None, labels: np.ndarray | None) -> np.ndarray:
    from PIL import Image, ImageDraw

    if boxes is None or boxes.ndim != 2 or boxes.shape[1] != 4:
        return picture
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for number, (left, top, right, bottom) in enumerate(boxes.tolist()):
        colour = _palette(256)[1 + int(number if labels is None else labels[number]) % 255]
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=tuple(colour.tolist()))
    return np.asarray(image)


def _colour(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


@lru_cache(maxsize=1)
def _palette(count: int) -> np.ndarray:
    """Bright colours that differ from their neighbours, uint8 ``[count, 3]``; the first is black."""
    import colorsys

    colours = [colorsys.hsv_to_rgb(number * 0.61803 % 1, 0.55 + 0.4 * (number % 2), 1.0) for number in range(count)]
    table = np.array(colours) * 255
    table[0] = 0
    return table.astype(np.uint8)


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
