"""The whole story on real pictures in a few minutes: which road is best with ten labels a class?"""

from dataclasses import dataclass
from pathlib import Path

from ..events import Events, Note
from . import Recipe, next_free
from .compare import Compare


@dataclass(frozen=True, kw_only=True)
class Quickstart(Recipe):
    """The whole story in a few minutes, without network: real handwritten digits, ten labels a class, three roads.

    The digits ship inside scikit-learn. A kernel SVM, training from scratch, and pre-training on fractals drawn on
    the fly are compared over three draws of the labelled set; the rest is the test set and is never tuned on.
    """

    seed: int = 0
    """of everything"""
    out: Path | None = None
    """the run folder; unset: the next free runs/quickstart-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        yield Note("scikit-learn's handwritten digits, 10 labelled pictures a class, 3 draws of the labelled set")
        comparison = self.comparison()
        return (yield from comparison.run(resume))

    def comparison(self) -> Compare:
        """The comparison that this is, with the same few steps on every machine."""
        out = self.out or next_free(self.command())
        steps = {"finetune_steps": 200, "pretrain_steps": 800}
        return Compare(data="digits", labels_per_class=10, budget=3.0, seed=self.seed, out=out, **steps)
