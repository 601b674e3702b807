"""Laws of the profile on generated streams, what is dropped at its bounds, and each reading by a
story.
"""

from __future__ import annotations

import itertools
from math import log
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.event_types import CUSTOM_CODE, ENGAGED, ENGAGED_CODES, EVENT_CODES, WINDOWS_MS
from pipeline.core.events import Event
from pipeline.core.first_touch import FirstTouch
from pipeline.core.fold import fold, item_sums
from pipeline.core.interests import LONG, MAX_BRANDS, MAX_CATEGORIES
from pipeline.core.item_tapes import (
    MAX_IMPRESSIONS,
    MAX_PURCHASES,
    MAX_SLATE_CLICKS,
    item_hash,
)
from pipeline.core.items import ITEM_CODES
from pipeline.core.profile import (
    MAX_CART_ITEMS,
    MAX_KEPT_TEXT,
    MAX_QUERIES,
    MAX_RECENT_ITEMS,
    MAX_SEEN_IDS,
    MAX_SESSIONS,
    UserProfile,
)
from pipeline.core.profile_view import readable
from pipeline.core.session_totals import (
    MAX_SESSION_CATEGORIES,
    MAX_SESSION_ITEMS,
    MAX_SESSION_PURCHASES,
    SessionTotals,
)
from tests.pipeline.core.streams import (
    NAMES,
    START_MS,
    Fact,
    assert_same,
    disorder,
    disordered,
    event,
    facts,
    laws,
    messages,
    profile_of,
    randoms,
    shuffled,
    split,
)

AHEAD_MS = 5 * MINUTE_MS
WIDTHS_MS = {"1m": 10_000, "5m": 10_000, "1h": 2 * MINUTE_MS, "24h": HOUR_MS}


def of(*events: Event, item: Item | None = None) -> UserProfile:
    return profile_of([(found, item) for found in events])


# laws


@laws
@given(disordered(most=60))
def test_a_shuffled_doubled_and_late_stream_gives_the_profile_of_the_clean_one(
    streams: tuple[list[Fact], list[Fact]],
) -> None:
    clean, disorder = streams
    assert_same(profile_of(disorder), profile_of(clean))


@laws
@given(disordered(), randoms())
def test_storing_and_reading_back_after_each_message_changes_nothing(
    streams: tuple[list[Fact], list[Fact]], random: Random
) -> None:
    clean, disorder = streams
    profile = UserProfile()
    for message in messages(random, disorder):
        profile = UserProfile.decode(profile.encode())
        for found, item in message:
            profile.add(found, item)
    assert_same(profile.copy(), profile_of(clean))


@laws
@given(facts(), randoms())
def test_a_stream_split_over_profiles_merges_to_the_whole_in_any_grouping(
    stream: list[Fact], random: Random
) -> None:
    parts = split(random, stream, 3)
    profiles = [profile_of(part) for part in parts]
    whole = profile_of(stream)
    for order in itertools.permutations(profiles):
        left = order[0].copy()
        left.merge(order[1])
        left.merge(order[2])
        right = order[1].copy()
        right.merge(order[2])
        grouped = order[0].copy()
        grouped.merge(right)
        assert_same(left.copy(), whole)
        assert_same(grouped.copy(), whole)
    for profile, part in zip(profiles, parts, strict=True):
        assert_same(profile, profile_of(part))


@laws
@given(facts())
def test_an_empty_profile_is_neutral_on_either_side(stream: list[Fact]) -> None:
    whole, left, right = profile_of(stream), UserProfile(), profile_of(stream)
    left.merge(whole)
    right.merge(UserProfile())
    assert_same(left.copy(), whole)
    assert_same(right.copy(), whole)


