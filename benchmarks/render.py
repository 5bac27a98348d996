"""How fast fractals are drawn: ratios to a plain loop, measured in turn within one run.

``python benchmarks/render.py [--json benchmarks/results/render.json]``

The yardstick is the usual numba loop, one chain with NumPy's random numbers, without even drawing: 100,000 points in
double precision and nothing else. The same loop that also draws is measured too. Each system's fastest
repetition counts, because other work on the machine can only add time, and the median over systems is shown. One
picture is drawn untimed before each: pictures are drawn in a row, and the way measured before has emptied the caches.
"""

# ruff: noqa: NPY002 the yardstick is what people write, NumPy's global random numbers included
import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np
from numba import njit

from firstlight.data.formula import FormulaPictures
from firstlight.formulas import Draw, picture
from firstlight.formulas.fractal import Fractal

SIZE, POINTS, PAD, CATEGORIES, REPEATS = 256, 100_000, 6, 40, 10
GOALS = {"patch": 15.0, "point": 25.0, "search": 5.0, "two threads": 1.9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    path = parser.parse_args().json
    systems = [Fractal().category(Draw(0, category))["maps"] for category in range(CATEGORIES)]
    seconds = per_picture(systems)
    middle = {name: float(np.median(times)) for name, times in seconds.items()}
    rows = {name: {"ns a point": s / POINTS * 1e9, "pictures/s": 1 / s} for name, s in middle.items()}
    ratios = {
        "patch": float(np.median(seconds["plain walk"] / seconds["patch"])),
        "point": float(np.median(seconds["plain walk"] / seconds["point"])),
        "patch, yardstick drawing too": float(np.median(seconds["plain patch"] / seconds["patch"])),
        "point, yardstick drawing too": float(np.median(seconds["plain point"] / seconds["point"])),
        "search": search(),
        "two threads": threads(systems),
    }
    small = overhead(systems)
    for name, row in rows.items():
        print(f"{name:14s} {row['ns a point']:8.3f} ns/point {row['pictures/s']:10,.0f} pictures/s")
    for name, value in ratios.items():
        unit = "s for 1,000 categories (CPU)" if name == "search" else "times"
        goal = f"   goal {GOALS[name]:g}" if name in GOALS else ""
        print(f"{name:29s} {value:6.2f} {unit}{goal}")
    print(f"32 pixels: {small['whole']:.1f} us a picture, of which {small['python']:.1f} us outside the kernels")
    if path:
        record: dict[str, object] = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": {"cpu": device()},
            "versions": versions(),
        }
        record["settings"] = {"size": SIZE, "points": POINTS, "categories": CATEGORIES, "repeats": REPEATS}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**record, "rows": rows, "ratios": ratios, "32 px": small}, indent=1) + "\n")


