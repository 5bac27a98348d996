"""How fast self-supervised training is, from uint8 pictures to the moved weights, against peers' own building blocks.

    python benchmarks/ssl_speed.py [--only simclr-cnn mae-vit] [--json benchmarks/results/ssl_speed.json] [--profile]

SimCLR, BYOL, DINO (two large and eight small crops) and MAE at 32 pixels, on a ResNet-18 with a 3x3 stem ("cnn") and a
small ViT ("vit"). All sides have the same timm network, heads of the same widths, the same optimiser, batch, threads,
and number and sizes of views, and pictures that lie decoded in memory. Ours is ``firstlight.train.train`` as it is. The
peers in ``peers/`` are the parts of lightly and, where it is installed, of stable-pretraining, put together as their
examples do: PIL pictures through a DataLoader, with worker processes or without, whichever is faster here. All run in
turn within one process; the medians of the paired ratios count, at each precision and with each side at its best.
"""

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import json
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from firstlight import memory, spec
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.events import Step
from firstlight.methods import Method, Optimisation
from firstlight.recipe import machine, versions
from firstlight.train import Setup, precision, train
from firstlight.train.loop import Training
from firstlight.views.batches import Batches

SIZE, PICTURES = 32, 2048
NETWORKS = {"cnn": "resnet18", "vit": "vit_tiny_patch16_224(patch_size=4, depth=4)"}
PEERS = ("lightly", "stable_pretraining")
DECODER = {"width": 128, "depth": 2, "heads": 4}


@dataclass(frozen=True)
class Task:
    """A method with the settings and the optimiser of lightly's example."""

    method: str
    optimisation: Optimisation


SGD, ADAM = Optimisation("sgd", lr=0.06, weight_decay=0.0), Optimisation("adamw", lr=1e-3, weight_decay=0.0)
TASKS = {
    "simclr": Task("simclr(hidden=512, dim=128)", SGD),
    "byol": Task("byol(hidden=1024, dim=256)", SGD),
    "dino": Task("dino(hidden=512, bottleneck=64, prototypes=2048, small=8)", ADAM),
    "mae": Task(f"mae({', '.join(f'{name}={value}' for name, value in DECODER.items())})", ADAM),
}
PAIRS = [f"{task}-{kind}" for task, kind in itertools.product(TASKS, NETWORKS) if (task, kind) != ("mae", "cnn")]


def main() -> None:
    given = arguments()
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, SIZE, SIZE, 3), dtype=np.uint8)
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine() | {"cores": len(os.sched_getaffinity(0)), "device": given.device},
        "versions": versions() | {name: metadata.version(name) for name in PEERS if installed(name)},
        "settings": {"size": SIZE, "batch": given.batch, "networks": NETWORKS, "rounds": given.rounds}
        | {"methods": {name: task.method for name, task in TASKS.items()}},
        "left out": {name: "not installed" for name in PEERS if not installed(name)},
        "rows": {},
        "profile": {},
    }
    print(f"{record['machine']}; batch {given.batch}; left out: {record['left out'] or 'nothing'}")
    if not given.profile and len(record["left out"]) == len(PEERS):
        raise SystemExit("no peer is installed: pip install 'firstlight[test]'")
    for name in given.only:
        if given.profile:
            record["profile"][name] = {kind: profiled(name, pictures, kind, given) for kind in given.precisions}
        else:
            record["rows"][name] = compared(name, pictures, given)
        if given.json:  # after each: a run that is stopped has not measured for nothing
            given.json.parent.mkdir(parents=True, exist_ok=True)
            given.json.write_text(json.dumps(merged(given.json, record), indent=1) + "\n")


def arguments() -> argparse.Namespace:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=PAIRS)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file, beside those of other tasks")
    parser.add_argument("--profile", action="store_true", help="print where our time goes, and compare nothing")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3, help="paired measurements")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement, at least one step")
    parser.add_argument("--precisions", nargs="+", default=list(precision.available(device)[:2]))
    parser.add_argument("--workers", type=int, help="of the peers' loaders; default: none or one a core, as is faster")
    parser.add_argument("--device", default=device)
    return parser.parse_args()


