"""For this small set of pictures, which road is best? One table with intervals, one report, one exported model."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from .. import spec
from ..errors import InputError, unknown
from ..events import Events, Measured, Note, Saved
from ..runs import Run, read_json
from . import Recipe, _choose, _contest, _plan, begin, check_free, logged, open_run, write_report
from .export import beside

if TYPE_CHECKING:
    from ..data import Split
    from ..evaluations import Result

FIXED = ("svm", "scratch")  # the contenders that are neither a formula nor a method


@dataclass(frozen=True, kw_only=True)
class Compare(Recipe):
    """For this small set of pictures, which road is best? One table with intervals, one report, one exported model.

    Every contender sees the same draws of the labelled set and the same test pictures, which nothing is tuned on.
    """

    data: tyro.conf.Positional[str]
    """a folder with train/CLASS and test/CLASS, or with one folder a class (split by content), a .csv list, 'digits'"""
    contenders: tuple[str, ...] = ("svm", "scratch", "fractal(sampler='svd')")
    """svm (kernel SVM on pixels), scratch, formulas to pre-train on ('fractal'), and methods to pre-train with on the
    training pictures without their labels ('simclr'), each with settings where wanted"""
    labels_per_class: int | None = None
    """use only so many labelled pictures of each class; unset: all"""
    seeds: int = 3
    """how many times everything is repeated, each with its own draw of the labelled pictures (where not all are used)
    and its own random choices"""
    budget: float = 10.0
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
    """formula: how many classes to pre-train on"""
    pretrain_batch: int = 128
    """pictures per step of pre-training"""
    finetune_batch: int = 32
    """pictures per step of training from scratch and of fine-tuning"""
    pretrain_steps: int | None = None
    """unset: what the budget allows"""
    finetune_steps: int | None = None
    """unset: what the budget allows, at most 200 or 30 passes over the labelled pictures"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    seed: int = 0
    """the first draw's; the others follow"""
    out: Path | None = None
    """the run folder; unset: the next free runs/compare-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        self._check()
        data, device = _choose.known_source(self.data), _choose.device(self.device)
        check_free(self.out, resume)
        from ..data.source import open_split

        size = self.size or (yield from _choose.side(data, device))
        split = yield from open_split(data, size=size, seed=self.seed)
        labelled = _contest.draws(self, split)
        self._try(size, len(split.train))
        run = open_run(self.out, self.command(), resume=resume)
        with run.locked():
            plan = _contest.plan_of(run, resume)
            if plan is None:
                work = {"fits": self.seeds * len(self._networks()), "pretrainings": len(self._pretrainings())}
                plan = yield from _plan.make(self, split, labelled, size=size, device=device, **work)
                begin(run, self, plan)
            try:
                yield from logged(run, self._compete(run, plan, split, labelled))
            finally:
                path = write_report(run)
            yield Saved("report", str(path))
        return run.path

    def _check(self) -> None:
        _choose.positive(
            seeds=self.seeds, budget=self.budget, labels_per_class=self.labels_per_class, size=self.size,
            pretrain_steps=self.pretrain_steps, finetune_steps=self.finetune_steps, categories=self.categories,
            pretrain_batch=self.pretrain_batch, finetune_batch=self.finetune_batch,
        )  # fmt: skip
        if not self.contenders or len(set(self.contenders)) < len(self.contenders):
            allowed = [*FIXED, *spec.names("formulas"), *spec.names("methods")]
            raise InputError(
                f"contenders must be one or more different ones of {', '.join(allowed)}; got {list(self.contenders)}"
            )
        for text in self.contenders:
            if text in FIXED or spec.Spec.parse(text).name in spec.names("formulas"):
                continue
            if spec.Spec.parse(text).name not in spec.names("methods") or _choose.needs_labels(text):
                allowed = [*FIXED, *spec.names("formulas")]
                allowed += [name for name in spec.names("methods") if not _choose.needs_labels(name)]
                raise unknown("contender", text, allowed)

    def _try(self, size: int, pictures: int) -> None:
        """Builds every part once, small, so that what cannot be built is refused before anything is written."""
        from ..data.formula import FormulaPictures
        from ..evaluations import Evaluation

        for text in self.contenders:
            if text == "svm":
                continue
            encoder = _choose.encoder(
                None, self.model, size=size, channels=self.channels, drop_path=0.0, seed=self.seed
            )
            if spec.Spec.parse(text).name in spec.names("formulas"):
                FormulaPictures(_choose.picture_formula(text), categories=self.categories, instances=1, size=size)
            elif text not in FIXED:
                _choose.method(text, encoder, categories=0, fresh=True, pictures=pictures)
        spec.build("evaluations", "finetune", Evaluation, **({} if self.flip is None else {"flip": self.flip}))

    def _networks(self) -> list[str]:
        return [contender for contender in self.contenders if contender != "svm"]

    def _pretrainings(self) -> list[str]:
        return [contender for contender in self.contenders if contender not in FIXED]

    def _compete(self, run: Run, plan: dict[str, Any], split: "Split", labelled: "list[Split]") -> Events[None]:
        """Every contender on every draw; what a stopped run had finished is not done again."""
        outcomes: dict[str, list[Result]] = {}
        pretraining: dict[str, float] = {}
        for contender in self.contenders:
            name, encoder = self._short(contender), None
            if contender not in FIXED:
                encoder = yield from self._pretrain(run, plan, contender)
                pretraining[name] = read_json(encoder / "seconds.json")
            outcomes[name] = []
            for draw, pictures in enumerate(labelled):
                part = run.part(f"{_contest.folder(name)}-draw{draw}")
                result = yield from _contest.once(part, self._measure(part, plan, contender, encoder, pictures, draw))
                outcomes[name].append(result)
                yield Measured(f"{name}, draw {draw + 1}", {"accuracy": result.numbers["accuracy"]})
        from ._verdict import conclude

        result = conclude(outcomes, split.test, plan, pretraining)
        result.save(run.results)
        yield Measured("compare", result.numbers)
        yield from self._keep_models(run, outcomes)
        for line in _contest.table(result):
            yield Note(line)

    def _short(self, contender: str) -> str:
        """A contender's name without its settings, unless another one has the same name."""
        names = [spec.Spec.parse(text).name for text in self.contenders]
        name = spec.Spec.parse(contender).name
        return name if names.count(name) == 1 else contender

    def _pretrain(self, run: Run, plan: dict[str, Any], contender: str) -> Events[Path]:
        """Pre-trains one encoder in a run of its own inside this one."""
        from .pretrain import Pretrain

        formula = spec.Spec.parse(contender).name in spec.names("formulas")
        recipe = Pretrain(
            data=contender if formula else self.data, hold_out=not formula, categories=self.categories,
            method="classify" if formula else contender, model=self.model, size=plan["size"], channels=self.channels,
            steps=plan["pretrain_steps"], batch=self.pretrain_batch, precision=plan["precision"],
            lr=plan["pretrain_lr"] if formula else None, device=plan["device"], seed=self.seed,
            out=run.path / f"pretrain-{_contest.folder(self._short(contender))}",
        )  # fmt: skip
        return (yield from _contest.pretrained(recipe))

    def _measure(
        self, part: Run, plan: dict[str, Any], contender: str, pretrained: Path | None, split: "Split", draw: int
    ) -> "Events[Result]":
        from ..evaluations import Evaluation

        if contender == "svm":
            protocol = spec.build("evaluations", "svm", Evaluation)
            settings = {"size": plan["size"], "device": plan["device"], "seed": self.seed + draw}
            return (yield from protocol.run(None, split, **settings))
        name = self._short(contender)
        method, result = yield from _contest.finetuned(self, part, plan, pretrained, split, draw, name)
        if draw == 0:
            method.encoder.save(part.path / "classifier", head=method.head, classes=split.train.classes)
        return result

    def _keep_models(self, run: Run, outcomes: "dict[str, list[Result]]") -> Events[None]:
        """Puts the pre-trained encoder and the best network (of the first draw) where export looks for them."""
        networks, folder = [name for name in outcomes if name != "svm"], _contest.folder
        pretrained = [run.path / f"pretrain-{folder(name)}" / "encoder" for name in networks if name not in FIXED]
        best = max(networks, key=lambda name: _mean(outcomes[name]), default=None)
        for what, source in (
            ("encoder", pretrained[0] if pretrained else None),
            ("classifier", run.path / f"{folder(best)}-draw0" / "classifier" if best else None),
        ):
            if source is not None and not (run.path / what).exists():
                shutil.copytree(source, run.path / what)
                yield Saved(what, str(run.path / what))
                yield from beside(run.path / what)


def _mean(results: "list[Result]") -> float:
    return sum(result.numbers["accuracy"] for result in results) / len(results)
