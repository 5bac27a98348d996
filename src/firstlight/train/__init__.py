"""One trainer for every method: the loop, optimisers, schedules, precision, checkpoints and signals."""

from .loop import train
from .setup import Setup

__all__ = ["Setup", "train"]
