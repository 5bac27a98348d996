"""Runs ``firstlight compare`` on several real data sets and stores one result for each, going on where it stopped.

    FIRSTLIGHT_DATA=../shared/data python benchmarks/compare.py [--budget 5] [--labels-per-class 10]

Writes benchmarks/results/compare/NAME.json. Budgets, seeds and settings are the same for all and fixed beforehand.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import firstlight
from firstlight.recipe import machine, versions

DATA = Path(os.environ.get("FIRSTLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "compare"
SETS = {
    "digits": ("digits", 0.0),
    "sign_digits": (DATA / "sign_digits_64", 0.0),
    "flowers": (DATA / "flowers17_128", 0.5),
    "magnetic_tile": (DATA / "magnetic_tile_128", 0.5),
    "cifar10": (DATA / "cifar10_6k", 0.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=5.0)
    parser.add_argument("--labels-per-class", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=list(SETS))
    wanted = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in wanted.only:
        data, flip = SETS[name]
        path = RESULTS / f"{name}.json"
        if path.exists():
            continue
        if str(data) != "digits" and not data.is_dir():
            print(f"{name}: {data} is absent")
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            settings = {"labels_per_class": wanted.labels_per_class, "budget": wanted.budget, "flip": flip}
            begun = time.perf_counter()
            firstlight.compare(data, out=out, **settings)
            seconds = time.perf_counter() - begun
            result = json.loads((out / "results" / "compare.json").read_text())
        record = {
            "date": time.strftime("%Y-%m-%d"),
            "data": name,
            "seconds": seconds,
            "machine": machine() | {"cores": len(os.sched_getaffinity(0))},
            "versions": versions(),
            "settings": settings | {"derived": result["settings"]},
            "intervals": result["figures"][0]["rows"],
            "table": result["tables"][0],
            "text": result["text"],
        }
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
