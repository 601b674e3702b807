"""The one feature matrix: what training logs is what serving ranks, because both call this function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.core.catalog import Item, department
from pipeline.core.decay import DAY_MS, MINUTE_MS
from pipeline.core.items import (
    CLICK,
    CONVERSION_PRIOR,
    CTR_PRIOR,
    IMPRESSION,
    LONG_HALF_LIFE_MS,
    PURCHASE,
    SHORT_HALF_LIFE_MS,
    VIEW,
    ItemRow,
    ItemStats,
)
from pipeline.core.profile import FATIGUE_HALF_LIFE_MS, UserProfile

Matrix = NDArray[np.float32]
Vector = NDArray[np.float32]

# Name and meaning, in column order: append, never reorder, for a model names the columns it was trained on.
FEATURES: dict[str, str] = {
    "position": "0-based position at which the item is shown; 0 when serving, so that the model ranks free of it",
    "is_current": "1 when the item is the one on the page",
    "recency": "the freshest link to what the visitor touched: link strength x 2^(-age / 30 min), in [0, 1]",
    "seen": "2^(-age / 1 d) of the visitor's last touch of this item, 0 when never touched",
    "covisit_last": "how often this item is touched with the visitor's last item, share of the strongest; itself: 1",
    "covisit_recent": "the same summed over the last 10 items, each weighted by 2^(-rank / 3)",
    "category_match": "1 for the visitor's last category, 0.5 for another of its department, else 0",
    "category_interest": "share of the visitor's interest in the category, half-life 7 d",
    "category_interest_30m": "the same, half-life 30 min",
    "brand_interest": "share of the visitor's interest in the brand, half-life 7 d",
    "price_gap": "|ln(price) - mean ln(price) of what the visitor touched|, 0 when either is unknown",
    "log_price": "ln(1 + price)",
    "in_cart": "1 when the item lies in the visitor's cart",
    "shown_before": "ln(1 + impressions of this item to this visitor, half-life 1 d)",
    "similarity": "cosine of the item's vector and the visitor's session vector, in [-1, 1], 0 when either is unknown",
    "item_ctr": "clicks per impression of the item, smoothed",
    "item_conversion": "purchases per view of the item, smoothed",
    "item_views_7d": "ln(1 + views of the item, half-life 7 d)",
    "item_views_1h": "ln(1 + views of the item, half-life 1 h)",
    "events_5m": "ln(1 + the visitor's clicks, views, carts and purchases in 5 min)",
    "events_24h": "ln(1 + the visitor's clicks, views, carts and purchases in 24 h)",
    "session_events": "ln(1 + events in the visitor's newest session)",
    "idle_minutes": "ln(1 + minutes since the visitor's last event), capped at 30 d",
    "is_known": "1 when the visitor has a profile",
}
FEATURE_NAMES: tuple[str, ...] = tuple(FEATURES)
COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}

RECENT_SEEDS = 10
_LINK_HALF_LIFE_MS = 30 * MINUTE_MS
_SEEN_HALF_LIFE_MS = DAY_MS

# The prior: a logistic model set by hand, used before there is data and whenever the trained model cannot answer.
PRIOR_BIAS = -3.0
PRIOR_WEIGHTS: dict[str, float] = {
    "recency": 1.0,
    "seen": 0.3,
    "covisit_last": 1.6,
    "covisit_recent": 0.8,
    "category_match": 0.6,
    "category_interest": 0.6,
    "category_interest_30m": 0.8,
    "brand_interest": 0.4,
    "price_gap": -0.15,
    "shown_before": -0.25,
    "similarity": 0.6,
    "item_ctr": 4.0,
    "item_conversion": 1.0,
    "item_views_7d": 0.06,
    "item_views_1h": 0.1,
    "position": -0.12,
}


class Context(msgspec.Struct, frozen=True):
    """What the matrix needs beyond the profile and the candidates.

    `seeds` holds the stats of the visitor's recent items (their neighbours link candidates to the visitor);
    `vectors` gives an item's unit vector `(dim,)`; `positions` are the shown positions `(n,)`, in training only.
    """

    placement: str = "home"
    product_id: str | None = None
    seeds: Mapping[str, ItemStats] = {}
    vectors: Mapping[str, Vector] = {}
    positions: Sequence[int] | None = None


def feature_matrix(profile: UserProfile, rows: Sequence[ItemRow], context: Context, now_ms: int) -> Matrix:
    """The features of each candidate for this visitor at `now_ms`.

    Args:
        profile: the visitor's state; an empty one for an unknown visitor.
        rows: the candidates, `n` of them.
        context: page, seeds, vectors.
        now_ms: the time of reading, ms since the Unix epoch.

    Returns:
        `(n, d)` float32 in the order of `FEATURE_NAMES`; finite.
    """
    n = len(rows)
    matrix = np.zeros((n, len(FEATURE_NAMES)), np.float32)
    if n == 0:
        return matrix
    if context.positions is not None:
        matrix[:, COLUMN["position"]] = context.positions
    items = [row.item for row in rows]
    _fill_links(matrix, profile, items, context, now_ms)
    _fill_interest(matrix, profile, items)
    _fill_item(matrix, rows, now_ms)
    _fill_similarity(matrix, profile, items, context, now_ms)
    _fill_visitor(matrix, profile, now_ms)
    return matrix


def session_vector(profile: UserProfile, vectors: Mapping[str, Vector], now_ms: int) -> Vector | None:
    """The unit vector `(dim,)` of what the visitor touched last: item vectors weighted by 2^(-rank / 3)."""
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
    """One recent item: its age in ms, its weight 2^(-rank / 3), and by linked item the strength in [0, 1]."""

    item_id: str
    age_ms: int
    weight: float
    strengths: dict[str, float]


def links(profile: UserProfile, seeds: Mapping[str, ItemStats], now_ms: int) -> list[Link]:
    """The visitor's last 10 items and what each links to (strength 1 for its strongest neighbour), newest first."""
    found = []
    for rank, (item_id, time_ms) in enumerate(profile.recent_items(now_ms, RECENT_SEEDS)):
        seed = seeds.get(item_id)
        weights = seed.neighbour_weights.sums if seed is not None else {}
        strongest = max(weights.values(), default=0.0)
        strengths = {other: weight / strongest for other, weight in weights.items()} if strongest > 0 else {}
        found.append(Link(item_id, now_ms - time_ms, 2.0 ** (-rank / 3), strengths))
    return found


