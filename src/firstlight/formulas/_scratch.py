"""Working memory that a thread keeps between pictures: fresh pages would cost more than the drawing."""

import threading

import numpy as np

_kept = threading.local()


def borrowed(name: str, count: int, dtype: type) -> np.ndarray:
    """``[count]`` elements with undefined contents, this thread's own until it asks for the same name again."""
    memory = getattr(_kept, name, None)
    if memory is None or len(memory) < count or memory.dtype != dtype:
        memory = np.empty(count, dtype)
        setattr(_kept, name, memory)
    return memory[:count]
