"""Columns of the ranking matrix that take more than a line: each gives a number an item, `(n,)`, or
one for all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pipeline.core.catalog import department
from pipeline.core.columns import UNKNOWN
from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.features.ranking_inputs import Candidates

MAX_IDLE_MS = 30 * DAY_MS
"""A visitor who never came has been away for longest: this long."""
UNKNOWN_AGE_MS = 365 * DAY_MS
"""The age of an item whose time of publication is not known."""
_SEEN_HALF_LIFE_MS = DAY_MS


def category_match(c: Candidates) -> ArrayLike:
    category = c.profile.last_category
    if not category:
        return 0.0
    codes = c.items.category.dictionary
    is_near = (c.items.department.get(c.rows) == codes.find(department(category))) & (
        c.categories != UNKNOWN
    )
    return np.where(c.categories == codes.find(category), 1.0, 0.5 * is_near)


def seen(c: Candidates) -> ArrayLike:
    ages_ms = c.now_ms - np.array([time_ms for _, time_ms in c.moment.recent], np.float64)
    return c.strongest(c.moment.recent_rows, 2.0 ** (-ages_ms / _SEEN_HALF_LIFE_MS))


def revisit(c: Candidates) -> ArrayLike:
    rows = c.moment.recent_rows
    return c.strongest(rows, 2.0 ** -np.arange(len(rows), dtype=np.float64))


def bought_together(c: Candidates) -> ArrayLike:
    """With what lies in the cart and with the last item: the strongest share of either."""
    strongest = np.zeros(len(c.rows))
    for item_id in {*c.profile.in_cart(), c.profile.last_item}:
        seed = c.moment.seeds.get(item_id)
        if seed is not None:
            strongest = np.maximum(strongest, c.strongest(*seed.bought.known(c.items)))
    return strongest


def shown_before(c: Candidates) -> ArrayLike:
    shown = c.profile.shown(c.now_ms)
    hashes = c.items.hash[c.rows]
    times = np.array([shown.get(hash_, 0.0) for hash_ in hashes.tolist()]) if shown else 0.0
    return np.log1p(times)


def price_gap(c: Candidates) -> ArrayLike:
    usual = c.profile.taste.log_price()
    if usual is None:
        return 0.0
    return np.where(c.prices > 0, np.abs(np.log(np.maximum(c.prices, 1e-9)) - usual), 0.0)


def similarity(c: Candidates) -> ArrayLike:
    taste = c.moment.session_vector
    if taste is None:
        return 0.0
    return c.items.trained_similarity(c.rows, taste)


def embedding_similarity(c: Candidates, term: int) -> ArrayLike:
    taste = c.profile.taste.embedding(term)
    if taste is None:
        return 0.0
    return np.asarray(c.items.own_vector[c.rows] @ taste.astype(np.float32))


def context_similarity(c: Candidates) -> ArrayLike:
    visitor = c.moment.context_vector
    if visitor is None:
        return 0.0
    return np.asarray(c.items.context[c.rows].astype(np.float32) @ visitor)


def text_similarity(c: Candidates) -> ArrayLike:
    visitor = c.moment.text_vector
    if visitor is None:
        return 0.0
    return np.asarray(c.items.text.get(c.rows) @ visitor)


def age(c: Candidates) -> ArrayLike:
    age_ms = np.maximum(c.now_ms - c.items.published_ms.get(c.rows), 0.0)
    return np.log1p(np.nan_to_num(age_ms, nan=UNKNOWN_AGE_MS) / HOUR_MS)


def trending(c: Candidates) -> ArrayLike:
    return np.log1p(c.items.popularity.get(c.rows, 0, c.now_ms))


def idle_minutes(c: Candidates) -> float:
    idle_ms = min(max(c.now_ms - c.profile.newest_ms, 0), MAX_IDLE_MS)
    return float(np.log1p(idle_ms / MINUTE_MS))
