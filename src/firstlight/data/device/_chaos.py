"""The chaos game for many pictures at once, in torch: ``formulas/_chaos.py`` with a batch beside its chains.

What depends on the round before, the random state and the walk, is a dozen small kernels a round; everything else is
done for many rounds together. Products and sums are separate kernels, so that no device can contract them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...formulas._chaos import CHAINS, COUNT, FAR, MARK, SETTLE, SURVEY
from ._draws import counted

BYTES = 1 << 20
"""What a picture's chains take while ``TOGETHER`` rounds are played."""

TOGETHER = 16
SHRINKS = 100
_ONES = 0xFFFFFFFF


def stacked(systems: Sequence[np.ndarray], most: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Systems of different sizes as one table, float64 ``[B, most, columns]``, and their thresholds.

    Map ``k`` is taken by 24-bit values from threshold ``k``, int32 ``[B, most]``, up to the next; absent maps are out
    of reach.

    Raises:
        InputError: if one is no system of 1 to ``most`` maps.
    """
    table, number = np.zeros((len(systems), most, columns)), np.array([len(system) for system in systems])
    for row, system in zip(table, systems):
        if system.ndim != 2 or not 1 <= len(system) <= most or system.shape[1] != columns:
            raise InputError(
                f"a system of affine maps is float64 [N, {columns}] with N from 1 to {most}, got {list(system.shape)}: "
                "check the codebook"
            )
        row[: len(system)] = system
    reached = np.cumsum(table[:, :, -1], axis=1)
    before = np.concatenate([np.zeros_like(reached[:, :1]), reached[:, :-1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(reached[:, -1:] > 0, np.minimum(before / reached[:, -1:], 1.0), 0.0)
    absent = np.arange(most) >= number[:, None]
    return table, np.where(absent, 1 << 24, share * float(1 << 24)).astype(np.int32)


def until_they_stay(
    maps: Tensor, linear: int, play: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Plays all games, and those of systems that fly apart once more, their linear parts shrunk by tenths.

    Args:
        maps: float64 ``[B, maps, columns]``, changed in place.
        linear: how many of the first columns are the linear part.
        play: plays the games of some numbers, int64 ``[b]``, with their maps. It returns tensors ``[..., b, x]`` and,
            last, whether each stayed, bool ``[b]``.

    Returns:
        what ``play`` gives for all of them, but without the last.

    Raises:
        InputError: if one flies apart however much it is shrunk.
    """
    *games, stayed = play(torch.arange(len(maps), device=maps.device), maps)
    for _ in range(SHRINKS):
        lost = (~stayed).nonzero()[:, 0]
        if not len(lost):
            return tuple(games)
        maps[lost, :, :linear] *= 0.9
        *again, better = play(lost, maps[lost])
        stayed[lost] = better
        for whole, part in zip(games, again):
            whole.index_copy_(-2, lost, part)
    raise InputError("a system of affine maps stays out of all bounds however much it is shrunk: check the codebook")


def seeded(key: Tensor, chains: int = CHAINS) -> Tensor:
    """The chains' first random states, int64 ``[2, B, chains]`` of 32 bits each."""
    words = (counted(key, 0, 2 * chains) & _ONES) | 1
    return words.view(-1, 2, chains).transpose(0, 1).contiguous()


def survey(state: Tensor, steps: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Lets the chains settle and measures how far they reach.

    Args:
        state: int64 ``[2, B, CHAINS]``.
        steps: int32 ``[B, maps]``, the thresholds.
        table: float32 ``[B, maps, 6]``, the maps.

    Returns:
        the state after it, the chains' places float32 ``[2, B, CHAINS]``, the lowest and the highest coordinates
        ``[2, B, 1]``, and whether every chain is still near, bool ``[B]``.
    """
    walk = torch.zeros(state.shape, device=state.device)
    state, path = _advance(SETTLE, state, walk, steps, table)
    state, path = _advance(SURVEY, state, path[-1], steps, table)
    low, high = path.amin((0, 3)), path.amax((0, 3))
    return state, path[-1], low[:, :, None], high[:, :, None], (path[-1].abs() < float(FAR)).all(0).all(-1)


def to_pixels(maps: Tensor, low: Tensor, high: Tensor, size: int, pad: int, walk: Tensor) -> tuple[Tensor, Tensor]:
    """Changes the coordinates of the maps and the chains to columns and rows.

    Args:
        maps: float64 ``[B, maps, 6]``.
        low: float32 ``[2, B, 1]``.
        high: float32 ``[2, B, 1]``.
        size: of the picture.
        pad: pixels left free on each side.
        walk: float32 ``[2, B, CHAINS]``.

    Returns:
        the maps and the chains, float32.
    """
    extent = (high - low).double()  # the difference is taken in single precision, as the kernel's
    scale = torch.full_like(extent, size - 2 * pad - 0.01) / extent
    u, v = torch.where(extent > 0, scale, 1.0)
    v, left, top = -v, low[0].double(), high[1].double()
    shift_u, shift_v = pad - u * left, pad - v * top
    a, b, c, d, e, f = maps.unbind(2)
    b, c = b * (u / v), c * (v / u)
    e, f = u * e + shift_u - (a * shift_u + b * shift_v), v * f + shift_v - (c * shift_u + d * shift_v)
    x, y = walk.double()
    return torch.stack([a, b, c, d, e, f], 2).float(), torch.stack([u * x + shift_u, v * y + shift_v]).float()


def drop(
    state: Tensor, walk: Tensor, steps: Tensor, table: Tensor, size: int, points: int, kind: int, light: int
) -> Tensor:
    """Drops points on pixels; the arguments are ``survey``'s, in pixels, and those of ``formulas._chaos.play``.

    Returns:
        uint8 ``[B, size, size]`` for ``MARK``, else int32.
    """
    device, batch = state.device, state.shape[1]
    pixels = torch.zeros(batch * size * size, dtype=torch.uint8 if kind == MARK else torch.int32, device=device)
    corner = torch.arange(batch, device=device)[:, None] * (size * size)
    number = torch.arange(1, TOGETHER * CHAINS + 1, device=device, dtype=torch.int32)
    number = number.view(TOGETHER, 1, CHAINS).expand(-1, batch, -1)
    for start in range(0, points, TOGETHER * CHAINS):
        rounds = min(TOGETHER, -(-(points - start) // CHAINS))
        state, path = _advance(rounds, state, walk, steps, table)
        walk = path[-1]
        place = torch.nan_to_num(path, nan=size - 1).clamp_(0, size - 1).long()
        spot = place[:, 1].mul_(size).add_(place[:, 0]).add_(corner)
        _store(pixels, spot[:-1], number[: rounds - 1] + start, kind, light)
        left = points - start - (rounds - 1) * CHAINS  # in the last round not all chains may have a point left
        _store(pixels, spot[-1, :, :left], number[rounds - 1, :, :left] + start, kind, light)
    return pixels.view(batch, size, size)


def picked(rounds: int, state: Tensor, steps: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Draws the maps that the chains take in some rounds.

    Args:
        rounds: how many.
        state: int64 ``[2, B, chains]``.
        steps: int32 ``[B, maps]``, the thresholds.
        columns: float32 ``[C, B * maps]``, contiguous: the coefficients of the maps.

    Returns:
        the random state after them, and the coefficients, float32 ``[C, rounds, B, chains]``.
    """
    value, state = _roll(rounds, state)
    _, batch, chains = state.shape
    chosen = torch.searchsorted(steps, value.transpose(0, 1).reshape(batch, -1), right=True, out_int32=True)
    first = torch.arange(batch, device=state.device, dtype=torch.int32)[:, None] * steps.shape[1] - 1
    chosen = (chosen + first).view(batch, rounds, chains).transpose(0, 1).reshape(-1)
    return state, columns[:, chosen].view(-1, rounds, batch, chains)


def _advance(rounds: int, state: Tensor, walk: Tensor, steps: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Plays rounds: the random state after them, and the places after each, float32 ``[rounds, 2, B, CHAINS]``."""
    columns = table.view(-1, 6).T[[0, 2, 1, 3, 4, 5]].contiguous()
    state, coefficients = picked(rounds, state, steps, columns)
    of_x, of_y, shift = coefficients.view(3, 2, *coefficients.shape[1:])
    path = torch.empty(rounds, *walk.shape, device=walk.device)
    for turn in range(rounds):
        x, y = walk
        walk = torch.mul(of_y[:, turn], y, out=path[turn])
        walk += shift[:, turn]
        walk += of_x[:, turn] * x
    return state, path


def _roll(rounds: int, state: Tensor) -> tuple[Tensor, Tensor]:
    """The next 24 random bits of each chain and round, int32 ``[rounds, B, chains]``, and the state after them.

    Xoroshiro64*. A number beside a copy of itself, 32 bits higher, turns around by one shift.
    """
    history = state.new_empty(rounds + 1, *state.shape)
    history[0] = state
    places = state.new_empty(2, 1, 1)
    places[0], places[1] = 6, 19
    for turn in range(rounds):
        before, after = history[turn], history[turn + 1]
        second = before[1]
        second ^= before[0]
        torch.mul(before, (1 << 32) + 1, out=after)
        after >>= places
        after[0] ^= (second << 9) ^ second
        after &= _ONES
    value = (history[:-1, 0] * 0x9E3779BB).bitwise_right_shift_(8).bitwise_and_(0xFFFFFF)
    return value.int(), history[-1]


def _store(pixels: Tensor, spot: Tensor, number: Tensor, kind: int, light: int) -> None:
    spot = spot.reshape(-1)
    if kind == MARK:
        pixels[spot] = light
    elif kind == COUNT:
        pixels.scatter_add_(0, spot, torch.ones_like(spot, dtype=torch.int32))
    else:
        pixels.scatter_reduce_(0, spot, number.reshape(-1), "amax")