@laws
@given(facts())
def test_a_profile_is_read_as_it_was_written_and_every_event_in_it_is_known(
    stream: list[Fact],
) -> None:
    profile = profile_of(stream)
    assert UserProfile.decode(profile.encode()) == profile == profile.copy()
    assert all(
        profile.contains(found.event_id, found.event, found.product_id) for found, _ in stream
    )
    assert not any(profile.add(found, item) for found, item in stream)
    assert UserProfile.decode(profile.encode()) == profile_of(stream)
    assert profile.events_total == len(stream)


@laws
@given(
    facts(max_size=80, span_s=2 * 3600),
    st.integers(-AHEAD_MS, DAY_MS),
    st.sampled_from(sorted(WINDOWS_MS)),
)
def test_windows_are_exact_to_one_bucket_at_any_read_time(
    stream: list[Fact], after: int, window: str
) -> None:
    profile = profile_of(stream)
    # Read within the window's reach, too, or most of them would be empty.
    after = after if after < 0 else after % (2 * WINDOWS_MS[window])
    now_ms, window_ms, width_ms = (
        max(profile.newest_ms, START_MS) + after,
        WINDOWS_MS[window],
        WIDTHS_MS[window],
    )
    every = 0
    for name in NAMES:
        ages = [now_ms - found.time_ms for found, _ in stream if found.event == name]
        counted = profile.count(name, window, now_ms)
        every += counted
        # The bucket of `now` may hold what lies ahead, the bucket of the start what lies just
        # before.
        assert sum(0 <= age < window_ms for age in ages) <= counted
        assert counted <= sum(-width_ms < age < window_ms + width_ms for age in ages)
    assert profile.count_all(window, now_ms) == every
    assert profile.engaged(window, now_ms) == sum(
        profile.count(name, window, now_ms) for name in ENGAGED
    )


@laws
@given(facts())
def test_every_view_of_a_profile_is_finite_and_in_range(stream: list[Fact]) -> None:
    profile = profile_of(stream)
    shares = profile.category_interest()
    assert all(0 <= share <= 1 for share in shares.values())
    assert not shares or sum(shares.values()) == pytest.approx(1.0)
    described = readable(profile, profile.newest_ms)
    assert described["events_total"] == len(stream)
    assert described["session"]["events"] <= len(stream)


# duplicates


def test_an_event_added_twice_says_so_and_counts_once() -> None:
    profile, view = UserProfile(), event(product_id="p1")
    assert profile.add(view) and not profile.add(view)
    assert profile.events_total == 1 and profile.contains(view.event_id, "view_product", "p1")


@pytest.mark.parametrize(
    "other",
    [
        {"event_id": "o1#p1#1"},
        {"name": "page_view"},
        {"name": "page_view", "product_id": None},
        {"product_id": "p2"},
        {"product_id": "p1", "name": "made_up"},
    ],
)
def test_only_an_event_that_says_the_same_takes_the_place_of_another_of_its_id(
    other: dict[str, Any],
) -> None:
    bought = {"name": "purchase", "event_id": "o1#p1#0", "product_id": "p1"}
    sold, forged = event(at_s=5, **bought), event(at_s=1, **{**bought, **other})
    assert forged.identity != sold.identity
    for stream in ((forged, sold), (sold, forged)):
        profile = of(*stream)
        assert profile.total("purchase") == 1 + (forged.event == "purchase")
        assert profile.contains("o1#p1#0", "purchase", "p1") and not profile.contains(
            "o1#p1#0", "purchase", "p3"
        )


def test_an_order_told_by_browser_and_server_counts_once_whatever_else_they_say() -> None:
    bought = {"name": "purchase", "event_id": "o1#p1#0", "product_id": "p1"}
    by_browser = event(at_s=1, anonymous_id="a", session_id="s1", metadata={"price": 5.0}, **bought)
    by_server = event(at_s=3, session_id=None, metadata={"price": 6.0, "order_id": "o1"}, **bought)
    profile = UserProfile()
    folded = [fold(profile, [(told, None)]) for told in (by_browser, by_server)]
    assert profile.total("purchase") == 1
    assert item_sums(folded)["p1"].counts.totals == {ITEM_CODES["purchase"]: 1}


