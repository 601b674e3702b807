"""The session as the profile keeps it: laws on generated streams, attention by stories, what is
sampled and dropped.
"""

from __future__ import annotations

import itertools
from random import Random
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given

from pipeline.core.decay import HOUR_MS
from pipeline.core.event_types import CUSTOM_CODE, EVENT_CODES
from pipeline.core.events import Event
from pipeline.core.session_totals import (
    MAX_DWELL_MS,
    MAX_SESSION_CATEGORIES,
    MAX_SESSION_ITEMS,
    MAX_SESSION_PURCHASES,
    SessionTotals,
    dwell_ms,
    readable_session_id,
    session_key,
    watched_ms,
)
from tests.pipeline.core.streams import (
    START_MS,
    Fact,
    assert_same,
    event,
    facts,
    laws,
    randoms,
    shuffled,
    split,
)


def totals_of(stream: list[Fact]) -> SessionTotals:
    totals = SessionTotals()
    for found, item in stream:
        totals.add(
            found, found.time_ms, item.category if item is not None else found.text("category")
        )
    return totals


def of(*events: Event) -> SessionTotals:
    return totals_of([(found, None) for found in events])


def reread(totals: SessionTotals) -> SessionTotals:
    """The totals after they were cut to their bounds, written and read."""
    totals.settle()
    return msgspec.msgpack.decode(msgspec.msgpack.encode(totals), type=SessionTotals)


# laws


@laws
@given(facts(), randoms())
def test_totals_do_not_depend_on_order_on_grouping_or_on_being_stored(
    stream: list[Fact], random: Random
) -> None:
    whole = totals_of(stream)
    assert_same(totals_of(shuffled(random, stream)), whole)
    parts = split(random, stream, 3)
    for order in itertools.permutations(parts):
        left, right, late = totals_of(order[0]), totals_of(order[1]), totals_of(order[0])
        left.merge(right)
        left.merge(reread(totals_of(order[2])))
        right.merge(totals_of(order[2]))
        late.merge(right)
        assert_same(left, whole)
        assert_same(reread(late), whole)


@laws
@given(facts())
def test_no_session_is_neutral_on_either_side_and_merging_leaves_the_other_as_it_is(
    stream: list[Fact],
) -> None:
    left, right, other = totals_of(stream), SessionTotals(), totals_of(stream)
    left.merge(SessionTotals())
    right.merge(other)
    right.merge(SessionTotals())
    assert left == right == other == totals_of(stream)


@laws
@given(facts())
def test_counts_and_times_are_those_of_a_plain_list(stream: list[Fact]) -> None:
    totals = totals_of(stream)
    assert totals.events == len(stream) == sum(totals.counts.values())
    for name in EVENT_CODES:
        assert totals.count(name) == sum(found.event == name for found, _ in stream)
    if stream:
        assert (totals.first_ms, totals.last_ms) == (stream[0][0].time_ms, stream[-1][0].time_ms)


# stories


def test_an_event_belongs_to_the_clients_session_or_to_its_hour() -> None:
    named, unnamed, later = (
        event(at_s=1),
        event(at_s=3599, session_id=None),
        event(at_s=3600, session_id=None),
    )
    keys = [session_key(one) for one in (named, unnamed, later)]
    assert keys == ["s1", f"~{START_MS // HOUR_MS}", f"~{START_MS // HOUR_MS + 1}"]
    assert [readable_session_id(key) for key in keys] == ["s1", "", ""]


def test_only_what_was_done_on_purpose_touches_items_and_categories() -> None:
    said: dict[str, Any] = {"metadata": {"category": "shoes"}}
    totals = of(
        event("view_product", 0, product_id="a", **said),
        event("impression", 1, product_id="b", **said),
        event("purchase", 2, product_id="c"),
        event("page_view", 3, **said),
    )
    assert (totals.items, totals.bought, totals.categories) == ({"a", "c"}, {"c"}, {"shoes": 1})
    assert totals.count("rating") == totals.counts.get(CUSTOM_CODE, 0) == 0


def test_the_top_category_is_the_most_viewed_and_ties_go_by_name() -> None:
    def viewed(*names: str) -> str:
        return of(
            *(event(at_s=n, metadata={"category": name}) for n, name in enumerate(names))
        ).top_category()

    assert viewed("b", "a", "b") == "b" and viewed("b", "a") == "a" and viewed() == ""


def seen(name: str, at_s: float, **metadata: Any) -> Event:
    return event(name, at_s, metadata=metadata)


@pytest.mark.parametrize(
    ("story", "dwell_s"),
    [
        ([seen("dwell", 9, dwell_ms=1500), seen("dwell", 20, dwell_ms=500)], 2.0),
        ([seen("dwell", 9, dwell_ms=1e12), seen("dwell", 10, dwell_ms=-5)], MAX_DWELL_MS / 1000),
        ([seen("visibility", 0, state="visible"), seen("visibility", 30, state="hidden")], 30.0),
        ([seen("visibility", 0, state="hidden"), seen("visibility", 30, state="visible")], 0.0),
        (
            [
                seen("visibility", at_s, state=state)
                for at_s, state in ((0, "visible"), (5, "hidden"), (8, "visible"))
            ]
            + [seen("visibility", 10, state="hidden")],
            7.0,
        ),
        ([seen("visibility", 0, state="visible"), seen("page_view", 60)], 0.0),
        (
            [
                seen("visibility", 0, state="visible"),
                seen("visibility", 30, state="hidden"),
                seen("dwell", 31, dwell_ms=9),
            ],
            0.009,
        ),
    ],
    ids=[
        "reported",
        "out of range",
        "visible",
        "gone and back",
        "twice",
        "never hidden",
        "the report goes first",
    ],
)
def test_dwell_is_what_was_reported_else_the_time_from_visible_to_hidden(
    story: list[Event], dwell_s: float
) -> None:
    assert of(*story).dwell.elapsed_ms == of(*story[::-1]).dwell.elapsed_ms == round(dwell_s * 1000)


