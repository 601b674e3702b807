"""Priors of rates: recovered from simulated items, a default where little is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.catalog import Item
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import (
    CLICK,
    CONVERSION_PRIOR,
    CTR_PRIOR,
    IMPRESSION,
    ItemRow,
    ItemStats,
)
from pipeline.core.rate_priors import RatePriors, beta_prior, beta_priors, fitted_priors
from tests.pipeline.core.streams import START_MS


def beta_binomial(
    mean: float, strength: float, items: int, trials: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Successes and trials of items whose rates are drawn from a Beta distribution."""
    random = np.random.default_rng(seed)
    tried = random.poisson(trials, items)
    rates = random.beta(mean * strength, (1 - mean) * strength, items)
    return random.binomial(tried, rates).astype(np.float64), tried.astype(np.float64)


@pytest.mark.parametrize(("mean", "strength"), [(0.05, 40.0), (0.3, 20.0), (0.02, 100.0)])
def test_the_prior_of_simulated_items_is_recovered(mean: float, strength: float) -> None:
    found = [
        beta_prior(*beta_binomial(mean, strength, 2_000, 200, seed), CTR_PRIOR) for seed in range(5)
    ]
    means = [successes / trials for successes, trials in found]
    assert np.mean(means) == pytest.approx(mean, rel=0.05)
    assert np.median([trials for _, trials in found]) == pytest.approx(strength, rel=0.3)


def test_items_that_differ_by_chance_have_the_strongest_prior_and_others_the_weakest() -> None:
    random = np.random.default_rng(1)
    alike = random.binomial(200, 0.1, 400).astype(np.float64)
    assert beta_prior(alike, np.full(400, 200.0), CTR_PRIOR)[1] > 300
    apart = np.array([0.0, 200.0] * 200)
    assert beta_prior(apart, np.full(400, 200.0), CTR_PRIOR) == pytest.approx((2.5, 5.0))


@pytest.mark.parametrize(
    ("successes", "trials"),
    [([], []), ([0] * 9, [0] * 9), ([1, 2, 3, 4], [10, 10, 10, 10]), ([0.1] * 9, [0.2] * 9)],
    ids=["no items", "no trials", "four items", "long ago"],
)
def test_with_fewer_than_five_tried_items_the_default_holds(
    successes: list[float], trials: list[float]
) -> None:
    assert beta_prior(
        np.array(successes, np.float64), np.array(trials, np.float64), (7.0, 70.0)
    ) == (7.0, 70.0)


@pytest.mark.parametrize(
    ("successes", "trials"),
    [
        ([0.0] * 9, [1e9] * 9),
        ([1e9] * 9, [1e9] * 9),
        ([1e9] * 9, [0.0] * 9),
        ([0.0, 1e9] * 9, [1e9] * 18),
        ([1.0] * 9, [1.0, 1e12] * 4 + [1.0]),
        ([0.3] * 9, [0.6] * 9),
    ],
    ids=["none", "all", "without trials", "none or all", "one giant", "less than one"],
)
def test_extreme_counts_give_a_prior_whose_mean_is_a_rate(
    successes: list[float], trials: list[float]
) -> None:
    found = beta_prior(np.array(successes, np.float64), np.array(trials, np.float64), CTR_PRIOR)
    assert 0 <= found[0] <= found[1] and 5 <= found[1] <= 500 and np.isfinite(found).all()


def counted(category: str, item_id: str, clicks: int, impressions: int) -> ItemRow:
    stats = ItemStats()
    for code, count in ((CLICK, clicks), (IMPRESSION, impressions)):
        for _ in range(count):
            stats.counts.add(code, START_MS)
    return ItemRow(Item(item_id, category=category), stats)


def priors_of(rows: list[ItemRow], *categories: str) -> list[tuple[float, float]]:
    """The fitted priors of click-through of these categories, whatever items they have."""
    items = ItemColumns.of(rows)
    codes = np.array([items.category.dictionary.code(name) for name in categories], np.int32)
    return [(float(s), float(n)) for s, n in fitted_priors(items).ctr.of(codes)]


def test_an_empty_shop_has_the_default_priors() -> None:
    for rows in ([], [counted("shoes", "p", 0, 0)]):
        assert priors_of(rows, "shoes", "unknown") == [CTR_PRIOR, CTR_PRIOR]
    assert RatePriors().ctr.of(np.array([0, 7], np.int32)).tolist() == [list(CTR_PRIOR)] * 2
    assert RatePriors().conversion.of(np.array([3], np.int32)).tolist() == [list(CONVERSION_PRIOR)]


def test_each_category_has_its_own_prior_and_a_small_one_that_of_all() -> None:
    rows = [counted("hot", f"h{n}", 20 + n, 50) for n in range(8)]
    rows += [counted("cold", f"c{n}", 1 + n % 2, 50) for n in range(8)]
    rows += [counted("small", f"s{n}", 50, 50) for n in range(3)]
    hot, cold, small, unknown = priors_of(rows, "hot", "cold", "small", "unknown")

    assert cold[0] / cold[1] < 0.05 < 0.3 < hot[0] / hot[1]
    assert small == unknown == fitted_priors(ItemColumns.of(rows)).ctr.of_all
    assert cold[0] / cold[1] < small[0] / small[1] < 1
    conversion = fitted_priors(ItemColumns.of(rows)).conversion
    assert conversion.of(np.array([1], np.int32)).tolist() == [list(CONVERSION_PRIOR)]


def test_a_category_that_comes_after_the_fit_has_the_prior_of_all() -> None:
    items = ItemColumns.of([counted("hot", f"h{n}", 20 + n, 50) for n in range(8)])
    prior = fitted_priors(items).ctr
    items.put(counted("late", "p", 0, 0))
    late = items.category.get(items.rows(["p"]))
    assert prior.of(late).tolist() == [list(prior.of_all)]


def test_one_group_is_fitted_as_if_it_were_alone() -> None:
    parts = [beta_binomial(0.1 * (1 + seed), 30.0, 50 * seed, 90, seed) for seed in range(4)]
    groups = np.repeat(np.arange(4, dtype=np.int32), [len(trials) for _, trials in parts])
    successes, trials = (np.concatenate(column) for column in zip(*parts, strict=True))
    together = beta_priors(successes, trials, groups, 4, CTR_PRIOR)
    assert together == pytest.approx(np.array([beta_prior(*part, CTR_PRIOR) for part in parts]))
