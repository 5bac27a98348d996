"""How well encoders that saw faultless pictures alone tell defects from them: CutPaste on magnetic tiles.

    FIRSTLIGHT_DATA=../shared/data python benchmarks/anomaly.py [--methods cutpaste rotation simclr] [--seeds 0 1 2]

Every method trains the same small network from random weights on the training pictures of the normal class, with as
many steps, as large a batch and the same optimiser, which is CutPaste's published one. No defect is seen in training,
and nothing is chosen by the test pictures: the encoder as it is after the last step is judged by the evaluation
``anomaly``, a Gaussian density of the normal features, beside the random encoder of the same seed, with which the
training began, and raw pixels.

Writes benchmarks/results/anomaly/METHOD-seedN.json. What is stored with the same settings is not done again, and a
training that was killed goes on from its last checkpoint.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstlight.data import Split, Subset
from firstlight.data.source import open_split
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.evaluations.anomaly import Anomaly, normal_class
from firstlight.events import drain
from firstlight.methods import Optimisation
from firstlight.methods.cutpaste import CutPaste
from firstlight.runs import Run
from firstlight.train import Setup
from methods import DATA, built, in_full, labelled, learn, slug, told
from stored import each, once

RESULTS = Path(__file__).parent / "results" / "anomaly"
WORK = Path(tempfile.gettempdir()) / "firstlight-anomaly"


def main() -> None:
    given = arguments()
    split = pictures(given.data, given.size)
    defects = int((split.test.labels != normal_class(split, None)).sum())
    kind = f"{len(split.train):,} normal training pictures; {len(split.test):,} test pictures, {defects:,} with defects"
    print(f"{given.data.name}: {kind}; {torch.get_num_threads()} threads, {given.device}", flush=True)
    each(
        (f"{method:20s} seed {seed}", partial(entry, given, split, method, seed))
        for seed in given.seeds
        for method in given.methods
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["pixels", "random", "cutpaste"], help="names, pixels, random")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--model", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, choices=[1, 3], default=1)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", type=Path, default=DATA / "magnetic_tile_128", help="any set with one normal class")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=WORK, help="checkpoints of what is not finished")
    return parser.parse_args()


def pictures(folder: Path, size: int) -> Split:
    """The training pictures of the normal class alone, and all test pictures."""
    split = drain(open_split(folder, size=size))
    normal = np.flatnonzero(split.train.labels == normal_class(split, None))
    return Split(Subset(split.train, normal), split.test)


def entry(given: argparse.Namespace, split: Split, method: str, seed: int) -> str:
    """One method with one seed, unless it is stored already: trains, judges, stores, and says what was found."""
    if labelled(method):
        raise InputError(f"{method} learns from labels, of which normal pictures have only one")
    path = given.out / f"{slug(method)}-seed{seed}.json"
    torch.manual_seed(seed)
    encoder = Encoder(given.model, size=given.size, channels=given.channels)
    learner = None if method in ("pixels", "random") else built(method, encoder, split, {})
    setup = learner and planned(given, learner.optimisation, seed)
    settings = {
        "method": method,
        "of method": {} if learner is None else in_full(method),
        "model": encoder.model if method != "pixels" else None,
        "size": given.size,
        "channels": given.channels,
        "seed": seed,
        "data": {"name": given.data.name, "train": len(split.train), "test": len(split.test)}
        | {"fingerprint": f"{split.train.fingerprint()} {split.test.fingerprint()}"},
        "training": setup and setup.decisive()["training"],
    }

    def measured(run: Run) -> dict[str, Any]:
        if learner and setup:
            learn(learner, split, setup, run)
        begun = time.monotonic()
        judged = None if method == "pixels" else encoder
        result = drain(Anomaly().run(judged, split, size=given.size, device=given.device, seed=seed))
        return {
            "method": method,
            "training": told(run) if learner else {},
            "numbers": result.numbers,
            "defects": result.tables[0],
            "evaluation": result.settings | {"seconds": time.monotonic() - begun},
        }

    record, before = once(path, settings, given.work, given.device, measured)
    return shown(record) + before


def planned(given: argparse.Namespace, own: Optimisation, seed: int) -> Setup:
    """The common budget and optimiser; of a method's own optimisation, what belongs to the method itself is kept."""
    kept = {name: getattr(own, name) for name in ("clip", "clip_each", "constant")}
    return Setup(
        steps=given.steps, batch=given.batch, optimisation=replace(CutPaste.optimisation, **kept), seed=seed,
        device=given.device, precision=given.precision, save_every=max(1, given.steps // 5),
        log_every=max(1, given.steps // 100), task="anomaly",
    )  # fmt: skip


def shown(record: dict[str, Any]) -> str:
    """What was found, in a line."""
    parts = ["AUROC {auroc:.3f} ({auroc_low:.3f} to {auroc_high:.3f})".format(**record["numbers"])]
    if record["training"]:
        last = record["training"]["last"]
        parts += [f"{name} {last[name]:.3f}" for name in ("loss", "accuracy", "feature_std") if name in last]
        parts += [f"{last['skipped']:.0f} steps not finite"] if last.get("skipped") else []
        parts.append(f"{record['training']['seconds']:.0f} s, {record['training']['core_seconds']:.0f} core-s")
    return "  ".join(parts)


if __name__ == "__main__":
    main()