def per_picture(systems: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Seconds a picture of each system: the fastest of the repetitions."""
    drawn = {mode: Fractal(mode=mode, points=POINTS, pad=PAD) for mode in ("point", "patch", "fixed_patch", "density")}
    ways: dict[str, Callable[[int], object]] = {
        "plain walk": lambda i: plain_walk(systems[i], POINTS, i),
        "plain point": lambda i: plain_picture(systems[i], POINTS, SIZE, PAD, i, False),
        "plain patch": lambda i: plain_picture(systems[i], POINTS, SIZE, PAD, i, True),
        **{
            mode: lambda i, formula=formula: picture(formula, i, 80, size=SIZE, params={"maps": systems[i]})
            for mode, formula in drawn.items()
        },
    }
    best = {name: np.full(len(systems), np.inf) for name in ways}
    for way in ways.values():
        way(0)
    for _ in range(REPEATS):
        for i in range(len(systems)):
            for name, way in ways.items():
                way(i)  # not counted: pictures are drawn in a row, and the other ways have emptied the caches
                start = time.perf_counter()
                for _ in range(4):
                    way(i)
                best[name][i] = min(best[name][i], (time.perf_counter() - start) / 4)
    return best


def search() -> float:
    """Seconds of processor time to find 1,000 categories."""
    formula = Fractal()
    start = time.process_time()
    for category in range(1000):
        formula.category(Draw(1, category))
    return time.process_time() - start


def threads(systems: list[np.ndarray]) -> float:
    """How many times as fast two threads draw as one."""
    entries = [{"maps": system} for system in systems]
    numbers, best = np.arange(0, CATEGORIES * 1000, 67), {1: np.inf, 2: np.inf}
    for _ in range(REPEATS):
        for count in best:
            pictures = FormulaPictures(
                Fractal(), categories=CATEGORIES, instances=1000, size=SIZE, threads=count, codebook=entries
            )
            start = time.perf_counter()
            pictures.read(numbers)
            best[count] = min(best[count], time.perf_counter() - start)
    return best[1] / best[2]


def overhead(systems: list[np.ndarray]) -> dict[str, float]:
    """Microseconds of a point picture of 32 pixels, and what is left of it beside its kernel's own time."""
    from firstlight.formulas._chaos import MARK, play

    marks, words, formula = np.zeros((32, 32), np.uint8), np.zeros((1, 1), np.uint32), Fractal("point", oversample=1)
    best = {"whole": np.inf, "kernel": np.inf}
    for i in range(500):
        start = time.perf_counter()
        picture(formula, 0, i, size=32, params={"maps": systems[0]})
        middle = time.perf_counter()
        play(systems[0], np.uint64(i), 1562, 1, MARK, 127, marks, words)
        best["whole"] = min(best["whole"], (middle - start) * 1e6)
        best["kernel"] = min(best["kernel"], (time.perf_counter() - middle) * 1e6)
    return {"whole": best["whole"], "python": best["whole"] - best["kernel"]}


@njit(nogil=True)
def plain_walk(system, points, seed):
    """The yardstick: one chain, NumPy's random numbers, a search through the cumulated probabilities."""
    np.random.seed(seed)
    cumulated = np.cumsum(system[:, 6])
    x = y = 0.0
    for _ in range(points):
        chance, k = np.random.random(), 0
        while k < len(system) - 1 and chance > cumulated[k]:
            k += 1
        x, y = (
            system[k, 0] * x + system[k, 1] * y + system[k, 4],
            system[k, 2] * x + system[k, 3] * y + system[k, 5],
        )
    return x + y


@njit(nogil=True)
def plain_picture(system, points, size, pad, seed, patch):
    """The same, drawing: points kept for their extent, then one by one a pixel or a random 3x3 patch."""
    np.random.seed(seed)
    cumulated, xs, ys = np.cumsum(system[:, 6]), np.empty(points), np.empty(points)
    x = y = 0.0
    for i in range(points):
        chance, k = np.random.random(), 0
        while k < len(system) - 1 and chance > cumulated[k]:
            k += 1
        x, y = (
            system[k, 0] * x + system[k, 1] * y + system[k, 4],
            system[k, 2] * x + system[k, 3] * y + system[k, 5],
        )
        xs[i], ys[i] = x, y
    pixels = np.zeros((size, size), np.uint8)
    left, bottom = xs.min(), ys.min()
    wide, high = (size - 2 * pad - 0.01) / (xs.max() - left), (size - 2 * pad - 0.01) / (ys.max() - bottom)
    for i in range(points):
        column, row = int((xs[i] - left) * wide + pad), int((ys[i] - bottom) * high + pad)
        if patch:
            mask = np.random.randint(1, 512)
            for j in range(9):
                pixels[row + j // 3 - 1, column + j % 3 - 1] = 127 if mask >> j & 1 else 0
        else:
            pixels[row, column] = 127
    return pixels


def device() -> str:
    """The processor's name, its vector width as numba sees it, and how many cores this process may use."""
    from llvmlite import binding

    wide = "AVX-512" if binding.get_host_cpu_features().get("avx512f") else "no AVX-512"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()} {binding.get_host_cpu_name()}, {wide}, {cores} cores"


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__}


if __name__ == "__main__":
    main()
