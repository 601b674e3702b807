"""Columns of the ranking matrix that take more than a line: each gives a number an item, `(n,)`, or
one for all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.core.catalog import Item, department
from pipeline.core.decay import DAY_MS, MINUTE_MS
from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.features.ranking_inputs import (
    Candidates,
    context_vector,
    decayed,
    session_vector,
    shares_of_strongest,
)
from pipeline.core.items import TRENDING_HALF_LIFE_MS
from pipeline.core.profile import item_hash

MAX_IDLE_MS = 30 * DAY_MS
"""A visitor who never came has been away for longest: this long."""
_SEEN_HALF_LIFE_MS = DAY_MS
_NO_CONTEXT = bytes(8 * CONTEXT_DIM)


def category_match(c: Candidates) -> list[float]:
    category = c.profile.last_category
    last_department = department(category)

    def match(item: Item) -> float:
        if not category or not item.category:
            return 0.0
        if item.category == category:
            return 1.0
        return 0.5 * (department(item.category) == last_department)

    return [match(item) for item in c.items]


def seen(c: Candidates) -> list[float]:
    freshness = {
        item_id: 2.0 ** (-(c.now_ms - time_ms) / _SEEN_HALF_LIFE_MS)
        for item_id, time_ms in c.profile.recent_items(c.now_ms)
    }
    return c.by_id(freshness)


def covisit_last(c: Candidates) -> list[float]:
    if not c.links:
        return c.by_id({})
    last = c.links[0]
    return c.by_id({**last.strengths, last.item_id: 1.0})


def bought_together(c: Candidates) -> list[float]:
    """With what lies in the cart and with the last item: the strongest share of either."""
    strongest: dict[str, float] = {}
    for item_id in {*c.profile.in_cart(), c.profile.last_item}:
        seed = c.context.seeds.get(item_id)
        if seed is None:
            continue
        for other, share in shares_of_strongest(seed.bought_weights.sums).items():
            strongest[other] = max(share, strongest.get(other, 0.0))
    return c.by_id(strongest)


def shown_before(c: Candidates) -> ArrayLike:
    shown = c.profile.shown(c.now_ms)
    if not shown:
        return 0.0
    return np.log1p([shown.get(item_hash(item_id), 0.0) for item_id in c.ids])


def price_gap(c: Candidates) -> ArrayLike:
    usual = c.profile.taste.log_price()
    if usual is None:
        return 0.0
    return np.where(c.prices > 0, np.abs(np.log(np.maximum(c.prices, 1e-9)) - usual), 0.0)


def similarity(c: Candidates) -> ArrayLike:
    taste = session_vector(c.profile, c.context.vectors, c.now_ms)
    if taste is None:
        return 0.0
    zero = np.zeros_like(taste)
    # (n, dim) @ (dim,)
    return np.stack([c.context.vectors.get(item_id, zero) for item_id in c.ids]) @ taste


def embedding_similarity(c: Candidates, term: int) -> ArrayLike:
    taste = c.profile.taste.embedding(term)
    if taste is None:
        return 0.0
    similarity: NDArray[np.float64] = c.own_vectors @ taste  # (n, dim) @ (dim,)
    return similarity


def context_similarity(c: Candidates) -> ArrayLike:
    visitor = context_vector(c.profile, c.context.seeds, c.now_ms)
    if visitor is None:
        return 0.0
    stored = b"".join(row.stats.context.values or _NO_CONTEXT for row in c.rows)
    vectors = np.frombuffer(stored).reshape(len(c.rows), CONTEXT_DIM)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return (vectors @ visitor) / np.where(lengths > 0, lengths, 1.0)


def trending(c: Candidates) -> ArrayLike:
    popularity = [row.stats.popularity for row in c.rows]
    return np.log1p(decayed(popularity, 0, c.now_ms, TRENDING_HALF_LIFE_MS))


def idle_minutes(c: Candidates) -> float:
    idle_ms = min(max(c.now_ms - c.profile.newest_ms, 0), MAX_IDLE_MS)
    return float(np.log1p(idle_ms / MINUTE_MS))
