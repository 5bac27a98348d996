"""Saving a training and going on with it: the counters, the environment, and what must not have changed in between."""

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from .. import ranks
from ..errors import CorruptError, DiskError, FirstlightError, InputError
from ..events import Events, Note, Saved, Warned
from ..runs import Run
from . import checkpoint
from .precision import Precision

if TYPE_CHECKING:
    from .loop import Training


@dataclass
class Progress:
    """The counters of a training.

    Attributes:
        step: optimiser steps done, skipped ones included.
        images: seen over all ranks.
        skipped: steps whose loss or gradients were not finite.
        in_a_row: of these, without a good step since.
        precision: settled at the start and kept when resuming; empty before.
        scaler: fp16's loss scale.
    """

    step: int = 0
    images: int = 0
    skipped: int = 0
    in_a_row: int = 0
    precision: Precision | None = None
    scaler: dict[str, Any] = field(default_factory=dict)

    def count(self, images: int, *, finite: bool, forgiven: bool) -> None:
        """One more step. A ``forgiven`` one does not add to those in a row."""
        self.step += 1
        self.images += images
        self.skipped += not finite
        self.in_a_row = 0 if finite else self.in_a_row + (not forgiven)


def save(training: "Training", run: Run) -> Saved:
    """Rank 0 writes a checkpoint while the others wait; if it fails, it fails on all ranks.

    Raises:
        DiskError: naming path and bytes.
    """
    progress, problem = training.progress, None
    path = run.checkpoints / f"step_{progress.step:09d}"
    if ranks.rank() == 0:
        progress.scaler = training.arithmetic.scaler.state_dict()
        settings = training.setup.decisive()
        manifest = {
            "images": progress.images,
            "recipe": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
            "settings": settings,
            "environment": environment(training.setup.device),
        }
        files = checkpoint.pack(training.method, training.optimizer, asdict(progress))
        try:
            checkpoint.save(run.checkpoints, progress.step, files, manifest, training.setup.keep)
        except FirstlightError as error:
            problem = error
    failed = ranks.mean(torch.tensor(float(problem is not None), device=training.setup.device)).item()
    if problem:
        raise problem
    if failed:
        raise DiskError(f"the first process could not save {str(path)!r}")
    return Saved("checkpoint", str(path))


def restore(training: "Training", run: Run | None) -> Events[None]:
    """Goes on from the newest checkpoint of ``run`` that verifies, if there is one.

    Raises:
        InputError: if it was made with other settings, naming what differs, or by a newer version.
        CorruptError: if there are checkpoints, and none verifies.
    """
    if run is None:
        return
    stored, broken = checkpoint.latest(run.checkpoints)
    step = torch.tensor(float(stored.manifest["step"] if stored else 0), device=training.setup.device)
    if ranks.mean(step) != step:
        raise InputError(f"the processes see different checkpoints; {str(run.path)!r} must be on a disk they share")
    if ranks.rank() == 0:
        checkpoint.tidy(run.checkpoints)
        for path in broken if stored else ():
            checkpoint.set_aside(path)
    for reason in broken.values():
        yield Warned(f"{reason}; {'it is set aside and an older one used' if stored else 'it cannot be used'}")
    if broken and not stored:
        raise CorruptError(
            f"none of the {len(broken)} checkpoints in {str(run.checkpoints)!r} verifies; "
            "move the folder away to start from the beginning"
        )
    if stored:
        yield from _go_on(training, stored)


def environment(device: str) -> dict[str, Any]:
    """What bit-exact resumption depends on besides the settings."""
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": ranks.world(),
        **_versions(),
    }


@functools.cache
def _versions() -> dict[str, str]:
    names = ("firstlight", "torch", "timm", "numpy")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def _go_on(training: "Training", stored: checkpoint.Checkpoint) -> Events[None]:
    now = training.setup.decisive()
    changes = _differences(stored.manifest["settings"], now)
    if changes:
        raise InputError(
            f"{str(stored.path)!r} was made with other settings: {'; '.join(changes)}. "
            "Resume with the same settings, or train in another folder"
        )
    changes = _differences(stored.manifest["environment"], environment(training.setup.device))
    if changes:
        yield Warned(f"resumed in another environment, so not bit-exact: {'; '.join(changes)}")
    checkpoint.unpack(stored, training.method, training.optimizer)
    fields = {name: value for name, value in stored.state.items() if name != "optimiser"}
    training.progress = Progress(**fields)
    yield Note(f"{training.setup.task}: goes on after step {training.progress.step} of {training.setup.steps}")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _flat(before), _flat(now)
    keys = [key for key in {**old, **new} if old.get(key, "unset") != new.get(key, "unset")]
    return [f"{key} was {old.get(key, 'unset')}, is {new.get(key, 'unset')}" for key in keys]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves
