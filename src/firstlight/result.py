"""What was measured or seen: numbers, tables and plain figure data, kept as JSON and drawn by others."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .runs import write_whole

__all__ = ["Result", "sheet", "thumbnail"]


@dataclass
class Result:
    """Numbers, tables and plain figure data. Drawing them is the report's work.

    Attributes:
        name: a file name, such as ``"knn"``.
        title: a heading for people.
        text: one or two sentences that say what was found, or empty.
        numbers: headline numbers, fractions of 1 for accuracies.
        tables: ``{"title", "columns": [str], "rows": [[str | number]], "note"}``.
        figures: ``{"kind", "title", ...}``, one of
            ``lines``: ``x``, ``y`` (axis titles), ``series: [{"name", "x", "y", "low"?, "high"?}]``;
            ``intervals``: ``x`` (axis title), ``rows: [{"name", "mean", "low", "high", "points": [float]}]``;
            ``matrix``: ``labels``, ``values [truth][guess]``, ``rows``, ``columns`` (axis titles);
            ``pictures``: ``columns: int``, ``pictures: [{"png": base64, "caption": str}]``, and ``heads?: [str]``, what
            stands above each column.
        settings: what was used, so that it can be repeated.
        predictions: the class guessed for each test picture, a position in its set's ``classes``.
        truth: the class of each test picture, so that two results on the same pictures can be compared in pairs.
    """

    name: str
    title: str
    text: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    predictions: list[int] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)

    def correct(self) -> list[bool]:
        """Which test pictures were right, in their set's order."""
        return [guess == truth for guess, truth in zip(self.predictions, self.truth)]

    def save(self, folder: Path) -> Path:
        """Writes ``folder/NAME.json`` in one piece and returns its path.

        Raises:
            DiskError: if the disk refuses.
        """
        path = folder / f"{self.name}.json"
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        # a file name that is not Unicode reaches class names as lone surrogates, which only this handler can write
        write_whole(path, text.encode("utf-8", "backslashreplace"))
        return path


def sheet(
    pictures: Sequence[np.ndarray],
    columns: int,
    captions: Sequence[str] | None = None,
    *,
    heads: Sequence[str] = (),
    title: str = "",
    side: int = 96,
) -> dict[str, Any]:
    """A ``pictures`` figure from arrays.

    Args:
        pictures: each uint8 ``[H, W]`` (grey) or ``[H, W, 3]`` (RGB).
        columns: how many stand in a row where the page is wide enough.
        captions: what to write below each; none at all for a dense sheet.
        heads: what to write above each column, if anything: rows are then kept together.
        title: a heading.
        side: larger pictures are reduced to this many pixels, to keep the page small.
    """
    texts = list(captions or [""] * len(pictures))
    if len(texts) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures but {len(texts)} captions")
    if len(heads) not in (0, columns):
        raise ValueError(f"{columns} columns but {len(heads)} heads")
    encoded = [{"png": thumbnail(picture, side), "caption": text} for picture, text in zip(pictures, texts)]
    above = {"heads": list(heads)} if heads else {}
    return {"kind": "pictures", "title": title, "columns": columns, **above, "pictures": encoded}


def thumbnail(picture: np.ndarray, side: int = 96) -> str:
    """A picture, uint8 ``[H, W]`` or ``[H, W, 3]``, of at most so many pixels a side, as base64 of a PNG file."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
