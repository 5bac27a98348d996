"""What every method learns from photographs without their labels, at one budget for all.

    FIRSTLIGHT_DATA=../shared/data python benchmarks/methods.py [--backbone cnn vit] [--methods simclr byol] [--seeds 0]

Every method trains the same backbone with the same number of steps, batch, optimiser and learning rate, which were
chosen on training pictures alone (``--tune``) and for no method in particular; only what belongs to the method itself
is kept of its own optimisation: clipping, and SimSiam's constant rate. ``--own`` takes all of it. The last
encoder is then judged as it is, by k nearest neighbours and a linear probe, beside a random encoder, raw pixels, and
supervised training of the same length (``classify``, and ``supcon``, which also sees the labels).

Writes benchmarks/results/methods/BACKBONE-METHOD-seedN.json. What is stored with the same settings is not done again,
and a training that was killed goes on from its last checkpoint, so this can run in the background, also several at
once with ``--methods`` apart. A method that the backbone cannot serve is left out, with the reason.
"""

import argparse
import hashlib
import io
import itertools
import math
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from firstlight import spec
from firstlight.data import Pictures, Split, Subset
from firstlight.data.held import HeldPictures
from firstlight.data.source import open_split
from firstlight.data.split import digests, held_out
from firstlight.encoder import Encoder
from firstlight.evaluations import Evaluation, Result
from firstlight.evaluations._features import features
from firstlight.events import Step, drain
from firstlight.methods import Method, Optimisation
from firstlight.parts.losses import spread
from firstlight.runs import Run, read_events
from firstlight.train import Setup, train
from firstlight.views.batches import Batches
from stored import each, once

