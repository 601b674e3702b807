"""Each feature of a visitor by a story of events, and when those that grow in silence get there."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, log1p
from typing import Any, NamedTuple

import pytest

from pipeline.core.events import Event
from pipeline.core.features.churn import CHURN_PRIOR
from pipeline.core.features.visitor import BY_NAME, VISITOR_FEATURES
from pipeline.core.item_tapes import MAX_IMPRESSIONS
from pipeline.core.profile import UserProfile
from tests.pipeline.core.features.stories import (
    BERLIN,
    HATS,
    MUNICH,
    SHOES,
    in_session,
    said,
    touch,
)
from tests.pipeline.core.streams import START_MS, Fact, event, profile_of

DAY_S = 86_400


class Story(NamedTuple):
    """What happened, and what a feature is at `now_s` after `START`."""

    feature: str
    expected: Any
    happened: Sequence[Event | Fact]
    now_s: float = 0.0


def told(story: Story) -> UserProfile:
    return profile_of([one if isinstance(one, tuple) else (one, None) for one in story.happened])


SHOWN = [said("impression", 0, f"p{n}", request_id="r") for n in range(3)]
BOUGHT = [said("purchase", at_s, "a", n=at_s) for at_s in (0, 0.5, 300, 600, 1300)] + [
    said("purchase", 5, "b")
]

STORIES = [
    Story("last_category", "hats", [touch(HATS, "click", 9), touch(SHOES, at_s=5)]),
    Story("last_item", "b", [touch(HATS, "click", 9), touch(SHOES, at_s=5)]),
    Story("last_query", "lamp", [said("search", 9, query="lamp"), said("search", 5, query="shoe")]),
    Story("idle_s", 41.0, [said("scroll", 9), said("scroll", 5)], 50),
    Story("idle_s", 0.0, [said("scroll", 9)], 5),
    Story("events_total", 3, [said("scroll"), said("rating"), said("click")]),
    Story("views_total", 1, [touch(SHOES), said("media_play", 1, "a")]),
    Story("carts_total", 2, [touch(SHOES, "add_to_cart"), touch(HATS, "add_to_cart")]),
    Story("purchases_total", 1, [touch(SHOES, "add_to_cart"), touch(SHOES, "purchase", 1)]),
    Story("known_days", 1.5, [said("scroll", 9 * 3600), said("scroll")], 1.5 * DAY_S),
    Story("active_days", 2, [said("scroll", day * DAY_S) for day in (0, 0.3, 5)], 6 * DAY_S),
    Story("visit_gap_days", 7.0, [said("scroll")]),
    Story("visit_gap_days", (6 + 7) / 4, [said("scroll", day * DAY_S) for day in (0, 2, 4, 6)]),
    Story("churn_risk", CHURN_PRIOR, [said("scroll")]),
    Story("churn_risk", 0.05 / (0.05 + 0.95 * exp(-2)), [said("scroll")], 14 * DAY_S),
    Story(
        "conversion_rate",
        1.5 / 12,
        [touch(SHOES, "purchase"), touch(SHOES, "purchase", 9), said("scroll", DAY_S)],
    ),
    Story(
        "conversion_likelihood", 1 / (1 + exp(3.9 - 0.3 * log(2) - 2 * 0.5 / 11)), [touch(SHOES)]
    ),
    Story(
        "conversion_likelihood",
        0.5 / (1 + exp(3.9 - 0.3 * log(2) - 2 * 0.5 / 11)),
        [touch(SHOES)],
        1800,
    ),
    Story(
        "conversion_likelihood",
        1
        / (
            1
            + exp(
                3.9
                - 1.1
                - 0.9 * log(2)
                - 0.3 * log(3)
                - 0.25 * log(2)
                - 0.2 * log1p(1.5)
                - 2 * 0.5 / 11
            )
        ),
        [
            touch(SHOES),
            touch(SHOES, at_s=1),
            touch(SHOES, "add_to_cart", 2),
            said("dwell", 3, dwell_ms=90_000),
        ],
        3,
    ),
    Story("session_events", 2, [in_session("new", 9), in_session("old", 5), in_session("new", 7)]),
    Story("session_views", 1, [touch(SHOES), said("media_play", 1, "a"), said("click", 2, "a")]),
    Story("session_carts", 1, [touch(SHOES, "add_to_cart"), touch(SHOES, "remove_from_cart", 1)]),
    Story(
        "session_items",
        2,
        [touch(SHOES), touch(SHOES, "click", 1), touch(HATS, at_s=2), said("impression", 3, "c")],
    ),
    Story("session_categories", 2, [touch(SHOES), touch(SHOES, at_s=1), touch(HATS, at_s=2)]),
    Story(
        "session_top_category", "shoes", [touch(SHOES), touch(SHOES, at_s=1), touch(HATS, at_s=2)]
    ),
    Story("session_age_s", 35.0, [said("scroll", 40), said("scroll", 5)], 99),
    Story(
        "session_dwell_s", 2.5, [said("dwell", 1, dwell_ms=2000), said("dwell", 2, dwell_ms=500)]
    ),
    Story(
        "session_dwell_s",
        30.0,
        [said("visibility", 0, state="visible"), said("visibility", 30, state="hidden")],
    ),
    Story("session_media_s", 12.0, [said("media_play", 0, "a"), said("media_progress", 12, "a")]),
    Story("session_scroll_percent", 80, [said("scroll", 1, depth=80), said("scroll", 2, depth=30)]),
    Story(
        "product_revisits",
        1,
        [touch(SHOES), touch(SHOES, at_s=1), touch(HATS, at_s=2), said("click", 3, "a")],
    ),
    Story("product_revisits", 0, [said("click", 3, "a")]),
    Story(
        "page_dwell_s",
        20.0,
        [said("dwell", 1, dwell_ms=30_000), said("dwell", DAY_S, dwell_ms=10_000)],
    ),
    Story(
        "watch_time_s",
        7.0,
        [said("media_progress", 1, watched_ms=5000), said("media_pause", DAY_S, watched_ms=2000)],
    ),
    Story("top_category", "shoes", [touch(SHOES, "purchase"), touch(HATS, at_s=7200)]),
    Story("top_category_30m", "hats", [touch(SHOES, "purchase"), touch(HATS, at_s=7200)]),
    Story("top_brand", "acme", [touch(SHOES, "purchase"), touch(HATS, at_s=7200)]),
    Story("top_brand_30m", "best", [touch(SHOES, "purchase"), touch(HATS, at_s=7200)]),
    Story("usual_price", 100.0, [touch(SHOES), touch(HATS)]),
    Story("price_spread", log(10), [touch(SHOES), touch(HATS)]),
    Story("price_spread", 0.0, [touch(SHOES), touch(SHOES, at_s=1)]),
    Story("discount_affinity", 0.25, [touch(SHOES, "add_to_cart"), touch(HATS, discount=5)]),
    Story(
        "discount_affinity", 0.5, [touch(SHOES, list_price=20.0), touch(HATS, list_price=1000.0)]
    ),
    Story(
        "cart_items",
        1,
        [touch(SHOES, "add_to_cart"), touch(HATS, "add_to_cart"), touch(HATS, "purchase", 1)],
    ),
    Story(
        "cart_value",
        10.0 * 3 + 900.0,
        [touch(SHOES, "add_to_cart", quantity=3), touch(HATS, "add_to_cart", 1, price=900.0)],
    ),
    Story("cart_value", 0.0, [touch(SHOES, "add_to_cart"), touch(SHOES, "remove_from_cart", 1)]),
    Story(
        "cart_idle_s",
        55.0,
        [touch(SHOES, "add_to_cart"), touch(HATS, "add_to_cart", 5), said("scroll", 50)],
        60,
    ),
    Story(
        "cart_idle_s",
        60.0,
        [
            touch(SHOES, "add_to_cart"),
            touch(HATS, "add_to_cart", 5),
            touch(HATS, "remove_from_cart", 9),
        ],
        60,
    ),
    Story("cart_idle_s", 0.0, [touch(SHOES, "add_to_cart"), touch(SHOES, "purchase", 1)], 60),
    Story(
        "first_referrer",
        "search.example",
        [
            said("page_view", 9, referrer="https://mail.example/x", url="https://shop.example/"),
            said(
                "page_view",
                5,
                referrer="https://search.example:443/q?x=1",
                url="https://shop.example/",
            ),
            said("page_view", 1, referrer="https://shop.example/", url="https://shop.example/next"),
        ],
    ),
    Story(
        "first_referrer",
        "",
        [said("page_view", 1, referrer="http://[broken", utm_campaign="spring")],
    ),
    Story(
        "first_campaign",
        "spring",
        [said("page_view", 1, url="https://shop.example/?x=1&utm_campaign=spring#top")],
    ),
    Story(
        "first_campaign",
        "a",
        [said("page_view", 9, utm_campaign="b"), said("page_view", 1, utm_campaign="a")],
    ),
    Story("is_identified", 1.0, [event("identify", user_id="u")]),
    Story("is_identified", 0.0, [event("page_view", user_id=None, anonymous_id="a")]),
    Story("clicks_without_impression", 0, [*SHOWN, said("click", 1, "p1", request_id="r")]),
    Story(
        "clicks_without_impression",
        2,
        [*SHOWN, *(said("click", 1, f"p{n}", request_id="s") for n in (1, 2))],
    ),
    Story(
        "clicks_without_impression",
        1,
        [*SHOWN, said("click", 1, "p9", request_id="r"), said("click", 2, "p8")],
    ),
    Story("same_purchases_10m", 4, BOUGHT),
    Story("travel_kmh", 0.0, [in_session("s1", 0, **BERLIN), in_session("s1", 3600, **MUNICH)]),
    Story("travel_kmh", 504.3, [in_session("s1", 0, **BERLIN), in_session("s2", 3600, **MUNICH)]),
    Story("travel_kmh", 0.0, [in_session("s1", 0, **BERLIN), in_session("s2", 3600)]),
]


@pytest.mark.parametrize(
    "story", STORIES, ids=[f"{n}-{story.feature}" for n, story in enumerate(STORIES)]
)
def test_a_feature_is_what_its_story_tells_in_any_order(story: Story) -> None:
    now_ms = START_MS + round(story.now_s * 1000)
    expected = (
        story.expected
        if isinstance(story.expected, str)
        else pytest.approx(story.expected, rel=1e-4)
    )
    for happened in (story.happened, story.happened[::-1]):
        assert (
            BY_NAME[story.feature].value(told(story._replace(happened=happened)), now_ms)
            == expected
        )


KINDS = {
    "events": "rating",
    "page_views": "page_view",
    "clicks": "click",
    "searches": "search",
    "views": "view_product",
    "carts": "add_to_cart",
    "purchases": "purchase",
    "impressions": "impression",
    "plays": "media_play",
}
SPANS_S = {"1m": 60, "5m": 300, "1h": 3600, "24h": 86_400}


@pytest.mark.parametrize("label", KINDS)
@pytest.mark.parametrize("window", SPANS_S)
def test_a_window_counts_events_of_its_type_until_it_has_passed(label: str, window: str) -> None:
    feature, span_s = BY_NAME[f"{label}_{window}"], SPANS_S[window]
    profile = profile_of(
        [(said(KINDS[label], at_s, "p"), None) for at_s in (0, 0.001)]
        + [(said("dwell", 0.5), None)]
    )
    every = 3 if label == "events" else 2
    # A bucket of the widest ring is an hour.
    ages_s = {1: every, span_s - 1: every, span_s + 3600: 0}
    assert {age_s: feature.value(profile, START_MS + age_s * 1000) for age_s in ages_s} == ages_s


def test_every_feature_has_a_story() -> None:
    told_of = {story.feature for story in STORIES} | {
        f"{label}_{window}" for label in KINDS for window in SPANS_S
    }
    assert told_of == {feature.name for feature in VISITOR_FEATURES} and len(BY_NAME) == len(
        VISITOR_FEATURES
    )


def test_a_click_older_than_the_oldest_impression_remembered_is_not_held_against_the_visitor() -> (
    None
):
    old = said("click", 0, "p", request_id="long ago")
    shown = [said("impression", 10 + n, f"p{n}", request_id="r") for n in range(MAX_IMPRESSIONS)]
    assert profile_of([(one, None) for one in (old, *shown[1:])]).clicks_without_impression() == 1
    assert profile_of([(one, None) for one in (old, *shown)]).clicks_without_impression() == 0
