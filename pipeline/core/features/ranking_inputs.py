"""Candidates of one visitor, with the intermediate values that columns of the matrix share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows, TextColumn
from pipeline.core.context import Context
from pipeline.core.decay import MINUTE_MS
from pipeline.core.features.moment import Moment, Numbers
from pipeline.core.rate_priors import RatePrior, RatePriors

Matrix = NDArray[np.float32]
_LINK_HALF_LIFE_MS = 30 * MINUTE_MS


class RankingContext(msgspec.Struct, frozen=True):
    """Inputs of the matrix beyond the visitor's moment and the candidates.

    `positions` are the shown positions `(n,)`, in training only; `priors` smooth the items' rates;
    `request` are the circumstances.
    """

    placement: str = "home"
    product_id: str | None = None
    positions: Sequence[int] | None = None
    priors: RatePriors = RatePriors()
    request: Context = Context()


class Candidates:
    """Intermediate values that columns share, each computed when first asked for.

    Args:
        moment, rows, context: as for `feature_matrix`.
    """

    def __init__(self, moment: Moment, rows: Rows, context: RankingContext) -> None:
        self.moment, self.rows, self.context = moment, rows, context
        self.profile, self.items, self.now_ms = moment.profile, moment.items, moment.now_ms

    def by_id(self, values: Mapping[str, float]) -> Numbers:
        """`(n,)`: the value under each candidate's id, 0 where there is none."""
        found = [(self.items.row(item_id), value) for item_id, value in values.items()]
        return self.strongest(
            np.array([row for row, _ in found], np.int32),
            np.array([value for _, value in found], np.float64),
        )

    def strongest(self, rows: Rows, values: Numbers) -> Numbers:
        """`(n,)`: the greatest of the values `(m,)`, at least 0, that stand at each candidate's
        row.
        """
        places, is_candidate = self._places(rows)
        own, place_of = self._own
        found = np.zeros(len(own))
        np.maximum.at(found, places, values[is_candidate])
        return found[place_of]

    def summed(self, rows: Rows, values: Numbers) -> Numbers:
        """`(n,)`: the sum of the values `(m,)` that stand at each candidate's row."""
        places, is_candidate = self._places(rows)
        own, place_of = self._own
        sums: Numbers = np.bincount(places, values[is_candidate], len(own)).astype(np.float64)
        return sums[place_of]

    def by_category(self, shares: Mapping[str, float]) -> Numbers:
        """`(n,)`: the share under each candidate's category, 0 where there is none."""
        return _by_text(self.items.category, self.rows, shares)

    def by_brand(self, shares: Mapping[str, float]) -> Numbers:
        """`(n,)`: the share under each candidate's brand, 0 where there is none."""
        return _by_text(self.items.brand, self.rows, shares)

    @cached_property
    def recency(self) -> Numbers:
        """`(n,)`: the freshest link."""
        fresh = [
            link.strengths * 2.0 ** (-link.age_ms / _LINK_HALF_LIFE_MS)
            for link in self.moment.links
        ]
        return self.strongest(_joined([link.rows for link in self.moment.links]), _joined(fresh))

    @cached_property
    def linked(self) -> Numbers:
        """`(n,)`: the sum of links, weighted by rank."""
        links = self.moment.links
        weighted = [link.strengths * link.weight for link in links]
        return self.summed(_joined([link.rows for link in links]), _joined(weighted))

    @cached_property
    def prices(self) -> Numbers:
        """`(n,)`, 0: unknown."""
        return np.nan_to_num(self.items.price.get(self.rows), nan=0.0)

    @cached_property
    def categories(self) -> NDArray[np.int32]:
        """`(n,)`: codes."""
        return self.items.category.get(self.rows)

    def decayed(self, code: int) -> Numbers:
        """`(n,)`: events of one code, half-life 7 d."""
        return self.items.counts.get(self.rows, code, self.now_ms)

    def rate(self, success: int, trial: int, prior: RatePrior) -> Numbers:
        """`(n,)`: successes per trial, smoothed by the prior of each candidate's category."""
        priors = prior.of(self.categories)  # (n, 2)
        successes, trials = self.decayed(success), self.decayed(trial)
        smoothed: Numbers = (successes + priors[:, 0]) / (
            np.maximum(trials, successes) + priors[:, 1]
        )
        return smoothed

    def _places(self, rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """For rows `(m,)`: which are candidates `(m,)`, and the places of those in `_own`."""
        own, _ = self._own
        places = np.minimum(np.searchsorted(own, rows), len(own) - 1)
        is_candidate = own[places] == rows
        return places[is_candidate], is_candidate

    @cached_property
    def _own(self) -> tuple[Rows, NDArray[np.intp]]:
        """The candidates' rows, each once and ascending, and the place of each candidate there."""
        return np.unique(self.rows, return_inverse=True)


def _by_text(column: TextColumn, rows: Rows, shares: Mapping[str, float]) -> Numbers:
    """`(n,)`: the share under each row's text, 0 where there is none."""
    codes = np.array([column.dictionary.find(text) for text in shares], np.int32)
    values = np.fromiter(shares.values(), np.float64)
    return np.asarray((column.get(rows)[:, None] == codes) @ values)  # (n, k) @ (k,)


def _joined(parts: Iterable[NDArray[np.generic]]) -> NDArray:  # type: ignore[type-arg]
    """The arrays, one after the other."""
    parts = list(parts)
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)
