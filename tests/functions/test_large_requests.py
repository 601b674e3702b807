"""Requests of thousands of events, which vendors' SDKs may be set to: whole, in parts, and not at
others' expense.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from functions.accept import SLICE_BYTES, SLICE_EVENTS
from functions.collector import Collector
from functions.config import Config
from functions.protocols.values import MAX_VENDOR_EVENTS
from functions.publisher import MAX_CALL_MESSAGES
from pipeline.core.events import MAX_EVENTS, decode_message
from tests.functions.pubsub import Topics

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)


def segment_batch(events: int, time: datetime) -> dict[str, Any]:
    tracked = {
        "type": "track",
        "event": "Product Viewed",
        "userId": "anna",
        "timestamp": time.isoformat(),
    }
    named = {"properties": {"product_id": "p1"}}
    return {"batch": [tracked | named | {"messageId": f"m{number}"} for number in range(events)]}


def test_the_largest_batch_of_segments_arrives_whole_in_messages_of_500_events(
    client: httpx.Client, topics: Topics
) -> None:
    answer = client.post("/v1/batch", json=segment_batch(MAX_VENDOR_EVENTS, datetime.now(UTC)))
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    messages = [
        decode_message(message.data) for message in topics.events(MAX_VENDOR_EVENTS // MAX_EVENTS)
    ]
    assert [len(events) for events in messages] == [MAX_EVENTS] * (MAX_VENDOR_EVENTS // MAX_EVENTS)
    arrivals = [{event.ingest_time for event in events} for events in messages]
    assert [len(arrival) for arrival in arrivals] == [1] * len(messages)
    assert len(set.union(*arrivals)) == len(messages)  # by which a backfill tells messages apart
    ids = {event.event_id for events in messages for event in events}
    assert ids == {f"m{number}" for number in range(MAX_VENDOR_EVENTS)}


def test_one_event_more_than_the_largest_batch_is_refused(
    client: httpx.Client, topics: Topics
) -> None:
    answer = client.post("/v1/batch", json=segment_batch(MAX_VENDOR_EVENTS + 1, datetime.now(UTC)))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    topics.events(0)


def test_rejected_events_of_a_large_import_are_named_by_their_place_in_the_request(
    client: httpx.Client, topics: Topics
) -> None:
    bad = (3, MAX_EVENTS, 2 * MAX_EVENTS - 1)
    good = {"distinct_id": "anna", "time": datetime.now(UTC).timestamp()}
    events = [
        {"event": "Lamp", "properties": good | {"$insert_id": f"i{n}"}}
        for n in range(2 * MAX_EVENTS)
    ]
    for number in bad:
        events[number]["properties"] = {"$insert_id": f"i{number}"}
    answer = client.post("/import", params={"strict": "1"}, json=events).json()
    assert [(record["index"], record["insert_id"]) for record in answer["failed_records"]] == [
        (number, f"i{number}") for number in bad
    ]
    assert answer["num_records_imported"] == 2 * MAX_EVENTS - len(bad)
    stored = [event for message in topics.events(2) for event in decode_message(message.data)]
    assert len(stored) == answer["num_records_imported"]
    topics.dead_letters(len(bad))


class Kept:
    """A publisher that keeps what it is given, call by call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    async def publish(
        self, topic: str, messages: Sequence[Any], within_s: float | None = None
    ) -> None:
        self.calls.append((topic.rpartition("/")[2], len(messages)))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def collector(kept: Kept) -> Collector:
    return Collector(
        Config("demo-project", "events", "dead-letters"),
        kept,
        lambda: NOW,
        lambda: 0.0,
        lambda bits: 0,
    )


async def ask(collector: Collector, path: str, body: Any) -> int:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    answer = await collector(Request(scope | {"client": ("192.0.2.1", 1)}, receive))
    return answer.status_code


async def test_dead_letters_travel_in_calls_of_as_many_messages_as_pubsub_takes(
    collector: Collector, kept: Kept
) -> None:
    nobody = [{"type": "track", "event": "Lamp"}] * MAX_VENDOR_EVENTS
    assert await ask(collector, "/v1/batch", {"batch": nobody}) == 400
    assert kept.calls == [("dead-letters", MAX_CALL_MESSAGES)] * 2 + [("dead-letters", 500)]


async def served_meanwhile(collector: Collector, batch: Any) -> int:
    """Single events of others that are answered while a batch is."""
    large = asyncio.create_task(ask(collector, "/v1/batch", batch))
    served = 0
    while not large.done():
        click = {"event": "click", "user_id": "u1", "timestamp": NOW.isoformat()}
        assert await asyncio.create_task(ask(collector, "/v1/events", click)) == 202
        served += 1
    assert await large == 200
    return served


async def test_others_are_served_between_the_slices_of_a_large_request(
    collector: Collector, kept: Kept
) -> None:
    served = await served_meanwhile(collector, segment_batch(MAX_VENDOR_EVENTS, NOW))
    assert ("events", MAX_VENDOR_EVENTS // MAX_EVENTS) in kept.calls
    assert served >= MAX_VENDOR_EVENTS // SLICE_EVENTS // 2


async def test_others_are_served_between_a_few_large_events(
    collector: Collector, kept: Kept
) -> None:
    large = [
        {
            "type": "track",
            "event": "Lamp",
            "userId": "u1",
            "properties": {"text": "x" * SLICE_BYTES},
        }
    ] * 20
    assert await served_meanwhile(collector, {"batch": large}) >= len(large) // 2
