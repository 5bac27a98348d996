"""Checkpoints that survive a kill, a full disk and a flipped bit: built aside, checksummed, moved into place in one go.

``checkpoints/step_000000100/`` holds ``weights.safetensors`` (the method's), ``optimiser.safetensors``,
``state.json`` and ``manifest.json``. Only safetensors and JSON: nothing that is read can run code. No random state is
kept, because every random draw is a function of the seed and the step.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import CorruptError, DiskError, InputError

SCHEMA = 1
FILES = ("weights.safetensors", "optimiser.safetensors", "state.json")
ASIDE = ".tmp-"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read and verified.

    Attributes:
        path: its folder.
        manifest: schema, step, images, recipe, versions and environment.
        weights: the method's state by name.
        optimiser: the optimiser's tensors, named ``parameter|slot``.
        state: what else the training needs to go on; JSON values.
    """

    path: Path
    manifest: dict[str, Any]
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, step: int, files: Mapping[str, bytes], manifest: Mapping[str, Any], keep: int = 2) -> Path:
    """Writes a checkpoint, verifies it, and only then deletes those older than the newest ``keep``.

    A kill at any point leaves the previous checkpoint or the new one.

    Args:
        folder: the checkpoints of one training.
        step: optimiser steps done; names the checkpoint.
        files: contents by file name, as ``pack`` makes them.
        manifest: what else to record; JSON values.
        keep: how many checkpoints stay.

    Returns:
        The checkpoint's folder.

    Raises:
        DiskError: naming path and bytes, if the disk is full, read-only, over quota or failing. What was there
            before is still there, and nothing half-written is.
    """
    target, aside = folder / f"step_{step:09d}", folder / f"{ASIDE}step_{step:09d}-{os.getpid()}"
    contents = dict(files) | {"manifest.json": _seal(step, files, manifest)}
    needed = sum(map(len, contents.values()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder, needed)
        os.mkdir(aside)
        for name, content in contents.items():
            _write(aside / name, content)
        _sync_folder(aside)
        if target.exists():
            set_aside(target)
        os.rename(aside, target)
        _sync_folder(folder)
        read(target)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, DiskError):
            raise
        reason = error.strerror or str(error)
        raise DiskError(f"cannot save the checkpoint {str(target)!r} ({needed:,} bytes): {reason}") from error
    for old in _candidates(folder)[keep:]:
        _delete(old)
    return target


def latest(folder: Path) -> tuple[Checkpoint | None, dict[Path, str]]:
    """The newest checkpoint that verifies, and why each newer one does not.

    Raises:
        InputError: if a newer version of this package wrote the newest one.
    """
    broken: dict[Path, str] = {}
    for path in _candidates(folder):
        try:
            return read(path), broken
        except CorruptError as error:
            broken[path] = str(error)
    return None, broken


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint folder and verifies every byte of it.

    Raises:
        CorruptError: saying which file fails and how.
        InputError: if its schema is newer than this version knows.
    """
    manifest = _read_manifest(path)
    contents = {name: _read_verified(path / name, manifest["files"]) for name in FILES}
    try:
        weights, optimiser = (safetensors.torch.load(contents[name]) for name in FILES[:2])
        return Checkpoint(path, manifest, weights, optimiser, json.loads(contents["state.json"]))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"checkpoint {path.name} cannot be decoded: {error}") from None


def tidy(folder: Path) -> None:
    """Removes what a killed process left half-done."""
    for leftover in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Renames a broken checkpoint so that it is neither read nor counted nor deleted; returns its new path."""
    aside = path.with_name(f"broken_{path.name}_{time.time_ns():x}")
    os.rename(path, aside)
    return aside


def pack(module: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, bytes]:
    """Turns weights, buffers, optimiser state and counters into the files of a checkpoint."""
    tensors, scalars = _flatten(module, optimizer)
    weights = {name: _held(value) for name, value in module.state_dict().items()}
    contents = (
        safetensors.torch.save(weights),
        safetensors.torch.save(tensors),
        json.dumps({**state, "optimiser": scalars}, sort_keys=True).encode(),
    )
    return dict(zip(FILES, contents))


