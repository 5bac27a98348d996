"""Two processes with N samples each learn what one process with 2N does: losses, gradients, running statistics."""

import os
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import ahead
import tiny
from firstlight import ranks, spec
from firstlight.errors import InputError
from firstlight.methods import Method
from firstlight.parts.norm import BatchNorm, synchronised

SAMPLES = 6
CASES = [(name, model) for name in spec.names("methods") for model in (tiny.VIT, tiny.RESNET)]


@ahead.Work
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
    one, two = (side[name, model] for side in outcomes)
    if one is None:
        assert two is None, "the method refuses this model everywhere"
        return
    assert one.keys() == two.keys()
    for kind in one:
        assert one[kind].keys() == two[kind].keys()
        for key, value in one[kind].items():
            torch.testing.assert_close(two[kind][key], value, rtol=1e-6, atol=1e-8, msg=lambda m, k=key: f"{k}: {m}")


def test_every_batch_norm_was_replaced(outcomes):
    assert outcomes[1]["plain norms left"] == 0
    assert outcomes[1]["norms"] > 0


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.save({case: _learn(*case) for case in CASES[rank::2]}, Path(folder) / f"one-{rank}.pt")  # half each, alone
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {case: _learn(*case) for case in CASES}
    norms = [
        type(module) for module in _built("classify", tiny.RESNET).modules() if "BatchNorm" in type(module).__name__
    ]
    found |= {"norms": len(norms), "plain norms left": sum(kind is not BatchNorm for kind in norms)}
    if rank == 0:
        torch.save(found, Path(folder) / "two.pt")
    dist.destroy_process_group()


def _learn(name: str, model: str) -> dict[str, dict[str, Tensor]] | None:
    """Loss, gradients and state after one step without moving the weights, the same on all ranks.

    In float64, up to timm's resampling of positions, which is float32.
    """
    try:
        method = _built(name, model)
    except InputError:
        return None
    batch = tiny.batch(method, samples=SAMPLES)
    share = SAMPLES // ranks.world()
    out = method(tiny.rows(batch, slice(ranks.rank() * share, (ranks.rank() + 1) * share)), 0.5)
    out["loss"].backward()
    gradients = {key: ranks.mean(p.grad) for key, p in method.named_parameters() if p.grad is not None}
    method.after_step(0.5)
    return {
        "loss": {"loss": ranks.mean(out["loss"].detach())},
        "gradients": gradients,
        "state": {key: value.clone() for key, value in method.state_dict().items() if shared(method, key)},
    }


def shared(method: Method, key: str) -> bool:
    """Whether all ranks have the same: norms that are not synchronised keep running statistics of their own."""
    return method.synchronised or ("running_" not in key and "num_batches" not in key)


def _built(name: str, model: str) -> Method:
    method = tiny.fill(tiny.build(name, model)).double()
    keys = method.state_dict().keys()
    if method.synchronised:
        synchronised(method)
    if method.state_dict().keys() != keys:
        raise AssertionError("synchronising must not rename anything")
    return method
