"""A formula draws categories; a category draws instances; an instance renders to one picture, clip or point cloud.

Everything here is a pure function of (formula, seed, category, instance): the same bytes on every machine, in any
process, thread or order. Imports numpy and numba only, so that a drawing process starts in milliseconds.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ._random import Draw

Params = dict[str, np.ndarray]
Kind = Literal["picture", "clip", "cloud"]

__all__ = ["Draw", "Formula", "Kind", "Params", "annotated", "picture"]


@dataclass(frozen=True)
class Formula:
    """A family of pictures. Fields are settings; the methods are pure functions of their arguments.

    Being frozen and picklable, a formula travels to processes, ranks and cache keys unchanged. A subclass checks its
    settings in ``__post_init__`` and raises ``InputError``.
    """

    @property
    def kind(self) -> Kind:
        """What a member is: a ``picture``, a ``clip`` (uint8 ``[T, S, S]``) or a ``cloud`` (float32 ``[N, 3]``)."""
        return "picture"

    @property
    def categories(self) -> int | None:
        """How many classes there are; None where there is no end of them."""
        return None

    def category(self, draw: Draw) -> Params:
        """Draws the parameters that define one class; ``draw`` is keyed by (seed, category).

        Raises:
            InputError: if ``draw.category`` is beyond the last class, or no class can be found with these settings.
        """
        raise NotImplementedError

    def instance(self, params: Params, draw: Draw) -> Params:
        """Turns a class into one of its members; ``draw`` is keyed by (seed, category, instance).

        ``draw.instance`` is the member's number, for families that count their members through. The default adds
        nothing.
        """
        return params

    def render(self, params: Params, size: int, draw: Draw) -> np.ndarray:
        """Draws a member as uint8 ``[size, size]`` (grey) or ``[size, size, 3]`` (RGB), or as its ``kind`` says.

        Raises:
            InputError: if the size is out of range.
        """
        raise NotImplementedError

    def annotated(self, params: Params, size: int, draw: Draw) -> Params:
        """Draws a member with everything that is known about it.

        Returns:
            What ``render`` gives, under the name of its kind, and for some families ``mask`` (uint8 ``[S, S]``, the
            class of each pixel, 0 for none), ``boxes`` (float32 ``[K, 4]``: left, top, right, bottom in pixels; in a
            scene of points ``[K, 7]``: centre, size, angle), ``labels`` (int64 ``[K]``, the class of each box) and
            ``present`` (uint8 ``[classes]``, 1 for each class that is in the picture).
        """
        return {self.kind: self.render(params, size, draw)}


def picture(
    formula: Formula, category: int, instance: int, *, size: int, seed: int = 0, params: Params | None = None
) -> np.ndarray:
    """Picture number ``instance`` of class ``category``, uint8 ``[size, size]`` or ``[size, size, 3]``.

    Formulas of another kind give a clip, uint8 ``[T, size, size]``, or a cloud, float32 ``[N, 3]``.

    Args:
        formula: the family and its settings.
        category: the number of the class, from 0.
        instance: the number of the picture within its class, from 0.
        size: the side in pixels, at least 8; clouds do not depend on it.
        seed: another seed is another data set.
        params: the class's parameters where they are known (a codebook), to save searching for them again.
    """
    if params is None:
        params = formula.category(Draw(seed, category))
    draw = Draw(seed, category, instance)
    return formula.render(formula.instance(params, draw), size, draw.split(1))


def annotated(
    formula: Formula, category: int, instance: int, *, size: int, seed: int = 0, params: Params | None = None
) -> Params:
    """The same member with everything that is known about it, as ``Formula.annotated`` says."""
    if params is None:
        params = formula.category(Draw(seed, category))
    draw = Draw(seed, category, instance)
    return formula.annotated(formula.instance(params, draw), size, draw.split(1))
