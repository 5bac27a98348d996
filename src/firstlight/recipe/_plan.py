"""How many steps the budget of a comparison allows on this machine: measured, then written down."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..events import Events, Note, Step, Warned
from . import _choose

if TYPE_CHECKING:
    from ..data import Pictures, Split
    from ..methods.classify import Classify
    from ..views.batches import Batches
    from .ablate import Ablate
    from .compare import Compare

RESERVE = 0.2  # of the budget: reading, drawing the first pictures, kernel SVM, predicting, the report
FIRST = 0.6  # of the rest, at most, for fine-tuning, without which pre-training is worth nothing
LITTLE = 0.25  # the same where it is pre-trainings that are compared
PASSES = 30  # over the labelled pictures, at most: beyond that fine-tuning on so few only repeats itself
STEPS = 12  # of timing
BRISK = 4e-3  # learning rate at a batch of 256: convolutional models learn formulas faster so; others keep the method's
DRAWING = 1.1  # formula pictures are drawn while the last batch trains, on the same cores
LEAST = 60  # steps, whatever the budget: below that a network has learnt nothing worth comparing


def make(
    recipe: "Compare | Ablate",
    split: "Split",
    labelled: "list[Split]",
    *,
    size: int,
    device: str,
    fits: int,
    pretrainings: int,
    first: float = FIRST,
    drawing: Callable[[], float] = lambda: 0.0,
) -> Events[dict[str, Any]]:
    """Works out the steps of pre-training and fine-tuning, and says so.

    Fine-tuning is served first, up to ``PASSES`` over the labelled pictures (or 200 steps); the rest of the budget
    is shared by the pre-trainings.

    Args:
        recipe: what the user set.
        split: all training pictures, and the test pictures.
        labelled: what each draw may see the labels of.
        size: the side of the pictures in pixels.
        device: where to train.
        fits: how many networks are fine-tuned.
        pretrainings: how many are pre-trained.
        first: the share of the budget that fine-tuning may take at most.
        drawing: measures the seconds that a batch of pre-training needs more than one of the user's pictures.
    """
    pictures = min(len(draw.train) for draw in labelled)
    plan: dict[str, Any] = {"device": device, "size": size, "finetune_batch": min(recipe.finetune_batch, pictures)}
    plan |= {"precision": "fp32", "finetune_steps": 0, "pretrain_steps": 0, "pretrain_lr": None}
    if fits:
        plan |= yield from _steps(recipe, split.train, pictures, fits, pretrainings, first, drawing, plan)
    plan |= {"train": len(split.train), "labelled": pictures, "test": len(split.test)}
    used = "all labelled" if pictures == len(split.train) else f"{pictures:,} labelled in each draw"
    yield Note(
        f"{len(split.train):,} training pictures ({used}), {len(split.test):,} test pictures, "
        f"{len(split.train.classes)} classes, shown at {size} px; {plan['pretrain_steps']:,} steps of "
        f"pre-training, {plan['finetune_steps']:,} of fine-tuning, {plan['precision']} on {device}"
    )
    if len(split.test) < 100:
        yield Warned(f"only {len(split.test)} test pictures: expect wide intervals")
    return plan


def _steps(
    recipe: "Compare | Ablate",
    train: "Pictures",
    labelled: int,
    fits: int,
    pretrainings: int,
    first: float,
    drawing: Callable[[], float],
    plan: dict[str, Any],
) -> Events[dict[str, Any]]:
    """Steps, precision and the learning rate of pre-training, for the budget that is left after timing."""
    timed = _Timed(recipe, train, plan["size"], plan["device"])
    precision, batch = timed.precision(plan["finetune_batch"]), plan["finetune_batch"]
    finetune, pretrain = recipe.finetune_steps, (recipe.pretrain_steps if pretrainings else 0)
    left = recipe.budget * 60 * (1 - RESERVE)
    if finetune is None or pretrain is None:
        each = timed.seconds_per_step(batch, precision) * fits
        left -= timed.spent()
        most = max(200, PASSES * labelled // batch)
        finetune = finetune or max(LEAST, int(min(most, left * (first if pretrainings else 1) / each)))
        left -= each * finetune
    if pretrain is None:
        each = (timed.seconds_per_step(recipe.pretrain_batch, precision) * DRAWING + drawing()) * pretrainings
        pretrain = max(LEAST, int(left / each))
        left -= each * pretrain
    if left < -1:
        yield Warned(
            f"{recipe.budget:g} minutes are too few here: this will take about {recipe.budget - left / 60:.0f}. "
            f"A smaller --size (now {plan['size']}), --model or number of --seeds is quicker"
        )
    rate = None if timed.isotropic else BRISK
    return {"precision": precision, "finetune_steps": finetune, "pretrain_steps": pretrain, "pretrain_lr": rate}


class _Timed:
    """Trains a network like the contenders' for a few steps on the user's own pictures, to see how long one takes."""

    def __init__(self, recipe: "Compare | Ablate", pictures: "Pictures", size: int, device: str):
        self.recipe, self.pictures, self.size, self.device = recipe, pictures, size, device
        self.begun = time.monotonic()

    @property
    def isotropic(self) -> bool:
        """Whether the model is a transformer or mixer of patches."""
        return self._method().encoder.patch is not None

    def precision(self, batch: int) -> str:
        """The fastest arithmetic here."""
        from ..train import precision

        method = self._method()
        first = lambda: self._batches(method, batch).at(0).views[0]  # noqa: E731
        return precision.choose("auto", self.device, method.to(self.device), first)[0]

    def seconds_per_step(self, batch: int, precision: Any) -> float:
        """The shortest of a few steps, views and all: other work on the machine can only add time."""
        from ..train import Setup, train

        method = self._method()
        setup = Setup(steps=STEPS, batch=batch, device=self.device, precision=precision)
        events = train(method, self._batches(method, batch), setup)
        times = [event.seconds for event in events if isinstance(event, Step)]
        return float(np.diff(times)[2:].min())

    def spent(self) -> float:
        """Seconds since the timing began."""
        return time.monotonic() - self.begun

    def _method(self) -> "Classify":
        from ..methods.classify import Classify

        encoder = _choose.encoder(
            None, self.recipe.model, size=self.size, channels=self.recipe.channels, drop_path=0.0, seed=0
        )
        return Classify(encoder, categories=len(self.pictures.classes))

    def _batches(self, method: "Classify", batch: int) -> "Batches":
        from ..views.batches import Batches

        return Batches(
            self.pictures, method.views, size=self.size, batch=batch, channels=self.recipe.channels,
            device=self.device, multiple=method.encoder.multiple,
        )  # fmt: skip
