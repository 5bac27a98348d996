"""Fractals: fast kernels against plain ones, the public renderer pixel for pixel, pictures that never change."""

import hashlib
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from firstlight.data import codebook
from firstlight.errors import InputError
from firstlight.formulas import Draw, _chaos, _raster, picture
from firstlight.formulas._affine import svd_system, varied, weights
from firstlight.formulas.fractal import MODES, Fractal

SYSTEM = np.array([
    [0.5, 0.1, -0.1, 0.5, 0.3, 0.2, 0.5],
    [-0.4, 0.3, 0.2, 0.6, -0.5, 0.1, 0.3],
    [0.3, 0.0, 0.0, 0.3, 0.9, -0.9, 0.2],
])  # fmt: skip
FLYING = np.array([[1.5, 0.2, 0.1, 1.4, 0.5, 0.5, 0.6], [0.9, 0.3, -0.6, 0.8, -0.7, 0.1, 0.4]])


# --- the chaos game ---------------------------------------------------------------------------------------------------


def plain_game(system, key, points, pad, size):
    """The definition, one chain after another, in NumPy's single precision: columns and rows of all points."""
    ones = (1 << 64) - 1
    words = []
    for _ in range(512):
        key = (key + 0x9E3779B97F4A7C15) & ones
        z = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & ones
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ones
        words.append((z ^ (z >> 31)) & 0xFFFFFFFF | 1)
    first, second = np.array(words[:256], np.uint64), np.array(words[256:], np.uint64)
    reached = np.concatenate([[0], np.cumsum(system[:-1, 6])]) / system[:, 6].sum()
    edges = (reached * 2**24).astype(np.uint64)
    maps, x, y = system[:, :6].astype(np.float32), np.zeros(256, np.float32), np.zeros(256, np.float32)

    def turn(maps, x, y):
        nonlocal first, second
        value = ((first * 0x9E3779BB) & 0xFFFFFFFF) >> 8
        chosen = maps[np.searchsorted(edges, value, side="right") - 1].T
        second ^= first
        first = (((first << 26) | (first >> 6)) ^ second ^ (second << 9)) & 0xFFFFFFFF
        second = ((second << 13) | (second >> 19)) & 0xFFFFFFFF
        a, b, c, d, e, f = chosen
        return a * x + (b * y + e), c * x + (d * y + f)

    for _ in range(32):
        x, y = turn(maps, x, y)
    seen = []
    for _ in range(32):
        x, y = turn(maps, x, y)
        seen.append((x, y))
    xs, ys = np.array(seen, np.float64).transpose(1, 0, 2)
    u = (size - 2 * pad - 0.01) / (xs.max() - xs.min())
    v = -(size - 2 * pad - 0.01) / (ys.max() - ys.min())
    to_x, to_y = pad - u * xs.min(), pad - v * ys.max()
    a, b, c, d, e, f = system[:, :6].T
    b, c = b * (u / v), c * (v / u)
    e, f = u * e + to_x - (a * to_x + b * to_y), v * f + to_y - (c * to_x + d * to_y)
    maps = np.stack([a, b, c, d, e, f], 1).astype(np.float32)
    x, y = (u * x + to_x).astype(np.float32), (v * y + to_y).astype(np.float32)
    spots = []
    for _ in range(math.ceil(points / 256)):
        x, y = turn(maps, x, y)
        spots += [(int(min(max(r, 0), size - 1)), int(min(max(c, 0), size - 1))) for r, c in zip(y, x)]
    return spots[:points]


def played(kind, system, key, points, pad, size):
    marks, words = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint32)
    assert _chaos.play(system, np.uint64(key), points, pad, kind, 1, marks, words)
    return marks if kind == _chaos.MARK else words


