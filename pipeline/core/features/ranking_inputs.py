"""Candidates of one visitor, with the intermediate values that columns of the matrix share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.catalog import Item
from pipeline.core.decay import MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM, item_vector
from pipeline.core.items import (
    LONG_HALF_LIFE_MS,
    SHORT_HALF_LIFE_MS,
    ItemRow,
    ItemStats,
    RatePriors,
)
from pipeline.core.profile import UserProfile

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]
RECENT_SEEDS = 10
_LINK_HALF_LIFE_MS = 30 * MINUTE_MS


class RankingContext(msgspec.Struct, frozen=True):
    """Inputs of the matrix beyond the profile and the candidates.

    `seeds` holds the stats of the visitor's recent items (their neighbours link candidates to the
    visitor); `vectors` gives an item's unit vector `(dim,)`; `positions` are the shown positions
    `(n,)`, in training only; `priors` smooth the items' rates.
    """

    placement: str = "home"
    product_id: str | None = None
    seeds: Mapping[str, ItemStats] = {}
    vectors: Mapping[str, Vector] = {}
    positions: Sequence[int] | None = None
    priors: RatePriors = RatePriors()


class Candidates:
    """Intermediate values that columns share, each computed when first asked for.

    Args:
        profile, rows, context, now_ms: as for `feature_matrix`.
    """

    def __init__(
        self, profile: UserProfile, rows: Sequence[ItemRow], context: RankingContext, now_ms: int
    ) -> None:
        self.profile, self.rows, self.context, self.now_ms = profile, rows, context, now_ms
        self.items: list[Item] = [row.item for row in rows]
        self.ids = [item.item_id for item in self.items]

    def by_id(self, values: Mapping[str, float]) -> list[float]:
        """`(n,)`: the value under each candidate's id, 0 where there is none."""
        return [values.get(item_id, 0.0) for item_id in self.ids]

    def by_category(self, values: Mapping[str, float]) -> list[float]:
        """`(n,)`: the value under each candidate's category, 0 where there is none."""
        return [values.get(item.category, 0.0) for item in self.items]

    def by_brand(self, values: Mapping[str, float]) -> list[float]:
        """`(n,)`: the value under each candidate's brand, 0 where there is none."""
        return [values.get(item.brand, 0.0) for item in self.items]

    @cached_property
    def links(self) -> list[Link]:
        """The visitor's last items and what each links to."""
        return links(self.profile, self.context.seeds, self.now_ms)

    @cached_property
    def linked(self) -> tuple[dict[str, float], dict[str, float]]:
        """By linked item: the freshest link, and the sum of links weighted by rank."""
        freshest: dict[str, float] = {}
        summed: dict[str, float] = {}
        for item_id, age_ms, weight, strengths in self.links:
            fresh = 2.0 ** (-age_ms / _LINK_HALF_LIFE_MS)
            # an item links to itself: people come back
            for other, strength in (*strengths.items(), (item_id, 1.0)):
                freshest[other] = max(freshest.get(other, 0.0), strength * fresh)
                summed[other] = summed.get(other, 0.0) + weight * strength
        return freshest, summed

    @cached_property
    def own_vectors(self) -> NDArray[np.float64]:
        """`(n, DIM)`, of length 1: each candidate's item vector."""
        vectors = np.stack(
            [item_vector(item.item_id, item.category, item.brand) for item in self.items]
        )
        lengths: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        return vectors / lengths[:, None]

    @cached_property
    def prices(self) -> NDArray[np.float64]:
        """`(n,)`, 0: unknown."""
        return np.array([item.price for item in self.items], np.float64)

    def decayed(self, code: int) -> NDArray[np.float64]:
        """`(n,)`: events of one code, half-life 7 d."""
        states = [row.stats.counts.long for row in self.rows]
        return decayed(states, code, self.now_ms, LONG_HALF_LIFE_MS)

    def decayed_1h(self, code: int) -> NDArray[np.float64]:
        """`(n,)`: events of one code, half-life 1 h."""
        states = [row.stats.counts.short for row in self.rows]
        return decayed(states, code, self.now_ms, SHORT_HALF_LIFE_MS)

    def rate(
        self, success: int, trial: int, priors: list[tuple[float, float]]
    ) -> NDArray[np.float64]:
        """`(n,)`: successes per trial, smoothed by each candidate's prior (successes, trials)."""
        prior = np.array(priors, np.float64)  # (n, 2)
        successes, trials = self.decayed(success), self.decayed(trial)
        smoothed: NDArray[np.float64] = (successes + prior[:, 0]) / (
            np.maximum(trials, successes) + prior[:, 1]
        )
        return smoothed


def session_vector(
    profile: UserProfile, vectors: Mapping[str, Vector], now_ms: int
) -> Vector | None:
    """The unit vector `(dim,)` of the last items: their vectors weighted by 2^(-rank / 3)."""
    known = [
        (2.0 ** (-rank / 3), vectors[item_id])
        for rank, (item_id, _) in enumerate(profile.recent_items(now_ms, RECENT_SEEDS))
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


class Link(NamedTuple):
    """One recent item: its age in ms, its weight 2^(-rank / 3), and by linked item the strength in
    [0, 1].
    """

    item_id: str
    age_ms: int
    weight: float
    strengths: dict[str, float]


def links(profile: UserProfile, seeds: Mapping[str, ItemStats], now_ms: int) -> list[Link]:
    """The visitor's last 10 items and what each links to (strength 1 for its strongest neighbour),
    newest first.
    """
    found = []
    for rank, (item_id, time_ms) in enumerate(profile.recent_items(now_ms, RECENT_SEEDS)):
        seed = seeds.get(item_id)
        strengths = shares_of_strongest(seed.neighbour_weights.sums if seed is not None else {})
        found.append(Link(item_id, now_ms - time_ms, 2.0 ** (-rank / 3), strengths))
    return found


def context_vector(
    profile: UserProfile, seeds: Mapping[str, ItemStats], now_ms: int
) -> NDArray[np.float64] | None:
    """The unit vector `(CONTEXT_DIM,)` of the items seen with the visitor's last ones, weighted by
    2^(-rank / 3).
    """
    total = np.zeros(CONTEXT_DIM)
    for rank, (item_id, _) in enumerate(profile.recent_items(now_ms, RECENT_SEEDS)):
        seed = seeds.get(item_id)
        direction = seed.context.direction() if seed is not None else None
        if direction is not None:
            total += 2.0 ** (-rank / 3) * direction
    norm = float(np.sqrt(total @ total))
    return total / norm if norm > 0 else None


def decayed(
    states: Sequence[Any], code: int, now_ms: int, half_life_ms: int
) -> NDArray[np.float64]:
    """Decayed sums `(n,)` under `code` at `now_ms`."""
    sums = np.array([state.sums.get(code, 0.0) for state in states], np.float64)
    landmarks = np.array([state.landmark for state in states], np.float64)
    half_lives = (landmarks * half_life_ms - now_ms) / half_life_ms
    return np.asarray(sums * np.exp2(np.clip(half_lives, -1000.0, 1.0)))


def shares_of_strongest(weights: Mapping[str, float]) -> dict[str, float]:
    """Each weight as a share of the greatest, in [0, 1]; empty where none is above 0."""
    strongest = max(weights.values(), default=0.0)
    if strongest <= 0:
        return {}
    return {other: max(weight / strongest, 0.0) for other, weight in weights.items()}
