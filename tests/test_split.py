"""Dividing by content: nested, stratified, and deaf to names and order."""

import hashlib
import itertools

import numpy as np
import pytest

from firstlight.data import Pictures, Subset
from firstlight.data.digits import digits, split_digits
from firstlight.data.held import HeldPictures
from firstlight.data.split import contradictions, few, held_out, leaks
from firstlight.data.split import digests as content
from firstlight.errors import InputError


def contents(numbers) -> np.ndarray:
    """One made-up digest for each number."""
    return np.array([list(hashlib.sha256(str(number).encode()).digest()) for number in numbers], dtype=np.uint8)


def some_pictures(per_class=(30, 20, 10)) -> HeldPictures:
    labels = np.repeat(np.arange(len(per_class)), per_class)
    arrays = [np.full((2, 2), number, dtype=np.uint8) for number in range(len(labels))]
    return HeldPictures(arrays, labels, [f"class {place}" for place in range(len(per_class))])


class Drawn(Pictures):
    """Pictures that know no digests."""

    def __init__(self, held: HeldPictures):
        self.held, self.labels, self.classes = held, held.labels, held.classes

    def read(self, numbers):
        return self.held.read(numbers)


def test_few_is_nested_balanced_and_repeatable():
    pictures = some_pictures()
    sets = [set(few(pictures, count, seed=3).numbers.tolist()) for count in (1, 2, 5, 10)]
    for smaller, larger in itertools.pairwise(sets):
        assert smaller < larger
    assert np.bincount(few(pictures, 5, seed=3).labels).tolist() == [5, 5, 5]
    assert sets[2] != set(few(pictures, 5, seed=4).numbers.tolist())


def test_few_is_the_same_on_every_machine():
    pictures = HeldPictures([np.zeros((1, 1), np.uint8)] * 12, np.arange(12) % 2, "ab", digests=contents(range(12)))
    assert few(pictures, 2, seed=0).numbers.tolist() == [0, 2, 7, 11]
    assert np.flatnonzero(held_out(pictures.digests, pictures.labels, seed=0)).tolist() == [2, 3, 6, 7]


def test_few_does_not_depend_on_order_or_on_where_the_pictures_are():
    pictures = some_pictures()
    shuffled = Subset(pictures, np.random.default_rng(0).permutation(len(pictures)))
    wanted = {pictures.name(number) for number in few(pictures, 4).numbers}
    assert {shuffled.name(number) for number in few(shuffled, 4).numbers} == wanted
    assert few(Drawn(pictures), 4).numbers.tolist() == few(pictures, 4).numbers.tolist()
    part = Subset(Subset(Drawn(pictures), np.arange(60)), np.arange(30, 60))
    np.testing.assert_array_equal(content(part), pictures.digests[30:])


def test_few_takes_copies_last_and_no_unlabelled():
    same = contents([0, 0, 0, 1, 2, 3, 4, 5])
    pictures = HeldPictures([np.zeros((1, 1), np.uint8)] * 8, [0, 0, 0, 0, 0, 1, 1, -1], "ab", digests=same)
    for seed in range(20):
        chosen = few(pictures, 2, seed).numbers
        assert len(set(map(bytes, same[chosen]))) == 4
        assert 7 not in chosen


@pytest.mark.parametrize("per_class", [11, 100])
def test_few_names_the_class_that_has_too_few(per_class):
    with pytest.raises(InputError, match=r"'class 2' has only 10 .* at most 10 per class would work"):
        few(some_pictures(), per_class)


def test_few_refuses_nonsense():
    with pytest.raises(InputError, match="at least 1, got 0"):
        few(some_pictures(), 0)
    with pytest.raises(InputError, match="no picture has a label"):
        few(HeldPictures([np.zeros((1, 1), np.uint8)], [-1]), 1)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_the_test_side_is_stratified(fraction):
    labels = np.repeat(np.arange(4), [200, 40, 10, 2])
    test = held_out(contents(range(len(labels))), labels, fraction=fraction, seed=1)
    for label, count in enumerate([200, 40, 10, 2]):
        taken = int(test[labels == label].sum())
        assert taken == min(count - 1, max(1, round(fraction * count)))


def test_a_lonely_picture_trains():
    test = held_out(contents(range(5)), np.array([0, 1, 1, 1, 1]))
    assert not test[0]
    assert test[1:].sum() == 1


def test_the_division_ignores_order_and_depends_on_the_seed():
    labels = np.arange(100) % 3
    keys = contents(range(100))
    shuffle = np.random.default_rng(0).permutation(100)
    test = held_out(keys, labels, seed=5)
    np.testing.assert_array_equal(held_out(keys[shuffle], labels[shuffle], seed=5), test[shuffle])
    assert (held_out(keys, labels, seed=6) != test).any()


def test_copies_stay_together_even_across_classes():
    generator = np.random.default_rng(0)
    for seed in range(20):
        numbers, labels = generator.integers(0, 25, 80), generator.integers(0, 3, 80)
        keys = contents(numbers)
        test = held_out(keys, labels, fraction=0.3, seed=seed)
        assert not leaks(keys, test).any()
        assert test.any()
        assert all((~test)[labels == label].any() for label in range(3))


def test_leaks_and_contradictions():
    keys = contents([1, 2, 3, 1, 2, 9])
    test = np.array([False, False, False, True, True, True])
    assert leaks(keys, test).tolist() == [True, True, False, False, False, False]
    groups = contradictions(keys, np.array([0, 1, 0, 0, 0, -1]))
    assert [group.tolist() for group in groups] == [[1, 4]]


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan")])
def test_impossible_fractions(fraction):
    with pytest.raises(InputError, match="between 0 and 1"):
        held_out(contents(range(4)), np.zeros(4, dtype=int), fraction=fraction)


def test_digits():
    pictures = digits()
    assert len(pictures) == 1797
    assert pictures.classes == tuple("0123456789")
    first = pictures.read(np.array([0]))[0]
    assert first.shape == (8, 8)
    assert first.dtype == np.uint8
    assert max(picture.max() for picture in pictures.arrays) == 255
    assert pictures.name(0) == "digit 0 (a 0)"
    split = split_digits()
    assert len(split.train) + len(split.test) == 1797
    assert 0.23 < len(split.test) / 1797 < 0.27
    assert not set(map(bytes, content(split.train))) & set(map(bytes, content(split.test)))
    assert len(few(split.train, 10)) == 100


def test_the_fingerprint_follows_contents_labels_and_order():
    pictures = some_pictures()
    other = [array.copy() for array in pictures.arrays]
    assert HeldPictures(other, pictures.labels, pictures.classes).fingerprint() == pictures.fingerprint()
    other[0][0, 0] ^= 1
    assert HeldPictures(other, pictures.labels, pictures.classes).fingerprint() != pictures.fingerprint()
    relabelled = np.where(np.arange(60) == 0, 1, pictures.labels)
    assert HeldPictures(pictures.arrays, relabelled, pictures.classes).fingerprint() != pictures.fingerprint()
    assert Subset(pictures, [0, 1]).fingerprint() != Subset(pictures, [1, 0]).fingerprint()


def test_held_pictures_need_a_label_each():
    with pytest.raises(InputError, match="2 pictures"):
        HeldPictures([np.zeros((1, 1), np.uint8)] * 2, [0], "a")
    with pytest.raises(InputError, match="2 pictures"):
        HeldPictures([np.zeros((1, 1), np.uint8)] * 2, [0, 0], "a", ["one"])
