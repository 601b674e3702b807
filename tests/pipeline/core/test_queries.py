"""Queries: what is counted, laws of the statistics on generated streams, who may see what."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import DAY_MS
from pipeline.core.events import Event
from pipeline.core.queries import (
    CLICKED,
    EMPTY,
    MAX_LENGTH,
    MAX_TOP_QUERIES,
    MIN_VISITORS,
    QUERY_HALF_LIFE_MS,
    SEARCH,
    QueryStats,
    SearchClick,
    TopQueries,
    TopQuery,
    normal_query,
    plain_text,
    query_key,
    query_sums,
)
from tests.pipeline.core.streams import START_MS, assert_same, event, laws, randoms, shuffled, split


def search(
    query: str = "lamp", visitor: str = "v", at_s: float = 0.0, results: object = None
) -> Event:
    metadata = {"query": query, "results": results}
    return event("search", at_s, f"{query}{visitor}{at_s}", anonymous_id=visitor, metadata=metadata)


def stats_of(*events: Event, clicks: list[SearchClick] | None = None) -> QueryStats:
    stats = QueryStats()
    for partial in query_sums(events, clicks or []).values():
        stats.merge(partial)
    return QueryStats.decode(stats.encode())


def crowd(query: str = "lamp", size: int = MIN_VISITORS, **fields: object) -> list[Event]:
    return [search(query, f"v{n}", **fields) for n in range(size)]  # type: ignore[arg-type]


# what is counted


@pytest.mark.parametrize(
    ("typed", "counted"),
    [
        ("  Red   LAMP ", "red lamp"),
        ("ＬＡＭＰ", "lamp"),
        ("Café", "café"),
        ("rtx 4090", "rtx 4090"),
        ("120x200 cm", "120x200 cm"),
        ("tv", "tv"),
    ],
)
def test_a_query_counts_by_its_words_alone(typed: str, counted: str) -> None:
    assert normal_query(typed) == counted


@pytest.mark.parametrize(
    "typed",
    [
        "ann@example.com",
        "ann ＠ example",
        "call 06 12 34 56 78",
        "+31-20-555.0123",
        "4111111111111111",
        "https://shop.example/me",
        "www.example.com",
        "x",
        "",
        " \t ",
        "a\x00b",
        "long " * MAX_LENGTH,
    ],
)
def test_what_looks_like_personal_data_or_is_no_query_is_not_counted(typed: str) -> None:
    assert normal_query(typed) == ""
    assert query_sums([search(typed)], []) == {}


@laws
@given(st.text(max_size=100))
def test_a_counted_query_is_its_own_normal_form(text: str) -> None:
    query = normal_query(text)
    assert query == "" or normal_query(query) == query
    assert len(query) <= MAX_LENGTH and "@" not in query


def test_texts_are_compared_without_case_and_accents() -> None:
    assert plain_text("Crème BRÛLÉE") == "creme brulee"
    assert plain_text("Straße") == "strasse"


def test_the_name_of_a_row_does_not_say_what_was_typed() -> None:
    assert "lamp" not in query_key("lamp") and query_key("lamp") != query_key("lamps")


def test_events_of_other_names_are_no_searches() -> None:
    assert query_sums([event("click", product_id="p", metadata={"query": "lamp"})], []) == {}


# laws


def random_searches(random: Random, size: int) -> list[Event]:
    return [
        search(
            random.choice(["lamp", "red lamp", "ann@example.com"]),
            f"v{random.randrange(8)}",
            random.randrange(20 * 86_400),
            random.choice([None, 0, 3]),
        )
        for _ in range(size)
    ]


@laws
@given(st.integers(0, 40), st.integers(1, 4), randoms())
def test_neither_order_nor_the_split_over_bundles_changes_the_statistics(
    size: int, parts: int, random: Random
) -> None:
    events = random_searches(random, size)
    whole = query_sums(events, [])
    merged: dict[str, QueryStats] = {}
    for part in split(random, shuffled(random, events), parts):
        for query, stats in query_sums(part, []).items():
            merged.setdefault(query, QueryStats()).merge(QueryStats.decode(stats.encode()))
    assert_same(merged, whole)


@laws
@given(st.integers(1, 30), randoms())
def test_the_top_is_the_same_in_any_order_of_its_revisions(size: int, random: Random) -> None:
    noted = [
        (f"q{random.randrange(5)}", TopQuery(n, 100.0 + n, random.random())) for n in range(size)
    ]
    tops = []
    for entries in (noted, shuffled(random, noted)):
        top = TopQueries()
        for query, found in entries:
            top.note(query, found)
        tops.append(top)
    assert tops[0] == tops[1]


def test_a_row_of_top_queries_keeps_those_searched_for_most() -> None:
    top = TopQueries()
    for n in range(MAX_TOP_QUERIES + 10):
        top.note(f"q{n}", TopQuery(1, float(n)))
    kept = TopQueries.decode(top.encode()).queries
    assert len(kept) == MAX_TOP_QUERIES and "q9" not in kept and "q10" in kept


def test_searches_decay_and_a_late_one_lands_where_it_belongs() -> None:
    late = stats_of(search(at_s=0), *crowd(at_s=QUERY_HALF_LIFE_MS / 1000))
    top = late.top(1)
    assert top is not None
    now_ms = START_MS + QUERY_HALF_LIFE_MS
    assert top.searches(now_ms) == pytest.approx(MIN_VISITORS + 0.5)
    assert top.searches(now_ms + QUERY_HALF_LIFE_MS) == pytest.approx((MIN_VISITORS + 0.5) / 2)


# results and clicks


def test_searches_without_a_result_are_counted_where_the_event_says_so() -> None:
    stats = stats_of(search(results=0), search(at_s=1, results=4), search(at_s=2), search(at_s=3))
    assert stats.counts.sums[EMPTY] / stats.counts.sums[SEARCH] == pytest.approx(0.25, rel=1e-3)


def test_a_click_that_is_taken_back_leaves_nothing() -> None:
    clicks = [SearchClick("lamp", weight, START_MS + DAY_MS) for weight in (1.0, -1.0)]
    assert CLICKED not in stats_of(search(), clicks=clicks).counts.sums
    assert CLICKED in stats_of(search(), clicks=clicks[:1]).counts.sums


# who may see it


@pytest.mark.parametrize("visitors", range(MIN_VISITORS + 3))
def test_a_query_is_public_once_five_visitors_searched_for_it(visitors: int) -> None:
    stats = stats_of(*crowd(size=visitors), *crowd(size=visitors, at_s=60))
    assert stats.is_public == (stats.top(1) is not None) == (visitors >= MIN_VISITORS)


def test_one_visitor_who_searches_often_makes_no_query_public() -> None:
    assert not stats_of(*(search(at_s=n) for n in range(50))).is_public


def test_a_browser_that_logs_in_is_one_visitor() -> None:
    names = [None, *(f"account{n}" for n in range(MIN_VISITORS))]
    logins = [msgspec.structs.replace(search(at_s=n), user_id=name) for n, name in enumerate(names)]
    assert len(stats_of(*logins).visitors) == 1


def test_what_is_kept_of_visitors_differs_from_query_to_query() -> None:
    one, other = stats_of(*crowd("lamp")), stats_of(*crowd("sofa"))
    assert one.visitors.isdisjoint(other.visitors)
