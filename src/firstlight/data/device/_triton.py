"""The chaos games and their patches in Triton, each as one kernel where torch needs dozens or thousands.

A thread plays one chain from its first round to its last and drops each point with an atomic operation, so a point
costs one store and no memory is read but the maps. Floating-point contraction is off: the pixels are those of the CPU.
Imported only where a CUDA device is used; with ``TRITON_INTERPRET=1`` the kernels run on the CPU, for tests.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...formulas._chaos import CHAINS, COUNT, FAR, MARK, MOST_MAPS, SETTLE, SURVEY

BLOCK = 128
"""Chains of a program, one for each of its threads."""

PIXELS = 512
"""Pixels of a program that paints."""


def survey(state: Tensor, steps: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As ``_chaos.survey``."""
    after, (walk, low, high) = torch.empty_like(state), torch.empty(3, *state.shape, device=state.device)
    batch = state.shape[1]
    given = (state, steps, table, after, walk, low, high, batch, SETTLE, SURVEY, float(FAR))
    _launch(_survey, batch, *given, CHAINS=CHAINS, MAPS=MOST_MAPS)
    near = (walk.abs() < float(FAR)).all(0).all(-1)
    return after, walk, low.amin(-1, keepdim=True), high.amax(-1, keepdim=True), near


def drop(
    state: Tensor, walk: Tensor, steps: Tensor, table: Tensor, size: int, points: int, kind: int, light: int
) -> Tensor:
    """As ``_chaos.drop``."""
    batch = state.shape[1]
    dtype = torch.uint8 if kind == MARK else torch.int32
    pixels = torch.zeros(batch, size, size, dtype=dtype, device=state.device)
    given = (state, walk, steps, table, pixels, batch, size, points, light)
    _launch(_drop, batch, *given, CHAINS=CHAINS, MAPS=MOST_MAPS, MARKS=kind == MARK, COUNTS=kind == COUNT)
    return pixels


