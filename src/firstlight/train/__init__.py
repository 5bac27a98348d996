"""One trainer for every method: the loop, optimisers, schedules, precision, checkpoints and signals."""

from .loop import Setup, train

__all__ = ["Setup", "train"]
