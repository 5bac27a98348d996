"""Intervals: against the formula, at the ends, and by simulation; and what the verdict calls a win or a tie."""

import numpy as np
import pytest
from scipy.stats import t as student

from firstlight.evaluations._intervals import difference, interval, verdict


def right(draws: int, pictures: int, wrong: int = 0) -> np.ndarray:
    table = np.ones((draws, pictures), dtype=bool)
    table[:, :wrong] = False
    return table


def test_one_draw_is_the_agresti_coull_interval():
    mean, low, high = interval(right(1, 100, wrong=10))
    share = 92 / 104
    half = 1.959963984540054 * np.sqrt(share * (1 - share) / 104)
    assert mean == pytest.approx(0.9)
    assert (low, high) == (pytest.approx(share - half), pytest.approx(share + half))


def test_draws_add_in_quadrature_with_students_quantile():
    random = np.random.default_rng(0)
    table = random.random((3, 400)) < np.array([0.7, 0.8, 0.9])[:, None]
    mean, low, _ = interval(table)
    each = np.concatenate([table.mean(0), [1, 1, 0, 0]])
    pictures, draws = each.var() / 404, table.mean(1).var(ddof=1) / 3
    freedom = 2 * ((pictures + draws) / draws) ** 2
    assert mean == pytest.approx(table.mean())
    assert low == pytest.approx(each.mean() - student.ppf(0.975, freedom) * np.sqrt(pictures + draws))
    assert 2 < freedom < 4  # draws that differ this much decide


def test_draws_that_decide_alone_give_students_interval():
    table = np.repeat([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], 20_000, axis=1)
    table = np.stack([np.random.default_rng(d).permutation(row) for d, row in enumerate(table)])
    mean, low, _ = interval(table)
    assert mean - low == pytest.approx(student.ppf(0.975, 2) * 0.2 / np.sqrt(3), rel=0.01)