@pytest.mark.parametrize("points", [1, 255, 256, 2049, 5000])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 8])
def test_many_chains_play_the_game_as_defined(points, number):
    system = np.concatenate([SYSTEM, -SYSTEM, SYSTEM[:2] * 0.7])[:number].copy()
    system[:, 6] = np.abs(system[:, 6]) / np.abs(system[:, 6]).sum()
    if number == 1:
        system[0, :4] = 0.0, 1.0, -1.0, 0.0  # one contraction has a single point; a quarter turn has four
    size, key = 40, 12345 + number
    marks, counts, last = (np.zeros((size, size), np.int64) for _ in range(3))
    for index, (row, column) in enumerate(plain_game(system, key, points, 2, size), 1):
        marks[row, column] = 1
        counts[row, column] += 1
        last[row, column] = index
    for pixels in (marks, counts, last):
        pixels[[0, -1]] = 0
        pixels[:, [0, -1]] = 0
    assert np.array_equal(played(_chaos.MARK, system, key, points, 2, size), marks)
    assert np.array_equal(played(_chaos.COUNT, system, key, points, 2, size), counts)
    assert np.array_equal(played(_chaos.LATEST, system, key, points, 2, size), last)


def test_maps_are_taken_at_their_rates():
    systems = SYSTEM.copy()
    systems[:, :4] = 0  # each map is a point of its own
    counts = played(_chaos.COUNT, systems, 7, 60_000, 2, 32)
    assert sorted(counts[counts > 0].tolist()) == pytest.approx([12_000, 18_000, 30_000], abs=600)


@pytest.mark.parametrize("mask", [0, 1, 0b101010101, 511])
def test_patches_equal_overwriting_in_order(mask):
    draw, size, key = Draw(0, mask), 24, np.uint32(99)
    rows, columns = draw.integers(1, size - 1, (2, 150))
    last, expected = np.zeros((size, size), np.uint32), np.zeros((size, size), np.uint32)
    for index, (row, column) in enumerate(zip(rows, columns), 1):
        last[row, column] = index
        own = mask or int(_raster._own_mask(np.uint32(index), key))
        assert 1 <= own <= 511
        bits = np.array([own >> k & 1 for k in range(9)]).reshape(3, 3)
        expected[row - 1 : row + 2, column - 1 : column + 2] = bits * index
    expected[[0, -1]] = 0
    expected[:, [0, -1]] = 0
    grey, numbers = np.full((size, size), 9, np.uint8), np.full((size, size), 9, np.uint32)
    _raster.patches(last, mask, key, 200, grey)
    _raster.patches(last, mask, key, 0, numbers)
    assert np.array_equal(numbers, expected)
    assert np.array_equal(grey, np.where(expected, 200, 0))


def test_own_masks_use_all_511():
    drawn = [int(_raster._own_mask(np.uint32(i), np.uint32(5))) for i in range(20_000)]
    counts = np.bincount(drawn, minlength=512)
    assert counts[0] == 0
    assert len(counts) == 512
    assert ((counts[1:] - 20_000 / 511) ** 2 / (20_000 / 511)).sum() < 620


# --- the public renderer ----------------------------------------------------------------------------------------------


def public_picture(rows, row_of_weights, flip, size, points, colour):
    """The public code's arithmetic, step by step, from its description."""
    stream = np.random.RandomState(100).random_sample(points)
    maps, select, total = [], [], 0.0
    for row in rows.tolist():
        maps.append([value * weight for value, weight in zip(row[:6], row_of_weights)])
        total += row[6]
        select.append(total)
    x = y = 0.0
    xs, ys = [x], [y]
    for i in range(points - 1):
        for j in range(len(select)):
            if stream[i] <= select[j]:
                a, b, c, d, e, f = maps[j]
                x, y = x * a + y * b + e, x * c + y * d + f
                break
        xs.append(x)
        ys.append(y)
    xs, ys = np.array(xs), np.array(ys)
    for name in "xy":
        axis = xs if name == "x" else ys
        if np.any(np.isnan(axis)):
            lost = np.where(np.isnan(axis))[0]
            gone = np.append(np.arange(lost[0] - 100, lost[0]), lost)
            xs, ys = np.delete(xs, gone), np.delete(ys, gone)
    if xs.min() < 0:
        xs = xs - xs.min()
    if ys.min() < 0:
        ys = ys - ys.min()
    columns = np.uint16(xs / (xs.max() - xs.min()) * float(size - 12) + 6.0)
    lines = np.uint16(ys / (ys.max() - ys.min()) * float(size - 12) + 6.0)
    image = np.zeros((size, size, 3), np.uint8)
    for i in range(len(columns)):
        image[lines[i], columns[i]] = public_colour(i) if colour else 127
    image = image[::-1]
    image = image[::-1] if flip in (1, 3) else image
    image = image[:, ::-1] if flip in (2, 3) else image
    return image if colour else image[..., 0]


