"""Dead leaves: laid from the front exactly as painted from the back, and by the laws that the settings name."""

import math

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, _shapes, picture
from firstlight.formulas.leaves import SHAPES, Leaves, _sizes

PUBLISHED = {"shapes": "mixed", "exponent": (3.0, 3.0), "palette": 0}


def plain_picture(formula, params, size, draw, most):
    """The definition: ``most`` leaves, each a mask over the whole picture, painted from the back."""
    words = draw.bits(16 * most).reshape(most, 16)
    unit = (words >> np.uint64(11)).astype(float) / 2**53
    smallest, largest = formula.radii
    radii = np.linspace(smallest, largest, 200)
    density = radii ** -float(params["exponent"])
    density = density - density[-1] if params["exponent"] > 0 else density
    reached, kinds = np.cumsum(density) / density.sum(), np.cumsum(params["kinds"])
    rows, columns = np.mgrid[:size, :size].astype(float)
    canvas = np.zeros((size, size, 3 if formula.colour else 1), np.uint8)
    for k in reversed(range(most)):
        kind = int(np.searchsorted(kinds, unit[k, 0], side="right"))
        radius = radii[np.searchsorted(reached, unit[k, 1], side="right")] * size
        x, y = unit[k, 2:4] * size - 0.5
        if kind == 0:
            half = np.sqrt(np.maximum(radius**2 - (rows - y) ** 2, 0))
            mask = (abs(rows - y) <= radius) & (columns >= x - half) & (columns < x + half)
        else:
            a = unit[k, 5:9]
            angles = {
                1: np.array([1, 3, 5, 7]) / 8, 2: a[0] + np.arange(4) / 4,
                3: np.array([a[0] / 4, 0.5 - a[0] / 4, 0.5 + a[0] / 4, 1 - a[0] / 4]), 4: np.sort(a[:3]), 5: np.sort(a),
            }[kind]  # fmt: skip
            px, py = x + radius * np.cos(2 * np.pi * angles), y + radius * np.sin(2 * np.pi * angles)
            mask = np.zeros((size, size), bool)  # even-odd: right of an odd number of edges
            for ax, ay, bx, by in zip(px, py, np.roll(px, -1), np.roll(py, -1)):
                crossed = (ay <= rows) != (by <= rows)
                if by != ay:
                    mask ^= crossed & (columns >= ax + (rows - ay) * (bx - ax) / (by - ay))
        if "palette" in params:
            colour = params["palette"][int(unit[k, 4] * len(params["palette"]))]
        else:
            colour = [(int(words[k, 4]) >> (56 - 8 * c)) & 255 for c in range(canvas.shape[2])]
        canvas[mask] = colour
    return canvas if formula.colour else canvas[..., 0]


@pytest.mark.parametrize("settings", [
    {}, PUBLISHED, {"shapes": "squares"}, {"shapes": "oriented", "colour": False},
    {"exponent": (0.0, 1.0), "radii": (0.01, 0.2), "colour": False, "palette": 0},
    {"exponent": (6.0, 8.0), "radii": (0.05, 2.0)},
])  # fmt: skip
@pytest.mark.parametrize("size", [8, 33, 64])
def test_from_the_front_equals_from_the_back(settings, size):
    formula = Leaves(**settings, leaves=900)
    for category in range(3):
        draw = Draw(5, category)
        params = formula.category(draw)
        drawn = formula.render(params, size, Draw(5, category, 1))
        assert np.array_equal(drawn, plain_picture(formula, params, size, Draw(5, category, 1), 900)), category


def laid(radius, kind, key, size=64, most=1, colour=255):
    """Leaves of one kind and size: how many were needed, and the grey picture."""
    kinds = np.cumsum(np.eye(6)[kind])
    free, pixels = np.empty(size * (size + 1), np.uint16), np.zeros(size * size, np.uint8)
    palette = np.full((1, 1), colour, np.uint8)
    one = np.ones(1)
    needed = _shapes.lay(np.uint64(key), most, kinds, one, one * radius, palette, size, free, pixels)
    return needed, pixels.reshape(size, size)


