"""Fine-tune an encoder on your few labelled pictures, and measure it on pictures it has not seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from ..events import Events, Measured, Saved, Warned
from ..runs import Run
from . import Recipe, _choose, begin, check_free, logged, open_run, write_report
from .export import beside

if TYPE_CHECKING:
    from ..data import Split
    from ..encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class Finetune(Recipe):
    """Fine-tune an encoder on your few labelled pictures, and measure it on pictures it has not seen."""

    data: tyro.conf.Positional[str]
    """a folder with train/CLASS and test/CLASS, or with one folder a class (split by content), a .csv list, 'digits'"""
    encoder: Path | None = None
    """the pre-training run, an encoder folder, or a checkpoint file; unset: train from scratch"""
    neck: bool = True
    """start where pre-training says: in the middle of its head ('simclr(layers=3, keep=1)') or network ('igpt'),
    or patch by patch ('cpc')"""
    model: str = "resnet18"
    """the timm model when there is no --encoder"""
    size: int | None = None
    """side of the pictures in pixels; unset: the encoder's, or worked out from the pictures"""
    channels: Literal[1, 3] = 3
    """grey or colour input"""
    labels_per_class: int | None = None
    """use only so many labelled pictures of each class; unset: all"""
    steps: int = 500
    """optimiser steps"""
    batch: int = 32
    """pictures per optimiser step"""
    lr: float | None = None
    """the highest learning rate; unset: the protocol's (0.0025)"""
    layer_decay: float | None = None
    """each layer's learning rate as a fraction of the next one's; unset: 1"""
    flip: float = 0.0
    """probability of a left-right flip; 0.5 usually helps on photographs of things, and hurts on text"""
    drop_path: float = 0.0
    """stochastic depth of the encoder"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """arithmetic of the forward and backward pass"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    seed: int = 0
    """of the split, the labelled subset, the weights and every random choice"""
    out: Path | None = None
    """the run folder; unset: the next free runs/finetune-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        _choose.positive(steps=self.steps, batch=self.batch, lr=self.lr, labels_per_class=self.labels_per_class)
        data = _choose.known_source(self.data)
        device = _choose.device(self.device)
        check_free(self.out, resume)

        from ..data.source import open_split
        from ..data.split import few

        size = self.size or _choose.kept_size(self.encoder) or (yield from _choose.side(data, device))
        split = yield from open_split(data, size=size, seed=self.seed)
        if self.labels_per_class is not None:
            split = type(split)(few(split.train, self.labels_per_class, self.seed), split.test)
        encoder = _choose.encoder(
            self.encoder, self.model, size=size, channels=self.channels, drop_path=self.drop_path, seed=self.seed,
            neck=self.neck,
        )  # fmt: skip
        yield from _choose.on_neck(self.encoder, self.neck)

        run = open_run(self.out, "finetune", resume=resume)
        with run.locked():
            begin(run, self, {"device": device, "size": size, "train": len(split.train), "test": len(split.test)})
            try:
                yield from logged(run, self._fit(run, encoder, split, size, device))
            finally:
                report = write_report(run)
            yield Saved("report", str(report))
        if len(split.test) < 100:
            yield Warned(f"only {len(split.test)} test pictures: the accuracy is a rough estimate")
        return run.path

    def _fit(self, run: Run, encoder: "Encoder", split: "Split", size: int, device: str) -> Events[None]:
        from .. import spec
        from ..evaluations import Evaluation

        wanted = {"lr": self.lr, "layer_decay": self.layer_decay, "flip": self.flip}
        given = {key: value for key, value in wanted.items() if value is not None}
        protocol: Any = spec.build(
            "evaluations", "finetune", Evaluation,
            steps=self.steps, batch=self.batch, precision=self.precision, **given,
        )  # fmt: skip
        method, result = yield from protocol.fit(encoder, split, size=size, device=device, seed=self.seed, run=run)
        result.save(run.results)
        yield Measured(result.name, result.numbers)
        method.encoder.save(run.path / "classifier", head=method.head, classes=split.train.classes)
        yield Saved("classifier", str(run.path / "classifier"))
        yield from beside(run.path / "classifier")
