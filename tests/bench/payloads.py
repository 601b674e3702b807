"""Whole HTTP requests of the same product views, in Freshet's own protocol and in each vendor's."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tests.stack.ports import HOST

REQUESTS = 2000
# What a browser sends beside a body.
BROWSER_HEADERS = {
    "host": HOST,
    "origin": f"http://{HOST}:8000",
    "user-agent": (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
        "Safari/537.36"
    ),
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-US,en;q=0.9",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-site",
}
Body = tuple[str, str, bytes]
"""Path, content type and body of a request."""


def native(events: int) -> list[bytes]:
    """Requests of `events` events each; every event has an id of its own."""
    return _requests(events, _native)


def vendors(events: int) -> dict[str, list[bytes]]:
    """The same by vendor's name."""
    return {name: _requests(events, body) for name, body in _VENDORS.items()}


def _requests(events: int, body: Callable[[list[int], datetime], Body]) -> list[bytes]:
    numbers, now = itertools.count(), datetime.now(UTC)
    return [_request(*body(_taken(numbers, events), now)) for _ in range(REQUESTS)]


def _taken(numbers: Iterator[int], count: int) -> list[int]:
    return list(itertools.islice(numbers, count))


def _request(path: str, content_type: str, body: bytes) -> bytes:
    headers = BROWSER_HEADERS | {"content-type": content_type, "content-length": str(len(body))}
    lines = [
        f"POST {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body


def _json(path: str, content: Any) -> Body:
    return path, "application/json", json.dumps(content).encode()


def _native(numbers: list[int], now: datetime) -> Body:
    events = [
        {
            "event_id": f"bench-{number:012d}",
            "event": "view_product",
            "user_id": f"u{number % 5000}",
            "session_id": f"s{number % 5000}",
            "product_id": f"p{number % 2000}",
            "timestamp": now.isoformat(),
            "metadata": {"category": "electronics.audio", "price": 49.9},
        }
        for number in numbers
    ]
    return _json("/v1/events", events[0] if len(events) == 1 else {"events": events})


def _segment(numbers: list[int], now: datetime) -> Body:
    batch = [
        {
            "type": "track",
            "event": "Product Viewed",
            "messageId": f"bench-{number:012d}",
            "userId": f"u{number % 5000}",
            "anonymousId": f"a{number % 5000}",
            "timestamp": now.isoformat(),
            "properties": {
                "product_id": f"p{number % 2000}",
                "category": "electronics.audio",
                "price": 49.9,
            },
            "context": {"library": {"name": "analytics.js", "version": "2.0"}, "locale": "en-US"},
        }
        for number in numbers
    ]
    return _json("/v1/batch", {"writeKey": "bench", "sentAt": now.isoformat(), "batch": batch})


def _ga4(numbers: list[int], now: datetime) -> Body:
    events = [
        {
            "name": "view_item",
            "timestamp_micros": int(now.timestamp() * 1e6) + number,
            "params": {
                "session_id": f"s{number % 5000}",
                "items": [
                    {"item_id": f"p{number % 2000}", "item_category": "electronics", "price": 49.9}
                ],
            },
        }
        for number in numbers
    ]
    query = "/mp/collect?measurement_id=G-BENCH&api_secret=bench"
    return _json(
        query,
        {
            "client_id": f"a{numbers[0] % 5000}",
            "user_id": f"u{numbers[0] % 5000}",
            "events": events,
        },
    )


def _snowplow(numbers: list[int], now: datetime) -> Body:
    millis = str(int(now.timestamp() * 1000))
    contexts = {
        "schema": "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0",
        "data": [
            {
                "schema": "iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0",
                "data": {
                    "id": "p1",
                    "category": "electronics/audio",
                    "price": 49.9,
                    "currency": "EUR",
                },
            }
        ],
    }
    view = {
        "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
        "data": {
            "schema": "iglu:com.snowplowanalytics.snowplow.ecommerce/"
            "snowplow_ecommerce_action/jsonschema/1-0-2",
            "data": {"type": "product_view"},
        },
    }
    data = [
        {
            "e": "ue",
            "eid": f"00000000-0000-4000-8000-{number:012d}",
            "tv": "js-4.6.0",
            "p": "web",
            "aid": "bench",
            "uid": f"u{number % 5000}",
            "duid": f"a{number % 5000}",
            "dtm": millis,
            "stm": millis,
            "url": f"http://{HOST}:8000/p/{number % 2000}",
            "ue_px": _base64(view),
            "cx": _base64(contexts),
        }
        for number in numbers
    ]
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    return _json("/com.snowplowanalytics.snowplow/tp2", {"schema": schema, "data": data})


def _mixpanel(numbers: list[int], now: datetime) -> Body:
    events = [
        {
            "event": "Product Viewed",
            "properties": {
                "token": "bench",
                "time": now.timestamp(),
                "distinct_id": f"u{number % 5000}",
                "$device_id": f"a{number % 5000}",
                "$user_id": f"u{number % 5000}",
                "$insert_id": f"bench-{number:012d}",
                "product_id": f"p{number % 2000}",
                "category": "electronics.audio",
                "price": 49.9,
            },
        }
        for number in numbers
    ]
    form = urlencode({"data": json.dumps(events)}).encode()
    return "/track?verbose=1", "application/x-www-form-urlencoded", form


def _amplitude(numbers: list[int], now: datetime) -> Body:
    events = [
        {
            "event_type": "Product Viewed",
            "user_id": f"u{number % 5000}",
            "device_id": f"a{number % 5000}",
            "insert_id": f"bench-{number:012d}",
            "time": int(now.timestamp() * 1000),
            "session_id": int(now.timestamp() * 1000),
            "event_properties": {
                "product_id": f"p{number % 2000}",
                "category": "electronics.audio",
                "price": 49.9,
            },
        }
        for number in numbers
    ]
    return _json("/2/httpapi", {"api_key": "bench", "events": events})


def _base64(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


_VENDORS: dict[str, Callable[[list[int], datetime], Body]] = {
    "segment": _segment,
    "ga4": _ga4,
    "snowplow": _snowplow,
    "mixpanel": _mixpanel,
    "amplitude": _amplitude,
}
