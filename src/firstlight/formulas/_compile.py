"""How kernels are compiled: kept on disk where that is possible, outside the interpreter's lock, strict IEEE."""

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function when it is first called.

    No fast-math flag is set: nothing is contracted, reordered or assumed finite, so that the bits do not depend on
    the processor. Threads run kernels side by side. Under ``NUMBA_DISABLE_JIT=1`` the function stays as it is.
    """
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep compiled code in can be written: compile anew in each process
        return njit(nogil=True, error_model="numpy")(function)
