"""Runs ``firstlight quickstart`` as a newcomer would, times it, and stores what it printed and found.

python benchmarks/quickstart.py [--seed 0]        writes benchmarks/results/quickstart.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from firstlight.recipe import machine, versions

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        begun = time.perf_counter()
        command = [sys.executable, "-m", "firstlight", "quickstart", "--seed", str(seed), "--out", str(out)]
        shown = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
        seconds = time.perf_counter() - begun
        print(shown)
        result = json.loads((out / "results" / "compare.json").read_text())
        recipe = json.loads((out / "recipe.json").read_text())
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "seconds": seconds,
        "seed": seed,
        "machine": machine() | {"cores": len(os.sched_getaffinity(0))},
        "versions": versions(),
        "derived": recipe["derived"],
        "numbers": result["numbers"],
        "intervals": result["figures"][0]["rows"],
        "text": result["text"],
        "printed": table(shown),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "quickstart.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{seconds:.0f} s; written to {RESULTS / 'quickstart.json'}")


def table(shown: str) -> list[str]:
    """The table and the sentence below it, as they were printed."""
    lines = shown.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("contender"))
    last = next(number for number, line in enumerate(lines) if line.startswith("report: "))
    return lines[first:last]


if __name__ == "__main__":
    main()
