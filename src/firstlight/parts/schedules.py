"""Curves over a training: from one value to another while ``t`` goes from 0 to 1."""

import math


def cosine(start: float, end: float, t: float) -> float:
    """Half a cosine from ``start`` at ``t = 0`` to ``end`` at ``t = 1``; ``t`` outside [0, 1] is clamped."""
    return end + (start - end) * (1 + math.cos(math.pi * _clamp(t))) / 2


def linear(start: float, end: float, t: float) -> float:
    """A straight line from ``start`` at ``t = 0`` to ``end`` at ``t = 1``; ``t`` outside [0, 1] is clamped."""
    return start + (end - start) * _clamp(t)


def _clamp(t: float) -> float:
    return min(max(t, 0.0), 1.0)
