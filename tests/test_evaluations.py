"""The contract that every protocol keeps, over the listing of the folder, and what all of them measure alike."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from firstlight import spec
from firstlight.data import Split, Subset
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.evaluations import Evaluation, Result
from firstlight.evaluations._features import features, folds, inputs, pixels, standardised
from firstlight.evaluations._scoring import score, usable
from firstlight.events import Note, Progress, drain

NAMES = spec.names("evaluations")
PREDICTING = [name for name in NAMES if spec.find("evaluations", name, Evaluation).predicts]
CLASSES = ("red", "green", "blue")
DESCRIBING = [name for name in NAMES if spec.find("evaluations", name, Evaluation).describes]
SMALL = {"finetune": {"steps": 3, "batch": 8, "precision": "fp32"}, "anomaly": {"normal": "red"}}


def coloured(per_class: int, seed: int, classes: tuple[str, ...] = CLASSES, shift: int = 60) -> HeldPictures:
    """Noisy pictures of odd shapes whose class is their brightest colour."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(classes)), per_class)
    arrays = []
    for label in labels:
        array = random.integers(0, 150, (14 + label, 18, 3))
        array[..., label % 3] += shift + 20 * (label // 3)
        arrays.append(array.astype(np.uint8))
    return HeldPictures(arrays, labels, classes)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder("test_resnet", size=32)


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(coloured(5, seed=1), coloured(6, seed=2))


def protocol(name: str) -> Evaluation:
    return spec.find("evaluations", name, Evaluation)(**SMALL.get(name, {}))


def measured(name: str, encoder: Encoder | None, split: Split, seed: int = 0) -> Result:
    return drain(protocol(name).run(encoder, split, size=32, device="cpu", seed=seed))


def on(name: str, encoder: Encoder) -> Encoder | None:
    """What the quickest run of a protocol needs: an encoder, or pixels where it takes them."""
    return encoder if name == "finetune" else None


def test_the_promised_protocols_are_listed():
    assert {"anomaly", "finetune", "knn", "linear", "statistics", "svm"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_frozen_record_of_settings_one_step_from_the_base(name):
    kind = spec.find("evaluations", name, Evaluation)
    assert kind.__mro__[1] is Evaluation
    assert kind.__dataclass_params__.frozen
    assert set(spec.settings_of(kind)) == {f.name for f in dataclasses.fields(kind)}
    assert kind.__doc__
    assert spec.summary("evaluations", name).endswith(".")
    with pytest.raises(InputError, match="has no setting"):
        spec.build("evaluations", f"{name}(colour=1)", Evaluation)


@pytest.mark.parametrize("name", NAMES)
def test_result_is_small_valid_json(name, encoder, split, tmp_path):
    result = measured(name, encoder, split)
    path = result.save(tmp_path / "results")
    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert read == json.loads(json.dumps(dataclasses.asdict(result)))
    assert path.name == f"{name}.json"
    assert path.stat().st_size < 200_000
    assert set(protocol(name).__dict__) <= set(result.settings)


@pytest.mark.parametrize("name", PREDICTING)
def test_numbers_follow_from_predictions(name, encoder, split):
    result = measured(name, encoder, split)
    assert result.truth == split.test.labels.tolist()
    assert len(result.predictions) == len(split.test)
    assert set(result.predictions) <= set(range(len(CLASSES)))
    assert result.numbers["accuracy"] == pytest.approx(np.mean(result.correct()))
    assert 0 <= result.numbers["accuracy_low"] <= result.numbers["accuracy"] <= result.numbers["accuracy_high"] <= 1


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(PREDICTING)))
def test_without_predictions_there_is_no_accuracy(name, encoder, split):
    result = measured(name, encoder, split)
    assert result.predictions == result.truth == []
    assert result.numbers
    assert "accuracy" not in result.numbers


