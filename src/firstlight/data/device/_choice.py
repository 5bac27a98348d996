"""Which of two ways to draw a device is faster with: found out for each family on the first batch that it draws."""

import importlib
import importlib.util
import threading
import time
import types
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

_chosen: dict[tuple[str, torch.device], str] = {}
_lock = threading.Lock()


def fastest(family: str, device: torch.device, plain: Callable[[], Tensor], fused: Callable[[], Tensor]) -> Tensor:
    """Draws with torch alone or with Triton kernels, whichever is faster.

    Triton is for CUDA alone. There the first batch is drawn both ways; if the pictures agree to the last bit, the
    faster way draws from then on. If they do not, or Triton cannot compile, a warning says so and torch draws.

    Args:
        family: whose pictures these are.
        device: where they are drawn.
        plain: draws them with torch.
        fused: draws them with :func:`triton`'s kernels.
    """
    if device.type != "cuda":
        return plain()
    with torch.cuda.device(device):  # Triton launches on the thread's current device
        with _lock:
            if (family, device) not in _chosen:
                _chosen[family, device] = _better(plain, fused)
        return fused() if _chosen[family, device] == "triton" else plain()


def chosen(family: str, device: torch.device) -> str:
    """``torch`` or ``triton``; before the first batch, and where there is no choice, ``torch``."""
    return _chosen.get((family, device), "torch")


def triton() -> types.ModuleType:
    """The kernels; importing Triton takes a second, and not every machine has it."""
    return importlib.import_module("._triton", __package__)


def _better(plain: Callable[[], Tensor], fused: Callable[[], Tensor]) -> str:
    if importlib.util.find_spec("triton") is None:
        return "torch"
    try:
        pictures = fused()
        torch.cuda.synchronize()
    except Exception as error:  # whatever a compiler, a driver or a missing header may raise
        warnings.warn(f"Triton cannot draw here, so torch does ({type(error).__name__}: {error})", stacklevel=2)
        return "torch"
    if not torch.equal(pictures, plain()):
        warnings.warn("Triton's pictures differ from torch's, so torch draws", stacklevel=2)
        return "torch"
    return min(("torch", plain), ("triton", fused), key=lambda way: _seconds(way[1]))[0]


def _seconds(draw: Callable[[], Tensor]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    draw()
    torch.cuda.synchronize()
    return time.perf_counter() - start
