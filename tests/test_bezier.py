"""Bézier curves: de Casteljau's construction against the fast one, and curves that are thin, whole and in place."""

import math

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, picture
from firstlight.formulas.bezier import Bezier, _chords, _evaluate


def casteljau(controls, t):
    """The definition: halfway points of halfway points, for shares ``t``; ``[len(t), 2]``."""
    points = np.repeat(np.asarray(controls, float)[None], len(t), 0)
    while points.shape[1] > 1:
        points = points[:, :-1] * (1 - t)[:, None, None] + points[:, 1:] * t[:, None, None]
    return points[:, 0]


def evaluated(controls, chords):
    choices = np.array([math.comb(len(controls) - 1, k) for k in range(len(controls))], float)
    xs, ys = np.empty(chords + 1), np.empty(chords + 1)
    _evaluate(controls.reshape(-1), choices, chords, xs, ys)
    return np.stack([xs, ys], 1)


@pytest.mark.parametrize("count", [2, 3, 4, 9, 14, 34, 66])
def test_points_equal_de_casteljau(count):
    controls = Draw(0, count).uniform(0, 512, (count, 2))
    for chords in (2, 10, 64):
        expected = casteljau(controls, np.arange(chords + 1) / chords)
        assert np.abs(evaluated(controls, chords) - expected).max() < 1e-9


@pytest.mark.parametrize("count", [2, 3, 5, 14, 34])
def test_chords_stay_within_a_quarter_of_a_pixel(count):
    for number in range(5):
        controls = Draw(number, count).uniform(0, 512, (count, 2))
        chords = _chords(controls.reshape(-1), count)
        assert chords % 2 == 0
        ends = evaluated(controls, chords)
        fine = casteljau(controls, (np.arange(chords * 8) + 0.5) / (chords * 8)).reshape(chords, 8, 2)
        along = ends[1:] - ends[:-1]
        length = np.maximum(np.hypot(*along.T), 1e-9)
        away = fine - ends[:-1, None]
        stray = np.abs(away[..., 0] * along[:, None, 1] - away[..., 1] * along[:, None, 0]) / length[:, None]
        assert stray.max() <= 0.25


@pytest.mark.parametrize("points", [2, 3, 6, 12, 30])
def test_drawn_pixels_lie_on_the_curve_and_all_along_it(points):
    for number in range(4):
        controls = Draw(number, 7).uniform(0.0, 1.0, (1, points, 2))
        drawn = Bezier().render({"controls": controls}, 200, Draw(0, 0, 0))
        lit = np.argwhere(drawn)[:, ::-1] + 0.5
        curve = casteljau(controls[0] * 200, np.linspace(0, 1, 6000))
        apart = np.hypot(*(lit[:, None] - curve[None]).transpose(2, 0, 1))
        assert apart.min(1).max() < 1.8, "every pixel is near the curve"
        assert apart.min(0).max() < 2.3, "every part of the curve has a pixel near"
        assert drawn[int(curve[0, 1]), int(curve[0, 0])] == 255
        assert drawn[int(curve[-1, 1]), int(curve[-1, 0])] == 255


def test_curves_are_one_pixel_wide():
    """A parabola has hardly a square of four lit pixels."""
    squares = lit = 0
    for number in range(20):
        controls = Draw(number, 8).uniform(0.0, 1.0, (1, 3, 2))
        drawn = Bezier().render({"controls": controls}, 256, Draw(0, 0, 0)) > 0
        squares += (drawn[1:, 1:] & drawn[1:, :-1] & drawn[:-1, 1:] & drawn[:-1, :-1]).sum()
        lit += drawn.sum()
    assert squares < 0.01 * lit


def test_categories_form_a_grid():
    for grid in (12, 32):
        formula = Bezier(grid=grid)
        assert formula.categories == grid * grid
        found = [formula.category(Draw(3, c)) for c in range(grid * grid)]
        pairs = {(int(params["curves"]), int(params["points"])) for params in found}
        assert pairs == {(a, b) for a in range(1, grid + 1) for b in range(3, grid + 3)}
        for beyond in (grid * grid, -1):
            with pytest.raises(InputError, match=rf"grid={grid}.*category {beyond}.*0 to {grid * grid - 1}"):
                formula.category(Draw(0, beyond))
    assert int(Bezier(fewest=2).category(Draw(0, 0))["points"]) == 2


def test_instances_draw_the_control_points_anew():
    params = Bezier().category(Draw(0, 64))
    members = np.array([Bezier().instance(params, Draw(0, 64, i))["controls"] for i in range(200)])
    assert members.shape == (200, 6, 7, 2)
    counts = np.histogram(members, 10, (0, 1))[0]
    assert 1500 < counts.min() < counts.max() < 1860
    assert len({member.tobytes() for member in members}) == 200


def test_a_picture_shows_all_of_its_curves():
    params = Bezier().instance(Bezier().category(Draw(0, 143)), Draw(0, 143, 2))
    alone = [Bezier().render({"controls": params["controls"][k : k + 1]}, 256, Draw(0, 0, 0)) for k in range(12)]
    together = picture(Bezier(), 143, 2, size=256)
    assert np.array_equal(np.max(alone, 0), together)
    assert set(np.unique(together)) == {0, 255}


def test_small_pictures_are_averages_of_larger_ones():
    large, small = picture(Bezier(oversample=1), 90, 0, size=128), picture(Bezier(), 90, 0, size=32)
    assert np.array_equal(small, large.reshape(32, 4, 32, 4).astype(int).sum((1, 3)) // 16)


@pytest.mark.parametrize("settings", [
    {"grid": 0}, {"grid": 65}, {"grid": math.nan}, {"fewest": 1}, {"fewest": 60}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=f"bezier.{next(iter(settings))}=.*allowed is"):
        Bezier(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 8193), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        picture(Bezier(**settings), 0, 0, size=size)


def test_extremes():
    assert picture(Bezier(grid=1, fewest=66), 0, 0, size=8).any()
    assert picture(Bezier(grid=64), 4095, 0, size=64).mean() > 20
    large = picture(Bezier(), 0, 0, size=8192)
    assert 100 < (large > 0).sum() < 40_000
