"""Moiré: gratings against their formula in double precision, fringes where theory puts them, members that only move."""

import math

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, picture
from firstlight.formulas.moire import LINES, RINGS, ZONES, Moire, _cosine

MOVED = {"turn": np.array(0.3), "shift": np.array([0.1, -0.2])}


def plain_picture(formula, params, size):
    """The definition, one whole picture a grating, in double precision; values 0 to 255 before rounding."""
    down, across = (np.mgrid[:size, :size] + 0.5) / size
    about = 2 * np.pi * float(params["turn"])
    picture = []
    for channel in range(params["phases"].shape[1]):
        waves = []
        for (kind, frequency, x, y, turn), phases in zip(params["gratings"], params["phases"]):
            left = 0.5 + params["shift"][0] + x * np.cos(about) - y * np.sin(about)
            top = 0.5 + params["shift"][1] + x * np.sin(about) + y * np.cos(about)
            dx, dy, angle = across - left, down - top, 2 * np.pi * turn + about
            far = np.hypot(dx, dy)
            way = {LINES: dx * np.cos(angle) + dy * np.sin(angle), RINGS: far, ZONES: far**2 / 2}[int(kind)]
            wave = np.cos(2 * np.pi * (frequency * way + phases[channel]))
            waves.append(np.sign(wave) if formula.profile == "square" else wave)
        films = np.prod([(1 + wave) / 2 for wave in waves], 0)
        films = np.minimum(films * 2.0 ** (len(waves) - 2), 1)
        picture.append(255 * (films if formula.combine == "product" else (1 + np.mean(waves, 0)) / 2))
    return np.stack(picture, -1)


@pytest.mark.parametrize("combine", ["product", "sum"])
@pytest.mark.parametrize("settings", [
    {}, {"gratings": "lines"}, {"gratings": "rings"}, {"gratings": "zones", "colour": True}, {"layers": (5, 8)},
    {"frequency": (300.0, 1000.0)},
])  # fmt: skip
def test_pictures_equal_the_formula(settings, combine):
    formula = Moire(**settings, combine=combine, oversample=1)
    for category in range(3):
        params = formula.instance(formula.category(Draw(0, category)), Draw(0, category, 5))
        drawn = formula.render(params, 65, Draw(0, category, 5)).astype(float)
        expected = plain_picture(formula, params, 65)
        tolerance = 0.6 if formula.frequency[1] < 100 else 1.5  # single precision loses a little of many waves
        assert np.abs(drawn.reshape(expected.shape) - expected).max() < tolerance


def test_square_gratings_are_black_and_white():
    formula = Moire(profile="square", layers=(2, 2))
    drawn = picture(formula, 0, 0, size=128)
    assert set(np.unique(drawn)) == {0, 255}
    params = formula.instance(formula.category(Draw(0, 0)), Draw(0, 0, 0))
    assert (drawn == plain_picture(formula, params, 128)[..., 0]).mean() > 0.999, "but for pixels on a border"
    added = picture(Moire(profile="square", layers=(2, 2), combine="sum"), 0, 0, size=128)
    assert set(np.unique(added)) == {0, 128, 255}


def test_fringes_have_the_difference_of_the_frequencies():
    """Two films with f and g waves: among the broad structure, f - g waves stand alone."""
    params = {"gratings": np.array([[0, 32.0, 0, 0, 0], [0, 27.0, 0, 0, 0]]), "turn": np.array(0.0)}
    params |= {"shift": np.zeros(2), "phases": np.zeros((2, 1))}
    drawn = Moire().render(params, 256, Draw(0, 0, 0)).astype(float)
    spectrum = np.abs(np.fft.rfft(drawn.mean(0)))
    assert (drawn == drawn[0]).all()
    assert np.argmax(spectrum[1:20]) + 1 == 5
    assert spectrum[5] > 50 * np.median(spectrum[1:20])
    added = np.abs(np.fft.rfft(Moire(combine="sum").render(params, 256, Draw(0, 0, 0)).astype(float).mean(0)))
    assert added[5] < spectrum[5] / 50, "added waves have no fringes of brightness"


def test_an_instance_moves_all_gratings_together():
    formula = Moire()
    params = formula.category(Draw(0, 3))
    members = [formula.instance(params, Draw(0, 3, i)) for i in range(400)]
    assert all(member["gratings"] is params["gratings"] for member in members)
    turns = np.array([member["turn"] for member in members])
    shifts = np.array([member["shift"] for member in members])
    assert np.histogram(turns, 4, (0, 1))[0].min() > 70
    assert -0.25 <= shifts.min() < -0.24
    assert 0.24 < shifts.max() < 0.25
    assert members[0]["phases"].shape == (len(params["gratings"]), 1)
    still = params | {"turn": np.array(0.0), "shift": np.zeros(2), "phases": np.zeros((len(params["gratings"]), 1))}
    upright = formula.render(still, 128, Draw(0, 3, 0)).astype(int)
    quarter = formula.render(still | {"turn": np.array(0.25)}, 128, Draw(0, 3, 0)).astype(int)
    assert np.abs(quarter - np.rot90(upright, -1)).max() <= 2


