"""The one feature matrix: what training logs is what serving ranks, because both call this
function.

A column is one row of `RANKING_FEATURES`, with its meaning and its computation; nothing about it
stands anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.core.catalog import Item, department
from pipeline.core.decay import DAY_MS, MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM, item_vector
from pipeline.core.items import (
    CART,
    CLICK,
    IMPRESSION,
    LONG_HALF_LIFE_MS,
    PURCHASE,
    SHORT_HALF_LIFE_MS,
    TRENDING_HALF_LIFE_MS,
    VIEW,
    ItemRow,
    ItemStats,
    RatePriors,
)
from pipeline.core.profile import UserProfile, item_hash
from pipeline.core.taste import LONG, SHORT
from pipeline.core.visitor_features import churn_risk, conversion_likelihood

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]

RECENT_SEEDS = 10
_LINK_HALF_LIFE_MS = 30 * MINUTE_MS
_SEEN_HALF_LIFE_MS = DAY_MS
PRIOR_BIAS = -3.0


class Context(msgspec.Struct, frozen=True):
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


class RankingFeature(NamedTuple):
    """One column of the matrix.

    `column` computes it for all candidates: `(n,)` numbers, or one for all of them. `prior` is its
    weight in the logistic model set by hand, used before there is data and whenever the trained
    model cannot answer.
    """

    name: str
    meaning: str
    formula: str
    unit: str
    range: str
    default: float
    column: Callable[[Candidates], ArrayLike]
    prior: float = 0.0


class Candidates:
    """Intermediate values that columns share, each computed when first asked for.

    Args:
        profile, rows, context, now_ms: as for `feature_matrix`.
    """

    def __init__(
        self, profile: UserProfile, rows: Sequence[ItemRow], context: Context, now_ms: int
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
        return _decayed(
            [row.stats.counts.long for row in self.rows], code, self.now_ms, LONG_HALF_LIFE_MS
        )

    def decayed_1h(self, code: int) -> NDArray[np.float64]:
        """`(n,)`: events of one code, half-life 1 h."""
        return _decayed(
            [row.stats.counts.short for row in self.rows], code, self.now_ms, SHORT_HALF_LIFE_MS
        )

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


def feature_matrix(
    profile: UserProfile, rows: Sequence[ItemRow], context: Context, now_ms: int
) -> Matrix:
    """The features of each candidate for this visitor at `now_ms`.

    Args:
        profile: the visitor's state; an empty one for an unknown visitor.
        rows: the candidates, `n` of them.
        context: page, seeds, vectors.
        now_ms: the time of reading, ms since the Unix epoch.

    Returns:
        `(n, d)` float32 in the order of `FEATURE_NAMES`; finite.
    """
    matrix = np.zeros((len(rows), len(RANKING_FEATURES)), np.float32)
    if len(rows) == 0:
        return matrix
    candidates = Candidates(profile, rows, context, now_ms)
    for column, feature in enumerate(RANKING_FEATURES):
        matrix[:, column] = feature.column(candidates)
    return matrix


def session_vector(
    profile: UserProfile, vectors: Mapping[str, Vector], now_ms: int
) -> Vector | None:
    """The unit vector `(dim,)` of what the visitor touched last: item vectors weighted by 2^(-rank
    / 3).
    """
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
        strengths = _shares_of_strongest(seed.neighbour_weights.sums if seed is not None else {})
        found.append(Link(item_id, now_ms - time_ms, 2.0 ** (-rank / 3), strengths))
    return found


def prior_ctr(matrix: Matrix) -> NDArray[np.float32]:
    """The prior's probability of a click, `(n, d)` -> `(n,)` in (0, 1): logistic(bias + weights .

    features).
    """
    # float32 tells these from 0 and 1
    scores = np.clip(matrix @ _PRIOR_VECTOR + PRIOR_BIAS, -15.0, 15.0)
    probabilities: Vector = (1.0 / (1.0 + np.exp(-scores))).astype(np.float32)
    return probabilities


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


def _decayed(
    states: Sequence[Any], code: int, now_ms: int, half_life_ms: int
) -> NDArray[np.float64]:
    """Decayed sums `(n,)` under `code` at `now_ms`."""
    sums = np.array([state.sums.get(code, 0.0) for state in states], np.float64)
    landmarks = np.array([state.landmark for state in states], np.float64)
    return np.asarray(
        sums * np.exp2(np.clip((landmarks * half_life_ms - now_ms) / half_life_ms, -1000.0, 1.0))
    )


def _category_match(c: Candidates) -> list[float]:
    category = c.profile.last_category
    last_department = department(category)

    def match(item: Item) -> float:
        if not category or not item.category:
            return 0.0
        return (
            1.0
            if item.category == category
            else 0.5 * (department(item.category) == last_department)
        )

    return [match(item) for item in c.items]


def _seen(c: Candidates) -> list[float]:
    recent = c.profile.recent_items(c.now_ms)
    return c.by_id(
        {
            item_id: 2.0 ** (-(c.now_ms - time_ms) / _SEEN_HALF_LIFE_MS)
            for item_id, time_ms in recent
        }
    )


def _covisit_last(c: Candidates) -> list[float]:
    return c.by_id({**c.links[0].strengths, c.links[0].item_id: 1.0} if c.links else {})


def _bought_together(c: Candidates) -> list[float]:
    """With what lies in the cart and with the last item: the strongest share of either."""
    strongest: dict[str, float] = {}
    last = c.profile.last_item
    for item_id in {*c.profile.in_cart(), *([last] if last else [])}:
        seed = c.context.seeds.get(item_id)
        for other, share in _shares_of_strongest(
            seed.bought_weights.sums if seed is not None else {}
        ).items():
            strongest[other] = max(share, strongest.get(other, 0.0))
    return c.by_id(strongest)


def _shown_before(c: Candidates) -> ArrayLike:
    shown = c.profile.shown(c.now_ms)
    return np.log1p([shown.get(item_hash(item_id), 0.0) for item_id in c.ids]) if shown else 0.0


def _price_gap(c: Candidates) -> ArrayLike:
    usual = c.profile.taste.log_price()
    if usual is None:
        return 0.0
    return np.where(c.prices > 0, np.abs(np.log(np.maximum(c.prices, 1e-9)) - usual), 0.0)


def _similarity(c: Candidates) -> ArrayLike:
    taste = session_vector(c.profile, c.context.vectors, c.now_ms)
    if taste is None:
        return 0.0
    zero = np.zeros_like(taste)
    # (n, dim) @ (dim,)
    return np.stack([c.context.vectors.get(item_id, zero) for item_id in c.ids]) @ taste


def _embedding_similarity(c: Candidates, term: int) -> ArrayLike:
    taste = c.profile.taste.embedding(term)
    if taste is None:
        return 0.0
    similarity: NDArray[np.float64] = c.own_vectors @ taste  # (n, dim) @ (dim,)
    return similarity


def _context_similarity(c: Candidates) -> ArrayLike:
    visitor = context_vector(c.profile, c.context.seeds, c.now_ms)
    if visitor is None:
        return 0.0
    stored = b"".join(row.stats.context.values or _NO_CONTEXT for row in c.rows)
    vectors = np.frombuffer(stored).reshape(len(c.rows), CONTEXT_DIM)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return (vectors @ visitor) / np.where(lengths > 0, lengths, 1.0)


_NO_CONTEXT = bytes(8 * CONTEXT_DIM)


def _trending(c: Candidates) -> ArrayLike:
    return np.log1p(
        _decayed([row.stats.popularity for row in c.rows], 0, c.now_ms, TRENDING_HALF_LIFE_MS)
    )


def _idle_minutes(c: Candidates) -> float:
    return float(np.log1p(min(max(c.now_ms - c.profile.newest_ms, 0), 30 * DAY_MS) / MINUTE_MS))


def _shares_of_strongest(weights: Mapping[str, float]) -> dict[str, float]:
    strongest = max(weights.values(), default=0.0)
    return (
        {other: max(weight / strongest, 0.0) for other, weight in weights.items()}
        if strongest > 0
        else {}
    )


# Append, never reorder: a model names the columns it was trained on.
RANKING_FEATURES: tuple[RankingFeature, ...] = (
    RankingFeature(
        "position",
        "place at which the item is shown; 0 when serving, so that the model ranks free of it",
        "0-based place",
        "",
        "[0, ∞)",
        0,
        lambda c: 0.0 if c.context.positions is None else list(c.context.positions),
        -0.12,
    ),
    RankingFeature(
        "is_current",
        "the item is the one on the page",
        "1 or 0",
        "",
        "{0, 1}",
        0,
        lambda c: [item_id == c.context.product_id for item_id in c.ids],
    ),
    RankingFeature(
        "recency",
        "the freshest link to what the visitor touched",
        "max over the last 10 items of strength x 2^(-age / 30 min)",
        "",
        "[0, 1]",
        0,
        lambda c: c.by_id(c.linked[0]),
        1.0,
    ),
    RankingFeature(
        "seen",
        "how lately the visitor touched the item itself",
        "2^(-age / 1 d), 0 when never",
        "",
        "[0, 1]",
        0,
        _seen,
        0.3,
    ),
    RankingFeature(
        "covisit_last",
        "how often this item is touched with the visitor's last item",
        "share of the strongest; itself: 1",
        "share",
        "[0, 1]",
        0,
        _covisit_last,
        1.6,
    ),
    RankingFeature(
        "covisit_recent",
        "the same over the last 10 items",
        "sum of share x 2^(-rank / 3)",
        "",
        "[0, 5)",
        0,
        lambda c: c.by_id(c.linked[1]),
        0.8,
    ),
    RankingFeature(
        "category_match",
        "the visitor's last category",
        "1 for the category, 0.5 for its department, else 0",
        "",
        "[0, 1]",
        0,
        _category_match,
        0.6,
    ),
    RankingFeature(
        "category_interest",
        "lasting interest in the category",
        "share of decayed weight, half-life 7 d",
        "share",
        "[0, 1]",
        0,
        lambda c: c.by_category(c.profile.taste.category_shares(LONG)),
        0.6,
    ),
    RankingFeature(
        "category_interest_30m",
        "present interest in the category",
        "share of decayed weight, half-life 30 min",
        "share",
        "[0, 1]",
        0,
        lambda c: c.by_category(c.profile.taste.category_shares(SHORT)),
        0.8,
    ),
    RankingFeature(
        "brand_interest",
        "lasting interest in the brand",
        "share of decayed weight, half-life 7 d",
        "share",
        "[0, 1]",
        0,
        lambda c: c.by_brand(c.profile.taste.brand_shares(LONG)),
        0.4,
    ),
    RankingFeature(
        "price_gap",
        "how far the price is from what the visitor touches",
        "|ln price - decayed mean of ln price|, 0 when either is unknown",
        "ln(currency)",
        "[0, ∞)",
        0,
        _price_gap,
        -0.15,
    ),
    RankingFeature(
        "log_price",
        "price",
        "ln(1 + price)",
        "ln(currency)",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.prices),
    ),
    RankingFeature(
        "in_cart",
        "lies in the visitor's cart",
        "1 or 0",
        "",
        "{0, 1}",
        0,
        lambda c: c.by_id(dict.fromkeys(c.profile.in_cart(), 1.0)),
    ),
    RankingFeature(
        "shown_before",
        "how often the visitor saw it without need",
        "ln(1 + impressions among the newest 24, half-life 1 d)",
        "",
        "[0, 3.3]",
        0,
        _shown_before,
        -0.25,
    ),
    RankingFeature(
        "similarity",
        "likeness to what the visitor touched last, by the trained vectors",
        "cosine of item and session vector, 0 when either is unknown",
        "",
        "[-1, 1]",
        0,
        _similarity,
        0.6,
    ),
    RankingFeature(
        "item_ctr",
        "clicks per impression",
        "(clicks + a) / (impressions + b), half-life 7 d, prior of the category",
        "rate",
        "[0, 1]",
        0.08,
        lambda c: c.rate(CLICK, IMPRESSION, [c.context.priors.ctr_of(i.category) for i in c.items]),
        4.0,
    ),
    RankingFeature(
        "item_conversion",
        "purchases per view",
        "(purchases + a) / (views + b), half-life 7 d, prior of the category",
        "rate",
        "[0, 1]",
        0.02,
        lambda c: c.rate(
            PURCHASE, VIEW, [c.context.priors.conversion_of(i.category) for i in c.items]
        ),
        1.0,
    ),
    RankingFeature(
        "item_views_7d",
        "views of the item",
        "ln(1 + views), half-life 7 d",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.decayed(VIEW)),
        0.06,
    ),
    RankingFeature(
        "item_views_1h",
        "views of the item just now",
        "ln(1 + views), half-life 1 h",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.decayed_1h(VIEW)),
        0.1,
    ),
    RankingFeature(
        "events_5m",
        "the visitor's activity just now",
        "ln(1 + clicks, views, carts, purchases and plays in 5 min)",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.profile.engaged("5m", c.now_ms)),
    ),
    RankingFeature(
        "events_24h",
        "the visitor's activity today",
        "ln(1 + clicks, views, carts, purchases and plays in 24 h)",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.profile.engaged("24h", c.now_ms)),
    ),
    RankingFeature(
        "session_events",
        "length of the visit",
        "ln(1 + events of the newest session)",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.profile.session()[1].events),
    ),
    RankingFeature(
        "idle_minutes",
        "time since the visitor's last event",
        "ln(1 + min), capped at 30 d",
        "",
        "[0, 10.7]",
        float(np.log1p(30 * DAY_MS / MINUTE_MS)),  # who never came has been away for longest
        _idle_minutes,
    ),
    RankingFeature(
        "is_known",
        "the visitor has a profile",
        "1 or 0",
        "",
        "{0, 1}",
        0,
        lambda c: float(c.profile.events_total > 0),
    ),
    RankingFeature(
        "brand_interest_30m",
        "present interest in the brand",
        "share of decayed weight, half-life 30 min",
        "share",
        "[0, 1]",
        0,
        lambda c: c.by_brand(c.profile.taste.brand_shares(SHORT)),
        1.5,
    ),
    RankingFeature(
        "bought_together",
        "bought in one session with the last item or what lies in the cart",
        "share of the strongest",
        "share",
        "[0, 1]",
        0,
        _bought_together,
    ),
    RankingFeature(
        "taste_similarity",
        "likeness to all the visitor touched, by id, category and brand",
        "cosine of item vector and long-term embedding (random indexing)",
        "",
        "[-1, 1]",
        0,
        lambda c: _embedding_similarity(c, LONG),
    ),
    RankingFeature(
        "session_similarity",
        "likeness to what the visitor touched just now, by id, category and brand",
        "cosine of item vector and session embedding, half-life 30 min",
        "",
        "[-1, 1]",
        0,
        lambda c: _embedding_similarity(c, SHORT),
    ),
    RankingFeature(
        "context_similarity",
        "keeps the company that the visitor's last items keep; new items have it at once",
        "cosine of context vectors (random indexing of co-visits)",
        "",
        "[-1, 1]",
        0,
        _context_similarity,
    ),
    RankingFeature(
        "item_carts_7d",
        "additions of the item to carts",
        "ln(1 + carts), half-life 7 d",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.decayed(CART)),
    ),
    RankingFeature(
        "item_trending",
        "how wanted the item is now",
        "ln(1 + popularity in views), half-life 6 h",
        "",
        "[0, ∞)",
        0,
        _trending,
    ),
    RankingFeature(
        "conversion_likelihood",
        "chance that the visit ends with a purchase",
        "see the visitor's feature",
        "probability",
        "[0, 1]",
        0,
        lambda c: conversion_likelihood(c.profile, c.now_ms),
    ),
    RankingFeature(
        "churn_risk",
        "chance that the visitor had been gone for good",
        "see the visitor's feature",
        "probability",
        "[0, 1]",
        0,
        lambda c: churn_risk(c.profile, c.now_ms),
    ),
    RankingFeature(
        "session_dwell",
        "attention in this visit",
        "ln(1 + s of dwell)",
        "",
        "[0, ∞)",
        0,
        lambda c: np.log1p(c.profile.session()[1].dwell.elapsed_ms / 1000),
    ),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in RANKING_FEATURES)
COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}
PRIOR_WEIGHTS: dict[str, float] = {
    feature.name: feature.prior for feature in RANKING_FEATURES if feature.prior
}
_PRIOR_VECTOR = np.array([PRIOR_WEIGHTS.get(name, 0.0) for name in FEATURE_NAMES], np.float32)
