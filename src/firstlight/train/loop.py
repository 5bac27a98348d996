"""The training loop: it takes a method and batches, and yields events. Who iterates decides what to show and keep."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .. import memory, ranks
from ..encoder import Encoder
from ..errors import FirstlightError, InputError, Stopped
from ..events import Events, Note, Step, Warned
from ..methods import Method
from ..parts.norm import synchronised
from ..runs import Run
from ..views import Batch
from ..views.batches import Batches
from . import precision, resume, schedules, signals
from .optimisers import average_gradients, build, clip, set_rates
from .setup import Setup

PATIENCE = 10  # steps in a row without a finite loss and gradient before the training gives up
SAVE_SECONDS = 300.0

Look = Callable[[Encoder], dict[str, float]]


class Training:
    """A training under way: what a checkpoint holds, and how one step moves it.

    Attributes:
        progress: the counters; with the tensors and the seed they are the whole state.
        layout: of convolutions and pictures in memory, while training.
    """

    def __init__(self, method: Method, setup: Setup):
        self.layout = precision.layout(method.encoder)
        self.method = method.to(setup.device).to(memory_format=self.layout).train()
        self.setup = setup
        self.optimizer = build(method, setup.optimisation)
        self.arithmetic = precision.Arithmetic("fp32", setup.device)
        self.progress = resume.Progress()

    def step(self, stream: Iterator[Batch], asked: list[bool]) -> tuple[dict[str, float], list[bool], str]:
        """One optimiser step: gradients of all parts, averaged over ranks, clipped, applied.

        Args:
            stream: gives the parts of the batch.
            asked: questions to which the answer is yes if any rank says so.

        Returns:
            The values to plot, the ranks' common answers, and why the step was skipped (empty if it was not).
        """
        setup, progress, optimizer, scaler = self.setup, self.progress, self.optimizer, self.arithmetic.scaler
        t, parameters = progress.step / setup.steps, [p for p in self.method.parameters() if p.requires_grad]
        lr = schedules.learning_rate(setup.optimisation, step=progress.step, steps=setup.steps, batch=setup.batch)
        weight_decay = schedules.weight_decay(setup.optimisation, step=progress.step, steps=setup.steps)
        set_rates(optimizer, lr, weight_decay, schedules.highest(setup.optimisation, batch=setup.batch))
        before = [(buffer, buffer.clone()) for buffer in _touched(self.method)]

        values, pictures = self._gradients(stream, t)
        average_gradients(parameters)
        scaler.unscale_(optimizer)
        self.method.before_step(t)
        values["gradient_norm"] = clip(parameters, setup.optimisation.clip, setup.optimisation.clip_each)
        values, asked, finite = self._agree(values, asked)

        if finite:
            scaler.step(optimizer)
            self.method.after_step(t)
        else:  # buffers too: one bad batch would stay in a running mean or a centre for ever
            for buffer, old in before:
                buffer.copy_(old)
        # While fp16 looks for its loss scale, gradients overflow, and that says nothing about the training.
        searching = self.arithmetic.searching and math.isfinite(values["loss"])
        progress.count(setup.batch, finite=finite, forgiven=searching)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

        plain = {name: value for name, value in values.items() if math.isfinite(value)}
        rates = {"lr": lr, "weight_decay": weight_decay, "skipped": float(progress.skipped)}
        return plain | rates, asked, "" if finite or searching else self._why(values, pictures)

    def _gradients(self, stream: Iterator[Batch], t: float) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Forward and backward through all parts of the batch."""
        values: dict[str, Tensor] = {}
        pictures: list[Tensor] = []
        for part in range(self.setup.accumulate):
            batch = next(stream)
            batch = dataclasses.replace(batch, views=[view.to(memory_format=self.layout) for view in batch.views])
            # Dropout and drop path start anew in each part, so that there is no random state to save.
            _seed(self.setup.device, _mix(self.setup.seed, self.progress.step, part, ranks.rank()))
            with self.arithmetic.autocast():
                out = self.method(batch, t)
            self.arithmetic.scaler.scale(out["loss"] / self.setup.accumulate).backward()
            for name, value in out.items():
                values[name] = values.get(name, 0.0) + torch.as_tensor(value).detach() / self.setup.accumulate
            pictures.append(batch.index[:4])
        return values, pictures

    def _agree(self, values: dict[str, Tensor], asked: list[bool]) -> tuple[dict[str, float], list[bool], bool]:
        """Averages values over ranks and settles what all ranks must do alike, in one exchange."""
        numbers = torch.stack([value.float().to(self.setup.device).view(()) for value in values.values()])
        bad = ~torch.isfinite(values["loss"]) | ~torch.isfinite(values["gradient_norm"])
        flags = torch.tensor(asked, dtype=torch.float32, device=self.setup.device)
        told = ranks.mean(torch.cat([bad.float().view(1), flags, numbers])).tolist()
        ends = 1 + len(asked)
        return dict(zip(values, told[ends:])), [x > 0 for x in told[1:ends]], told[0] == 0

    def _why(self, values: dict[str, float], pictures: list[Tensor]) -> str:
        what = "gradients are" if math.isfinite(values["loss"]) else "loss is"
        used, named = self.arithmetic.precision, torch.cat(pictures).tolist()
        hint = "" if used == "fp32" else f"; if this goes on, try fp32 in place of {used}"
        return f"step {self.progress.step} skipped: the {what} not finite (pictures {str(named)[1:-1]}, ...){hint}"


