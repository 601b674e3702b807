"""A clean stream of a small shop, with a login and a logout in it, and what disorder makes of
it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from random import Random
from typing import Any

from pipeline.core.catalog import Item
from pipeline.core.events import Event, encode_message
from pipeline.core.profile_keys import profile_key

EVENTS_EACH, PRODUCTS = 40, 8
CATALOG = {
    f"p{n}": Item(f"p{n}", category=f"c{n % 2}.s{n % 3}", brand=f"b{n % 2}", price=1.5 + n)
    for n in range(PRODUCTS - 2)
}
NAMES = "page_view search impression view_product click add_to_cart purchase dwell".split()
WITHOUT_PRODUCT = {"page_view", "search", "dwell", "identify"}


def clean_stream(random: Random, start: datetime) -> list[Event]:
    """Four visitors of ten minutes; two of the eight products are not in the catalog.

    v0 has no account. v1 logs in in the middle and out again near the end. v2 and v3 share a
    browser. Ids of events hold the time of the start, so that those of two tests differ.
    """
    return [
        _event(
            random,
            f"v{visitor}",
            n,
            start + timedelta(milliseconds=15_000 * n + random.randrange(15_000)),
            start,
        )
        for visitor in range(4)
        for n in range(EVENTS_EACH)
    ]


def _event(
    random: Random, visitor: str, number: int, timestamp: datetime, start: datetime
) -> Event:
    name = "identify" if (visitor, number) == ("v1", 15) else random.choice(NAMES)
    metadata: dict[str, Any] = {"request_id": "r"}
    if name == "search":
        metadata["query"] = random.choice(["lamp", "chair"])
    return Event(
        event_id=f"{visitor}-e{number}-{start:%H%M%S}",
        event=name,
        timestamp=timestamp,
        session_id=f"{visitor}-s",
        product_id=None if name in WITHOUT_PRODUCT else f"p{random.randrange(PRODUCTS)}",
        ingest_time=timestamp,
        metadata={**metadata, "category": "said", "price": 2},
        anonymous_id={"v0": "a0", "v1": "a1"}.get(visitor, "shared"),
        user_id=visitor
        if visitor in ("v2", "v3") or (visitor == "v1" and 15 <= number < 35)
        else None,
    )


def owner(event: Event) -> str:
    """The key whose profile the event belongs to in the end."""
    return "u#v1" if event.anonymous_id == "a1" else profile_key(event)


def broken_bodies(good: Event) -> list[bytes]:
    """Bodies that no collector of ours would publish, all different."""
    wire = json.loads(encode_message([good]))["events"][0]
    changed: list[dict[str, Any]] = [
        {"timestamp": "1970-01-01T00:00:00Z"},
        {"timestamp": "2100-01-01T00:00:00Z"},
        {"event_id": "x" * 10_000},
        {"event_id": 7},
        {"product_id": ""},
        {"user_id": None, "anonymous_id": None},
        {"metadata": {"price": "much"}},
        {"metadata": {"position": 10**25}},
    ]
    bodies = [json.dumps({"events": [wire, {**wire, **change}]}).encode() for change in changed]
    deep = b'{"events": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}"
    nan = json.dumps({"events": [{**wire, "metadata": {"price": float("nan")}}]}).encode()
    return [
        *bodies,
        deep,
        nan,
        b"not json",
        b'{"events": [',
        b"\xff\xfe\x00",
        '{"é": 1}'.encode(),
        b"[]",
    ]


def disordered(random: Random, clean: list[Event], broken: list[bytes]) -> list[bytes]:
    """Bodies of one to eight events in any order, a third of the events twice, the broken ones in
    between.
    """
    events = clean + random.sample(clean, len(clean) // 3)
    random.shuffle(events)
    bodies = list(broken)
    while events:
        size = random.randint(1, 8)
        bodies.append(encode_message(events[:size]))
        events = events[size:]
    random.shuffle(bodies)
    return bodies
