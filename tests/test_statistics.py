"""Picture statistics against sets whose statistics are known in closed form."""

import json

import numpy as np
import pytest
import torch

from firstlight import cli
from firstlight.data import Split
from firstlight.data.held import HeldPictures
from firstlight.encoder import Encoder
from firstlight.errors import InputError
from firstlight.evaluations import Result
from firstlight.evaluations._statistics import (
    background_of,
    compactness,
    edge_densities,
    filling_rates,
    percentiles,
    resampled,
    resampled_means,
    slopes,
    spectra,
    spread,
)
from firstlight.evaluations.statistics import Statistics, chosen_evenly
from firstlight.events import Note, drain

SIZE = 64


def held(arrays, labels=None, classes=("a", "b")) -> HeldPictures:
    labels = np.arange(len(arrays)) % 2 if labels is None else np.asarray(labels)
    return HeldPictures([np.asarray(array, np.uint8) for array in arrays], labels, classes)


def measured(pictures: HeldPictures, encoder=None, size=SIZE, seed=0, **settings) -> Result:
    return drain(Statistics(**settings).run(encoder, Split(pictures, pictures), size=size, device="cpu", seed=seed))


def noise(slope: float, count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """Gaussian noise whose power goes with frequency to the power of ``slope``, float64 ``[count, size, size]``."""
    white = np.fft.fft2(np.random.default_rng(seed).normal(size=(count, size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    frequency[0, 0] = np.inf
    return np.fft.ifft2(white * frequency ** (slope / 2)).real


def half_filled(size: int = SIZE, light: int = 200) -> np.ndarray:
    picture = np.zeros((size, size), np.uint8)
    picture[size // 4 : 3 * size // 4] = light
    return picture


def test_half_a_picture_is_half_filled():
    assert filling_rates(half_filled()[None] / 255, 0.0) == [0.5]
    assert filling_rates(half_filled()[None] / 255, 200 / 255) == [0.5]
    assert filling_rates(half_filled(light=1)[None] / 255, 0.0) == [0.5]
    assert filling_rates(half_filled()[None] / 255, 100 / 255) == [1.0]
    assert filling_rates(np.random.default_rng(0).random((3, 8, 8)), None).tolist() == [1, 1, 1]


@pytest.mark.parametrize("ground", [0, 127, 255])
def test_the_background_is_what_most_corners_have(ground):
    pictures = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE))
    assert background_of(pictures / 255) is None
    pictures[:7, :: SIZE - 1, :: SIZE - 1] = ground
    assert background_of(pictures / 255) == pytest.approx(ground / 255)


def test_a_step_is_an_edge_two_pixels_wide():
    step = np.zeros((1, SIZE, SIZE))
    step[:, :, SIZE // 2 :] = 1
    for picture in (step, step.transpose(0, 2, 1), 1 - step):
        assert edge_densities(picture, 0.1) == [2 / SIZE]
        assert edge_densities(0.21 * picture, 0.1) == [2 / SIZE]
        assert edge_densities(0.19 * picture, 0.1) == [0]
        assert edge_densities(picture, 0.5) == [0], "half of the step on either side"


def test_a_ramp_has_its_slope():
    ramp = np.arange(SIZE) / (SIZE - 1)
    for along, across in ((1.0, 0.0), (0.6, 0.8)):
        picture = along * ramp[:, None] + across * ramp
        inside = (SIZE - 2) ** 2 / SIZE**2
        assert edge_densities(picture[None], 0.99 / (SIZE - 1)) >= [inside]
        assert edge_densities(picture[None], 1.01 / (SIZE - 1)) == [0]


@pytest.mark.parametrize("slope", [0.0, -1.0, -2.0, -3.0])
@pytest.mark.parametrize("size", [64, 97])
def test_noise_has_the_slope_it_was_made_with(slope, size):
    found = slopes(spectra(noise(slope, 24, size)))
    # Low frequencies have few waves, and the mean logarithm of few lies below the logarithm of their mean; and a
    # steep spectrum leaks a little through the window.
    assert abs(found.mean() - slope) < 0.1
    assert found.std() < 0.25


def test_a_spectrum_does_not_see_brightness_and_goes_with_the_square_of_contrast():
    pictures = noise(-2, 4)
    once = spectra(pictures)
    assert once.shape == (4, SIZE // 2)
    np.testing.assert_allclose(spectra(pictures + 7), once, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(spectra(3 * pictures), 9 * once)
    np.testing.assert_allclose(slopes(spectra(3 * pictures)), slopes(once))


def test_one_wave_has_its_power_at_its_frequency():
    wave = np.sin(2 * np.pi * 10 * np.arange(SIZE) / SIZE)[None, :, None].repeat(SIZE, 2)
    assert spectra(wave)[0].argmax() == 10 - 1


def test_white_noise_has_its_variance_as_power():
    power = spectra(np.random.default_rng(0).normal(0, 0.3, (200, 32, 32))).mean(0)
    np.testing.assert_allclose(power[2:], 0.09, rtol=0.1)


def test_without_contrast_there_is_no_slope():
    assert np.isnan(slopes(spectra(np.full((2, 16, 16), 0.7)))).all()


def test_compactness_by_hand():
    values = np.array([[0, 2.0], [0, -2], [10, 2], [10, -2], [99, 99], [50, 50]])
    within, between = spread(values, np.array([0, 0, 1, 1, 2, -1]))
    np.testing.assert_allclose(within, 2 * np.sqrt(2))  # n of 2: the members pull their centre
    np.testing.assert_allclose(between, [[0, 10], [10, 0]])
    assert compactness(within, between, np.ones((1, 2))) == pytest.approx([2 * np.sqrt(2) / 10])
    assert np.isnan(compactness(within, between, np.array([[2.0, 0.0]]))).all()


def test_classes_that_are_drawn_twice_count_twice():
    within, between = np.array([1.0, 2.0, 4.0]), np.array([[0, 3, 5], [3, 0, 7], [5, 7, 0.0]])
    found = compactness(within, between, np.array([[2.0, 1.0, 0.0], [1, 1, 1]]))
    np.testing.assert_allclose(found, [(1 + 1 + 2) / 3 / 3, (7 / 3) / 5])


@pytest.mark.parametrize("members", [2, 4, 50])
def test_few_members_do_not_seem_closer(members):
    values = np.random.default_rng(0).normal(size=(40, members, 100))
    within, _ = spread(values.reshape(-1, 100), np.arange(40).repeat(members))
    assert within.mean() == pytest.approx(10, rel=0.02)


def test_intervals_are_those_of_a_mean():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = percentiles(resampled_means(values, 0))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert percentiles(resampled_means(values, 0)) == (low, high) != percentiles(resampled_means(values, 1))
    assert (resampled(7, 0).sum(1) == 7).all()


def test_a_whole_set():
    pictures = [half_filled() for _ in range(6)] + [255 - half_filled(light=255) for _ in range(6)]
    result = measured(held(pictures, [0] * 6 + [1] * 6), background=0)
    assert result.numbers["filling_rate"] == 0.5
    assert result.numbers["filling_rate_low"] == result.numbers["filling_rate_high"] == 0.5
    assert result.numbers["edge_density"] == pytest.approx(4 / SIZE)
    assert result.numbers["compactness"] == 0, "members are alike"
    assert "compactness_low" not in result.numbers, "two classes tell nothing of others"
    assert result.tables[0]["rows"][-1][:4] == ["compactness, pixels", 0, "–", "–"]
    assert result.text.startswith("50.0 % of the pixels are filled, 6.2 % are edges")
    assert result.tables[1]["rows"][1][:4] == ["b", 6, 0.5, 0.0625]
    assert [figure["kind"] for figure in result.figures] == ["lines", "pictures"], "no histogram of equal values"
    assert (result.predictions, result.truth) == ([], [])


def test_pictures_of_bytes_have_the_slope_of_their_noise():
    for slope in (0.0, -2.0):
        grey = noise(slope, 12)
        grey = np.clip(128 + 35 * grey / grey.std((1, 2), keepdims=True), 0, 255).round()
        result = measured(held(grey))
        assert abs(result.numbers["spectrum_slope"] - slope) < 0.1
        assert result.numbers["spectrum_slope_low"] < result.numbers["spectrum_slope"]
        assert result.numbers["spectrum_slope_high"] > result.numbers["spectrum_slope"]
        assert result.numbers["filling_rate"] == 1
        spectrum = result.figures[0]["series"]
        assert len(spectrum[0]["x"]) == len(spectrum[0]["low"]) == SIZE // 2
        assert spectrum[1]["name"] == f"slope {result.numbers['spectrum_slope']:.2f}"


def test_tight_classes_far_apart_are_compact():
    random = np.random.default_rng(0)
    labels = np.arange(30) % 3

    def numbers(spread_of_classes):
        centres = random.normal(128, spread_of_classes, (3, 16, 16, 3))
        pictures = [np.clip(centres[label] + random.normal(0, 10, (16, 16, 3)), 0, 255) for label in labels]
        return measured(held(pictures, labels, ("a", "b", "c")), size=16).numbers

    tight, loose = numbers(40), numbers(2)
    assert tight["compactness"] == pytest.approx(10 / (40 * np.sqrt(2)), rel=0.1)
    assert tight["compactness_low"] <= tight["compactness"] <= tight["compactness_high"] < loose["compactness_low"]


def test_features_are_measured_where_there_is_an_encoder():
    torch.manual_seed(0)
    encoder = Encoder("test_resnet", size=32)
    pictures = held(np.random.default_rng(0).integers(0, 256, (8, 32, 32)), np.arange(8) % 4, tuple("abcd"))
    with_encoder, without = measured(pictures, encoder, size=32), measured(pictures, size=32)
    assert {"feature_compactness", "feature_compactness_low", "feature_compactness_high"} == set(
        with_encoder.numbers
    ) - set(without.numbers)
    assert {name: with_encoder.numbers[name] for name in without.numbers} == without.numbers


@pytest.mark.parametrize("labels", [[-1] * 4, [0] * 4, [0, 1, -1, -1], [0, 0, 0, 1]])
def test_without_two_classes_of_two_there_is_no_compactness(labels):
    pictures = held(np.random.default_rng(0).integers(0, 256, (4, 16, 16)), labels)
    events = list(Statistics().run(None, Split(pictures, pictures), size=16, device="cpu", seed=0))
    assert any(isinstance(event, Note) and "two classes" in event.text for event in events)
    assert "compactness" not in measured(pictures, size=16).numbers


def test_blank_pictures_are_measured(tmp_path):
    result = measured(held([np.zeros((32, 32))] * 4), size=32)
    assert result.numbers["filling_rate"] == result.numbers["edge_density"] == 0
    assert "spectrum_slope" not in result.numbers
    json.loads(result.save(tmp_path).read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    mixed = measured(
        held([np.zeros((32, 32))] * 2 + list(np.random.default_rng(0).integers(0, 256, (2, 32, 32)))), size=32
    )
    assert np.isfinite(mixed.numbers["spectrum_slope"])


def test_enlarged_pictures_are_remarked_on():
    pictures = held(np.random.default_rng(0).integers(0, 256, (4, 16, 16)))
    for size, remarks in ((16, 0), (32, 1)):
        events = list(Statistics().run(None, Split(pictures, pictures), size=size, device="cpu", seed=0))
        assert sum(isinstance(event, Note) and "enlarged" in event.text for event in events) == remarks


def test_few_are_chosen_evenly():
    labels = np.repeat([0, 1, -1], [50, 3, 10])
    pictures = held(np.zeros((63, 8, 8)), labels)
    chosen = chosen_evenly(pictures, 12, seed=0)
    assert sorted(np.unique(chosen.labels, return_counts=True)[1]) == [3, 4, 5], "all three of the small class"
    assert len(set(chosen.numbers)) == 12
    assert np.array_equal(chosen.numbers, chosen_evenly(pictures, 12, seed=0).numbers)
    assert not np.array_equal(chosen.numbers, chosen_evenly(pictures, 12, seed=1).numbers)
    assert chosen_evenly(pictures, 63, seed=0) is pictures


@pytest.mark.parametrize("settings", [
    {"pictures": 0}, {"edge": 0.0}, {"edge": 1.0}, {"edge": float("nan")}, {"background": -1}, {"background": 256},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match="allowed is"):
        Statistics(**settings)


def test_impossible_sets_are_refused():
    with pytest.raises(InputError, match="no training pictures"):
        measured(held(np.zeros((0, 8, 8)), []))
    with pytest.raises(InputError, match="at least 8"):
        measured(held(np.zeros((2, 8, 8))), size=7)


def test_a_formula_is_measured_from_the_command_line(tmp_path, capsys):
    out = tmp_path / "run"
    asked = ["evaluate", "fractal(sampler='svd', mode='point')", "--protocols", "statistics", "--size", "32"]
    asked += ["--categories", "3", "--instances", "8", "--device", "cpu", "--out", str(out)]
    assert cli.run(asked) == 0
    result = json.loads((out / "results" / "statistics.json").read_text())
    assert result["settings"]["pictures"] == 3 * 6
    assert result["settings"]["background"] == 0
    assert 0 < result["numbers"]["filling_rate"] < 1
    page = (out / "report.html").read_text()
    assert "of the pixels are filled" in page
    assert "In figures" in page
    assert "Where it was wrong" not in page
    assert cli.run(["evaluate", "fractal", "--instances", "1", "--device", "cpu", "--out", str(tmp_path / "no")]) == 2
    assert "instances=1" in capsys.readouterr().err
    assert cli.run(["evaluate", "fractal", "--protocols", "--out", str(tmp_path / "no")]) == 2
    assert "protocols: none given; allowed: anomaly, finetune, knn" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
