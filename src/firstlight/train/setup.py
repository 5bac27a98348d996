"""The settings of a training."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .. import ranks
from ..errors import InputError
from ..methods import Optimisation
from . import precision


@dataclass(frozen=True)
class Setup:
    """How long, how much and with what to train. Steps and a batch are enough."""

    steps: int
    batch: int
    """pictures per optimiser step, over all ranks and accumulated parts"""
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0
    device: str = "cpu"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulate: int = 1
    """parts of a batch that pass one after the other, to save memory; the same as the batches' ``parts``"""
    compile: bool = False
    save_every: int | None = None
    """steps between checkpoints; None: about every five minutes. The last step is always saved."""
    keep: int = 2
    """checkpoints that stay on disk, at least two"""
    probe_every: int | None = None
    log_every: int = 1
    task: str = "train"
    """the name under which the steps are reported"""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """settings of the caller that must not change between the start and a resumption; JSON values"""

    def check(self) -> None:
        """Refuses what cannot be trained.

        Raises:
            InputError: naming the setting, what was given and what is allowed.
        """
        for name in ("steps", "batch", "accumulate", "save_every", "probe_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if self.keep < 2:
            raise InputError(f"keep must be at least 2, got {self.keep}: a disk can spoil the newest checkpoint")
        if self.batch % (ranks.world() * self.accumulate):
            raise InputError(
                f"batch {self.batch} cannot be shared evenly by {ranks.world()} processes x {self.accumulate} parts"
            )
        compilers = (os.environ.get("CXX", ""), "c++", "g++", "clang++", "cl")
        if self.compile and self.device == "cpu" and not any(shutil.which(name) for name in compilers if name):
            raise InputError("compile=True on a CPU needs a C++ compiler, such as g++; leave it off or install one")
        precision.check(self.precision, self.device)

    def decisive(self) -> dict[str, Any]:
        """What decides the outcome, as JSON values."""
        names = ("steps", "batch", "seed", "precision", "accumulate", "compile", "optimisation")
        chosen = {name: value for name, value in asdict(self).items() if name in names}
        return json.loads(json.dumps({**self.recipe, "training": chosen}, default=str))
