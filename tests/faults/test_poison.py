"""Poison between good events: it ends as dead letters, whole and with its reason, and stops and
bends nothing.

Once as messages straight to the pipeline, past the collector; once as requests to the collector.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import httpx

from pipeline.core.events import Event, encode_message
from pipeline.core.json_limits import MAX_CONTAINERS
from tests.faults.survival import (
    Survey,
    assert_nothing_lost_or_doubled,
    bodies,
    publish,
    survey,
    visits,
    wait_until,
    wait_until_all_is_there,
)
from tests.stack import Stack

PUBSUB_LIMIT = 10_000_000  # bytes of a message, on Google Cloud; the emulator has none
LONG = "x" * 10_000
IDS = "event_id user_id anonymous_id session_id product_id".split()
NOT_KEPT = 413  # a request that is too large, or too much work, is refused as a whole

Poison = tuple[bytes, str]  # what comes, and the field that is to blame


def wire(event: Event) -> dict[str, Any]:
    """The event as a client writes it."""
    fields: dict[str, Any] = json.loads(encode_message([event]))["events"][0]
    del fields["ingest_time"]
    return fields


def spoiled(good: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Events that are JSON and break the contract, and the field to blame; ids are of no good
    event.
    """
    good = {**good, "event_id": "poison"}
    for name in IDS:
        yield {**good, name: LONG}, name
    yield {**good, "event_id": ""}, "event_id"
    yield {**good, "product_id": "a\nb"}, "product_id"
    yield {**good, "timestamp": "1970-01-01T00:00:00Z"}, "timestamp"
    yield {**good, "timestamp": "2100-01-01T00:00:00Z"}, "timestamp"
    yield {**good, "user_id": None, "anonymous_id": None}, "user_id"
    yield {**good, "metadata": {"price": "much"}}, "metadata.price"
    yield {**good, "metadata": {"quantity": -1}}, "metadata.quantity"
    yield {**good, "metadata": {"position": 10**25}}, "metadata.position"
    yield {**good, "metadata": {"query": ["lamp"]}}, "metadata.query"


def unreadable(good: dict[str, Any]) -> Iterator[bytes]:
    """Bytes that are no JSON, or none of the right types."""
    yield from (b"not json", b"{", b"[]", b"7", b'"text"', b"null", b"\x00", b'{"events": "many"}')
    yield from (b"\xff\xfe\x00", b'{"event_id": "\xff\xfe"}', '{"é": '.encode("latin-1"))
    yield nested(10_000)
    yield b'{"events": [' + b'{"metadata": ' * 10_000 + b"}" * 10_000 + b"]}"
    text = json.dumps({**good, "event_id": "poison", "price": "PRICE"})
    yield from (
        text.replace('"PRICE"', number).encode()
        for number in ("NaN", "Infinity", "-Infinity", "1e999")
    )


def nested(levels: int) -> bytes:
    """Lists in lists."""
    return b"[" * levels + b"]" * levels


def messages(good: dict[str, Any]) -> list[Poison]:
    """What no collector of ours publishes: a good event beside the spoiled one goes with it."""
    first = {**good, "event_id": "beside poison"}
    beside = [
        (json.dumps({"events": [first, event]}).encode(), field) for event, field in spoiled(good)
    ]
    wrong_types = [
        {**first, "event_id": 7},
        {**first, "metadata": []},
        {**first, "timestamp": 1.5},
        {"event": "click"},
    ]
    typed = [(json.dumps({"events": [event]}).encode(), "body") for event in wrong_types]
    deep: Any = "here"
    for _ in range(200):
        deep = [deep]
    deepest = (
        json.dumps({"events": [{**first, "metadata": {"deep": deep}}]}).encode(),
        "metadata.deep",
    )
    huge = b'{"events": "' + b"x" * (PUBSUB_LIMIT - 14) + b'"}'
    return [
        *beside,
        *typed,
        deepest,
        (huge, "body"),
        *((body, "body") for body in unreadable(good)),
    ]


def assert_kept_whole(found: Survey, bad: Sequence[Poison], source: str) -> None:
    """Every bad input is a dead letter as it came, with a reason and the field to blame."""
    dead_letters = found.dead_letters()
    assert Counter(
        (dead_letter["body"], dead_letter["field"]) for dead_letter in dead_letters
    ) == Counter(bad)
    assert all(
        dead_letter["source"] == source and dead_letter["reason"] for dead_letter in dead_letters
    )


def mixed(good: list[bytes], bad: list[bytes]) -> list[bytes]:
    """The good in their order, the bad anywhere between them."""
    rng, found = Random(4), list(good)
    for body in bad:
        found.insert(rng.randrange(len(found)), body)
    return found


def test_poison_among_the_messages_becomes_dead_letters_and_all_good_events_arrive(
    apps: Stack,
) -> None:
    events = visits(8)
    bad = messages(wire(events[0]))
    with survey(apps) as found:
        apps.start_process("pipeline")
        publish(apps.env, mixed(bodies(events), [body for body, _ in bad]))
        wait_until_all_is_there(apps, found, events)
        wait_until(apps, lambda: found.rejected() >= len(bad), 20.0)
        apps.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)
        assert_kept_whole(found, bad, "pipeline")


def requests(good: dict[str, Any]) -> list[Poison]:
    """Bodies that a client may send: single events, so that what is rejected is the whole body."""
    single = [(json.dumps(event).encode(), field) for event, field in spoiled(good)]
    large = json.dumps({**good, "event_id": "poison", "title": "x" * 1_000_000}).encode()
    return [*single, (large, "body"), *((body, "body") for body in unreadable(good))]


def assert_refused_with_reason(answer: httpx.Response) -> None:
    """4xx, or 202 with the reason of each rejected event."""
    assert 400 <= answer.status_code < 500 or answer.status_code == 202, answer.text
    said = answer.json()
    errors = said["errors"]
    assert errors and all(error["field"] and error["reason"] for error in errors)


def test_poison_in_requests_is_refused_with_a_reason_and_all_good_events_arrive(
    apps: Stack,
) -> None:
    events = visits(8)
    bad = requests(wire(events[0]))
    too_large = [
        b"x" * PUBSUB_LIMIT,
        json.dumps({"events": 600 * [{}]}).encode(),
        nested(2 * MAX_CONTAINERS),
    ]
    batches = [events[at : at + 10] for at in range(0, len(events), 10)]
    good = [json.dumps({"events": [wire(event) for event in batch]}).encode() for batch in batches]
    with survey(apps) as found:
        for part in ("collector", "pipeline", "dead_letters"):
            apps.start_process(part)
        apps.wait_for("collector")
        with httpx.Client(
            base_url=apps.env["FRESHET_COLLECTOR_URL"], trust_env=False, timeout=20.0
        ) as client:
            for body in mixed(good, [body for body, _ in bad] + too_large):
                answer = client.post("/v1/events", content=body)
                if body in good:
                    assert (answer.status_code, answer.json()["rejected"]) == (202, 0)
                else:
                    assert_refused_with_reason(answer)
                    assert (answer.status_code == NOT_KEPT) == (body in too_large)
        wait_until_all_is_there(apps, found, events)
        wait_until(apps, lambda: found.rejected() >= len(bad), 20.0)
        assert_nothing_lost_or_doubled(found, events)
        assert_kept_whole(found, bad, "collector")
