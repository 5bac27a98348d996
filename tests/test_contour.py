"""Contours: noise and pictures against plain references, the numbers of a class, the variants, bad settings."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from firstlight.errors import InputError
from firstlight.formulas import Draw, _contour, _lines, _noise1, picture
from firstlight.formulas._lines import polygon, polyline
from firstlight.formulas._noise1 import noise1
from firstlight.formulas.contour import Contour

CLASS = {
    "vertices": np.array(17),
    "lines": np.array(23),
    "noise": np.array(1.7),
    "line_width": np.array(0.05),
    "radius": np.array(40),
    "oval_x": np.array(1.6),
    "oval_y": np.array(1.1),
    "row": np.array(230.5),
    "column": np.array(301.0),
}


# --- the plain reference, which other families' tests use too ---------------------------------------------------------


def plain_noise(position):
    """The noise package's one dimension in NumPy's single precision, one position after another."""
    permutation, f = _noise1.PERMUTATION, np.float32

    def slope(cell):
        value = permutation[cell % 256]
        return f(-1) if value & 8 else f((value & 7) + 1)

    cell = math.floor(position)
    x = f(position) - f(cell)
    fade = x * x * x * (x * (x * f(6) - f(15)) + f(10))
    left, right = slope(cell) * x, slope(cell + 1) * (x - f(1))
    return f(left + fade * (right - left)) * f(0.4)


def plain_contours(params, size, key_of, amplitude):
    """The definition: for each contour its columns, rows, grey value and the vertex at which its removed arc begins."""
    f, scale = np.float32, size / 512
    count, noise = int(params["vertices"]), float(params["noise"])
    cosines, sines = (np.array([g(2 * math.pi * k / count) for k in range(count)], f) for g in (math.cos, math.sin))
    growth, strength = f((noise + float(params["line_width"])) * scale), f(amplitude * noise * scale)
    waves = np.zeros(count, f)
    if "waves" in params:
        first, second = (np.array([sines[u * k % count] for k in range(count)]) for u in params["waves"].tolist())
        waves = f(scale) * (f(0.5) * first + f(0.5) * second)
    x, y = (
        g * f(float(params["radius"]) * scale * float(params[o])) for g, o in ((cosines, "oval_x"), (sines, "oval_y"))
    )
    words, found = key_of.bits(int(params["lines"]) * (count + 1)).tolist(), []
    step = f(10_000 / 2**24)
    for line in range(int(params["lines"])):
        head, *own = words[line * (count + 1) : (line + 1) * (count + 1)]
        p = np.array([plain_noise(f(word >> 40) * step) for word in own])
        q = np.array([plain_noise(f((word & 0xFFFFFFFF) >> 8) * step) for word in own])
        x = x + cosines * ((growth + waves) - strength * p)
        y = y + sines * ((growth + waves) - strength * q)
        columns = np.trunc(f(float(params["column"]) * scale) + x).astype(int)
        rows = np.trunc(f(float(params["row"]) * scale) + y).astype(int)
        found.append((columns, rows, (head >> 32) * 256 >> 32, (head & 0xFFFFFFFF) * count >> 32))
    return found


def pillow_picture(contours, size, background, removed=0.0):
    """Pillow draws what the plain reference found, one line after another."""
    image = Image.new("L", (size, size), background)
    draw = ImageDraw.Draw(image)
    for columns, rows, grey, begin in contours:
        count = len(columns)
        gone = {(begin + k) % count for k in range(int(removed * count))}
        for k in set(range(count)) - gone:
            after = (k + 1) % count
            draw.line((columns[k], rows[k], columns[after], rows[after]), fill=grey, width=1)
    return np.asarray(image)


# --- noise ------------------------------------------------------------------------------------------------------------


def test_noise_equals_the_plain_reference_and_the_public_package():
    published = {0.0: 0.0, 0.25: 0.6861328482627869, 3.7: 0.05476806312799454, 255.5: -0.30000001192092896,
                 1234.625: 0.2463226318359375, 9999.75: 0.15175782144069672}  # fmt: skip
    for position, value in published.items():
        assert float(noise1(np.float32(position))) == value
        assert float(plain_noise(np.float32(position))) == value
    positions = Draw(0, 0).uniform(0, 10_000, 3000).astype(np.float32)
    drawn = np.array([noise1(position) for position in positions], np.float32)
    assert np.array_equal(drawn, np.array([plain_noise(position) for position in positions]))
    assert abs(float(drawn.mean())) < 0.03
    assert 0.3 < float(drawn.std()) < 0.36


def test_words_are_those_of_draw():
    draw = Draw(3, 1, 4)
    words = [int(_contour._word(np.uint64(draw.key), np.uint64(number))) for number in range(1, 50)]
    assert words == draw.bits(49).tolist()


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "changes", "settings"), [
    (512, {}, {}),
    (200, {}, {"background": 3}),
    (301, {"vertices": 3, "lines": 120, "noise": 4.0}, {}),
    (128, {"vertices": 140, "lines": 9, "radius": 0}, {}),
    (256, {"row": 0.0, "column": 512.0, "lines": 90}, {}),
    (256, {"row": -900.0, "column": 700.0, "radius": 900, "lines": 60}, {}),
    (256, {"vertices": 1, "lines": 3}, {}),
    (512, {}, {"removed": 0.5}),
    (150, {"vertices": 60}, {"removed": 0.99}),
    (150, {"vertices": 4}, {"removed": 0.2}),
])  # fmt: skip
def test_pictures_equal_pillow_drawing_the_plain_reference(size, changes, settings):
    params = CLASS | {name: np.array(value) for name, value in changes.items()}
    drawn = Contour(**settings).render(params, size, Draw(0, 1, 2))
    expected = pillow_picture(
        plain_contours(params, size, Draw(0, 1, 2), 2.0),
        size,
        settings.get("background", 255),
        settings.get("removed", 0),
    )
    assert np.array_equal(drawn, expected)
    assert (drawn != settings.get("background", 255)).any()


def test_whole_classes_and_members_equal_the_plain_reference():
    formula = Contour(vertices=(3, 60), lines=(1, 30))
    for category in range(4):
        params = formula.category(Draw(5, category))
        draw = Draw(5, category, 3)
        member = formula.instance(params, draw)
        expected = pillow_picture(plain_contours(member, 160, Draw(5, category, 3).split(1), 2.0), 160, 255)
        assert np.array_equal(picture(formula, category, 3, size=160, seed=5), expected)


def test_small_pictures_are_averages_of_larger_ones():
    large = Contour(oversample=1).render(CLASS, 120, Draw(0, 0, 1))
    small = Contour().render(CLASS, 24, Draw(0, 0, 1))
    assert np.array_equal(small, large.reshape(24, 5, 24, 5).astype(int).sum((1, 3)) // 25)


def test_filled_contours_lie_on_the_ones_around_them():
    params = CLASS | {"lines": np.array(6)}
    drawn = Contour(filled=True).render(params, 256, Draw(0, 0, 1))
    expected = np.full((256, 256), 255, np.uint8)
    contours = plain_contours(params, 256, Draw(0, 0, 1), 2.0)
    for columns, rows, grey, _ in reversed(contours):
        polygon(expected, columns, rows, grey)
        polyline(expected, columns, rows, True, grey)
    assert np.array_equal(drawn, expected)
    assert drawn[115, 150] == contours[0][2], "the middle belongs to the innermost contour"


def test_removed_arcs_are_in_one_piece_and_of_the_right_length():
    params = CLASS | {"vertices": np.array(100), "lines": np.array(1), "radius": np.array(120), "noise": np.array(0.0)}
    whole = Contour().render(params, 512, Draw(0, 0, 1)) != 255
    for removed in (0.1, 0.5, 0.9):
        left = Contour(removed=removed).render(params, 512, Draw(0, 0, 1)) != 255
        assert not (left & ~whole).any()
        assert left.sum() / whole.sum() == pytest.approx(1 - removed, abs=0.06)
        rows, columns = np.nonzero(whole & ~left)
        turns = np.sort(np.arctan2((rows - 230.5) / 1.1, (columns - 301) / 1.6))
        gaps = np.diff(np.append(turns, turns[0] + 2 * np.pi))
        assert (gaps > 0.3).sum() == 1, "what is missing is one arc, with one gap: all the rest"
    params["radius"] = np.array(60)
    kept = {(Contour(removed=0.9).render(params, 128, Draw(0, 0, i)) != 255).tobytes() for i in range(8)}
    assert len(kept) > 4, "the arc is elsewhere each time"


def test_contours_grow_by_noise_and_line_width():
    params = CLASS | {"vertices": np.array(400), "lines": np.array(60), "noise": np.array(1.5)}
    columns, rows, _, _ = plain_contours(params, 512, Draw(0, 0, 1), 2.0)[-1]
    reach_x, reach_y = 40 * 1.6 + 60 * 1.55, 40 * 1.1 + 60 * 1.55  # noise itself is 0 on average
    assert np.mean(np.hypot((columns - 301) / reach_x, (rows - 230.5) / reach_y)) == pytest.approx(1, abs=0.03)


# --- classes and members ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "most", "oval"), [("paper", 502, 4), ("code", 200, 2)])
def test_classes_follow_their_form(form, most, oval):
    formula = Contour(form=form)
    drawn = [formula.category(Draw(0, category)) for category in range(4000)]
    found = {name: np.array([params[name] for params in drawn]) for name in drawn[0]}
    assert all(params[name].shape == () for params in drawn[:3] for name in params)
    vertices = found["vertices"]
    assert (vertices.min(), vertices.max()) == (3, pytest.approx(most, abs=most / 5))
    # Whole numbers cut from exponential draws of mean 100, those outside refused.
    edges = np.linspace(3, most + 1, 12).round()
    shares = np.diff(np.exp(-edges / 100)) / (np.exp(-(most + 1) / 100) - np.exp(-3 / 100))
    counts = np.histogram(vertices, edges)[0]
    assert ((counts - 4000 * shares) ** 2 / (4000 * shares)).sum() < 30
    for name, low, high in (("lines", 1, 200), ("radius", 0, 100), ("row", 56, 456), ("column", 56, 456)):
        assert (found[name].min(), found[name].max()) == (pytest.approx(low, abs=2), pytest.approx(high, abs=2)), name
        assert found[name].mean() == pytest.approx((low + high) / 2, rel=0.05)
    for name, low, high in (("noise", 0, 4), ("line_width", 0, 0.1), ("oval_x", 1, oval), ("oval_y", 1, oval)):
        values = (found[name] - low) / (high - low)
        assert 0 <= values.min() < 0.01
        assert 0.99 < values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.02)


def test_members_keep_what_their_form_gives_the_class():
    for form, kept in (("paper", {"radius", "oval_x", "oval_y"}), ("code", set())):
        formula = Contour(form=form)
        params = formula.category(Draw(0, 1))
        first = formula.instance(params, Draw(0, 1, 0))
        assert all(first[name] == params[name] for name in params), "member 0 is as its class was drawn"
        later = formula.instance(params, Draw(0, 1, 2))
        same = {name for name in params if later[name] == params[name]}
        assert same == {"vertices", "lines", "noise", "line_width"} | kept
        assert later["row"] * 2 % 1 == 0


def test_a_public_class_without_a_place_gets_one():
    params = {name: value for name, value in CLASS.items() if name not in ("row", "column")}
    member = Contour().instance(params, Draw(0, 0, 0))
    assert 56 <= member["row"] <= 456
    assert Contour().render(member, 64, Draw(0, 0, 0)).shape == (64, 64)


def test_vertices_at_the_ends_of_their_range(monkeypatch):
    for unit in (0.0, 1 - 2**-53):
        monkeypatch.setattr(Draw, "uniform", lambda self, low, high, shape, unit=unit: np.full(shape, unit))
        for bounds in ((3, 3), (3, 502), (10, 11)):
            params = Contour(vertices=bounds, lines=(2, 7)).category(Draw(0, 0))
            assert params["vertices"] == bounds[unit > 0]
            assert params["lines"] == (2, 7)[unit > 0]


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [
    {"form": "papers"}, {"vertices": (2, 10)}, {"vertices": (9, 5)}, {"vertices": (3,)}, {"vertices": (3, 10_001)},
    {"lines": (0, 5)}, {"lines": (1, 1001)}, {"radius": (-1, 5)}, {"radius": (0, 10_001)}, {"oval": (1, math.nan)},
    {"oval": (-1, 1)}, {"noise": (math.nan, 1)}, {"noise": (0, 101)}, {"line_width": -0.1}, {"line_width": math.nan},
    {"spread": -1}, {"spread": 10_001}, {"removed": 1.0}, {"removed": math.nan}, {"removed": -0.1},
    {"removed": 0.1, "filled": True}, {"background": 256}, {"background": -1}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"contour\(.*allowed is"):
        Contour(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 8193), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        Contour(**settings).render(CLASS, size, Draw(0, 0, 0))


@pytest.mark.parametrize(("name", "value"), [("vertices", 0), ("vertices", 10**6), ("lines", 0), ("lines", -3)])
def test_classes_too_large_are_refused(name, value):
    with pytest.raises(InputError, match="lines and"):
        Contour().render(CLASS | {name: np.array(value)}, 64, Draw(0, 0, 0))


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e30, 1e300])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_number_of_a_class_makes_drawing_fail(value):
    for name in ("noise", "radius", "row", "oval_x"):
        for settings in ({}, {"filled": True}):
            drawn = Contour(**settings).render(CLASS | {name: np.array(value)}, 64, Draw(0, 0, 0))
            assert drawn.shape == (64, 64)


def test_largest_and_smallest_pictures():
    assert Contour().render(CLASS, 8, Draw(0, 0, 0)).min() < 255
    large = Contour().render(CLASS, 4096, Draw(0, 0, 0))
    assert 0.001 < (large != 255).mean() < 0.05, "lines stay one pixel wide"


def test_ranges_from_json_become_tuples():
    assert Contour(lines=[1, 5], oval=[1, 2]) == Contour(lines=(1, 5), oval=(1, 2))
    assert hash(Contour(lines=[1, 5])) == hash(Contour(lines=(1, 5)))


def test_without_the_compiler_the_bytes_are_the_same():
    code = """
import hashlib, warnings
warnings.simplefilter("error")
from firstlight.formulas import annotated
from firstlight.formulas.atom import Atom
from firstlight.formulas.contour import Contour
from firstlight.formulas.contour_scene import ContourScene
found = hashlib.sha256()
few = {"vertices": (3, 12), "lines": (1, 4)}
formulas = [Contour(**few), Contour(removed=0.4, **few), Contour(filled=True, **few), Atom(**few)]
formulas += [ContourScene(mask=mask, figures=3, **few) for mask in ("lines", "ring", "filled")]
for formula in formulas:
    for value in annotated(formula, 3, 5, size=16).values():
        found.update(value.tobytes())
print(found.hexdigest())
"""

    def run(**environment):
        environment = {**os.environ, **environment}
        return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout

    assert run(NUMBA_DISABLE_JIT="1") == run(NUMBA_DISABLE_JIT="0")


def test_kernels_ask_for_no_fast_math():
    for module in (_contour, _lines, _noise1):
        kernels = [item for item in vars(module).values() if hasattr(item, "targetoptions")]
        assert kernels
        assert not any(kernel.targetoptions.get("fastmath") for kernel in kernels)