@pytest.mark.parametrize(
    ("story", "media_s"),
    [
        ([seen("media_play", 0), seen("media_pause", 40)], 40.0),
        ([seen("media_play", 0), seen("media_progress", 10), seen("media_progress", 20)], 20.0),
        ([seen("media_play", 0), seen("media_pause", 40), seen("media_progress", 60)], 40.0),
        ([seen("media_play", 0), seen("media_play", 100), seen("media_pause", 130)], 130.0),
        ([seen("media_pause", 40)], 0.0),
        (
            [
                seen("media_progress", 5, watched_ms=5000),
                seen("media_progress", 10, watched_ms=4000),
            ],
            9.0,
        ),
        ([seen("media_play", 0), seen("media_pause", 90, watched_ms=30_000)], 30.0),
    ],
    ids=[
        "play and pause",
        "lost pause",
        "late progress",
        "lost pause, played again",
        "lost play",
        "told",
        "told at the end",
    ],
)
def test_media_is_what_was_reported_else_the_time_from_play_to_pause(
    story: list[Event], media_s: float
) -> None:
    assert of(*story).media.elapsed_ms == of(*story[::-1]).media.elapsed_ms == round(media_s * 1000)


def test_reported_spans_are_whole_milliseconds_within_an_hour() -> None:
    assert [dwell_ms(seen("dwell", 0, dwell_ms=value)) for value in (-1, 1.6, 1e15, "x")] == [
        0,
        2,
        MAX_DWELL_MS,
        0,
    ]
    assert [watched_ms(seen("media_play", 0, watched_ms=value)) for value in (-1, 1.6, 1e15)] == [
        0,
        2,
        MAX_DWELL_MS,
    ]


def test_the_deepest_scroll_counts_within_a_page() -> None:
    depths = [
        seen("scroll", 0, depth=40),
        seen("scroll", 1, scroll_depth=70.4),
        seen("scroll", 2, depth=20),
    ]
    assert of(*depths).scroll_percent == 70
    assert (
        of(seen("scroll", 0, depth=500)).scroll_percent == 100
        and of(seen("scroll", 0, depth=-5)).scroll_percent == 0
    )


def test_the_place_is_the_newest_that_lies_on_earth() -> None:
    here, there = {"latitude": 52.5, "longitude": 13.4}, {"latitude": 48.1, "longitude": 11.6}
    story = [
        seen("click", 5, **there),
        seen("click", 1, **here),
        seen("click", 9, latitude=91.0, longitude=0.0),
    ]
    story += [seen("click", 8, latitude=10.0)]
    for order in (story, story[::-1]):
        assert of(*order).place == (START_MS + 5000, 48.1, 11.6)


# bounds


def first_by_hash(names: set[str], limit: int) -> set[str]:
    return set(sorted(names, key=lambda name: (crc32(name.encode()), name))[:limit])


@pytest.mark.parametrize("seed", range(5))
def test_of_many_items_those_with_the_smallest_hashes_remain_in_any_order_and_split(
    seed: int,
) -> None:
    random = Random(seed)
    stream: list[Fact] = [(event("purchase", n, product_id=f"p{n % 60}"), None) for n in range(120)]
    whole = totals_of(shuffled(random, stream))
    left, right = map(totals_of, split(random, stream, 2))
    left.merge(right)
    names = {f"p{n}" for n in range(60)}
    assert whole.items == left.items == first_by_hash(names, MAX_SESSION_ITEMS)
    assert whole.bought == left.bought == first_by_hash(names, MAX_SESSION_PURCHASES)


def test_beyond_sixteen_categories_the_most_viewed_are_stored_and_ties_go_by_name() -> None:
    views = [(n, f"c{n:02d}") for n in range(MAX_SESSION_CATEGORIES + 4)]
    views += [
        (100 + n, f"c{n:02d}")
        for n in range(MAX_SESSION_CATEGORIES - 1, MAX_SESSION_CATEGORIES + 4)
    ]
    totals = reread(of(*(event(at_s=at_s, metadata={"category": name}) for at_s, name in views)))
    kept = {
        f"c{n:02d}"
        for n in (
            *range(MAX_SESSION_CATEGORIES - 5),
            *range(MAX_SESSION_CATEGORIES - 1, MAX_SESSION_CATEGORIES + 4),
        )
    }
    assert set(totals.categories) == kept


def test_the_stored_size_is_bounded_whatever_comes() -> None:
    random, totals = Random(2), SessionTotals()
    for n in range(3_000):
        name = f"{random.randrange(500):03d}".ljust(256, "😀")
        found = event(
            random.choice([*EVENT_CODES, "x"]),
            n,
            product_id=name,
            metadata={"latitude": 1.5, "longitude": 2.5},
        )
        totals.add(found, found.time_ms, name)
    texts = MAX_SESSION_ITEMS + MAX_SESSION_PURCHASES + MAX_SESSION_CATEGORIES
    assert (
        len(msgspec.msgpack.encode(reread(totals))) <= texts * (3 + 4 * 253 + 3 + 9) + 32 * 10 + 200
    )
