"""What protocols fit their classifiers to: the features or the raw pixels of pictures, scaled, and dealt into folds."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .. import memory
from ..data import Pictures
from ..encoder import Encoder
from ..events import Events, Progress
from ..views.make import show


def features(encoder: Encoder, pictures: Pictures, *, size: int, device: str, batch: int = 256) -> Events[np.ndarray]:
    """The pooled features of un-augmented pictures, for training and test pictures alike.

    The encoder looks in evaluation mode and without gradients; afterwards each of its modules is back in its mode,
    and its weights are back on their device, even if the work is cancelled.

    Args:
        encoder: any encoder.
        pictures: N pictures of any sizes.
        size: the side at which each is shown: short side resized, centre kept.
        device: where the encoder works, such as ``"cpu"`` or ``"cuda"``.
        batch: how many at a time. On one device the features depend on it by no more than rounding.

    Returns:
        float32 ``[N, encoder.width]``.

    Raises:
        InputError: if the encoder takes no pictures of this size.
    """
    encoder.check_size(size)
    training = [module for module in encoder.modules() if module.training]
    home = next(encoder.parameters()).device

    def look(read: list[np.ndarray]) -> Tensor:
        shown = show(read, size=size, channels=encoder.channels, device=device, mean=encoder.mean, std=encoder.std)
        with torch.no_grad():  # within a batch, never across a yield: the caller's own mode is not ours to change
            return encoder(shown)

    encoder.eval().to(device)
    try:
        with memory.kept(device):
            return (yield from _in_batches(look, pictures, encoder.width, batch, "features"))
    finally:
        encoder.to(home)
        for module in training:
            module.training = True


def pixels(pictures: Pictures, *, size: int, channels: int = 3, batch: int = 256) -> Events[np.ndarray]:
    """The raw pixels of un-augmented pictures, shown as an encoder would see them, as float32 ``[N, C * size * size]``.

    Values are in 0..1, channel by channel and row by row.
    """

    def look(read: list[np.ndarray]) -> Tensor:
        return show(read, size=size, channels=channels, device="cpu", mean=0.0, std=1.0).flatten(1)

    return (yield from _in_batches(look, pictures, channels * size * size, batch, "pixels"))


def inputs(
    encoder: Encoder | None, pictures: Pictures, *, size: int, device: str, largest: int = 32
) -> Events[np.ndarray]:
    """``features`` of an encoder, or without one the ``pixels`` at a side of at most ``largest``."""
    if encoder is None:
        return (yield from pixels(pictures, size=min(size, largest)))
    return (yield from features(encoder, pictures, size=size, device=device))


def standardised(train: np.ndarray, test: np.ndarray, *, one_unit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Both sets with the training set's means taken off and divided by its standard deviations, float64.

    A feature that does not vary in training carries nothing to learn from; it becomes 0 in both sets, rather than a
    rounding error blown up.

    Args:
        train: ``[N, width]``.
        test: ``[M, width]``.
        one_unit: divide all by one standard deviation, that of all values. For pixels: they share a unit, and those
            at the edge that hardly vary among a few pictures would otherwise be blown up to the weight of the rest.
    """
    mean, deviation = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    varies = deviation > 1e-6 * (1 + np.abs(mean))
    if one_unit:
        deviation = np.full_like(deviation, np.sqrt(np.mean(deviation**2)))
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return (train - mean) * scale, (test - mean) * scale


def folds(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Deals pictures into at most ``count`` folds of nearly equal size, each class spread evenly over them.

    A class's only picture is in no fold (-1): it stays in training, since nothing could be learned about its class
    while it is held out. Two pictures of a class are never in one fold unless the folds are used up, so that holding
    out a fold never takes a whole class away.

    Args:
        labels: int ``[N]``.
        count: at least 2; fewer are made when no class has so many pictures.
        seed: of the order within each class.

    Returns:
        int64 ``[N]``, the fold of each picture; all -1 when every class has one picture.
    """
    dealt = np.full(len(labels), -1, dtype=np.int64)
    sizes = np.unique(labels, return_counts=True)[1]
    count = min(count, int(sizes.max(initial=0)))
    random, following = np.random.default_rng(seed), 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            dealt[random.permutation(members)] = (following + np.arange(len(members))) % count
            following += len(members)  # the next class goes on where this one stopped: folds differ by one picture
    return dealt


def _in_batches(
    look: Callable[[list[np.ndarray]], Tensor], pictures: Pictures, width: int, batch: int, task: str
) -> Events[np.ndarray]:
    seen = np.empty((len(pictures), width), dtype=np.float32)
    for start in range(0, len(pictures), batch):
        stop = min(start + batch, len(pictures))
        seen[start:stop] = look(pictures.read(np.arange(start, stop))).float().cpu().numpy()
        yield Progress(task, stop, len(pictures), "pictures")
    return seen
