"""Features of a visitor at a moment: one row a feature, and nothing about it anywhere else.

Rules read these (`signals`), `docs/features.md` lists them, the ranking matrix builds on the same
profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import exp
from typing import Any, NamedTuple

from pipeline.core.decay import DAY_MS
from pipeline.core.features.churn import USUAL_GAP_DAYS, churn_at_ms, churn_risk, visit_gap_days
from pipeline.core.features.conversion import (
    conversion_likelihood,
    conversion_rate,
    product_revisits,
)
from pipeline.core.features.silence import cart_idle_at_ms, cart_idle_s, idle_at_ms, idle_s
from pipeline.core.features.travel import travel_kmh
from pipeline.core.interests import LONG, SHORT
from pipeline.core.profile import UserProfile

Value = Callable[[UserProfile, int], Any]


class VisitorFeature(NamedTuple):
    """One feature: its name, meaning, formula, unit and range, and its value at `now_ms`.

    An empty range is any text. `default` is the value for an unknown visitor. `at_ms`, of a feature
    that grows in silence, is the first ms at which it is at a value if no event comes.
    """

    name: str
    meaning: str
    formula: str
    unit: str
    range: str
    value: Value
    default: float | str = 0
    at_ms: Callable[[UserProfile, float], int | None] | None = None


def _mean_dwell_s(profile: UserProfile) -> float:
    return profile.dwell_ms / max(profile.total("dwell"), 1) / 1000


def _top(shares: Mapping[str, float]) -> str:
    return min(shares, key=lambda name: (-shares[name], name), default="")


def _windows(label: str, event_type: str | None, meaning: str) -> Iterator[VisitorFeature]:
    for window, span in (("1m", "1 min"), ("5m", "5 min"), ("1h", "1 h"), ("24h", "24 h")):
        yield VisitorFeature(
            name=f"{label}_{window}",
            meaning=f"{meaning} in the last {span}",
            formula="sum of the ring's buckets within the window, exact to one bucket",
            unit="events",
            range="[0, ∞)",
            value=_counter(event_type, window),
        )


def _counter(event_type: str | None, window: str) -> Value:
    if event_type is None:
        return lambda profile, now_ms: profile.count_all(window, now_ms)
    return lambda profile, now_ms: profile.count(event_type, window, now_ms)


VISITOR_FEATURES: tuple[VisitorFeature, ...] = (
    VisitorFeature(
        name="last_category",
        meaning="category last touched on purpose",
        formula="value at the greatest (event time, hash of the event)",
        unit="text",
        range="",
        default="",
        value=lambda p, _: p.last_category,
    ),
    VisitorFeature(
        name="last_item",
        meaning="item last touched on purpose",
        formula="value at the greatest (event time, hash of the event)",
        unit="item id",
        range="",
        default="",
        value=lambda p, _: p.last_item,
    ),
    VisitorFeature(
        name="last_query",
        meaning="newest search",
        formula="value at the greatest (event time, hash of the event)",
        unit="text",
        range="",
        default="",
        value=lambda p, _: p.last_query,
    ),
    VisitorFeature(
        name="idle_s",
        meaning="time since the last event",
        formula="now - newest event time",
        unit="s",
        range="[0, ∞)",
        value=idle_s,
        at_ms=idle_at_ms,
    ),
    VisitorFeature(
        name="events_total",
        meaning="events, ever",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.events_total,
    ),
    VisitorFeature(
        name="views_total",
        meaning="product views, ever",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.total("view_product"),
    ),
    VisitorFeature(
        name="carts_total",
        meaning="additions to the cart, ever",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.total("add_to_cart"),
    ),
    VisitorFeature(
        name="purchases_total",
        meaning="purchases, ever",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.total("purchase"),
    ),
    *_windows("events", None, "events of any type"),
    *_windows("page_views", "page_view", "page views"),
    *_windows("clicks", "click", "clicks"),
    *_windows("searches", "search", "searches"),
    *_windows("views", "view_product", "product views"),
    *_windows("carts", "add_to_cart", "additions to the cart"),
    *_windows("purchases", "purchase", "purchases"),
    *_windows("impressions", "impression", "impressions"),
    *_windows("plays", "media_play", "media starts"),
    VisitorFeature(
        name="known_days",
        meaning="time since the first event",
        formula="(now - oldest event time) / 1 d",
        unit="days",
        range="[0, ∞)",
        value=lambda p, now: max(now - p.first_ms, 0) / DAY_MS if p.events_total else 0.0,
    ),
    VisitorFeature(
        name="active_days",
        meaning="days with an event, of the newest 64",
        formula="bits set in a ring of UTC days",
        unit="days",
        range="[0, 64]",
        value=lambda p, _: p.days.count,
    ),
    VisitorFeature(
        name="visit_gap_days",
        meaning="the visitor's own rhythm",
        formula="(days from first to last active day + 7) / (gaps between them + 1)",
        unit="days",
        range="(0, 64]",
        default=USUAL_GAP_DAYS,
        value=lambda p, _: visit_gap_days(p),
    ),
    VisitorFeature(
        name="churn_risk",
        meaning="chance that the visitor is gone for good",
        formula="p / (p + (1 - p) exp(-idle days / visit_gap_days)), p = 0.05",
        unit="probability",
        range="[0, 1]",
        value=churn_risk,
        at_ms=churn_at_ms,
    ),
    VisitorFeature(
        name="conversion_rate",
        meaning="share of active days with a purchase, smoothed",
        formula="(purchase days + 0.5) / (active days + 10)",
        unit="probability",
        range="(0, 1)",
        default=0.05,
        value=lambda p, _: conversion_rate(p),
    ),
    VisitorFeature(
        name="conversion_likelihood",
        meaning="chance that the present session ends with a purchase",
        formula="logistic(-3.9 + 1.1 [cart] + 0.9 ln(1 + carts) + 0.3 ln(1 + views)"
        " + 0.25 ln(1 + revisits) + 0.2 ln(1 + dwell min) + 2 conversion_rate)"
        " x 2^(-idle / 30 min)",
        unit="probability",
        range="[0, 1]",
        value=conversion_likelihood,
    ),
    VisitorFeature(
        name="session_events",
        meaning="events of the newest session",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.session()[1].events,
    ),
    VisitorFeature(
        name="session_views",
        meaning="product views of the newest session",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.session()[1].count("view_product"),
    ),
    VisitorFeature(
        name="session_carts",
        meaning="additions to the cart in the newest session",
        formula="count",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: p.session()[1].count("add_to_cart"),
    ),
    VisitorFeature(
        name="session_items",
        meaning="different items touched in the newest session",
        formula="size of a set, at most 16",
        unit="items",
        range="[0, 16]",
        value=lambda p, _: len(p.session()[1].items),
    ),
    VisitorFeature(
        name="session_categories",
        meaning="different categories touched in the newest session",
        formula="count, at most 16",
        unit="categories",
        range="[0, 16]",
        value=lambda p, _: len(p.session()[1].categories),
    ),
    VisitorFeature(
        name="session_top_category",
        meaning="most viewed category of the newest session",
        formula="largest count, ties by name",
        unit="text",
        range="",
        default="",
        value=lambda p, _: p.session()[1].top_category(),
    ),
    VisitorFeature(
        name="session_age_s",
        meaning="length of the newest session so far",
        formula="newest - oldest event time",
        unit="s",
        range="[0, ∞)",
        value=lambda p, _: (p.session()[1].last_ms - p.session()[1].first_ms) / 1000,
    ),
    VisitorFeature(
        name="session_dwell_s",
        meaning="attention to pages in the newest session",
        formula="sum of reported dwell; without reports, time from visible to hidden",
        unit="s",
        range="[0, ∞)",
        value=lambda p, _: p.session()[1].dwell.elapsed_ms / 1000,
    ),
    VisitorFeature(
        name="session_media_s",
        meaning="media watched in the newest session",
        formula="sum of reported watch time; without reports, time from play to pause or to "
        "the newest progress",
        unit="s",
        range="[0, ∞)",
        value=lambda p, _: p.session()[1].media.elapsed_ms / 1000,
    ),
    VisitorFeature(
        name="session_scroll_percent",
        meaning="deepest scroll of the newest session",
        formula="maximum",
        unit="%",
        range="[0, 100]",
        value=lambda p, _: p.session()[1].scroll_percent,
    ),
    VisitorFeature(
        name="product_revisits",
        meaning="views and plays of items touched before in the newest session",
        formula="views + plays - different items, at least 0",
        unit="events",
        range="[0, ∞)",
        value=lambda p, _: product_revisits(p),
    ),
    VisitorFeature(
        name="page_dwell_s",
        meaning="usual attention to a page",
        formula="reported dwell / dwell events, ever",
        unit="s",
        range="[0, 3600]",
        value=lambda p, _: _mean_dwell_s(p),
    ),
    VisitorFeature(
        name="watch_time_s",
        meaning="media watched, ever",
        formula="sum of reported watch time",
        unit="s",
        range="[0, ∞)",
        value=lambda p, _: p.watched_ms / 1000,
    ),
    VisitorFeature(
        name="top_category",
        meaning="category of the strongest lasting interest",
        formula="largest share, half-life 7 d, ties by name",
        unit="text",
        range="",
        default="",
        value=lambda p, _: _top(p.taste.category_shares(LONG)),
    ),
    VisitorFeature(
        name="top_category_30m",
        meaning="category of the strongest present interest",
        formula="largest share, half-life 30 min, ties by name",
        unit="text",
        range="",
        default="",
        value=lambda p, _: _top(p.taste.category_shares(SHORT)),
    ),
    VisitorFeature(
        name="top_brand",
        meaning="brand of the strongest lasting interest",
        formula="largest share, half-life 7 d, ties by name",
        unit="text",
        range="",
        default="",
        value=lambda p, _: _top(p.taste.brand_shares(LONG)),
    ),
    VisitorFeature(
        name="top_brand_30m",
        meaning="brand of the strongest present interest",
        formula="largest share, half-life 30 min, ties by name",
        unit="text",
        range="",
        default="",
        value=lambda p, _: _top(p.taste.brand_shares(SHORT)),
    ),
    VisitorFeature(
        name="usual_price",
        meaning="geometric mean price of what was touched",
        formula="exp(decayed mean of ln price), half-life 7 d",
        unit="currency",
        range="[0, ∞)",
        value=lambda p, _: exp(p.taste.log_price() or 0.0) if p.taste.prices.weight else 0.0,
    ),
    VisitorFeature(
        name="price_spread",
        meaning="how much prices of what was touched differ",
        formula="decayed standard deviation of ln price, half-life 7 d",
        unit="ln(currency)",
        range="[0, ∞)",
        value=lambda p, _: p.taste.price_spread(),
    ),
    VisitorFeature(
        name="discount_affinity",
        meaning="share of the interest that went to reduced items",
        formula="decayed weight with a discount / decayed weight with a price, half-life 7 d",
        unit="share",
        range="[0, 1]",
        value=lambda p, _: p.taste.deal_share(),
    ),
    VisitorFeature(
        name="cart_items",
        meaning="items put into the cart and neither removed nor bought",
        formula="count, of the newest 10",
        unit="items",
        range="[0, 10]",
        value=lambda p, _: len(p.in_cart()),
    ),
    VisitorFeature(
        name="cart_value",
        meaning="worth of the cart",
        formula="sum of price x quantity",
        unit="currency",
        range="[0, ∞)",
        value=lambda p, _: (
            sum(entry.value_cents for entry in p.cart.values() if entry.inside) / 100
        ),
    ),
    VisitorFeature(
        name="cart_idle_s",
        meaning="time since the newest addition that still lies in the cart",
        formula="now - its event time",
        unit="s",
        range="[0, ∞)",
        value=cart_idle_s,
        at_ms=cart_idle_at_ms,
    ),
    VisitorFeature(
        name="first_referrer",
        meaning="site the visitor first came from",
        formula="value at the smallest event time",
        unit="host",
        range="",
        default="",
        value=lambda p, _: p.first_touch.referrer if p.first_touch else "",
    ),
    VisitorFeature(
        name="first_campaign",
        meaning="campaign the visitor first came by",
        formula="value at the smallest event time",
        unit="text",
        range="",
        default="",
        value=lambda p, _: p.first_touch.campaign if p.first_touch else "",
    ),
    VisitorFeature(
        name="is_identified",
        meaning="1 when some event named the account",
        formula="any",
        unit="",
        range="{0, 1}",
        value=lambda p, _: float(p.identified),
    ),
    VisitorFeature(
        name="clicks_without_impression",
        meaning="clicks on recommended items that were never shown",
        formula="of the newest 6 such clicks, those whose (request, item) is not among the "
        "newest 24 impressions",
        unit="events",
        range="[0, 6]",
        value=lambda p, _: p.clicks_without_impression(),
    ),
    VisitorFeature(
        name="same_purchases_10m",
        meaning="most purchases of one item within 10 min",
        formula="maximum, among the newest 6 purchases",
        unit="events",
        range="[0, 6]",
        value=lambda p, _: p.same_purchases(),
    ),
    VisitorFeature(
        name="travel_kmh",
        meaning="speed of travel between the places of the two newest sessions",
        formula="great-circle distance / time between",
        unit="km/h",
        range="[0, ∞)",
        value=lambda p, _: travel_kmh(p),
    ),
)
BY_NAME: dict[str, VisitorFeature] = {feature.name: feature for feature in VISITOR_FEATURES}
NUMERIC = frozenset(
    feature.name for feature in VISITOR_FEATURES if not isinstance(feature.default, str)
)
