"""Laws of the profile on generated streams, and each feature by a story."""

from __future__ import annotations

import itertools
from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.events import Event
from pipeline.core.profile import (
    CUSTOM_CODE,
    ENGAGED,
    ENGAGED_CODES,
    EVENT_CODES,
    LONG_HALF_LIFE_MS,
    MAX_BRANDS,
    MAX_CART_ITEMS,
    MAX_CATEGORIES,
    MAX_RECENT_ITEMS,
    MAX_SEEN_IDS,
    MAX_SESSION_CATEGORIES,
    MAX_SESSIONS,
    MAX_SHOWN_ITEMS,
    WINDOWS_MS,
    SessionTotals,
    UserProfile,
)
from tests.pipeline.core.streams import (
    NAMES,
    START_MS,
    Fact,
    assert_same,
    disordered,
    event,
    facts,
    laws,
    profile_of,
)

AHEAD_MS = 5 * MINUTE_MS
WIDTHS_MS = {"1m": 10_000, "5m": 10_000, "1h": 2 * MINUTE_MS, "24h": HOUR_MS}


def of(*events: Event, item: Item | None = None) -> UserProfile:
    return profile_of([(found, item) for found in events])


# laws


@laws
@given(disordered())
def test_a_shuffled_and_doubled_stream_gives_the_profile_of_the_clean_one(
    streams: tuple[list[Fact], list[Fact]],
) -> None:
    clean, disorder = streams
    assert_same(profile_of(disorder), profile_of(clean))


@laws
@given(disordered(), st.integers(1, 5))
def test_storing_and_reading_back_after_each_message_changes_nothing(
    streams: tuple[list[Fact], list[Fact]], size: int
) -> None:
    clean, disorder = streams
    profile = UserProfile()
    for start in range(0, len(disorder), size):
        profile = UserProfile.decode(profile.encode())
        for found, item in disorder[start : start + size]:
            profile.add(found, item)
    assert_same(profile.copy(), profile_of(clean))


@laws
@given(facts(), st.data())
def test_a_stream_split_over_profiles_merges_to_the_whole(stream: list[Fact], data: st.DataObject) -> None:
    parts = [data.draw(st.integers(0, 2)) for _ in stream]
    profiles = [profile_of([f for f, part in zip(stream, parts, strict=True) if part == n]) for n in range(3)]
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
    for profile, number in zip(profiles, range(3), strict=True):
        assert_same(profile, profile_of([f for f, part in zip(stream, parts, strict=True) if part == number]))


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
def test_a_profile_is_read_as_it_was_written_and_every_event_in_it_is_known(stream: list[Fact]) -> None:
    profile = profile_of(stream)
    assert UserProfile.decode(profile.encode()) == profile == profile.copy()
    assert all(profile.contains(found.event_id) for found, _ in stream)
    assert not any(profile.add(found, item) for found, item in stream)
    assert UserProfile.decode(profile.encode()) == profile_of(stream)
    assert profile.events_total == len(stream)


@laws
@given(facts(span_s=2 * 24 * 3600), st.integers(-AHEAD_MS, DAY_MS), st.sampled_from(sorted(WINDOWS_MS)))
def test_windows_are_exact_to_one_bucket_at_any_read_time(stream: list[Fact], after: int, window: str) -> None:
    profile = profile_of(stream)
    now_ms, window_ms, width_ms = max(profile.newest_ms, START_MS) + after, WINDOWS_MS[window], WIDTHS_MS[window]
    for name in NAMES[:-1]:
        ages = [now_ms - found.time_ms for found, _ in stream if found.event == name]
        counted = profile.count(name, window, now_ms)
        # The bucket of `now` may hold what lies ahead, the bucket of the start what lies just before.
        assert sum(0 <= age < window_ms for age in ages) <= counted
        assert counted <= sum(-width_ms < age < window_ms + width_ms for age in ages)
    assert profile.engaged(window, now_ms) == sum(profile.count(name, window, now_ms) for name in ENGAGED)


