"""Pictures drawn from a formula when they are asked for: nothing is stored, nothing is downloaded."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..events import Events, Progress
from ..formulas import Draw, Formula, Params, annotated, picture
from . import Pictures
from . import codebook as codebooks
from .held import threads_here

if TYPE_CHECKING:
    import torch


MOST_PICTURES = 1 << 30
"""of a set; their labels alone take 8 GB"""


class FormulaPictures(Pictures):
    """``categories * instances`` pictures; picture ``n`` is member ``n % instances`` of class ``n // instances``.

    What a class is made of is searched for when its first picture is drawn, or by :meth:`prepare` for all, and kept.

    Args:
        formula: the family and its settings.
        categories: how many classes; with a codebook, at most as many as it holds.
        instances: pictures of each.
        size: the side in pixels.
        seed: another seed is another data set.
        threads: how many draw at once; if None, one for every core that this process may use.
        codebook: the classes, where they are known: their parameters, or a path that :func:`codebook.read`
            understands.

    Raises:
        InputError: if a number is out of range, or the codebook is too small or another family's.
        CorruptError: if the codebook is damaged.
    """

    kind = "formula picture"

    def __init__(
        self,
        formula: Formula,
        *,
        categories: int,
        instances: int,
        size: int,
        seed: int = 0,
        threads: int | None = None,
        codebook: str | Path | Sequence[Params] | None = None,
    ):
        for name, value, least in (
            ("categories", categories, 1),
            ("instances", instances, 1),
            ("size", size, 8),
            ("threads", 1 if threads is None else threads, 1),
        ):
            if not isinstance(value, (int, np.integer)) or value < least:
                raise InputError(f"{name}={value!r}: must be a whole number, at least {least}")
        if formula.categories is not None and categories > formula.categories:
            family = type(formula).__module__.rpartition(".")[2]
            raise InputError(f"categories={categories}: {family} has {formula.categories:,} with these settings")
        if categories * instances > MOST_PICTURES:
            raise InputError(f"{categories:,} classes of {instances:,} pictures are more than {MOST_PICTURES:,}")
        self.formula, self.instances, self.size, self.seed = formula, instances, size, seed
        self.threads = threads or threads_here()
        self._known: list[Params | None] = [None] * categories
        if codebook is not None:
            self._known = list(_entries(codebook, categories, formula))
        digits = max(4, len(str(categories - 1)))
        self.classes = tuple(f"{category:0{digits}d}" for category in range(categories))
        self.labels = np.arange(categories, dtype=np.int64).repeat(instances)
        self._given = codebook is not None

    def params(self, category: int) -> Params:
        """What defines a class, searched for once. Two threads that ask at once find the same."""
        known = self._known[category]
        if known is None:
            known = self._known[category] = self.formula.category(Draw(self.seed, category))
        return known

    def prepare(self) -> Events[None]:
        """Finds all classes ahead, so that drawing does not stop for a search."""
        missing = [category for category, known in enumerate(self._known) if known is None]
        chunk = 4 * self.threads
        for start in range(0, len(missing), chunk):
            yield Progress("finding categories", start, len(missing), "categories")
            self._shared(self.params, missing[start : start + chunk])
        if missing:
            yield Progress("finding categories", len(missing), len(missing), "categories")

    def read(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Draws the pictures ``numbers``: each uint8 ``[size, size]``, or ``[size, size, 3]`` in colour.

        Raises:
            InputError: if a number is not in the set, or the formula cannot draw with its settings.
        """
        return self._shared(self._draw, self._checked(numbers))

    def annotated(self, numbers: np.ndarray) -> list[Params]:
        """Draws the members ``numbers`` with everything that is known about them, as ``Formula.annotated`` says.

        Raises:
            InputError: as :meth:`read`.
        """
        return self._shared(self._draw_annotated, self._checked(numbers))

    def tensor(self, numbers: np.ndarray, device: "str | torch.device") -> "torch.Tensor":
        """Draws the pictures ``numbers`` on a device: what :meth:`read` gives, stacked, as ``data.device`` says.

        Raises:
            InputError: as :meth:`read`, or if ``data.device.refusal`` has something against this formula.
        """
        from .device import render_batch

        wanted = [divmod(number, self.instances) for number in self._checked(numbers)]
        missing = sorted({category for category, _ in wanted if self._known[category] is None})
        self._shared(self.params, missing)
        params, keys = [], []
        for category, instance in wanted:
            draw = Draw(self.seed, category, instance)
            params.append(self.formula.instance(self.params(category), draw))
            keys.append(draw.split(1).key)
        return render_batch(self.formula, params, self.size, keys, device)

    def name(self, number: int) -> str:
        category, instance = divmod(int(number), self.instances)
        return f"category {category}, instance {instance}"

    def fingerprint(self) -> str:
        given = [
            f"{k}:{hashlib.sha256(v.tobytes()).hexdigest()}"
            for p in self._known
            if self._given
            for k, v in sorted((p or {}).items())
        ]
        parts = (self.formula, len(self.classes), self.instances, self.size, self.seed, given)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _draw(self, number: int) -> np.ndarray:
        category, instance = divmod(number, self.instances)
        params = self.params(category)
        return picture(self.formula, category, instance, size=self.size, seed=self.seed, params=params)

    def _draw_annotated(self, number: int) -> Params:
        category, instance = divmod(number, self.instances)
        params = self.params(category)
        return annotated(self.formula, category, instance, size=self.size, seed=self.seed, params=params)

    def _checked(self, numbers: np.ndarray) -> list[int]:
        wanted = np.asarray(numbers, dtype=np.int64).reshape(-1).tolist()
        for number in wanted:
            if not 0 <= number < len(self):
                raise InputError(f"there is no picture {number}: the set has {len(self):,}, numbered from 0")
        return wanted

    def _shared(self, work, items: list[int]) -> list:
        """Spreads work over the threads, each taking the next item; the order of the results is that of the items."""
        threads = min(self.threads, len(items) // 2)
        if threads <= 1:
            return [work(item) for item in items]
        results: list = [None] * len(items)
        waiting = iter(range(len(items)))  # shared: whoever is free takes the next, so a slow core delays nobody

        def draw(_: int) -> None:
            for place in waiting:
                results[place] = work(items[place])

        # Fresh threads cost a tenth of a millisecond and leave nothing behind that a fork could inherit.
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw, range(threads)))  # listed, so that errors are raised here
        return results


def _entries(given: str | Path | Sequence[Params], categories: int, formula: Formula) -> Sequence[Params]:
    where = "the codebook"
    if isinstance(given, (str, Path)):
        where, given = f"codebook {str(given)!r}", codebooks.read(given)
    if len(given) < categories:
        raise InputError(f"categories={categories}: {where} holds {len(given)}")
    codebooks.check_fits(formula, given[:categories], where)
    return given[:categories]
