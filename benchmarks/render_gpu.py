"""How fast a device draws its own training pictures, and whether training notices.

``python benchmarks/render_gpu.py [--json benchmarks/results/render_gpu.json]`` measures every family's device renderer
at 224 pixels: pictures per second by torch and by Triton, with the parameters prepared on the host (``set``) and
without, against the CPU's renderer on one core, and against a plain scatter of as many stores (``stores``), which no
renderer can beat. It also counts the pixels that differ from the CPU's.
``--pipeline`` trains DeiT-Ti (224 pixels, bf16, batch 512) on fractals whose pixels are (a) kept on the device, (b)
drawn on the device, (c) drawn by CPU threads; all else is the same, so b / a is what drawing costs.

Without a GPU it says so and ends; ``--device cpu`` runs everything at tiny sizes, which measures nothing but that it
runs. Each part fits in four minutes on one GPU; the table comes last.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstlight import spec
from firstlight.data.device import _choice, render_batch
from firstlight.data.formula import FormulaPictures
from firstlight.encoder import Encoder
from firstlight.events import Step
from firstlight.formulas import Draw, Formula, picture
from firstlight.formulas.fractal import Fractal
from firstlight.methods import Method
from firstlight.train import Setup, train
from firstlight.views.batches import Batches

FAMILIES = (
    "fractal(points=100000)",
    "fractal(points=100000, mode='point')",
    "fractal(points=100000, mode='density', colour=True)",
    "fractal3d(points=10000)",
    "contour",
    "atom",
    "perlin",
)
FUSED = ("fractal", "fractal3d")
CATEGORIES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="cuda, cuda:1, ...; cpu only tries whether the script runs")
    parser.add_argument("--pipeline", action="store_true", help="measure training instead of the renderers")
    parser.add_argument("--compile", action="store_true", help="train with torch.compile")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    asked = parser.parse_args()
    if asked.device is None and not torch.cuda.is_available():
        print("there is no GPU here, so nothing is measured; --device cpu tries whether the script runs")
        return
    device = torch.device(asked.device or "cuda")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    tiny = device.type == "cpu"
    rows, settings = pipeline(device, tiny, asked.compile) if asked.pipeline else renderers(device, tiny)
    print(f"{machine(device)}\n{settings}")
    print(table(rows))
    if asked.json:
        record = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(device), "versions": versions()}
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps({**record, "settings": settings, "rows": rows}, indent=1) + "\n")


def renderers(device: torch.device, tiny: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One row for each family."""
    settings = {"size": 32, "batch": 2, "checked": 2, "seconds": 0.0}
    if not tiny:
        settings = {"size": 224, "batch": 512, "checked": 128, "seconds": 2.0}
    rows = []
    for text in FAMILIES:
        rows.append(renderer(text, device, ("torch",) if tiny else ("torch", "triton"), **settings))
        print(rows[-1], flush=True)
    return rows, settings


def renderer(
    text: str, device: torch.device, ways: tuple[str, ...], size: int, batch: int, checked: int, seconds: float
) -> dict[str, Any]:
    formula, family = spec.build("formulas", text, Formula), text.partition("(")[0]
    known = [formula.category(Draw(0, category)) for category in range(min(CATEGORIES, batch))]
    pictures = FormulaPictures(formula, categories=len(known), instances=1000, size=size, codebook=known)
    numbers = np.arange(batch) * 997 % len(pictures)
    params, keys = given(formula, known, numbers)
    row: dict[str, Any] = {"formula": text}
    for way in ways if family in FUSED else ("torch",):
        with forced(f"fractal {formula.mode}" if isinstance(formula, Fractal) else family, device, way):
            row[f"{way}/s"] = rate_of(lambda: render_batch(formula, params, size, keys, device), batch, device, seconds)
            row["set/s"] = rate_of(lambda: pictures.tensor(numbers, device), batch, device, seconds)
            drawn = render_batch(formula, params[:checked], size, keys[:checked], device).cpu().numpy()
            different = (drawn != np.stack(pictures.read(numbers[:checked]))).reshape(checked, -1).mean(1)
            row[f"{way} differs"], row[f"{way} differs at most"] = float(different.mean()), float(different.max())
    least = stores(family, params, size)
    row |= {"stores": least, "as stores/s": rate_of(scatter(least, batch, size, device), batch, device, seconds)}
    row["CPU core/s"] = cpu_rate(formula, known, numbers, size, seconds)
    fastest = max(row[f"{way}/s"] for way in ways if f"{way}/s" in row)
    return row | {"of stores": fastest / row["as stores/s"], "times a core": fastest / row["CPU core/s"]}


