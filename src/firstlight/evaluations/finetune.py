"""Fine-tuning: the whole encoder and a new linear layer are trained on the labelled pictures, then judged.

With randomly initialised weights this is training from scratch. The recipe is that of the formula papers (AdamW,
cosine, label smoothing; Kataoka et al., ACCV 2020, https://arxiv.org/abs/2101.08515), scaled down to few labels.
"""

import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from ..data import Pictures, Split
from ..encoder import Encoder
from ..errors import InputError
from ..events import Events, Progress
from ..methods import Optimisation
from ..methods.classify import Classify
from ..runs import Run
from ..train import Setup, train
from ..views import View
from ..views.batches import Batches
from ..views.make import show
from . import Evaluation, Result
from ._scoring import score, usable


@dataclass(frozen=True)
class Finetune(Evaluation):
    """Trains a copy of the encoder to classify, for a number of steps settled beforehand, and takes the last weights.

    Pictures are cropped at random. They are not flipped unless asked for: letters, digits and many medical and
    technical pictures change their meaning with it. For photographs of things, ``flip=0.5`` usually helps.

    The defaults are for ten labels a class, from 32-pixel ResNets; they were settled on training pictures of the
    digits that no test set of theirs contains. Long trainings on many pictures want smaller crops and a smaller rate.
    """

    steps: int = 200
    """optimiser steps"""
    batch: int = 32
    """pictures per step; sets smaller than this are gone through more than once in a step, cropped anew"""
    lr: float = 2.5e-3
    """the highest learning rate, as it is: unlike in pre-training it is not scaled with the batch"""
    weight_decay: float = 0.05
    layer_decay: float = 1.0
    """each layer's learning rate as a fraction of the next one's; below 1 keeps more of what was pre-trained"""
    warmup: float = 0.1
    """the fraction of the steps during which the learning rate rises"""
    smoothing: float = 0.1
    """the share of each target that is spread evenly over all classes"""
    mixup: float = 0.0
    """blending of pairs of pictures: the Beta distribution's parameter, 0 for none"""
    cutmix: float = 0.0
    """pasting of rectangles, likewise"""
    scale: tuple[float, float] = (0.7, 1.0)
    """the area of the random crops, as a fraction of the picture's"""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """the width of the random crops divided by their height"""
    flip: float = 0.0
    """probability of a left-right flip"""
    flip_vertical: float = 0.0
    rotate: float = 0.0
    """probability of a rotation by a multiple of 90 degrees"""
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """of brightness, contrast, saturation and hue, each the largest change"""
    erase: float = 0.0
    """probability of replacing a random rectangle by noise"""
    clip: float | None = None
    """the largest gradient norm"""
    accumulate: int = 1
    """parts of a batch that pass one after the other, to save memory"""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """arithmetic of the training; the test pictures are always judged in fp32"""

    def __post_init__(self):
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise InputError(f"finetune(scale={self.scale}): needs 0 < lowest <= highest <= 1")
        for name in ("flip", "flip_vertical", "rotate", "erase", "warmup"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"finetune({name}={getattr(self, name)}): must be in 0..1")
        for name in ("steps", "batch", "lr", "layer_decay"):
            if not getattr(self, name) > 0:
                raise InputError(f"finetune({name}={getattr(self, name)}): must be above 0")

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        if encoder is None:
            raise InputError("finetune needs an encoder; of raw pixels only knn, linear and svm can be measured")
        return (yield from self.fit(encoder, split, size=size, device=device, seed=seed))[1]

    def fit(
        self,
        encoder: Encoder,
        split: Split,
        *,
        size: int,
        device: str,
        seed: int,
        run: Run | None = None,
        task: str = "fine-tune",
    ) -> Events[tuple[Classify, Result]]:
        """Trains and judges, and returns the classifier too.

        Args:
            encoder: where to start from; a copy is trained.
            split: training pictures with labels, and test pictures.
            size: the side at which pictures are shown.
            device: where to train.
            seed: of the new layer's weights, the order, the crops and all else.
            run: where checkpoints go. If one is there, of the same settings and pictures, training goes on from it.
            task: the name under which the steps are reported.
        """
        encoder.check_size(size)
        split = yield from usable(split)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            method = Classify(
                copy.deepcopy(encoder), categories=len(split.train.classes),
                smoothing=self.smoothing, mixup=self.mixup, cutmix=self.cutmix,
            )  # fmt: skip
        method.requires_grad_(True)
        batches = Batches(
            split.train, (self.view(),), size=size, batch=self.batch, seed=seed, channels=encoder.channels,
            device=device, mean=encoder.mean, std=encoder.std, multiple=encoder.multiple, parts=self.accumulate,
        )  # fmt: skip
        record = {"size": size, "pictures": split.train.fingerprint()}
        yield from train(method, batches, self._setup(device, seed, task, record), run)

        chance = yield from probabilities(method, split.test, size=size, device=device)
        used = asdict(self) | {"size": size, "seed": seed, "model": encoder.model}
        return method, score("finetune", "Fine-tuning", chance, split, settings=used)

    def view(self) -> View:
        """What training shows of a picture."""
        return View(
            scale=self.scale, ratio=self.ratio, flip=self.flip, flip_vertical=self.flip_vertical,
            rotate=self.rotate, jitter=self.jitter, jitter_p=1.0, erase=self.erase,
        )  # fmt: skip

    def _setup(self, device: str, seed: int, task: str, record: dict[str, Any]) -> Setup:
        optimisation = Optimisation(
            lr=self.lr * 256 / self.batch, warmup=self.warmup, weight_decay=self.weight_decay,
            layer_decay=self.layer_decay, clip=self.clip,
        )  # fmt: skip
        return Setup(
            steps=self.steps, batch=self.batch, optimisation=optimisation, seed=seed, device=device,
            precision=self.precision, accumulate=self.accumulate, task=task, recipe=asdict(self) | record,
        )  # fmt: skip


def probabilities(
    method: Classify, pictures: Pictures, *, size: int, device: str, batch: int = 256
) -> Events[np.ndarray]:
    """A trained classifier's probabilities for un-augmented pictures, float32 ``[N, categories]``.

    The classifier is in evaluation mode afterwards.
    """
    encoder, chance = method.eval().encoder, []
    for start in range(0, len(pictures), batch):
        read = pictures.read(np.arange(start, min(start + batch, len(pictures))))
        shown = show(read, size=size, channels=encoder.channels, device=device, mean=encoder.mean, std=encoder.std)
        with torch.no_grad():
            chance.append(method.predict(shown).float().softmax(1).cpu().numpy())
        yield Progress("judging", start + len(read), len(pictures), "pictures")
    return np.concatenate(chance)
