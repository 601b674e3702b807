"""Candidates of one visitor, with the intermediate values that columns of the matrix share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        return self._strongest(places, values[is_candidate])

    def by_category(self, shares: Mapping[str, float]) -> Numbers:
        """`(n,)`: the share under each candidate's category, 0 where there is none."""
        return _by_text(self.items.category, self.rows, shares)

    def by_brand(self, shares: Mapping[str, float]) -> Numbers:
        """`(n,)`: the share under each candidate's brand, 0 where there is none."""
        return _by_text(self.items.brand, self.rows, shares)

    @property
    def recency(self) -> Numbers:
        """`(n,)`: the freshest link."""
        links = self.moment.links
        fresh = np.repeat(2.0 ** (-links.ages_ms / _LINK_HALF_LIFE_MS), links.counts)
        places, is_candidate = self._links
        return self._strongest(places, (links.strengths * fresh)[is_candidate])

    @property
    def linked(self) -> Numbers:
        """`(n,)`: the sum of links, weighted by rank."""
        places, is_candidate = self._links
        own, place_of = self._own
        sums = np.bincount(places, self.moment.links.weighted[is_candidate], len(own))
        return np.asarray(sums[place_of])

    @property
    def linked_to_last(self) -> Numbers:
        """`(n,)`: the link with the visitor's last item."""
        links = self.moment.links
        of_last = int(links.counts[0]) if len(links.counts) else 0
        places, is_candidate = self._links
        first = is_candidate[:of_last]
        return self._strongest(places[: int(first.sum())], links.strengths[:of_last][first])

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
        counts: Numbers = self._counts[code]
        return counts

    def rate(self, success: int, trial: int, prior: RatePrior) -> Numbers:
        """`(n,)`: successes per trial, smoothed by the prior of each candidate's category."""
        priors = prior.of(self.categories)  # (n, 2)
        successes, trials = self.decayed(success), self.decayed(trial)
        smoothed: Numbers = (successes + priors[:, 0]) / (
            np.maximum(trials, successes) + priors[:, 1]
        )
        return smoothed

    @cached_property
    def _counts(self) -> Numbers:
        """`(codes, n)`: events of each code, half-life 7 d."""
        return self.items.counts.all_of(self.rows, self.now_ms)

    def _strongest(self, places: NDArray[np.intp], values: Numbers) -> Numbers:
        own, place_of = self._own
        found = np.zeros(len(own))
        np.maximum.at(found, places, values)
        return found[place_of]

    @cached_property
    def _links(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """`_places` of the links."""
        return self._places(self.moment.links.rows)

    def _places(self, rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """For rows `(m,)`: which are candidates `(m,)`, and the places of those in `_own`."""
        own, _ = self._own
        places = np.minimum(np.searchsorted(own, rows), len(own) - 1)
        is_candidate = own[places] == rows
        return places[is_candidate], is_candidate

    @cached_property
    def _own(self) -> tuple[Rows, NDArray[np.intp]]:
        """The candidates' rows, each once and ascending, and the place of each candidate there."""
        if (self.rows[1:] > self.rows[:-1]).all():
            return self.rows, np.arange(len(self.rows))
        return np.unique(self.rows, return_inverse=True)


def _by_text(column: TextColumn, rows: Rows, shares: Mapping[str, float]) -> Numbers:
    """`(n,)`: the share under each row's text, 0 where there is none."""
    codes = np.array([column.dictionary.find(text) for text in shares], np.int32)
    values = np.fromiter(shares.values(), np.float64)
    return np.asarray((column.get(rows)[:, None] == codes) @ values)  # (n, k) @ (k,)
