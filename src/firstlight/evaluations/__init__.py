"""Ways to measure an encoder. One file each; every one takes an encoder and a split, and returns a result."""

from dataclasses import dataclass
from typing import ClassVar

from ..data import Split
from ..encoder import Encoder
from ..events import Events
from ..result import Result

__all__ = ["Evaluation", "Result", "Split"]


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
