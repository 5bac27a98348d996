"""How much faster MAE learns from a picture than SimMIM, since its encoder sees only a quarter of the patches.

    python benchmarks/masked_speed.py [--only 32 224] [--json benchmarks/results/masked_speed.json]

Both have the same ViT-Ti and otherwise their defaults: MAE hides 75 % of the patches and has a decoder of two narrow
blocks, SimMIM hides 60 % and has a single layer. A step is the masks, forward, backward and AdamW's move, on pictures
that lie ready; what is reported is its time over the batch. Steps of the two alternate in one process, and the median
of the ratios of neighbouring steps counts. Beside it stands the share of MAE's step that its decoder takes.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstlight import spec
from firstlight.encoder import Encoder
from firstlight.methods import Method
from firstlight.recipe import machine, versions
from firstlight.train import optimisers
from firstlight.views import Batch

SIZES = {"32": "vit_tiny_patch16_224(patch_size=4)", "224": "vit_tiny_patch16_224"}
BATCHES = {"32": 64, "224": 16}
AIM = 2.2


def main() -> None:
    given = arguments()
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine() | {"cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads()},
        "versions": versions(),
        "settings": {"methods": [given.mae, given.simmim], "networks": SIZES, "rounds": given.rounds},
        "rows": {},
    }
    print(f"{record['machine']}; load {os.getloadavg()[0]:.1f}")
    print("| pictures | MAE, ms | SimMIM, ms | times as fast | range | decoder's share |\n|---|---|---|---|---|---|")
    for size in given.only:
        row = compared(size, given)
        record["rows"][size] = row
        times = " | ".join(f"{row['milliseconds'][name]:.2f}" for name in ("mae", "simmim"))
        low, high = row["range"]
        print(
            f"| {size} pixels, batch {row['batch']} | {times} | {row['ratio']:.2f}{' (!)' * (row['ratio'] < AIM)} | "
            f"{low:.2f} to {high:.2f} | {100 * row['decoder']:.0f} % |", flush=True,
        )  # fmt: skip
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(record, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES), help="sides of the pictures")
    parser.add_argument("--mae", default="mae", help="with settings: 'mae(depth=8)'")
    parser.add_argument("--simmim", default="simmim", help="likewise")
    parser.add_argument("--rounds", type=int, default=15, help="paired steps that count, after one that does not")
    parser.add_argument("--batch", type=int, help=f"default: {BATCHES}")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser.parse_args()


def compared(size: str, given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a picture of both, by the wall, and the ratio of neighbouring steps: median and quartiles."""
    side, count = int(size), given.batch or BATCHES[size]
    random = torch.Generator().manual_seed(0)
    pictures = torch.rand(count, 3, side, side, generator=random) * 2 - 1
    sides = {"mae": Step(given.mae, size), "simmim": Step(given.simmim, size)}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(given.rounds + 1):
        key = torch.arange(count) + count * number
        batch = Batch([pictures], torch.zeros(count, dtype=torch.int64), key, key)
        for name, step in sides.items():
            found[name].append(step(batch))
    seconds = {name: np.array(values[1:]) for name, values in found.items()}
    ratios = seconds["simmim"] / seconds["mae"]
    return {
        "batch": count,
        "milliseconds": {name: 1000 * float(np.median(values)) / count for name, values in seconds.items()},
        "ratio": float(np.median(ratios)),
        "range": [float(bound) for bound in np.quantile(ratios, (0.25, 0.75))],
        "decoder": sides["mae"].inside / sum(found["mae"]),
    }


class Step:
    """One method with its encoder and its optimiser: called with a batch, it learns, and says the seconds it took.

    ``inside`` counts the seconds in the module ``decoder``: forward, and backward until its input has its gradient.
    """

    def __init__(self, name: str, size: str):
        torch.manual_seed(0)
        self.method = spec.build("methods", name, Method, Encoder(SIZES[size], size=int(size)))
        self.optimizer = optimisers.build(self.method, self.method.optimisation)
        self.inside, decoder = 0.0, self.method.get_submodule("decoder")
        decoder.register_forward_pre_hook(lambda *_: self.add(-1))
        decoder.register_forward_hook(lambda *_: self.add(1))
        decoder.register_full_backward_pre_hook(lambda *_: self.add(-1))
        decoder.register_full_backward_hook(lambda *_: self.add(1))

    def add(self, sign: int) -> None:
        self.inside += sign * time.perf_counter()

    def __call__(self, batch: Batch) -> float:
        begun = time.perf_counter()
        self.method(batch, 0.5)["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.method.after_step(0.5)
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
