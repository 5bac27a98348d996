"""The kernel SVM: its grid against scikit-learn's cross-validation, and that it learns what is not linear."""

import numpy as np
import pytest
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.svm import SVC

from firstlight.data import Split
from firstlight.data.digits import split_digits
from firstlight.data.held import HeldPictures
from firstlight.data.split import few
from firstlight.errors import InputError
from firstlight.evaluations._features import folds
from firstlight.evaluations.svm import Svm, _stratified, decided
from firstlight.events import Note, drain


def rings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes at two distances from the middle: no line parts them."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    angle = random.uniform(0, 2 * np.pi, count)
    radius = np.where(labels, 2.0, 1.0) + random.normal(0, 0.35, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), labels


def test_grid_choice_equals_scikit_learns_cross_validation():
    features, labels = rings(80, seed=0)
    unit = 1 / (2 * features.var())
    c, gamma = drain(Svm()._choose(features, labels, unit, seed=3))
    split = PredefinedSplit(folds(labels, 5, seed=3))
    grid = [(c, g * unit) for c in (0.1, 1.0, 10.0, 100.0) for g in (0.25, 1.0, 4.0)]
    means = [cross_val_score(SVC(C=a, gamma=b), features, labels, cv=split).mean() for a, b in grid]
    assert (c, gamma) == pytest.approx(grid[int(np.argmax(means))])
    assert max(means) - min(means) > 0.05  # the choice was one


def test_decision_values_agree_with_scikit_learns_predictions():
    features, labels = rings(60, seed=1)
    for classes in (labels, labels + 2 * (features[:, 0] > 0)):
        machine = SVC(C=3.0, gamma=0.5, break_ties=True).fit(features, classes)
        values = decided(machine, features)
        assert values.shape == (60, len(machine.classes_))
        assert (machine.classes_[values.argmax(1)] == machine.predict(features)).all()


def test_ten_digits_a_class():
    split = split_digits(seed=0)
    small = Split(few(split.train, 10, seed=0), split.test)
    result = drain(Svm().run(None, small, size=8, device="cpu", seed=0))
    assert result.numbers["accuracy"] > 0.85
    assert result.settings["chosen_c"] in Svm().c
    assert min(abs(result.settings["chosen_gamma"] - g) for g in Svm().gamma) < 1e-9
    assert result.settings["on"] == "pixels"


def test_large_sets_are_searched_in_part_and_fitted_whole():
    split = split_digits(seed=0)
    events, work = [], Svm(search=100).run(None, split, size=8, device="cpu", seed=0)
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            result = end.value
            break
    assert any(isinstance(event, Note) and f"of the {len(split.train)} training" in event.text for event in events)
    assert result.numbers["accuracy"] > 0.95


def test_the_part_is_stratified_and_keeps_two_of_each():
    labels = np.repeat(np.arange(4), [1, 2, 100, 300])
    some = _stratified(labels, 40, seed=0)
    assert np.bincount(labels[some]).tolist() == [1, 2, 10, 30]
    assert (np.diff(some) > 0).all()


def test_one_picture_a_class_is_said_and_takes_the_middle():
    pictures = HeldPictures([np.full((4, 4), v, np.uint8) for v in (0, 120, 250)], [0, 1, 2], ("a", "b", "c"))
    events = list(Svm().run(None, Split(pictures, pictures), size=4, device="cpu", seed=0))
    assert any(isinstance(event, Note) and "mid-range" in event.text for event in events)
    result = drain(Svm().run(None, Split(pictures, pictures), size=4, device="cpu", seed=0))
    assert (result.settings["chosen_c"], result.settings["chosen_gamma"]) == (10.0, pytest.approx(1.0))
    assert result.numbers["accuracy"] == 1.0


def test_pictures_that_are_all_alike_do_not_crash():
    pictures = HeldPictures([np.full((4, 4), 9, np.uint8)] * 6, [0, 0, 0, 1, 1, 1], ("a", "b"))
    assert drain(Svm().run(None, Split(pictures, pictures), size=4, device="cpu", seed=0)).numbers["accuracy"] == 0.5


@pytest.mark.parametrize("settings", [{"c": ()}, {"gamma": (0.0,)}, {"held_out": 1}, {"search": 3}, {"pixels": 0}])
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(InputError):
        Svm(**settings)
