"""Exponential, logarithm and power: within their stated error of decimals with 40 digits, and the same bits always."""

import hashlib
import math
from decimal import Context, Decimal

import numpy as np
import pytest

from firstlight.formulas import Draw
from firstlight.formulas._math import exp, log, power

MANY = Context(prec=60, Emax=10**6, Emin=-(10**6))


def error(given, exact: list[Decimal]) -> float:
    """The largest relative error; the exact values are decimals."""
    pairs = zip(np.asarray(given).reshape(-1).tolist(), exact)
    return max(float(abs(MANY.divide(MANY.subtract(Decimal(value), truth), truth))) for value, truth in pairs if truth)


def spread(count: int) -> np.ndarray:
    """Numbers of every magnitude a double has, and many next to 1, where logarithms vanish."""
    draw = Draw(0, 0)
    sizes = [math.ldexp(1 + m, int(e)) for m, e in zip(draw.uniform(0, 1, count), draw.integers(-1022, 1024, count))]
    return np.array(
        [*sizes, *(1 + draw.uniform(-1, 1, count) * 10.0 ** -draw.integers(0, 16, count)), *draw.uniform(0, 2, count)]
    )


def test_exponentials():
    x = np.concatenate([Draw(0, 1).uniform(-708, 709.7, 3000), Draw(0, 2).uniform(-1, 1, 3000), [0.0, 1e-300, -1e-17]])
    assert error(exp(x), [MANY.exp(Decimal(v)) for v in x.tolist()]) < 4e-16
    assert exp(np.array([0.0, -0.0])).tolist() == [1.0, 1.0]


def test_logarithms():
    x = spread(2000)
    x = np.concatenate([x[x > 0], [5e-324, 1e-310, 1 - 2**-53, 1 + 2**-52, 2.0, 0.5, 0.7071067811865476]])
    assert error(log(x), [MANY.ln(Decimal(v)) for v in x.tolist()]) < 2.3e-16
    assert log(np.array([1.0])).tolist() == [0.0]


def test_powers():
    x = spread(1500)
    x = x[x > 0]
    y = Draw(0, 3).uniform(-1, 1, len(x)) * np.minimum(700 / np.maximum(np.abs(np.log(x)), 1e-6), 1e6)
    exact = [MANY.exp(MANY.multiply(Decimal(b), MANY.ln(Decimal(a)))) for a, b in zip(x.tolist(), y.tolist())]
    assert error(power(x, y), exact) < 3e-15
    assert error(power(x, 0.7), [MANY.power(Decimal(a), Decimal.from_float(0.7)) for a in x.tolist()]) < 5e-16


def test_whole_powers_are_exact_where_they_can_be():
    assert power(np.array([2.0, 4.0, 10.0, 4.0]), np.array([10.0, 0.5, 15.0, -1.0])).tolist() == [1024, 2, 1e15, 0.25]
    assert power(np.arange(1.0, 40.0), 0.0).tolist() == [1.0] * 39


@pytest.mark.parametrize(("function", "given", "expected"), [
    (exp, [709.79, 1e308, np.inf, -746.0, -1e308, -np.inf], [np.inf, np.inf, np.inf, 0, 0, 0]),
    (log, [0.0, np.inf], [-np.inf, np.inf]),
    (lambda x: power(x, 2.0), [0.0, 1e200, 1e-200, np.inf], [0, np.inf, 0, np.inf]),
    (lambda x: power(x, -2.0), [0.0, 1e200, 1e-200, np.inf], [np.inf, 0, np.inf, 0]),
    (lambda x: power(x, 0.0), [0.0, 5e-324, np.inf], [1, 1, 1]),
    (lambda x: power(x, 1e300), [1 - 2**-53, 1.0, 1 + 2**-52], [0, 1, np.inf]),
])  # fmt: skip
def test_extremes_say_nothing_and_are_right(function, given, expected):
    assert function(np.array(given)).tolist() == expected


def test_what_is_no_number_stays_none():
    for value in (exp(np.array(np.nan)), log(np.array([np.nan, -1.0])), power(np.array([np.nan, -2.0]), 0.5)):
        assert np.isnan(value).all()


def test_exponentials_below_the_normal_numbers_are_rounded_once():
    x = np.linspace(-745, -708, 500)
    steps = np.abs(exp(x) - np.exp(x)) / 5e-324
    assert steps.max() <= 1 + 1e-15 * 2.3e-308 / 5e-324


def test_shapes_are_kept():
    assert exp(np.zeros((2, 3))).shape == (2, 3)
    assert power(np.ones((2, 1)), np.ones(3)).shape == (2, 3)
    assert log(np.float64(2.0)).shape == ()


def test_known_bits_never_change():
    x = Draw(1, 1).uniform(1e-3, 50, 4096)
    whole = hashlib.sha256(exp(x).tobytes() + log(x).tobytes() + power(x, x / 20 - 1).tobytes())
    assert whole.hexdigest()[:16] == "320707f975d7eebf"
