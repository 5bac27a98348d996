"""What is measured of every classifier alike: accuracies, the confusion matrix, and its most confident mistakes."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..data import Pictures, Split, Subset
from ..errors import InputError
from ..events import Events, Note
from ..result import thumbnail
from . import Result
from ._intervals import interval

MOST_CLASSES = 60  # beyond this a confusion matrix is neither readable nor small; a list of confusions replaces it
MOST_MISTAKES = 12


def usable(split: Split) -> Events[Split]:
    """The split without training pictures that have no label, once it is sure that it can be judged at all.

    Raises:
        InputError: if fewer than two classes have labelled training pictures, or if there is no test picture, or one
            without a label; before any work.
    """
    if split.train.classes != split.test.classes:
        raise InputError(
            f"training and test pictures must have the same classes; only one of them has "
            f"{sorted(set(split.train.classes) ^ set(split.test.classes)) or 'this order'}"
        )
    labelled = np.flatnonzero(split.train.labels >= 0)
    taught = np.unique(split.train.labels[labelled])
    if len(taught) < 2:
        named = f"only {split.train.classes[taught[0]]!r}" if len(taught) else "none"
        raise InputError(f"a classifier needs labelled training pictures of at least 2 classes; there are {named}")
    if len(split.test) == 0:
        raise InputError("there are no test pictures to measure on")
    unlabelled = np.flatnonzero(split.test.labels < 0)
    if len(unlabelled):
        raise InputError(
            f"{len(unlabelled)} of the test pictures have no label, such as {split.test.name(unlabelled[0])!r}"
        )
    if len(taught) < len(split.train.classes):
        absent = [name for number, name in enumerate(split.train.classes) if number not in taught]
        yield Note(f"{len(absent)} classes have no training picture and cannot be recognised: {', '.join(absent[:8])}")
    if len(labelled) == len(split.train):
        return split
    yield Note(f"{len(split.train) - len(labelled)} training pictures have no label and are left out")
    return Split(Subset(split.train, labelled), split.test)


def score(
    name: str,
    title: str,
    scores: np.ndarray,
    split: Split,
    *,
    kind: Literal["probability", "decision value"] = "probability",
    settings: Mapping[str, Any] | None = None,
    text: str = "",
) -> Result:
    """Judges scores against the test labels. A tie goes to the class that comes first.

    Args:
        name: of the result, a file name.
        title: of the result, for people.
        scores: float ``[N, K]``, one row for each test picture; the guess is the largest. -inf: never guessed.
        split: whose test pictures, N of them in K classes, were scored.
        kind: probabilities in 0..1, whose largest is the confidence, or decision values of any range, whose confidence
            is how far the largest lies above the second.
        settings: what was used, for the record.
        text: a sentence to put before the accuracy.

    Raises:
        ValueError: if the scores are not ``[N, K]`` or hold a NaN.
    """
    truth, classes = split.test.labels, split.test.classes
    if scores.shape != (len(truth), len(classes)) or np.isnan(scores).any():
        raise ValueError(f"expected scores [{len(truth)}, {len(classes)}] without NaN, got {scores.shape}")
    guess, confidence = scores.argmax(1), _confidence(scores, kind)
    correct = guess == truth
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(matrix, (truth, guess), 1)
    occurring = matrix.sum(1) > 0
    recall = matrix.diagonal()[occurring] / matrix.sum(1)[occurring]
    accuracy, low, high = interval(correct[None])
    numbers = {
        "accuracy": accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "balanced_accuracy": float(recall.mean()),
    }
    sure = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    summary = f"{100 * accuracy:.1f} % of {len(truth)} test pictures right ({sure})."
    figures = [_mistakes(split.test, guess, confidence, kind)] if not correct.all() else []
    return Result(
        name=name,
        title=title,
        text=f"{text} {summary}".strip(),
        numbers=numbers,
        tables=[_per_class(matrix, classes), *_confusions(matrix, classes)],
        figures=[*_matrix(matrix, classes), *figures],
        settings=dict(settings or {}),
        predictions=guess.tolist(),
        truth=truth.tolist(),
    )


def widened(scores: np.ndarray, columns: np.ndarray, classes: int, missing: float) -> np.ndarray:
    """Scores ``[N, k]`` of the classes ``columns`` as scores ``[N, classes]``, ``missing`` for the others."""
    wide = np.full((len(scores), classes), missing, dtype=np.float64)
    wide[:, columns] = scores
    return wide


def _confidence(scores: np.ndarray, kind: str) -> np.ndarray:
    if kind == "probability":
        return scores.max(1)
    top = np.sort(scores, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


def _per_class(matrix: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    rows = []
    for number, name in enumerate(classes):
        right, there, guessed = (
            int(n) for n in (matrix[number, number], matrix[number].sum(), matrix[:, number].sum())
        )
        rows.append([name, there, _share(right, there), _share(right, guessed)])
    return {
        "title": "Class by class",
        "columns": ["class", "test pictures", "found (recall)", "right when guessed (precision)"],
        "rows": rows,
        "note": "A dash: no such test picture, or never guessed.",
    }


def _matrix(matrix: np.ndarray, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    if len(classes) > MOST_CLASSES:
        return []
    return [
        {
            "kind": "matrix",
            "title": "Confusion matrix: test pictures by truth and guess",
            "labels": list(classes),
            "values": matrix.tolist(),
            "rows": "truth",
            "columns": "guess",
        }
    ]


def _confusions(matrix: np.ndarray, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """For many classes, in place of the matrix: the pairs that are confused most."""
    if len(classes) <= MOST_CLASSES:
        return []
    wrong = matrix - np.diag(matrix.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:20]
    pairs = [divmod(int(flat), len(classes)) for flat in order]
    rows = [[classes[t], classes[g], int(wrong[t, g])] for t, g in pairs if wrong[t, g]]
    return [{"title": "Most frequent confusions", "columns": ["truth", "guess", "pictures"], "rows": rows, "note": ""}]


def _mistakes(test: Pictures, guess: np.ndarray, confidence: np.ndarray, kind: str) -> dict[str, Any]:
    """The mistakes that the classifier was surest of: where labels are wrong, or classes alike, they stand first."""
    wrong = np.flatnonzero(guess != test.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    shown = []
    for number, picture in zip(worst, test.read(worst)):
        names = f"{test.classes[test.labels[number]]} → {test.classes[guess[number]]}"
        sure = f"{confidence[number]:.2f}" if np.isfinite(confidence[number]) else "no other choice"
        shown.append({"png": thumbnail(picture), "caption": f"{names}, {sure}"})
    unit = "probability" if kind == "probability" else "lead of the guess over the next class"
    return {
        "kind": "pictures",
        "title": f"Most confident mistakes (truth → guess, {unit})",
        "columns": 6,
        "pictures": shown,
    }


def _share(part: int, whole: int) -> float | str:
    return round(part / whole, 4) if whole else "–"
