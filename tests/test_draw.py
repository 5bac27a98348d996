"""Random draws: known bits, even numbers, independent streams, and sines that do not depend on the processor."""

import math

import numpy as np
import pytest

from firstlight.formulas import Draw
from firstlight.formulas._math import cos_sin


def splitmix(key: int, count: int) -> list[int]:
    """The published algorithm in whole numbers."""
    ones = (1 << 64) - 1
    values = []
    for _ in range(count):
        key = (key + 0x9E3779B97F4A7C15) & ones
        z = key
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ones
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ones
        values.append(z ^ (z >> 31))
    return values


def test_bits_are_splitmix64():
    draw = Draw(1, 2, 3)
    assert draw.bits(5).tolist() == splitmix(draw.key, 5)


def test_known_bits_never_change():
    assert [hex(v) for v in Draw(0, 0).bits(2).tolist()] == ["0x734d29bb0d249988", "0xd53d4d79c6db1aec"]
    assert hex(Draw(-1, 7, 999).split(4).key) == "0xaef751bc53c7fe76"


def test_calls_take_consecutive_values():
    one, two = Draw(5, 1), Draw(5, 1)
    assert np.array_equal(np.concatenate([one.bits(3), one.bits(4)]), two.bits(7))


def test_streams_are_told_apart():
    draws = [Draw(s, c, i) for s in (0, 1, -1) for c in (0, 1) for i in (None, 0, 1)]
    draws += [Draw(0, 0).split(n) for n in range(3)] + [Draw(0, 0).split(0).split(0)]
    assert len({draw.key for draw in draws}) == len(draws)


def test_splitting_ignores_what_was_drawn():
    used = Draw(3, 4, 5)
    used.bits(17)
    assert used.split(1).key == Draw(3, 4, 5).split(1).key
    assert (used.split(1).seed, used.split(1).category, used.split(1).instance) == (3, 4, 5)


def test_uniform_fills_its_range_evenly():
    values = Draw(0, 0).uniform(-2.0, 4.0, (200, 100))
    assert values.shape == (200, 100)
    assert values.dtype == np.float64
    assert values.min() >= -2
    assert values.max() < 4
    counts = np.histogram(values, 20, (-2, 4))[0]
    chi = ((counts - 1000) ** 2 / 1000).sum()
    assert chi < 45, "20 bins: beyond 45 in one of a thousand seeds"


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 4), (1, 512), (5, 6)])
def test_integers_fill_their_range_evenly(low, high):
    values = Draw(1, 1).integers(low, high, 50_000)
    assert values.dtype == np.int64
    counts = np.bincount(values - low, minlength=high - low)
    assert len(counts) == high - low
    expected = 50_000 / (high - low)
    assert abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_chance_keeps_its_rate():
    draw = Draw(2, 2)
    assert abs(sum(draw.chance(0.25) for _ in range(4000)) / 4000 - 0.25) < 0.035


def test_cosine_and_sine_are_exact_to_the_last_places():
    turns = np.linspace(-2, 2, 4097)
    cosine, sine = cos_sin(turns)
    exact = [(math.cos(2 * math.pi * (t % 1)), math.sin(2 * math.pi * (t % 1))) for t in turns]
    assert np.abs(np.array(exact).T - (cosine, sine)).max() < 1.5e-15  # the reference rounds its angle
    assert np.abs(cosine**2 + sine**2 - 1).max() < 5e-16
    cosine, sine = cos_sin(np.array([0.0, 0.25, 0.5, 0.75]))
    assert cosine.tolist() == [1, 0, -1, 0]
    assert sine.tolist() == [0, 1, 0, -1]


def test_few_numbers_are_those_that_many_begin_with():
    for count in range(1, 12):
        for number in range(5):
            one, other = Draw(3, number), Draw(3, number)
            assert np.array_equal(one.uniform(-2.5, 7.0, count), Draw(3, number).uniform(-2.5, 7.0, 40)[:count])
            assert np.array_equal(other.integers(-7, 1 << 30, count), Draw(3, number).integers(-7, 1 << 30, 40)[:count])
            assert np.array_equal(one.bits(3), other.bits(3))
    assert Draw(0, 0).uniform().shape == Draw(0, 0).integers(0, 5).shape == ()
    assert (Draw(0, 0).uniform(shape=(2, 3)).shape, Draw(0, 0).integers(0, 5, 2).dtype) == ((2, 3), np.int64)
