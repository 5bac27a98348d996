"""Ways to measure an encoder. One file each; every one takes an encoder and a split, and returns a result."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..data import Split
from ..encoder import Encoder
from ..events import Events

__all__ = ["Evaluation", "Result", "Split"]


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
            ``pictures``: ``columns: int``, ``pictures: [{"png": base64, "caption": str}]``.
        settings: what was used, so that it can be repeated.
    """

    name: str
    title: str
    text: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Writes ``folder/NAME.json`` in one piece and returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        fresh = path.with_suffix(".json.new")
        fresh.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
        fresh.replace(path)
        return path


@dataclass(frozen=True)
class Evaluation:
    """Base of all protocols. Fields are settings; nothing is ever chosen by looking at the test pictures."""

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        """Measures ``encoder`` (None: raw pixels, where the protocol allows it) on ``split``.

        Args:
            encoder: the encoder to measure; it is left as it was found.
            split: training pictures with labels, and test pictures.
            size: the side at which pictures are shown to the encoder.
            device: such as ``"cpu"`` or ``"cuda"``.
            seed: of every random choice.
        """
        raise NotImplementedError
