"""Sine, cosine, exponential, logarithm and power by fixed polynomials.

NumPy's own differ in the last bit between processors. These use IEEE + - * /, floor and the exact ``frexp`` and
``ldexp`` alone, one NumPy operation at a time, so nothing is contracted or reordered.
"""

import numpy as np

_QUARTER = 1.5707963267948966
_COSINE = (1.0, -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600, -1 / 87178291200, 1 / 20922789888000)
_SINE = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000)

_EXPONENTIAL = (
    1.0, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800,
    1 / 479001600, 1 / 6227020800,
)  # fmt: skip
_ARTANH = (1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11, 1 / 13, 1 / 15, 1 / 17, 1 / 19, 1 / 21, 1 / 23)
_LOG_TWO = 0.6931471805599453
_LOG_TWO_HIGH = 0.693147180369123816490  # its last 21 bits are zero: times a whole number up to 2**20 it is exact
_LOG_TWO_LOW = 1.90821492927058770002e-10
_SPLIT = 134217729.0  # 2**27 + 1


def cos_sin(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of an angle given in full turns, each within 3e-16 of the truth.

    Args:
        turns: float64 of any shape; below 2**50, or the angle itself has lost its meaning.
    """
    quarters = np.floor(turns * 4 + 0.5)
    angle = (turns * 4 - quarters) * _QUARTER  # at most an eighth of a turn either way
    square = angle * angle
    cosine, sine = _polynomial(_COSINE, square), angle * _polynomial(_SINE, square)
    quadrant = quarters - 4 * np.floor(quarters / 4)
    swap = (quadrant == 1) | (quadrant == 3)
    along, across = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    return (
        np.where((quadrant == 1) | (quadrant == 2), -along, along),
        np.where(quadrant >= 2, -across, across),
    )


def exp(x: np.ndarray) -> np.ndarray:
    """The exponential, within 4e-16 of the truth, relatively, wherever that is a normal number (-708 to 709.78).

    Below come denormal numbers and then 0, above infinity; NaN stays NaN.

    Args:
        x: float64 of any shape.
    """
    return _exp(np.asarray(x, np.float64), 0.0)


def log(x: np.ndarray) -> np.ndarray:
    """The natural logarithm, within 2e-16 of the truth, relatively.

    Args:
        x: float64 of any shape, above 0, denormal numbers included. 0 gives minus infinity, less gives NaN.
    """
    high, low = _log(np.asarray(x, np.float64))
    return high + low


def power(x: np.ndarray, y: np.ndarray | float) -> np.ndarray:
    """``x`` to the power of ``y``, within 3e-15 of the truth, relatively, wherever that is a normal number.

    The logarithm is carried to 60 bits, or a power near the largest number would lose ten of its bits.

    Args:
        x: float64 of any shape, above 0; 0 gives 0, 1 or infinity as the sign of ``y`` says, less gives NaN.
        y: float64, finite, of a shape that goes with that of ``x``.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    high, low = _log(x)
    with np.errstate(over="ignore", invalid="ignore"):
        whole, rest = _product(y, high)
        rest = np.where(np.abs(whole) < 800, rest + y * low, 0.0)  # beyond, 0 or infinity anyway
        return np.where(y == 0, 1.0, _exp(whole, rest))


def _exp(x: np.ndarray, rest: np.ndarray | float) -> np.ndarray:
    """The exponential of ``x + rest``, where ``rest`` is too small to show in the sum."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        x = np.clip(x, -750.0, 750.0)
        doublings = np.floor(x / _LOG_TWO + 0.5)
        left = ((x - doublings * _LOG_TWO_HIGH) - doublings * _LOG_TWO_LOW) + rest  # at most .35 either way
        return np.ldexp(_polynomial(_EXPONENTIAL, left), doublings.astype(np.int32))


def _log(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm as a sum of two numbers, the second too small to show in the sum.

    With ``x = m * 2**e`` and m from .7071 to 1.4142 it is ``e log 2 + 2 artanh(s)``, where ``s = (m - 1) / (m + 1)``;
    what the division leaves over goes into the second number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mantissa, exponent = np.frexp(x)
        half = mantissa < 0.7071067811865476
        mantissa, exponent = np.where(half, 2 * mantissa, mantissa), exponent - half
        over, under = mantissa - 1, mantissa + 1  # under may lose its last bit, over never does
        lost = (mantissa - (under - 1)) + ((under - (under - 1)) - 1)
        s = over / under
        back, error = _product(s, under)
        s_rest = (((over - back) - error) - s * lost) / under
        square = s * s
        large = exponent * _LOG_TWO_HIGH + 2 * s
        missing = (exponent * _LOG_TWO_HIGH - large) + 2 * s  # exact: the first is 0 or the larger
        small = missing + (2 * s_rest + (2 * s * square * _polynomial(_ARTANH, square) + exponent * _LOG_TWO_LOW))
        high = large + small
        low = (large - high) + small
        usual = (x > 0) & (x < np.inf)
        return np.where(usual, high, np.where(x == 0, -np.inf, np.where(x > 0, np.inf, np.nan))), np.where(
            usual, low, 0.0
        )


def _product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The product and what rounding took from it, exactly: ``a * b == product + error`` (Dekker 1971)."""
    product = a * b
    a_high = a * _SPLIT - (a * _SPLIT - a)
    b_high = b * _SPLIT - (b * _SPLIT - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