def prior_ctr(matrix: Matrix) -> NDArray[np.float32]:
    """The prior's probability of a click, `(n, d)` -> `(n,)` in (0, 1): logistic(bias + weights . features)."""
    scores = np.clip(matrix @ _PRIOR_VECTOR + PRIOR_BIAS, -15.0, 15.0)  # float32 tells these from 0 and 1
    probabilities: Vector = (1.0 / (1.0 + np.exp(-scores))).astype(np.float32)
    return probabilities


def _fill_links(matrix: Matrix, profile: UserProfile, items: list[Item], context: Context, now_ms: int) -> None:
    recency: dict[str, float] = {}
    seen: dict[str, float] = {}
    last: dict[str, float] = {}
    recent: dict[str, float] = {}
    found = links(profile, context.seeds, now_ms)
    for item_id, age_ms, weight, strengths in found:
        fresh = 2.0 ** (-age_ms / _LINK_HALF_LIFE_MS)
        for other, strength in (*strengths.items(), (item_id, 1.0)):  # an item links to itself: people come back
            recency[other] = max(recency.get(other, 0.0), strength * fresh)
            recent[other] = recent.get(other, 0.0) + weight * strength
    if found:
        last = {**found[0].strengths, found[0].item_id: 1.0}
    for item_id, time_ms in profile.recent_items(now_ms):
        seen[item_id] = 2.0 ** (-(now_ms - time_ms) / _SEEN_HALF_LIFE_MS)
    cart = set(profile.in_cart())
    shown = profile.shown.values(now_ms, FATIGUE_HALF_LIFE_MS)
    ids = [item.item_id for item in items]
    for name, values in (
        ("recency", recency),
        ("seen", seen),
        ("covisit_last", last),
        ("covisit_recent", recent),
    ):
        matrix[:, COLUMN[name]] = [values.get(item_id, 0.0) for item_id in ids]
    matrix[:, COLUMN["is_current"]] = [item_id == context.product_id for item_id in ids]
    matrix[:, COLUMN["in_cart"]] = [item_id in cart for item_id in ids]
    matrix[:, COLUMN["shown_before"]] = np.log1p([max(shown.get(item_id, 0.0), 0.0) for item_id in ids])


