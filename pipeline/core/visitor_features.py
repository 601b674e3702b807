"""Features of a visitor at a moment, by name: one row a feature, and nothing about it anywhere
else.

Rules read these (`Signals`), `docs/features.md` lists them, the ranking matrix builds on the same
profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import asin, ceil, cos, exp, log, log1p, radians, sin, sqrt
from typing import Any, NamedTuple

from pipeline.core.decay import DAY_MS
from pipeline.core.profile import UserProfile
from pipeline.core.session_totals import Place
from pipeline.core.taste import LONG, SHORT

Value = Callable[[UserProfile, int], Any]


class VisitorFeature(NamedTuple):
    """One feature: how it is called, what it means, how it is computed at `now_ms`, and what values
    it takes.
    """

    name: str
    meaning: str
    formula: str
    unit: str
    range: str
    default: float | str
    value: Value


# Churn: how likely a visitor never came back after their last day, and the rhythm of one who came
# once.
CHURN_PRIOR = 0.05
USUAL_GAP_DAYS = 7.0
# Conversion: a logistic model set by hand, like the ranker's prior; it fades as the session grows
# cold.
CONVERSION_BIAS = -3.9
CONVERSION_HALF_LIFE_S = 1800.0
EARTH_RADIUS_KM = 6371.0


def visit_gap_days(profile: UserProfile) -> float:
    """The visitor's own rhythm: mean days between active days, shrunk to 7 days by one gap of that
    length.
    """
    gaps = max(profile.days.count - 1, 0)
    return (profile.days.span + USUAL_GAP_DAYS) / (gaps + 1)


def churn_risk(profile: UserProfile, now_ms: int) -> float:
    """The chance that the visitor is gone for good, in [0, 1): grows with silence, the faster the
    denser the rhythm.

    With exponential gaps of mean m days and a chance p of leaving after a visit, the posterior
    after t silent days is p / (p + (1 - p) exp(-t / m)): the "buy till you die" models' idea
    (Schmittlein, Morrison, Colombo, "Counting your customers", Management Science 1987; Fader,
    Hardie, Lee, Marketing Science 2005) without their fitting.
    """
    if not profile.events_total:
        return 0.0
    silence = max(now_ms - profile.newest_ms, 0) / DAY_MS
    return CHURN_PRIOR / (CHURN_PRIOR + (1 - CHURN_PRIOR) * exp(-silence / visit_gap_days(profile)))


def conversion_likelihood(profile: UserProfile, now_ms: int) -> float:
    """The chance that the present session ends with a purchase, in [0, 1]; moves with every event.

    logistic(-3.9 + 1.1 [cart not empty] + 0.9 ln(1 + carts) + 0.3 ln(1 + views) + 0.25 ln(1 +
    revisits) + 0.2 ln(1 + dwell min) + 2 conversion rate) x 2^(-idle / 30 min); counts are of the
    session.
    """
    if not profile.events_total:
        return 0.0
    session = profile.session()[1]
    score = (
        CONVERSION_BIAS
        + 1.1 * bool(profile.in_cart())
        + 0.9 * log1p(session.count("add_to_cart"))
        + 0.3 * log1p(session.count("view_product"))
        + 0.25 * log1p(_revisits(profile))
        + 0.2 * log1p(session.dwell.elapsed_ms / 60_000)
        + 2.0 * _conversion_rate(profile)
    )
    return float(2.0 ** (-_idle_s(profile, now_ms) / CONVERSION_HALF_LIFE_S)) / (1.0 + exp(-score))


def travel_kmh(profile: UserProfile) -> float:
    """The speed that the way between the places of the two newest sessions took, in km/h; 0 when
    either is unknown.
    """
    places = sorted(
        session.place for session in profile.sessions.values() if session.place is not None
    )
    if len(places) < 2:
        return 0.0
    hours = max(places[-1][0] - places[-2][0], 1000) / 3_600_000
    return _distance_km(places[-2], places[-1]) / hours


def _distance_km(one: Place, two: Place) -> float:
    """The great-circle distance (haversine)."""
    (_, lat1, lon1), (_, lat2, lon2) = one, two
    a = sin(radians(lat2 - lat1) / 2) ** 2
    a += cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(a, 1.0)))


def _idle_s(profile: UserProfile, now_ms: int) -> float:
    return max(now_ms - profile.newest_ms, 0) / 1000 if profile.events_total else 0.0


def _cart_newest_ms(profile: UserProfile) -> int:
    return max((entry.time_ms for entry in profile.cart.values() if entry.inside), default=0)


def _cart_idle_s(profile: UserProfile, now_ms: int) -> float:
    newest_ms = _cart_newest_ms(profile)
    return max(now_ms - newest_ms, 0) / 1000 if newest_ms else 0.0


def _revisits(profile: UserProfile) -> int:
    """A click leads to a view, so views and plays alone count."""
    session = profile.session()[1]
    return max(session.count("view_product") + session.count("media_play") - len(session.items), 0)


def _conversion_rate(profile: UserProfile) -> float:
    return (profile.purchase_days.count + 0.5) / (profile.days.count + 10.0)


def _mean_dwell_s(profile: UserProfile) -> float:
    pages = profile.total("dwell")
    return profile.dwell_ms / pages / 1000 if pages else 0.0


def _top(shares: Mapping[str, float]) -> str:
    return min(shares, key=lambda name: (-shares[name], name), default="")


def _windows(label: str, event_type: str | None, meaning: str) -> Iterator[VisitorFeature]:
    for window, span in (("1m", "1 min"), ("5m", "5 min"), ("1h", "1 h"), ("24h", "24 h")):
        yield VisitorFeature(
            f"{label}_{window}",
            f"{meaning} in the last {span}",
            "sum of the ring's buckets within the window, exact to one bucket",
            "events",
            "[0, ∞)",
            0,
            _counter(event_type, window),
        )


def _counter(event_type: str | None, window: str) -> Value:
    if event_type is None:
        return lambda profile, now_ms: profile.count_all(window, now_ms)
    return lambda profile, now_ms: profile.count(event_type, window, now_ms)


VISITOR_FEATURES: tuple[VisitorFeature, ...] = (
    VisitorFeature(
        "last_category",
        "category last touched on purpose",
        "value at the greatest (event time, hash of the event)",
        "text",
        "",
        "",
        lambda p, _: p.last_category,
    ),
    VisitorFeature(
        "last_item",
        "item last touched on purpose",
        "value at the greatest (event time, hash of the event)",
        "item id",
        "",
        "",
        lambda p, _: p.last_item,
    ),
    VisitorFeature(
        "last_query",
        "newest search",
        "value at the greatest (event time, hash of the event)",
        "text",
        "",
        "",
        lambda p, _: p.last_query,
    ),
    VisitorFeature(
        "idle_s", "time since the last event", "now - newest event time", "s", "[0, ∞)", 0, _idle_s
    ),
    VisitorFeature(
        "events_total", "events, ever", "count", "events", "[0, ∞)", 0, lambda p, _: p.events_total
    ),
    VisitorFeature(
        "views_total",
        "product views, ever",
        "count",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: p.total("view_product"),
    ),
    VisitorFeature(
        "carts_total",
        "additions to the cart, ever",
        "count",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: p.total("add_to_cart"),
    ),
    VisitorFeature(
        "purchases_total",
        "purchases, ever",
        "count",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: p.total("purchase"),
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
        "known_days",
        "time since the first event",
        "(now - oldest event time) / 1 d",
        "days",
        "[0, ∞)",
        0,
        lambda p, now: max(now - p.first_ms, 0) / DAY_MS if p.events_total else 0.0,
    ),
    VisitorFeature(
        "active_days",
        "days with an event, of the newest 64",
        "bits set in a ring of UTC days",
        "days",
        "[0, 64]",
        0,
        lambda p, _: p.days.count,
    ),
    VisitorFeature(
        "visit_gap_days",
        "the visitor's own rhythm",
        "(days from first to last active day + 7) / (gaps between them + 1)",
        "days",
        "(0, 64]",
        USUAL_GAP_DAYS,
        lambda p, _: visit_gap_days(p),
    ),
    VisitorFeature(
        "churn_risk",
        "chance that the visitor is gone for good",
        "p / (p + (1 - p) exp(-idle days / visit_gap_days)), p = 0.05",
        "probability",
        "[0, 1]",
        0,
        churn_risk,
    ),
    VisitorFeature(
        "conversion_rate",
        "share of active days with a purchase, smoothed",
        "(purchase days + 0.5) / (active days + 10)",
        "probability",
        "(0, 1)",
        0.05,
        lambda p, _: _conversion_rate(p),
    ),
    VisitorFeature(
        "conversion_likelihood",
        "chance that the present session ends with a purchase",
        "logistic(-3.9 + 1.1 [cart] + 0.9 ln(1 + carts) + 0.3 ln(1 + views) + 0.25 ln(1 + revisits)"
        " + 0.2 ln(1 + dwell min) + 2 conversion_rate) x 2^(-idle / 30 min)",
        "probability",
        "[0, 1]",
        0,
        conversion_likelihood,
    ),
    VisitorFeature(
        "session_events",
        "events of the newest session",
        "count",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: p.session()[1].events,
    ),
    VisitorFeature(
        "session_views",
        "product views of the newest session",
        "count",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: p.session()[1].count("view_product"),
    ),
    VisitorFeature(
        "session_carts",
        "additions to the cart in the newest session",
        "count",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: p.session()[1].count("add_to_cart"),
    ),
    VisitorFeature(
        "session_items",
        "different items touched in the newest session",
        "size of a set, at most 16",
        "items",
        "[0, 16]",
        0,
        lambda p, _: len(p.session()[1].items),
    ),
    VisitorFeature(
        "session_categories",
        "different categories touched in the newest session",
        "count, at most 16",
        "categories",
        "[0, 16]",
        0,
        lambda p, _: len(p.session()[1].categories),
    ),
    VisitorFeature(
        "session_top_category",
        "most viewed category of the newest session",
        "largest count, ties by name",
        "text",
        "",
        "",
        lambda p, _: p.session()[1].top_category(),
    ),
    VisitorFeature(
        "session_age_s",
        "length of the newest session so far",
        "newest - oldest event time",
        "s",
        "[0, ∞)",
        0,
        lambda p, _: (p.session()[1].last_ms - p.session()[1].first_ms) / 1000,
    ),
    VisitorFeature(
        "session_dwell_s",
        "attention to pages in the newest session",
        "sum of reported dwell; without reports, time from visible to hidden",
        "s",
        "[0, ∞)",
        0,
        lambda p, _: p.session()[1].dwell.elapsed_ms / 1000,
    ),
    VisitorFeature(
        "session_media_s",
        "media watched in the newest session",
        "sum of reported watch time; without reports, time from play to pause or to the newest "
        "progress",
        "s",
        "[0, ∞)",
        0,
        lambda p, _: p.session()[1].media.elapsed_ms / 1000,
    ),
    VisitorFeature(
        "session_scroll_percent",
        "deepest scroll of the newest session",
        "maximum",
        "%",
        "[0, 100]",
        0,
        lambda p, _: p.session()[1].scroll_percent,
    ),
    VisitorFeature(
        "product_revisits",
        "views and plays of items touched before in the newest session",
        "views + plays - different items, at least 0",
        "events",
        "[0, ∞)",
        0,
        lambda p, _: _revisits(p),
    ),
    VisitorFeature(
        "page_dwell_s",
        "usual attention to a page",
        "reported dwell / dwell events, ever",
        "s",
        "[0, 3600]",
        0,
        lambda p, _: _mean_dwell_s(p),
    ),
    VisitorFeature(
        "watch_time_s",
        "media watched, ever",
        "sum of reported watch time",
        "s",
        "[0, ∞)",
        0,
        lambda p, _: p.watched_ms / 1000,
    ),
    VisitorFeature(
        "top_category",
        "category of the strongest lasting interest",
        "largest share, half-life 7 d, ties by name",
        "text",
        "",
        "",
        lambda p, _: _top(p.taste.category_shares(LONG)),
    ),
    VisitorFeature(
        "top_category_30m",
        "category of the strongest present interest",
        "largest share, half-life 30 min, ties by name",
        "text",
        "",
        "",
        lambda p, _: _top(p.taste.category_shares(SHORT)),
    ),
    VisitorFeature(
        "top_brand",
        "brand of the strongest lasting interest",
        "largest share, half-life 7 d, ties by name",
        "text",
        "",
        "",
        lambda p, _: _top(p.taste.brand_shares(LONG)),
    ),
    VisitorFeature(
        "top_brand_30m",
        "brand of the strongest present interest",
        "largest share, half-life 30 min, ties by name",
        "text",
        "",
        "",
        lambda p, _: _top(p.taste.brand_shares(SHORT)),
    ),
    VisitorFeature(
        "usual_price",
        "geometric mean price of what was touched",
        "exp(decayed mean of ln price), half-life 7 d",
        "currency",
        "[0, ∞)",
        0,
        lambda p, _: exp(p.taste.log_price() or 0.0) if p.taste.prices.weight else 0.0,
    ),
    VisitorFeature(
        "price_spread",
        "how much prices of what was touched differ",
        "decayed standard deviation of ln price, half-life 7 d",
        "ln(currency)",
        "[0, ∞)",
        0,
        lambda p, _: p.taste.price_spread(),
    ),
    VisitorFeature(
        "discount_affinity",
        "share of the interest that went to reduced items",
        "decayed weight with a discount / decayed weight with a price, half-life 7 d",
        "share",
        "[0, 1]",
        0,
        lambda p, _: p.taste.deal_share(),
    ),
    VisitorFeature(
        "cart_items",
        "items put into the cart and neither removed nor bought",
        "count, of the newest 10",
        "items",
        "[0, 10]",
        0,
        lambda p, _: len(p.in_cart()),
    ),
    VisitorFeature(
        "cart_value",
        "worth of the cart",
        "sum of price x quantity",
        "currency",
        "[0, ∞)",
        0,
        lambda p, _: sum(entry.value_cents for entry in p.cart.values() if entry.inside) / 100,
    ),
    VisitorFeature(
        "cart_idle_s",
        "time since the newest addition that still lies in the cart",
        "now - its event time",
        "s",
        "[0, ∞)",
        0,
        _cart_idle_s,
    ),
    VisitorFeature(
        "first_referrer",
        "site the visitor first came from",
        "value at the smallest event time",
        "host",
        "",
        "",
        lambda p, _: p.first_touch.referrer if p.first_touch else "",
    ),
    VisitorFeature(
        "first_campaign",
        "campaign the visitor first came by",
        "value at the smallest event time",
        "text",
        "",
        "",
        lambda p, _: p.first_touch.campaign if p.first_touch else "",
    ),
    VisitorFeature(
        "is_identified",
        "1 when some event named the account",
        "any",
        "",
        "{0, 1}",
        0,
        lambda p, _: float(p.identified),
    ),
    VisitorFeature(
        "clicks_without_impression",
        "clicks on recommended items that were never shown",
        "of the newest 6 such clicks, those whose (request, item) is not among the newest 24 "
        "impressions",
        "events",
        "[0, 6]",
        0,
        lambda p, _: p.clicks_without_impression(),
    ),
    VisitorFeature(
        "same_purchases_10m",
        "most purchases of one item within 10 min",
        "maximum, among the newest 6 purchases",
        "events",
        "[0, 6]",
        0,
        lambda p, _: p.same_purchases(),
    ),
    VisitorFeature(
        "travel_kmh",
        "speed of travel between the places of the two newest sessions",
        "great-circle distance / time between",
        "km/h",
        "[0, ∞)",
        0,
        lambda p, _: travel_kmh(p),
    ),
)
BY_NAME: dict[str, VisitorFeature] = {feature.name: feature for feature in VISITOR_FEATURES}
NUMERIC = frozenset(
    feature.name for feature in VISITOR_FEATURES if not isinstance(feature.default, str)
)


class Signals(Mapping[str, float]):
    """The numeric features of one visitor at one moment, by name; each is computed when first asked
    for.
    """

    def __init__(self, profile: UserProfile, now_ms: int) -> None:
        self._profile, self._now_ms = profile, now_ms
        self._known: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        value = self._known.get(name)
        if value is None:
            if name not in NUMERIC:
                raise KeyError(name)
            value = self._known[name] = float(BY_NAME[name].value(self._profile, self._now_ms))
        return value

    def __iter__(self) -> Iterator[str]:
        return (feature.name for feature in VISITOR_FEATURES if feature.name in NUMERIC)

    def __len__(self) -> int:
        return len(NUMERIC)

    def when(self, name: str, value: float) -> int | None:
        """The first ms at which a feature that grows in silence is at `value`, if nothing else
        happens; None: never.

        `idle_s`, `cart_idle_s` and `churn_risk` do; for any other the answer is None.
        """
        profile = self._profile
        if not profile.events_total:
            return None
        if name == "idle_s":
            return profile.newest_ms + ceil(value * 1000)
        if name == "cart_idle_s":
            newest_ms = _cart_newest_ms(profile)
            return newest_ms + ceil(value * 1000) if newest_ms else None
        if name == "churn_risk" and value < 1:
            return profile.newest_ms + ceil(_days_until(value, profile) * DAY_MS)
        return None


def _days_until(risk: float, profile: UserProfile) -> float:
    """The silence after which `churn_risk` reaches `risk` (below 1): its inverse."""
    if risk <= CHURN_PRIOR:
        return 0.0
    odds = risk * (1 - CHURN_PRIOR) / (CHURN_PRIOR * (1 - risk))
    return visit_gap_days(profile) * log(odds)
