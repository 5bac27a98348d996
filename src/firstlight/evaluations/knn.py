"""k-nearest-neighbour classification on features, without any training.

Caron et al., "Emerging properties in self-supervised vision transformers" (DINO), ICCV 2021.
https://arxiv.org/abs/2104.14294. The weighting is that of Wu et al., CVPR 2018, https://arxiv.org/abs/1805.01978
"""

from dataclasses import asdict, dataclass

import numpy as np

from ..data import Split
from ..encoder import Encoder
from ..errors import InputError
from ..events import Events, Note, Progress
from . import Evaluation, Result
from ._features import inputs
from ._scoring import score, usable


@dataclass(frozen=True)
class Knn(Evaluation):
    """Each of the k most similar training pictures votes for its class with weight exp(similarity / temperature).

    Similarity is the cosine of the features. Without an encoder the features are the pixels at 32 pixels a side or
    less, with the mean training picture taken off (raw pixels all point the same way).
    """

    k: int = 20
    """how many neighbours vote; with fewer training pictures, all of them do"""
    temperature: float = 0.07
    """how much more the nearest count"""

    def __post_init__(self):
        if self.k < 1:
            raise InputError(f"knn(k={self.k}): at least 1 neighbour must vote")
        if not self.temperature > 0:
            raise InputError(f"knn(temperature={self.temperature}): must be above 0")

    def run(self, encoder: Encoder | None, split: Split, *, size: int, device: str, seed: int) -> Events[Result]:
        split = yield from usable(split)
        k = min(self.k, len(split.train))
        if k < self.k:
            yield Note(f"k-NN: k={self.k} is more than the {k} training pictures; all of them vote")
        train = yield from inputs(encoder, split.train, size=size, device=device)
        test = yield from inputs(encoder, split.test, size=size, device=device)
        if encoder is None:
            train, test = train - train.mean(0), test - train.mean(0)

        scores = yield from votes(
            train, split.train.labels, test, k=k, temperature=self.temperature, classes=len(split.train.classes)
        )
        used = asdict(self) | {"k": k, "size": size, "on": "pixels" if encoder is None else "features"}
        return score("knn", f"{k} nearest neighbours", scores, split, settings=used)


def votes(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    *,
    k: int,
    temperature: float,
    classes: int,
    values: int = 4_000_000,
) -> Events[np.ndarray]:
    """The share of the k nearest neighbours' weight that each class gets, float64 ``[M, classes]``; rows sum to 1.

    Of equally similar training pictures at the k-th place, those with the smaller numbers vote.

    Args:
        train: features ``[N, width]`` of any length; they are scaled to length 1 here.
        labels: int ``[N]``, in 0..classes-1.
        test: features ``[M, width]``, any M.
        k: at most N.
        temperature: divides the cosine similarity.
        classes: how many.
        values: how many similarities are held in memory at a time, 8 bytes each.
    """
    train, test = _unit(train), _unit(test)
    belongs = np.eye(classes)[labels]
    chunk = max(1, values // len(train))
    shares = np.empty((len(test), classes))
    for start in range(0, len(test), chunk):
        # Rounded, since a matrix product may give two copies of a picture similarities that differ in the last bit.
        similar = np.round(test[start : start + chunk] @ train.T, 12)
        weight = np.exp((similar - similar.max(1, keepdims=True)) / temperature) * _nearest(similar, k)
        shares[start : start + chunk] = (weight @ belongs) / weight.sum(1, keepdims=True)
        yield Progress("neighbours", min(start + chunk, len(test)), len(test), "pictures")
    return shares


def _nearest(similar: np.ndarray, k: int) -> np.ndarray:
    """Which k of each row of ``similar [M, N]`` are the largest, bool ``[M, N]``; of equals the leftmost."""
    place = similar.shape[1] - k
    last = np.partition(similar, place, axis=1)[:, place : place + 1]
    above, equal = similar > last, similar == last
    wanted = k - above.sum(1, keepdims=True)
    return above | (equal & (np.cumsum(equal, axis=1) <= wanted))


def _unit(features: np.ndarray) -> np.ndarray:
    wide = features.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
