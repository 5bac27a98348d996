"""How fast pictures are drawn: ratios to the public algorithms written plainly, measured in turn within one run.

``python benchmarks/render.py [--only contour atom] [--json benchmarks/results/render.json]``

Each family stands against ``plain/NAME.py``, which draws the same classes the way the public generator does. Fractals
also stand against the bare walk: the usual numba loop, one chain with NumPy's random numbers, without even drawing.
One picture is drawn untimed before each measurement: pictures are drawn in a row, and the way measured before has
emptied the caches. Other work on the machine can only add time, so the fastest of several repetitions counts; for the
families, of every eight pictures drawn both ways, with the range of the single rounds' ratios beside it.
"""

import argparse
import importlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import numpy as np

from firstlight.data.formula import FormulaPictures
from firstlight.formulas import Draw, Formula, picture
from firstlight.formulas.fractal import Fractal
from firstlight.formulas.fractal3d import Fractal3d
from plain.fractal import plain_picture, plain_walk

SIZE, POINTS, PAD, CATEGORIES, REPEATS = 256, 100_000, 6, 40, 10
GOALS = {"patch": 15.0, "point": 25.0, "search": 5.0, "two threads": 1.9}
FAMILIES = sorted(path.stem for path in (Path(__file__).parent / "plain").glob("*.py") if path.stem != "fractal")
ROUNDS, SECONDS, CHUNK = 3, 4.0, 8
"""how often the same pictures of a family are drawn both ways, how long that takes the plain one, and after how many
pictures it is the other's turn"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--only", nargs="+", choices=["fractal", *FAMILIES], default=["fractal", *FAMILIES])
    given = parser.parse_args()
    record: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "machine": {"cpu": device()}}
    record |= {"versions": versions(), "settings": {"size": SIZE, "points": POINTS, "categories": CATEGORIES}}
    if "fractal" in given.only:
        record |= fractal()
    record["families"] = {name: family(name) for name in given.only if name != "fractal"}
    if "fractal3d" in given.only:
        record["3D search"] = search(Fractal3d(variance=0.05))
        print(f"{'fractal3d search':18s} {record['3D search']:.1f} s for 1,000 categories (CPU)   goal below 20")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(record, indent=1) + "\n")


def family(name: str) -> dict[str, Any]:
    """Pictures a second of one family and of its yardstick, on the same pictures, and the ratio of their times."""
    module = importlib.import_module(f"plain.{name}")
    ours, plain = module.ours(), module.plain()
    _seconds(plain, [0])
    each = _seconds(plain, range(1, CHUNK + 1)) / CHUNK
    chunks = [range(CHUNK * k, CHUNK * (k + 1)) for k in range(max(2, round(SECONDS / each / CHUNK)))]
    times = np.array([[_pair(ours, plain, chunk) for chunk in chunks] for _ in range(ROUNDS)])
    ratios, pictures = times.sum(1)[:, 1] / times.sum(1)[:, 0], CHUNK * len(chunks)
    times = times.min(0).sum(0)
    found = {
        "setting": module.SETTING, "pictures": pictures, "pictures/s": float(pictures / times[0]),
        "plain pictures/s": float(pictures / times[1]), "ratio": float(times[1] / times[0]),
        "range": [float(ratios.min()), float(ratios.max())], "goal": module.GOAL,
    }  # fmt: skip
    low, high = found["range"]
    print(
        f"{name:14s} {found['pictures/s']:9,.0f} pictures/s {found['ratio']:7.0f} times ({low:.0f} to {high:.0f})"
        f"   goal {module.GOAL:g}   {module.SETTING}"
    )
    return found


def _pair(ours: Callable[[int], object], plain: Callable[[int], object], numbers: range) -> tuple[float, float]:
    """Seconds of processor time that each way takes for the same pictures, ours after a round that is not counted."""
    other = _seconds(plain, numbers)
    _seconds(ours, numbers)
    return _seconds(ours, numbers), other


def _seconds(way: Callable[[int], object], numbers: Iterable[int]) -> float:
    start = time.process_time()
    for number in numbers:
        way(number)
    return time.process_time() - start


def fractal() -> dict[str, Any]:
    """The planar fractals, mode by mode, with their search and their threads."""
    systems = [Fractal().category(Draw(0, category))["maps"] for category in range(CATEGORIES)]
    seconds = per_picture(systems)
    middle = {name: float(np.median(times)) for name, times in seconds.items()}
    rows = {name: {"ns a point": s / POINTS * 1e9, "pictures/s": 1 / s} for name, s in middle.items()}
    ratios = {
        "patch": float(np.median(seconds["plain walk"] / seconds["patch"])),
        "point": float(np.median(seconds["plain walk"] / seconds["point"])),
        "patch, yardstick drawing too": float(np.median(seconds["plain patch"] / seconds["patch"])),
        "point, yardstick drawing too": float(np.median(seconds["plain point"] / seconds["point"])),
        "search": search(Fractal()),
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
    return {"rows": rows, "ratios": ratios, "32 px": small}


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


def search(formula: Formula) -> float:
    """Seconds of processor time to find 1,000 categories, the kernels being compiled."""
    formula.category(Draw(1, 1000))
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
