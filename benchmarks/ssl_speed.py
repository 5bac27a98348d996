"""How fast self-supervised training is, from uint8 pictures to the moved weights, against peers' own building blocks.

    python benchmarks/ssl_speed.py [--only simclr-cnn mae-vit] [--json benchmarks/results/ssl_speed.json] [--profile]

SimCLR, BYOL, DINO (two large and eight small crops) and MAE at 32 pixels, on a ResNet-18 with a 3x3 stem ("cnn") and a
small ViT ("vit"). Both sides have the same timm network, heads of the same widths, the same optimiser, batch, threads
and number of views, and pictures that lie decoded in memory. Ours is ``firstlight.train.train`` as it is. The peer is
lightly's transforms, heads, losses and momentum, put together as its examples do: PIL pictures through a DataLoader,
with worker processes or without, whichever is faster here. Both run in turn within one process; the medians of the
paired ratios count, at each precision and with each side at its best.
"""

import argparse
import contextlib
import copy
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
from torch.nn.parameter import Parameter
from torch.utils.data import DataLoader, Dataset

from firstlight import spec
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.events import Step
from firstlight.methods import Method, Optimisation
from firstlight.recipe import machine, versions
from firstlight.train import Setup, precision, train
from firstlight.train.loop import Training
from firstlight.views import MULTI_CROP
from firstlight.views.batches import Batches, side_of

SIZE, PICTURES = 32, 2048
NETWORKS = {"cnn": "resnet18", "vit": "vit_tiny_patch16_224(patch_size=4, depth=4)"}
SIDES = ("ours", "lightly")
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
    "dino": Task("dino(hidden=512, bottleneck=64, prototypes=2048)", ADAM),
    "mae": Task(f"mae({', '.join(f'{name}={value}' for name, value in DECODER.items())})", ADAM),
}
PAIRS = [f"{task}-{kind}" for task, kind in itertools.product(TASKS, NETWORKS) if (task, kind) != ("mae", "cnn")]


def main() -> None:
    given = arguments()
    pictures = np.random.default_rng(0).integers(0, 256, (PICTURES, SIZE, SIZE, 3), dtype=np.uint8)
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine() | {"cores": len(os.sched_getaffinity(0)), "device": given.device},
        "versions": versions() | {name: metadata.version(name) for name in ("lightly",) if installed(name)},
        "settings": {"size": SIZE, "batch": given.batch, "networks": NETWORKS, "rounds": given.rounds}
        | {"methods": {name: task.method for name, task in TASKS.items()}},
        "left out": {
            "stable_pretraining": "installed, but its parts are not wired here"
            if installed("stable_pretraining")
            else "not installed"
        },
        "rows": {},
        "profile": {},
    }
    print(f"{record['machine']}; batch {given.batch}; stable-pretraining: {record['left out']['stable_pretraining']}")
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
    parser.add_argument("--rounds", type=int, default=5, help="paired measurements")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one measurement, at least two steps")
    parser.add_argument("--precisions", nargs="+", default=list(precision.available(device)[:2]))
    parser.add_argument("--workers", type=int, help="of the peer's loader; default: none or one a core, as is faster")
    parser.add_argument("--device", default=device)
    return parser.parse_args()