def unpack(stored: Checkpoint, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Puts weights, buffers and optimiser state back.

    Raises:
        InputError: if the checkpoint's tensors are not those of the module.
    """
    try:
        module.load_state_dict(stored.weights)
    except RuntimeError as error:
        raise InputError(f"{str(stored.path)!r} does not fit this method: {error}") from None
    slots: dict[str, dict[str, Any]] = {}
    for place, value in [*stored.optimiser.items(), *stored.state["optimiser"].items()]:
        name, _, slot = place.rpartition("|")
        slots.setdefault(name, {})[slot] = value
    order = [_names(module)[id(p)] for group in optimizer.param_groups for p in group["params"]]
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict(
        {"state": {i: slots[name] for i, name in enumerate(order) if name in slots}, "param_groups": groups}
    )
    for parameter, held in optimizer.state.items():
        for slot, value in held.items():
            if (
                isinstance(value, Tensor) and value.shape == parameter.shape
            ):  # what is added up in another order differs
                held[slot] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _flatten(module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's state as tensors and JSON values, each named after its parameter."""
    names, tensors, scalars = _names(module), {}, {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for slot, value in optimizer.state.get(parameter, {}).items():
                place = f"{names[id(parameter)]}|{slot}"
                if isinstance(value, Tensor):
                    tensors[place] = _held(value)
                elif value is not None:
                    scalars[place] = value
    return tensors, scalars


def _names(module: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in module.named_parameters()}


def _held(value: Tensor) -> Tensor:
    """A copy of its own: safetensors refuses tensors that share memory."""
    return value.detach().to("cpu", copy=True).contiguous()


def _seal(step: int, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> bytes:
    sums = {name: {"bytes": len(content), "sha256": _sha(content)} for name, content in files.items()}
    sealed = json.loads(json.dumps({**manifest, "schema": SCHEMA, "step": step, "files": sums}, allow_nan=False))
    return json.dumps({**sealed, "sha256": _sha(_canonical(sealed))}, indent=1).encode()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        schema, claimed = manifest["schema"], manifest.pop("sha256")
        if isinstance(schema, int) and schema > SCHEMA:
            raise InputError(f"{str(path)!r} has schema {schema}, this firstlight reads up to {SCHEMA}: upgrade it")
        sound = schema == SCHEMA and claimed == _sha(_canonical(manifest)) and set(manifest["files"]) == set(FILES)
        sound = sound and path.name == f"step_{manifest['step']:09d}"
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise CorruptError(f"checkpoint {path.name}: manifest.json cannot be read: {reason}") from None
    if not sound:
        raise CorruptError(f"checkpoint {path.name}: manifest.json does not match its own checksum")
    return manifest


def _read_verified(path: Path, sums: dict[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptError(f"checkpoint {path.parent.name}: {path.name}: {error.strerror}") from None
    if len(content) != sums[path.name]["bytes"]:
        wanted = sums[path.name]["bytes"]
        raise CorruptError(f"checkpoint {path.parent.name}: {path.name} has {len(content):,} of {wanted:,} bytes")
    if _sha(content) != sums[path.name]["sha256"]:
        raise CorruptError(f"checkpoint {path.parent.name}: {path.name} does not match its checksum")
    return content


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, allow_nan=False).encode()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _candidates(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first by step; the clock plays no part."""
    return sorted((path for path in folder.glob("step_*") if path.is_dir()), reverse=True)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(f"cannot save a checkpoint in {str(folder)!r}: {needed:,} bytes needed, {free:,} free")


def _write(path: Path, content: bytes) -> None:
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    if os.name != "nt":  # Windows cannot open folders
        with _opened(path, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _delete(path: Path) -> None:
    """Renames first, so that a checkpoint half-deleted is never mistaken for a broken one."""
    doomed = path.with_name(f"{ASIDE}old-{path.name}")
    with contextlib.suppress(OSError):
        os.rename(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
