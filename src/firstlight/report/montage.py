"""A ``pictures`` figure as one picture, for a file: rows of pictures, with what each column shows written above."""

import base64
import io
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw, ImageFont

INK, PAPER = (20, 20, 20), (255, 255, 255)
TEXT, GAP, APART = 14, 4, 24
SMALLEST, WIDEST = 96, 1400


def montage(figure: dict[str, Any]) -> Image.Image:
    """Draws a figure with ``heads``; rows stand in several groups where one would be a tall column.

    Small pictures are enlarged by a whole number, so that their pixels stay squares.

    Args:
        figure: as ``Result.figures`` says, its pictures all of one size.
    """
    heads = figure["heads"]
    cells = [Image.open(io.BytesIO(base64.b64decode(picture["png"]))).convert("RGB") for picture in figure["pictures"]]
    factor = max(1, -(-SMALLEST // max(cells[0].size)))
    cells = [cell.resize((cell.width * factor, cell.height * factor), Image.Resampling.NEAREST) for cell in cells]
    rows = [cells[start : start + len(heads)] for start in range(0, len(cells), len(heads))]
    font = ImageFont.load_default(TEXT)
    wide = max(cells[0].width, *(int(font.getlength(word)) + 1 for head in heads for word in head.split()))
    written = ["\n".join(folded(head, wide, font.getlength)) for head in heads]
    across, title = wide + GAP, (TEXT + GAP) * (1 + max(head.count("\n") for head in written)) + GAP
    group, down = across * len(heads) + APART, cells[0].height + GAP
    groups = groups_of(len(rows), len(heads), max(1, WIDEST // group))
    high = -(-len(rows) // groups)

    page = Image.new("RGB", (groups * group, APART // 2 + title + high * down + APART // 2), PAPER)
    pen = ImageDraw.Draw(page)
    for number in range(groups):
        left, top = number * group + APART // 2, APART // 2
        for column, head in enumerate(written):
            pen.text((left + column * across, top), head, INK, font, spacing=GAP)
        for row, line in enumerate(rows[number * high : (number + 1) * high]):
            for column, cell in enumerate(line):
                page.paste(cell, (left + column * across, top + title + row * down))
    return page


def folded(text: str, wide: float, length: Callable[[str], float]) -> list[str]:
    """Words in lines of at most ``wide``, as ``length`` measures them."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and length(longer) <= wide:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def groups_of(rows: int, columns: int, most: int = 24) -> int:
    """Into how many groups side by side so many rows are divided, so that all is about as wide as it is high.

    Args:
        rows: of pictures.
        columns: of pictures in a group.
        most: groups for which there is room.
    """
    wanted = [groups for groups in range(1, min(rows, most) + 1) if groups * columns <= max(8, columns)]
    return min(wanted, key=lambda groups: (-(-rows // groups), groups))
