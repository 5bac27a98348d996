"""Atoms: pictures against the plain reference, the two public sets of defaults, frequencies, bad settings."""

import math

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, picture
from firstlight.formulas.atom import Atom
from test_contour import pillow_picture, plain_contours

CLASS = {
    "vertices": np.array(90),
    "lines": np.array(18),
    "noise": np.array(2.3),
    "line_width": np.array(0.05),
    "waves": np.array([3, 11]),
    "radius": np.array(30),
    "oval_x": np.array(1.6),
    "oval_y": np.array(1.1),
    "row": np.array(230.5),
    "column": np.array(301.0),
}


@pytest.mark.parametrize(("size", "changes"), [
    (512, {}),
    (200, {"waves": [0, 0]}),
    (200, {"waves": [20, 0], "vertices": 7}),  # more waves than vertices
    (150, {"row": 0.0, "column": 512.0, "lines": 60}),
    (133, {"vertices": 211, "waves": [1, 2], "noise": 0.0}),
])  # fmt: skip
def test_pictures_equal_pillow_drawing_the_plain_reference(size, changes):
    params = CLASS | {name: np.array(value) for name, value in changes.items()}
    drawn = Atom().render(params, size, Draw(0, 1, 2))
    assert np.array_equal(drawn, pillow_picture(plain_contours(params, size, Draw(0, 1, 2), 1.0), size, 0))
    assert drawn.any()


def test_whole_classes_and_members_equal_the_plain_reference():
    formula = Atom(vertices=(20, 60), lines=(1, 20))
    for category in range(4):
        member = formula.instance(formula.category(Draw(5, category)), Draw(5, category, 3))
        expected = pillow_picture(plain_contours(member, 160, Draw(5, category, 3).split(1), 1.0), 160, 0)
        assert np.array_equal(picture(formula, category, 3, size=160, seed=5), expected)


def test_waves_come_round_as_often_as_their_frequency():
    params = CLASS | {
        "vertices": np.array(720), "lines": np.array(60), "noise": np.array(0.0), "waves": np.array([0, 6]),
        "oval_x": np.array(1.0), "oval_y": np.array(1.0), "line_width": np.array(0.8),
    }  # fmt: skip
    columns, rows, _, _ = plain_contours(params, 512, Draw(0, 0, 1), 1.0)[-1]
    reach = np.hypot(columns - 301, rows - 230.5)
    strength = np.abs(np.fft.rfft(reach - reach.mean()))
    assert strength.argmax() == 6
    assert reach.max() - reach.min() == pytest.approx(60, abs=3), "60 contours, half a pixel either way each"
    assert reach.mean() == pytest.approx(30 + 60 * 0.8, abs=1)


def test_small_pictures_are_averages_of_larger_ones():
    large = Atom(oversample=1).render(CLASS, 128, Draw(0, 0, 1))
    small = Atom().render(CLASS, 32, Draw(0, 0, 1))
    assert np.array_equal(small, large.reshape(32, 4, 32, 4).astype(int).sum((1, 3)) // 16)


@pytest.mark.parametrize(("defaults", "noise", "line_width", "radius"), [
    ("script", (0, 4), 0.1, (10, 60)),
    ("argparse", (2, 6), 0.01, (0, 50)),
])  # fmt: skip
def test_classes_follow_their_defaults(defaults, noise, line_width, radius):
    formula = Atom(defaults=defaults)
    drawn = [formula.category(Draw(0, category)) for category in range(4000)]
    found = {name: np.array([params[name] for params in drawn]) for name in drawn[0]}
    for name, low, high in (("vertices", 200, 1000), ("lines", 1, 200), ("radius", *radius), ("row", 0, 512)):
        assert (found[name].min(), found[name].max()) == (pytest.approx(low, abs=2), pytest.approx(high, abs=2)), name
        assert found[name].mean() == pytest.approx((low + high) / 2, rel=0.05)
    for name, low, high in (("noise", *noise), ("line_width", 0, line_width), ("oval_x", 1, 2), ("oval_y", 1, 2)):
        values = (found[name] - low) / (high - low)
        assert 0 <= values.min() < 0.01
        assert 0.99 < values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.02)


def test_frequencies_differ_or_the_first_is_none():
    pairs = np.array([Atom(waves=(0, 4)).category(Draw(1, category))["waves"] for category in range(5000)])
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(pairs.T), 1)
    # Drawn again until they differ, unless the first is 0: then all five are as likely.
    expected = np.where(np.eye(5), 0, 1 / 20)
    expected[0] = 1 / 25
    assert (counts[expected == 0] == 0).all()
    seen, wanted = counts[expected > 0], 5000 * expected[expected > 0]
    assert ((seen - wanted) ** 2 / wanted).sum() < 45
    assert {tuple(Atom(waves=(3, 4)).category(Draw(0, i))["waves"].tolist()) for i in range(30)} == {(3, 4), (4, 3)}
    assert Atom(waves=(0, 0)).category(Draw(0, 0))["waves"].tolist() == [0, 0]


def test_settings_win_over_defaults():
    formula = Atom(defaults="argparse", noise=(1.0, 1.0), line_width=0.0, radius=(7, 7))
    params = formula.category(Draw(0, 3))
    assert (params["noise"], params["line_width"], params["radius"]) == (1.0, 0.0, 7)


def test_members_move_and_keep_the_rest():
    formula = Atom()
    params = formula.category(Draw(0, 1))
    assert all(np.array_equal(formula.instance(params, Draw(0, 1, 0))[name], params[name]) for name in params)
    places = set()
    for number in range(1, 20):
        member = formula.instance(params, Draw(0, 1, number))
        assert {name for name in params if not np.array_equal(member[name], params[name])} <= {"row", "column"}
        places.add((float(member["row"]), float(member["column"])))
    assert len(places) > 15


@pytest.mark.parametrize("settings", [
    {"defaults": "scripts"}, {"vertices": (2, 10)}, {"vertices": (9, 5)}, {"lines": (0, 5)}, {"waves": (-1, 5)},
    {"waves": (5, 5)}, {"waves": (0, 1001)}, {"noise": (math.nan, 1)}, {"noise": (3, 1)}, {"line_width": -0.1},
    {"line_width": math.nan}, {"radius": (5, 1)}, {"oval": (-1, 1)}, {"spread": -1}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"atom\(.*allowed is"):
        Atom(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 8193), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        Atom(**settings).render(CLASS, size, Draw(0, 0, 0))


def test_classes_too_large_are_refused():
    with pytest.raises(InputError, match="atom: a class of 18 lines and 1,000,000 vertices"):
        Atom().render(CLASS | {"vertices": np.array(10**6)}, 64, Draw(0, 0, 0))
