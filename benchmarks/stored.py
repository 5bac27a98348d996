"""Measurements that take long: each is stored with its settings, is not done again, and goes on where it was killed."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from firstlight.errors import FirstlightError, InputError, LockedError, Stopped
from firstlight.recipe import machine, versions
from firstlight.runs import Run, write_whole


def each(entries: Iterable[tuple[str, Callable[[], str]]]) -> None:
    """Prints what every entry says of itself and how long it took; one that fails does not keep others from it."""
    for name, entry in entries:
        begun = time.monotonic()
        try:
            said = entry()
        except LockedError:
            said = "is being done by another process"
        except Stopped as stopped:
            print(stopped, flush=True)
            sys.exit(stopped.exit_code)
        except InputError as refusal:
            said = f"left out: {refusal}"
        except FirstlightError as error:
            said = f"FAILED: {error}"
        print(f"{name}  {said}  ({time.monotonic() - begun:.0f} s)", flush=True)


def once(
    path: Path, settings: dict[str, Any], work: Path, device: str, measured: Callable[[Run], dict[str, Any]]
) -> tuple[dict[str, Any], str]:
    """The entry that is stored with these settings, or a new one; and ", stored before" of the first kind.

    Args:
        path: where the entry is stored.
        settings: what decides the numbers, as values of JSON.
        work: the folder for what is not finished.
        device: is written down.
        measured: takes the run that goes on after a kill, and gives what is to be stored beside the settings.
    """
    settings, digest = hashed(settings)
    before = json.loads(path.read_text()) if path.exists() else {"digest": None}
    if before["digest"] == digest:
        return before, ", stored before"

    run = Run(work / digest)
    with run.locked():
        about = {
            "date": time.strftime("%Y-%m-%d"),
            "digest": digest,
            "machine": machine() | {"cores": len(os.sched_getaffinity(0)), "device": device, "amx": amx()},
            "versions": versions(),
            "settings": settings,
        }
        record = about | measured(run)
        write_whole(path, (json.dumps(record, indent=1) + "\n").encode())
    shutil.rmtree(run.path, ignore_errors=True)
    return record, ""


def amx() -> bool:
    """Whether the processor multiplies matrices of bf16 in hardware, which only Linux tells: times differ by that."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and " amx_bf16" in flags.read_text()


def hashed(settings: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Settings as JSON values, and a short hash of them."""
    plain = json.loads(json.dumps(settings, default=str))
    return plain, hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
