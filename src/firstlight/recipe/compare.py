"""For this small set of pictures, which road is best? One table with intervals, one report, one exported model."""

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from .. import spec
from ..errors import InputError, unknown
from ..events import Events, Measured, Note, Saved
from ..runs import Run, read_json
from . import Recipe, _choose, _plan, begin, check_free, logged, open_run, write_report

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
        labelled = self._draws(split)
        self._try(size)
        run = open_run(self.out, self.command(), resume=resume)
        with run.locked():
            plan = read_json(run.path / "recipe.json")["derived"] if resume and _begun(run) else None
            if plan is None:
                plan = yield from _plan.make(self, split, labelled, size=size, device=device)
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

    def _try(self, size: int) -> None:
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
                _choose.method(text, encoder, categories=0, fresh=True)
        spec.build("evaluations", "finetune", Evaluation, **({} if self.flip is None else {"flip": self.flip}))

    def _draws(self, split: "Split") -> "list[Split]":
        """The labelled set of each draw, with the test set they share."""
        from ..data.split import few

        if self.labels_per_class is None:
            return [split] * self.seeds
        draws = range(self.seed, self.seed + self.seeds)
        return [type(split)(few(split.train, self.labels_per_class, seed), split.test) for seed in draws]

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
                part = run.part(f"{_folder(name)}-draw{draw}")
                result = yield from _once(part, self._measure(part, plan, contender, encoder, pictures, draw))
                outcomes[name].append(result)
                yield Measured(f"{name}, draw {draw + 1}", {"accuracy": result.numbers["accuracy"]})
        from ._verdict import conclude

        result = conclude(outcomes, split.test, plan, pretraining)
        result.save(run.results)
        yield Measured("compare", result.numbers)
        yield from self._keep_models(run, outcomes)
        for line in table(result):
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
        folder = run.path / f"pretrain-{_folder(self._short(contender))}"
        if (folder / "seconds.json").exists():
            return folder
        begun = time.monotonic()
        recipe = Pretrain(
            data=contender if formula else self.data, hold_out=not formula, categories=self.categories,
            method="classify" if formula else contender, model=self.model, size=plan["size"], channels=self.channels,
            steps=plan["pretrain_steps"], batch=self.pretrain_batch, precision=plan["precision"],
            lr=plan["pretrain_lr"] if formula else None, device=plan["device"], seed=self.seed, out=folder,
        )  # fmt: skip
        yield from recipe.run(resume=folder.exists())
        Run(folder).write_json("seconds.json", time.monotonic() - begun)
        return folder

    def _measure(
        self, part: Run, plan: dict[str, Any], contender: str, pretrained: Path | None, split: "Split", draw: int
    ) -> "Events[Result]":
        from ..evaluations import Evaluation

        seed, size, device = self.seed + draw, plan["size"], plan["device"]
        if contender == "svm":
            protocol = spec.build("evaluations", "svm", Evaluation)
            return (yield from protocol.run(None, split, size=size, device=device, seed=seed))
        encoder = _choose.encoder(pretrained, self.model, size=size, channels=self.channels, drop_path=0.0, seed=seed)
        given = {} if self.flip is None else {"flip": self.flip}
        protocol: Any = spec.build(
            "evaluations", "finetune", Evaluation, steps=plan["finetune_steps"], batch=plan["finetune_batch"],
            precision=plan["precision"], **given,
        )  # fmt: skip
        method, result = yield from protocol.fit(
            encoder,
            split,
            size=size,
            device=device,
            seed=seed,
            run=part,
            task=f"{self._short(contender)}, draw {draw + 1}",
        )
        if draw == 0:
            method.encoder.save(part.path / "classifier", head=method.head, classes=split.train.classes)
        return result

    def _keep_models(self, run: Run, outcomes: "dict[str, list[Result]]") -> Events[None]:
        """Puts the pre-trained encoder and the best network (of the first draw) where export looks for them."""
        networks = [name for name in outcomes if name != "svm"]
        pretrained = [run.path / f"pretrain-{_folder(name)}" / "encoder" for name in networks if name not in FIXED]
        best = max(networks, key=lambda name: _mean(outcomes[name]), default=None)
        for what, source in (
            ("encoder", pretrained[0] if pretrained else None),
            ("classifier", run.path / f"{_folder(best)}-draw0" / "classifier" if best else None),
        ):
            if source is not None and not (run.path / what).exists():
                shutil.copytree(source, run.path / what)
                yield Saved(what, str(run.path / what))


def table(result: "Result") -> list[str]:
    """The first table of a result as aligned plain lines, and its text below."""
    first = result.tables[0]
    rows = [[str(cell) for cell in row] for row in [first["columns"], *first["rows"]]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    lines = ["  ".join(row) for row in [aligned[0], ["-" * w for w in widths], *aligned[1:]]]
    return ["", *lines, "", result.text]


def _once(part: Run, work: "Events[Result]") -> "Events[Result]":
    """The result that ``part`` already holds, or the work's, saved there with the seconds it took."""
    from ..evaluations import Result

    for path in sorted(part.results.glob("*.json")):
        with contextlib.suppress(TypeError, ValueError):
            return Result(**read_json(path))
    begun = time.monotonic()
    result = yield from logged(part, work)
    result.numbers["seconds"] = round(time.monotonic() - begun, 2)
    result.save(part.results)
    return result


def _folder(contender: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in contender).strip("-")


def _mean(results: "list[Result]") -> float:
    return sum(result.numbers["accuracy"] for result in results) / len(results)


def _begun(run: Run) -> bool:
    return (run.path / "recipe.json").exists()
