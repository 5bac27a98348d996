"""Shows a running recipe's events: progress bars with rate and time left on a terminal, plain lines elsewhere."""

import os
import sys
import time
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from .events import Event, Events, Measured, Note, Saved, Step, Warned
from .events import Progress as Done

Value = TypeVar("Value")
QUIET = 2.0  # seconds: a piece of work shorter than this shows no bar
LINE = 10.0  # seconds between two plain lines of one piece of work


def watch(events: Events[Value], console: Console | None = None) -> Value:
    """Runs a recipe to its end, showing what happens, and returns its value. Only rank 0 speaks."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    silent = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0) > 0
    show = _Silent() if silent else _Bars(console) if console.is_terminal else _Lines(console)
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            show(event)
    finally:
        show.close()
        events.close()


class _Silent:
    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


class _Bars:
    """One bar for each piece of work that lasts over two seconds; it stays when the work is done."""

    def __init__(self, console: Console):
        self.console = console
        self.bars = Progress(
            SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), BarColumn(24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True), console=console,
        )  # fmt: skip
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, float] = {}
        self.bars.start()

    def __call__(self, event: Event) -> None:
        if isinstance(event, (Done, Step)):
            self._advance(event)
        elif (text := _line(event)) is not None:
            self.console.print(text, markup=False, style="yellow" if isinstance(event, Warned) else None)

    def _advance(self, event: Done | Step) -> None:
        now, name, done = time.monotonic(), event.task, event.step if isinstance(event, Step) else event.done
        begun = self.begun.setdefault(name, now)
        if name not in self.tasks:
            if now - begun < QUIET:
                if done >= event.total:
                    del self.begun[name]
                return
            self.tasks[name] = self.bars.add_task(name, total=event.total, rate="")
        self.bars.update(self.tasks[name], completed=done, rate=_rate(event, now - begun))
        if done >= event.total:  # the next piece of work of this name is another one
            del self.tasks[name], self.begun[name]

    def close(self) -> None:
        self.bars.stop()


class _Lines:
    """Plain lines for files and pipes: one at most every ten seconds for a piece of work, and all notes."""

    def __init__(self, console: Console):
        self.console = console
        self.begun: dict[str, float] = {}
        self.spoken: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, (Done, Step)):
            now, name = time.monotonic(), event.task
            begun = self.begun.setdefault(name, now)
            done = event.step if isinstance(event, Step) else event.done
            if done >= event.total:  # the next piece of work of this name is another one
                del self.begun[name]
                self.spoken.pop(name, None)
                return
            if now - self.spoken.setdefault(name, begun) < LINE:
                return
            self.spoken[name] = now
            left = (now - begun) / max(done, 1) * (event.total - done)
            self._print(f"{name}: {done:,}/{event.total:,}  {_rate(event, now - begun)}  {left:.0f} s left")
        elif (text := _line(event)) is not None:
            self._print(text)

    def _print(self, text: str) -> None:
        try:
            self.console.print(text, markup=False)
        except BrokenPipeError:  # whoever was reading went away; the work goes on
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115 for the rest of the process
            self.console = Console(file=sys.stderr)

    def close(self) -> None: ...


def _rate(event: Done | Step, seconds: float) -> str:
    if isinstance(event, Done):
        return f"{event.done / seconds:,.0f} {event.unit}/s" if seconds > 0 else ""
    images = event.values.get("images_per_second") or (event.images / event.seconds if event.seconds else 0.0)
    return f"loss {event.values.get('loss', float('nan')):.3f}  {images:,.0f} images/s"


def _line(event: Event) -> str | None:
    if isinstance(event, Note):
        return event.text
    if isinstance(event, Warned):
        return f"warning: {event.text}"
    if isinstance(event, Saved):
        return None if event.what == "checkpoint" else f"{event.what}: {event.path}"
    if isinstance(event, Measured):
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in event.numbers.items())
        return f"{event.name}: {numbers}"
    return None
