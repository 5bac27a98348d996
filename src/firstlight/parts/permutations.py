"""Sets of orders of a puzzle's tiles that differ in as many places as can be, and the file that keeps them.

Noroozi & Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles", ECCV 2016.
https://arxiv.org/abs/1603.09246
"""

import contextlib
import functools
import hashlib
import itertools
import json
import math
import os
from pathlib import Path

import numpy as np
import torch

from ..errors import DiskError, InputError
from ..runs import write_whole
from ..views.random import Salt, uniform

MOST = 9
"""tiles; 10 would have 3.6 million orders"""


@functools.lru_cache(maxsize=8)
def permutations(count: int, tiles: int = 9, *, rule: str = "max_min", seed: int = 0) -> np.ndarray:
    """So many orders of so many tiles, chosen greedily: each next one is the farthest from those before.

    Far is meant by the number of places in which two orders differ (Hamming). The first is random.

    They are kept in the user's cache folder (``$XDG_CACHE_HOME`` or ``~/.cache``), and made anew where there is none,
    or what is in it is not whole.

    Args:
        count: how many.
        tiles: of the puzzle, 2 to 9.
        rule: "max_min" takes the order whose nearest chosen one is farthest; "max_avg", the paper's, the one with
            the largest mean distance, which lets a pair differ in two places alone.
        seed: of the first one.

    Returns:
        int64 ``[count, tiles]``, read-only. The tile ``order[i]`` stands at place ``i``.

    Raises:
        InputError: if there are fewer orders than wanted.
    """
    if rule not in ("max_min", "max_avg"):
        raise InputError(f"permutations by rule={rule!r}: allowed are 'max_min' and 'max_avg'")
    if not 2 <= tiles <= MOST or not 2 <= count <= math.factorial(tiles):
        most = math.factorial(min(max(tiles, 2), MOST))
        raise InputError(f"permutations={count} of {tiles} tiles: allowed are 2 to {most:,} of 2 to {MOST} tiles")
    place = _file(count, tiles, rule, seed)
    found = _read(place, count, tiles) if place else None
    if found is None:
        found = chosen(count, tiles, rule=rule, seed=seed)
        if place:
            with contextlib.suppress(DiskError):  # the next process makes them again
                write_whole(place, _written(found))
    found.setflags(write=False)
    return found


def chosen(count: int, tiles: int, *, rule: str, seed: int) -> np.ndarray:
    """What `permutations` returns, made anew: seconds for 1,000 of the 362,880 orders of 9 tiles.

    Only the least distance, or the sum of distances, to the chosen ones is carried along, so that each of them is
    compared with all orders once.
    """
    flat = itertools.chain.from_iterable(itertools.permutations(range(tiles)))
    every = np.fromiter(flat, np.uint8).reshape(-1, tiles)
    columns = np.ascontiguousarray(every.T)
    nearest = np.full(len(every), tiles + 1, np.uint8)
    total = np.zeros(len(every), np.int64)

    taken = [int(uniform(torch.tensor(seed), Salt.PERMUTATION).double() * len(every))]
    while len(taken) < count:
        distance = np.zeros(len(every), np.uint8)
        for column, value in zip(columns, every[taken[-1]]):
            distance += column != value
        if rule == "max_min":
            np.minimum(nearest, distance, out=nearest)  # its own distance, 0, keeps a chosen one from returning
            taken.append(int(nearest.argmax()))
        else:
            total += distance
            total[taken[-1]] = np.iinfo(np.int32).min
            taken.append(int(total.argmax()))
    return every[taken].astype(np.int64)


def _file(count: int, tiles: int, rule: str, seed: int) -> Path | None:
    """Where they are kept; None for a user without a home."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return root / "firstlight" / f"permutations-{tiles}-{count}-{rule}-{seed}.json"


def _written(orders: np.ndarray) -> bytes:
    rows = ["".join(map(str, row)) for row in orders.tolist()]
    return json.dumps({"sha256": _digest(rows), "permutations": rows}).encode()


def _read(place: Path, count: int, tiles: int) -> np.ndarray | None:
    """The orders in a file, if they are those that were written."""
    try:
        stored = json.loads(place.read_bytes())
        rows = stored["permutations"]
        if stored["sha256"] != _digest(rows) or len(set(rows)) != count:
            return None
        orders = np.array([[int(digit) for digit in row] for row in rows], np.int64)
        whole = np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(tiles), (count, 1)))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return orders if whole else None


def _digest(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