@laws
@given(facts())
def test_every_view_of_a_profile_is_finite_and_in_range(stream: list[Fact]) -> None:
    profile = profile_of(stream)
    shares = profile.category_interest(profile.newest_ms)
    assert all(0 <= share <= 1 for share in shares.values())
    assert not shares or sum(shares.values()) == pytest.approx(1.0)
    described = profile.describe(profile.newest_ms)
    assert described["events_total"] == len(stream)
    assert described["session"]["events"] <= len(stream)


def long_stream(random: Random, count: int, ids: int, id_length: int) -> list[Fact]:
    """Events of a visitor who touches everything: `ids` products, categories, brands, sessions."""

    def an_id() -> str:
        return f"{random.randrange(ids):03d}".ljust(id_length, "é" if id_length > 100 else "x")

    names = [*EVENT_CODES, "custom"]
    return [
        (
            event(
                random.choice(names),
                at_s=random.randrange(3 * 86_400),
                event_id=f"{number}".ljust(id_length, "é" if id_length > 100 else "x"),
                product_id=an_id(),
                session_id=an_id(),
                metadata={"category": an_id(), "brand": an_id(), "price": random.random(), "query": an_id() * 20},
            ),
            None,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(("id_length", "limit"), [(12, 18_000), (256, 160_000)])
def test_the_encoded_size_stays_within_its_bound_whatever_comes(id_length: int, limit: int) -> None:
    profile, sizes = UserProfile(), []
    for number, (found, item) in enumerate(long_stream(Random(4), 6000, 500, id_length)):
        profile.add(found, item)
        if number % 500 == 499:
            sizes.append(len(profile.encode()))
    assert max(sizes) < limit
    assert sizes[-1] < 1.1 * sizes[3]
    assert len(profile.recent) <= MAX_RECENT_ITEMS and len(profile.cart) <= MAX_CART_ITEMS
    assert len(profile.seen) <= MAX_SEEN_IDS and len(profile.sessions) <= MAX_SESSIONS
    assert len(profile.categories.sums) <= MAX_CATEGORIES and len(profile.brands.sums) <= MAX_BRANDS
    assert len(profile.categories_short.sums) <= MAX_CATEGORIES and len(profile.shown.sums) <= MAX_SHOWN_ITEMS
    assert all(len(totals.categories) <= MAX_SESSION_CATEGORIES for totals in profile.sessions.values())


def test_between_two_writes_the_profile_stays_bounded_too() -> None:
    profile = UserProfile()
    for found, item in long_stream(Random(5), 4000, 2000, 12):
        profile.add(found, item)
    assert len(profile.seen) <= 2 * MAX_SEEN_IDS and len(profile.recent) <= 2 * MAX_RECENT_ITEMS
    assert len(profile.shown.sums) <= 4 * MAX_SHOWN_ITEMS
    assert len(profile.cart) + len(profile.sessions) + len(profile.categories.sums) < 8000


def test_recent_items_cart_and_known_events_do_not_depend_on_order_even_beyond_their_bounds() -> None:
    stream = long_stream(Random(6), 900, 300, 12)
    shuffled = Random(7).sample(stream, len(stream))
    left, right = profile_of(stream), profile_of(shuffled)
    assert (left.recent, left.cart, left.seen) == (right.recent, right.cart, right.seen)
    assert (left.minutes, left.hour, left.day) == (right.minutes, right.hour, right.day)
    assert (left.events_total, left.totals, left.newest_ms) == (right.events_total, right.totals, right.newest_ms)


# duplicates


def test_an_event_added_twice_says_so_and_counts_once() -> None:
    profile, view = UserProfile(), event(product_id="p1")
    assert profile.add(view) and not profile.add(view)
    assert profile.events_total == 1 and profile.contains(view.event_id) and not profile.contains("other")


def test_a_duplicate_is_known_while_it_is_among_the_newest_events_and_not_beyond() -> None:
    profile = UserProfile()
    for second in range(MAX_SEEN_IDS + 1):
        profile.add(event("scroll", second, f"e{second}"))
    profile = profile.copy()
    assert not profile.contains("e0") and profile.contains("e1")
    assert not profile.add(event("scroll", 1, "e1"))
    assert profile.add(event("scroll", 0, "e0"))


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


def test_of_two_events_at_the_same_time_the_greater_id_is_last() -> None:
    one, two = event(event_id="a", product_id="p1"), event(event_id="b", product_id="p2")
    assert of(one, two).last_item == of(two, one).last_item == "p2"


def test_an_impression_moves_neither_last_item_nor_recent_items_nor_activity() -> None:
    profile = of(event(product_id="p1"), event("impression", 5, product_id="p2", metadata={"category": "c"}))
    assert profile.last_item == "p1" and profile.last_category == ""
    assert profile.recent_items(START_MS + 9000) == [("p1", START_MS)]
    assert profile.engaged("1m", START_MS + 5000) == 1 and profile.count("impression", "1m", START_MS + 5000) == 1
    assert set(profile.shown.sums) == {"p2"}


def test_an_empty_profile_has_nothing_last_and_describes_itself() -> None:
    profile = UserProfile()
    assert (profile.last_item, profile.last_category, profile.last_query) == ("", "", "")
    assert profile.recent_items(START_MS) == [] and profile.in_cart() == [] and profile.log_price() is None
    assert profile.session() == ("", SessionTotals())
    described = profile.describe(START_MS)
    assert described["events_total"] == 0 and described["windows"] == {name: {} for name in WINDOWS_MS}


def test_the_catalog_goes_before_what_the_event_says() -> None:
    view = event(product_id="p1", metadata={"category": "said", "brand": "said", "price": 1})
    known = of(view, item=Item("p1", category="true", brand="true", price=10))
    assert known.last_category == "true" and set(known.brands.sums) == {"true"}
    assert known.log_price() == pytest.approx(log(10))
    said = of(view, item=Item("p1"))
    assert said.last_category == "said" and set(said.brands.sums) == {"said"} and said.log_price() == pytest.approx(0.0)


def test_recent_items_are_newest_first_each_once_and_not_from_the_future() -> None:
    profile = of(*(event(at_s=s, product_id=p) for s, p in ((1, "a"), (2, "b"), (3, "a"), (9, "c"))))
    assert profile.recent_items(START_MS + 3000) == [("a", START_MS + 3000), ("b", START_MS + 2000)]
    assert profile.recent_items(START_MS + 9000, 1) == [("c", START_MS + 9000)]


# cart


def test_the_cart_holds_what_was_put_in_and_neither_removed_nor_bought_since() -> None:
    steps = [("add_to_cart", 1, "a"), ("add_to_cart", 2, "b"), ("add_to_cart", 3, "c"), ("purchase", 4, "a")]
    steps += [("remove_from_cart", 5, "b"), ("add_to_cart", 6, "b"), ("view_product", 7, "d")]
    events = [event(name, at_s, product_id=product) for name, at_s, product in steps]
    for order in (events, events[::-1]):
        assert sorted(of(*order).in_cart()) == ["b", "c"]


def test_put_in_and_taken_out_in_the_same_millisecond_goes_by_event_id_in_any_order() -> None:
    put, taken = event("add_to_cart", event_id="1", product_id="a"), event("purchase", event_id="2", product_id="a")
    assert of(put, taken).in_cart() == of(taken, put).in_cart() == []


# interest, windows, sessions


def test_interest_is_the_weight_of_what_was_done_decayed_and_shared() -> None:
    day_s = 86_400
    profile = UserProfile()
    profile.add(event("purchase", 0, product_id="p1"), Item("p1", category="old"))
    profile.add(event("click", 7 * day_s, product_id="p2"), Item("p2", category="new"))
    now_ms = START_MS + 7 * DAY_MS
    assert profile.categories.values(now_ms, LONG_HALF_LIFE_MS) == pytest.approx({"old": 2.5, "new": 0.5})
    # half from the long half-life (2.5 : 0.5), half from the short one (0 : 1)
    assert profile.category_interest(now_ms) == pytest.approx({"old": 2.5 / 6, "new": 0.5 / 6 + 0.5})


def test_price_affinity_is_the_weighted_mean_of_the_logarithm() -> None:
    profile = UserProfile()
    profile.add(event("view_product", product_id="p1"), Item("p1", price=10))
    profile.add(event("add_to_cart", product_id="p2"), Item("p2", price=1000))
    profile.add(event("view_product", 1, product_id="p3"), Item("p3", price=0))
    assert profile.log_price() == pytest.approx((log(10) + 3 * log(1000)) / 4, rel=1e-6)


def test_an_event_five_minutes_ahead_does_not_push_the_last_five_minutes_out() -> None:
    views = [event(at_s=-s, product_id="p") for s in range(0, 300, 10)]
    profile = of(*views, event("scroll", 300))
    assert profile.count("view_product", "5m", START_MS) == 30
    assert profile.count("view_product", "1m", START_MS) == 7  # one of them in the bucket that straddles the start


def test_an_hour_and_a_day_survive_an_event_five_minutes_ahead() -> None:
    now_s = -60  # a minute before the hour, so that five minutes later begins a bucket of every ring
    views = [event(at_s=now_s - age_s, product_id="p") for age_s in (3599, 86_399)]
    profile = of(*views, event("scroll", now_s + 300))
    assert profile.count("view_product", "1h", START_MS + 1000 * now_s) == 1
    assert profile.count("view_product", "24h", START_MS + 1000 * now_s) == 2


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
    described = profile.describe(START_MS + 160_000)["session"]
    assert described["top_category"] == "shoes" and described["duration_s"] == 60.0
    assert described["counts"] == {"scroll": 1, "view_product": 1}


def test_two_sessions_are_kept_and_a_third_pushes_the_oldest_out() -> None:
    stream = [event("scroll", s, session_id=f"s{s // 10}") for s in range(30)]
    for order in (stream, stream[::-1]):
        assert {name: totals.events for name, totals in of(*order).sessions.items()} == {"s1": 10, "s2": 10}


# co-visits


def pairs(stream: list[Event]) -> list[tuple[str, str]]:
    """The unordered pairs that a fold of the stream counts, sorted."""
    profile, found = UserProfile(), []
    for one in stream:
        others = profile.covisited(one)
        if profile.add(one):
            found += [(min(one.product_id or "", other), max(one.product_id or "", other)) for other in others]
    return sorted(found)


def test_each_pair_of_a_session_counts_once_whichever_comes_first_and_however_often() -> None:
    stream = [event(at_s=s, product_id=p) for s, p in enumerate("abacabcb")]
    for order in itertools.islice(itertools.permutations(stream), 0, 40_320, 1009):
        assert pairs([*order, *stream]) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_items_of_different_sessions_are_no_pair() -> None:
    assert pairs([event(product_id="a"), event(at_s=1, product_id="b", session_id="s2")]) == []


def test_only_what_was_done_on_purpose_makes_a_pair() -> None:
    view, impression = event(product_id="a"), event("impression", 1, product_id="b")
    assert pairs([view, impression]) == pairs([impression, view]) == []
    assert pairs([view, event("scroll", 1)]) == []


def test_the_same_pair_counts_again_in_another_session() -> None:
    stream = [
        event(at_s=s, product_id=p, session_id=f"s{s // 10}") for s, p in ((0, "a"), (1, "b"), (10, "a"), (11, "b"))
    ]
    assert pairs(stream) == [("a", "b"), ("a", "b")]


@pytest.mark.parametrize(("gap_s", "expected"), [(1800, [("a", "b")]), (1800.001, [])])
def test_without_a_session_id_half_an_hour_makes_a_pair(gap_s: float, expected: list[tuple[str, str]]) -> None:
    stream = [event(product_id="a", session_id=None), event(at_s=gap_s, product_id="b", session_id=None)]
    assert pairs(stream) == pairs(stream[::-1]) == expected


def test_without_a_session_id_a_visitor_who_comes_back_makes_pairs_again() -> None:
    times = ((0, "a"), (60, "b"), (86_400, "a"), (86_460, "b"))
    assert pairs([event(at_s=s, product_id=p, session_id=None) for s, p in times]) == [("a", "b"), ("a", "b")]
