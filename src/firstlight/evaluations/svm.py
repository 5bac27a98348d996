"""A kernel support vector machine (RBF) on pixels or features: what needs neither a network nor a long training.

Cortes & Vapnik, Machine Learning 1995, https://doi.org/10.1007/BF00994018; multi-class by one against one, as in
LIBSVM (Chang & Lin 2011, https://www.csie.ntu.edu.tw/~cjlin/papers/libsvm.pdf).
"""

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import SVC

from ..data import Split
from ..encoder import Encoder
from ..errors import InputError
from ..events import Events, Note, Progress
from . import Evaluation, Result
from ._features import folds, inputs, standardised
from ._scoring import score, usable, widened


@dataclass(frozen=True)
class Svm(Evaluation):
    """An SVM with the kernel exp(-gamma |x - y|^2) on standardised features, or on pixels where there is no encoder.

    C and gamma are those that get most held-out training pictures right over stratified folds (of equals, the
    smallest C, then the smallest gamma: the smoothest). It is then fitted again to all training pictures.
    """

    c: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    """how much a picture on the wrong side costs; the values to try"""
    gamma: tuple[float, ...] = (0.25, 1.0, 4.0)
    """the values to try, in units of 1 / (width * variance of the training values)"""
    held_out: int = 5
    """how many folds of the training pictures take turns at being held out"""
    search: int = 1000
    """with more training pictures than this, C and gamma are chosen on so many of them"""
    pixels: int = 32
    """without an encoder: the largest side at which pixels are compared"""

    def __post_init__(self):
        if not self.c or not self.gamma or min(self.c + self.gamma) <= 0:
            raise InputError(f"svm: every C and gamma must be above 0, got c={self.c}, gamma={self.gamma}")
        if self.held_out < 2 or self.search < 10 or self.pixels < 1:
            raise InputError(
                f"svm: held_out={self.held_out} must be at least 2, search={self.search} 10, pixels={self.pixels} 1"
            )

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        split = yield from usable(split)
        train = yield from inputs(encoder, split.train, size=size, device=device, largest=self.pixels)
        test = yield from inputs(encoder, split.test, size=size, device=device, largest=self.pixels)
        train, test = standardised(train, test, one_unit=encoder is None)
        unit = 1 / max(train.shape[1] * float(train.var()), 1e-12)

        c, gamma = yield from self._choose(train, split.train.labels, unit, seed)
        yield Progress("support vector machine", 0, 2)
        machine = SVC(C=c, gamma=gamma, cache_size=500).fit(train, split.train.labels)
        yield Progress("support vector machine", 1, 2)
        scores = widened(decided(machine, test), machine.classes_, len(split.train.classes), missing=-np.inf)
        yield Progress("support vector machine", 2, 2)

        used = asdict(self) | {"chosen_c": c, "chosen_gamma": gamma / unit, "size": size, "seed": seed}
        used["on"] = "pixels" if encoder is None else "features"
        return score("svm", "Kernel SVM", scores, split, kind="decision value", settings=used)

    def _choose(self, train: np.ndarray, labels: np.ndarray, unit: float, seed: int) -> Events[tuple[float, float]]:
        if len(labels) > self.search:
            some = _stratified(labels, self.search, seed)
            yield Note(f"SVM: C and gamma are chosen on {len(some)} of the {len(labels)} training pictures")
            train, labels = train[some], labels[some]
        fold = folds(labels, self.held_out, seed)
        grid = [(c, gamma * unit) for c in sorted(self.c) for gamma in sorted(self.gamma)]
        if len(grid) == 1 or fold.max() < 0:
            middle = (sorted(self.c)[len(self.c) // 2], sorted(self.gamma)[len(self.gamma) // 2] * unit)
            if len(grid) > 1:
                yield Note("SVM: every class has one picture, none can be held out; C and gamma are in mid-range")
            return middle
        apart = euclidean_distances(train, squared=True)
        right = np.zeros(len(grid))
        for number, (c, gamma) in enumerate(grid):
            kernel = np.exp(-gamma * apart)
            for held in range(fold.max() + 1):
                out = fold == held
                machine = SVC(C=c, kernel="precomputed").fit(kernel[np.ix_(~out, ~out)], labels[~out])
                guess = machine.classes_[decided(machine, kernel[np.ix_(out, ~out)]).argmax(1)]
                right[number] += (guess == labels[out]).sum()
            yield Progress("support vector machine: C and gamma", number + 1, len(grid))
        return grid[int(right.argmax())]


def decided(machine: SVC, given: np.ndarray) -> np.ndarray:
    """One decision value for each class, ``[N, k]``, also where there are two and scikit-learn gives one column.

    It is the number of pairwise votes, with the summed pairwise distances breaking ties.
    """
    values = machine.decision_function(given)
    return np.stack([-values, values], axis=1) if values.ndim == 1 else values


def _stratified(labels: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """About ``wanted`` picture numbers, in order: the same part of each class, but two at least if it has them."""
    random, kept = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        many = max(min(2, len(members)), round(wanted * len(members) / len(labels)))
        kept.append(random.permutation(members)[:many])
    return np.sort(np.concatenate(kept))
