"""Session summaries: a monoid, and partial summaries cut exactly at the gap."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.sessions import (
    MAX_SESSION_CATEGORIES,
    MAX_SESSION_ITEMS,
    SessionSummary,
    merged,
    runs,
)
from tests.pipeline.core.streams import START, START_MS, Fact, assert_same, event, facts, laws

NOW = datetime(2025, 1, 2, tzinfo=UTC)
GAP_MS = 1_800_000


def summary_of(stream: list[Fact]) -> SessionSummary:
    summary = SessionSummary()
    for found, item in stream:
        summary.add(found, item)
    return summary


def row(*events: Event) -> dict[str, object]:
    return summary_of([(found, None) for found in events]).row("u#u", NOW)


@laws
@given(facts(), st.data())
def test_a_summary_does_not_depend_on_order_or_on_how_the_visit_is_split(
    stream: list[Fact], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(stream))
    cuts = sorted(data.draw(st.integers(0, len(stream))) for _ in range(2))
    parts = [
        summary_of(p)
        for p in (shuffled[: cuts[0]], shuffled[cuts[0] : cuts[1]], shuffled[cuts[1] :])
    ]
    whole = summary_of(stream)
    for order in itertools.permutations(parts):
        assert_same(merged(order), whole)
    assert_same(merged([parts[0], merged(parts[1:])]), whole)
    assert_same(merged([SessionSummary(), whole, SessionSummary()]), whole)
    assert merged([]) == SessionSummary()


@laws
@given(facts())
def test_merging_leaves_its_inputs_as_they_are(stream: list[Fact]) -> None:
    one, two = summary_of(stream), summary_of(stream)
    merged([one, two]).merge(one)
    assert one == two == summary_of(stream)


@laws
@given(facts(), st.data())
def test_partial_summaries_hold_every_event_and_no_gap(
    stream: list[Fact], data: st.DataObject
) -> None:
    partials = runs(data.draw(st.permutations(stream)), GAP_MS)
    assert_same(merged(partials), summary_of(stream))
    assert all(
        later.first_ms - earlier.last_ms >= GAP_MS
        for earlier, later in itertools.pairwise(partials)
    )


@pytest.mark.parametrize(("apart_ms", "partials"), [(GAP_MS - 1, 1), (GAP_MS, 2)])
def test_events_exactly_the_gap_apart_are_two_visits_and_a_millisecond_less_is_one(
    apart_ms: int, partials: int
) -> None:
    assert (
        len(runs([(event("scroll", apart_ms / 1000), None), (event("scroll", 0), None)], GAP_MS))
        == partials
    )


def test_the_row_says_what_was_done_when_and_for_how_much() -> None:
    shoes = Item("p1", category="shoes", price=20.0)
    stream: list[Fact] = [
        (event("page_view", 0), None),
        (event("view_product", 1, product_id="p1"), shoes),
        (event("view_product", 2, product_id="p2", metadata={"category": "hats"}), None),
        (event("click", 3, product_id="p1"), shoes),
        (event("impression", 4, product_id="p3", metadata={"category": "hats"}), None),
        (event("add_to_cart", 5, product_id="p1"), shoes),
        (event("purchase", 6, product_id="p1", metadata={"quantity": 2}), shoes),
        (event("purchase", 7, product_id="p2", metadata={"price": 1.25}), None),
        (event("dwell", 8.5, metadata={"dwell_ms": 1500}), None),
    ]
    assert summary_of(stream[::-1]).row("u#u", NOW) == {
        "visitor": "u#u",
        "session_start": "2025-01-01T12:00:00.000Z",
        "session_end": "2025-01-01T12:00:08.500Z",
        "events": 9,
        "views": 2,
        "clicks": 1,
        "carts": 1,
        "purchases": 2,
        "impressions": 1,
        "items": 2,
        "categories": 2,
        "revenue": 41.25,
        "dwell_s": 1.5,
        "top_category": "shoes",
        "first_event": "page_view",
        "emitted_at": "2025-01-02T00:00:00.000Z",
    }


def test_a_visit_without_a_category_has_no_top_category() -> None:
    assert row(event("page_view"))["top_category"] is None


def test_the_first_of_two_events_at_the_same_time_goes_by_event_id() -> None:
    one, two = event("scroll", event_id="1"), event("click", event_id="2")
    assert row(one, two)["first_event"] == row(two, one)["first_event"] == "scroll"


def test_an_event_of_1970_is_first_too() -> None:
    ancient = Event(event_id="e", event="x", timestamp=datetime(1970, 1, 1, tzinfo=UTC))
    assert row(ancient, event())["session_start"] == "1970-01-01T00:00:00.000Z"


def test_items_are_counted_up_to_a_bound_in_any_split() -> None:
    views: list[Fact] = [
        (event(product_id=f"p{n}", event_id=f"e{n}"), None) for n in range(MAX_SESSION_ITEMS + 100)
    ]
    halves = [summary_of(views[:400]), summary_of(views[400:])]
    assert len(summary_of(views).items) == len(merged(halves).items) == MAX_SESSION_ITEMS
    assert len(merged([summary_of(views[:300]), summary_of(views[200:450])]).items) == 450


def test_categories_are_counted_up_to_a_bound_in_any_split() -> None:
    views: list[Fact] = [
        (event(at_s=n, product_id="p", metadata={"category": f"c{n}"}), None)
        for n in range(MAX_SESSION_CATEGORIES + 99)
    ]
    for order in (views, views[::-1]):
        halves = merged([summary_of(order[:300]), summary_of(order[300:])])
        assert len(summary_of(order).categories) == len(halves.categories) == MAX_SESSION_CATEGORIES


def test_the_encoded_size_of_a_summary_is_bounded_whatever_comes() -> None:
    summary = SessionSummary()
    for n in range(1_500):
        name = f"{n:04d}".ljust(256, "😀")
        summary.add(event(name, n, f"e{n}"))
        summary.add(event(at_s=n, event_id=name, product_id=name, metadata={"category": name}))
    size = len(msgspec.msgpack.encode(summary))
    assert size <= (MAX_SESSION_ITEMS + MAX_SESSION_CATEGORIES + 2) * (4 + 4 * 252 + 3 + 9) + 512


def test_the_start_is_event_time() -> None:
    assert summary_of([(event("x", 1), None)]).first_ms == START_MS + 1000 and START.tzinfo is UTC
