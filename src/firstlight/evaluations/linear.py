"""A linear probe: multinomial logistic regression on frozen features, its penalty chosen on held-out training pictures.

The protocol of Kornblith et al., "Do better ImageNet models transfer better?", CVPR 2019, and SimCLR:
L-BFGS on features of un-augmented pictures, computed once. https://arxiv.org/abs/1805.08974
"""

import warnings
from dataclasses import asdict, dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ..data import Split
from ..encoder import Encoder
from ..errors import InputError
from ..events import Events, Note, Progress, Warned
from . import Evaluation, Result
from ._features import folds, inputs, standardised
from ._scoring import score, usable, widened

ITERATIONS = 1000
WORSE = 3
"""so many weaker penalties in a row that do worse end the search: the weakest take by far the longest to fit"""


@dataclass(frozen=True)
class Linear(Evaluation):
    """Logistic regression on standardised features.

    The penalty is the one that gets most held-out training pictures right over stratified folds (of equals, the one
    with the smallest log loss there); the classifier is then fitted again to all training pictures. Penalties are
    tried from the strongest down, until three in a row get fewer right, and at a larger loss, than the best so far.
    Without an encoder the features are the pixels, at 32 pixels a side or less.
    """

    penalties: int = 12
    """how many strengths of the penalty are tried, evenly in the logarithm from ``weakest`` to ``strongest``"""
    weakest: float = 1e-6
    """the smallest factor of half the squared weights, beside the sum of the pictures' log losses"""
    strongest: float = 1e5
    held_out: int = 5
    """how many folds of the training pictures take turns at being held out"""
    one_fold_above: int = 2000
    """with more training pictures than this, only the first fold is held out: it is large enough"""

    def __post_init__(self):
        if self.penalties < 1 or self.held_out < 2:
            raise InputError(f"linear: penalties={self.penalties} must be at least 1, held_out={self.held_out} 2")
        if not 0 < self.weakest <= self.strongest:
            raise InputError(f"linear: needs 0 < weakest <= strongest, got {self.weakest} and {self.strongest}")

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        split = yield from usable(split)
        train = yield from inputs(encoder, split.train, size=size, device=device)
        test = yield from inputs(encoder, split.test, size=size, device=device)
        train, test = in_span(*standardised(train, test, one_unit=encoder is None))
        labels = split.train.labels

        penalty = yield from self._choose(train, labels, seed)
        yield Progress("linear probe", 0, 1)
        probe = fitted(train, labels, penalty)
        yield Progress("linear probe", 1, 1)
        if probe.n_iter_.max() >= ITERATIONS:
            yield Warned(f"linear probe: not fully converged after {ITERATIONS} iterations")

        scores = widened(probe.predict_proba(test), probe.classes_, len(split.train.classes), missing=0.0)
        used = asdict(self) | {"penalty": penalty, "size": size, "seed": seed}
        used["on"] = "pixels" if encoder is None else "features"
        return score("linear", "Linear probe", scores, split, settings=used)

    def _choose(self, train: np.ndarray, labels: np.ndarray, seed: int) -> Events[float]:
        tried = np.geomspace(self.strongest, self.weakest, self.penalties)
        fold = folds(labels, self.held_out, seed)
        rounds = range(1 if len(labels) > self.one_fold_above else fold.max() + 1)
        if len(rounds) == 0:
            yield Note("linear probe: every class has one picture, none can be held out; the penalty is 1")
            return 1.0
        probes: list[LogisticRegression | None] = [None for _ in rounds]
        right, loss = np.zeros(len(tried)), np.full(len(tried), np.inf)
        for number, penalty in enumerate(tried):
            loss[number] = 0.0
            for held in rounds:
                out = fold == held
                probes[held] = probe = fitted(train[~out], labels[~out], penalty, start=probes[held])
                chance = probe.predict_proba(train[out])
                column = np.searchsorted(probe.classes_, labels[out])
                right[number] += (chance.argmax(1) == column).sum()
                loss[number] -= np.log(np.maximum(chance[np.arange(len(column)), column], 1e-12)).sum()
                yield Progress("linear probe: penalty", number * len(rounds) + held + 1, len(rounds) * len(tried))
            if past_the_best(right[: number + 1], loss[: number + 1]):
                break
        return float(tried[np.lexsort((loss, -right))[0]])


def past_the_best(right: np.ndarray, loss: np.ndarray) -> bool:
    """Whether the last few of these penalties did worse, by both measures, than the best of those before them."""
    if len(right) <= WORSE:
        return False
    return bool(right[-WORSE:].max() < right[:-WORSE].max() and loss[-WORSE:].min() > loss[:-WORSE].min())


def fitted(
    features: np.ndarray, labels: np.ndarray, penalty: float, start: LogisticRegression | None = None
) -> LogisticRegression:
    """Logistic regression with half the squared weights times ``penalty`` added to the summed log losses.

    Args:
        features: float64 ``[N, width]``.
        labels: int ``[N]``, at least two classes.
        penalty: above 0. Intercepts are not penalised.
        start: an earlier fit to begin from, which shortens the way along a path of penalties.
    """
    probe = LogisticRegression(C=1 / penalty, max_iter=ITERATIONS, tol=1e-5, warm_start=True)
    if start is not None:
        probe.coef_, probe.intercept_, probe.classes_ = start.coef_.copy(), start.intercept_.copy(), start.classes_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the caller looks at n_iter_ and says it in its own words
        return probe.fit(features, labels)


def in_span(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns the features so that N training pictures need at most N numbers each.

    Logistic regression with a quadratic penalty does not see rotations, and gives no weight to directions that no
    training picture has; so the fit is the same, and with few pictures and wide features far quicker.
    """
    if train.shape[1] <= len(train):
        return train, test
    turn = np.linalg.svd(train, full_matrices=False)[2].T
    return train @ turn, test @ turn
