"""Fractals in space on a device, pixel for pixel those of ``formulas/fractal3d.py``."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...formulas import Params
from ...formulas._chaos3d import CHAINS, FAR, MOST_MAPS, SETTLE
from ...formulas._project import DISTANCE, FOCAL, NEAR
from ...formulas.fractal3d import Fractal3d
from . import Drawing, Weighing, _chaos, _choice, _raster
from ._draws import divided

POINT_BYTES, PIXEL_BYTES = 80, 16
"""What a point and a pixel take while they are drawn."""


def refusal(formula: Fractal3d) -> str | None:
    """Why these settings have no twin: all have."""
    return None


def prepare(formula: Fractal3d, size: int) -> tuple[Drawing, Weighing]:
    """How B members are drawn, and the bytes that each takes."""
    if not 8 <= size <= 8192:
        raise InputError(f"fractal3d(size={size}): allowed is 8 to 8192 pixels")
    factor = formula.oversample or max(1, 128 // size)
    canvas = size * factor
    if canvas > 8192:
        raise InputError(f"fractal3d(oversample={factor}): allowed is at most {8192 // size} at {size} pixels")
    points = formula.points or min(10_000, 10_000 * canvas**2 // 224**2)
    draw = partial(_draw, canvas, factor, points, formula.shaded)
    weight = POINT_BYTES * (points + SETTLE * CHAINS) + PIXEL_BYTES * canvas**2
    return draw, lambda params: [weight] * len(params)


def _draw(canvas: int, factor: int, points: int, shaded: bool, params: Sequence[Params], key: Tensor) -> Tensor:
    """The streams ``key`` have no part: a cloud's walk is its class's, and the view came with the member."""
    walk = np.array([int(entry["walk"]) for entry in params], np.uint64).view(np.int64)
    clouds = ([entry["maps"] for entry in params], torch.from_numpy(walk).to(key.device), points)
    path = _choice.fastest(
        "fractal3d", key.device, lambda: _clouds(advance, *clouds), lambda: _clouds(_choice.triton().advance, *clouds)
    )
    view = torch.from_numpy(np.stack([entry["view"] for entry in params])).to(key.device)
    return _raster.shrink(_projected(path, _frame(path), view, canvas, points, shaded), factor)


def advance(rounds: int, state: Tensor, walk: Tensor, steps: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Plays rounds of the chaos game in space.

    Args:
        rounds: how many.
        state: int64 ``[2, B, CHAINS]``, the chains' random states.
        walk: float32 ``[3, B, CHAINS]``, where the chains are.
        steps: int32 ``[B, maps]``, the thresholds.
        table: float32 ``[B, maps, 12]``, the maps.

    Returns:
        the random states after them, and the places after each round, float32 ``[rounds, 3, B, CHAINS]``.
    """
    columns = table.view(-1, 12).T[[0, 3, 6, 1, 4, 7, 2, 5, 8, 9, 10, 11]].contiguous()
    path = torch.empty(rounds, *walk.shape, device=walk.device)
    for first in range(0, rounds, _chaos.TOGETHER):
        some = path[first : first + _chaos.TOGETHER]
        state, coefficients = _chaos.picked(len(some), state, steps, columns)
        of_x, of_y, of_z, shift = coefficients.view(4, 3, *coefficients.shape[1:])
        for turn, after in enumerate(some):
            x, y, z = walk
            walk = torch.mul(of_x[:, turn], x, out=after)
            walk += of_y[:, turn] * y
            walk += (of_z[:, turn] * z).add_(shift[:, turn])
    return state, path


def _clouds(
    advance: Callable[..., tuple[Tensor, Tensor]], systems: Sequence[np.ndarray], key: Tensor, points: int
) -> Tensor:
    """Clouds, float32 ``[rounds, 3, B, CHAINS]``."""
    table, steps = _chaos.stacked(systems, MOST_MAPS, 13)
    steps = torch.from_numpy(steps).to(key.device)
    maps = torch.from_numpy(table[:, :, :12].copy()).to(key.device)
    rounds = -(-points // (4 * CHAINS)) * 4

    def play(these: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
        state = _chaos.seeded(key[these], CHAINS)
        start = torch.zeros(3, *state.shape[1:], device=key.device)
        state, path = advance(SETTLE, state, start, steps[these], maps.float())
        _, path = advance(rounds, state, path[-1], steps[these], maps.float())
        return path, (path[-1].abs() < float(FAR)).all(0).all(-1)

    return _chaos.until_they_stay(maps, 9, play)[0]


def _frame(path: Tensor) -> Tensor:
    """Mean and scale of clouds, float64 ``[4, B, 1]``.

    Summed in the kernel's order: four rounds, then along the chains, then over the chains.
    """
    a, b, c, d = path.view(-1, 4, *path.shape[1:]).unbind(1)
    fours = (a + b) + (c + d)
    chains = torch.zeros_like(fours[0])
    for four in fours:
        chains += four
    total = torch.zeros(chains.shape[:2], dtype=torch.float64, device=path.device)
    for chain in chains.double().unbind(-1):
        total += chain
    extent = (path.amax((0, 1, 3)) - path.amin((0, 1, 3))).double()  # of single precision, as the kernel's
    scale = torch.where(extent > 0, torch.full_like(extent, 2.0) / extent, 1.0)
    return torch.cat([divided(total, path.shape[0] * CHAINS), scale[None]])[:, :, None]


def _projected(path: Tensor, frame: Tensor, view: Tensor, size: int, points: int, shaded: bool) -> Tensor:
    """The points as a camera sees them, uint8 ``[B, size, size]``."""
    scaled = view * frame[3][:, :, None]
    mean = frame[:3, :, 0].T
    offset = torch.zeros_like(scaled[:, :, 0])
    for axis in range(3):
        offset += scaled[:, :, axis] * mean[:, None, axis]
    seen = torch.cat([scaled, -offset[:, :, None]], 2).float()
    (a, b, c, d), (e, f, g, h), (i, j, k, l) = seen.permute(1, 2, 0)[..., None]  # noqa: E741
    x, y, z = path.unbind(1)
    depth = ((DISTANCE - l) - i * x) - (j * y + k * z)
    grown = torch.full_like(depth, FOCAL * size * 0.5) / depth
    column = size * 0.5 + grown * ((a * x + b * y) + (c * z + d))
    row = size * 0.5 - grown * ((e * x + f * y) + (g * z + h))
    inside = (depth >= NEAR) & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    inside &= torch.arange(inside[:, 0].numel(), device=path.device).view(len(path), 1, CHAINS) < points
    batch, lost = path.shape[2], path.shape[2] * size**2
    corner = torch.arange(batch, device=path.device)[:, None] * size**2
    spot = torch.where(inside, row.long() * size + column.long() + corner, lost).view(-1)
    light = (255.0 + 96 * 3 - 96.0 * depth).clamp_(63, 255) if shaded else torch.full_like(depth, 255)
    canvas = torch.zeros(lost + 1, dtype=torch.int32, device=path.device)
    canvas.scatter_reduce_(0, spot, light.int().view(-1), "amax")
    return canvas[:lost].view(batch, size, size).byte()