def pipeline(device: torch.device, tiny: bool, compiled: bool) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Images per second of the whole trainer, in turn, twice; the better run of each way counts."""
    size, batch, steps, model = (32, 8, 4, "resnet10t") if tiny else (224, 512, 60, "deit_tiny_patch16_224")
    formula = spec.build("formulas", "fractal(points=2000)" if tiny else "fractal(points=100000)", Formula)
    categories = 10 if tiny else 1000
    known = [formula.category(Draw(0, category)) for category in range(categories)]
    form: dict[str, Any] = {"categories": categories, "instances": 1000, "size": size, "codebook": known}
    ways = {
        "a: kept on the device": (Kept(8 if tiny else 4096, device, formula, **form), "device"),
        "b: drawn on the device": (FormulaPictures(formula, **form), "device"),
        "c: drawn by CPU threads": (FormulaPictures(formula, **form), "cpu"),
    }
    best = dict.fromkeys(ways, 0.0)
    precision = "fp32" if tiny else "bf16"
    for _ in range(2):
        for name, (pictures, draw) in ways.items():
            method = spec.build("methods", "classify", Method, Encoder(model, size=size), categories=categories)
            batches = Batches(
                pictures,
                method.views,
                size=size,
                batch=batch,
                device=device,
                draw=draw,
                multiple=method.encoder.multiple,
            )
            setup = Setup(
                steps=steps, batch=batch, optimisation=method.optimisation, device=str(device), precision=precision,
                compile=compiled, log_every=max(1, steps // 6),
            )  # fmt: skip
            rates = [e.values["images_per_second"] for e in train(method, batches, setup) if isinstance(e, Step)]
            best[name] = max(best[name], float(np.median(rates[2:])))
    whole = best["a: kept on the device"]
    rows = [{"pictures": name, "images/s": rate, "of a": rate / whole} for name, rate in best.items()]
    settings = {"model": model, "size": size, "batch": batch, "precision": precision, "steps": steps}
    return rows, settings | {"compile": compiled, "threads": ways["c: drawn by CPU threads"][0].threads}


class Kept(FormulaPictures):
    """Pictures that were all drawn before, and lie on the device; the same few for every number."""

    def __init__(self, count: int, device: torch.device, formula: Formula, **form: Any):
        super().__init__(formula, **form)
        numbers = np.arange(count) * 997 % len(self)
        self.kept = torch.cat([super(Kept, self).tensor(part, device) for part in np.array_split(numbers, 8)])

    def tensor(self, numbers: np.ndarray, device: str | torch.device) -> torch.Tensor:
        return self.kept[torch.from_numpy(np.asarray(numbers) % len(self.kept)).to(device)]


def given(formula: Formula, known: list, numbers: np.ndarray) -> tuple[list, list[int]]:
    params, keys = [], []
    for category, instance in (divmod(int(number), 1000) for number in numbers):
        draw = Draw(0, category, instance)
        params.append(formula.instance(known[category], draw))
        keys.append(draw.split(1).key)
    return params, keys


@contextmanager
def forced(family: str, device: torch.device, way: str) -> Iterator[None]:
    """Draws in one way, whichever is faster."""
    before = _choice._chosen.pop((family, device), None)
    _choice._chosen[family, device] = way
    try:
        yield
    finally:
        _choice._chosen.pop((family, device))
        if before:
            _choice._chosen[family, device] = before


def rate_of(draw: Callable[[], Any], count: int, device: torch.device, seconds: float) -> float:
    """Pictures per second of the median call, after two that are not counted."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times: list[float] = []
    for number in range(1000):
        wait()
        start = time.perf_counter()
        draw()
        wait()
        if number >= 2:
            times.append(time.perf_counter() - start)
        if len(times) >= 3 and sum(times) > seconds:
            break
    return count / float(np.median(times))


def cpu_rate(formula: Formula, known: list, numbers: np.ndarray, size: int, seconds: float) -> float:
    """Pictures per second of the formula's own renderer on one core."""
    start, done = time.perf_counter(), 0
    while done < 3 or time.perf_counter() - start < seconds:
        category, instance = divmod(int(numbers[done % len(numbers)]), 1000)
        picture(formula, category, instance, size=size, params=known[category])
        done += 1
    return done / (time.perf_counter() - start)


def stores(family: str, params: list, size: int) -> int:
    """The least number of stores that a picture takes: its points, its vertices, or its pixels."""
    if family in FUSED:
        return {"fractal": 100_000, "fractal3d": 10_000}[family]
    if family == "perlin":
        return size**2
    return int(np.mean([int(entry["lines"]) * int(entry["vertices"]) for entry in params]))


def scatter(count: int, batch: int, size: int, device: torch.device) -> Callable[[], object]:
    """As many atomic stores to random pixels as a batch takes, and nothing else."""
    corner = torch.arange(batch, device=device)[:, None] * size**2
    spots = (torch.randint(0, size**2, (batch, count), device=device) + corner).view(-1)
    values, pixels = spots.int(), torch.zeros(batch * size**2, dtype=torch.int32, device=device)
    return lambda: pixels.scatter_reduce_(0, spots, values, "amax")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells)


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def machine(device: torch.device) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    return {"gpu": name, "cpu": platform.machine(), "cores": cores}


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "cuda": str(torch.version.cuda)}


if __name__ == "__main__":
    main()