def advance(rounds: int, state: Tensor, walk: Tensor, steps: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """As ``fractal3d.advance``."""
    _, batch, chains = state.shape
    after, path = torch.empty_like(state), torch.empty(rounds, *walk.shape, device=walk.device)
    given = (state, walk.contiguous(), steps, table, after, path, batch, rounds)
    _launch(_advance, batch, *given, CHAINS=chains, MAPS=steps.shape[1])
    return after, path


def patches(last: Tensor, mask: Tensor | None, key: Tensor, light: int) -> Tensor:
    """As ``_raster.patches``."""
    batch, size, _ = last.shape
    pixels = torch.empty_like(last, dtype=torch.uint8 if light else torch.int32)
    masks = key if mask is None else mask
    grid = (batch, triton.cdiv(size * size, PIXELS))
    kernel: Any = _patches
    kernel[grid](last, masks, key, pixels, size, light, BLOCK=PIXELS, OWN=mask is None, NUMBERS=light == 0, num_warps=4)
    return pixels


def _launch(kernel: Any, batch: int, *given: Any, **constants: int) -> None:
    """Starts programs of ``BLOCK`` chains each for all pictures, with contraction off."""
    grid = (batch, constants["CHAINS"] // BLOCK)
    kernel[grid](*given, BLOCK=BLOCK, **constants, num_warps=BLOCK // 32, enable_fp_fusion=False)


@triton.jit
def _survey(
    state, steps, maps, after, walk, lowest, highest, batch, settle, rounds, bound,
    CHAINS: tl.constexpr, BLOCK: tl.constexpr, MAPS: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(0)
    chain = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here, there = picture * CHAINS + chain, (batch + picture) * CHAINS + chain
    first, second = tl.load(state + here).to(tl.uint32), tl.load(state + there).to(tl.uint32)
    x, y = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for _ in range(settle):
        first, second, x, y = _turn(first, second, x, y, steps + picture * MAPS, maps + picture * MAPS * 6, MAPS)
    left, right = tl.full((BLOCK,), 0.0, tl.float32) + bound, tl.full((BLOCK,), 0.0, tl.float32) - bound
    bottom, top = left, right
    for _ in range(rounds):
        first, second, x, y = _turn(first, second, x, y, steps + picture * MAPS, maps + picture * MAPS * 6, MAPS)
        left, right = tl.where(x < left, x, left), tl.where(x > right, x, right)
        bottom, top = tl.where(y < bottom, y, bottom), tl.where(y > top, y, top)
    tl.store(after + here, first.to(tl.int64))
    tl.store(after + there, second.to(tl.int64))
    tl.store(walk + here, x)
    tl.store(walk + there, y)
    tl.store(lowest + here, left)
    tl.store(lowest + there, bottom)
    tl.store(highest + here, right)
    tl.store(highest + there, top)


@triton.jit
def _drop(
    state, walk, steps, maps, pixels, batch, size, points, light,
    CHAINS: tl.constexpr, BLOCK: tl.constexpr, MAPS: tl.constexpr, MARKS: tl.constexpr, COUNTS: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(0)
    chain = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here, there = picture * CHAINS + chain, (batch + picture) * CHAINS + chain
    first, second = tl.load(state + here).to(tl.uint32), tl.load(state + there).to(tl.uint32)
    x, y = tl.load(walk + here), tl.load(walk + there)
    canvas = pixels + picture.to(tl.int64) * size * size
    far = (size - 1).to(tl.float32)
    for turn in range(tl.cdiv(points, CHAINS)):
        first, second, x, y = _turn(first, second, x, y, steps + picture * MAPS, maps + picture * MAPS * 6, MAPS)
        column, row = tl.where(x < far, x, far), tl.where(y < far, y, far)  # what is no number goes to the rim
        column, row = tl.where(column > 0, column, 0.0), tl.where(row > 0, row, 0.0)
        spot = row.to(tl.int32) * size + column.to(tl.int32)
        number = turn * CHAINS + chain + 1
        if MARKS:
            tl.store(canvas + spot, tl.full((BLOCK,), light, tl.uint8), mask=number <= points)
        elif COUNTS:
            tl.atomic_add(canvas + spot, tl.full((BLOCK,), 1, tl.int32), mask=number <= points, sem="relaxed")
        else:
            tl.atomic_max(canvas + spot, number, mask=number <= points, sem="relaxed")


@triton.jit
def _advance(
    state, walk, steps, maps, after, path, batch, rounds, CHAINS: tl.constexpr, BLOCK: tl.constexpr, MAPS: tl.constexpr
):  # fmt: skip
    picture = tl.program_id(0)
    chain = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    here, plane = picture * CHAINS + chain, batch * CHAINS
    first, second = tl.load(state + here).to(tl.uint32), tl.load(state + plane + here).to(tl.uint32)
    x, y, z = tl.load(walk + here), tl.load(walk + plane + here), tl.load(walk + 2 * plane + here)
    steps += picture * MAPS
    maps += picture * MAPS * 12
    place = path + here
    for _ in range(rounds):
        first, second, chosen = _pick(first, second, steps, MAPS)
        m = maps + chosen * 12
        a = (tl.load(m) * x + tl.load(m + 1) * y) + (tl.load(m + 2) * z + tl.load(m + 9))
        b = (tl.load(m + 3) * x + tl.load(m + 4) * y) + (tl.load(m + 5) * z + tl.load(m + 10))
        c = (tl.load(m + 6) * x + tl.load(m + 7) * y) + (tl.load(m + 8) * z + tl.load(m + 11))
        x, y, z = a, b, c
        tl.store(place, x)
        tl.store(place + plane, y)
        tl.store(place + 2 * plane, z)
        place += 3 * plane
    tl.store(after + here, first.to(tl.int64))
    tl.store(after + plane + here, second.to(tl.int64))


@triton.jit
def _turn(first, second, x, y, steps, maps, MAPS: tl.constexpr):
    """One round of each chain in the plane."""
    first, second, chosen = _pick(first, second, steps, MAPS)
    m = maps + chosen * 6
    right = tl.load(m) * x + (tl.load(m + 1) * y + tl.load(m + 4))
    down = tl.load(m + 2) * x + (tl.load(m + 3) * y + tl.load(m + 5))
    return first, second, right, down


@triton.jit
def _pick(first, second, steps, MAPS: tl.constexpr):
    """The next 24 random bits of each chain (xoroshiro64*), and the map that they choose."""
    value = ((first * 0x9E3779BB) >> 8).to(tl.int32)
    second ^= first
    first = ((first << 26) | (first >> 6)) ^ second ^ (second << 9)
    second = (second << 13) | (second >> 19)
    chosen = tl.zeros_like(value)
    for k in tl.static_range(1, MAPS):
        chosen += (value >= tl.load(steps + k)).to(tl.int32)
    return first, second, chosen


@triton.jit
def _patches(
    last, masks, keys, pixels, size, light, BLOCK: tl.constexpr, OWN: tl.constexpr, NUMBERS: tl.constexpr
):  # fmt: skip
    picture = tl.program_id(0)
    spot = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row, column = spot // size, spot % size
    inner = (row > 0) & (row < size - 1) & (column > 0) & (column < size - 1)
    canvas = picture.to(tl.int64) * size * size
    top = tl.zeros((BLOCK,), tl.int32)
    for down in tl.static_range(3):
        for across in tl.static_range(3):
            beside = spot + (down - 1) * size + (across - 1)
            point = tl.load(last + canvas + beside, mask=inner, other=0)
            top = tl.maximum(top, (point << 4) | ((2 - down) * 4 + (2 - across)))
    point = top >> 4
    bit = ((top >> 2) & 3) * 3 + (top & 3)
    if OWN:
        h = (point.to(tl.uint32) ^ tl.load(keys + picture).to(tl.uint32)) * 0x9E3779B1
        h ^= h >> 15
        h = (h * 0x85EBCA77) >> 16
        own = (((h * 511) >> 16) + 1).to(tl.int32)
    else:
        own = tl.load(masks + picture).to(tl.int32) + tl.zeros((BLOCK,), tl.int32)
    shown = (((own >> bit) & 1) != 0) & (point > 0)
    if NUMBERS:
        tl.store(pixels + canvas + spot, tl.where(shown, point, 0), mask=spot < size * size)
    else:
        tl.store(pixels + canvas + spot, tl.where(shown, light, 0).to(tl.uint8), mask=spot < size * size)
