"""Repeat a published ablation at a small budget on a real data set; show its table beside the published one."""

import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro

from .. import spec
from ..errors import unknown
from ..events import Events, Measured, Note, Saved
from ..runs import Run
from . import Recipe, _choose, _contest, _plan, begin, check_free, logged, open_run, write_report
from ._ablations import ABLATIONS, Ablation, Arm, conclude

if TYPE_CHECKING:
    from ..data import Split
    from ..evaluations import Result
    from .pretrain import Pretrain


@dataclass(frozen=True, kw_only=True)
class Ablate(Recipe):
    """Repeat a published ablation at a small budget on a real data set; show its table beside the published one.

    For every setting and every seed an encoder is pre-trained and then fine-tuned on the same few labelled pictures;
    training from scratch is measured beside them. The published numbers come from a hundred times the training, so
    what can be compared is the order.
    """

    name: tyro.conf.Positional[str]
    """patch, fill, interval, points, size, categories, instances, contour, labels, formula, delta or sigma"""
    data: str = "digits"
    """a folder with train/CLASS and test/CLASS, or with one folder a class (split by content), a .csv list, 'digits'"""
    labels_per_class: int | None = 10
    """use only so many labelled pictures of each class"""
    seeds: int = 3
    """how many times everything is repeated, each with its own classes, weights and labelled pictures"""
    budget: float = 20.0
    """minutes for everything; the numbers of steps are worked out from this and from the speed measured here"""
    model: str = "resnet10t"
    """any timm model"""
    size: int | None = None
    """side of the pictures in pixels; unset: worked out from the pictures"""
    channels: Literal[1, 3] = 3
    """grey or colour input"""
    flip: float | None = None
    """probability of a left-right flip in fine-tuning; 0 where left and right matter, as in text; unset: 0"""
    categories: int = 100
    """how many classes to pre-train on, where the ablation does not say"""
    instances: int = 1000
    """pictures a class, where the ablation does not say"""
    pretrain_batch: int = 128
    """pictures per step of pre-training"""
    finetune_batch: int = 32
    """pictures per step of fine-tuning"""
    pretrain_steps: int | None = None
    """unset: what the budget allows"""
    finetune_steps: int | None = None
    """unset: what the budget allows, at most 200 or 30 passes over the labelled pictures"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    seed: int = 0
    """the first one; the others follow"""
    out: Path | None = None
    """the run folder; unset: the next free runs/ablate-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        self._check()
        data, device = _choose.known_source(self.data), _choose.device(self.device)
        check_free(self.out, resume)
        from ..data.source import open_split

        size = self.size or (yield from _choose.side(data, device))
        ablation = ABLATIONS[self.name]
        self._try(ablation, size)
        split = yield from open_split(data, size=size, seed=self.seed)
        labelled = _contest.draws(self, split)
        run = open_run(self.out, self.command(), resume=resume)
        with run.locked():
            plan = _contest.plan_of(run, resume)
            if plan is None:
                parts = len(ablation.arms) * self.seeds
                plan = yield from _plan.make(
                    self, split, labelled, size=size, device=device, fits=parts + self.seeds, pretrainings=parts,
                    first=_plan.LITTLE, drawing=partial(self._drawing, ablation, size, device),
                )  # fmt: skip
                begin(run, self, plan)
            try:
                yield from logged(run, self._compete(run, plan, ablation, split, labelled))
            finally:
                path = write_report(run)
            yield Saved("report", str(path))
        return run.path

    def _check(self) -> None:
        if self.name not in ABLATIONS:
            raise unknown("ablation", self.name, ABLATIONS)
        _choose.positive(
            seeds=self.seeds, budget=self.budget, labels_per_class=self.labels_per_class, size=self.size,
            pretrain_steps=self.pretrain_steps, finetune_steps=self.finetune_steps, categories=self.categories,
            instances=self.instances, pretrain_batch=self.pretrain_batch, finetune_batch=self.finetune_batch,
        )  # fmt: skip

    def _try(self, ablation: Ablation, size: int) -> None:
        """Builds every part once, so that what cannot be built is refused before the pictures are read."""
        from ..data.formula import FormulaPictures
        from ..evaluations import Evaluation

        _choose.encoder(None, self.model, size=size, channels=self.channels, drop_path=0.0, seed=self.seed)
        for arm in ablation.arms:
            FormulaPictures(_choose.picture_formula(arm.text(size)), categories=1, instances=1, size=size)
        spec.build("evaluations", "finetune", Evaluation, **({} if self.flip is None else {"flip": self.flip}))

    def _drawing(self, ablation: Ablation, size: int, device: str) -> float:
        """Seconds in which a batch of the settings' pictures is drawn and cropped, on average over the settings."""
        from ..data.formula import FormulaPictures
        from ..views import PLAIN
        from ..views.batches import Batches

        seconds = []
        for arm in ablation.arms:
            pictures = FormulaPictures(
                _choose.picture_formula(arm.text(size)), categories=8, instances=16, size=arm.draw_size or size
            )
            batches = Batches(
                pictures, PLAIN, size=size, batch=self.pretrain_batch, channels=self.channels, device=device
            )
            batches.at(0)  # finds the classes
            begun = time.monotonic()
            batches.at(1)
            seconds.append(time.monotonic() - begun)
        return float(np.mean(seconds))

    def _compete(
        self, run: Run, plan: dict[str, Any], ablation: Ablation, split: "Split", labelled: "list[Split]"
    ) -> Events[None]:
        """Every setting with every seed; what a stopped run had finished is not done again."""
        correct: dict[str, list[np.ndarray]] = {name: [] for name in ("scratch", *(a.name for a in ablation.arms))}
        for draw, pictures in enumerate(labelled):
            for arm in (None, *ablation.arms):
                name, start = arm.name if arm else "scratch", None
                part = run.part(f"{_contest.folder(name)}-seed{draw}")
                if arm:
                    start = yield from _contest.pretrained(self._pretraining(part, plan, arm, draw))
                    shutil.rmtree(start / "checkpoints", ignore_errors=True)  # a finished one is never gone on with
                result = yield from _contest.once(part, self._measure(part, plan, start, pictures, draw, name))
                shutil.rmtree(part.path / "checkpoints", ignore_errors=True)
                correct[name].append(np.asarray(result.predictions) == split.test.labels)
                yield Measured(f"{name}, seed {draw + 1}", {"accuracy": result.numbers["accuracy"]})
        result = conclude(ablation, {name: np.array(rows) for name, rows in correct.items()}, plan)
        result.save(run.results)
        yield Measured("ablate", result.numbers)
        for line in _contest.table(result):
            yield Note(line)

    def _measure(
        self, part: Run, plan: dict[str, Any], start: Path | None, pictures: "Split", draw: int, name: str
    ) -> "Events[Result]":
        return (yield from _contest.finetuned(self, part, plan, start, pictures, draw, name))[1]

    def _pretraining(self, part: Run, plan: dict[str, Any], arm: Arm, draw: int) -> "Pretrain":
        from .pretrain import Pretrain

        return Pretrain(
            data=arm.text(plan["size"]), categories=arm.categories or self.categories,
            instances=arm.instances or self.instances, draw_size=arm.draw_size, model=self.model, size=plan["size"],
            channels=self.channels, steps=plan["pretrain_steps"], batch=self.pretrain_batch,
            precision=plan["precision"], lr=plan["pretrain_lr"], device=plan["device"], seed=self.seed + draw,
            out=part.path.with_name(f"pretrain-{part.path.name}"),
        )  # fmt: skip
