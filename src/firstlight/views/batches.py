"""The endless sequence of batches that training consumes: which pictures, in which order, made into which views.

A batch is a pure function of (pictures, views, seed, step): nothing has to be saved to resume but the step, and
neither the number of ranks nor gradient accumulation changes what the global batch of a step holds.
"""

import atexit
import copy
import queue
import threading
import weakref
from collections.abc import Generator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .. import ranks
from ..data import Pictures
from ..data.device import refusal
from ..data.formula import FormulaPictures
from ..data.order import keys, samples
from ..errors import InputError
from . import Batch, View
from .make import make, pack
from .maps import aligned

__all__ = ["Batches", "side_of"]

OTHER = 1_000_003
"""added to the seed for draws that training does not see"""
DEPTH = 2
"""micro-batches ready ahead of the one in use; the thread holds one more while it waits"""


class Batches:
    """Pictures made into the views that a method declared.

    Args:
        pictures: what to learn from.
        views: what a method wants to see of each picture.
        size: the picture size, in pixels, that the views' ``size`` refers to.
        batch: the pictures per optimiser step, over all ranks and parts.
        seed: of the order and of all draws.
        channels: 1 or 3.
        device: where the views are made; the uint8 pixels are moved there first.
        mean: of the normalisation, for values in [0, 1].
        std: of the normalisation.
        multiple: every view's side is a multiple of this, such as the encoder's patch.
        parts: micro-batches per optimiser step and rank (gradient accumulation).
        draw: where the pictures of a formula are drawn: by the ``cpu``, on the ``device``, or ``auto``, on the device
            if it is a CUDA one and the formula has a twin there.
        maps: the kinds of maps that a method learns from; made of the first view, where the pictures have them.

    Attributes:
        drawn: where they are drawn and why, in words; empty where that goes without saying.

    Raises:
        InputError: if a setting is out of its range, there are no pictures, ``batch`` cannot be divided evenly, or
            ``draw`` asks for the device and these pictures cannot be drawn there.
    """

    def __init__(
        self,
        pictures: Pictures,
        views: tuple[View, ...],
        *,
        size: int,
        batch: int,
        seed: int = 0,
        channels: int = 3,
        device: str | torch.device = "cpu",
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        multiple: int = 1,
        parts: int = 1,
        draw: Literal["auto", "cpu", "device"] = "auto",
        maps: Sequence[str] = (),
    ):
        if not len(pictures):
            raise InputError("there are no pictures to learn from; expected at least one")
        if channels not in (1, 3):
            raise InputError(f"channels={channels!r}: expected 1 (grey) or 3 (colour)")
        for name, number in {"size": size, "batch": batch, "multiple": multiple, "parts": parts}.items():
            if number < 1:
                raise InputError(f"{name}={number}: expected 1 or more")
        self.pictures, self.views, self.size, self.batch, self.seed = pictures, views, size, batch, seed
        self.channels, self.device, self.mean, self.std = channels, _numbered(torch.device(device)), mean, std
        self.multiple, self.parts = multiple, parts
        self.maps = [kind for kind in maps if kind in pictures.maps]
        self._on_device, self.drawn = _where_drawn(pictures, self.device, draw)
        _ = self.part_size

    @property
    def part_size(self) -> int:
        """Pictures per micro-batch on this rank.

        Raises:
            InputError: naming the nearest batch that divides evenly.
        """
        shares = ranks.world() * self.parts
        if self.batch % shares:
            nearest = max(1, round(self.batch / shares)) * shares
            raise InputError(
                f"a batch of {self.batch} cannot be divided evenly among {ranks.world()} process(es) x "
                f"{self.parts} part(s); the nearest that can is {nearest}"
            )
        return self.batch // shares

    def at(self, step: int, part: int = 0) -> Batch:
        """This rank's micro-batch ``part`` of optimiser step ``step``, both from 0."""
        if step < 0 or not 0 <= part < self.parts:
            raise InputError(f"step {step}, part {part}: expected a step from 0 and a part below {self.parts}")
        count = self.part_size
        start = step * self.batch + (ranks.rank() * self.parts + part) * count
        return self._made(start, count, self.seed)

    def some(self, count: int, seed: int = 0) -> Batch:
        """So many pictures, fewer where there are fewer, in other draws than those of training, alike on every rank."""
        return self._made(0, min(count, len(self.pictures)), self.seed + 2 * OTHER + seed)

    def stream(self, start: int = 0) -> Generator[Batch, None, None]:
        """Micro-batches part by part from step ``start`` on, without end, prepared ahead in one thread.

        Closing the iterator, or letting go of it, ends the thread. What goes wrong while reading is raised here.
        """
        ready: queue.Queue[Batch | BaseException] = queue.Queue(DEPTH)
        closed = threading.Event()
        thread = threading.Thread(target=_prepare, args=(self, start, ready, closed), name="batches", daemon=True)
        _running[thread] = closed
        thread.start()
        try:
            while True:
                batch = ready.get()
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            closed.set()

    def once(self) -> Generator[Batch, None, None]:
        """Micro-batches that hold every picture once or, at the end, twice, in other draws than those of training.

        For what a method wants to know of all pictures before its first step.
        """
        other = copy.copy(self)
        other.seed = self.seed + OTHER
        for step in range(-(-len(self.pictures) // self.batch)):
            for part in range(self.parts):
                yield other.at(step, part)

    def epochs(self, step: int) -> float:
        """How often each picture has been seen on average before optimiser step ``step``."""
        return step * self.batch / len(self.pictures)

    def _made(self, start: int, count: int, seed: int) -> Batch:
        """Samples from position ``start`` of the sequence that ``seed`` orders."""
        epoch, index = samples(len(self.pictures), start, count, seed)
        key = torch.from_numpy(keys(seed, epoch, index))
        pixels = self._pixels(index)

        made = []
        for view in self.views:
            side = side_of(view, self.size, self.multiple)
            for _ in range(view.count):
                how = {"channels": self.channels, "mean": self.mean, "std": self.std}
                made.append(make(pixels, key, view, side=side, number=len(made), **how))
        maps = {kind: aligned(kind, self.pictures.read_maps(kind, index), *made[0]) for kind in self.maps}
        label = torch.from_numpy(np.asarray(self.pictures.labels[index], dtype=np.int64))
        label, key, index = (x.to(self.device) for x in (label, key, torch.from_numpy(index)))
        return Batch([images for images, _ in made], label, key, index, [geometry for _, geometry in made], maps)

    def _pixels(self, index: np.ndarray) -> Tensor | list[Tensor]:
        if self._on_device and isinstance(self.pictures, FormulaPictures):
            return self.pictures.tensor(index, self.device)
        return pack(self.pictures.read(index), self.device)


def side_of(view: View, size: int, multiple: int = 1) -> int:
    """A view's side in pixels: its fraction of ``size``, rounded to a multiple of ``multiple`` above 0."""
    return max(multiple, round(view.size * size / multiple) * multiple)


def _numbered(device: torch.device) -> torch.device:
    """The current CUDA device by its number: each thread has a current device of its own, and begins with 0."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def _where_drawn(pictures: Pictures, device: torch.device, draw: str) -> tuple[bool, str]:
    """Whether pictures are drawn on the device, and a sentence about it."""
    if draw not in ("auto", "cpu", "device"):
        raise InputError(f"draw={draw!r}: expected 'auto', 'cpu' or 'device'")
    if not isinstance(pictures, FormulaPictures):
        if draw == "device":
            raise InputError("draw='device': these pictures are read, not drawn from a formula; expected 'auto'")
        return False, ""
    if draw == "cpu" or (draw == "auto" and device.type != "cuda"):
        return False, ""
    reason = refusal(pictures.formula)
    if device.type not in ("cuda", "cpu"):
        reason = f"{device.type} has no double precision; allowed is cuda or cpu"
    if reason and draw == "device":
        raise InputError(f"draw='device': {reason}")
    return not reason, f"pictures are drawn by the CPU: {reason}" if reason else f"pictures are drawn on {device}"


def _prepare(batches: Batches, step: int, ready: queue.Queue, closed: threading.Event) -> None:
    try:
        while True:
            for part in range(batches.parts):
                if closed.is_set() or not _put(batches.at(step, part), ready, closed):
                    return
            step += 1
    except BaseException as error:  # nobody else would ever learn of it
        _put(error, ready, closed)


def _put(item: Batch | BaseException, ready: queue.Queue, closed: threading.Event) -> bool:
    """Waits for room, but never for a reader that has left."""
    while not closed.is_set():
        try:
            ready.put(item, timeout=0.05)
        except queue.Full:
            continue
        return True
    return False


_running: "weakref.WeakKeyDictionary[threading.Thread, threading.Event]" = weakref.WeakKeyDictionary()


@atexit.register
def _finish() -> None:
    """A thread that is inside torch when the interpreter ends aborts the process: let each finish its micro-batch."""
    threads = list(_running.items())
    for _, closed in threads:
        closed.set()
    for thread, _ in threads:
        thread.join(timeout=10)
