"""Candidates of one visitor, with the intermediate values that columns of the matrix share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Rows, TextColumn
from pipeline.core.decay import MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.profile import UserProfile
from pipeline.core.rate_priors import RatePrior, RatePriors

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]
Numbers = NDArray[np.float64]
RECENT_SEEDS = 10
_LINK_HALF_LIFE_MS = 30 * MINUTE_MS


class RankingContext(msgspec.Struct, frozen=True):
    """Inputs of the matrix beyond the profile and the candidates.

    `seeds` holds the visitor's recent items (their neighbours link candidates to the visitor);
    `positions` are the shown positions `(n,)`, in training only; `priors` smooth the items' rates.
    """

    placement: str = "home"
    product_id: str | None = None
    seeds: Mapping[str, Seed] = {}
    positions: Sequence[int] | None = None
    priors: RatePriors = RatePriors()


class Candidates:
    """Intermediate values that columns share, each computed when first asked for.

    Args:
        profile, items, rows, context, now_ms: as for `feature_matrix`.
    """

    def __init__(
        self,
        profile: UserProfile,
        items: ItemColumns,
        rows: Rows,
        context: RankingContext,
        now_ms: int,
    ) -> None:
        self.profile, self.items, self.rows = profile, items, rows
        self.context, self.now_ms = context, now_ms

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
    def links(self) -> list[Link]:
        """The visitor's last items and what each links to."""
        return links(self.profile, self.context.seeds, self.items, self.now_ms)

    @cached_property
    def recency(self) -> Numbers:
        """`(n,)`: the freshest link."""
        fresh = [link.strengths * 2.0 ** (-link.age_ms / _LINK_HALF_LIFE_MS) for link in self.links]
        return self.strongest(_joined([link.rows for link in self.links]), _joined(fresh))

    @cached_property
    def linked(self) -> Numbers:
        """`(n,)`: the sum of links, weighted by rank."""
        weighted = [link.strengths * link.weight for link in self.links]
        return self.summed(_joined([link.rows for link in self.links]), _joined(weighted))

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


class Link(NamedTuple):
    """One recent item: its age in ms, its weight 2^(-rank / 3), and the strengths `(k,)` in [0, 1]
    by which it leads to the items of `rows` `(k,)`, among them itself, for people come back.
    """

    age_ms: int
    weight: float
    rows: Rows
    strengths: Numbers


def links(
    profile: UserProfile, seeds: Mapping[str, Seed], items: ItemColumns, now_ms: int
) -> list[Link]:
    """The visitor's last 10 items and what each links to (strength 1 for its strongest neighbour),
    newest first.
    """
    found = []
    for rank, (item_id, time_ms) in enumerate(profile.recent_items(now_ms, RECENT_SEEDS)):
        rows, strengths = np.array([items.row(item_id)], np.int32), np.ones(1)
        seed = seeds.get(item_id)
        if seed is not None:
            others, shares = seed.touched.known(items)
            rows, strengths = np.append(rows, others), np.append(strengths, shares)
        found.append(Link(now_ms - time_ms, 2.0 ** (-rank / 3), rows, strengths))
    return found


def session_vector(profile: UserProfile, items: ItemColumns, now_ms: int) -> Vector | None:
    """The unit vector `(dim,)` of the last items: their trained vectors weighted by 2^(-rank /
    3).
    """
    vectors = items.vectors
    recent = enumerate(profile.recent_items(now_ms, RECENT_SEEDS))
    known = [
        (2.0 ** (-rank / 3), vectors[item_id])
        for rank, (item_id, _) in recent
        if item_id in vectors
    ]
    if not known:
        return None
    total: Vector = np.sum([weight * vector for weight, vector in known], axis=0)
    norm = float(np.linalg.norm(total))
    if norm == 0:
        return None
    unit: Vector = (total / norm).astype(np.float32)
    return unit


def context_vector(profile: UserProfile, seeds: Mapping[str, Seed], now_ms: int) -> Numbers | None:
    """The unit vector `(CONTEXT_DIM,)` of the items seen with the visitor's last ones, weighted by
    2^(-rank / 3).
    """
    total = np.zeros(CONTEXT_DIM)
    for rank, (item_id, _) in enumerate(profile.recent_items(now_ms, RECENT_SEEDS)):
        seed = seeds.get(item_id)
        if seed is not None and seed.context is not None:
            total += 2.0 ** (-rank / 3) * seed.context
    norm = float(np.sqrt(total @ total))
    return total / norm if norm > 0 else None


def _by_text(column: TextColumn, rows: Rows, shares: Mapping[str, float]) -> Numbers:
    """`(n,)`: the share under each row's text, 0 where there is none."""
    codes = np.array([column.dictionary.find(text) for text in shares], np.int32)
    values = np.fromiter(shares.values(), np.float64)
    return np.asarray((column.get(rows)[:, None] == codes) @ values)  # (n, k) @ (k,)


def _joined(parts: Iterable[NDArray[np.generic]]) -> NDArray:  # type: ignore[type-arg]
    """The arrays, one after the other."""
    parts = list(parts)
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)
