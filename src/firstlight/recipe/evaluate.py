"""Measure an encoder on labelled pictures: k-NN, linear probe, kernel SVM, fine-tuning, anomalies, statistics."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tyro

from .. import spec
from ..errors import InputError
from ..events import Events, Measured, Saved
from ..runs import Run
from . import Recipe, _choose, begin, check_free, logged, open_run, write_report

if TYPE_CHECKING:
    from ..data import Split
    from ..encoder import Encoder
    from ..evaluations import Evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluate(Recipe):
    """Measure an encoder on labelled pictures: k-NN, linear probe, kernel SVM, fine-tuning, anomalies, statistics."""

    data: tyro.conf.Positional[str]
    """a folder with train/CLASS and test/CLASS, or with one folder a class (split by content), a .csv list, 'digits',
    a formula"""
    encoder: Path | None = None
    """the pre-training run, an encoder folder, or a checkpoint file; unset: random weights, as a baseline"""
    neck: bool = True
    """start where pre-training says: in the middle of its head ('simclr(layers=3, keep=1)') or network ('igpt'),
    or patch by patch ('cpc')"""
    model: str = "resnet18"
    """the timm model when there is no --encoder"""
    protocols: tuple[str, ...] = ("knn", "linear", "svm")
    """what to measure, each with settings where wanted: 'knn(k=5)'; 'anomaly' tells one normal class from all others;
    'statistics' measures the pictures themselves"""
    size: int | None = None
    """side of the pictures in pixels; unset: the encoder's"""
    channels: Literal[1, 3] = 3
    """grey or colour input"""
    categories: int = 20
    """formula: how many classes to draw"""
    instances: int = 50
    """formula: how many pictures a class has; the last quarter are the test pictures"""
    labels_per_class: int | None = None
    """use only so many labelled pictures of each class; unset: all"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    seed: int = 0
    """of the split and every random choice"""
    out: Path | None = None
    """the run folder; unset: the next free runs/evaluate-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        _choose.positive(
            size=self.size, labels_per_class=self.labels_per_class, categories=self.categories, instances=self.instances
        )
        if not self.protocols:
            raise InputError(f"protocols: none given; allowed: {', '.join(spec.names('evaluations'))}")
        drawn = _choose.is_formula(self.data)
        if drawn:
            _choose.picture_formula(self.data)
        data = self.data if drawn else _choose.known_source(self.data)
        device = _choose.device(self.device)
        check_free(self.out, resume)

        from ..evaluations import Evaluation

        protocols = [spec.build("evaluations", text, Evaluation) for text in self.protocols]

        from ..data import Split
        from ..data.split import few

        size = self.size or _choose.kept_size(self.encoder)
        if size is None and drawn:
            size = 224 if device.startswith("cuda") else 96
        size = size or (yield from _choose.side(data, device))
        encoder = _choose.encoder(
            self.encoder, self.model, size=size, channels=self.channels, drop_path=0.0, seed=self.seed, neck=self.neck
        )
        yield from _choose.on_neck(self.encoder, self.neck)
        split = yield from self._split(data, size)
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

    def _split(self, data: str, size: int) -> "Events[Split]":
        """The pictures, divided; a formula's members are drawn, and the last quarter of each class held out."""
        from ..data import Split, Subset
        from ..data.source import open_split

        if not _choose.is_formula(data):
            return (yield from open_split(data, size=size, seed=self.seed))
        if self.instances < 2:
            raise InputError(f"instances={self.instances}: a class needs at least 2, one of them to test on")
        drawn = yield from _choose.source(
            data, size=size, categories=self.categories, instances=self.instances, seed=self.seed
        )
        held = np.arange(len(drawn)) % self.instances >= self.instances - max(1, self.instances // 4)
        return Split(Subset(drawn, np.flatnonzero(~held)), Subset(drawn, np.flatnonzero(held)))

    def _measure(
        self, run: Run, protocols: "list[Evaluation]", encoder: "Encoder", split: "Split", size: int, device: str
    ) -> Events[None]:
        for protocol in protocols:
            # What describes pictures needs no encoder; the features of random weights would tell nothing of them.
            given = encoder if self.encoder or not protocol.describes else None
            result = yield from protocol.run(given, split, size=size, device=device, seed=self.seed)
            result.save(run.results)
            yield Measured(result.name, result.numbers)
