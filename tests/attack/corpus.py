"""Bodies, queries and headers that are as expensive as their bytes allow, for every protocol.

Each is legal JSON (or a form, or a query) unless its name says otherwise, of about 1 MB once it is unpacked, and built
by repetition, so that it travels as a few kilobytes. Timestamps are `NOW`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping

import msgspec

from tests.bench.fuzz_corpus import NOW, NOW_MS, FuzzRequest

BODY_BYTES = 1024 * 1024 - 4096
EVENT_BYTES = 60_000
QUERY_BYTES = 8000
TIME = NOW.isoformat().encode()


class Attack(msgspec.Struct, frozen=True):
    """One request, by the endpoint that it is meant for and what it is full of."""

    endpoint: str
    name: str
    request: FuzzRequest

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.name}"


# ---- values --------------------------------------------------------------------------------------------------------


def repeated(piece: bytes, size: int, ends: bytes = b"[]") -> bytes:
    """A list of `piece`, or an object of members with `ends` of `{}`, of about `size` bytes."""
    return ends[:1] + b",".join([piece] * max(1, (size - 2) // (len(piece) + 1))) + ends[1:]


def numbered(piece: bytes, size: int, ends: bytes = b"{}") -> bytes:
    """As `repeated`, with a number in each place of `%d`."""
    return ends[:1] + b",".join(piece % n for n in range(max(1, (size - 2) // (len(piece) + 4)))) + ends[1:]


def _text(piece: bytes, size: int) -> bytes:
    return b'"' + piece * max(1, (size - 2) // len(piece)) + b'"'


VALUES: Mapping[str, Callable[[int], bytes]] = {
    "objects": lambda size: repeated(b'{"b":1}', size),
    "lists": lambda size: repeated(b"[1]", size),
    "empty lists": lambda size: repeated(b"[]", size),
    "deep lists": lambda size: repeated(b"[" * 20 + b"]" * 20, size),
    "deep objects": lambda size: repeated(b'{"a":' * 20 + b"1" + b"}" * 20, size),
    "numbers": lambda size: repeated(b"1", size),
    "floats": lambda size: repeated(b"1.7976931348623157e+308", size),
    "long integers": lambda size: repeated(b"1" * 19, size),
    "huge integers": lambda size: repeated(b"9" * 4000, size),
    "short texts": lambda size: repeated(b'"a"', size),
    "keys": lambda size: numbered(b'"k%d":1', size),
    "the same key": lambda size: repeated(b'"a":1', size, b"{}"),
    "addresses": lambda size: repeated(b'{"ip":"::1"}', size),
    "personal names": lambda size: repeated(b'{"email":"a"}', size),
    "one text": lambda size: _text(b"a", size),
    "escapes": lambda size: _text(rb"\u00e9", size),
    "half characters": lambda size: _text(rb"\ud83d", size),
    "markup": lambda size: _text(b"<>&", size),
    "commas in a text": lambda size: _text(b",:[{", size),
    "denials": lambda size: _text(rb"analytics\":   ", size),
}
"""By what a JSON value of so many bytes is full of."""


# ---- what a protocol's clients wrap around an event's properties -------------------------------------------------


def _native(values: list[bytes]) -> Iterator[FuzzRequest]:
    yield _json("/v1/events", b'{"events":[%s]}', [_native_event(n, value) for n, value in enumerate(values)])


def _native_event(number: int, value: bytes) -> bytes:
    return b'{"event_id":"e%d","event":"click","anonymous_id":"a1","timestamp":"%s","metadata":{"x":%s}}' % (
        number,
        TIME,
        value,
    )


def _segment(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = b'{"type":"track","event":"Order Completed","anonymousId":"a1","messageId":"m%d","properties":{"x":%s}}'
    yield _json("/v1/batch", b'{"batch":[%s]}', [event % pair for pair in enumerate(values)])


def _ga4(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = b'{"name":"scroll","params":{"x":%s}}'
    yield _json("/mp/collect", b'{"client_id":"1.2","events":[%s]}', [event % value for value in values])


def _snowplow(values: list[bytes]) -> Iterator[FuzzRequest]:
    context = b'{"schema":"iglu:a/contexts/jsonschema/1","data":[{"schema":"iglu:a/b/jsonschema/1","data":%s}]}'
    event = b'{"e":"pv","p":"web","duid":"a1","eid":"e%d","cx":"%s"}'
    envelope = b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[%s]}'
    path = "/com.snowplowanalytics.snowplow/tp2"
    encoded = [base64.urlsafe_b64encode(context % value[: len(value)]) for value in values]
    yield _json(path, envelope, [event % (n, text) for n, text in enumerate(encoded)])


def _mixpanel(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = b'{"event":"Order Completed","properties":{"token":"t","distinct_id":"u1","time":%d,"x":%s}}'
    events = [event % (NOW_MS, value) for value in values]
    yield _json("/track", b"[%s]", events)
    data = base64.b64encode(b"[%s]" % b",".join(events[: max(1, len(events) * 3 // 4)]))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    yield FuzzRequest("POST", "/track", "", headers, b"data=" + data.replace(b"+", b"%2B"))


def _amplitude(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = b'{"event_type":"Order Completed","device_id":"a1","time":%d,"event_properties":{"x":%s}}'
    yield _json("/2/httpapi", b'{"api_key":"k","events":[%s]}', [event % (NOW_MS, value) for value in values])


PROTOCOLS: Mapping[str, Callable[[list[bytes]], Iterator[FuzzRequest]]] = {
    "native": _native,
    "segment": _segment,
    "ga4": _ga4,
    "snowplow": _snowplow,
    "mixpanel": _mixpanel,
    "amplitude": _amplitude,
}
_COUNTS = (1, 16, 480)


def _json(path: str, envelope: bytes, events: list[bytes]) -> FuzzRequest:
    return FuzzRequest("POST", path, "", {"content-type": "application/json"}, envelope % b",".join(events))


def collector_attacks() -> Iterator[Attack]:
    """Of every protocol, with one event, 16 and 480 of each value; then what only one protocol knows."""
    for endpoint, wrap in PROTOCOLS.items():
        for name, value in VALUES.items():
            for count in _COUNTS:
                size = min(EVENT_BYTES, BODY_BYTES // count - 200)
                if endpoint == "snowplow":
                    size = size * 3 // 4 - 150
                for request in wrap([value(size)] * count):
                    yield Attack(endpoint, f"{count} events of {name}", request)
    yield from _particular()


def _particular() -> Iterator[Attack]:
    for name, value in VALUES.items():
        if name not in ("half characters",):
            yield Attack("native", f"a body of {name}", FuzzRequest("POST", "/v1/events", "", {}, value(BODY_BYTES)))
    click = b'{"event":"click","anonymous_id":"a1","timestamp":"%s"}' % TIME
    yield Attack("native", "500 small events", _json("/v1/events", b'{"events":[%s]}', [click] * 500))