@pytest.mark.parametrize("name", DESCRIBING)
def test_descriptions_depend_on_no_test_picture(name, encoder, split):
    result = measured(name, encoder, split)
    unlabelled = HeldPictures(split.train.arrays, np.full(len(split.train), -1), CLASSES)
    assert measured(name, None, Split(unlabelled, Subset(split.test, []))).numbers
    assert measured(name, encoder, Split(split.train, Subset(split.test, []))).numbers == result.numbers


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_result(name, encoder, split):
    assert dataclasses.asdict(measured(name, encoder, split)) == dataclasses.asdict(measured(name, encoder, split))


@pytest.mark.parametrize("name", PREDICTING)
def test_test_labels_decide_nothing(name, encoder, split):
    shuffled = np.random.default_rng(0).permutation(split.test.labels)
    other = Split(split.train, HeldPictures(split.test.arrays, shuffled, CLASSES))
    first, second = measured(name, encoder, split), measured(name, encoder, other)
    assert first.predictions == second.predictions
    assert first.settings == second.settings
    assert first.truth != second.truth


@pytest.mark.parametrize("name", PREDICTING)
def test_test_pictures_are_judged_one_by_one(name, encoder, split):
    """A picture's prediction depends on no other test picture: nothing is fitted to them."""
    some = np.array([11, 3, 17, 0])
    whole = measured(name, encoder, split)
    part = measured(name, encoder, Split(split.train, Subset(split.test, some)))
    assert part.predictions == [whole.predictions[i] for i in some]


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_encoder_and_the_random_state_as_found(name, encoder, split):
    encoder.train()
    encoder.net.conv1.eval()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    modes = [module.training for module in encoder.modules()]
    state = torch.get_rng_state()
    measured(name, encoder, split)
    assert [module.training for module in encoder.modules()] == modes
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
    if name != "finetune":  # training seeds torch's own generator at every step
        assert torch.equal(torch.get_rng_state(), state)
    encoder.train()


@pytest.mark.parametrize("name", PREDICTING)
def test_pixels_are_measured_or_refused(name, split):
    if name == "finetune":
        with pytest.raises(InputError, match="needs an encoder"):
            measured(name, None, split)
    else:
        assert measured(name, None, split).numbers["accuracy"] > 0.8


@pytest.mark.parametrize("name", PREDICTING)
@pytest.mark.parametrize("per_class", [1, 2])
def test_one_or_two_pictures_a_class(name, per_class, encoder):
    result = measured(name, on(name, encoder), Split(coloured(per_class, 1), coloured(4, 2)))
    assert len(result.predictions) == 12


@pytest.mark.parametrize("name", PREDICTING)
def test_a_class_that_occurs_once_and_one_that_never_does(name, encoder):
    classes = ("red", "green", "blue", "bright red")
    everything = coloured(4, 1, classes)
    train = Subset(everything, [0, 1, 2, 3, 8, 12, 13])  # no green, one blue
    split = Split(train, coloured(3, 2, classes))
    events = list(protocol(name).run(on(name, encoder), split, size=32, device="cpu", seed=0))
    assert any(isinstance(event, Note) and "green" in event.text for event in events)
    result = measured(name, on(name, encoder), split)
    if name != "finetune":
        assert 1 not in result.predictions
    assert result.tables[0]["rows"][1][:3] == [
        "green",
        3,
        0.0 if name != "finetune" else result.tables[0]["rows"][1][2],
    ]


@pytest.mark.parametrize("name", PREDICTING)
def test_two_classes(name, encoder):
    split = Split(coloured(4, 1, CLASSES[:2]), coloured(5, 2, CLASSES[:2]))
    result = measured(name, on(name, encoder), split)
    assert len(result.figures[0]["values"]) == 2
    if name != "finetune":
        assert result.numbers["accuracy"] > 0.8


@pytest.mark.parametrize("name", PREDICTING)
def test_unlabelled_training_pictures_are_left_out(name, encoder, split):
    extra = coloured(2, 5)
    labels = np.concatenate([split.train.labels, np.full(6, -1)])
    mixed = Split(HeldPictures([*split.train.arrays, *extra.arrays], labels, CLASSES), split.test)
    assert measured(name, on(name, encoder), mixed).predictions == measured(name, on(name, encoder), split).predictions