def compared(name: str, pictures: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """Pictures a second of all sides at each precision, and our paired ratios to each peer: medians and ranges."""
    workers = {peer: workers_of(peer, name, pictures, given) for peer in PEERS if installed(peer)}
    found: dict[str, dict[str, list[float]]] = {
        side: {kind: [] for kind in given.precisions} for side in ("ours", *workers)
    }
    for _ in range(given.rounds):
        for kind in given.precisions:
            found["ours"][kind].append(speed(ours(name, pictures, kind, given), given))
            for peer, count in workers.items():
                found[peer][kind].append(speed(theirs(peer, name, pictures, kind, given, count), given))
    speeds = {side: {kind: np.array(values) for kind, values in kinds.items()} for side, kinds in found.items()}
    best = {side: max(kinds, key=lambda kind: float(np.median(kinds[kind]))) for side, kinds in speeds.items()}
    row: dict[str, Any] = {
        "pictures/s": {
            side: {kind: float(np.median(v)) for kind, v in kinds.items()} for side, kinds in speeds.items()
        },
        "ratios": {},
        "best": best,
        "workers": workers,
    }
    for peer in workers:
        ratios = {kind: speeds["ours"][kind] / speeds[peer][kind] for kind in given.precisions}
        ratios["best"] = speeds["ours"][best["ours"]] / speeds[peer][best[peer]]
        row["ratios"][peer] = {
            kind: {"median": float(np.median(r)), "range": [float(r.min()), float(r.max())]}
            for kind, r in ratios.items()
        }
    mine = "  ".join(f"{kind} {value:.0f}" for kind, value in row["pictures/s"]["ours"].items())
    print(f"{name:12s} ours: {mine} pictures/s", flush=True)
    for peer, ratios in row["ratios"].items():
        times = "  ".join(f"{kind} {ratio['median']:.2f}" for kind, ratio in ratios.items())
        print(f"{'':12s} times as fast as {peer}: {times}  (its loader: {workers[peer]} workers)", flush=True)
    return row


def speed(steps: Generator[None, None, None], given: argparse.Namespace) -> float:
    """Pictures a second of a training that is under way: what it does first, which also fills its queues, is not."""
    with closing(steps):
        counted(steps, given.seconds / 2, given)
        count, seconds = counted(steps, given.seconds, given)
        return count * given.batch / seconds


def counted(steps: Generator[None, None, None], least: float, given: argparse.Namespace) -> tuple[int, float]:
    """Steps for at least so many seconds: how many, and the seconds that they took."""
    count, begun = 0, time.perf_counter()
    while not count or time.perf_counter() - begun < least:
        next(steps)
        count += 1
    wait(given.device)
    return count, time.perf_counter() - begun


def ours(name: str, pictures: np.ndarray, kind: str, given: argparse.Namespace) -> Generator[None, None, None]:
    """Our trainer, one step at a time."""
    method, batches, setup = prepared(name, pictures, kind, given)
    with closing(train(method, batches, setup)) as events:
        for event in events:
            if isinstance(event, Step):
                yield


def prepared(name: str, pictures: np.ndarray, kind: Any, given: argparse.Namespace) -> tuple[Method, Batches, Setup]:
    task, encoder = TASKS[name.partition("-")[0]], network(name)
    method = spec.build("methods", task.method, Method, encoder)
    held = HeldPictures(list(pictures), np.full(len(pictures), -1))
    batches = Batches(
        held, method.views, size=SIZE, batch=given.batch, device=given.device, multiple=encoder.multiple,
    )  # fmt: skip
    setup = Setup(10**9, given.batch, task.optimisation, device=given.device, precision=kind)
    return method, batches, setup


def network(name: str) -> Encoder:
    """The same network for all sides. A ResNet starts as is usual at 32 pixels: 3x3, no stride, no pooling."""
    torch.manual_seed(0)
    encoder = Encoder(NETWORKS[name.partition("-")[2]], size=SIZE)
    if name.endswith("cnn"):
        encoder.net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        encoder.net.maxpool = nn.Identity()
    return encoder


def theirs(
    peer: str, name: str, pictures: np.ndarray, kind: str, given: argparse.Namespace, workers: int
) -> Generator[None, None, None]:
    """The loop of the peers' examples, one step at a time."""
    task = TASKS[name.partition("-")[0]]
    learner, transform = parts_of(peer, name)
    learner.to(given.device)
    after_step = getattr(learner, "after_step", lambda: None)
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    kinds: dict[str, Any] = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    optimizer = kinds[task.optimisation.optimizer](trained, lr=task.optimisation.lr)
    loader = DataLoader(
        Photographs(pictures, transform), given.batch, shuffle=True, drop_last=True, num_workers=workers,
        pin_memory=given.device.startswith("cuda"),
    )  # fmt: skip
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[kind]
    scaler = torch.amp.GradScaler(given.device, enabled=kind == "fp16")
    for views in endless(loader):
        with torch.autocast(given.device, dtype=dtype, enabled=dtype is not None):
            loss = learner([view.to(given.device, non_blocking=True) for view in views])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        after_step()
        yield


def parts_of(peer: str, name: str) -> tuple[nn.Module, Callable]:
    """A peer's network from a list of views to the loss, and its transform from a PIL picture to that list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about lightly's weight norm, and of what the other peer imports
        parts = importlib.import_module(f"peers.{peer}")
        return parts.build(name.partition("-")[0], network(name))


def endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    while True:
        yield from loader


class Photographs(Dataset):
    """Decoded pictures that become PIL images when asked for, as torchvision's CIFAR-10 does."""

    def __init__(self, pictures: np.ndarray, transform: Callable[[Image.Image], list[Tensor]]):
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> list[Tensor]:
        return self.transform(Image.fromarray(self.pictures[number]))


def workers_of(peer: str, name: str, pictures: np.ndarray, given: argparse.Namespace) -> int:
    """No worker process, or one a core (the examples' 8 at most): with which the peer is faster, measured once.

    Measured with the small ViT, whose steps are short: the loader's work is the same with the other network.
    """
    if given.workers is not None:
        return given.workers
    method, options = name.partition("-")[0], [0, min(8, len(os.sched_getaffinity(0)))]
    if (peer, method) not in _workers:
        again = (f"{method}-vit", pictures, given.precisions[-1], given)
        _workers[peer, method] = max(options, key=lambda count: speed(theirs(peer, *again, count), given))
    return _workers[peer, method]


_workers: dict[tuple[str, str], int] = {}


def profiled(name: str, pictures: np.ndarray, kind: Any, given: argparse.Namespace, steps: int = 5) -> dict[str, float]:
    """Where the time of one of our steps goes, in milliseconds, its parts one after the other in one thread."""
    method, batches, setup = prepared(name, pictures, kind, given)
    method.check(setup.batch)
    spent = dict.fromkeys(("decode", "views", "forward", "backward", "optimiser"), 0.0)

    def timed(part: str, call: Callable) -> Callable:
        def called(*values: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            result = call(*values, **named)
            wait(given.device)
            spent[part] += time.perf_counter() - begun
            return result

        return called

    as_trained = contextlib.ExitStack()
    as_trained.enter_context(memory.kept(given.device))
    as_trained.enter_context(precision.repeatable(given.device))
    with as_trained, replaced(Tensor, "backward", timed("backward", Tensor.backward)):
        training = Training(method, setup)
        training.arithmetic = precision.Arithmetic(kind, given.device)
        batches.pictures.read = timed("decode", batches.pictures.read)
        at, method.forward = timed("views", batches.at), timed("forward", method.forward)
        step = timed("optimiser", training.step)
        for number in range(steps + 1):
            if number == 1:
                spent.update(dict.fromkeys(spent, 0.0))
            step(iter([at(number)]), [])
    spent["views"] -= spent["decode"]
    spent["optimiser"] -= spent["forward"] + spent["backward"]
    found = {part: seconds / steps * 1000 for part, seconds in spent.items()}
    whole = sum(found.values())
    parts = "  ".join(f"{part} {value:.0f} ms ({100 * value / whole:.0f} %)" for part, value in found.items())
    print(f"{name:12s} {kind}  {parts}  = {1000 * given.batch / whole:.0f} pictures/s", flush=True)
    return found


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def merged(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """This run's record with the rows that only an earlier one measured, if it was on the same machine and versions."""
    if not path.exists():
        return record
    before = json.loads(path.read_text())
    if any(before.get(key) != record[key] for key in ("machine", "versions", "settings")):
        return record
    return record | {key: before[key] | record[key] for key in ("rows", "profile")}


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
