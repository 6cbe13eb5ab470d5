"""Intervals: they hold the truth as often as they say, whatever chance brings of the exhibits."""

import numpy as np
import pytest

from musequest.evaluation.intervals import (
    Clustered,
    PairedDifference,
    detectable,
    exhibits_needed,
    holm,
)

SAMPLES = 400


def exhibits(count: int, most: int) -> list[str]:
    """One to `most` questions about each of so many exhibits."""
    return [f"e{number}" for number in range(count) for _ in range(1 + number % most)]


def rights(rng: np.random.Generator, names: list[str], rate: float, alike: bool) -> np.ndarray:
    """Right answers, those about one exhibit alike or not."""
    if not alike:
        return (rng.random(len(names)) < rate) * 1.0
    drawn = {name: float(rng.random() < rate) for name in dict.fromkeys(names)}
    return np.array([drawn[name] for name in names])


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("count", [6, 8, 15, 28])
def test_an_interval_of_a_rate_of_90_percent_holds_it(count, most):
    """At least 92 % of samples, questions of an exhibit hanging together or not."""
    rng, names = np.random.default_rng(count), exhibits(count, most)
    for alike in (False, True):
        samples = [Clustered.of(rights(rng, names, 0.9, alike), names) for _ in range(SAMPLES)]
        held = [low <= 0.9 <= high for low, high in (each.interval(1) for each in samples)]
        assert np.mean(held) >= 0.92, alike


@pytest.mark.parametrize("rate", [0.5, 0.98])
def test_other_rates_are_held_too(rate):
    rng, names = np.random.default_rng(1), exhibits(8, 3)
    samples = [Clustered.of(rights(rng, names, rate, True), names) for _ in range(SAMPLES)]
    assert np.mean([low <= rate <= high for low, high in (s.interval(1) for s in samples)]) >= 0.92


def test_skewed_distances_are_held():
    rng, names = np.random.default_rng(1), exhibits(8, 3)
    samples = [Clustered.of(rng.gamma(2, 0.05, len(names)), names) for _ in range(SAMPLES)]
    assert np.mean([low <= 0.1 <= high for low, high in (s.interval(2) for s in samples)]) >= 0.91


@pytest.mark.parametrize("count", [6, 15])
@pytest.mark.parametrize("wins", [0.1, 0.3])
def test_a_difference_of_rates_is_held_though_few_exhibits_show_it(count, wins):
    """One system is right where the other is wrong on so many, the other way round on 2 %."""
    rng, names, held = np.random.default_rng(count), exhibits(count, 2), []
    for _ in range(SAMPLES):
        drawn = rng.random(len(names))
        values = np.where(drawn < wins, 1.0, np.where(drawn < wins + 0.02, -1.0, 0.0))
        low, high = PairedDifference(values, names, rates=True).interval()
        held.append(low <= wins - 0.02 <= high)
    assert np.mean(held) >= 0.93


def test_all_right_is_not_certain_and_the_more_exhibits_the_surer():
    bounds = [Clustered.of(np.ones(n), exhibits(n, 1)).interval(1) for n in (2, 6, 28)]
    assert [high for _, high in bounds] == [1, 1, 1]
    lows = [low for low, _ in bounds]
    assert lows == sorted(lows) and lows[0] < 0.05 and 0.85 < lows[2] < 0.9
    low, high = Clustered.of(np.zeros(28), exhibits(28, 1)).interval(1)
    assert (low, high) == (0, pytest.approx(1 - lows[2]))


def test_more_questions_about_as_many_exhibits_are_no_more_exhibits():
    few, many = (Clustered.of(np.ones(8 * n), exhibits(8, 1) * n) for n in (1, 5))
    assert few.interval(1) == many.interval(1)


def test_no_interval_of_a_score_reaches_below_0():
    one_slow_answer = Clustered.of(np.array([0.1, 0.1, 0.1, 0.1, 0.1, 10.0]), list("abcdef"))
    low, high = one_slow_answer.interval(None) or (-1, -1)
    assert low == 0 < one_slow_answer.mean < high


def test_one_exhibit_tells_nothing():
    assert Clustered.of(np.ones(3), ["a"] * 3).interval(1) is None
    assert np.isnan(Clustered.of(np.array([np.nan]), ["a"]).mean)


def test_two_equal_systems_are_not_certainly_equal():
    low, high = PairedDifference(np.zeros(28), exhibits(28, 1), rates=True).interval()
    assert 0.1 < high == -low < 0.2


@pytest.mark.parametrize("rates", [True, False])
def test_what_rounding_alone_makes_of_means_over_seeds_is_no_difference(rates):
    three = (np.full(8, 0.1) * 3) / 3 + np.array([0, 1, 1, 0, 1, 1, 0, 1]) * 2.0**-56
    paired = PairedDifference(three - 0.1, list("abcdefgh"), rates)
    assert paired.all.mean != 0 and paired.p_value() == 1


def test_a_p_value_is_the_level_whose_interval_reaches_0():
    rng = np.random.default_rng(5)
    for rates in (True, False):
        values = np.round(rng.random(40) - 0.35)
        paired = PairedDifference(values, exhibits(40, 1), rates)
        low, _ = paired.interval()
        assert (low > 0) == (paired.p_value() < 0.05)
    assert PairedDifference(np.ones(12), exhibits(12, 1), rates=True).p_value() < 0.01
    assert PairedDifference(np.zeros(12), exhibits(12, 1), rates=True).p_value() == 1


def test_holm_adjusts_each_by_how_many_are_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1] and holm([]) == []


def test_so_many_exhibits_as_are_needed_can_show_the_difference():
    needed = exhibits_needed(0.3, 0.1)
    assert detectable(0.3, needed) <= 0.1 < detectable(0.3, needed - 1)
    assert needed == pytest.approx((2.8 * 0.3 / 0.1) ** 2, rel=0.05)
    assert exhibits_needed(5, 0.01) is None


def test_an_interval_is_as_wide_as_theory_says_and_wider_where_answers_hang_together():
    rng = np.random.default_rng(2)
    low, high = Clustered.of(rng.normal(9, 1, 400), exhibits(400, 1)).interval(None)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.12)
    scores = np.repeat(rng.normal(0, 1, 30), 4)
    together, alone = (Clustered.of(scores, [f"e{i // n}" for i in range(120)]) for n in (4, 1))
    assert np.ptp(together.interval(None)) > 1.6 * np.ptp(alone.interval(None))


@pytest.mark.parametrize("count", [6, 10, 24])
def test_of_comparisons_without_a_difference_about_one_in_twenty_shows_one(count):
    rng, found = np.random.default_rng(count), []
    for _ in range(SAMPLES):
        paired = PairedDifference(rng.normal(0, 1, count), exhibits(count, 1), rates=False)
        low, high = paired.interval()
        found.append(low > 0 or high < 0)
    assert 0.02 < np.mean(found) < 0.08
