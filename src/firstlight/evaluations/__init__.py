"""Ways to measure an encoder. One file each; every one takes an encoder and a split, and returns a result."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ..data import Split
from ..encoder import Encoder
from ..events import Events
from ..runs import write_whole

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


@dataclass(frozen=True)
class Evaluation:
    """Base of all protocols. Fields are settings; nothing is ever chosen by looking at the test pictures.

    Attributes:
        predicts: whether it guesses the class of each test picture; otherwise its result has no predictions.
        describes: whether it says what training pictures are like: it takes unlabelled ones, looks at no test picture
            and needs no encoder.
    """

    predicts: ClassVar[bool] = True
    describes: ClassVar[bool] = False

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
