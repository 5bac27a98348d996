"""Lines: as many as the label says, each pixel where Pillow puts it, and a control in which labels say nothing."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from firstlight.errors import InputError
from firstlight.formulas import Draw, picture
from firstlight.formulas.line import Line


def pillow(ends, size):
    """The same lines by Pillow, in which the authors' generators draw."""
    image = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(image)
    for x0, y0, x1, y1 in (ends * size).astype(int).tolist():
        draw.line((x0, y0, x1, y1), fill=255, width=1)
    return np.asarray(image)


@pytest.mark.parametrize(("category", "size"), [(0, 128), (15, 512), (99, 200), (999, 300)])
def test_lines_are_pillows(category, size):
    for instance in range(5):
        draw = Draw(1, category, instance)
        member = Line().instance(Line().category(Draw(1, category)), draw)
        assert member["ends"].shape == (category + 1, 4)
        drawn = picture(Line(), category, instance, size=size, seed=1)
        assert set(np.unique(drawn)) <= {0, 255}
        assert np.array_equal(drawn, pillow(member["ends"], size))


def test_categories_count():
    for classes in (16, 32, 64, 128, 256, 512, 1000):
        formula = Line(classes=classes)
        assert formula.categories == classes
        assert int(formula.category(Draw(0, 0))["lines"]) == 1
        assert int(formula.category(Draw(9, classes - 1))["lines"]) == classes
        for beyond in (classes, -1):
            with pytest.raises(InputError, match=rf"classes={classes}.*category {beyond}: .* 0 to {classes - 1}"):
                formula.category(Draw(0, beyond))
    assert int(Line(classes=16, step=32).category(Draw(0, 15))["lines"]) == 512


def test_ends_are_even():
    ends = np.concatenate([Line().instance({"lines": np.array(500)}, Draw(0, 499, i))["ends"] for i in range(20)])
    for column in ends.T:
        counts = np.histogram(column, 10, (0, 1))[0]
        assert counts.sum() == 10_000
        assert 850 < counts.min() < counts.max() < 1150
    assert np.abs(np.corrcoef(ends.T) - np.eye(4)).max() < 0.05


def test_more_lines_light_more_pixels():
    lit = [picture(Line(), category, 0, size=256).mean() for category in (0, 9, 99, 999)]
    assert lit == sorted(lit)
    assert lit[3] > 100 > 1 > lit[0]


def test_shuffled_labels_say_nothing():
    """The paper's control: the same pictures, with labels that do not belong to them."""
    formula, classes = Line(classes=20, shuffled=True), 20
    counts = np.array([
        [len(formula.instance(formula.category(Draw(0, c)), Draw(0, c, i))["ends"]) for i in range(200)]
        for c in range(classes)
    ])  # fmt: skip
    assert set(counts.ravel()) == set(range(1, classes + 1))
    assert np.bincount(counts.ravel(), minlength=21)[1:].min() > 130, "all counts alike often"
    assert np.abs(counts.mean(1) - 10.5).max() < 1.6, "in every class"
    assert abs(np.corrcoef(np.arange(classes).repeat(200), counts.ravel())[0, 1]) < 0.05
    assert not np.array_equal(picture(formula, 3, 0, size=64), picture(Line(classes=20), 3, 0, size=64))


def test_small_pictures_are_averages_of_larger_ones():
    large, small = picture(Line(oversample=1), 30, 0, size=128), picture(Line(), 30, 0, size=32)
    assert np.array_equal(small, large.reshape(32, 4, 32, 4).astype(int).sum((1, 3)) // 16)


@pytest.mark.parametrize("settings", [
    {"classes": 0}, {"classes": 10**7}, {"classes": math.nan}, {"step": 0}, {"step": 1001}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=f"line.{next(iter(settings))}=.*allowed is"):
        Line(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 8193), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        picture(Line(**settings), 0, 0, size=size)


def test_extremes():
    assert picture(Line(classes=1), 0, 0, size=8).any()
    assert picture(Line(), 999, 0, size=8).mean() > 100
    large = picture(Line(), 0, 0, size=4096)
    assert 1 <= (large > 0).sum() <= 4096
