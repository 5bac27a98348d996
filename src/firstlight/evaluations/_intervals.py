"""How sure an accuracy is, and which of several contenders won: intervals over draws of the labels and test pictures.

Two things would differ if a measurement were repeated: the few pictures that got labels (a *draw*), and the pictures
that happened to be in the test set. With ``correct [D, N]``, one row for each draw and one column for each test
picture, both spreads are estimated and added in quadrature::

    half = t * sqrt(s_draws ** 2 / D  +  s_pictures ** 2 / N')

* ``s_draws`` is the standard deviation of the D draws' accuracies.
* ``s_pictures`` is the standard deviation over test pictures of each one's mean over the draws. It is taken with a few
  imaginary pictures added, two right and two wrong (Agresti & Coull, The American Statistician 1998), or for
  differences one tie and half a win for either side (after Agresti & Min, Statistics in Medicine 2005), so N' = N + 4
  or N + 2; the interval is centred where they move the mean. Without them it would have no width when every picture
  is right, which no finite test can show. For a single draw this is the Agresti-Coull interval.
* t is Student's quantile. The draws' part has D - 1 degrees of freedom and the pictures' part is taken as normal; the
  sum has ``(D - 1) * (total variance / draws' variance) ** 2`` (Welch & Satterthwaite, Biometrics 1946). So three
  draws that differ much give t near 4.3, and draws that differ little, beside few test pictures, t near 2.

Assumptions: draws are independent and made alike, test pictures are independent of each other and of the draws. The
chance interplay of one draw with one picture is counted in both parts, which makes the interval a little wide: in
simulations with 450 pictures, accuracies of 90 to 97 % and draws that truly differ by up to 5 points (standard
deviation), it covers 95 to 99 %. It falls to 91 to 93 % where two or three draws differ by 10 points. Adding both parts
with their own quantiles (1.96 and 4.3) never fell below 97 %, but found a real gap of 3 points about half as often.
With one draw only the second part exists: the interval then speaks about that one trained model.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import t as student

CONFIDENCE = 0.95


def interval(correct: np.ndarray) -> tuple[float, float, float]:
    """The mean of ``correct`` and its 95 % interval.

    Args:
        correct: bool, or numbers in 0..1, ``[draws, pictures]`` with at least one of each.

    Returns:
        mean, low and high, clipped to 0..1; ``low < high`` always, and the mean lies between them.

    Raises:
        ValueError: for another shape.
    """
    mean, low, high = _combined(_table(correct), imaginary=((1.0, 2.0), (0.0, 2.0)))
    return mean, max(0.0, low), min(1.0, high)


def difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """By how much ``first`` is better than ``second``, and the 95 % interval of that.

    Draws and pictures are paired: row d of both used the same labelled pictures, column n is the same test picture.
    What is hard for both then cancels, which makes the interval narrower than those of the two means suggest.

    Returns:
        mean, low and high, clipped to -1..1.

    Raises:
        ValueError: if the shapes differ.
    """
    first, second = _table(first), _table(second)
    if first.shape != second.shape:
        raise ValueError(f"paired contenders need equal shapes [draws, pictures], got {first.shape}, {second.shape}")
    mean, low, high = _combined(first - second, imaginary=((0.0, 1.0), (1.0, 0.5), (-1.0, 0.5)))
    return mean, max(-1.0, low), min(1.0, high)


def verdict(contenders: Mapping[str, np.ndarray], varied: str = "draws of the labelled pictures") -> str:
    """Says which contender won and by how much. It is a tie where the difference's interval contains 0.

    The first sentence is the outcome; those below it give the differences and what they rest on.

    Args:
        contenders: for each name, which test pictures were right in which draw, ``[draws, pictures]``, paired.
        varied: what differs from row to row.

    Raises:
        ValueError: if there is none, or the shapes differ.
    """
    if not contenders:
        raise ValueError("a verdict needs at least one contender")
    ranked = sorted(contenders, key=lambda name: -float(np.mean(contenders[name])))
    best = ranked[0]
    draws, pictures = _table(contenders[best]).shape
    if len(ranked) == 1:
        mean, low, high = interval(contenders[best])
        text = f"{best} got {_percent(mean)} right (95 % interval {100 * low:.1f} to {100 * high:.1f})."
    else:
        gaps = {name: difference(contenders[best], contenders[name]) for name in ranked[1:]}
        text = _ranking(best, gaps, {name: float(np.mean(contenders[name])) for name in ranked})
    if draws == 1:
        return f"{text} Measured once on {pictures:,} test pictures: a second time may change the order."
    return f"{text} Measured over {draws} {varied} and {pictures:,} test pictures."


def _ranking(best: str, gaps: dict[str, tuple[float, float, float]], means: dict[str, float]) -> str:
    ahead = {
        name: f"{name} by {100 * mean:.1f} points ({_range(low, high)})" for name, (mean, low, high) in gaps.items()
    }
    tied = [name for name, (_, low, _) in gaps.items() if low <= 0]
    beaten = [name for name in gaps if name not in tied]
    if not tied:
        return f"{best} won with {_percent(means[best])} right. It leads {_listed([ahead[name] for name in beaten])}."
    equals = _listed([f"{name} ({_percent(means[name])})" for name in [best, *tied]])
    text = f"No clear winner: {equals} tie. {best} leads {_listed([ahead[name] for name in tied])}, which may be chance"
    return f"{text}, and beats {_listed([ahead[name] for name in beaten])}." if beaten else f"{text}."


def _combined(values: np.ndarray, imaginary: tuple[tuple[float, float], ...]) -> tuple[float, float, float]:
    """Mean, low and high of ``values [D, N]``, with (value, how many) imaginary pictures in the second part."""
    draws, pictures = values.shape
    each = values.mean(0)
    added, weights = np.array(imaginary).T
    number = pictures + weights.sum()
    centre = (each.sum() + weights @ added) / number
    variance = (((each - centre) ** 2).sum() + weights @ (added - centre) ** 2) / number
    square, freedom = variance / number, np.inf
    if draws > 1 and (between := values.mean(1).var(ddof=1) / draws) > 0:
        freedom = (draws - 1) * ((square + between) / between) ** 2
        square += between
    half = student.ppf(0.5 + CONFIDENCE / 2, freedom) * np.sqrt(square)
    return float(values.mean()), float(centre - half), float(centre + half)


def _table(correct: np.ndarray) -> np.ndarray:
    table = np.asarray(correct, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"expected [draws, pictures] with at least one of each, got shape {table.shape}")
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(low: float, high: float) -> str:
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f}"


def _listed(items: list[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
