"""Formulas drawn many pictures at a time on a device, so that a GPU makes its own training data.

``data/device/NAME.py`` is the twin of ``formulas/NAME.py``, which is its oracle: the same integers and the same IEEE
operations in the same order, as batched torch. A twin agrees with its formula in all but half a per cent of the
pixels, and where nothing is said in its file, in all of them.
"""

import importlib
import operator
import types
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ... import spec
from ...errors import InputError
from ...formulas import Formula, Params

__all__ = ["MEMORY", "refusal", "render_batch"]

MEMORY = 2 << 30
"""Bytes that drawing may take at a time, beside the pictures themselves; batches that need more go in slices."""


def render_batch(
    formula: Formula,
    params: Sequence[Params],
    size: int,
    seeds: Sequence[int] | np.ndarray,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draws members of a formula's classes on a device; picture ``i`` depends on ``params[i]`` and ``seeds[i]`` alone.

    Args:
        formula: the family and its settings.
        params: what ``formula.instance`` gave, for each picture.
        size: the side in pixels.
        seeds: the 64-bit keys of the streams that the pictures draw from: ``Draw(seed, category, instance).split(1)``
            has the one of ``formulas.picture`` as its ``key``. Python integers or uint64.
        device: where the pictures are drawn and stay.

    Returns:
        uint8 ``[B, size, size]``, or ``[B, size, size, 3]`` in colour, on the device.

    Raises:
        InputError: if this formula or these settings have no twin (:func:`refusal` says so beforehand), or whatever
            the formula's own ``render`` refuses.
    """
    reason, family = refusal(formula), _twin(_name(formula))
    if reason or family is None:
        raise InputError(reason or "")
    seeds = _keys(seeds)
    if not len(params) or len(params) != len(seeds):
        raise InputError(f"render_batch: got {len(params)} params and {len(seeds)} seeds; expected one each a picture")
    draw, weigh = family.prepare(formula, size)
    parts = [
        draw(params[first:last], torch.from_numpy(seeds[first:last]).to(device))
        for first, last in _slices(weigh(params), MEMORY)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def refusal(formula: Formula) -> str | None:
    """Why a formula cannot be drawn on a device, naming what can; None if it can."""
    name = _name(formula)
    family = _twin(name)
    if family is None:
        return f"{name} is drawn by the CPU only; drawn on a device are {', '.join(spec.names('data/device'))}"
    return family.refusal(formula)


Drawing = Callable[[Sequence[Params], Tensor], Tensor]
"""From B parameters and keys int64 ``[B]`` to pictures. A family's ``prepare`` gives one, with its ``Weighing``."""

Weighing = Callable[[Sequence[Params]], Sequence[int]]
"""The bytes that drawing takes for each of B pictures."""


def _name(formula: Formula) -> str:
    module = type(formula).__module__
    parent, _, name = module.rpartition(".")
    return name if parent == Formula.__module__ else module


@lru_cache
def _twin(name: str) -> types.ModuleType | None:
    if name not in spec.names("data/device"):
        return None
    return importlib.import_module(f"{__name__}.{name}")


def _slices(weights: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Cuts a batch into slices of at most so many bytes, or of one picture."""
    first, total = 0, 0
    for place, weight in enumerate(weights):
        if total + weight > most and place > first:
            yield first, place
            first, total = place, 0
        total += weight
    yield first, len(weights)


def _keys(seeds: Sequence[int] | np.ndarray) -> np.ndarray:
    """The 64 bits of each key as int64, which is what torch can calculate with."""
    try:
        if isinstance(seeds, np.ndarray) and seeds.dtype.kind == "i":
            return np.ascontiguousarray(seeds, np.int64)
        return np.array([operator.index(seed) for seed in seeds], np.uint64).view(np.int64)
    except (OverflowError, TypeError, ValueError):
        raise InputError("render_batch(seeds=...): expected whole numbers from 0 to 2**64 - 1") from None