def test_a_duplicate_is_known_while_it_is_among_the_last_to_arrive_and_not_beyond() -> None:
    profile = UserProfile()
    for second in range(MAX_SEEN_IDS + 1):
        profile.add(event("scroll", second, f"e{second}"))
    profile = profile.copy()
    assert not profile.contains("e0", "scroll") and profile.contains("e1", "scroll")
    assert not profile.add(event("scroll", 1, "e1"))
    assert profile.add(event("scroll", 0, "e0"))


def test_a_late_event_is_remembered_as_long_as_any_other() -> None:
    profile = UserProfile()
    for second in range(1, MAX_SEEN_IDS):
        profile.add(event("scroll", second, f"e{second}"))
    profile.add(event("scroll", -40 * 3600, "late"))
    assert profile.contains("e1", "scroll") and profile.contains("late", "scroll")
    assert not profile.copy().add(event("scroll", -40 * 3600, "late"))
    profile.add(event("scroll", 500, "next"))
    assert not profile.contains("e1", "scroll") and profile.contains("late", "scroll")


def test_of_two_merged_profiles_both_memories_are_kept_the_own_for_longer() -> None:
    own = of(*(event("scroll", n, f"own{n}") for n in range(MAX_SEEN_IDS // 2)))
    other = of(*(event("scroll", n, f"other{n}") for n in range(MAX_SEEN_IDS)))
    own.merge(other)
    assert all(own.contains(f"own{n}", "scroll") for n in range(MAX_SEEN_IDS // 2))
    assert not own.contains("other99", "scroll")
    assert all(own.contains(f"other{n}", "scroll") for n in range(100, MAX_SEEN_IDS))


# bounds


def long_stream(
    random: Random, count: int, ids: int, id_length: int, fill: str = "x"
) -> list[Fact]:
    """Events of a visitor who touches everything: `ids` products, categories, brands, sessions,
    searches.
    """

    def an_id() -> str:
        return f"{random.randrange(ids):03d}".ljust(id_length, fill)

    def said() -> dict[str, Any]:
        page = f"https://{an_id()[:60]}.example/"
        return {
            **{
                "category": an_id(),
                "brand": an_id(),
                "price": random.random(),
                "query": an_id() * 20,
            },
            **{"request_id": an_id(), "referrer": page, "utm_campaign": an_id()},
            **{"latitude": random.uniform(-90, 90), "longitude": random.uniform(-180, 180)},
        }

    names = [*EVENT_CODES, "custom"]
    return [
        (
            event(
                random.choice(names),
                at_s=random.randrange(3 * 86_400),
                event_id=f"{number}".ljust(id_length, fill),
                product_id=an_id(),
                session_id=an_id(),
                metadata=said(),
            ),
            None,
        )
        for number in range(count)
    ]


def stated_bound(id_bytes: int) -> int:
    """The most bytes of a stored profile whose ids take `id_bytes` each: so many texts, rings, and
    the rest.
    """
    session = MAX_SESSION_ITEMS + MAX_SESSION_PURCHASES + MAX_SESSION_CATEGORIES + 1
    texts = (
        MAX_RECENT_ITEMS + MAX_CART_ITEMS + MAX_CATEGORIES + MAX_BRANDS + MAX_SESSIONS * session + 5
    )
    searches = (MAX_QUERIES + 4) * (min(id_bytes, 4 * MAX_KEPT_TEXT) + 12)
    rings = (61 + 34 + 26) * 16 * 6
    hashes = 4 * MAX_SEEN_IDS + 10 * (MAX_IMPRESSIONS + MAX_SLATE_CLICKS + MAX_PURCHASES)
    return texts * (id_bytes + 24) + searches + rings + hashes + 256 + 1024


@pytest.mark.parametrize(("id_length", "fill"), [(12, "x"), (256, "é"), (256, "😀")])
def test_the_encoded_size_stays_within_its_bound_whatever_comes(id_length: int, fill: str) -> None:
    id_bytes = len("000".ljust(id_length, fill).encode())
    profile = UserProfile()
    for number, (found, item) in enumerate(long_stream(Random(4), 3000, 500, id_length, fill)):
        profile.add(found, item)
        if number % 500 == 499:
            assert len(profile.encode()) <= stated_bound(id_bytes)
    assert len(profile.recent) == MAX_RECENT_ITEMS and len(profile.cart) == MAX_CART_ITEMS
    assert len(profile.queries) == MAX_QUERIES and len(profile.sessions) == MAX_SESSIONS
    assert (
        len(profile.seen) == 4 * MAX_SEEN_IDS and len(profile.impressions) == 10 * MAX_IMPRESSIONS
    )
    assert (
        len(profile.slate_clicks) == 10 * MAX_SLATE_CLICKS
        and len(profile.purchases) == 10 * MAX_PURCHASES
    )
    assert (
        len(profile.taste.categories) == MAX_CATEGORIES and len(profile.taste.brands) == MAX_BRANDS
    )


def test_between_two_writes_what_is_bounded_by_recency_stays_bounded_too() -> None:
    profile = UserProfile()
    for found, item in long_stream(Random(5), 3000, 2000, 12):
        profile.add(found, item)
    assert len(profile.seen) == 4 * MAX_SEEN_IDS and len(profile.recent) <= 2 * MAX_RECENT_ITEMS
    assert (
        len(profile.queries) <= 4 * MAX_QUERIES and len(profile.impressions) == 10 * MAX_IMPRESSIONS
    )


@pytest.mark.parametrize("seed", range(4))
def test_what_is_bounded_by_recency_does_not_depend_on_order_or_storing_even_beyond_its_bounds(
    seed: int,
) -> None:
    random = Random(seed)
    # Each item and each search at many times; whole profiles, for the sessions are bounded too.
    stream = [
        (
            event(
                found.event,
                found.time_ms / 1000 - START_MS / 1000,
                found.event_id,
                product_id=found.product_id,
                metadata={**found.metadata, "query": f"q{number % 90}"},
            ),
            item,
        )
        for number, (found, item) in enumerate(long_stream(random, 600, 150, 12))
    ]
    clean, messy = profile_of(stream), UserProfile()
    for message in messages(random, shuffled(random, stream), 40):
        messy = messy.copy()
        for found, item in message:
            messy.add(found, item)
    messy.settle()
    for name in (
        "recent",
        "cart",
        "queries",
        "impressions",
        "slate_clicks",
        "purchases",
        "minutes",
        "hour",
        "day",
    ):
        assert getattr(messy, name) == getattr(clean, name), name
    for name in (
        "events_total",
        "totals",
        "first_ms",
        "newest_ms",
        "last_event",
        "last_item_at",
        "last_query_at",
    ):
        assert getattr(messy, name) == getattr(clean, name), name
    assert messy.days == clean.days and messy.first_touch == clean.first_touch


def newest_of(stream: list[Event], limit: int) -> set[str]:
    """The `limit` items of the newest events."""
    last = {found.product_id or "": found.time_ms for found in stream}
    return set(sorted(last, key=lambda name: (last[name], name))[-limit:])


@pytest.mark.parametrize(
    ("name", "field", "limit"),
    [("view_product", "recent", MAX_RECENT_ITEMS), ("add_to_cart", "cart", MAX_CART_ITEMS)],
)
def test_the_newest_items_remain_in_any_order(name: str, field: str, limit: int) -> None:
    stream = [event(name, n, product_id=f"p{n % (limit + 9)}") for n in range(limit * 3)]
    for order in (stream, stream[::-1], shuffled(Random(1), stream)):
        assert set(getattr(of(*order), field)) == newest_of(stream, limit)


def test_the_newest_searches_remain_each_once_and_cut_to_a_hundred_characters() -> None:
    stream = [event("search", n, metadata={"query": f"{n % 11:02d}" * 100}) for n in range(40)]
    for order in (stream, stream[::-1], shuffled(Random(1), stream)):
        queries = of(*order).recent_queries()
        assert queries == [
            (f"{n % 11:02d}" * 50, START_MS + 1000 * n) for n in range(39, 39 - MAX_QUERIES, -1)
        ]


def test_the_newest_impressions_clicks_and_purchases_remain_in_any_order() -> None:
    said: dict[str, Any] = {"metadata": {"request_id": "r"}}
    stream = [
        event(name, n, product_id=f"p{n}", **said)
        for n in range(90)
        for name in ("impression", "click", "purchase")
    ]
    for order in (stream, stream[::-1], shuffled(Random(1), stream)):
        profile = of(*order)
        assert set(profile.shown(START_MS)) == {
            item_hash(f"p{n}") for n in range(90 - MAX_IMPRESSIONS, 90)
        }
        for tape, limit in (
            (profile.slate_clicks, MAX_SLATE_CLICKS),
            (profile.purchases, MAX_PURCHASES),
        ):
            hashes = [
                int.from_bytes(tape[at + 4 : at + 8], "big") for at in range(0, len(tape), 10)
            ]
            assert hashes == [item_hash(f"p{n}") for n in range(90 - limit, 90)]


def test_the_newest_sessions_are_kept_and_one_more_pushes_the_oldest_out() -> None:
    stream = [event("scroll", s, session_id=f"s{s // 10}") for s in range(10 * (MAX_SESSIONS + 1))]
    for order in (stream, stream[::-1]):
        kept = {name: totals.events for name, totals in of(*order).sessions.items()}
        assert kept == {f"s{n}": 10 for n in range(1, MAX_SESSIONS + 1)}


def test_referrers_and_campaigns_are_cut_to_a_hundred_characters() -> None:
    long = {"referrer": f"https://{'a' * 60}.{'b' * 60}.example/", "utm_campaign": "c" * 200}
    touch = of(event("page_view", metadata=long)).first_touch
    assert touch == FirstTouch(START_MS, f"{'a' * 60}.{'b' * 39}", "c" * 100)


# last things


def test_last_is_by_event_time_whatever_came_last() -> None:
    shoes, hats = Item("p1", category="shoes"), Item("p2", category="hats")
    profile = UserProfile()
    profile.add(event(at_s=20, product_id="p2"), hats)
    profile.add(event(at_s=10, product_id="p1"), shoes)
    profile.add(event("search", 9, metadata={"query": "late"}))
    profile.add(event("search", 8, metadata={"query": "later"}))
    assert (profile.last_item, profile.last_category, profile.last_query) == ("p2", "hats", "late")
    assert profile.last_event[2] == "view_product" and profile.newest_ms == START_MS + 20_000
    assert profile.first_ms == START_MS + 8_000


def test_of_two_events_at_the_same_time_the_same_is_last_in_any_order() -> None:
    one, two = event(event_id="a", product_id="p1"), event(event_id="b", product_id="p2")
    assert of(one, two).last_item == of(two, one).last_item
    assert of(one, two).last_event == of(two, one).last_event == (START_MS, "b", "view_product")


def test_an_impression_moves_neither_last_item_nor_recent_items_nor_activity() -> None:
    profile = of(
        event(product_id="p1"), event("impression", 5, product_id="p2", metadata={"category": "c"})
    )
    assert profile.last_item == "p1" and profile.last_category == ""
    assert profile.recent_items(START_MS + 9000) == [("p1", START_MS)]
    assert (
        profile.engaged("1m", START_MS + 5000) == 1
        and profile.count("impression", "1m", START_MS + 5000) == 1
    )
    assert profile.shown(START_MS + 5000) == {item_hash("p2"): 1.0}


def test_an_empty_profile_has_nothing_last_and_describes_itself() -> None:
    profile = UserProfile()
    assert (profile.last_item, profile.last_category, profile.last_query) == ("", "", "")
    assert (
        profile.recent_items(START_MS) == []
        and profile.in_cart() == []
        and profile.taste.log_price() is None
    )
    assert profile.session() == ("", SessionTotals())
    described = readable(profile, START_MS)
    assert described["events_total"] == 0 and described["windows"] == {
        name: {} for name in WINDOWS_MS
    }
    assert described["first_touch"] == {"referrer": "", "campaign": ""}


def test_the_catalog_goes_before_what_the_event_says() -> None:
    view = event(product_id="p1", metadata={"category": "said", "brand": "said", "price": 1})
    known = of(view, item=Item("p1", category="true", brand="true", price=10))
    assert known.last_category == "true" and set(known.taste.brand_shares(LONG)) == {"true"}
    assert known.taste.log_price() == pytest.approx(log(10))
    said = of(view, item=Item("p1"))
    assert said.last_category == "said" and set(said.taste.brand_shares(LONG)) == {"said"}
    assert said.taste.log_price() == pytest.approx(0.0)


def test_recent_items_are_newest_first_each_once_and_not_from_the_future() -> None:
    profile = of(
        *(event(at_s=s, product_id=p) for s, p in ((1, "a"), (2, "b"), (3, "a"), (9, "c")))
    )
    assert profile.recent_items(START_MS + 3000) == [("a", START_MS + 3000), ("b", START_MS + 2000)]
    assert profile.recent_items(START_MS + 9000, 1) == [("c", START_MS + 9000)]


def test_of_two_items_touched_in_the_same_second_the_last_item_is_first() -> None:
    for first, second in (("a", "b"), ("b", "a")):
        profile = of(event(at_s=1.2, product_id=first), event(at_s=1.7, product_id=second))
        assert [name for name, _ in profile.recent_items(START_MS + 2000)] == [second, first]


# cart


def test_the_cart_holds_what_was_put_in_and_neither_removed_nor_bought_since() -> None:
    steps = [
        ("add_to_cart", 1, "a"),
        ("add_to_cart", 2, "b"),
        ("add_to_cart", 3, "c"),
        ("purchase", 4, "a"),
    ]
    steps += [("remove_from_cart", 5, "b"), ("add_to_cart", 6, "b"), ("view_product", 7, "d")]
    events = [event(name, at_s, product_id=product) for name, at_s, product in steps]
    for order in (events, events[::-1]):
        assert sorted(of(*order).in_cart()) == ["b", "c"]


def test_put_in_and_taken_out_in_the_same_millisecond_lies_in_the_cart_in_any_order() -> None:
    put, taken = (
        event("add_to_cart", event_id="1", product_id="a"),
        event("purchase", event_id="2", product_id="a"),
    )
    assert of(put, taken).in_cart() == of(taken, put).in_cart() == ["a"]


# what was shown


def test_an_impression_halves_in_a_day() -> None:
    stream = [event("impression", n, product_id="p") for n in (0, 86_400)]
    assert of(*stream).shown(START_MS + DAY_MS) == {item_hash("p"): pytest.approx(1.5)}


# interest, windows, sessions


def test_interest_is_the_weight_of_what_was_done_decayed_and_shared() -> None:
    day_s = 86_400
    profile = UserProfile()
    profile.add(event("purchase", 0, product_id="p1"), Item("p1", category="old"))
    profile.add(event("click", 7 * day_s, product_id="p2"), Item("p2", category="new"))
    # half from the long half-life (2.5 : 0.5), half from the short one (0 : 1)
    assert profile.category_interest() == pytest.approx({"old": 2.5 / 6, "new": 0.5 / 6 + 0.5})


def test_price_affinity_is_the_weighted_mean_of_the_logarithm() -> None:
    profile = UserProfile()
    profile.add(event("view_product", product_id="p1"), Item("p1", price=10))
    profile.add(event("add_to_cart", product_id="p2"), Item("p2", price=1000))
    profile.add(event("view_product", 1, product_id="p3"), Item("p3", price=0))
    assert profile.taste.log_price() == pytest.approx((log(10) + 3 * log(1000)) / 4, rel=1e-6)


def test_an_event_five_minutes_ahead_does_not_push_the_last_five_minutes_out() -> None:
    views = [event(at_s=-s, product_id="p") for s in range(0, 300, 10)]
    profile = of(*views, event("scroll", 300))
    assert profile.count("view_product", "5m", START_MS) == 30
    # one of them in the bucket that straddles the start
    assert profile.count("view_product", "1m", START_MS) == 7


@pytest.mark.parametrize("window", sorted(WINDOWS_MS))
@pytest.mark.parametrize("phase_s", [0, 5, 9.999, 115, 3300, 3599])
def test_the_oldest_event_of_a_window_survives_one_five_minutes_ahead(
    window: str, phase_s: float
) -> None:
    oldest_s = phase_s - WINDOWS_MS[window] / 1000 + 0.001
    profile = of(event(at_s=oldest_s, product_id="p"), event("scroll", phase_s + 300))
    assert profile.count("view_product", window, START_MS + round(1000 * phase_s)) == 1


def test_custom_events_share_one_count() -> None:
    profile = of(event("rating"), event("share"))
    assert profile.count("rating", "1h", START_MS) == profile.count("share", "1h", START_MS) == 2
    assert profile.totals == {CUSTOM_CODE: 2}


def test_codes_are_distinct_and_fit_a_bucket() -> None:
    codes = [*EVENT_CODES.values(), CUSTOM_CODE]
    assert len(set(codes)) == len(codes) and max(codes) <= 31 and len(ENGAGED_CODES) == len(ENGAGED)
    # Stored states hold these numbers.
    assert (EVENT_CODES["click"], EVENT_CODES["view_product"], EVENT_CODES["purchase"]) == (1, 4, 7)


def test_session_totals_are_those_of_the_newest_session() -> None:
    shoes = Item("p", category="shoes")
    profile = UserProfile()
    profile.add(event(at_s=100, product_id="p", session_id="new"), shoes)
    profile.add(event("scroll", 160, session_id="new"))
    profile.add(event(at_s=50, product_id="p", session_id="old"), shoes)
    session_id, totals = profile.session()
    assert session_id == "new" and totals.events == 2 and totals.last_ms - totals.first_ms == 60_000
    described = readable(profile, START_MS + 160_000)["session"]
    assert described["top_category"] == "shoes" and described["duration_s"] == 60.0
    assert described["counts"] == {"scroll": 1, "view_product": 1}


def test_a_session_that_the_client_does_not_name_has_no_id() -> None:
    assert (
        of(event(session_id=None)).session()[0] == ""
        and of(event(session_id=None)).session()[1].events == 1
    )


def test_marks_and_campaigns_fired_merge_to_the_later_even_of_a_visitor_without_events() -> None:
    left, right = (
        UserProfile(marks={"bot": 5}, fired={"cart": 9}),
        UserProfile(marks={"bot": 7}, fired={"cart": 3, "new": 1}),
    )
    left.merge(right)
    assert (left.marks, left.fired) == ({"bot": 7}, {"cart": 9, "new": 1})
    assert left.copy() == left


def test_a_doubled_stream_longer_than_the_memory_is_folded_once_if_doubles_come_soon() -> None:
    random, stream = Random(3), [event("scroll", n, f"e{n}") for n in range(5 * MAX_SEEN_IDS)]
    profile = UserProfile()
    for start in range(0, len(stream), 50):
        profile = profile.copy()
        for found in disorder(random, stream[max(start - 100, 0) : start + 50]):
            profile.add(found)
    assert profile.events_total == len(stream)
