"""Streaming equals batch, on a small data set; `make parity` does it on large ones."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from pipeline.core.events import Event
from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile
from tests.simulator import parity


def event(number: int, visitor: str = "v", at_s: float = 0.0) -> Event:
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=at_s)
    return Event(
        event_id=f"e{number}", event="view_product", timestamp=at, user_id=visitor, product_id="p"
    )


def test_no_row_differs_between_the_stream_and_a_backfill_of_its_log() -> None:
    messages = parity.simulated(sessions=25)
    report = parity.in_own_stack("test", messages)
    assert report["differences"] == 0, report["examples"]
    assert report["profiles"] > 10 and report["items"] > 100 and report["scopes"] > 10
    assert report["queries"] > 3


def test_a_message_is_one_visitors_and_ends_when_full_or_after_a_pause() -> None:
    events = [event(n, "a") for n in range(21)] + [event(30, "b"), event(31, "a", 61)]
    sizes = [(message[0].user_id, len(message)) for message in parity.by_visitor(events)]
    assert sizes == [("a", 20), ("a", 1), ("b", 1), ("a", 1)]


def test_every_tenth_message_comes_twice_and_the_second_time_soon() -> None:
    messages = [[event(n)] for n in range(50)]
    stream = parity.doubled(messages, random.Random(1))
    assert (
        len(stream) == 55 and [m for n, m in enumerate(stream) if m not in stream[:n]] == messages
    )
    places = [[n for n, m in enumerate(stream) if m is message] for message in messages]
    assert max(found[-1] - found[0] for found in places) <= 7


def test_a_float_may_differ_by_rounding_and_nothing_else_at_all() -> None:
    left, right = UserProfile(), UserProfile()
    left.add(event(1))
    right.add(event(1))
    assert list(parity.differences(left, right)) == []
    right.taste.long += 1
    right.totals[4] += 1
    right.recent["q"] = 1
    assert list(parity.differences(left, right)) == [
        ".totals[4]: 1 in the stream, 2 in the batch",
        f".taste.long: {left.taste.long} in the stream, {left.taste.long + 1} in the batch",
        ".recent['q'] is only in the batch",
    ]
    near, far = ItemStats(), ItemStats()
    near.popularity.sums, far.popularity.sums = {0: 1.0}, {0: 1.0 + 1e-12}
    assert list(parity.differences(near, far)) == []
    far.popularity.sums = {0: 1.0 + 1e-7}
    assert len(list(parity.differences(near, far))) == 1
