"""The columns of the ranking matrix: a row of `RANKING_FEATURES` each. The computations that take
more than a line are in `ranking_columns`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pipeline.core.decay import HOUR_MS, MINUTE_MS
from pipeline.core.features import ranking_columns
from pipeline.core.features.churn import churn_risk
from pipeline.core.features.conversion import conversion_likelihood
from pipeline.core.features.ranking_inputs import Candidates
from pipeline.core.interests import LONG, SHORT
from pipeline.core.items import CART, CLICK, IMPRESSION, PURCHASE, VIEW

PRIOR_BIAS = -3.0


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


# Append, never reorder: a model names the columns it was trained on.
RANKING_FEATURES: tuple[RankingFeature, ...] = (
    RankingFeature(
        name="position",
        meaning="place at which the item is shown; 0 when serving, so that the model ranks free "
        "of it",
        formula="0-based place",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: 0.0 if c.context.positions is None else list(c.context.positions),
        prior=-0.12,
    ),
    RankingFeature(
        name="is_current",
        meaning="the item is the one on the page",
        formula="1 or 0",
        unit="",
        range="{0, 1}",
        default=0,
        column=lambda c: c.rows == c.items.row(c.context.product_id),
    ),
    RankingFeature(
        name="recency",
        meaning="the freshest link to what the visitor touched",
        formula="max over the last 10 items of strength x 2^(-age / 30 min)",
        unit="",
        range="[0, 1]",
        default=0,
        column=lambda c: c.recency,
        prior=0.3,
    ),
    RankingFeature(
        name="seen",
        meaning="how lately the visitor touched the item itself",
        formula="2^(-age / 1 d), 0 when never",
        unit="",
        range="[0, 1]",
        default=0,
        column=ranking_columns.seen,
        prior=0.3,
    ),
    RankingFeature(
        name="covisit_last",
        meaning="how often this item is touched with the visitor's last item",
        formula="share of the strongest; itself: 1",
        unit="share",
        range="[0, 1]",
        default=0,
        column=ranking_columns.covisit_last,
        prior=1.0,
    ),
    RankingFeature(
        name="covisit_recent",
        meaning="the same over the last 10 items",
        formula="sum of share x 2^(-rank / 3)",
        unit="",
        range="[0, 5)",
        default=0,
        column=lambda c: c.linked,
        prior=0.1,
    ),
    RankingFeature(
        name="category_match",
        meaning="the visitor's last category",
        formula="1 for the category, 0.5 for its department, else 0",
        unit="",
        range="[0, 1]",
        default=0,
        column=ranking_columns.category_match,
        prior=2.0,
    ),
    RankingFeature(
        name="category_interest",
        meaning="lasting interest in the category",
        formula="share of decayed weight, half-life 7 d",
        unit="share",
        range="[0, 1]",
        default=0,
        column=lambda c: c.by_category(c.profile.taste.category_shares(LONG)),
        prior=0.6,
    ),
    RankingFeature(
        name="category_interest_30m",
        meaning="present interest in the category",
        formula="share of decayed weight, half-life 30 min",
        unit="share",
        range="[0, 1]",
        default=0,
        column=lambda c: c.by_category(c.profile.taste.category_shares(SHORT)),
        prior=0.8,
    ),
    RankingFeature(
        name="brand_interest",
        meaning="lasting interest in the brand",
        formula="share of decayed weight, half-life 7 d",
        unit="share",
        range="[0, 1]",
        default=0,
        column=lambda c: c.by_brand(c.profile.taste.brand_shares(LONG)),
        prior=0.2,
    ),
    RankingFeature(
        name="price_gap",
        meaning="how far the price is from what the visitor touches",
        formula="|ln price - decayed mean of ln price|, 0 when either is unknown",
        unit="ln(currency)",
        range="[0, ∞)",
        default=0,
        column=ranking_columns.price_gap,
        prior=-0.7,
    ),
    RankingFeature(
        name="log_price",
        meaning="price",
        formula="ln(1 + price)",
        unit="ln(currency)",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.prices),
    ),
    RankingFeature(
        name="in_cart",
        meaning="lies in the visitor's cart",
        formula="1 or 0",
        unit="",
        range="{0, 1}",
        default=0,
        column=lambda c: c.by_id(dict.fromkeys(c.profile.in_cart(), 1.0)),
    ),
    RankingFeature(
        name="shown_before",
        meaning="how often the visitor saw it without need",
        formula="ln(1 + impressions among the newest 24, half-life 1 d)",
        unit="",
        range="[0, 3.3]",
        default=0,
        column=ranking_columns.shown_before,
        prior=-0.25,
    ),
    RankingFeature(
        name="similarity",
        meaning="likeness to what the visitor touched last, by the trained vectors",
        formula="cosine of item and session vector, 0 when either is unknown",
        unit="",
        range="[-1, 1]",
        default=0,
        column=ranking_columns.similarity,
        prior=0.6,
    ),
    RankingFeature(
        name="item_ctr",
        meaning="clicks per impression",
        formula="(clicks + a) / (impressions + b), half-life 7 d, prior of the category",
        unit="rate",
        range="[0, 1]",
        default=0.08,
        column=lambda c: c.rate(CLICK, IMPRESSION, c.context.priors.ctr),
        prior=4.0,
    ),
    RankingFeature(
        name="item_conversion",
        meaning="purchases per view",
        formula="(purchases + a) / (views + b), half-life 7 d, prior of the category",
        unit="rate",
        range="[0, 1]",
        default=0.02,
        column=lambda c: c.rate(PURCHASE, VIEW, c.context.priors.conversion),
        prior=1.0,
    ),
    RankingFeature(
        name="item_views_7d",
        meaning="views of the item",
        formula="ln(1 + views), half-life 7 d",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.decayed(VIEW)),
        prior=0.06,
    ),
    RankingFeature(
        name="item_views_1h",
        meaning="views of the item just now",
        formula="ln(1 + views), half-life 1 h",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.items.views_1h.get(c.rows, VIEW, c.now_ms)),
        prior=0.1,
    ),
    RankingFeature(
        name="events_5m",
        meaning="the visitor's activity just now",
        formula="ln(1 + clicks, views, carts, purchases and plays in 5 min)",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.profile.engaged("5m", c.now_ms)),
    ),
    RankingFeature(
        name="events_24h",
        meaning="the visitor's activity today",
        formula="ln(1 + clicks, views, carts, purchases and plays in 24 h)",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.profile.engaged("24h", c.now_ms)),
    ),
    RankingFeature(
        name="session_events",
        meaning="length of the visit",
        formula="ln(1 + events of the newest session)",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.profile.session()[1].events),
    ),
    RankingFeature(
        name="idle_minutes",
        meaning="time since the visitor's last event",
        formula="ln(1 + min), capped at 30 d",
        unit="",
        range="[0, 10.7]",
        default=float(np.log1p(ranking_columns.MAX_IDLE_MS / MINUTE_MS)),
        column=ranking_columns.idle_minutes,
    ),
    RankingFeature(
        name="is_known",
        meaning="the visitor has a profile",
        formula="1 or 0",
        unit="",
        range="{0, 1}",
        default=0,
        column=lambda c: float(c.profile.events_total > 0),
    ),
    RankingFeature(
        name="brand_interest_30m",
        meaning="present interest in the brand",
        formula="share of decayed weight, half-life 30 min",
        unit="share",
        range="[0, 1]",
        default=0,
        column=lambda c: c.by_brand(c.profile.taste.brand_shares(SHORT)),
        prior=1.4,
    ),
    RankingFeature(
        name="bought_together",
        meaning="bought in one session with the last item or what lies in the cart",
        formula="share of the strongest",
        unit="share",
        range="[0, 1]",
        default=0,
        column=ranking_columns.bought_together,
    ),
    RankingFeature(
        name="taste_similarity",
        meaning="likeness to all the visitor touched, by id, category and brand",
        formula="cosine of item vector and long-term embedding (random indexing)",
        unit="",
        range="[-1, 1]",
        default=0,
        column=lambda c: ranking_columns.embedding_similarity(c, LONG),
    ),
    RankingFeature(
        name="session_similarity",
        meaning="likeness to what the visitor touched just now, by id, category and brand",
        formula="cosine of item vector and session embedding, half-life 30 min",
        unit="",
        range="[-1, 1]",
        default=0,
        column=lambda c: ranking_columns.embedding_similarity(c, SHORT),
    ),
    RankingFeature(
        name="context_similarity",
        meaning="likeness to the visitor's last items by what is touched beside them; new items "
        "have it at once",
        formula="cosine of context vectors (random indexing of co-visits)",
        unit="",
        range="[-1, 1]",
        default=0,
        column=ranking_columns.context_similarity,
    ),
    RankingFeature(
        name="item_carts_7d",
        meaning="additions of the item to carts",
        formula="ln(1 + carts), half-life 7 d",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.decayed(CART)),
    ),
    RankingFeature(
        name="item_trending",
        meaning="how wanted the item is now",
        formula="ln(1 + popularity in views), half-life 6 h",
        unit="",
        range="[0, ∞)",
        default=0,
        column=ranking_columns.trending,
    ),
    RankingFeature(
        name="conversion_likelihood",
        meaning="chance that the visit ends with a purchase",
        formula="see the visitor's feature",
        unit="probability",
        range="[0, 1]",
        default=0,
        column=lambda c: conversion_likelihood(c.profile, c.now_ms),
    ),
    RankingFeature(
        name="churn_risk",
        meaning="chance that the visitor had been gone for good",
        formula="see the visitor's feature",
        unit="probability",
        range="[0, 1]",
        default=0,
        column=lambda c: churn_risk(c.profile, c.now_ms),
    ),
    RankingFeature(
        name="session_dwell",
        meaning="attention in this visit",
        formula="ln(1 + s of dwell)",
        unit="",
        range="[0, ∞)",
        default=0,
        column=lambda c: np.log1p(c.profile.session()[1].dwell.elapsed_ms / 1000),
    ),
    RankingFeature(
        name="revisit",
        meaning="place of the item among those that the visitor touched last: people come back",
        formula="2^(-rank), 0 when it is not among the last 50",
        unit="",
        range="[0, 1]",
        default=0,
        column=ranking_columns.revisit,
        prior=3.0,
    ),
    RankingFeature(
        name="text_similarity",
        meaning="likeness to the visitor's last items by title, brand, category and description; "
        "an item has it in the second it is added",
        formula="cosine of item and visitor text vector (static embeddings of word pieces)",
        unit="",
        range="[-1, 1]",
        default=0,
        column=ranking_columns.text_similarity,
    ),
    RankingFeature(
        name="age",
        meaning="time since the item was published",
        formula="ln(1 + h since `published_at`), that of a year where it is unknown",
        unit="",
        range="[0, ∞)",
        default=float(np.log1p(ranking_columns.UNKNOWN_AGE_MS / HOUR_MS)),
        column=ranking_columns.age,
    ),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in RANKING_FEATURES)
COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}
PRIOR_WEIGHTS: dict[str, float] = {
    feature.name: feature.prior for feature in RANKING_FEATURES if feature.prior
}
