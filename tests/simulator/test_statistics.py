"""Intervals keep their promise: about 95 in 100 of them hold the truth, also where shoppers
differ."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from tests.simulator.statistics import Z95, Ratio, click_through, lift, percentiles

Counts = npt.NDArray[np.int64]


def draw(rng: np.random.Generator, shoppers: int, rate: float) -> tuple[Counts, Counts]:
    """Clicks and impressions of shoppers who differ much in both rate and number of impressions."""
    impressions = 8 * (1 + rng.geometric(0.2, shoppers))
    rates = np.minimum(1.0, rate * rng.gamma(0.7, 1 / 0.7, shoppers))
    return rng.binomial(impressions, rates), impressions


def test_the_ratio_is_all_clicks_over_all_impressions() -> None:
    ratio = click_through([1, 0, 3], [10, 20, 30])
    assert ratio.value == pytest.approx(4 / 60)
    assert (ratio.shoppers, ratio.clicks, ratio.impressions) == (3, 4, 60)


def test_with_one_impression_each_the_variance_is_the_binomial_one() -> None:
    clicks = [1] * 30 + [0] * 70
    ratio = click_through(clicks, [1] * 100)
    assert ratio.variance == pytest.approx(0.3 * 0.7 / 99)


def test_the_click_through_interval_covers_19_times_in_20_and_the_binomial_does_not() -> None:
    rng = np.random.default_rng(1)
    clustered = binomial = 0
    for _ in range(1_000):
        ratio = click_through(*(values.tolist() for values in draw(rng, 300, 0.05)))
        low, high = ratio.interval
        clustered += low <= 0.05 <= high
        half = Z95 * math.sqrt(ratio.value * (1 - ratio.value) / ratio.impressions)
        binomial += abs(ratio.value - 0.05) <= half
    assert 930 <= clustered <= 970
    assert binomial < 850


def test_the_lift_interval_covers_the_true_lift_19_times_in_20() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(1_000):
        arms = [click_through(*(v.tolist() for v in draw(rng, 200, rate))) for rate in (0.06, 0.04)]
        found = lift(*arms)
        assert found is not None
        covered += found.low <= 0.5 <= found.high
    assert 930 <= covered <= 970


def test_the_lift_is_unknown_while_an_arm_has_no_click() -> None:
    some, none = click_through([1, 2], [10, 10]), click_through([0, 0], [10, 10])
    assert lift(some, none) is None and lift(none, some) is None


def test_a_single_shopper_tells_nothing_of_the_spread() -> None:
    one = click_through([1], [10])
    assert one.variance == math.inf
    found = lift(one, click_through([1, 1], [10, 12]))
    assert found is not None and (found.low, found.high) == (-1.0, math.inf)


def test_no_impressions_and_unequal_lengths_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="impressions: expected at least one"):
        click_through([0], [0])
    with pytest.raises(ValueError, match="impressions: expected 2 shoppers, got 1"):
        click_through([0, 0], [1])


def test_a_ratio_knows_its_interval() -> None:
    assert Ratio(0.5, 0.01, 9, 1, 2).interval == pytest.approx((0.304, 0.696), abs=1e-3)


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}
    assert percentiles([1.0, 2.0, 3.0], points=(50,)) == {"p50": 2.0}
