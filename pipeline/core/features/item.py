"""Features of an item, a category and the whole shop at a moment, by name: one row a feature.

`docs/features.md` lists them; the ranking matrix reads the same states. The rates are smoothed by
the default priors here, by those of the item's category in the matrix (see `items.rate_priors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.items import (
    CART,
    CLICK,
    CODE_NAMES,
    CONVERSION_PRIOR,
    CTR_PRIOR,
    IMPRESSION,
    PURCHASE,
    SHORT_HALF_LIFE_MS,
    TRENDING_HALF_LIFE_MS,
    VIEW,
    WINDOWS_MS,
    Counts,
    ItemStats,
    Trending,
)

S = TypeVar("S")


class ItemFeature(NamedTuple, Generic[S]):
    """One feature of an item (`S`: `ItemStats`) or a scope (`Trending`), computed at `now_ms`."""

    name: str
    meaning: str
    formula: str
    unit: str
    range: str
    default: Any
    value: Callable[[S, int], Any]


_SPANS = {"5m": "5 min", "1h": "1 h", "24h": "24 h"}
_MEANINGS = {
    VIEW: "product views and media starts",
    CLICK: "clicks",
    CART: "additions to the cart",
    PURCHASE: "purchases",
    IMPRESSION: "impressions",
}


def _counts(counts_of: Callable[[S], Counts]) -> Iterator[ItemFeature[S]]:
    """Events by type: ever, and in each window."""
    for code, name in CODE_NAMES.items():
        yield ItemFeature(
            name=name,
            meaning=f"{_MEANINGS[code]}, ever",
            formula="count",
            unit="events",
            range="[0, ∞)",
            default=0,
            value=_total(counts_of, code),
        )
    for code, name in CODE_NAMES.items():
        for window in WINDOWS_MS:
            yield ItemFeature(
                name=f"{name}_{window}",
                meaning=f"{_MEANINGS[code]} in the last {_SPANS[window]}",
                formula="sum of the ring's buckets within the window, exact to one bucket",
                unit="events",
                range="[0, ∞)",
                default=0,
                value=_within(counts_of, code, window),
            )


def _decayed(counts_of: Callable[[S], Counts]) -> Iterator[ItemFeature[S]]:
    """Events by type, decayed over a week."""
    for code, name in CODE_NAMES.items():
        yield ItemFeature(
            name=f"{name}_decayed_7d",
            meaning=f"{_MEANINGS[code]}, the older the less",
            formula="sum of 2^(-age / 7 d)",
            unit="events",
            range="[0, ∞)",
            default=0.0,
            value=_fading(counts_of, code),
        )


def _total(counts_of: Callable[[S], Counts], code: int) -> Callable[[S, int], int]:
    return lambda state, _: counts_of(state).totals.get(code, 0)


def _within(counts_of: Callable[[S], Counts], code: int, window: str) -> Callable[[S, int], int]:
    return lambda state, now_ms: counts_of(state).window(code, window, now_ms)


def _fading(counts_of: Callable[[S], Counts], code: int) -> Callable[[S, int], float]:
    return lambda state, now_ms: counts_of(state).decayed(code, now_ms)


def _of_item(stats: ItemStats) -> Counts:
    return stats.counts


def _of_scope(scope: Trending) -> Counts:
    return scope.counts


def popularity(stats: ItemStats, now_ms: int) -> float:
    """Popularity of an item at `now_ms`, in views (a cart 3, a purchase 5), half-life 6 h."""
    return stats.popularity.value(0, now_ms, TRENDING_HALF_LIFE_MS)


def context_vector(stats: ItemStats) -> list[float]:
    """The unit vector `(CONTEXT_DIM,)` of the items that an item is seen with; empty before its
    first neighbour.
    """
    direction = stats.context.direction()
    return [] if direction is None else [float(value) for value in direction]


ITEM_FEATURES: tuple[ItemFeature[ItemStats], ...] = (
    ItemFeature(
        name="category",
        meaning="the catalog's category of the item, at its newest event",
        formula="value at the greatest event time",
        unit="text",
        range="",
        default="",
        value=lambda stats, _: stats.category,
    ),
    *_counts(_of_item),
    *_decayed(_of_item),
    ItemFeature(
        name="views_decayed_1h",
        meaning="product views and media starts just now",
        formula="sum of 2^(-age / 1 h)",
        unit="events",
        range="[0, ∞)",
        default=0.0,
        value=lambda stats, now_ms: stats.counts.short.value(VIEW, now_ms, SHORT_HALF_LIFE_MS),
    ),
    ItemFeature(
        name="ctr",
        meaning="clicks per impression",
        formula="(clicks + a) / (impressions + b), half-life 7 d, (a, b) = (2, 25) or the prior of "
        "the "
        "category",
        unit="rate",
        range="[0, 1]",
        default=CTR_PRIOR[0] / CTR_PRIOR[1],
        value=lambda stats, now_ms: stats.ctr(now_ms),
    ),
    ItemFeature(
        name="conversion",
        meaning="purchases per view",
        formula="(purchases + a) / (views + b), half-life 7 d, (a, b) = (0.5, 25) or the prior of "
        "the "
        "category",
        unit="rate",
        range="[0, 1]",
        default=CONVERSION_PRIOR[0] / CONVERSION_PRIOR[1],
        value=lambda stats, now_ms: stats.conversion(now_ms),
    ),
    ItemFeature(
        name="neighbours",
        meaning="the items most touched in the same session, heaviest first",
        formula="sum over sessions of 2^(-age of the session's first hour / 7 d), the 50 largest "
        "of 200 "
        "kept",
        unit="item id -> sessions",
        range="at most 50",
        default={},
        value=lambda stats, now_ms: stats.neighbours(now_ms),
    ),
    ItemFeature(
        name="bought_together",
        meaning="the items most bought in the same session, heaviest first",
        formula="sum over sessions of 2^(-age of the session's first hour / 7 d), the 50 largest "
        "of 200 "
        "kept",
        unit="item id -> sessions",
        range="at most 50",
        default={},
        value=lambda stats, now_ms: stats.bought_with(now_ms),
    ),
    ItemFeature(
        name="context_vector",
        meaning="the company the item keeps: items of the same company point the same way",
        formula=f"direction of the sum of the neighbours' fixed random signs in {CONTEXT_DIM} "
        "dimensions, "
        "half-life 7 d",
        unit="unit vector",
        range=f"{CONTEXT_DIM} numbers in [-1, 1]",
        default=[],
        value=lambda stats, _: context_vector(stats),
    ),
    ItemFeature(
        name="popularity",
        meaning="how wanted the item is now",
        formula="sum of (1 a view or click, 3 a cart, 5 a purchase) x 2^(-age / 6 h)",
        unit="views",
        range="[0, ∞)",
        default=0.0,
        value=popularity,
    ),
)

# Of a category and of the whole shop, both: one row of Bigtable each (some, where the scope is
# sharded).
SCOPE_FEATURES: tuple[ItemFeature[Trending], ...] = (
    *_counts(_of_scope),
    *_decayed(_of_scope),
    ItemFeature(
        name="trending",
        meaning="the most wanted items, best first",
        formula="popularity of each item, the 300 largest, ties by id",
        unit="item id -> views",
        range="at most 300",
        default={},
        value=lambda scope, now_ms: dict(scope.top(now_ms, len(scope.scores))),
    ),
)
