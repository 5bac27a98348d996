"""The k-NN classifier against a loop in plain Python, and its corner cases."""

import math

import numpy as np
import pytest

from firstlight.data import Split
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.evaluations import knn
from firstlight.evaluations.knn import Knn, votes
from firstlight.events import Note, drain


def by_hand(train, labels, test, k, temperature, classes):
    """The published procedure, one picture and one neighbour at a time."""
    shares = []
    for picture in test:
        similarities = []
        for number, other in enumerate(train):
            dot = sum(float(a) * float(b) for a, b in zip(picture, other))
            lengths = math.sqrt(sum(float(a) ** 2 for a in picture)) * math.sqrt(sum(float(b) ** 2 for b in other))
            similarities.append((-round(dot / lengths, 12), number))
        share = [0.0] * classes
        for negative, number in sorted(similarities)[:k]:
            share[labels[number]] += math.exp(-negative / temperature)
        shares.append([value / sum(share) for value in share])
    return np.array(shares)


@pytest.mark.parametrize(("k", "test"), [(1, 1), (5, 7), (20, 101), (60, 3)])
def test_equals_a_plain_loop(k, test):
    random = np.random.default_rng(k)
    train = random.normal(size=(60, 8)).astype(np.float32)
    labels, asked = random.integers(0, 4, 60), random.normal(size=(test, 8)).astype(np.float32)
    expected = by_hand(train, labels, asked, k, 0.07, 4)
    for values in (4_000_000, 60 * 2):  # in one piece, and by two pictures with a rest
        found = drain(votes(train, labels, asked, k=k, temperature=0.07, classes=4, values=values))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_ties_go_to_the_smaller_number():
    train = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [0, 1]], dtype=np.float32)
    labels = np.array([0, 1, 2, 3, 2])
    found = drain(votes(train, labels, np.array([[0.0, 3.0]]), k=2, temperature=0.07, classes=4))
    np.testing.assert_allclose(found, [[0, 0.5, 0.5, 0]])
    assert knn._nearest(np.array([[0.5, 0.9, 0.5, 0.5]]), 3).tolist() == [[True, True, True, False]]


def test_copies_of_a_picture_are_equal_wherever_they_stand():
    """A matrix product may treat columns differently; the copies' similarities must still tie."""
    random = np.random.default_rng(0)
    one = random.normal(size=513).astype(np.float32)
    train = np.concatenate([np.tile(one, (37, 1)), random.normal(size=(11, 513)), np.tile(one, (37, 1))])
    labels = np.arange(85)
    found = drain(votes(train, labels, random.normal(size=(19, 513)) + one, k=5, temperature=0.07, classes=85))
    np.testing.assert_allclose(found[:, :5], 0.2, rtol=1e-9)


def test_cold_votes_do_not_overflow():
    train = np.eye(3, dtype=np.float32)
    found = drain(votes(train, np.arange(3), np.eye(3) + 0.1, k=3, temperature=1e-4, classes=3))
    np.testing.assert_allclose(found, np.eye(3), atol=1e-12)


def test_a_zero_feature_gets_a_vote_without_a_warning():
    found = drain(votes(np.eye(2), np.array([1, 0]), np.zeros((1, 2)), k=1, temperature=0.07, classes=2))
    assert found.tolist() == [[0.0, 1.0]]


def test_more_neighbours_than_pictures_are_clamped_and_noted():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (8, 8), dtype=np.uint8) for _ in range(6)]
    train = HeldPictures(pictures, [0, 0, 0, 1, 1, 1], ("a", "b"))
    events = list(Knn(k=20).run(None, Split(train, train), size=8, device="cpu", seed=0))
    assert any(isinstance(event, Note) and "k=20 is more than the 6" in event.text for event in events)
    result = drain(Knn(k=20).run(None, Split(train, train), size=8, device="cpu", seed=0))
    assert result.settings["k"] == 6
    assert drain(Knn(k=1).run(None, Split(train, train), size=8, device="cpu", seed=0)).numbers["accuracy"] == 1.0


@pytest.mark.parametrize("settings", [{"k": 0}, {"temperature": 0.0}])
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(InputError):
        Knn(**settings)
