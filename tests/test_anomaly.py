"""Anomaly detection: the density against scikit-learn's, the area under the curve, and what is never looked at."""

import dataclasses

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from firstlight import cli
from firstlight.data import Split, Subset
from firstlight.data.held import HeldPictures
from firstlight.errors import InputError
from firstlight.evaluations.anomaly import Anomaly, Gaussian, _measured, auroc, normal_class
from firstlight.events import Note, drain

CLASSES = ("crack", "free", "hole")


def tiles(counts: tuple[int, ...], seed: int, classes: tuple[str, ...] = CLASSES) -> HeldPictures:
    """Noisy grey pictures; cracks have a white line and holes a black spot."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    arrays = []
    for label in labels:
        picture = random.integers(90, 160, (16, 16)).astype(np.uint8)
        if classes[label] == "crack":
            picture[random.integers(16)] = 255
        if classes[label] == "hole":
            picture[4:8, 4:8] = 0
        arrays.append(picture)
    return HeldPictures(arrays, labels, classes)


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(tiles((5, 40, 5), 1), tiles((6, 20, 8), 2))


def measured(split: Split, seed: int = 0, **settings):
    return drain(Anomaly(**settings).run(None, split, size=16, device="cpu", seed=seed))


@pytest.mark.parametrize(("samples", "width"), [(60, 8), (12, 30), (9, 9), (10, 9)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_are_scikit_learns(samples, width, dtype):
    random = np.random.default_rng(samples)
    mixed = random.normal(size=(width, width))
    train, test = ((random.normal(size=(count, width)) @ mixed + 3).astype(dtype) for count in (samples, 7))
    expected = LedoitWolf().fit(train.astype(np.float64)).mahalanobis(test.astype(np.float64))
    np.testing.assert_allclose(Gaussian(train).distance(test), expected, rtol=1e-6)


@pytest.mark.parametrize("train", [np.ones((5, 4)), np.repeat(np.eye(4)[:1], 3, 0), np.eye(4)[:2]])
def test_a_gaussian_of_next_to_nothing_is_finite(train):
    found = Gaussian(train)
    distances = found.distance(np.array([train[0] + 1, train.mean(0)]))
    assert np.isfinite(distances).all()
    assert distances[0] > distances[1]


def test_the_area_is_scikit_learns_with_ties_and_repetitions():
    random = np.random.default_rng(0)
    distance = random.integers(0, 12, 60).astype(float)
    defect = random.random(60) < 0.4
    assert auroc(distance, defect) == pytest.approx(roc_auc_score(defect, distance), abs=1e-12)
    times = random.integers(0, 4, 60)
    repeated = np.repeat(np.arange(60), times)
    expected = roc_auc_score(defect[repeated], distance[repeated])
    assert auroc(distance, defect, times) == pytest.approx(expected, abs=1e-12)
    assert auroc(defect.astype(float), defect) == 1
    assert auroc(-defect.astype(float), defect) == 0
    assert auroc(np.zeros(60), defect) == 0.5


def test_defects_are_found_and_told_apart(split):
    result = measured(split)
    assert result.numbers["auroc"] > 0.95
    assert result.numbers["auroc_low"] <= result.numbers["auroc"] <= result.numbers["auroc_high"] <= 1
    rows = result.tables[0]["rows"]
    assert [row[:2] for row in rows] == [["crack", 6], ["hole", 8]]
    weighted = sum(row[1] * row[2] for row in rows) / 14
    assert weighted == pytest.approx(result.numbers["auroc"], abs=1e-3), "every pair of a defect and a normal picture"
    assert result.settings["normal"] == "free"
    assert result.settings["train"] == 40
    kinds = [figure["kind"] for figure in result.figures]
    assert kinds == ["lines", "lines", "pictures", "pictures"]
    curve = result.figures[0]["series"][0]
    assert np.trapezoid(curve["y"], curve["x"]) == pytest.approx(result.numbers["auroc"], abs=1e-3)


def test_the_interval_covers_the_truth():
    """Distances of normal pictures and defects that overlap by a known amount."""
    inside = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        distance = np.concatenate([random.normal(0, 1, 50), random.normal(1, 1, 30)])
        labels = np.repeat([0, 1], [50, 30])
        test = HeldPictures(np.zeros((80, 4, 4), np.uint8), labels, ("good", "bad"))
        numbers, _ = _measured(distance, test, 0, seed)
        inside += numbers["auroc_low"] < 0.7602 < numbers["auroc_high"]  # the chance that N(1, 1) > N(0, 1)
    assert inside >= 17


def test_training_defects_are_never_looked_at(split):
    read = []

    class Watched(HeldPictures):
        def read(self, numbers):
            read.extend(np.asarray(numbers).tolist())
            return super().read(numbers)

    train = Watched(split.train.arrays, split.train.labels, CLASSES)
    events = list(Anomaly().run(None, Split(train, split.test), size=16, device="cpu", seed=0))
    assert any(isinstance(e, Note) and "10 training pictures that are not 'free'" in e.text for e in events)
    assert set(split.train.labels[read]) == {1}
    only = Subset(split.train, np.flatnonzero(split.train.labels == 1))
    assert measured(Split(only, split.test)).numbers == measured(split).numbers


def test_test_pictures_are_measured_one_by_one_and_their_labels_decide_nothing(split):
    whole = measured(split)
    labels = np.where(split.test.labels == 0, 2, split.test.labels)
    merged = measured(Split(split.train, HeldPictures(split.test.arrays, labels, CLASSES)))
    assert merged.numbers["auroc"] == whole.numbers["auroc"]
    some = np.flatnonzero(split.test.labels < 2)
    assert measured(Split(split.train, Subset(split.test, some))).tables[0]["rows"][0] == whole.tables[0]["rows"][0]


@pytest.mark.parametrize("name", ["good", "Normal", "free", "OK"])
def test_the_normal_class_is_known_by_its_name(name):
    held = tiles((1, 1, 1), 0, ("crack", name, "hole"))
    assert normal_class(Split(held, held), None) == 1
    assert normal_class(Split(held, held), "hole") == 2


def test_which_class_is_normal_must_be_clear():
    held = tiles((2, 2), 0, ("cat", "dog"))
    with pytest.raises(InputError, match=r"'cat', 'dog'.*none is called good.*anomaly\(normal='cat'\)"):
        measured(Split(held, held))
    both = tiles((2, 2, 2), 0, ("bad", "good", "normal"))
    with pytest.raises(InputError, match=r"'good' and 'normal' could be it.*anomaly\(normal='good'\)"):
        measured(Split(both, both))
    with pytest.raises(InputError, match="no class named 'dogs'; did you mean 'dog'"):
        measured(Split(held, held), normal="dogs")


def test_what_cannot_be_judged_is_refused(split):
    free, others = (np.flatnonzero((split.test.labels == 1) == side) for side in (True, False))
    for train, test, why in (
        (Subset(split.train, [5]), split.test, "needs 2 normal training pictures or more; of class 'free' there are 1"),
        (split.train, Subset(split.test, []), "no test pictures"),
        (split.train, Subset(split.test, free), r"normal pictures \('free'\) only"),
        (split.train, Subset(split.test, others), "are defects only"),
    ):
        with pytest.raises(InputError, match=why):
            measured(Split(train, test))
    labels = split.test.labels.copy()
    labels[3] = -1
    with pytest.raises(InputError, match="1 of the test pictures have no label, such as 'picture 3'"):
        measured(Split(split.train, HeldPictures(split.test.arrays, labels, CLASSES)))


def test_the_seed_moves_the_interval_alone(split):
    first, second = (measured(split, seed=seed, normal="crack") for seed in (0, 1))
    assert first.numbers["auroc"] == second.numbers["auroc"]
    assert first.numbers != second.numbers
    assert dataclasses.asdict(first) == dataclasses.asdict(measured(split, seed=0, normal="crack"))


def test_from_the_command_line(tmp_path, capsys):
    from PIL import Image

    for side, held in (("train", tiles((2, 12, 2), 3)), ("test", tiles((3, 6, 3), 4))):
        for number, (picture, label) in enumerate(zip(held.arrays, held.labels)):
            folder = tmp_path / "data" / side / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number}.png")
    given = ["evaluate", str(tmp_path / "data"), "--model", "test_resnet", "--size", "32", "--device", "cpu"]
    assert cli.run([*given, "--protocols", "anomaly", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "results" / "anomaly.json").is_file()
    assert "Image AUROC" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "auroc" in capsys.readouterr().err
    assert cli.run([*given, "--protocols", "anomaly(normal='fre')", "--out", str(tmp_path / "no")]) == 2
    assert "'free'" in capsys.readouterr().err
