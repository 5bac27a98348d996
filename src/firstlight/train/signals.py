"""The first SIGTERM or SIGINT asks the training to finish its step and save; the second ends the process at once."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from .. import ranks


class Request:
    """Whether, and by which signal, the training was asked to stop.

    Attributes:
        number: the signal's number, 0 while nobody asked.
    """

    def __init__(self) -> None:
        self.number = 0
        self.since = 0.0


@contextlib.contextmanager
def listening() -> Iterator[Request]:
    """Notes the first SIGTERM or SIGINT during the block; the second exits at once with 128 + its number.

    SIGHUP is ignored, so that a closed terminal does not end the training. The previous handlers come back after the
    block. Python allows handlers in the main thread only: elsewhere nothing is installed and nothing is noted.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        # torchrun passes a Ctrl-C on to workers that the terminal has already told: that is one request, not two.
        echo = ranks.launched() > 1 and time.monotonic() - request.since < 2
        if request.number and not echo:
            os._exit(128 + number)
        if not request.number:
            request.number, request.since = number, time.monotonic()

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield request
    finally:
        with contextlib.suppress(ValueError):  # a generator can be closed from another thread
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