DATA = Path(os.environ.get("FIRSTLIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "methods"
WORK = Path(tempfile.gettempdir()) / "firstlight-methods"
SIZE = 32
LAST = 20
"""logged steps, the last ones, over which what a method reports is averaged"""
PLAIN = ("pixels", "random", "random_patches")
"""entries that nothing is trained for; the last is the second one, whose features are read as CPC's are"""
PATCHES = {"count": 3, "least": 16}
"""CPC's own, by default"""
PAINTING = ("autoencoder", "beit", "cmae", "igpt", "inpaint", "mae", "masked_patch", "multimae", "simmim", "sit")
"""methods whose features are made to be fine-tuned; they are judged so too, beside a random encoder"""
JUDGES = 8000
"""pictures to judge settings by"""
NEAREST = 2
"""pictures of the large set that are left out for each of the small one, which is one of them"""
FINETUNE = "finetune(steps=500, batch=64, lr=1e-3, flip=0.5, precision='bf16')"
TEACHERS = {"teacher": "classify", "assistant": "dino", "tokenizer": "dvae"}
"""what a method with these settings is given: what others of the same backbone and seed, trained before it, left"""
WITHOUT = {"has_depth": False}
"""what the pictures lack, whatever a method expects"""


@dataclass(frozen=True)
class Backbone:
    """A network, and the budget that is the same for every method with it."""

    model: str
    steps: int
    batch: int
    lr: float
    """AdamW's, at this batch"""


BACKBONES = {
    "cnn": Backbone("resnet10t", steps=500, batch=256, lr=2e-3),
    "vit": Backbone(
        "vit_tiny_patch16_224(patch_size=4, embed_dim=128, depth=4, num_heads=4)", steps=1000, batch=128, lr=1e-3
    ),
    "swin": Backbone(
        "swin_tiny_patch4_window7_224(patch_size=2, window_size=4, "
        "embed_dim=48, depths=(2, 2, 2), num_heads=(2, 4, 8))",
        steps=1000,
        batch=128,
        lr=1e-3,
    ),
}


def main() -> None:
    given = arguments()
    split = pictures(given.data, given.tune)
    kind = f"{len(split.train):,} training and {len(split.test):,} {'held-out' if given.tune else 'test'} pictures"
    print(f"{given.data}: {kind}, {torch.get_num_threads()} threads, {given.device}", flush=True)
    each(
        (f"{backbone:4s} {method:20s} seed {seed}", partial(entry, given, split, backbone, method, seed))
        for seed in given.seeds
        for backbone in given.backbone
        for method in in_order(given.methods or [*PLAIN, *spec.names("methods")])
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", help=f"names with settings, {', '.join(PLAIN)}; default: all")
    parser.add_argument("--backbone", nargs="+", choices=list(BACKBONES), default=["cnn"])
    parser.add_argument("--model", help="another network in the backbone's place")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, help="default: the backbone's")
    parser.add_argument("--batch", type=int, help="default: the backbone's")
    parser.add_argument("--lr", type=float, help="at this batch; default: the backbone's")
    parser.add_argument("--optimizer", choices=["adamw", "sgd", "lars"], default="adamw")
    parser.add_argument("--own", action="store_true", help="each method's own optimisation in place of the common one")
    parser.add_argument("--data", choices=["6k", "packed"], default="6k", help="5,085 or all 50,000 training pictures")
    parser.add_argument("--tune", action="store_true", help="judge on other training pictures; needs --out")
    parser.add_argument("--protocols", nargs="+", help="default: knn linear, and finetune for methods that paint")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="bf16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=WORK, help="checkpoints of what is not finished")
    given = parser.parse_args()
    if given.tune and given.out == RESULTS:
        parser.error("--tune chooses settings and is no result: say --out")
    return given


def entry(given: argparse.Namespace, split: Split, backbone: str, method: str, seed: int) -> str:
    """One method with one seed, unless it is stored already: trains, judges, stores, and says what was found."""
    path = given.out / f"{backbone}-{slug(method)}{'-own' * given.own}-seed{seed}.json"
    torch.manual_seed(seed)
    encoder = Encoder(given.model or BACKBONES[backbone].model, size=SIZE)
    kept = lambda name: given.work / "encoders" / f"{backbone}-{name}{'-own' * given.own}-seed{seed}"  # noqa: E731
    teachers = {name: str(kept(other)) for name, other in TEACHERS.items()}
    learner = None if method in PLAIN else built(method, encoder, split, teachers)
    if method == "random_patches":
        encoder.read_patches(**PATCHES)
    setup = learner and planned(given, learner, backbone, seed)
    protocols = given.protocols or protocols_of(method)
    settings = {
        "method": method,
        "of method": in_full(method) if learner else PATCHES if method == "random_patches" else {},
        "views": [asdict(view) for view in learner.__class__.views] if learner else [],
        "model": encoder.model if method != "pixels" else None,
        "size": SIZE,
        "seed": seed,
        "labels": labelled(method),
        "data": {"name": given.data, "tune": given.tune, "train": len(split.train), "test": len(split.test)}
        | {"fingerprint": f"{split.train.fingerprint()} {split.test.fingerprint()}"},
        "training": setup and setup.decisive()["training"],
        "protocols": protocols,
    }

    def measured(run: Run) -> dict[str, Any]:
        if learner and setup:
            learn(learner, split, setup, run)
        if learner and method in TEACHERS.values():
            learner.keep(kept(method))
        about = {"method": method, "backbone": backbone, "mode": "own" if given.own else "common"}
        found = judged(None if method == "pixels" else encoder, split, protocols, given, seed)
        return about | {"training": told(run) if learner else {}} | found

    record, before = once(path, settings, given.work, given.device, measured)
    return shown(record) + before


def in_order(methods: list[str]) -> list[str]:
    """The same methods, those last that are given what others left."""
    taught = {name for name in spec.names("methods") if TEACHERS.keys() & in_full(name).keys()}
    return sorted(methods, key=lambda method: method.partition("(")[0].strip() in taught)


def built(method: str, encoder: Encoder, split: Split, teachers: dict[str, str]) -> Method:
    """The method with what it has to know: how many pictures there are, of how many classes, and where teachers lie."""
    derived: dict[str, Any] = {"pictures": len(split.train), "fresh": True} | WITHOUT | teachers
    if labelled(method):
        derived["categories"] = len(split.train.classes)
    return spec.build("methods", method, Method, encoder, **derived)


def planned(given: argparse.Namespace, method: Method, backbone: str, seed: int) -> Setup:
    """The common budget and optimiser, or the method's own optimiser."""
    steps, batch = given.steps or BACKBONES[backbone].steps, given.batch or BACKBONES[backbone].batch
    optimisation, lr = method.optimisation, given.lr or BACKBONES[backbone].lr
    if not given.own:
        kept = {name: getattr(optimisation, name) for name in ("clip", "clip_each", "constant")}
        plain = {"lr": lr * 256 / batch, "warmup": 0.1, "weight_decay": 0.05 if given.optimizer == "adamw" else 5e-4}
        optimisation = Optimisation(given.optimizer, **plain, **kept)
    return Setup(
        steps=steps, batch=batch, optimisation=optimisation, seed=seed, device=given.device,
        precision=given.precision, save_every=max(1, steps // 5), log_every=max(1, steps // 100), task="methods",
    )  # fmt: skip


def learn(method: Method, split: Split, setup: Setup, run: Run) -> None:
    """Trains, from the last checkpoint if there is one; the steps are logged with the processor time they took."""
    encoder = method.encoder
    batches = Batches(
        split.train, method.views, size=encoder.size, channels=encoder.channels, batch=setup.batch, seed=setup.seed,
        device=setup.device, mean=encoder.mean, std=encoder.std, multiple=encoder.multiple,
    )  # fmt: skip
    begun = time.process_time()
    for event in train(method, batches, setup, run):
        if isinstance(event, Step):
            event.values["core_seconds"] = time.process_time() - begun
            run.log(event)
    method.to("cpu")


def told(run: Run) -> dict[str, Any]:
    """Seconds over all the times that the training was taken up, and what the method reported at the end."""
    steps = {event["step"]: event for event in read_events(run.path) if event["event"] == "step"}
    line = [steps[number] for number in sorted(steps)]  # of a step done twice, the last time counts
    found: dict[str, Any] = {}
    for name, at in {"seconds": lambda e: e["seconds"], "core_seconds": lambda e: e["values"]["core_seconds"]}.items():
        times = [0.0, *map(at, line)]
        found[name] = sum(b - a if b > a else b for a, b in itertools.pairwise(times))  # smaller: a new process began
    last = [event["values"] for event in line[-LAST:]]
    silent = {"core_seconds", "images_per_second", "lr", "weight_decay"}
    found["last"] = {
        name: float(np.mean([values[name] for values in last if name in values])) for name in {*last[-1]} - silent
    }
    found["loss"] = [[event["step"], round(event["values"].get("loss", math.nan), 5)] for event in line[:: LAST // 4]]
    return found


def protocols_of(method: str) -> list[str]:
    """Methods that paint are fine-tuned too, and what they are compared with."""
    return ["knn", "linear", *[FINETUNE] * (method.partition("(")[0].strip() in (*PAINTING, "random"))]


def judged(
    encoder: Encoder | None, split: Split, protocols: list[str], given: argparse.Namespace, seed: int
) -> dict[str, Any]:
    """Accuracies by every protocol, which pictures were right, and whether the features have collapsed."""
    found: dict[str, Any] = {"results": {}, "features": {}}
    for name in protocols:
        protocol = spec.build("evaluations", name, Evaluation)
        begun = time.monotonic()
        result: Result = drain(protocol.run(encoder, split, size=SIZE, device=given.device, seed=seed))
        found["results"][result.name] = {
            "numbers": result.numbers,
            "settings": result.settings,
            "seconds": time.monotonic() - begun,
            "right": np.packbits(result.correct()).tobytes().hex(),
        }
    if encoder is not None:
        rows = drain(features(encoder, split.test, size=SIZE, device=given.device))
        found["features"] = {
            "feature_std": float(spread(torch.from_numpy(rows))) * math.sqrt(rows.shape[1]),
            "effective_rank": effective_rank(rows),
            "width": rows.shape[1],
        }
    return found


def effective_rank(rows: np.ndarray) -> float:
    """RankMe: the exponential of the entropy of the singular values' shares. https://arxiv.org/abs/2210.02885."""
    values = np.linalg.svd(rows.astype(np.float64), compute_uv=False)
    share = values / max(values.sum(), 1e-12) + 1e-7
    return float(np.exp(-(share * np.log(share)).sum()))


def pictures(name: str, tune: bool) -> Split:
    """CIFAR-10 with its own test pictures, or for tuning with others: see :func:`judges`."""
    split = packed() if name == "packed" else drain(open_split(DATA / "cifar10_6k", size=SIZE))
    if tune and name == "6k":
        return Split(split.train, judges(split))
    if not tune:
        return split
    out = held_out(digests(split.train), split.train.labels, fraction=0.2)
    return Split(Subset(split.train, np.flatnonzero(~out)), Subset(split.train, np.flatnonzero(out)))


def judges(small: Split) -> Pictures:
    """Of CIFAR-10's 50,000 training pictures, some that the small set does not contain: a thousand of its own held out
    were too few to choose settings by. The large set's are JPEG, so that a picture is found by what is nearest to it.
    """
    large = packed().train
    rows, wanted = thumbnails(large), np.concatenate([thumbnails(small.train), thumbnails(small.test)])
    squares = (rows**2).sum(1)
    distances = (squares - 2 * part @ rows.T for part in np.array_split(wanted, 32))
    nearest = np.concatenate([part.argpartition(NEAREST, axis=1)[:, :NEAREST] for part in distances])
    return Subset(large, np.setdiff1d(np.arange(len(large)), nearest)[:JUDGES])


def thumbnails(pictures: Pictures) -> np.ndarray:
    """Pictures of 32 x 32 pixels as rows of 8 x 8 mean colours."""
    held = np.stack(pictures.read(np.arange(len(pictures)))).astype(np.float32)
    return held.reshape(len(held), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(held), -1)


def packed() -> Split:
    """All 60,000 pictures, decoded into memory."""
    stored = np.load(DATA / "cifar10_jpeg_packed.npz")
    classes = sorted(path.name for path in (DATA / "cifar10_6k" / "train").iterdir())
    sides = []
    for side in ("train", "test"):
        data, ends = stored[f"{side}_jpeg"].tobytes(), stored[f"{side}_offsets"]
        files = [data[start:end] for start, end in itertools.pairwise(ends)]
        arrays = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
        found = np.array([np.frombuffer(hashlib.sha256(file).digest(), np.uint8) for file in files])
        sides.append(HeldPictures(arrays, stored[f"{side}_labels"].astype(np.int64), classes, digests=found))
    return Split(*sides)


def in_full(method: str) -> dict[str, Any]:
    """A method's settings, those it was not given included."""
    wanted = spec.Spec.parse(method)
    defaults = spec.settings_of(spec.find("methods", wanted.name, Method))
    found = {name: WITHOUT.get(name, parameter.default) for name, parameter in defaults.items()}
    return found | wanted.settings


def labelled(method: str) -> bool:
    """Whether a method learns from labels, by its settings."""
    return method not in PLAIN and "categories" in in_full(method)


def shown(record: dict[str, Any]) -> str:
    """The accuracies, in per cent, and the monitors of one entry in a line."""
    parts = [f"{name} {100 * result['numbers']['accuracy']:.1f}" for name, result in record["results"].items()]
    features = record["features"]
    if features:
        parts.append(f"std {features['feature_std']:.2f} rank {features['effective_rank']:.0f}/{features['width']}")
    if record["training"]:
        last = record["training"]["last"]
        parts += [f"{name} {last[name]:.3f}" for name in sorted(last) if name == "loss" or "entropy" in name]
        parts += [f"{last['skipped']:.0f} steps not finite"] if last.get("skipped") else []
        parts.append(f"{record['training']['seconds']:.0f} s, {record['training']['core_seconds']:.0f} core-s")
    return "  ".join(parts)


def slug(method: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", method).strip("-")


if __name__ == "__main__":
    main()