def compared(name: str, pictures: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """Pictures a second of both sides at each precision, and the medians and ranges of their paired ratios."""
    if not installed("lightly"):
        raise SystemExit("lightly is not installed: pip install 'firstlight[test]'")
    workers = given.workers if given.workers is not None else faster_workers(name, pictures, given)
    found: dict[str, dict[str, list[float]]] = {side: {kind: [] for kind in given.precisions} for side in SIDES}
    for _ in range(given.rounds):
        for kind in given.precisions:
            found["ours"][kind].append(speed(ours(name, pictures, kind, given), given))
            found["lightly"][kind].append(speed(theirs(name, pictures, kind, given, workers), given))
    speeds = {side: {kind: np.array(values) for kind, values in kinds.items()} for side, kinds in found.items()}
    best = {side: max(kinds, key=lambda kind: float(np.median(kinds[kind]))) for side, kinds in speeds.items()}
    ratios = {kind: speeds["ours"][kind] / speeds["lightly"][kind] for kind in given.precisions}
    ratios["best"] = speeds["ours"][best["ours"]] / speeds["lightly"][best["lightly"]]
    row = {
        "pictures/s": {side: {kind: float(np.median(v)) for kind, v in speeds[side].items()} for side in SIDES},
        "ratios": {kind: {"median": float(np.median(r)), "range": [r.min(), r.max()]} for kind, r in ratios.items()},
        "best": best,
        "workers": workers,
    }
    sides = "  ".join(
        f"{kind} {row['pictures/s']['ours'][kind]:.0f} / {row['pictures/s']['lightly'][kind]:.0f} = "
        f"{row['ratios'][kind]['median']:.2f}"
        for kind in given.precisions
    )
    print(f"{name:12s} {sides}  best {row['ratios']['best']['median']:.2f}  (lightly: {workers} workers)", flush=True)
    return row


def speed(steps: Generator[None, None, None], given: argparse.Namespace) -> float:
    """Pictures a second of a training that is under way: its first two steps, which also fill its queues, are not."""
    with closing(steps):
        next(steps), next(steps)
        wait(given.device)
        count, begun = 0, time.perf_counter()
        while count < 2 or time.perf_counter() - begun < given.seconds:
            next(steps)
            count += 1
        wait(given.device)
        return count * given.batch / (time.perf_counter() - begun)


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
    """The same network for both sides. A ResNet starts as is usual at 32 pixels: 3x3, no stride, no pooling."""
    torch.manual_seed(0)
    encoder = Encoder(NETWORKS[name.partition("-")[2]], size=SIZE)
    if name.endswith("cnn"):
        encoder.net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        encoder.net.maxpool = nn.Identity()
    return encoder


def theirs(
    name: str, pictures: np.ndarray, kind: str, given: argparse.Namespace, workers: int
) -> Generator[None, None, None]:
    """The loop of lightly's examples, one step at a time."""
    task, encoder = TASKS[name.partition("-")[0]], network(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about lightly's weight norm
        learner, transform = PEERS[name.partition("-")[0]](encoder)
    learner.to(given.device)
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
        yield


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


class PeerSimCLR(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        self.backbone, self.head = encoder.net, SimCLRProjectionHead(encoder.width, 512, 128)
        self.criterion = NTXentLoss()

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(*(self.head(self.backbone(view)) for view in views))


class PeerBYOL(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()
        self.online = nn.Sequential(encoder.net, BYOLProjectionHead(encoder.width, 1024, 256))
        self.prediction = BYOLPredictionHead(256, 1024, 256)
        self.target = copy.deepcopy(self.online)
        deactivate_requires_grad(self.target)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, views: list[Tensor]) -> Tensor:
        from lightly.models.utils import update_momentum

        update_momentum(self.online, self.target, m=0.99)
        predictions, targets = [], []
        for view in views:
            predictions.append(self.prediction(self.online(view)))
            with torch.no_grad():  # its example detaches the result, which costs more
                targets.append(self.target(view))
        return 0.5 * (self.criterion(predictions[0], targets[1]) + self.criterion(predictions[1], targets[0]))


class PeerDINO(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.loss import DINOLoss
        from lightly.models.modules import DINOProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()
        self.student = nn.Sequential(encoder.net, DINOProjectionHead(encoder.width, 512, 64, 2048, freeze_last_layer=1))
        self.teacher = nn.Sequential(copy.deepcopy(encoder.net), DINOProjectionHead(encoder.width, 512, 64, 2048))
        deactivate_requires_grad(self.teacher)
        self.criterion = DINOLoss(output_dim=2048, warmup_teacher_temp_epochs=5)

    def forward(self, views: list[Tensor]) -> Tensor:
        from lightly.models.utils import update_momentum

        update_momentum(self.student, self.teacher, m=0.99)
        with torch.no_grad():
            targets = [self.teacher(view) for view in views[:2]]
        return self.criterion(targets, [self.student(view) for view in views], epoch=1)


class PeerMAE(nn.Module):
    def __init__(self, encoder: Encoder):
        from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM

        super().__init__()
        encoder = Encoder(f"{encoder.model[:-1]}, dynamic_img_size=False)", size=SIZE)  # it takes flat patches only
        self.patch, width = encoder.multiple, DECODER["width"]
        self.backbone = MaskedVisionTransformerTIMM(vit=encoder.net)
        self.embed = nn.Linear(encoder.width, width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=int(encoder.patches or 0), embed_dim=width, depth=DECODER["depth"], num_heads=DECODER["heads"],
            mask_token=Parameter(torch.zeros(1, 1, width)),
        )  # fmt: skip
        self.predict = nn.Linear(width, self.patch**2 * 3)

    def forward(self, views: list[Tensor]) -> Tensor:
        from lightly.models import utils

        (pictures,) = views
        size = (len(pictures), self.backbone.sequence_length)
        keep, hidden = utils.random_token_mask(size=size, mask_ratio=0.75, device=pictures.device)
        encoded = self.embed(self.backbone.encode(images=pictures, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, size)
        tokens = utils.set_at_index(tokens, keep, encoded.type_as(tokens))
        decoded = self.decoder.decode(self.decoder.add_pos_embed(tokens))
        painted = self.predict(utils.get_at_index(decoded, hidden))
        target = utils.get_at_index(utils.patchify(pictures, self.patch), hidden - 1)
        return nn.functional.mse_loss(painted.float(), target)


def peer_simclr(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms import SimCLRTransform

    return PeerSimCLR(encoder), SimCLRTransform(input_size=SIZE)


def peer_byol(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform

    views = BYOLView1Transform(input_size=SIZE), BYOLView2Transform(input_size=SIZE)
    return PeerBYOL(encoder), BYOLTransform(*views)


def peer_dino(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms import DINOTransform

    small = MULTI_CROP[-1]
    side = side_of(small, SIZE, encoder.multiple)
    return PeerDINO(encoder), DINOTransform(global_crop_size=SIZE, local_crop_size=side, n_local_views=small.count)


def peer_mae(encoder: Encoder) -> tuple[nn.Module, Callable]:
    from lightly.transforms import MAETransform

    return PeerMAE(encoder), MAETransform(input_size=SIZE)


PEERS: dict[str, Callable[[Encoder], tuple[nn.Module, Callable]]] = {
    "simclr": peer_simclr, "byol": peer_byol, "dino": peer_dino, "mae": peer_mae,
}  # fmt: skip


def faster_workers(name: str, pictures: np.ndarray, given: argparse.Namespace) -> int:
    """No worker process, or one a core (the examples' 8 at most): with which the peer is faster, measured once."""
    options = [0, min(8, len(os.sched_getaffinity(0)))]
    kind = given.precisions[-1]
    return max(options, key=lambda workers: speed(theirs(name, pictures, kind, given, workers), given))


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

    with precision.repeatable(given.device), replaced(Tensor, "backward", timed("backward", Tensor.backward)):
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
