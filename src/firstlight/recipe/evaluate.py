"""Measure an encoder on labelled pictures: k-NN, linear probe, kernel SVM, fine-tuning."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from .. import spec
from ..events import Events, Measured, Saved
from ..runs import Run
from . import Recipe, _choose, begin, check_free, logged, open_run, write_report

if TYPE_CHECKING:
    from ..data import Split
    from ..encoder import Encoder
    from ..evaluations import Evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluate(Recipe):
    """Measure an encoder on labelled pictures: k-NN, linear probe, kernel SVM, fine-tuning."""

    data: tyro.conf.Positional[str]
    """a folder with train/CLASS and test/CLASS, or with one folder a class (split by content), a .csv list, 'digits'"""
    encoder: Path | None = None
    """the pre-training run, an encoder folder, or a checkpoint file; unset: random weights, as a baseline"""
    model: str = "resnet18"
    """the timm model when there is no --encoder"""
    protocols: tuple[str, ...] = ("knn", "linear", "svm")
    """what to measure, each with settings where wanted: 'knn(k=5)'"""
    size: int | None = None
    """side of the pictures in pixels; unset: the encoder's"""
    channels: Literal[1, 3] = 3
    """grey or colour input"""
    labels_per_class: int | None = None
    """use only so many labelled pictures of each class; unset: all"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    seed: int = 0
    """of the split and every random choice"""
    out: Path | None = None
    """the run folder; unset: the next free runs/evaluate-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        _choose.positive(size=self.size, labels_per_class=self.labels_per_class)
        data = _choose.known_source(self.data)
        device = _choose.device(self.device)
        check_free(self.out, resume)

        from ..evaluations import Evaluation

        protocols = [spec.build("evaluations", text, Evaluation) for text in self.protocols]

        from ..data import Split
        from ..data.source import open_split
        from ..data.split import few

        size = self.size or _choose.kept_size(self.encoder) or (yield from _choose.side(data, device))
        encoder = _choose.encoder(
            self.encoder, self.model, size=size, channels=self.channels, drop_path=0.0, seed=self.seed
        )
        split = yield from open_split(data, size=size, seed=self.seed)
        if self.labels_per_class is not None:
            split = Split(few(split.train, self.labels_per_class, self.seed), split.test)

        run = open_run(self.out, "evaluate", resume=resume)
        with run.locked():
            begin(run, self, {"device": device, "size": size, "train": len(split.train), "test": len(split.test)})
            try:
                yield from logged(run, self._measure(run, protocols, encoder.to(device), split, size, device))
            finally:
                report = write_report(run)
            yield Saved("report", str(report))
        return run.path

    def _measure(
        self, run: Run, protocols: "list[Evaluation]", encoder: "Encoder", split: "Split", size: int, device: str
    ) -> Events[None]:
        for protocol in protocols:
            result = yield from protocol.run(encoder, split, size=size, device=device, seed=self.seed)
            result.save(run.results)
            yield Measured(result.name, result.numbers)
