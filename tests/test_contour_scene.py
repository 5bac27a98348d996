"""Scenes of contours: pictures, masks in three modes, and who is in them, against plain references."""

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, annotated, picture
from firstlight.formulas._lines import polygon, polyline
from firstlight.formulas.contour import Contour
from firstlight.formulas.contour_scene import ContourScene
from test_contour import pillow_picture, plain_contours

SIZE = 150
FEW = {"figures": 5, "vertices": (3, 30), "lines": (1, 12)}


def plain_scene(formula, category, instance):
    """The definition: the class and the contours of each figure, the undermost first."""
    draw = Draw(0, category, instance)
    first = formula.category(Draw(0, category)) | place(*draw.uniform(0, 1, 2).tolist())
    draw = draw.split(1)
    others = draw.integers(0, formula.classes, formula.figures - 1).tolist()
    places = draw.uniform(0, 1, (formula.figures - 1, 2)).tolist()
    figures = [
        (other, formula.category(Draw(0, other)) | place(*spot), draw.split(number))
        for number, (other, spot) in enumerate(zip(others, places), 1)
    ]
    figures.append((category, first, draw.split(0)))
    return [(number, plain_contours(params, SIZE, own, 2.0)) for number, params, own in figures]


def place(row, column):
    return {"row": np.array((512 - 512 + int(row * 1025)) / 2), "column": np.array(int(column * 1025) / 2)}


@pytest.mark.parametrize("mask", ["lines", "ring", "filled"])
def test_pictures_and_masks_equal_the_plain_reference(mask):
    formula = ContourScene(mask=mask, **FEW)
    for category, instance in ((0, 0), (7, 1), (253, 2)):
        expected, classes = np.zeros((SIZE, SIZE), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        for number, contours in plain_scene(formula, category, instance):
            lit = pillow_picture([(c, r, 1, 0) for c, r, _, _ in contours], SIZE, 0) > 0
            drawn = pillow_picture(contours, SIZE, 0)
            expected[lit] = drawn[lit]
            area = lit if mask == "lines" else area_of(contours, hollow=mask == "ring")
            classes[area] = number + 1
        found = annotated(formula, category, instance, size=SIZE)
        assert np.array_equal(found["picture"], expected)
        assert np.array_equal(found["mask"], classes)


def area_of(contours, hollow):
    """What the outermost contour encloses, and without what the innermost does; the lines themselves belong to it."""
    area = np.zeros((SIZE, SIZE), np.uint8)
    polygon(area, *contours[-1][:2], 1)
    if hollow:
        polygon(area, *contours[0][:2], 0)
    for columns, rows, _, _ in (contours[0], contours[-1]) if hollow else contours[-1:]:
        polyline(area, columns, rows, True, 1)
    return area > 0


def test_blank_holes_erase_what_is_seen_through_a_ring():
    open_rings, blank = (
        annotated(ContourScene(mask="ring", blank_holes=b), 3, 1, size=256)["mask"] for b in (False, True)
    )
    changed = open_rings != blank
    assert changed.any()
    assert (blank[changed] == 0).all() or (open_rings[changed] > 0).all()
    assert (blank > 0).sum() < (open_rings > 0).sum()


@pytest.mark.parametrize("mask", ["lines", "ring", "filled"])
@pytest.mark.parametrize("size", [32, 200])
def test_the_picture_alone_is_the_annotated_one(mask, size):
    formula = ContourScene(mask=mask, **FEW)
    found = annotated(formula, 9, 4, size=size)
    assert set(found) == {"picture", "mask"}
    assert np.array_equal(picture(formula, 9, 4, size=size), found["picture"])
    assert found["mask"].shape == found["picture"].shape == (size, size)
    assert found["mask"].dtype == np.uint8


def test_masks_do_not_change_the_picture():
    drawn = {picture(ContourScene(mask=mask, **FEW), 2, 2, size=64).tobytes() for mask in ("lines", "ring", "filled")}
    assert len(drawn) == 1


def test_a_scene_shows_its_category_and_others():
    formula, shown, classes = ContourScene(mask="filled"), 0, set()
    for category in range(12):
        found = annotated(formula, category, 1, size=128)
        present = set(np.unique(found["mask"]).tolist()) - {0}
        classes |= present
        shown += category + 1 in present
        assert found["picture"].any()
    assert shown >= 10, "nothing covers the first figure, but it may lie outside"
    assert len(classes) > 60


def test_masks_of_small_pictures_have_classes_not_averages():
    for mask in ("lines", "ring", "filled"):
        values = set(np.unique(annotated(ContourScene(mask=mask, figures=2), 40, 3, size=24)["mask"]).tolist())
        assert {0, 41} <= values
        assert len(values) <= 3


def test_one_figure_is_a_contour_of_its_class():
    formula = ContourScene(figures=1, **{name: FEW[name] for name in ("vertices", "lines")})
    same = Contour(radius=(0, 50), oval=(1, 2), spread=512, background=0, vertices=(3, 30), lines=(1, 12))
    params = formula.category(Draw(0, 3))
    assert all(params[name] == value for name, value in same.category(Draw(0, 3)).items())
    draw = Draw(0, 3, 1)
    member = formula.instance(params, draw)
    assert np.array_equal(formula.render(member, 200, draw), same.render(member, 200, draw.split(0)))


def test_there_are_as_many_classes_as_asked_for():
    assert ContourScene().categories == 254
    formula = ContourScene(classes=5, **FEW)
    assert formula.categories == 5
    assert annotated(formula, 4, 0, size=64)["mask"].max() <= 5
    for draw in (lambda: formula.category(Draw(0, 5)), lambda: picture(formula, 5, 0, size=64, params={})):
        with pytest.raises(InputError, match="no category 5 among 5"):
            draw()


@pytest.mark.parametrize("settings", [
    {"mask": "line"}, {"blank_holes": True}, {"classes": 0}, {"classes": 255}, {"figures": 0}, {"figures": 10_001},
    {"vertices": (2, 9)}, {"lines": (0, 1)}, {"radius": (-1, 3)}, {"oval": (2, 1)}, {"noise": (0, 101)},
    {"line_width": float("nan")}, {"spread": -1}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"contour_scene\(.*allowed is"):
        ContourScene(**settings)


@pytest.mark.parametrize("size", [7, 8193])
def test_bad_sizes_are_refused(size):
    for draw in (picture, annotated):
        with pytest.raises(InputError, match="allowed is"):
            draw(ContourScene(**FEW), 0, 0, size=size)