def public_colour(number):
    h = 2.0 * math.pi * (float(number % 128) / 128.0)
    sector = math.floor((3.0 / math.pi) * h)
    i = s = 0.75
    p = i * (1.0 - s)
    q = i * (1.0 - s * ((3.0 / math.pi) * h - sector))
    t = i * (1.0 - s * ((1.0 - (3.0 / math.pi) * h) + sector))
    i, p, q, t = (int(value * 255.0) for value in (i, p, q, t))
    return [(p, t, i), (p, i, q), (t, i, p), (i, q, p), (i, p, t), (q, p, i)][sector]


@pytest.mark.parametrize(("category", "instance", "size", "points", "colour", "interval"), [
    (0, 8, 256, 100_000, False, 0.1),
    (17, 11, 128, 20_000, False, 0.4),
    (422, 50, 64, 20_000, True, 0.4),
    (999, 97, 362, 20_000, False, 0.4),
])  # fmt: skip
def test_official_pictures_equal_the_public_ones(shared_data, category, instance, size, points, colour, interval):
    entry = codebook.read_csv(shared_data / "fractaldb_official" / "fractaldb1k_csv" / f"{category:05d}.csv")[0]
    formula = Fractal(mode="point", official=True, colour=colour, points=points, interval=interval)
    drawn = picture(formula, category, instance, size=size, params=entry)
    row = weights(interval)[instance // 4]
    assert np.array_equal(drawn, public_picture(entry["maps"], row.tolist(), instance % 4, size, points, colour))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_official_pictures_lose_what_is_no_number_as_the_public_ones_do():
    formula = Fractal(mode="point", official=True, points=4000)
    drawn = picture(formula, 0, 8, size=64, params={"maps": FLYING})
    assert np.array_equal(drawn, public_picture(FLYING, [1.0] * 6, 0, 64, 4000, False))


def test_official_pictures_without_extent_are_refused():
    still = np.array([[0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 1.0]])
    with pytest.raises(InputError, match="no finite extent"):
        picture(Fractal(mode="point", official=True), 0, 0, size=64, params={"maps": still})


@pytest.mark.parametrize("interval", [0.0125, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5])
def test_weights_equal_the_public_files(shared_data, interval):
    file = shared_data / "fractaldb_official" / "weights2d" / f"weights_{interval}.csv"
    assert np.array_equal(weights(interval), np.genfromtxt(file, delimiter=","))


# --- categories and members -------------------------------------------------------------------------------------------


def test_members_walk_25_weights_10_repetitions_4_flips():
    formula, params = Fractal(), {"maps": SYSTEM}
    walked = [formula.instance(params, Draw(0, 0, i))["maps"] for i in range(1001)]
    for number in (0, 3, 39, 40, 80, 81, 82, 83, 999):
        assert np.array_equal(walked[number], varied(SYSTEM, weights(0.1)[number // 40], number % 4)), number
    assert np.array_equal(walked[80], SYSTEM), "the third row changes nothing"
    assert len({maps.tobytes() for maps in walked}) == 25 * 4
    assert np.array_equal(walked[1000], walked[0])
    turned = [Fractal(rotations=True).instance(params, Draw(0, 0, i))["maps"] for i in range(2000)]
    assert len({maps.tobytes() for maps in turned}) == 25 * 8


def test_variants_are_the_flips_and_quarter_turns():
    def points(system, count=400):
        """Positions of one chain, by a fixed sequence of maps."""
        x, y, found = 0.0, 0.0, []
        for k in range(count):
            a, b, c, d, e, f, _ = system[k * k % 3]
            x, y = a * x + b * y + e, c * x + d * y + f
            found.append((x, y))
        return np.array(found)

    plain = points(SYSTEM)
    seen = set()
    for variant in range(8):
        moved = points(varied(SYSTEM, np.ones(6), variant))
        expected = plain[:, ::-1] if variant & 4 else plain
        expected = expected * [-1 if variant & 2 else 1, -1 if variant & 1 else 1]
        assert np.allclose(moved, expected, atol=1e-12)
        seen.add(moved.round(9).tobytes())
    assert len(seen) == 8


def test_flips_turn_the_picture_over():
    upright = picture(Fractal(mode="point", points=200_000), 0, 80, size=128, params={"maps": SYSTEM}) > 0
    for number, turned in ((81, upright[::-1]), (82, upright[:, ::-1]), (83, upright[::-1, ::-1])):
        drawn = picture(Fractal(mode="point", points=200_000), 0, number, size=128, params={"maps": SYSTEM}) > 0
        overlap = (drawn & turned).sum() / (drawn | turned).sum()
        assert overlap > 0.7, (number, overlap)
        assert overlap > (drawn & upright).sum() / (drawn | upright).sum() + 0.2


@pytest.mark.parametrize("settings", [{}, {"sampler": "svd", "maps": (2, 4)}, {"min_fill": 0.1, "maps": (3, 3)}])
def test_categories_keep_their_settings(settings):
    formula, fills = Fractal(**settings), []
    for category in range(6):
        system = formula.category(Draw(0, category))["maps"]
        assert system.dtype == np.float64
        assert formula.maps[0] <= len(system) <= formula.maps[1]
        area = np.abs(system[:, 0] * system[:, 3] - system[:, 1] * system[:, 2])
        assert np.allclose(system[:, 6], area / area.sum(), rtol=1e-12)
        if formula.sampler == "uniform":
            assert np.abs(system[:, :6]).max() < 1
            marks = played(_chaos.MARK, system, category, 100_000, 6, 512)
            fills.append((marks > 0).mean() / (formula.min_fill or 0.2))
    # Other random numbers may meet a longer tail and draw the rest smaller, but not often.
    assert sum(fill > 0.97 for fill in fills) >= len(fills) - 1


def test_singular_values_follow_anderson_and_farrell():
    for number in (2, 4, 7):
        systems = [svd_system(Draw(0, i), number) for i in range(100)]
        values = np.linalg.svd(np.array(systems)[:, :, :4].reshape(-1, number, 2, 2), compute_uv=False)
        total = (values @ [1.0, 2.0]).sum(1)
        assert values.max() <= 1 + 1e-12
        assert (5 + number) / 2 - 1e-9 <= total.min()
        assert total.max() <= (6 + number) / 2 + 1e-9
        determinants = np.linalg.det(np.array(systems)[:, :, :4].reshape(-1, 2, 2))
        assert 0.4 < (determinants > 0).mean() < 0.6, "half of the maps are reflections"


@pytest.mark.parametrize(("number", "sigma"), [(2, 3.5), (2, 6.0), (3, 0.05), (4, 8.0)])
def test_sigma_chooses_the_sum_of_singular_values(number, sigma):
    systems = np.array([svd_system(Draw(0, i), number, sigma) for i in range(100)])
    values = np.linalg.svd(systems[:, :, :4].reshape(-1, number, 2, 2), compute_uv=False)
    total = (values @ [1.0, 2.0]).sum(1)
    assert values.max() <= 1 + 1e-9
    assert sigma - 0.1 - 1e-9 <= total.min()
    assert total.max() <= min(3 * number, sigma + 0.1) + 1e-9
    assert np.ptp(total) > 0.04, "drawn, not fixed"


def test_delta_makes_all_categories_of_one_system():
    formula = Fractal(sampler="svd", maps=(2, 2), sigma=3.5, delta=0.1, min_fill=0.05, interval=0)
    systems = np.array([formula.category(Draw(5, category))["maps"] for category in range(200)])
    middle = (systems.max(0) + systems.min(0))[:, :6] / 2
    ratios = systems[:, :, :6] / middle
    assert abs(ratios - 1).max() < 0.11
    assert (np.ptp(ratios, axis=0) > 0.15).all(), "every coefficient of every map is scaled by a number of its own"
    scaled = ratios.reshape(200, 12) - ratios.mean(0).reshape(12)
    together = abs(np.corrcoef(scaled.T) - np.eye(12)).max()
    assert together < 0.6, "drawn apart; that most fill the frame ties some together a little"
    parent = Fractal(sampler="svd", maps=(2, 2), sigma=3.5, min_fill=0.05).category(Draw(5, -1))["maps"]
    assert np.array_equal(systems[0, :, 6], parent[:, 6]), "the probabilities are the unperturbed system's"
    assert (systems[:, :, 6] == systems[0, :, 6]).all()
    assert np.allclose(middle, parent[:, :6], rtol=0.02)
    assert not np.allclose(formula.category(Draw(6, 0))["maps"], systems[0], rtol=0.3), "another seed, another system"
    assert np.array_equal(formula.category(Draw(5, 3))["maps"], systems[3])


def test_without_an_interval_members_are_the_category_flipped():
    walked = [Fractal(interval=0).instance({"maps": SYSTEM}, Draw(0, 0, i))["maps"] for i in range(1000)]
    assert np.array_equal(walked[0], SYSTEM)
    assert {maps.tobytes() for maps in walked} == {varied(SYSTEM, np.ones(6), i).tobytes() for i in range(4)}


def test_a_filling_rate_out_of_reach_ends():
    start = time.monotonic()
    with pytest.raises(InputError, match=r"none of 300 .* 0\.9"):
        Fractal(min_fill=0.9, tries=300).category(Draw(0, 0))
    assert time.monotonic() - start < 30


def test_systems_that_fly_apart():
    marks, words = np.zeros((32, 32), np.uint8), np.zeros((1, 1), np.uint32)
    assert not _chaos.play(FLYING, np.uint64(1), 1000, 2, _chaos.MARK, 1, marks, words)
    assert not marks.any()
    drawn = picture(Fractal(mode="point"), 0, 80, size=32, params={"maps": FLYING})
    assert drawn.any(), "a member is shrunk until it stays"
    for worst in (np.nan, np.inf, 1e30):
        broken = SYSTEM.copy()
        broken[0, 4] = worst
        with pytest.raises(InputError, match="out of all bounds"):
            picture(Fractal(), 0, 80, size=32, params={"maps": broken})


# --- pictures ---------------------------------------------------------------------------------------------------------

GOLDENS = {
    ("point", False): "f43aa860505df6a7",
    ("point", True): "16e75e84d3480130",
    ("fixed_patch", False): "541ac6313a8a70d0",
    ("fixed_patch", True): "5fa3a43c87654bca",
    ("picture_patch", False): "0336d7ed879cb54a",
    ("picture_patch", True): "6f7207f1185c0db1",
    ("patch", False): "3f26a1df91ccd600",
    ("patch", True): "4a38e1cf134627ef",
    ("density", False): "385e1e46e14dcedb",
    ("density", True): "8c25e5ebba3157ba",
    "categories": "8cd4e18abb9ce562",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("colour", [False, True])
def test_pictures_never_change(mode, colour):
    drawn = picture(Fractal(mode=mode, colour=colour), 3, 125, size=96, seed=7, params={"maps": SYSTEM})
    small = picture(Fractal(mode=mode, colour=colour), 3, 125, size=32, seed=7, params={"maps": SYSTEM})
    found = hashlib.sha256(drawn.tobytes() + small.tobytes()).hexdigest()[:16]
    assert found == GOLDENS[mode, colour]


def test_categories_never_change():
    found = hashlib.sha256()
    for settings in ({}, {"sampler": "svd"}):
        for category in range(3):
            found.update(Fractal(**settings).category(Draw(0, category))["maps"].tobytes())
    assert found.hexdigest()[:16] == GOLDENS["categories"]


def test_without_the_compiler_the_bytes_are_the_same():
    code = """
import hashlib, numpy as np, warnings
warnings.simplefilter("error")
from firstlight.formulas import Draw, picture
from firstlight.formulas.fractal import MODES, Fractal
system = np.array([[.5, .1, -.1, .5, .3, .2, .5], [-.4, .3, .2, .6, -.5, .1, .3], [.3, 0, 0, .3, .9, -.9, .2]])
found = hashlib.sha256()
for mode in MODES:
    found.update(picture(Fractal(mode=mode, points=300), 3, 5, size=8, params={"maps": system}).tobytes())
formula = Fractal(mode="point", official=True, points=300, colour=True)
found.update(picture(formula, 3, 5, size=32, params={"maps": system}).tobytes())
print(found.hexdigest())
"""

    def run(**environment):
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        ).stdout

    assert run(NUMBA_DISABLE_JIT="1") == run(NUMBA_DISABLE_JIT="0")


def test_kernels_ask_for_no_fast_math():
    for module in (_chaos, _raster):
        kernels = [item for item in vars(module).values() if hasattr(item, "targetoptions")]
        assert kernels
        for kernel in kernels:
            assert not kernel.targetoptions.get("fastmath")
            assert kernel.targetoptions["nogil"]


def test_small_pictures_are_averages_of_larger_ones():
    large = picture(
        Fractal(oversample=1, brightness=255, pad=4, points=25_000), 0, 0, size=128, params={"maps": SYSTEM}
    )
    small = picture(Fractal(), 0, 0, size=32, params={"maps": SYSTEM})
    assert np.array_equal(small, large.reshape(32, 4, 32, 4).astype(int).sum((1, 3)) // 16)


def test_modes_look_as_they_should():
    drawn = {m: picture(Fractal(mode=m), 0, 80, size=128, params={"maps": SYSTEM}) for m in MODES}
    assert set(np.unique(drawn["point"])) == {0, 127}
    assert set(np.unique(drawn["patch"])) == {0, 127}
    assert drawn["density"].max() == 255
    covered = {m: (p > 0).mean() for m, p in drawn.items()}
    assert covered["fixed_patch"] > covered["point"]
    assert np.array_equal(drawn["density"] > 0, drawn["point"] > 0)
    spread = np.pad(drawn["point"] > 0, 1)
    spread = np.logical_or.reduce([spread[i : i + 128, j : j + 128] for i in range(3) for j in range(3)])
    assert np.array_equal(drawn["fixed_patch"] > 0, spread)
    assert not (drawn["patch"] > 0)[~spread].any()
    coloured = picture(Fractal(colour=True), 0, 80, size=128, params={"maps": SYSTEM})
    assert np.array_equal(coloured.any(-1), drawn["patch"] > 0), "colour changes nothing but colour"
    assert len(np.unique(coloured.reshape(-1, 3), axis=0)) > 60


@pytest.mark.parametrize("settings", [
    {"points": 0}, {"points": -5}, {"points": 1 << 28}, {"pad": 0}, {"maps": (7, 2)}, {"maps": (1, 3)},
    {"maps": (2, 9)},
    {"maps": (2,)}, {"min_fill": 1.0}, {"min_fill": -0.1}, {"min_fill": math.nan}, {"interval": math.nan},
    {"interval": 0.6}, {"tries": 0}, {"brightness": 0}, {"brightness": 256}, {"oversample": 0}, {"mode": "patches"},
    {"sampler": "normal"}, {"sigma": 3.5}, {"sampler": "svd", "sigma": 6.5}, {"sampler": "svd", "sigma": math.nan},
    {"sampler": "svd", "sigma": 0}, {"delta": 0}, {"delta": 1.5}, {"delta": math.nan},
    {"official": True}, {"official": True, "mode": "point", "oversample": 2},
])  # fmt: skip
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError, match="allowed is"):
        Fractal(**settings)


@pytest.mark.parametrize(("settings", "size"), [({}, 7), ({}, 9000), ({"pad": 10}, 20), ({"oversample": 100}, 100)])
def test_bad_sizes_are_refused(settings, size):
    with pytest.raises(InputError, match="allowed is"):
        picture(Fractal(**settings), 0, 0, size=size, params={"maps": SYSTEM})


def test_maps_from_json_become_a_tuple():
    assert Fractal(maps=[2, 4]) == Fractal(maps=(2, 4))
    assert hash(Fractal(maps=[2, 4])) == hash(Fractal(maps=(2, 4)))
