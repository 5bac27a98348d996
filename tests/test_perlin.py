"""Perlin noise: equal to its definition bit by bit and to the textbook's within a hundredth of a grey value."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from firstlight.errors import InputError
from firstlight.formulas import Draw, annotated, picture
from firstlight.formulas._noise import plane_directions, plane_noise, space_directions, space_noise
from firstlight.formulas.perlin import Perlin

F = np.float32

# --- the definition ---------------------------------------------------------------------------------------------------


def axis(size, cells, scale):
    """Cell and four weights of each pixel along an axis, one pixel after another."""
    places, weights = [], []
    for i in range(size):
        u = (i + 0.5) * cells / size
        c = math.floor(u)
        t = u - c
        w = ((6 * t - 15) * t + 10) * (t * t * t)
        places.append(c)
        weights.append([F(v) for v in (scale * (1 - w), scale * ((1 - w) * t), scale * w, scale * (w * (t - 1)))])
    return places, weights


def plain_picture(draw, frequency, amplitudes, size):
    """The definition in ``_noise.py``, pixel by pixel, in NumPy's single precision."""
    table = plane_directions().reshape(256, 2)
    total = np.full((size, size), F(128))
    for octave, amplitude in enumerate(amplitudes):
        across, down = (f << octave for f in frequency)
        chosen = (draw.bits((across + 1) * (down + 1)) >> np.uint64(56)).astype(int)
        g = table[chosen].reshape(down + 1, across + 1, 2)
        columns, rows = axis(size, across, 1.0), axis(size, down, float(amplitude))
        for y in range(size):
            j, (near, near_slope, far, far_slope) = rows[0][y], rows[1][y]
            for x in range(size):
                i, (n, ns, f, fs) = columns[0][x], columns[1][x]
                line = [
                    (ns * g[k, i, 0] + fs * g[k, i + 1, 0], n * g[k, i, 1] + f * g[k, i + 1, 1]) for k in (j, j + 1)
                ]
                (x0, y0), (x1, y1) = line
                total[y, x] += (near * x0 + near_slope * y0) + (far * x1 + far_slope * y1)
    return np.clip(total, 0, 255).astype(np.uint8)


def plain_clip(draw, frequency, amplitudes, frames, size):
    table = space_directions().reshape(256, 3)
    total = np.full((frames, size, size), F(128))
    for octave, amplitude in enumerate(amplitudes):
        across, down, along = (f << octave for f in frequency)
        chosen = (draw.bits((across + 1) * (down + 1) * (along + 1)) >> np.uint64(56)).astype(int)
        g = table[chosen].reshape(along + 1, down + 1, across + 1, 3)
        columns, rows, times = axis(size, across, 1.0), axis(size, down, 1.0), axis(frames, along, float(amplitude))
        for x in range(size):
            i, (n, ns, f, fs) = columns[0][x], columns[1][x]
            lines_x = ns * g[:, :, i, 0] + fs * g[:, :, i + 1, 0]
            lines_y = n * g[:, :, i, 1] + f * g[:, :, i + 1, 1]
            lines_z = n * g[:, :, i, 2] + f * g[:, :, i + 1, 2]
            for y in range(size):
                j, (n, ns, f, fs) = rows[0][y], rows[1][y]
                level = (n * lines_x[:, j] + ns * lines_y[:, j]) + (f * lines_x[:, j + 1] + fs * lines_y[:, j + 1])
                slope = n * lines_z[:, j] + f * lines_z[:, j + 1]
                for frame in range(frames):
                    k, (a, b, c, d) = times[0][frame], times[1][frame]
                    total[frame, y, x] += (a * level[k] + b * slope[k]) + (c * level[k + 1] + d * slope[k + 1])
    return np.clip(total, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("frequency", "octaves", "size"), [
    ((1, 1), 1, 8), ((3, 5), 1, 24), ((24, 7), 1, 24), ((5, 2), 3, 21), ((9, 20), 4, 23), ((1, 37), 1, 40),
])  # fmt: skip
def test_pictures_equal_the_definition_bit_by_bit(frequency, octaves, size):
    amplitudes = 180.0 * 0.6 ** np.arange(octaves)
    pixels = np.empty((size, size), np.uint8)
    plane_noise(np.uint64(Draw(3, 1, 4).key), *frequency, amplitudes, plane_directions(), pixels)
    assert np.array_equal(pixels, plain_picture(Draw(3, 1, 4), frequency, amplitudes, size))


@pytest.mark.parametrize(("frequency", "octaves", "frames", "size"), [
    ((1, 1, 1), 1, 1, 8), ((3, 5, 2), 1, 6, 16), ((2, 3, 4), 3, 9, 13), ((8, 1, 7), 1, 7, 8),
])  # fmt: skip
def test_clips_equal_the_definition_bit_by_bit(frequency, octaves, frames, size):
    amplitudes = 150.0 * 0.5 ** np.arange(octaves)
    pixels = np.empty((frames, size, size), np.uint8)
    space_noise(np.uint64(Draw(3, 1, 4).key), *frequency, amplitudes, space_directions(), pixels)
    assert np.array_equal(pixels, plain_clip(Draw(3, 1, 4), frequency, amplitudes, frames, size))


