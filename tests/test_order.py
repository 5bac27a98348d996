"""The order of the pictures: a permutation in every epoch, uniform, and the same wherever one starts to read."""

import numpy as np
import pytest

from firstlight.data.order import keys, samples
from firstlight.errors import InputError


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 100, 1000, 4097])
def test_each_epoch_shows_each_picture_once(n):
    epoch, index = samples(n, 0, 3 * n, seed=5)
    assert epoch.dtype == index.dtype == np.int64
    for number in range(3):
        assert sorted(index[epoch == number]) == list(range(n))


def test_epochs_and_seeds_have_different_orders():
    orders = [tuple(samples(50, 50 * epoch, 50, seed)[1]) for epoch in range(20) for seed in (0, 1, -1, 2**40)]
    assert len(set(orders)) == len(orders)


def test_a_window_across_epochs_is_a_piece_of_the_whole():
    epoch, index = samples(10, 0, 100, seed=3)
    for start in (0, 7, 9, 10, 38):
        part_epoch, part_index = samples(10, start, 25, seed=3)
        assert (part_epoch == epoch[start : start + 25]).all()
        assert (part_index == index[start : start + 25]).all()


@pytest.mark.parametrize("n", [3, 5, 6, 10, 17])
def test_the_order_is_uniform(n):
    epochs = 6000
    index = samples(n, 0, epochs * n, seed=1)[1].reshape(epochs, n)
    places = np.stack([np.bincount(index[:, place], minlength=n) for place in range(n)])
    followers = np.bincount(index[:, 0] * n + index[:, 1], minlength=n * n).reshape(n, n)[~np.eye(n, dtype=bool)]

    for counts, degrees in ((places, (n - 1) ** 2), (followers, n * (n - 1) - 1)):
        excess = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(excess - degrees) < 5 * np.sqrt(2 * degrees)  # chi-squared, five standard deviations


def test_three_pictures_come_in_all_six_orders():
    index = samples(3, 0, 18_000, seed=2)[1].reshape(6000, 3)
    counts = np.unique(index @ [9, 3, 1], return_counts=True)[1]
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 150


def test_neighbours_in_the_set_are_not_neighbours_in_the_order():
    index = samples(1 << 16, 0, 1 << 16, seed=0)[1]
    assert abs(np.corrcoef(index[:-1], index[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(index, np.arange(1 << 16))[0, 1]) < 0.02


def test_a_huge_set_is_never_stored():
    n = 2**40
    epoch, index = samples(n, 3 * n - 500, 1000, seed=0)
    assert (epoch[:500] == 2).all()
    assert (epoch[500:] == 3).all()
    assert index.min() >= 0
    assert index.max() < n
    assert len(set(index)) == 1000
    assert 0.4 < index.mean() / n < 0.6


def test_keys_never_repeat_and_are_a_pure_function():
    epoch, index = samples(500, 0, 100_000, seed=0)
    key = keys(0, epoch, index)
    assert key.dtype == np.int64
    assert len(set(key)) == 100_000
    assert (keys(0, epoch[7:9], index[7:9]) == key[7:9]).all()
    assert not set(keys(1, epoch, index)) & set(key)
    assert abs((key < 0).mean() - 0.5) < 0.01


@pytest.mark.parametrize(("n", "start"), [(0, 0), (-1, 0), (2**40 + 1, 0), (5, -1)])
def test_impossible_orders_are_refused(n, start):
    with pytest.raises(InputError, match="expected"):
        samples(n, start, 4, seed=0)