def train(
    method: Method,
    batches: Batches,
    setup: Setup,
    run: Run | None = None,
    probe: Look | None = None,
) -> Events[None]:
    """Trains ``method`` in place, from the newest checkpoint in ``run`` if there is one.

    Closing the generator cancels the training. The first SIGTERM or SIGINT finishes the step, saves, and raises
    ``Stopped``; the second ends the process at once. A step whose loss or gradients are not finite is skipped and
    leaves no trace in weights, buffers and optimiser.

    Args:
        method: what to minimise; moved to ``setup.device``.
        batches: views for the method, a function of the step.
        setup: how to train.
        run: where checkpoints go; None keeps none.
        probe: measures the encoder every ``setup.probe_every`` steps; its numbers join the step's values.

    Yields:
        ``Step`` for every logged step, before it is saved; ``Saved``, ``Warned`` and ``Note``.

    Raises:
        InputError: if the setup cannot be trained, or the checkpoint belongs to other settings.
        CorruptError: if there are checkpoints and none of them verifies.
        DiskError: if a checkpoint cannot be written.
        FirstlightError: after ten steps in a row without a finite loss and gradient.
        Stopped: after a signal.
    """
    setup.check()
    if (batches.batch, batches.parts) != (setup.batch, setup.accumulate):
        given, wanted = (batches.batch, batches.parts), (setup.batch, setup.accumulate)
        raise InputError("the batches hold {} pictures in {} parts, the setup wants {} in {}".format(*given, *wanted))
    method.check(setup.batch, setup.accumulate)
    with memory.kept(setup.device), precision.repeatable(setup.device), signals.listening() as request:
        training = Training(method, setup)
        try:
            yield from resume.restore(training, run)
            if training.progress.step == setup.steps:
                yield Note(f"{setup.task}: all {setup.steps} steps were done before")
                return
            yield from _prepare(training, batches)
            with contextlib.closing(batches.stream(training.progress.step)) as stream:
                yield from _steps(training, stream, request, run, probe)
        finally:  # as a method comes from its constructor and from disk, so that it is judged alike
            method.to(memory_format=torch.contiguous_format)


def _prepare(training: Training, batches: Batches) -> Events[None]:
    """Settles the precision, makes the ranks equal, and compiles."""
    setup, progress, method = training.setup, training.progress, training.method
    if not progress.precision:
        first = lambda: batches.at(progress.step).views[0]  # noqa: E731
        progress.precision, reason = precision.choose(setup.precision, setup.device, method, first)
        if setup.precision == "auto":
            yield Note(f"precision {progress.precision}: {reason}")
    training.arithmetic = precision.Arithmetic(progress.precision, setup.device)
    if progress.scaler:
        training.arithmetic.scaler.load_state_dict(progress.scaler)
    if method.synchronised:
        synchronised(method)
    ranks.spread(method.state_dict().values())
    if progress.step == 0:
        yield from method.prepare(batches)
    if setup.compile:
        method.compile()


def _steps(
    training: Training, stream: Iterator[Batch], request: signals.Request, run: Run | None, probe: Look | None
) -> Events[None]:
    setup, progress = training.setup, training.progress
    start = reported = saved = time.monotonic()
    last_reported = progress.step
    while progress.step < setup.steps:
        late = setup.save_every is None and time.monotonic() - saved > SAVE_SECONDS
        values, (stop, due), problem = training.step(stream, [request.number > 0, late])
        step, last = progress.step, progress.step == setup.steps

        if problem:
            yield Warned(problem)
        if probe and setup.probe_every and (step % setup.probe_every == 0 or last):
            values |= probe(training.method.encoder)
        if step % setup.log_every == 0 or last:
            now = time.monotonic()
            values["images_per_second"] = (step - last_reported) * setup.batch / max(now - reported, 1e-9)
            reported, last_reported = now, step
            yield Step(setup.task, step, setup.steps, progress.images, now - start, values)

        if progress.in_a_row >= PATIENCE:
            raise FirstlightError(
                f"{setup.task}: {PATIENCE} steps in a row without a finite loss and gradient, the last at step {step}; "
                "try a lower learning rate, gradient clipping or precision fp32. The last good checkpoint is kept"
            )
        if run and (last or stop or due or (setup.save_every and step % setup.save_every == 0)):
            yield resume.save(training, run)
            saved = time.monotonic()
        if stop:
            kept = "saved" if run else "nothing was to be kept"
            raise Stopped(f"{setup.task} stopped after step {step} of {setup.steps}; {kept}", request.number or 15)


def _touched(method: Method) -> Iterator[Tensor]:
    """The buffers that a forward pass may change.

    What a part with ``follow`` keeps moves in there alone, and a skipped step does not come so far: queues and the
    memories of all pictures, which may be large, need no copy.
    """
    for module in method.modules():
        pending = module._non_persistent_buffers_set if hasattr(module, "follow") else None
        for name, buffer in module.named_buffers(recurse=False):
            if pending is None or name in pending:
                yield buffer


def _seed(device: str, seed: int) -> None:
    if device == "cpu":  # torch.manual_seed also asks every kind of GPU, which takes longer than a small step
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers (the finaliser of splitmix64 after each)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