@pytest.mark.parametrize(
    ("kind", "area"),
    [
        (_shapes.CIRCLE, math.pi), (_shapes.SQUARE, 2), (_shapes.ORIENTED_SQUARE, 2), (_shapes.RECTANGLE, 4 / math.pi),
        (_shapes.TRIANGLE, 3 / (2 * math.pi)), (_shapes.QUADRILATERAL, 3 / math.pi),
    ],
)  # fmt: skip
def test_kinds_have_their_mean_area(kind, area):
    """Of a shape with corners on the unit circle; for random corners by integration over their angles."""
    found = []
    for category in range(4000):
        draw = Draw(0, category)
        x, y = (draw.bits(16)[2:4] >> np.uint64(11)).astype(float) / 2**53
        if max(abs(x - 0.5), abs(y - 0.5)) < 0.29:
            found.append((laid(0.2, kind, draw.key)[1] > 0).sum() / 12.8**2)
    assert len(found) > 1000
    assert np.mean(found) == pytest.approx(area, rel=0.05 if kind >= _shapes.RECTANGLE else 0.005)


def test_squares_are_upright_and_turned_squares_are_not():
    upright = turned = 0
    for key in range(50):
        for kind in (_shapes.SQUARE, _shapes.ORIENTED_SQUARE):
            pixels = laid(0.2, kind, key)[1] > 0
            box = pixels.any(0).sum() * pixels.any(1).sum()
            upright += kind == _shapes.SQUARE and pixels.sum() == box
            turned += kind == _shapes.ORIENTED_SQUARE and pixels.sum() < box
    assert upright == 50
    assert turned >= 45


def test_leaves_fall_until_nothing_is_free():
    for size in (8, 64, 128):
        needed, pixels = laid(0.1, _shapes.CIRCLE, 3, size, most=5000)
        assert 30 < needed < 3000
        assert (pixels == 255).all()
        assert not laid(0.1, _shapes.CIRCLE, 3, size, most=needed - 1)[1].all(), "one less leaves a pixel free"
    assert laid(0.1, _shapes.CIRCLE, 3, 64, most=7)[0] == 7


def test_radii_follow_their_density():
    reached, radii = _sizes(3.0, 0.03, 1.0)
    share = np.diff(reached, prepend=0)
    assert reached[-1] == 1
    assert radii[0] == 0.03
    assert radii[-1] == 1
    assert share[-1] == 0
    assert np.allclose(share / share[0], (radii**-3 - 1) / (0.03**-3 - 1), rtol=1e-12, atol=1e-15)
    assert np.allclose(np.diff(_sizes(0.0, 0.1, 0.5)[0]), 1 / 200)


def test_directions_are_true():
    turns = np.append(np.linspace(0, 1, 999, endpoint=False), [0.125, 0.375, 0.625, 0.875])
    found = np.array([_shapes.direction(turn) for turn in turns])
    assert np.abs(found - np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], 1)).max() < 1e-15


def test_categories_are_laws_of_leaves():
    laws = [Leaves().category(Draw(0, c)) for c in range(300)]
    assert all(abs(law["kinds"].sum() - 1) < 1e-12 and (law["kinds"] >= 0).all() for law in laws)
    assert np.allclose(np.mean([law["kinds"] for law in laws], 0), 1 / 6, atol=0.03)
    assert np.mean([law["kinds"].max() for law in laws]) > 0.35, "some kind prevails"
    exponents = np.array([law["exponent"] for law in laws])
    assert 2.5 <= exponents.min() < 2.6
    assert 3.9 < exponents.max() < 4
    assert laws[0]["palette"].shape == (8, 3)
    assert 120 < np.mean([law["palette"] for law in laws]) < 135
    assert not np.array_equal(laws[0]["palette"], laws[1]["palette"])


def test_published_sets_are_alike_in_every_category():
    for shapes, kinds in (("squares", np.eye(6)[1]), ("oriented", np.eye(6)[2]), ("mixed", np.full(6, 1 / 6))):
        formula = Leaves(shapes=shapes, exponent=(3.0, 3.0), palette=0)
        for category in range(3):
            params = formula.category(Draw(0, category))
            assert np.allclose(params["kinds"], kinds)
            assert params["exponent"] == 3
            assert "palette" not in params


