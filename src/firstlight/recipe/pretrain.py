"""Pre-train an encoder on pictures drawn from a formula, or on unlabelled pictures of your own."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import spec
from ..errors import InputError
from ..events import Events, Note, Saved
from ..ranges import Seed
from . import Recipe, _choose, begin, check_free, logged, shared_run, write_report
from ._kept import keep_reconstruction, keep_sheet

if TYPE_CHECKING:
    from ..data import Pictures
    from ..methods import Method
    from ..views.batches import Batches


@dataclass(frozen=True, kw_only=True)
class Pretrain(Recipe):
    """Pre-train an encoder on pictures drawn from a formula, or on unlabelled pictures of your own.

    The default, `classify` on `fractal`, is formula-driven supervised learning: no photograph, no label, no download.
    """

    data: str = "fractal"
    """a formula ('fractal', 'fractal(points=50000)'), a folder of pictures, a .csv list, or 'digits'"""
    hold_out: bool = False
    """leave out the pictures that compare, finetune and evaluate set aside for testing (with the same --seed)"""
    method: str = "classify"
    """what to learn: 'classify' (the formula's categories), 'supcon' (any labels), 'simclr(temperature=0.2)', ..."""
    model: str = "resnet18"
    """any timm model, with settings where it takes them: 'vit_tiny_patch16_224(patch_size=4)'"""
    size: int = 224
    """side of the pictures in pixels"""
    channels: Literal[1, 3] = 3
    """grey or colour input"""
    categories: int | None = None
    """formula: how many classes to draw; unset: all of --codebook, else 1,000, or all where the formula has fewer"""
    instances: int = 1000
    """formula: how many pictures a class has"""
    draw_size: int | None = None
    """formula: side at which pictures are drawn, before they are cropped to --size; unset: the same"""
    codebook: Path | None = None
    """formula: where its classes are kept ('firstlight codebook', public FractalDB files); unset: searched for"""
    steps: int = 10_000
    """optimiser steps"""
    batch: int = 256
    """pictures per optimiser step, over all processes and accumulated parts"""
    lr: float | None = None
    """learning rate at a batch of 256, scaled linearly with the batch; unset: the method's own"""
    weight_decay: float | None = None
    """unset: the method's own"""
    optimizer: Literal["adamw", "sgd", "lars"] | None = None
    """unset: the method's own"""
    warmup: float | None = None
    """fraction of the steps over which the learning rate rises; unset: the method's own"""
    drop_path: float = 0.0
    """stochastic depth of the encoder"""
    accumulate: int = 1
    """split each batch into this many parts, to fit into memory"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """arithmetic of the forward and backward pass; auto: the fastest that this device really has"""
    compile: bool = False
    """compile the training step with torch.compile"""
    device: str | None = None
    """cuda, mps or cpu; unset: the best there is"""
    draw: Literal["auto", "cpu", "device"] = "auto"
    """formula: where its pictures are drawn; auto: on a CUDA device where the formula can, else by the CPU"""
    init: Path | None = None
    """start from this run, encoder folder or checkpoint file, and not from random weights; heads start anew"""
    probe: str | None = None
    """labelled pictures for a k-NN accuracy during training: a folder of class folders or 'digits'"""
    probe_every: int = 500
    """steps between two looks at the probe"""
    save_every: int | None = None
    """steps between two checkpoints; unset: about every five minutes"""
    seed: Seed = 0
    """of the pictures, the weights and every random choice"""
    out: Path | None = None
    """the run folder; unset: the next free runs/pretrain-NNN"""

    def run(self, resume: bool = False) -> Events[Path]:
        spec.check(type(self), {field.name: getattr(self, field.name) for field in fields(self)}, "pretrain")
        _choose.positive(
            steps=self.steps, batch=self.batch, lr=self.lr, size=self.size, accumulate=self.accumulate,
            draw_size=self.draw_size,
        )  # fmt: skip
        data = self.data if _choose.is_formula(self.data) else _choose.known_source(self.data, "--data")
        # Whoever forgets --method on photographs hears of it: by default nothing here would be self-supervised.
        if spec.Spec.parse(self.method).name == "classify" and not _choose.is_formula(data):
            raise InputError(
                f"method {self.method!r} learns from labels; to train on the labels of {data!r} use "
                f"'firstlight finetune', or choose a method that needs none: {', '.join(_unsupervised())}"
            )
        if _choose.is_formula(data):
            _choose.picture_formula(data)
        _choose.positive(categories=self.categories, instances=self.instances)
        if not _choose.is_formula(data) and (self.codebook or self.draw_size):
            raise InputError(f"codebook and draw-size are for formulas, and {data!r} is none")
        device = _choose.device(self.device)
        check_free(self.out, resume)

        from .. import ranks

        with ranks.joined(device):
            return (yield from self._train(data, device, resume))

    def _train(self, data: str, device: str, resume: bool) -> Events[Path]:
        from .. import ranks
        from ..train import train

        pictures = yield from self.pictures(data)
        if len(pictures) < 2:
            raise InputError(f"{data!r} has 1 picture; what is learned is how pictures differ: 2 or more are needed")
        method = yield from self.learner(pictures)
        method.check(self.batch, self.accumulate)  # before there is a run folder
        setup = self._setup(method.optimisation, device)
        setup.check()
        if self.batch > len(pictures):
            yield Note(f"there are {len(pictures)} pictures: a batch of {self.batch} shows some of them more than once")
        batches = self.batches(pictures, method, device)
        if batches.drawn:
            yield Note(batches.drawn)
        probe = yield from self._probe(device)

        with shared_run(self.out, "pretrain", resume) as run:
            training = train(method, batches, setup, run, probe)
            if ranks.rank():  # the first process writes and speaks; the others only train
                yield from training
                return run.path
            chosen = {"device": device, "pictures": len(pictures), "optimisation": vars(setup.optimisation)}
            if batches.drawn:
                chosen["drawn"] = batches.drawn
            begin(run, self, chosen)
            keep_sheet(run, pictures)
            try:
                yield from logged(run, training)
                method.keep(run.encoder)
                yield Saved("encoder", str(run.encoder))
                keep_reconstruction(run, method, batches)
            finally:
                write_report(run)
        return run.path

    def pictures(self, data: str) -> Events["Pictures"]:
        """What there is to learn from, with maps where the method learns from them, labelled where it needs labels."""
        formula = _choose.is_formula(data)
        place = None if formula else _choose.place_of_maps(data, self.method)
        found = yield from self._alone(data if place is None else str(place / "rgb"))
        if place is None and (kinds := _choose.maps_of(self.method)):
            yield Note(f"no maps of {' or '.join(kinds)} are beside the pictures: these alone are learned from")
        if place is not None:
            from ..data.maps import with_maps

            found = yield from with_maps(found, place)
        if _choose.needs_labels(self.method):
            found = yield from _choose.labelled(found, self.method, data)
        return found

    def learner(self, pictures: "Pictures") -> Events["Method"]:
        """The method as it is before the first step, around the encoder that it begins with."""
        encoder = _choose.encoder(
            self.init, self.model, size=self.size, channels=self.channels, drop_path=self.drop_path, seed=self.seed,
            neck=False,  # it is part of another method's head
            colour=False,  # it belongs to the method that divided pictures
        )  # fmt: skip
        yield from _choose.on_neck(self.init, neck=False, colour=False)
        labels = len(pictures.classes) if _choose.needs_labels(self.method) else 0
        return _choose.method(self.method, encoder, labels, fresh=self.init is None, pictures=pictures)

    def batches(self, pictures: "Pictures", method: "Method", device: str) -> "Batches":
        """The pictures made into the views that the method wants."""
        from ..views.batches import Batches

        encoder = method.encoder
        return Batches(
            pictures, method.views, size=self.size, batch=self.batch, seed=self.seed, channels=self.channels,
            device=device, mean=encoder.mean, std=encoder.std, multiple=encoder.multiple, parts=self.accumulate,
            draw=self.draw, maps=method.maps,
        )  # fmt: skip

    def _alone(self, data: str) -> Events["Pictures"]:
        if self.hold_out and not _choose.is_formula(data):
            from ..data.source import open_split

            return (yield from open_split(data, size=self.size, seed=self.seed)).train
        return (
            yield from _choose.source(
                data,
                size=self.draw_size or self.size,
                categories=self.categories,
                instances=self.instances,
                seed=self.seed,
                codebook=self.codebook,
            )
        )

    def _setup(self, base: Any, device: str) -> Any:
        from ..train import Setup

        optimisation = _choose.optimisation(
            base, lr=self.lr, weight_decay=self.weight_decay, optimizer=self.optimizer, warmup=self.warmup
        )
        return Setup(
            steps=self.steps, batch=self.batch, optimisation=optimisation, seed=self.seed, device=device,
            precision=self.precision, accumulate=self.accumulate, compile=self.compile, save_every=self.save_every,
            probe_every=self.probe_every if self.probe else None, task=f"pretrain {self.data}",
            recipe=self.settings() | {"out": None},
        )  # fmt: skip

    def _probe(self, device: str) -> Events[Any]:
        if self.probe is None:
            return None
        from ..data.source import open_split
        from ..train.probe import Probe

        split = yield from open_split(_choose.known_source(self.probe), size=self.size, seed=self.seed)
        yield Note(f"probe: {len(split.train)} pictures to look up, {len(split.test)} to recognise")
        return Probe(split, size=self.size, device=device)


def _unsupervised() -> list[str]:
    return [name for name in spec.names("methods") if not _choose.needs_labels(name)]