def _fill_interest(matrix: Matrix, profile: UserProfile, items: list[Item]) -> None:
    long, short, brands = (
        profile.categories.shares(),
        profile.categories_short.shares(),
        profile.brands.shares(),
    )
    category, last_department = profile.last_category, department(profile.last_category)

    def match(item: Item) -> float:
        if not category or not item.category:
            return 0.0
        return 1.0 if item.category == category else 0.5 * (department(item.category) == last_department)

    matrix[:, COLUMN["category_match"]] = [match(item) for item in items]
    matrix[:, COLUMN["category_interest"]] = [long.get(item.category, 0.0) for item in items]
    matrix[:, COLUMN["category_interest_30m"]] = [short.get(item.category, 0.0) for item in items]
    matrix[:, COLUMN["brand_interest"]] = [brands.get(item.brand, 0.0) for item in items]
    prices = np.array([item.price for item in items], np.float64)
    matrix[:, COLUMN["log_price"]] = np.log1p(prices)
    usual = profile.log_price()
    if usual is not None:
        gap = np.abs(np.log(np.maximum(prices, 1e-9)) - usual)
        matrix[:, COLUMN["price_gap"]] = np.where(prices > 0, gap, 0.0)


def _fill_item(matrix: Matrix, rows: Sequence[ItemRow], now_ms: int) -> None:
    long = _decayed(rows, "long", (VIEW, CLICK, PURCHASE, IMPRESSION), now_ms, LONG_HALF_LIFE_MS)
    views, clicks, purchases, impressions = long
    (views_1h,) = _decayed(rows, "short", (VIEW,), now_ms, SHORT_HALF_LIFE_MS)
    matrix[:, COLUMN["item_ctr"]] = _smoothed(clicks, impressions, CTR_PRIOR)
    matrix[:, COLUMN["item_conversion"]] = _smoothed(purchases, views, CONVERSION_PRIOR)
    matrix[:, COLUMN["item_views_7d"]] = np.log1p(views)
    matrix[:, COLUMN["item_views_1h"]] = np.log1p(views_1h)


def _decayed(
    rows: Sequence[ItemRow], part: str, codes: tuple[int, ...], now_ms: int, half_life_ms: int
) -> NDArray[np.float64]:
    """Decayed counts `(len(codes), n)` of the rows at `now_ms`."""
    states: list[Any] = [getattr(row.stats, part) for row in rows]
    sums = np.array([[state.sums.get(code, 0.0) for state in states] for code in codes], np.float64)
    landmarks = np.array([state.landmark for state in states], np.float64)
    return np.asarray(sums * np.exp2(np.clip((landmarks * half_life_ms - now_ms) / half_life_ms, -1000.0, 1.0)))


def _smoothed(
    successes: NDArray[np.float64], trials: NDArray[np.float64], prior: tuple[float, float]
) -> NDArray[np.float64]:
    return (successes + prior[0]) / (np.maximum(trials, successes) + prior[1])


def _fill_similarity(matrix: Matrix, profile: UserProfile, items: list[Item], context: Context, now_ms: int) -> None:
    taste = session_vector(profile, context.vectors, now_ms)
    if taste is None:
        return
    zero = np.zeros_like(taste)
    stacked = np.stack([context.vectors.get(item.item_id, zero) for item in items])  # (n, dim)
    matrix[:, COLUMN["similarity"]] = stacked @ taste


def _fill_visitor(matrix: Matrix, profile: UserProfile, now_ms: int) -> None:
    idle_ms = min(max(now_ms - profile.newest_ms, 0), 30 * DAY_MS)
    matrix[:, COLUMN["events_5m"]] = np.log1p(profile.engaged("5m", now_ms))
    matrix[:, COLUMN["events_24h"]] = np.log1p(profile.engaged("24h", now_ms))
    matrix[:, COLUMN["session_events"]] = np.log1p(profile.session()[1].events)
    matrix[:, COLUMN["idle_minutes"]] = np.log1p(idle_ms / MINUTE_MS)
    matrix[:, COLUMN["is_known"]] = profile.events_total > 0


_PRIOR_VECTOR = np.array([PRIOR_WEIGHTS.get(name, 0.0) for name in FEATURE_NAMES], np.float32)