def told_apart(formula, feature, categories=20, instances=16):
    """The share of held-out pictures whose features lie nearest to the mean of their own category."""
    features = np.array([
        [feature(picture(formula, c, i, size=128)) for i in range(instances)] for c in range(categories)
    ])  # fmt: skip
    features = (features - features.mean((0, 1))) / features.std((0, 1))
    means, held_out = features[:, ::2].mean(1), features[:, 1::2, None]
    return (((held_out - means) ** 2).sum(-1).argmin(-1) == np.arange(categories)[:, None]).mean()


def outlines(drawn):
    """How often pixels some way apart are alike, and how long borders run straight."""
    alike = [(drawn[y:, x:] == drawn[: 128 - y, : 128 - x]).all(-1).mean() for x, y in ((1, 0), (0, 1), (1, 1), (9, 0))]
    across, down = (drawn[:, 1:] != drawn[:, :-1]).any(-1), (drawn[1:] != drawn[:-1]).any(-1)
    return [*alike, (across[1:] & across[:-1]).mean(), (down[:, 1:] & down[:, :-1]).mean()]


def test_categories_can_be_told_apart():
    """One in twenty is chance."""
    assert told_apart(Leaves(), lambda drawn: drawn.reshape(-1, 3).mean(0)) > 0.5, "by their colours"
    assert told_apart(Leaves(palette=0), outlines) > 0.15, "by shapes and sizes"
    assert told_apart(Leaves(**PUBLISHED), outlines) < 0.12, "published sets hold one category"


def test_colours_come_from_the_palette():
    formula = Leaves(palette=3)
    params = formula.category(Draw(0, 4))
    drawn = picture(formula, 4, 0, size=128, params=params).reshape(-1, 3)
    assert {tuple(c) for c in drawn} == {tuple(c) for c in params["palette"]}
    any_colour = picture(Leaves(palette=0), 4, 0, size=128).reshape(-1, 3)
    assert len(np.unique(any_colour, axis=0)) > 100
    assert 110 < any_colour.mean() < 145
    grey = picture(Leaves(colour=False), 4, 0, size=128)
    assert grey.shape == (128, 128)
    assert len(np.unique(grey)) <= 8


def test_pictures_look_alike_at_every_size():
    large, small = (picture(Leaves(), 2, 3, size=size) for size in (192, 64))
    assert (large[1::3, 1::3] == small).all(-1).mean() > 0.98, "the middle of nine pixels is the same place"


def test_oversampling_averages():
    sharp, soft = picture(Leaves(), 1, 0, size=64), picture(Leaves(oversample=2), 1, 0, size=32)
    assert np.array_equal(soft, sharp.reshape(32, 2, 32, 2, 3).astype(int).sum((1, 3)) // 4)


def test_extremes():
    assert picture(Leaves(), 0, 0, size=8).any()
    large = picture(Leaves(colour=False), 0, 0, size=2048)
    assert (large == 0).mean() < 0.5
    alone = picture(Leaves(leaves=1, palette=1), 0, 1, size=64)
    assert len(np.unique(alone.reshape(-1, 3), axis=0)) <= 2
    assert picture(Leaves(exponent=(8.0, 8.0), radii=(0.001, 0.002), leaves=50), 0, 0, size=16).shape == (16, 16, 3)


@pytest.mark.parametrize("settings", [
    {"shapes": "circles"}, {"exponent": (3.0, 2.0)}, {"exponent": (-1.0, 2.0)}, {"exponent": (0.0, 9.0)},
    {"exponent": (math.nan, 3.0)}, {"exponent": (3.0,)}, {"radii": (0.0, 1.0)}, {"radii": (0.5, 0.5)},
    {"radii": (0.1, math.nan)}, {"radii": (0.1, 3.0)}, {"palette": -1}, {"palette": 257}, {"leaves": 0},
    {"leaves": 10**7}, {"oversample": 0},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=f"leaves.{next(iter(settings))}=.*allowed is"):
        Leaves(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 8193), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        picture(Leaves(**settings), 0, 0, size=size)


def test_pairs_from_json_become_tuples():
    assert Leaves(exponent=[3.0, 3.0], radii=[0.1, 0.5]) == Leaves(exponent=(3.0, 3.0), radii=(0.1, 0.5))
    assert hash(Leaves(radii=[0.1, 0.5])) == hash(Leaves(radii=(0.1, 0.5)))
    assert SHAPES == ("squares", "oriented", "mixed", "blend")
