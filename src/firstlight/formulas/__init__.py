"""A formula draws categories; a category draws instances; an instance renders to one picture.

Everything here is a pure function of (formula, seed, category, instance): the same bytes on every machine, in any
process, thread or order. Imports numpy and numba only, so that a drawing process starts in milliseconds.
"""

from dataclasses import dataclass

import numpy as np

from ._random import Draw

Params = dict[str, np.ndarray]

__all__ = ["Draw", "Formula", "Params", "picture"]


@dataclass(frozen=True)
class Formula:
    """A family of pictures. Fields are settings; the three methods are pure functions of their arguments.

    Being frozen and picklable, a formula travels to processes, ranks and cache keys unchanged. A subclass checks its
    settings in ``__post_init__`` and raises ``InputError``.
    """

    def category(self, draw: Draw) -> Params:
        """Draws the parameters that define one class; ``draw`` is keyed by (seed, category)."""
        raise NotImplementedError

    def instance(self, params: Params, draw: Draw) -> Params:
        """Turns a class into one of its members; ``draw`` is keyed by (seed, category, instance).

        ``draw.instance`` is the member's number, for families that count their members through. The default adds
        nothing.
        """
        return params

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a member as uint8 ``[size, size]`` (grey) or ``[size, size, 3]`` (RGB)."""
        raise NotImplementedError


def picture(
    formula: Formula, category: int, instance: int, *, size: int, seed: int = 0, params: Params | None = None
) -> np.ndarray:
    """Picture number ``instance`` of class ``category``, uint8 ``[size, size]`` or ``[size, size, 3]``.

    Args:
        formula: the family and its settings.
        category: the number of the class, from 0.
        instance: the number of the picture within its class, from 0.
        size: the side in pixels, at least 8.
        seed: another seed is another data set.
        params: the class's parameters where they are known (a codebook), to save searching for them again.
    """
    if params is None:
        params = formula.category(Draw(seed, category))
    draw = Draw(seed, category, instance)
    return formula.render(formula.instance(params, draw), size, draw.split(1))
