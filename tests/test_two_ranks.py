"""Two processes with N samples each learn what one process with 2N does: losses, gradients, running statistics.

And what a method finds in all pictures before its first step is the same, though each process looks at its share.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import tiny
from firstlight import ranks, spec
from firstlight.data.held import HeldPictures
from firstlight.data.order import samples
from firstlight.errors import InputError
from firstlight.events import drain
from firstlight.methods import Method
from firstlight.parts.norm import BatchNorm, synchronised
from firstlight.views import Batch
from firstlight.views.batches import OTHER, Batches
from once import once

SAMPLES = 6
LOOK = 4
"""pictures of both processes in a pass before the first step; six are not divided by it, so some are seen twice"""
EIGHT_HEADS = "vit_tiny_patch16_224(patch_size=8, embed_dim=48, depth=2, num_heads=8)"
SETTINGS = [
    ("barlow(public=True)", tiny.RESNET),
    ("cmc(negatives=4)", tiny.RESNET),
    ("dinov2(centering='sinkhorn')", tiny.VIT),
    ("igpt(objective='bert')", tiny.VIT),
    ("instance(negatives=4)", tiny.RESNET),
    ("pirl(negatives=4)", tiny.RESNET),
    ("swav(queue=6)", tiny.RESNET),
    ("teaching_assistant(imitated=4)", EIGHT_HEADS),
]
"""what the defaults do not reach; in two steps, of which the first fills queues and estimates normalisers"""
CASES = [(name, model) for name in spec.names("methods") for model in (tiny.VIT, tiny.RESNET)] + SETTINGS
SMALLER = {"barlow(public=True)": 2}
"""by how much a gradient is smaller with two processes, where a method says that it is"""

LOOKING = [case for case in CASES if "prepare" in vars(spec.find("methods", case[0].partition("(")[0], Method))]


@once
def met(folder: Path) -> Path:
    """What one process and what two processes find, for every case; all in one pair, since starting it is slow."""
    torch.multiprocessing.spawn(_process, (str(folder),), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def outcomes() -> tuple[dict, dict]:
    folder = met()
    return torch.load(folder / "one-0.pt") | torch.load(folder / "one-1.pt"), torch.load(folder / "two.pt")


@pytest.mark.parametrize(("name", "model"), CASES)
def test_two_times_n_equals_one_times_two_n(name, model, outcomes):
    one, two = (side["learned", name, model] for side in outcomes)
    if one is None:
        assert two is None, "the method refuses this model everywhere"
        return
    assert not two["apart"], "both processes have the same"
    larger = {key: SMALLER.get(name, 1) * value for key, value in two["gradients"].items()}
    for ours, theirs in ((one["losses"], two["losses"]), (one["gradients"], larger), (one["state"], two["state"])):
        assert_same(ours, theirs)


@pytest.mark.parametrize(("name", "model"), LOOKING)
def test_two_processes_find_in_all_pictures_what_one_does(name, model, outcomes):
    one, two = (side["looked", name, model] for side in outcomes)
    if one is None:
        assert two is None, "the method refuses this model everywhere"
        return
    assert not two["apart"], "both processes have the same"
    assert one["refused"] == two["refused"] == ""
    assert_same(one["state"], two["state"])


def test_some_model_was_taken_in_every_case(outcomes):
    taken = {name for (_, name, _), found in outcomes[1].items() if found is not None}
    assert taken >= {name for name, _ in CASES}


def test_every_batch_norm_was_replaced(outcomes):
    norms = outcomes[1]["norms", "classify", tiny.RESNET]
    assert norms
    assert all(kind == BatchNorm.__name__ for kind in norms)


def test_the_processes_are_to_guess_different_numbers_of_patches():
    """In the first step; otherwise counts that leave the other process out would not be noticed."""
    holed, coloured = tiny.build("dinov2"), tiny.build("igpt", objective="bert")
    batch = tiny.batch(holed, samples=SAMPLES)
    hidden = holed.holes(holed.encoder, batch.views[:2], batch.key)[2].unflatten(0, (2, 2, -1)).sum((0, 2, 3))
    batch = tiny.batch(coloured, samples=SAMPLES)
    wanted = coloured.pixels.wanted(batch.key, coloured.palette.codes(batch.views[0])).unflatten(0, (2, -1)).sum((1, 2))
    assert hidden[0] != hidden[1]
    assert wanted[0] != wanted[1]


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-6, atol=1e-8, msg=lambda m, k=key: f"{k}: {m}")


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    work = [(learned, case) for case in CASES] + [(looked, case) for case in LOOKING]
    found = lambda some: {(find.__name__, *case): find(*case) for find, case in some}  # noqa: E731
    torch.save(found(work[rank::2]), Path(folder) / f"one-{rank}.pt")  # half each, alone
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    together = found([*work, (norms, ("classify", tiny.RESNET))])
    if rank == 0:
        torch.save(together, Path(folder) / "two.pt")
    dist.destroy_process_group()


def learned(name: str, model: str) -> dict | None:
    """Losses, gradients and state after one or two steps without moving the weights.

    In float64, up to timm's resampling of positions, which is float32.
    """
    try:
        method = _built(name, model)
    except InputError:
        return None
    steps, share, losses = 1 + ((name, model) in SETTINGS), SAMPLES // ranks.world(), {}
    for step in range(steps):
        t = (step + 1) / (steps + 1)
        batch = _lacking(tiny.batch(method, samples=SAMPLES, seed=step))
        out = method(tiny.rows(batch, slice(ranks.rank() * share, (ranks.rank() + 1) * share)), t)
        out["loss"].backward()
        method.after_step(t)
        losses[f"loss {step}"] = ranks.mean(out["loss"].detach())
    gradients = {key: ranks.mean(p.grad) for key, p in method.named_parameters() if p.grad is not None}
    return {"losses": losses, "gradients": gradients, **_state(method)}


def looked(name: str, model: str) -> dict | None:
    """State after looking at all pictures, or why they were refused."""
    try:
        method = _built(name, model)
    except InputError:
        return None
    batches = Exact(_pictures(), method.views, size=tiny.SIZE, batch=LOOK, multiple=method.encoder.multiple)
    refused = ""
    try:
        drain(method.prepare(batches))
    except InputError as error:
        refused = str(error)
    return {"refused": refused, **_state(method)}


def norms(name: str, model: str) -> list[str]:
    kinds = [type(module).__name__ for module in _built(name, model).modules()]
    return [kind for kind in kinds if "BatchNorm" in kind]


class Exact(Batches):
    """In float64, as the methods are here."""

    def at(self, step: int, part: int = 0) -> Batch:
        batch = super().at(step, part)
        return replace(batch, views=[view.double() for view in batch.views])


def _pictures() -> HeldPictures:
    """Grey ones but for two, which are the second process's in the first pass: the first never sees a colour."""
    pixels = np.random.default_rng(0).integers(0, 256, (tiny.SMALL["pictures"], 8, 8, 3), dtype=np.uint8)
    _, coloured = samples(len(pixels), LOOK // 2, LOOK // 2, OTHER)
    grey = np.setdiff1d(np.arange(len(pixels)), coloured)
    pixels[grey] = pixels[grey, :, :, :1]
    return HeldPictures(pixels.repeat(4, 1).repeat(4, 2), np.zeros(len(pixels)))


def _lacking(batch: Batch) -> Batch:
    """The first process lacks two maps of depth of three, the second all of its maps of classes."""
    for kind, lacking in {"depth": [0, 1], "classes": [1, 3, 4, 5]}.items():
        if kind in batch.maps:
            batch.maps[kind][lacking] = -1
    return batch


def _state(method: Method) -> dict:
    """What all ranks are to have the same, and the names of what they have not."""
    state = {key: value.clone() for key, value in method.state_dict().items() if shared(method, key)}
    mine = torch.cat([value.double().flatten() for value in state.values()])
    every = ranks.gather(mine[None]).split([value.numel() for value in state.values()], dim=1)
    return {"state": state, "apart": [key for key, rows in zip(state, every) if not torch.equal(rows[0], rows[-1])]}


def shared(method: Method, key: str) -> bool:
    """Whether all ranks have the same: norms that are not synchronised keep running statistics of their own."""
    return method.synchronised or ("running_" not in key and "num_batches" not in key)


def _built(name: str, model: str) -> Method:
    chosen = spec.Spec.parse(name)
    method = tiny.fill(tiny.build(chosen.name, model, **chosen.settings)).double()
    keys = method.state_dict().keys()
    if method.synchronised:
        synchronised(method)
    if method.state_dict().keys() != keys:
        raise AssertionError("synchronising must not rename anything")
    return method
