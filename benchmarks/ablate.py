"""Runs ``firstlight ablate`` for several ablations and stores one result for each, going on where it stopped.

    FIRSTLIGHT_DATA=../shared/data python benchmarks/ablate.py [--only patch delta] [--budget 10]

Writes benchmarks/results/ablate/NAME.json. Data, budgets, seeds and settings are the same for all and fixed beforehand.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from firstlight.console import watch
from firstlight.recipe import machine, versions
from firstlight.recipe._ablations import ABLATIONS
from firstlight.recipe.ablate import Ablate

DATA = Path(os.environ.get("FIRSTLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "ablate"
STEPS = ("labels_per_class", "budget", "pretrain_steps", "finetune_steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(ABLATIONS))
    parser.add_argument("--budget", type=float, default=10.0)
    parser.add_argument("--labels-per-class", type=int, default=100)
    parser.add_argument("--pretrain-steps", type=int)
    parser.add_argument("--finetune-steps", type=int)
    parser.add_argument("--data", default="cifar10_6k")
    wanted = parser.parse_args()
    for name in wanted.only:
        path = RESULTS / f"{name}.json"
        if path.exists():
            continue
        settings = {name: getattr(wanted, name) for name in STEPS} | {"flip": 0.5}
        with tempfile.TemporaryDirectory() as folder:
            out, begun = Path(folder) / "run", time.perf_counter()
            data = "digits" if wanted.data == "digits" else str(DATA / wanted.data)
            watch(Ablate(name=name, data=data, out=out, **settings).run())
            seconds = time.perf_counter() - begun
            result = json.loads((out / "results" / "ablate.json").read_text())
        record = {
            "date": time.strftime("%Y-%m-%d"),
            "data": wanted.data,
            "seconds": seconds,
            "machine": machine() | {"cores": len(os.sched_getaffinity(0))},
            "versions": versions(),
            "settings": settings | {"derived": result["settings"]},
            "title": result["title"],
            "intervals": result["figures"][0]["rows"],
            "table": result["tables"][0],
            "text": result["text"],
        }
        RESULTS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
