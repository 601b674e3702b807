"""Priors of items' rates: what an item's click-through and conversion are before it has data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import (
    CLICK,
    CONVERSION_PRIOR,
    CTR_PRIOR,
    IMPRESSION,
    PURCHASE,
    VIEW,
)

Numbers = NDArray[np.float64]

# Below this many items with trials, the spread between items cannot be distinguished from chance.
_ENOUGH_ITEMS = 5
_STRENGTHS = (5.0, 500.0)
_NO_CATEGORIES = np.zeros((0, 2))


class RatePrior(NamedTuple):
    """The Beta prior (successes, trials) of one rate: of all items, and `(k, 2)` by the code of a
    category; one that came later takes that of all.
    """

    of_all: tuple[float, float]
    by_category: Numbers = _NO_CATEGORIES

    def of(self, categories: NDArray[np.int32]) -> Numbers:
        """The priors of items with these category codes `(n,)`: `(n, 2)`."""
        known = len(self.by_category)
        if known == 0:
            return np.tile(self.of_all, (len(categories), 1))
        found = self.by_category[np.minimum(categories, known - 1)]
        return np.where((categories < known)[:, None], found, self.of_all)


class RatePriors(NamedTuple):
    """The priors of both rates."""

    ctr: RatePrior = RatePrior(CTR_PRIOR)
    conversion: RatePrior = RatePrior(CONVERSION_PRIOR)


def fitted_priors(items: ItemColumns, rows: Rows | None = None) -> RatePriors:
    """Empirical-Bayes priors from these rows, or all, read at the time of their newest event.

    Not at the wall clock's: silence says nothing about rates, and a replayed past fits what it
    fitted then. Serving and training both call this. Each category's prior is a Beta distribution
    fitted by moments to its items' decayed counts; a category with fewer than five shown items
    takes the prior of all items, and that, in an empty shop, `CTR_PRIOR` and `CONVERSION_PRIOR`.
    """
    if rows is None:
        rows = items.all_rows()
    newest_ms = int(items.newest_ms[rows].max(initial=0))
    categories = items.category.get(rows)
    n_categories = len(items.category.dictionary)

    def fitted(success: int, trial: int, default: tuple[float, float]) -> RatePrior:
        successes = items.counts.get(rows, success, newest_ms)
        trials = items.counts.get(rows, trial, newest_ms)
        of_all = beta_prior(successes, trials, default)
        return RatePrior(of_all, beta_priors(successes, trials, categories, n_categories, of_all))

    return RatePriors(
        fitted(CLICK, IMPRESSION, CTR_PRIOR), fitted(PURCHASE, VIEW, CONVERSION_PRIOR)
    )


def beta_prior(
    successes: Numbers, trials: Numbers, default: tuple[float, float]
) -> tuple[float, float]:
    """`beta_priors` of one group that holds all."""
    one_group = np.zeros(len(trials), np.int32)
    prior = beta_priors(successes, trials, one_group, 1, default)[0]
    return float(prior[0]), float(prior[1])


def beta_priors(
    successes: Numbers,
    trials: Numbers,
    groups: NDArray[np.int32],
    n_groups: int,
    default: tuple[float, float],
) -> Numbers:
    """The Beta prior (successes, trials) of each group's rates, by the method of moments.

    With m = sum s / sum n and the trial-weighted variance v of the rates, v = m (1 - m) (1/k + mean
    binomial share), after Kleinman, "Proportions with extraneous variance" (JASA 1973); k, the
    strength in trials, is held within 5 and 500.

    Args:
        successes, trials: `(n,)`, at least 0; a success without its trial counts as one.
        groups: `(n,)`, below `n_groups`.
        default: what holds where fewer than five of a group have trials.

    Returns:
        `(n_groups, 2)`.
    """
    trials = np.maximum(trials, successes)
    tried = trials > 0.5
    s, n, group = successes[tried], trials[tried], groups[tried]

    def summed(values: Numbers) -> Numbers:
        return np.bincount(group, values, n_groups).astype(np.float64)

    items, total = np.bincount(group, minlength=n_groups), summed(n)
    with np.errstate(divide="ignore", invalid="ignore"):  # groups of which nothing is known
        mean = summed(s) / total
        chance = mean * (1 - mean)
        surplus = summed(n * (s / n - mean[group]) ** 2) - chance * (items - 1)
        room = total - summed(n * n) / total
        # the intra-class correlation 1 / (k + 1)
        between = np.where(room > 0, surplus / (room * chance), 0.0)
        strength = np.where(between > 0, 1.0 / between - 1.0, _STRENGTHS[1])
    fitted = np.column_stack([mean, np.ones(n_groups)]) * np.clip(strength, *_STRENGTHS)[:, None]
    one_sided = (default[0] / default[1] * _STRENGTHS[0], _STRENGTHS[0])
    is_mixed = (mean > 0) & (mean < 1)
    enough = items >= _ENOUGH_ITEMS
    return np.where(enough[:, None], np.where(is_mixed[:, None], fitted, one_sided), default)
