"""Shards drawn by the machines of a Ray cluster.

https://docs.ray.io/en/latest/ray-core/fault-tolerance.html

A task is one shard, written to the folder that all machines share. A task whose machine dies is given to another; what
the dead one left unfinished has a hidden name, and the bytes do not depend on who draws.
"""

import logging
import os
import platform
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import FirstlightError, InputError
from ..events import Events, Progress
from .formula import FormulaPictures
from .shards import CATEGORIES, FileSet, draw, finished

TRIES = 20
"""deaths of machines that a shard survives"""


def spread(made: FileSet, shards: list[int], folder: Path, address: str | None) -> Events[None]:
    """Draws shards on a cluster, one core for each at a time.

    Args:
        made: the set.
        shards: which to draw.
        folder: a folder that every machine sees under this path.
        address: of the cluster; if None, RAY_ADDRESS names it, and without that a cluster of this machine is started.

    Raises:
        InputError: if Ray is not installed, the cluster cannot be reached, or its machines do not see the folder.
        DiskError: if a machine cannot write.
    """
    with _cluster(address) as ray:
        task = ray.remote(num_cpus=1, max_retries=TRIES)(_draw)
        waiting = {task.remote(made, shard, str(folder.absolute())): shard for shard in shards}
        done, total = 0, sum(made.count(shard) for shard in shards)
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=1.0)
            for reference in ready:
                shard = waiting.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, FirstlightError) else error from None
                except ray.exceptions.RayError as error:
                    raise FirstlightError(f"shard {shard} was given up: {type(error).__name__}: {error}") from None
                done += made.count(shard)
            yield Progress("rendering", done, total, "pictures")
    if missing := sorted(set(shards) - finished(made, folder).keys()):
        raise InputError(f"{str(folder)!r} is not shared: shard {missing[0]} was drawn and is not here")


def _draw(made: FileSet, shard: int, folder: str) -> None:
    """One task; runs on the cluster."""
    for _ in draw(made, shard, _opened(made, folder), Path(folder)):
        pass


@lru_cache(maxsize=1)
def _opened(made: FileSet, folder: str) -> FormulaPictures:
    kept = Path(folder) / CATEGORIES
    if not kept.exists():
        raise InputError(f"{platform.node()} has no {str(kept)!r}: --out must be a folder that all machines share")
    return FormulaPictures(
        made.formula, categories=made.categories, instances=made.instances, size=made.size, seed=made.seed,
        codebook=kept, threads=1,
    )  # fmt: skip


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """A connection to the cluster; one that the caller has open already is used and stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of a change to come
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("engine 'ray' needs the package ray: pip install 'firstlight[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    _answers(address)
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address, include_dashboard=None if address else False, log_to_driver=False, logging_level=logging.ERROR
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster at {address!r}: {error}") from None
    try:
        if main:
            signal.signal(signal.SIGTERM, before)  # Ray takes it over
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str | None) -> None:
    """Refuses an address where nobody listens; Ray itself would wait there without end."""
    place, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((place.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise InputError(f"no Ray cluster at {address!r}: {error}") from None
