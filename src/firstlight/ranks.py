"""One process, torchrun or SLURM: who am I, how many are we, and sums that gradients can pass through."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import CorruptError, DiskError, FirstlightError, InputError, LockedError

Value = TypeVar("Value")


def world() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if _active() else 1


def rank() -> int:
    """This process among them, from 0."""
    return dist.get_rank() if _active() else 0


def launched() -> int:
    """How many processes the launcher says there are, before they have found each other."""
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Joins the other processes (gloo on CPU, nccl on CUDA) for the time of the block, if there are any.

    Reads torchrun's variables, or SLURM's when torchrun's are absent.
    """
    if _active() or launched() == 1:
        yield
        return
    env = os.environ
    env.setdefault("WORLD_SIZE", env.get("SLURM_NTASKS", "1"))
    env.setdefault("RANK", env.get("SLURM_PROCID", "0"))
    env.setdefault("LOCAL_RANK", env.get("SLURM_LOCALID", "0"))
    env.setdefault("MASTER_ADDR", env.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
    env.setdefault("MASTER_PORT", "29500")
    if device.startswith("cuda"):
        torch.cuda.set_device(int(env["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def gather(x: Tensor) -> Tensor:
    """All ranks' rows of ``x [B, ...]`` in rank order, ``[W * B, ...]``; gradients flow back to their owners."""
    return x if world() == 1 else _Gather.apply(x)


def total(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks; the gradient is summed too, as it would be in one process."""
    return x if world() == 1 else _Total.apply(x)


@torch.no_grad()
def mean(x: Tensor) -> Tensor:
    """The mean of ``x`` over ranks, without gradient."""
    if world() == 1:
        return x
    x = x.clone()
    dist.all_reduce(x)
    return x / world()


@torch.no_grad()
def spread(tensors: Iterable[Tensor]) -> None:
    """Gives every rank rank 0's values, in place."""
    if world() > 1:
        for tensor in tensors:
            whole = tensor.contiguous()  # what travels has no layout
            dist.broadcast(whole, 0)
            if whole is not tensor:
                tensor.copy_(whole)


def told(make: Callable[[], Value]) -> Value:
    """What rank 0 makes, on every rank: the others have a copy, and if it fails, the same error.

    Raises:
        FirstlightError: what ``make`` raised on rank 0.
    """
    if world() == 1:
        return make()
    made: Any = None
    if rank() == 0:
        try:
            made = make()
        except (InputError, LockedError, DiskError, CorruptError) as error:
            made = error
    copies = [made]
    dist.broadcast_object_list(copies, 0)
    value = made if rank() == 0 else copies[0]
    if isinstance(value, FirstlightError):
        raise value
    return value


def barrier() -> None:
    """Waits for all ranks."""
    if world() > 1:
        dist.barrier()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, *grads):
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad.chunk(world())[rank()]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, *grads):
        grad = grads[0].contiguous().clone()
        dist.all_reduce(grad)
        return grad


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()
