"""What a running recipe tells the world: plain records, and the consumers that show or keep them.

A long function is a generator of events that returns its value: ``data = yield from read_folder(path)``. Closing
the generator cancels the work. Nothing here imports torch.
"""

from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def record(self) -> dict[str, Any]:
        """The event as a JSON object with its kind under ``"event"``."""
        return {"event": type(self).__name__.lower(), **asdict(self)}


@dataclass(frozen=True)
class Progress(Event):
    """``done`` of ``total`` units of a named piece of work. Meant for a bar; not logged."""

    task: str
    done: int
    total: int
    unit: str = ""


@dataclass(frozen=True)
class Step(Event):
    """One optimiser step: scalar ``values`` (loss, learning rate, ...) averaged over ranks and micro-batches."""

    task: str
    step: int
    total: int
    images: int
    """images seen since the beginning of training, over all ranks"""
    seconds: float
    """monotonic seconds since this process began training"""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Note(Event):
    """One line for the reader."""

    text: str


@dataclass(frozen=True)
class Warned(Event):
    """One line about something skipped, changed or suspicious."""

    text: str


@dataclass(frozen=True)
class Saved(Event):
    """A file or folder was written and can be used."""

    what: str
    path: str


@dataclass(frozen=True)
class Measured(Event):
    """A result was written: its name and its headline numbers."""

    name: str
    numbers: dict[str, float] = field(default_factory=dict)


Events = Generator[Event, None, Value]


def drain(events: Events[Value]) -> Value:
    """Runs a generator of events to its end, silently, and returns its value."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value