@pytest.mark.parametrize(("gratings", "least"), [("mixed", 0.8), ("lines", 0.8), ("rings", 0.8), ("zones", 0.3)])
def test_categories_can_be_told_apart(gratings, least):
    """By how their energy is spread over frequencies, of which zones have all; one in twenty is chance."""
    distance = np.hypot(*np.meshgrid(np.fft.fftfreq(128, 1 / 128), np.fft.fftfreq(128, 1 / 128))).astype(int).ravel()

    def spread(drawn):
        return np.log(1 + np.bincount(distance, np.abs(np.fft.fft2(drawn.astype(float))).ravel())[1:60])

    formula = Moire(gratings=gratings)
    features = np.array([[spread(picture(formula, c, i, size=128)) for i in range(8)] for c in range(20)])
    means, held_out = features[:, ::2].mean(1), features[:, 1::2, None]
    assert (((held_out - means) ** 2).sum(-1).argmin(-1) == np.arange(20)[:, None]).mean() > least


def test_categories_keep_their_settings():
    formula = Moire()
    tables = [formula.category(Draw(0, c))["gratings"] for c in range(300)]
    assert {len(table) for table in tables} == {2, 3}
    whole = np.concatenate(tables)
    assert np.bincount(whole[:, 0].astype(int)).min() > 200
    assert 12 * 0.9 <= whole[:, 1].min() < 14
    assert 40 < whole[:, 1].max() < 40 * 1.1
    for table in tables:
        assert table[:, 1].max() / table[:, 1].min() < 1.1 / 0.9
    assert np.abs(whole[:, 2:4]).max() < 0.2
    assert np.abs(whole[:, 4]).max() < 0.05
    assert (Moire(gratings="rings").category(Draw(0, 0))["gratings"][:, 0] == RINGS).all()


def test_small_pictures_are_averages_of_larger_ones():
    large, small = picture(Moire(oversample=1), 0, 0, size=128), picture(Moire(), 0, 0, size=32)
    assert np.array_equal(small, large.reshape(32, 4, 32, 4).astype(int).sum((1, 3)) // 16)


def test_colour_shifts_the_waves_of_each_channel():
    drawn = picture(Moire(colour=True), 0, 0, size=128)
    assert drawn.shape == (128, 128, 3)
    assert np.abs(drawn[..., 0].astype(int) - drawn[..., 1]).mean() > 10
    formula = Moire(colour=True)
    params = formula.instance(formula.category(Draw(0, 0)), Draw(0, 0, 0))
    green = Moire().render(params | {"phases": params["phases"][:, 1:2]}, 128, Draw(0, 0, 0))
    assert np.array_equal(drawn[..., 1], green)


def test_cosine_is_true():
    turns = np.linspace(-3, 3, 2001, dtype=np.float32)
    found = np.array([_cosine(turn) for turn in turns])
    assert np.abs(found - np.cos(2 * np.pi * turns.astype(float))).max() < 1e-5


@pytest.mark.parametrize("settings", [
    {"gratings": "spirals"}, {"layers": (1, 2)}, {"layers": (3, 2)}, {"layers": (2, 9)}, {"layers": (2,)},
    {"frequency": (0.5, 9.0)}, {"frequency": (9.0, 8.0)}, {"frequency": (9.0, math.nan)}, {"frequency": (9.0, 2000.0)},
    {"mismatch": -0.1}, {"mismatch": 1.0}, {"mismatch": math.nan}, {"tilt": 0.3}, {"tilt": math.nan},
    {"distance": 1.5}, {"distance": math.nan}, {"combine": "difference"}, {"profile": "round"}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=f"moire.{next(iter(settings))}=.*allowed is"):
        Moire(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 8193), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        picture(Moire(**settings), 0, 0, size=size)


def test_extremes():
    assert picture(Moire(), 0, 0, size=8).any()
    assert picture(Moire(mismatch=0.0, tilt=0.0, distance=0.0, layers=(8, 8)), 0, 0, size=16).shape == (16, 16)
    large = picture(Moire(frequency=(1.0, 1.0)), 0, 0, size=1030)
    assert large.shape == (1030, 1030)
    assert large.any()


def test_pairs_from_json_become_tuples():
    assert Moire(layers=[2, 4], frequency=[9.0, 12.0]) == Moire(layers=(2, 4), frequency=(9.0, 12.0))
    assert hash(Moire(layers=[2, 4])) == hash(Moire(layers=(2, 4)))
