"""Every error a user can cause or meet, each saying what was given, what is allowed and what is nearest."""

import difflib
from collections.abc import Iterable


class FirstlightError(Exception):
    """Base of all errors raised on purpose. The command line prints its message without a traceback."""

    exit_code = 2


class InputError(FirstlightError, ValueError):
    """A setting, name, file or folder the user gave cannot be used."""


class CorruptError(FirstlightError):
    """A file that we wrote, or were asked to read, fails its checks."""


class DiskError(FirstlightError, OSError):
    """A write failed: the disk is full, read-only, or over quota. Names the path and the bytes needed."""


class LockedError(FirstlightError):
    """Another process is using this run folder."""


class Stopped(FirstlightError):
    """A signal asked the training to stop; what was learned so far is saved. Exits as the signal would have."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.exit_code = 128 + number


def unknown(kind: str, given: str, allowed: Iterable[str]) -> InputError:
    """Builds the error for a name that is not one of ``allowed``, with the nearest matches first."""
    allowed = sorted(allowed)
    close = difflib.get_close_matches(given, allowed, n=3, cutoff=0.5)
    hint = f"did you mean {_either(close)}?" if close else f"allowed: {', '.join(allowed[:40])}"
    return InputError(f"no {kind} named {given!r}; {hint}")


def _either(names: list[str]) -> str:
    return " or ".join(repr(name) for name in names)