# --- the textbook -----------------------------------------------------------------------------------------------------


def textbook(gradients, frequency, lengths):
    """Perlin's noise in double precision: dot products at the corners of a cell, faded into each other one by one."""
    places = [(np.arange(n) + 0.5) * f / n for n, f in zip(lengths, frequency)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"), -1)
    cell = grid.astype(int)
    inside = grid - cell
    fade = inside**3 * (inside * (inside * 6 - 15) + 10)
    value = np.zeros(lengths)
    for corner in np.ndindex(*(2,) * len(lengths)):
        g = gradients[tuple(np.moveaxis(cell + corner, -1, 0))]
        value += (g * (inside - corner)).sum(-1) * np.where(corner, fade, 1 - fade).prod(-1)
    return value


def test_pictures_are_perlin_noise():
    frequency, size = np.array([7, 5]), 61
    draw = Draw(0, 0, 0)
    drawn = Perlin().render({"frequency": frequency}, size, draw)
    chosen = (Draw(0, 0, 0).bits(8 * 6) >> np.uint64(56)).astype(int)
    angle = 2 * np.pi * chosen / 256
    gradients = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(6, 8, 2)  # down, across
    expected = 128 + 127.5 * math.sqrt(2) * textbook(gradients, (5, 7), (size, size))
    assert (np.abs(drawn + 0.5 - expected) < 0.5 + 1e-3).all()


def test_clips_are_perlin_noise():
    frequency, size, frames = np.array([4, 3, 2]), 30, 11
    drawn = Perlin(frames=frames).render({"frequency": frequency}, size, Draw(0, 0, 0))
    chosen = (Draw(0, 0, 0).bits(5 * 4 * 3) >> np.uint64(56)).astype(int)
    gradients = space_directions().astype(float).reshape(256, 3)[chosen].reshape(3, 4, 5, 3)[..., ::-1]
    expected = 128 + 255 / math.sqrt(3) * textbook(gradients, (2, 3, 4), (frames, size, size))
    assert (np.abs(drawn + 0.5 - expected) < 0.5 + 1e-3).all()


def test_directions_are_even():
    plane, space = plane_directions().reshape(256, 2), space_directions().reshape(256, 3)
    for table in (plane, space):
        assert np.allclose((table.astype(float) ** 2).sum(1), 1, atol=1e-6)
        assert np.abs(table.mean(0)).max() < 0.01
        assert np.allclose(table.T @ table / 256, np.eye(table.shape[1]) / table.shape[1], atol=0.01)
    near = (space @ space.T - 2 * np.eye(256)).max(1)
    assert near.max() < math.cos(0.13), "no two directions of the sphere are close"


# --- classes ----------------------------------------------------------------------------------------------------------


def test_classes_count_through_the_grid():
    formula = Perlin()
    assert formula.categories == 100
    assert Perlin(grid=36).categories == 1296
    assert formula.kind == "picture"
    found = [tuple(formula.category(Draw(0, c))["frequency"].tolist()) for c in range(100)]
    assert found == [(x, y) for x in range(1, 11) for y in range(1, 11)]
    assert formula.category(Draw(9, 37))["frequency"].dtype == np.int64


def test_classes_of_clips_count_through_three_axes():
    formula = Perlin(grid=3, frames=16, times=4)
    assert (formula.kind, formula.categories) == ("clip", 36)
    found = [tuple(formula.category(Draw(0, c))["frequency"].tolist()) for c in range(36)]
    assert found == [(x, y, t) for x in range(1, 4) for y in range(1, 4) for t in range(1, 5)]
    assert Perlin(grid=12, frames=8).categories == 12 * 12 * 8, "at most one cell a frame"


@pytest.mark.parametrize(("settings", "category", "words"), [
    ({}, 100, r"no category 100: with grid=10 there are 100"),
    ({"grid": 36}, 1296, r"grid=36 there are 1,296"),
    ({"frames": 4, "grid": 2}, 8, r"grid=2 and times=2 there are 8"),
    ({}, -1, "no category -1"),
])  # fmt: skip
def test_more_classes_than_the_grid_are_refused(settings, category, words):
    with pytest.raises(InputError, match=words):
        Perlin(**settings).category(Draw(0, category))


def measured_frequencies(pixels):
    """Zero crossings a line along the columns and along the rows."""
    above = pixels > 127
    return (above[:, 1:] != above[:, :-1]).sum() / len(pixels), (above[1:] != above[:-1]).sum() / len(pixels)


def test_frequencies_show():
    for category, across, down in ((9, 1, 10), (90, 10, 1), (99, 10, 10), (36, 4, 7)):
        counts = np.mean([measured_frequencies(picture(Perlin(), category, i, size=128)) for i in range(20)], 0)
        assert counts == pytest.approx([across, down], rel=0.35), "about one crossing a cell"


def test_grey_values_are_fixed():
    pixels = np.concatenate([picture(Perlin(), 99, i, size=96).reshape(-1) for i in range(30)]).astype(float)
    assert pixels.mean() == pytest.approx(127, abs=1)
    assert pixels.std() == pytest.approx(38.5, abs=1)
    assert pixels.min() < 10
    assert pixels.max() > 245
    assert ((pixels == 0) | (pixels == 255)).sum() == 0, "one octave is never cut off"


def test_octaves_add_detail_and_keep_the_variance():
    one, four = (np.stack([picture(Perlin(octaves=o), 44, i, size=128) for i in range(20)]) / 255 for o in (1, 4))
    assert four.std() == pytest.approx(one.std(), rel=0.15)
    detail = [np.abs(np.diff(p, axis=2)).mean() for p in (one, four)]
    assert detail[1] > 1.5 * detail[0]


def test_octaves_finer_than_pixels_are_left_out():
    params = {"frequency": np.array([5, 3])}
    few, many = (Perlin(octaves=o, persistence=1.0, contrast=0.7) for o in (3, 8))
    few = 128 + (few.render(params, 20, Draw(0, 0, 0)) - 128.0) * math.sqrt(3 / 8)
    assert np.abs(many.render(params, 20, Draw(0, 0, 0)) - few).max() <= 1.01, (
        "5, 10 and 20 cells; 40 would be too many"
    )


def test_the_same_noise_at_every_size():
    small, large = (picture(Perlin(), 55, 3, size=size).astype(float) for size in (64, 192))
    assert np.abs(large[1::3, 1::3] - small).max() <= 1


def test_contrast_scales():
    low, high = (picture(Perlin(contrast=c), 99, 0, size=64).astype(float) - 127.5 for c in (0.5, 4.0))
    inside = np.abs(high) < 127
    assert np.abs(high - 8 * low)[inside].max() <= 5
    assert (~inside).mean() > 0.1


def test_clips_change_slowly_or_fast():
    slow, fast = (picture(Perlin(frames=16), c, 0, size=48).astype(int) for c in (990, 999))
    steps = [np.abs(np.diff(clip, axis=0)).mean() for clip in (slow, fast)]
    assert steps[1] > 4 * steps[0]
    assert slow.shape == (16, 48, 48)
    known = annotated(Perlin(frames=3), 5, 0, size=16)
    assert list(known) == ["clip"]
    assert known["clip"].shape == (3, 16, 16)
    assert known["clip"].dtype == np.uint8


@pytest.mark.parametrize(("name", "value"), [
    ("grid", 0), ("grid", 513), ("frames", -1), ("frames", 1025), ("times", 3), ("octaves", 0), ("octaves", 9),
    ("persistence", 0.0), ("persistence", 1.1), ("persistence", math.nan), ("contrast", 0.0), ("contrast", math.nan),
    ("contrast", math.inf),
])  # fmt: skip
def test_bad_settings_are_refused(name, value):
    with pytest.raises(InputError, match=rf"perlin\({name}="):
        Perlin(**{name: value})


def test_times_beyond_the_frames_are_refused():
    with pytest.raises(InputError, match=r"times=9.*1 to frames, 8"):
        Perlin(frames=8, times=9)


@pytest.mark.parametrize("params", [[11, 3], [3, 40], [1, 2, 3], [0, 4], [4]])
def test_cells_smaller_than_pixels_and_foreign_classes_are_refused(params):
    with pytest.raises(InputError, match="frequencies"):
        Perlin().render({"frequency": np.array(params)}, 10, Draw(0, 0, 0))


@pytest.mark.parametrize("size", [7, 8193])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(InputError, match="8 to 8192"):
        picture(Perlin(), 0, 0, size=size)


def test_the_largest_settings_draw():
    params = {"frequency": np.array([512, 512])}
    assert Perlin(grid=512, octaves=8).render(params, 520, Draw(0, 0, 0)).std() > 20
    assert picture(Perlin(grid=1), 0, 0, size=8).shape == (8, 8)
    assert picture(Perlin(frames=1, octaves=8), 0, 0, size=8).shape == (1, 8, 8)


def test_the_interpreter_draws_the_same(tmp_path):
    code = """
import warnings
warnings.simplefilter("error")
import hashlib
from firstlight.formulas import picture
from firstlight.formulas.perlin import Perlin
for formula in (Perlin(octaves=2), Perlin(frames=2, octaves=2)):
    print(hashlib.sha256(picture(formula, 5, 1, size=12).tobytes()).hexdigest())
"""
    runs = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **extra}, capture_output=True, text=True)
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert runs[0].stdout == runs[1].stdout != "", runs[1].stderr