@pytest.mark.parametrize("draws", [1, 2, 5])
@pytest.mark.parametrize("pictures", [1, 10, 450])
def test_never_without_width_never_out_of_range(draws, pictures):
    for wrong in {0, pictures // 2, pictures}:
        mean, low, high = interval(right(draws, pictures, wrong))
        assert 0 <= low <= mean <= high <= 1
        assert high - low > 1 / (pictures + 4)
        mean, low, high = difference(right(draws, pictures, wrong), right(draws, pictures))
        assert -1 <= low <= mean <= high <= 1
        assert high > low


def test_perfect_is_surer_with_more_pictures_and_than_with_a_mistake():
    lows = [interval(right(3, pictures))[1] for pictures in (10, 100, 1000)]
    assert lows == sorted(lows)
    one_wrong = right(3, 100)
    one_wrong[0, 0] = False
    assert interval(one_wrong)[1] < lows[1]


@pytest.mark.parametrize("draws", [1, 3, 5])
@pytest.mark.parametrize(("accuracy", "spread"), [(0.9, 0.02), (0.97, 0.005), (0.6, 0.0)])
def test_interval_covers_the_accuracy_over_new_draws_and_pictures(draws, accuracy, spread):
    """Pictures differ in difficulty and draws in quality; the interval should contain the mean over both."""
    random = np.random.default_rng(1)
    covered, repeats, pictures = 0, 400, 200
    strength = 8.0  # of pictures' difficulty: Beta(a, b) with mean ``accuracy`` and a + b = strength
    for _ in range(repeats):
        easy = random.beta(accuracy * strength, (1 - accuracy) * strength, pictures)
        luck = random.normal(0, spread, (draws, 1)) if draws > 1 else 0.0  # one draw: about that one model
        table = random.random((draws, pictures)) < np.clip(easy + luck * 4 * easy * (1 - easy), 0, 1)
        _, low, high = interval(table)
        covered += low <= accuracy <= high
    assert covered / repeats > (0.925 if draws == 1 else 0.95)  # 0.925: 0.95 less two standard errors


@pytest.mark.parametrize("draws", [1, 3, 5])
@pytest.mark.parametrize("gap", [0.0, 0.03])
def test_difference_covers_the_true_gap(draws, gap):
    random = np.random.default_rng(2)
    covered, repeats, pictures = 0, 400, 200
    for _ in range(repeats):
        easy = random.beta(7, 1, pictures) * (1 - gap)  # what is hard for one is hard for the other
        better = easy + gap
        luck = random.normal(0, 0.01, (2, draws, 1)) if draws > 1 else np.zeros((2, 1, 1))
        first, second = random.random((2, draws, pictures)) < np.stack([better + luck[0], easy + luck[1]])
        _, low, high = difference(first, second)
        covered += low <= gap <= high
    # crossing 0 or 1 clips a chance a little, which moves the true gap by less than 0.002
    assert covered / repeats > (0.925 if draws == 1 else 0.95)  # 0.925: 0.95 less two standard errors


def test_pairing_makes_the_difference_surer():
    random = np.random.default_rng(3)
    base = random.random((3, 500)) < 0.8
    better = base | (random.random((3, 500)) < 0.1)
    _, low, high = difference(better, base)
    unpaired = difference(better, random.permuted(base, axis=1))
    assert high - low < 0.7 * (unpaired[2] - unpaired[1])
    assert low > 0


def test_difference_is_antisymmetric():
    random = np.random.default_rng(4)
    first, second = random.random((2, 3, 50)) < 0.7
    mean, low, high = difference(first, second)
    assert difference(second, first) == (pytest.approx(-mean), pytest.approx(-high), pytest.approx(-low))


def test_a_few_right_of_one_draw_cannot_show_a_difference():
    _, low, high = difference(right(3, 450), right(3, 450))
    assert low < 0 < high
    assert high < 0.01


@pytest.mark.parametrize("table", [np.ones(5), np.ones((0, 5)), np.ones((2, 0)), np.ones((2, 2, 2))])
def test_refuses_other_shapes(table):
    with pytest.raises(ValueError, match="draws, pictures"):
        interval(table)


def test_difference_refuses_unpaired_shapes():
    with pytest.raises(ValueError, match="equal shapes"):
        difference(right(3, 10), right(2, 10))


def test_verdict_names_a_winner_and_by_how_much():
    random = np.random.default_rng(5)
    level = {"svm": 0.7, "fractal": 0.97, "scratch": 0.9}
    contenders = {name: random.random((3, 450)) < share for name, share in level.items()}
    text = verdict(contenders)
    assert text.startswith("fractal won with ")
    assert text.index("scratch by") < text.index("svm by")
    mean, low, high = difference(contenders["fractal"], contenders["svm"])
    assert f"svm by {100 * mean:.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f})" in text
    assert text.endswith("Measured over 3 draws of the labelled pictures and 450 test pictures.")


def test_verdict_calls_a_tie_a_tie_and_still_says_who_lost():
    random = np.random.default_rng(6)
    same = random.random((3, 450)) < 0.9
    nearly = same.copy()
    nearly[0, :3] = False
    text = verdict({"svm": random.random((3, 450)) < 0.5, "scratch": nearly, "fractal": same})
    assert text.startswith(f"No clear winner: fractal ({100 * same.mean():.1f} %) and scratch (")
    assert "won" not in text
    assert "which may be chance, and beats svm by" in text


def test_verdict_of_equals_is_a_tie_however_they_are_ordered():
    for names in (("a", "b"), ("b", "a")):
        text = verdict(dict.fromkeys(names, right(3, 20, wrong=1)))
        assert text.startswith(f"No clear winner: {names[0]} (95.0 %) and {names[1]} (95.0 %) tie.")


def test_equal_contenders_rarely_win():
    """Three equally good contenders: one of them is declared the winner in few of many repetitions."""
    random = np.random.default_rng(7)
    wins = 0
    for _ in range(300):
        easy = random.beta(7, 1, 200)
        tables = random.random((3, 3, 200)) < np.clip(easy + random.normal(0, 0.01, (3, 3, 1)), 0, 1)
        wins += " won " in verdict(dict(zip("abc", tables)))
    assert wins / 300 < 0.05


def test_verdict_warns_about_a_single_draw_and_takes_a_single_contender():
    text = verdict({"a": right(1, 50), "b": right(1, 50, wrong=30)})
    assert text.startswith("a won")
    assert "Measured once on 50 test pictures" in text
    assert verdict({"a": right(2, 50)}).startswith("a got 100.0 % right")
    with pytest.raises(ValueError, match="at least one"):
        verdict({})
