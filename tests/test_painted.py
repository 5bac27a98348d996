"""Painted: colours, textures, grey and blur against plain references; what must pass through unchanged."""

import colorsys
import math

import numpy as np
import pytest

from firstlight import spec
from firstlight.errors import InputError
from firstlight.formulas import Draw, Formula, _background, _colour, annotated, picture
from firstlight.formulas._background import empty, plasma
from firstlight.formulas._inner import inner
from firstlight.formulas.painted import Painted

FRACTAL = "fractal(mode='density', sampler='svd', points=100_000)"
COLOURED = "fractal(mode='density', sampler='svd', points=100_000, colour=True)"
PICTURES = [
    name
    for name in spec.names("formulas")
    if name != "painted" and spec.find("formulas", name, Formula)().kind == "picture"
]


def unit(number: int, key: int) -> np.float32:
    """The hash of a count, by Python's integers."""
    h = (number * 0x9E3779B1 % 2**32) ^ key
    h = (h ^ h >> 16) * 0x7FEB352D % 2**32
    h = (h ^ h >> 15) * 0x846CA68B % 2**32
    return np.float32((h ^ h >> 16) >> 8) * np.float32(2.0**-24)


def displaced(halvings: int, decay: float, key: int) -> np.ndarray:
    """Midpoint displacement from its definition: diamonds from their corners, squares from their four neighbours."""
    side, count = 2**halvings + 1, 4
    heights = np.zeros((side, side), np.float32)
    heights[0, 0], heights[0, -1], heights[-1, 0], heights[-1, -1] = (unit(n, key) for n in range(4))
    for k in range(halvings):
        step = (side - 1) >> (k + 1)
        width = np.float32(2) * np.float32(0.5 * math.exp(-decay * k))
        odd = range(step, side, 2 * step)
        nodes = [(r, c) for r in odd for c in odd]
        nodes += [(r, c) for r in range(0, side, step) for c in range(0, side, step) if (r // step + c // step) % 2]
        for r, c in nodes:
            if r // step % 2 and c // step % 2:
                at = [(r - step, c - step), (r - step, c + step), (r + step, c - step), (r + step, c + step)]
            else:
                at = [(r - step, c), (r + step, c), (r, c - step), (r, c + step)]
                at = [
                    (y % (side - 1) if not 0 <= y < side else y, x % (side - 1) if not 0 <= x < side else x)
                    for y, x in at
                ]
            a, b, d, e = (heights[place] for place in at)
            heights[r, c] = ((a + b) + (d + e)) * np.float32(0.25) + (unit(count, key) - np.float32(0.5)) * width
            count += 1
    return heights


@pytest.mark.parametrize(("size", "decay", "key"), [(8, 0.5, 1), (33, 0.4, 99), (24, 2.0, 1 << 40), (17, 0.0, 5)])
def test_textures_are_midpoint_displacement(size, decay, key):
    heights, side = plasma(size, decay, key)
    expected = displaced((side - 1).bit_length() - 1, decay, key & 0xFFFFFFFF)
    assert size <= side < 2 * size + 1
    assert np.array_equal(heights.reshape(side, side), expected)


def test_a_larger_texture_has_the_same_coarse_heights():
    small, side = plasma(17, 0.6, 3)
    small = small.reshape(side, side).copy()
    large, wide = plasma(65, 0.6, 3)
    coarse = large.reshape(wide, wide)[::2, ::2]
    assert np.array_equal(coarse[:: (len(coarse) - 1) // (side - 1), :: (len(coarse) - 1) // (side - 1)], small)


def test_rougher_textures_have_finer_detail():
    def detail(decay):
        heights, side = plasma(129, decay, 7)
        heights = heights.reshape(side, side)
        return np.abs(np.diff(heights)).mean() / heights.std()

    assert detail(0.2) > 1.5 * detail(0.6) > 2 * detail(1.4)


def test_the_wheel_is_hue_saturation_value():
    first, step = np.array([0.3, 1.1, 0.2]), np.array([0.013, -0.004, 0.003])
    table = np.empty(3 * 300, np.uint8)
    _colour.wheel(first, step, table)
    for n, rgb in enumerate(table.reshape(-1, 3).tolist()):
        hue, saturation, value = first + n * step
        expected = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
        assert np.abs(np.array(rgb) - np.array(expected) * 255).max() <= 0.5 + 1e-6


def test_hues_follow_the_grey_values():
    formula = Painted(background=None, blur=0)
    offsets, saturations, values = [], [], []
    for instance in range(120):
        grey = picture(inner(FRACTAL), 1, instance, size=32)
        drawn = picture(formula, 1, instance, size=32)
        assert drawn.shape == (32, 32, 3)
        assert np.array_equal(drawn.any(-1), grey > 0)
        levels = np.unique(grey[grey > 0])
        colours = {level: np.unique(drawn[grey == level], axis=0) for level in levels}
        assert all(len(found) == 1 for found in colours.values())
        hsv = np.array([colorsys.rgb_to_hsv(*colours[level][0] / 255) for level in levels])
        offset = (hsv[:, 0] - levels / 255) % 1
        turned = np.abs((offset - offset[0] + 0.5) % 1 - 0.5)
        assert (turned < 0.03).all(), "rounding moves a weak colour's hue by up to a hundredth"
        offsets.append(offset[0])
        saturations.append(np.median(hsv[:, 1]))
        values.append(np.median(hsv[:, 2]))
    for found, low, high in ((offsets, 0, 1), (saturations, 0.3, 1), (values, 0.5, 1)):
        assert low - 0.01 <= min(found) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(found) <= high + 0.01
        assert abs(np.mean(found) - (low + high) / 2) < 0.1 * (high - low)


@pytest.mark.parametrize("of", PICTURES)
@pytest.mark.parametrize("background", ["texture", "plain", "noise", None])
def test_only_what_is_empty_is_background(of, background):
    formula = Painted(of=of, background=background, blur=0)
    before, after = picture(inner(of), 0, 3, size=40), picture(formula, 0, 3, size=40)
    assert after.shape == (40, 40, 3)
    nothing = empty(inner(of))
    pixels = np.broadcast_to(before.reshape(40, 40, -1), (40, 40, 3))
    hidden = np.zeros((40, 40), bool) if nothing is None else (pixels == nothing).all(-1)
    if before.ndim == 3:
        assert np.array_equal(after[~hidden], before[~hidden]), "colours stay"
    else:
        for level in np.unique(before[~hidden]):
            assert len(np.unique(after[~hidden & (before == level)], axis=0)) == 1
    others = len(np.unique(after[hidden], axis=0))
    if hidden.sum() > 200:
        assert {None: others == 1, "plain": others == 1}.get(background, others > 100)
        assert (after[hidden] == nothing).all() == (background is None)


def test_grey_pictures_keep_their_greys_without_hues():
    before, after = picture(inner(FRACTAL), 2, 3, size=32), picture(Painted(colour=False, blur=0), 2, 3, size=32)
    lit = before > 0
    assert np.array_equal(after[lit], before[lit][:, None].repeat(3, 1))
    assert (after[~lit].max(-1) > after[~lit].min(-1)).mean() > 0.9, "over a coloured texture"
    same = picture(Painted(colour=False, background=None, blur=0), 2, 3, size=32)
    assert np.array_equal(same, before)


def test_grey_is_luma():
    coloured = picture(Painted(of=COLOURED, blur=0), 0, 5, size=48)
    grey = picture(Painted(of=COLOURED, grey=True, blur=0), 0, 5, size=48)
    expected = [(299 * r + 587 * g + 114 * b + 500) // 1000 for r, g, b in coloured.reshape(-1, 3).tolist()]
    assert grey.shape == (48, 48)
    assert grey.reshape(-1).tolist() == expected
    before = picture(inner(FRACTAL), 0, 5, size=48)
    after = picture(Painted(grey=True, blur=0), 0, 5, size=48)
    assert np.array_equal(after[before > 0], before[before > 0]), "grey values stay"
    assert np.unique(after[before == 0]).size > 20
    assert np.array_equal(picture(Painted(grey=True, background=None, blur=0), 0, 5, size=48), before)


@pytest.mark.parametrize("shape", [(9, 9), (12, 12, 3)])
def test_blur_is_a_small_gaussian(shape):
    pixels = Draw(0, 0).integers(0, 256, shape).astype(np.uint8)
    channels = pixels.size // len(pixels) ** 2
    for deviation in (0.5, 0.7, 1.0):
        ratio = math.exp(-0.5 / deviation**2)
        side = int(4096 * ratio / (1 + 2 * ratio) + 0.5)
        blurred = np.empty_like(pixels)
        _colour.blur(
            pixels.reshape(-1), len(pixels), channels, side, np.empty(pixels.size, np.uint32), blurred.reshape(-1)
        )
        weights = np.array([ratio, 1, ratio]) / (1 + 2 * ratio)
        wide = np.pad(pixels.astype(float), [(1, 1), (1, 1), (0, 0)][: pixels.ndim], mode="reflect")
        down = sum(w * wide[i : i + len(pixels)] for i, w in enumerate(weights))
        exact = sum(w * down[:, i : i + len(pixels)] for i, w in enumerate(weights))
        assert np.abs(blurred - exact).max() <= 0.5 + 0.1


def test_half_of_the_pictures_are_blurred():
    def blurred(chance):
        sharp, maybe = Painted(blur=0, background="noise"), Painted(blur=chance, background="noise")
        pairs = [(picture(sharp, 0, i, size=16), picture(maybe, 0, i, size=16)) for i in range(100)]
        return sum(not np.array_equal(a, b) for a, b in pairs)

    assert blurred(1.0) == 100
    assert 35 <= blurred(0.5) <= 65


def test_noise_is_even_and_independent():
    drawn = picture(Painted(background="noise", blur=0), 1, 0, size=128)
    grey = picture(inner(FRACTAL), 1, 0, size=128)
    hidden = drawn[grey == 0].astype(int)
    counts = np.bincount(hidden.reshape(-1), minlength=256)
    mean = counts.sum() / 256
    assert ((counts - mean) ** 2 / mean).sum() < 340
    assert abs(np.corrcoef(hidden.T) - np.eye(3)).max() < 0.03


def test_colours_of_textures_and_plain_grounds_differ_from_picture_to_picture():
    plain = [picture(Painted(background="plain", blur=0), 0, i, size=16)[0, 0] for i in range(40)]
    assert len(np.unique(plain, axis=0)) == 40
    texture = [picture(Painted(blur=0), 0, i, size=16) for i in range(40)]
    assert len({drawn[0].tobytes() for drawn in texture}) == 40


def test_shapes_are_those_of_the_inner_members():
    for instance in range(4):
        known = annotated(Painted(background=None, blur=0), 3, instance, size=64, seed=2)
        assert list(known) == ["picture"]
        assert np.array_equal(known["picture"].any(-1), picture(inner(FRACTAL), 3, instance, size=64, seed=2) > 0)


def test_annotations_pass_through():
    several = "several(classes=6, of=\"fractal(sampler='svd')\")"
    plain = annotated(inner(several), 2, 5, size=64)
    painted = annotated(Painted(of=several), 2, 5, size=64)
    assert list(painted) == list(plain)
    for name in ("boxes", "labels", "present"):
        assert np.array_equal(painted[name], plain[name])
    assert painted["picture"].shape == (64, 64, 3)
    assert Painted(of=several).categories == 6
    assert Painted().categories is None


def test_categories_and_members_are_the_inner_familys():
    formula, family = Painted(of="fractal(sampler='svd')"), inner("fractal(sampler='svd')")
    for category in range(3):
        own, theirs = (f.category(Draw(1, category)) for f in (formula, family))
        assert np.array_equal(own["maps"], theirs["maps"])
        own, theirs = (f.instance(theirs, Draw(1, category, 9)) for f in (formula, family))
        assert np.array_equal(own["maps"], theirs["maps"])


def test_kernels_ask_for_no_fast_math():
    for module in (_background, _colour):
        kernels = [item for item in vars(module).values() if hasattr(item, "targetoptions")]
        assert kernels
        for kernel in kernels:
            assert not kernel.targetoptions.get("fastmath")
            assert kernel.targetoptions["nogil"]


@pytest.mark.parametrize("settings", [
    {"saturation": (0.5, 0.2)}, {"saturation": (-0.1, 1)}, {"saturation": (0.5,)}, {"value": (0, 1.1)},
    {"value": (math.nan, 1)}, {"decay": (0.4, math.nan)}, {"decay": (0, 11)}, {"background": "black"}, {"blur": 1.1},
    {"blur": math.nan}, {"blur": -0.1}, {"of": "painted"}, {"of": 'painted(of="fractal")'},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match=r"allowed (is|are)"):
        Painted(**settings)


def test_a_bad_inner_formula_is_named():
    with pytest.raises(InputError, match="did you mean 'several'"):
        Painted(of="severel")
    with pytest.raises(InputError, match="no setting 'clases'; did you mean 'classes'"):
        Painted(of="several(clases=3)")


@pytest.mark.parametrize("size", [7, 8193])
def test_bad_sizes_are_refused(size):
    with pytest.raises(InputError, match="allowed is 8 to 8192"):
        picture(Painted(), 0, 0, size=size)


def test_lists_from_json_become_tuples():
    assert Painted(value=[0.5, 0.6], decay=[0.1, 0.2]) == Painted(value=(0.5, 0.6), decay=(0.1, 0.2))