@pytest.mark.parametrize("name", PREDICTING)
def test_refuses_what_cannot_be_judged(name, encoder, split):
    given = on(name, encoder)
    with pytest.raises(InputError, match=r"at least 2 classes; there are only 'red'"):
        measured(name, given, Split(Subset(split.train, range(5)), split.test))
    with pytest.raises(InputError, match="no test pictures"):
        measured(name, given, Split(split.train, Subset(split.test, [])))
    labels = split.test.labels.copy()
    labels[3] = -1
    unlabelled = HeldPictures(split.test.arrays, labels, CLASSES)
    with pytest.raises(InputError, match="1 of the test pictures have no label, such as 'picture 3'"):
        measured(name, given, Split(split.train, unlabelled))
    with pytest.raises(InputError, match="must have the same classes"):
        measured(name, given, Split(split.train, coloured(2, 0, CLASSES[:2])))


@pytest.mark.parametrize("name", NAMES)
def test_reports_progress(name, encoder, split):
    seen = list(protocol(name).run(encoder, split, size=32, device="cpu", seed=0))
    assert any(isinstance(event, Progress) and event.done == event.total for event in seen)


def test_features_are_the_encoders_in_evaluation_mode(encoder, split):
    encoder.train()
    found = drain(features(encoder, split.train, size=32, device="cpu", batch=4))
    assert found.dtype == np.float32
    assert found.shape == (len(split.train), encoder.width)
    whole = drain(features(encoder, split.train, size=32, device="cpu"))
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-5)
    alone = drain(features(encoder, Subset(split.train, [7]), size=32, device="cpu"))
    np.testing.assert_allclose(found[7], alone[0], rtol=1e-4, atol=1e-5)


def test_cancelled_features_restore_the_encoder(encoder, split):
    encoder.train()
    work = features(encoder, split.train, size=32, device="cpu", batch=2)
    next(work)
    assert not encoder.training
    work.close()
    assert all(module.training for module in encoder.modules())


def test_features_refuse_a_size_before_reading(split):
    fixed = Encoder("mixer_s32_224", size=32)
    with pytest.raises(InputError, match="multiple of 32, got 48"):
        next(features(fixed, split.train, size=48, device="cpu"))


def test_pixels_are_values_in_their_range():
    held = HeldPictures([np.full((4, 6), 51, np.uint8), np.full((9, 9, 3), 255, np.uint8)], [0, 1], ("a", "b"))
    found = drain(pixels(held, size=4))
    assert found.shape == (2, 48)
    np.testing.assert_allclose(found[0], 0.2, atol=1e-6)
    np.testing.assert_allclose(found[1], 1.0, atol=1e-6)
    assert drain(pixels(held, size=4, channels=1)).shape == (2, 16)
    assert drain(inputs(None, held, size=64, device="cpu", largest=8)).shape == (2, 3 * 64)


