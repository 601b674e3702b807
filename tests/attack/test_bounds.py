"""Bounds of a request, each by name, and usual requests within them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from functions.protocols.values import MAX_VENDOR_EVENTS
from pipeline.core.json_limits import (
    MAX_CONTAINERS,
    MAX_VALUES,
)
from pipeline.core.untrusted_json import MAX_REPEATING_VALUES
from tests.attack.corpus import BODY_BYTES, TIME, VALUES, collector_attacks, repeated
from tests.attack.driving import cheapest, collect, collector
from tests.bench import payloads
from tests.bench.fuzz_corpus import NOW, FuzzRequest

JSON = {"content-type": "application/json"}


def asked(method: str, target: str, body: bytes, headers: dict[str, str] = JSON) -> Any:
    path, _, query = target.partition("?")
    request = FuzzRequest(method, path, query, headers, body)
    return cheapest(lambda: collect(collector(), request), float("inf")).answer


def list_of(piece: bytes, count: int) -> bytes:
    return b"[" + b",".join([piece] * count) + b"]"


REFUSED = {
    "native": ("/v1/events", b'{"x":%s}'),
    "segment": ("/v1/batch", b'{"batch":[{"x":%s}]}'),
    "segment, a lone call": ("/v1/track", b'{"x":%s}'),
    "ga4": ("/mp/collect", b'{"events":[{"x":%s}]}'),
    "mixpanel": ("/track", b'[{"x":%s}]'),
    "mixpanel, a lone event": ("/track", b'{"x":%s}'),
    "amplitude": ("/2/httpapi", b'{"events":[{"x":%s}]}'),
}


@pytest.mark.parametrize("place", REFUSED)
@pytest.mark.parametrize(
    "value", ["lists", "objects", "deep lists", "numbers", "floats", "huge integers"]
)
async def test_a_request_of_too_much_is_refused_by_name_in_the_vendors_form(
    place: str, value: str
) -> None:
    path, around = REFUSED[place]
    answer = asked("POST", path, around % VALUES[value](BODY_BYTES - 1000))

    assert answer.status_code == 413
    assert b"body" in answer.body
    assert b"expected at most" in answer.body


async def test_names_may_stand_twice_only_where_there_are_few_values() -> None:
    twice = (
        b'{"event":"click","anonymous_id":"a1","timestamp":"%s","consent":null,"consent":{},"x":%s}'
    )
    few, many = (
        asked("POST", "/v1/events", twice % (TIME, list_of(b"1", count)))
        for count in (9000, 11_000)
    )
    assert few.status_code == 202
    assert (many.status_code, b"where names stand twice" in many.body) == (413, True)


async def test_a_quotation_mark_in_an_escape_is_no_name_that_stands_twice() -> None:
    properties = b",".join(b'"p%d":1' % number for number in range(15))
    track = b'{"type":"track","event":"a","anonymousId":"a1","properties":{"title":"%s",%s}}'
    events = list_of(track % (rb"55\u0022 TV", properties), 700)
    assert events.count(b",") > MAX_REPEATING_VALUES
    assert asked("POST", "/v1/batch", b'{"batch":%s}' % events).status_code == 200


async def test_snowplow_is_told_400_for_what_its_texts_hold() -> None:
    hidden = base64.urlsafe_b64encode(VALUES["lists"](1400))
    event = b'{"e":"pv","duid":"a1","cx":"%s"}' % hidden
    envelope = (
        b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":%s}'
    )
    answer = asked("POST", "/com.snowplowanalytics.snowplow/tp2", envelope % list_of(event, 480))

    assert (answer.status_code, answer.body) == (
        400,
        b"data: expected at most %d objects and lists\n" % MAX_CONTAINERS,
    )


async def test_lines_are_counted_together() -> None:
    line = b'{"event":"a","properties":{"token":"t","distinct_id":"u1","x":%s}}' % VALUES["lists"](
        2000
    )
    answer = asked(
        "POST", "/import", b"\n".join([line] * 480), {"content-type": "application/x-ndjson"}
    )

    assert answer.status_code == 413
    assert b"objects and lists" in answer.body


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"en=a&" + b"a=b&" * 40, b"10000 fields"),
        (b"en=a&ep.a=" + b"%41" * 200, b"50000 percent-encoded bytes"),
        (b"en=purchase&pr1=id1" + b"~k0a~v0b" * 50, b"20000 fields of items"),
    ],
)
async def test_the_fields_of_lines_are_counted_together(line: bytes, told: bytes) -> None:
    answer = asked(
        "POST",
        "/g/collect?tid=G-1&cid=1.2",
        b"\n".join([line] * 400),
        {"content-type": "text/plain"},
    )

    assert answer.status_code == 413
    assert told in answer.body


async def test_what_a_batch_says_once_is_counted_with_each_of_its_events() -> None:
    context = b",".join(b'"k%d":1' % number for number in range(1300))
    events = list_of(b'{"type":"track","event":"a","anonymousId":"a1"}', 60)
    answer = asked("POST", "/v1/batch", b'{"context":{%s},"batch":%s}' % (context, events))

    assert answer.status_code == 413
    assert b"%d values with what they share" % MAX_VALUES in answer.body


async def test_the_largest_usual_requests_are_accepted() -> None:
    metadata = {f"property_{number}": f"a value, of {number}" for number in range(25)}
    event = {
        "event": "click",
        "anonymous_id": "a1",
        "timestamp": TIME.decode(),
        "metadata": metadata,
    }
    answer = asked("POST", "/v1/events", json.dumps({"events": [event] * 500}).encode())
    assert json.loads(answer.body) == {"accepted": 500, "rejected": 0, "errors": []}

    order = b'{"event_type":"Order Completed","device_id":"a1","event_properties":{"products":%s}}'
    products = repeated(b'{"product_id":"p1","name":"Lamp, small","price":2.5,"quantity":2}', 6600)
    answer = asked(
        "POST", "/2/httpapi", b'{"api_key":"k","events":%s}' % list_of(order % products, 30)
    )
    assert json.loads(answer.body)["events_ingested"] == 30


@pytest.mark.parametrize("name", ["segment", "ga4", "snowplow", "mixpanel", "amplitude"])
async def test_a_vendors_batch_of_its_usual_events_is_accepted(name: str) -> None:
    target, content_type, body = payloads._VENDORS[name](list(range(200)), NOW)
    assert asked("POST", target, body, {"content-type": content_type}).status_code in (200, 204)


async def test_a_batch_of_as_many_events_as_segments_server_sdks_send_is_accepted() -> None:
    event = {
        "type": "track",
        "event": "Product Viewed",
        "userId": "u1",
        "timestamp": TIME.decode(),
        "messageId": "node-next-1735732800000-3c5b",
        "properties": {"product_id": "p1", "name": "Lamp", "price": 9.5, "category": "lamps"},
        "context": {
            "library": {"name": "@segment/analytics-node", "version": "2.2.0"},
            "traits": {},
        },
        "integrations": {},
        "_metadata": {"nodeVersion": "20.18.0", "jsRuntime": "node"},
    }
    body = json.dumps(
        {"batch": [event] * MAX_VENDOR_EVENTS, "sentAt": TIME.decode()}, separators=(",", ":")
    )
    assert asked("POST", "/v1/batch", body.encode()).status_code == 200


def test_the_corpus_fits_into_requests() -> None:
    assert max(attack.request.size for attack in collector_attacks()) <= 1024 * 1024
