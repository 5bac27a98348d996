"""The linear probe against scikit-learn, and how it chooses its penalty."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LogisticRegression

from firstlight.data import Split
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.evaluations import linear
from firstlight.evaluations._features import folds, standardised
from firstlight.evaluations.linear import Linear, fitted, in_span, past_the_best
from firstlight.events import Progress, Warned, drain


def wine() -> tuple[np.ndarray, np.ndarray]:
    data = load_wine()
    return standardised(data.data, data.data)[0], data.target


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 1e3])
def test_fit_equals_scikit_learns(penalty):
    features, labels = wine()
    expected = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-8).fit(features, labels)
    found = fitted(features, labels, penalty)
    np.testing.assert_allclose(found.predict_proba(features), expected.predict_proba(features), atol=2e-3)
    again = fitted(features, labels, penalty, start=fitted(features, labels, 10 * penalty))
    np.testing.assert_allclose(again.predict_proba(features), expected.predict_proba(features), atol=2e-3)


def test_fewer_pictures_than_features_are_turned_without_changing_the_fit():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(30, 200)), random.normal(size=(12, 200))
    labels = np.arange(30) % 3
    turned, turned_test = in_span(train, test)
    assert turned.shape == (30, 30)
    exact = {"C": 0.5, "max_iter": 5000, "tol": 1e-10}
    wide = LogisticRegression(**exact).fit(train, labels).predict_proba(test)
    narrow = LogisticRegression(**exact).fit(turned, labels).predict_proba(turned_test)
    np.testing.assert_allclose(narrow, wide, atol=1e-5)
    assert in_span(train[:, :20], test[:, :20])[0] is not None
    assert in_span(train[:, :20], test[:, :20])[0].shape == (30, 20)


def test_penalty_is_the_best_on_held_out_training_data():
    data = load_iris()
    random = np.random.default_rng(0)
    labels = data.target[::3]
    noisy = np.concatenate([data.data[::3], random.normal(size=(50, 40))], axis=1)
    features = standardised(noisy, noisy)[0]
    probe = Linear(penalties=5, weakest=1e-4, strongest=1e4)
    chosen = drain(probe._choose(features, labels, seed=0))
    fold = folds(labels, 5, seed=0)
    right, loss = [], []
    tried = [1e-4, 1e-2, 1.0, 1e2, 1e4]
    for penalty in tried:
        hits, logs = 0, 0.0
        for held in range(5):
            out = fold == held
            fit = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-6).fit(features[~out], labels[~out])
            chance = fit.predict_proba(features[out])
            hits += (chance.argmax(1) == labels[out]).sum()
            logs -= np.log(chance[np.arange(out.sum()), labels[out]]).sum()
        right.append(hits)
        loss.append(logs)
    best = min(range(5), key=lambda i: (-right[i], loss[i]))
    assert chosen == pytest.approx(tried[best])
    assert len(set(right)) > 1  # the choice was one


def held(features: np.ndarray, labels: np.ndarray) -> HeldPictures:
    """Each row of numbers as a picture of one pixel row, stretched to 0..255."""
    low, high = features.min(), features.max()
    arrays = [np.rint((row - low) / (high - low) * 255).astype(np.uint8).reshape(4, 4) for row in features]
    return HeldPictures(arrays, labels, ("a", "b", "c"))


def test_it_learns_and_says_what_it_chose():
    random = np.random.default_rng(0)
    labels = np.arange(120) % 3
    pictures = random.normal(size=(120, 16)) + 2.5 * random.normal(size=(3, 16))[labels]
    train, test = held(pictures[:60], labels[:60]), held(pictures[60:], labels[60:])
    events = list(Linear(penalties=6).run(None, Split(train, test), size=4, device="cpu", seed=0))
    result = drain(Linear(penalties=6).run(None, Split(train, test), size=4, device="cpu", seed=0))
    assert result.numbers["accuracy"] > 0.9
    assert np.isclose(np.geomspace(1e-6, 1e5, 6), result.settings["penalty"]).any()
    bars = [event for event in events if isinstance(event, Progress) and "penalty" in event.task]
    assert [bar.done for bar in bars] == list(range(1, 31))


def test_one_fold_is_enough_for_large_sets():
    features, labels = wine()
    probe = Linear(penalties=3, one_fold_above=100)
    assert len(list(probe._choose(features, labels, seed=0))) == 3


def test_an_unfinished_fit_is_said_and_no_python_warning(monkeypatch):
    monkeypatch.setattr(linear, "ITERATIONS", 2)
    random = np.random.default_rng(0)
    train = held(random.normal(size=(30, 16)), np.arange(30) % 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        events = list(Linear(penalties=2).run(None, Split(train, train), size=4, device="cpu", seed=0))
    assert any(isinstance(event, Warned) and "2 iterations" in event.text for event in events)


@pytest.mark.parametrize(
    "settings", [{"penalties": 0}, {"held_out": 1}, {"weakest": 0.0}, {"weakest": 2.0, "strongest": 1.0}]
)
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(InputError):
        Linear(**settings)


@pytest.mark.parametrize(
    ("right", "loss", "over"),
    [
        ([5, 8, 7, 6, 6], [3, 1, 2, 3, 4], True),
        ([5, 8, 7, 6, 8], [3, 1, 2, 3, 4], False),  # as many right again
        ([5, 8, 7, 6, 6], [3, 1, 2, 3, 0.5], False),  # a smaller loss
        ([5, 8, 7, 6], [3, 1, 2, 3], False),  # only two have been worse
        ([8, 7, 6], [1, 2, 3], False),  # three in all
    ],
)
def test_search_ends_when_three_weaker_penalties_do_worse_by_both_measures(right, loss, over):
    assert past_the_best(np.array(right), np.array(loss)) is over


def test_ending_the_search_early_changes_no_choice(monkeypatch):
    random = np.random.default_rng(1)
    labels = np.arange(200) % 4
    features = random.normal(size=(200, 60)) + 0.5 * random.normal(size=(4, 60))[labels]
    short = list(Linear()._choose(features, labels, seed=0))
    chosen = drain(Linear()._choose(features, labels, seed=0))
    monkeypatch.setattr(linear, "WORSE", 12)
    assert drain(Linear()._choose(features, labels, seed=0)) == chosen
    assert len(short) < len(list(Linear()._choose(features, labels, seed=0)))
