"""How many steps the budget of a comparison allows on this machine: measured, then written down."""

import time
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..events import Events, Note, Warned
from . import _choose

if TYPE_CHECKING:
    from ..data import Split
    from .compare import Compare

RESERVE = 0.2  # of the budget: reading, drawing the first pictures, kernel SVM, predicting, the report
PASSES = 30  # over the labelled pictures, at most: beyond that fine-tuning on so few only repeats itself
OVERHEAD = 1.25  # views, drawing and logging beside the step itself
LEAST = 5  # steps below which a network has learnt nothing worth comparing


def make(
    recipe: "Compare", split: "Split", labelled: "list[Split]", *, size: int, device: str
) -> Events[dict[str, Any]]:
    """Works out the steps of pre-training and fine-tuning, and says so.

    Fine-tuning is served first, up to ``PASSES`` over the labelled pictures (or 200 steps); the rest of the budget
    is shared by the pre-trainings.
    """
    pretrainings = len([c for c in recipe.contenders if c not in ("svm", "scratch")])
    fits = recipe.seeds * len([c for c in recipe.contenders if c != "svm"])
    pictures = min(len(draw.train) for draw in labelled)
    batch = min(recipe.finetune_batch, pictures)
    steps = {"pretrain_steps": recipe.pretrain_steps or 0, "finetune_steps": recipe.finetune_steps or 0}
    precision = "fp32"
    if fits:
        precision, fast = _speed(recipe, size, batch, len(split.train.classes), device)
        _, slow = _speed(recipe, size, recipe.pretrain_batch, recipe.categories, device, precision)
        left = recipe.budget * 60 * (1 - RESERVE)
        cap = max(200, PASSES * pictures // batch)
        share = left / 2 if pretrainings else left
        steps["finetune_steps"] = recipe.finetune_steps or int(min(cap, share / (fits * fast)))
        left -= fits * fast * steps["finetune_steps"]
        if pretrainings:
            steps["pretrain_steps"] = recipe.pretrain_steps or int(max(left, 0) / (pretrainings * slow))
    derived = {"device": device, "precision": precision, "size": size, "finetune_batch": batch} | steps
    derived |= {"train": len(split.train), "labelled": pictures, "test": len(split.test)}
    for name in ("finetune_steps", "pretrain_steps") if pretrainings else ("finetune_steps",) if fits else ():
        if steps[name] < LEAST:
            raise InputError(
                f"a budget of {recipe.budget:g} minutes allows {steps[name]} {name.replace('_', '-')} here, fewer than "
                f"{LEAST}; raise --budget, or choose a smaller --size (now {size}), --model or --seeds"
            )
    yield Note(
        f"{len(split.train):,} training pictures ({pictures:,} labelled in each draw), {len(split.test):,} test "
        f"pictures, {len(split.train.classes)} classes, shown at {size} px; {steps['pretrain_steps']:,} steps of "
        f"pre-training, {steps['finetune_steps']:,} of fine-tuning, {precision} on {device}"
    )
    if len(split.test) < 100:
        yield Warned(f"only {len(split.test)} test pictures: expect wide intervals")
    return derived


def _speed(
    recipe: "Compare", size: int, batch: int, classes: int, device: str, wanted: str = "auto"
) -> tuple[str, float]:
    """The precision to use and the seconds of one training step, measured on noise."""
    import torch

    from ..methods.classify import Classify
    from ..train import precision

    encoder = _choose.encoder(None, recipe.model, size=size, channels=recipe.channels, drop_path=0.0, seed=0)
    method = Classify(encoder, categories=classes).to(device)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-5)
    pictures = torch.rand(batch, recipe.channels, size, size, device=device)
    chosen, _ = precision.choose(wanted, device, method, lambda: pictures)
    arithmetic = precision.Arithmetic(chosen, device)

    def step() -> None:
        with arithmetic.autocast():
            loss = method.predict(pictures).float().logsumexp(1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    step()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return chosen, sorted(times)[2] * OVERHEAD