def test_standardised_uses_the_training_set_alone_and_drops_constants():
    random = np.random.default_rng(0)
    train, test = random.normal(3, 2, (50, 4)), random.normal(3, 2, (20, 4))
    train[:, 2] = 7.1
    a, b = standardised(train, test)
    np.testing.assert_allclose(a.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(a.std(0), [1, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(b[:, 0], (test[:, 0] - train[:, 0].mean()) / train[:, 0].std())
    assert (b[:, 2] == 0).all()
    one, _ = standardised(train * [1, 10, 1, 1], test, one_unit=True)
    np.testing.assert_allclose(one[:, 1].std() / one[:, 0].std(), 10 * train[:, 1].std() / train[:, 0].std())


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_never_take_a_class_away(count):
    labels = np.repeat(np.arange(6), [1, 2, 3, 7, 1, 20])
    fold = folds(labels, count, seed=0)
    assert (fold[labels == 0] == -1).all()
    assert (fold[labels == 4] == -1).all()
    sizes = np.bincount(fold[fold >= 0])
    assert len(sizes) == count
    assert sizes.max() - sizes.min() <= 1
    for held in range(count):
        assert set(labels[fold != held]) == set(range(6))
        for label in range(6):
            in_fold = ((fold == held) & (labels == label)).sum()
            assert abs(in_fold - (labels == label).sum() / count) <= 1
    assert (folds(labels, count, seed=0) == fold).all()
    assert (folds(labels, count, seed=1) != fold).any()


def test_folds_of_tiny_sets():
    assert (folds(np.arange(4), 5, 0) == -1).all()
    assert sorted(folds(np.array([0, 0, 1, 1]), 5, 0)) == [0, 0, 1, 1]


def scored(scores, truth, classes=CLASSES, **more) -> Result:
    truth = np.asarray(truth)
    test = HeldPictures([np.full((200, 120), 40 * t, np.uint8) for t in truth], truth, classes)
    return score("x", "X", np.asarray(scores, dtype=float), Split(test, test), **more)


def test_score_by_hand():
    result = scored([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.6, 0.4, 0.0]], [0, 0, 1, 1])
    assert result.numbers["accuracy"] == 0.75
    assert result.numbers["balanced_accuracy"] == 0.75  # blue does not occur and does not count
    assert result.predictions == [0, 0, 1, 0]
    assert result.correct() == [True, True, True, False]
    assert result.tables[0]["rows"] == [["red", 2, 1.0, 0.6667], ["green", 2, 0.5, 1.0], ["blue", 0, "–", "–"]]
    assert result.figures[0]["values"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    (shown,) = result.figures[1]["pictures"]
    assert shown["caption"] == "green → red, 0.60"
    image = Image.open(io.BytesIO(base64.b64decode(shown["png"])))
    assert max(image.size) == 96
    assert image.getpixel((5, 5)) == 40


def test_balanced_accuracy_weighs_classes_alike():
    result = scored(np.eye(3)[[0] * 9 + [0]], [0] * 9 + [1])
    assert result.numbers["accuracy"] == 0.9
    assert result.numbers["balanced_accuracy"] == 0.5


def test_the_most_confident_mistakes_come_first_and_are_few():
    sure = np.linspace(0.4, 0.9, 30)
    result = scored(np.stack([sure, 1 - sure, 0 * sure], axis=1)[:, [1, 0, 2]], [0] * 30)
    captions = [picture["caption"] for picture in result.figures[1]["pictures"]]
    assert len(captions) == 12
    assert captions[0] == "red → green, 0.90"
    values = [float(caption.split(", ")[1]) for caption in captions]
    assert values == sorted(values, reverse=True)


def test_a_decision_values_confidence_is_its_lead():
    result = scored([[5.0, 2.0, -np.inf], [1.0, 0.5, 0.0]], [1, 1], kind="decision value")
    assert [p["caption"] for p in result.figures[1]["pictures"]] == ["green → red, 3.00", "green → red, 0.50"]


def test_no_mistakes_no_figure_of_mistakes():
    assert [figure["kind"] for figure in scored(np.eye(3), [0, 1, 2]).figures] == ["matrix"]


def test_many_classes_list_confusions_in_place_of_a_matrix():
    names = tuple(f"class {n}" for n in range(80))
    truth = np.arange(80)
    guess = truth.copy()
    guess[7] = 8
    result = scored(np.eye(80)[guess], truth, names)
    assert [figure["kind"] for figure in result.figures] == ["pictures"]
    assert result.tables[1]["rows"] == [["class 7", "class 8", 1]]


def test_score_refuses_wrong_shapes_and_nan():
    with pytest.raises(ValueError, match=r"expected scores \[2, 3\]"):
        scored(np.ones((2, 2)), [0, 1])
    with pytest.raises(ValueError, match="NaN"):
        scored([[np.nan, 0, 0]], [0])


def test_class_names_that_are_no_unicode_survive(tmp_path):
    name = b"bad\xff".decode("utf-8", "surrogateescape")
    path = scored(np.eye(3), [0, 1, 2], (name, "ok", "日本")).save(tmp_path)
    assert json.loads(path.read_text(encoding="utf-8"))["figures"][0]["labels"][0] == name


def test_usable_passes_a_good_split_through(split):
    assert drain(usable(split)) is split
