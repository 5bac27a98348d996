"""Which arithmetic this device really has, which is the fastest here, and how a step runs in it."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .. import ranks
from ..encoder import Encoder
from ..errors import InputError, unknown
from ..methods import Method

Precision = Literal["fp32", "bf16", "fp16"]
ALLOWED = ("auto", "fp32", "bf16", "fp16")
SECONDS = 0.6  # of measuring; finding the batch for it may take as much again
MOST = 256  # pictures in a measured batch
MARGIN = 1.1  # bf16 rounds more, so it must be worth it


def check(wanted: str, device: str) -> None:
    """Refuses a precision that the device does not have.

    Raises:
        InputError: naming what it has.
    """
    if wanted not in ALLOWED:
        raise unknown("precision", wanted, ALLOWED)
    if wanted != "auto" and wanted not in available(device):
        raise InputError(f"precision {wanted!r} is not available on {device!r}; it has: {', '.join(available(device))}")


def available(device: str) -> tuple[Precision, ...]:
    """What can be asked for. A CPU without bf16 instructions computes it too, slowly."""
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("fp32", "bf16", "fp16") if native else ("fp32", "fp16")
    return ("fp32", "bf16") if device == "cpu" else ("fp32",)


def choose(wanted: str, device: str, method: Method, pictures: Callable[[], Tensor]) -> tuple[Precision, str]:
    """Settles ``"auto"``; on a CPU with bf16 instructions by timing the encoder in both arithmetics.

    The method is left as it was found. All ranks follow the first.

    Args:
        wanted: one of ``ALLOWED``.
        device: where the method lives.
        method: a copy of its encoder is timed, forward and backward, for about a second, in its ``layout`` and with
            as much of the batch as the time allows.
        pictures: gives float ``[B, C, S, S]`` on the device; called only if there is something to measure.

    Returns:
        The precision, and the reason in a sentence.
    """
    if wanted in ("fp32", "bf16", "fp16"):
        return wanted, "as asked for"
    if device.startswith("cuda"):
        best: Precision = "bf16" if "bf16" in available(device) else "fp16"
        return best, f"the fastest that {torch.cuda.get_device_name(device)} has"
    if device != "cpu" or not _cpu_has_bf16():
        return "fp32", "this device has no faster arithmetic"
    faster = _times_as_fast(method, pictures()[:MOST])
    return ("bf16" if faster >= MARGIN else "fp32"), f"measured: the encoder in bf16 is {faster:.2f} times as fast"


def layout(encoder: Encoder) -> torch.memory_format:
    """How training arranges pictures and convolutions in memory: channels last, but not for plain Transformers.

    Measured on CPU for forward, backward and AdamW, ResNets from 32 to 224 px gained 8 to 16 % in fp32 and about 20 %
    in bf16, ConvNeXt and MobileNet 1 to 7 %; the least was 4 % lost (ResNet-10, 32 px, a batch of 32, fp32). A plain
    Transformer has one convolution, and its tokens have no such order.
    """
    return torch.contiguous_format if encoder.patch else torch.channels_last


class Arithmetic:
    """One precision at work: autocast for the forward pass, and loss scaling where fp16 needs it."""

    def __init__(self, precision: Precision, device: str):
        self.precision = precision
        self.kind = device.partition(":")[0]
        self.scaler = torch.amp.GradScaler(self.kind, enabled=precision == "fp16")

    def autocast(self) -> contextlib.AbstractContextManager:
        """For the forward pass and the loss."""
        return _autocast(self.precision, self.kind)

    @property
    def searching(self) -> bool:
        """Whether fp16's loss scale can still be lowered when gradients overflow."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1


@contextlib.contextmanager
def repeatable(device: str) -> Iterator[None]:
    """Chooses deterministic GPU kernels for the time of the block; torch warns where an operation has none."""
    if not device.startswith("cuda"):
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def _autocast(precision: Precision, kind: str) -> Iterator[None]:
    if precision == "fp32":
        yield
        return
    plain = _plain_attention() if kind == "cpu" else contextlib.nullcontext()
    with torch.autocast(kind, torch.bfloat16 if precision == "bf16" else torch.float16), plain:
        yield


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as two products with a softmax between them, in 16 bits as they come.

    The fused kernel of a CPU does not use its bf16 instructions: with 17 to 197 tokens a layer took 1.8 to 2.9 times as
    long, forward and backward. In fp32 it is the faster one. Products widened to 32 bits would cost half of the gain.
    """
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def _cpu_has_bf16() -> bool:
    has = torch.cpu.get_capabilities()
    return any(has.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def _times_as_fast(method: Method, pictures: Tensor) -> float:
    """Measured once for each model and shape, so that the trainings of one process agree and lose no time."""
    known = (method.encoder.model, *pictures.shape, torch.get_num_threads())
    if known not in _measured:
        plain, half = _times(method, pictures)
        ratio = torch.tensor(plain / half)
        ranks.spread([ratio])
        _measured[known] = ratio.item()
    return _measured[known]


_measured: dict[tuple[str | int, ...], float] = {}


def _times(method: Method, pictures: Tensor) -> tuple[float, float]:
    """The shortest seconds of one pass of the encoder in fp32 and in bf16, as training will run it.

    The batch is doubled for as long as two rounds of the next one fit into the time: bf16 gains more on large ones.
    """
    kept = layout(method.encoder)
    encoder = copy.deepcopy(method.encoder).to(memory_format=kept).train()
    pictures, count = pictures.to(memory_format=kept), min(4, len(pictures))
    best = _fastest(encoder, pictures[:count], 0.0)
    while count < len(pictures) and 4 * sum(best) < SECONDS:
        count = min(2 * count, len(pictures))
        best = _fastest(encoder, pictures[:count], 0.0)
    return _fastest(encoder, pictures[:count], SECONDS)


def _fastest(encoder: Encoder, pictures: Tensor, seconds: float) -> tuple[float, float]:
    """The shortest seconds of a forward and backward pass in fp32 and in bf16, over two rounds or more."""
    best, start, rounds = {"fp32": float("inf"), "bf16": float("inf")}, time.perf_counter(), 0
    while rounds < 2 or time.perf_counter() - start < seconds:
        for precision in ("fp32", "bf16"):
            begin = time.perf_counter()
            with _autocast(precision, "cpu"):
                encoder(pictures).float().square().mean().backward()
            best[precision] = min(best[precision], time.perf_counter() - begin)
        rounds += 1
    return best["fp32"], best["bf16"]
