"""Reads checkpoints, our own and others', without ever running what is in a file.

Others' are safetensors, or PyTorch files through ``torch.load(weights_only=True)``; the layouts are those of
torchvision, timm's CheckpointSaver and the public formula-pre-trained models.
"""

import argparse
import contextlib
import pickle
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .errors import CorruptError, InputError

PICKLED = (".pth", ".pt", ".tar", ".bin")
HEADER_LIMIT = 4 << 20
"""bytes; a header has about 100 per tensor, and the largest vision models have a few thousand tensors"""
NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")
"""where a checkpoint keeps its weights; the averaged ones, where there are any, are those that were evaluated"""
WRAPPERS = ("_orig_mod.", "module.", "_orig_mod.")
"""what torch.compile and DistributedDataParallel put before every name, in either order"""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, without wrappers' prefixes.

    Args:
        path: ``.safetensors``, or ``.pth``, ``.pt``, ``.tar``, ``.bin`` written by ``torch.save``. The weights are
            the whole content, or lie under one of ``NESTED``, the averaged ones first. Of classes, only
            ``argparse.Namespace`` is let in besides tensors and plain values, because the public checkpoints hold
            their command line under ``args``; it has no code of its own.

    Raises:
        InputError: if there is no such file, it is of another kind, holds objects that would need code to be run,
            or holds no weights.
        CorruptError: if it is truncated or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no weights file {str(path)!r}")
    if path.suffix == ".safetensors":
        return _unwrapped(read_safetensors(path))
    if path.suffix in PICKLED:
        return _unwrapped(_chosen(_unpickled(path), path))
    allowed = ", ".join((".safetensors", *PICKLED))
    raise InputError(f"cannot read weights from {str(path)!r}: its name must end in one of {allowed}")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, after its header's length was found plausible.

    Raises:
        CorruptError: if the file is truncated, damaged, or its header is a bomb.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8:
        raise CorruptError(f"{str(path)!r} is truncated: {len(start)} bytes")
    length = struct.unpack("<Q", start)[0]
    if length > min(HEADER_LIMIT, path.stat().st_size - 8):
        raise CorruptError(
            f"{str(path)!r} is truncated or not safetensors: its header claims {length:,} bytes; "
            f"the file has {path.stat().st_size:,} and a header at most {HEADER_LIMIT:,}"
        )
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise CorruptError(f"{str(path)!r} is damaged or not safetensors: {error}") from None


def _unpickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), _quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message recommends to try again with weights_only=False. Here it is not the place for that advice.
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            raise InputError(
                f"{str(path)!r} was not read: it holds {refused[1]}, and reading that would run code from the file. "
                "Only tensors, plain values and argparse.Namespace are let in; save its state_dict() alone"
            ) from None
        raise CorruptError(f"{str(path)!r} is damaged or not a PyTorch checkpoint of weights") from None
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, struct.error) as error:
        reason = (str(error) or "it ends too early").partition(". ")[0]
        raise CorruptError(f"{str(path)!r} is truncated or damaged: {reason}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences PyTorch's remark on newer pickle protocols: what it cannot read it refuses anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
        yield


def _chosen(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint's content."""
    found = content
    if isinstance(content, dict):
        found = next((content[key] for key in NESTED if isinstance(content.get(key), dict)), content)
    if isinstance(found, dict) and found and all(isinstance(value, Tensor) for value in found.values()):
        return {str(key): value for key, value in found.items()}
    held = ", ".join(map(str, list(found)[:8])) if isinstance(found, dict) else type(found).__name__
    raise InputError(
        f"{str(path)!r} holds no weights: expected names with tensors, at the top or under one of "
        f"{', '.join(NESTED)}; it holds {held or 'nothing'}"
    )


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return weights
