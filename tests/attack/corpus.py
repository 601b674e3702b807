"""Bodies, queries and headers that are as expensive as their bytes allow, for every protocol.

Each is legal JSON (or a form, or a query) unless its name says otherwise, of about 1 MB once it is
unpacked, and built by repetition, so that it travels as a few kilobytes. Timestamps are `NOW`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping

import msgspec

from pipeline.core.json_limits import MAX_CONTAINERS, MAX_VALUES
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


# ---- values


def repeated(piece: bytes, size: int, ends: bytes = b"[]") -> bytes:
    """A list of `piece`, or an object of members with `ends` of `{}`, of about `size` bytes."""
    return ends[:1] + b",".join([piece] * max(1, (size - 2) // (len(piece) + 1))) + ends[1:]


def numbered(piece: bytes, size: int, ends: bytes = b"{}") -> bytes:
    """As `repeated`, with a number in each place of `%d`."""
    return (
        ends[:1]
        + b",".join(piece % n for n in range(max(1, (size - 2) // (len(piece) + 4))))
        + ends[1:]
    )


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
    "huge integers": lambda size: repeated(b"9" * min(4000, size - 2), size),
    "short texts": lambda size: repeated(b'"a"', size),
    "keys": lambda size: numbered(b'"k%d":1', size),
    "the same key": lambda size: repeated(b'"a":1', size, b"{}"),
    "repeated names": lambda size: repeated(b'{"a":1,"a":2}', size),
    "one name of many objects": lambda size: repeated(b'"a":{"b":1}', size, b"{}"),
    "escaped names": lambda size: numbered(rb'"\u0061%d":1', size),
    "consents": lambda size: repeated(b'"consent":{"analytics":true}', size, b"{}"),
    "addresses": lambda size: repeated(b'{"ip":"::1"}', size),
    "personal names": lambda size: repeated(b'{"email":"a"}', size),
    "one text": lambda size: _text(b"a", size),
    "escapes": lambda size: _text(rb"\u00e9", size),
    "escaped letters": lambda size: _text(rb"\u0061", size),
    "escaped quotation marks": lambda size: _text(rb"\u0022", size),
    "half characters": lambda size: _text(rb"\ud83d", size),
    "markup": lambda size: _text(b"<>&", size),
    "commas in a text": lambda size: _text(b",:[{", size),
    "denials": lambda size: _text(rb"analytics\":   ", size),
    "tokens": lambda size: _text(rb"user_token\":" + b" " * 200, size),
}
"""By what a JSON value of so many bytes is full of."""


def _accepted_bytes(value: Callable[[int], bytes]) -> int:
    """About as many of them as one request may hold."""
    sample = value(EVENT_BYTES)
    containers = sample.count(b"[") + sample.count(b"{")
    values = containers + sample.count(b",")
    share = min(0.9 * MAX_CONTAINERS / max(1, containers), 0.9 * MAX_VALUES / max(1, values))
    return min(int(share * len(sample)), 16 * EVENT_BYTES * 2 // 3)


# ---- what a protocol's clients wrap around an event's properties


def _native(values: list[bytes]) -> Iterator[FuzzRequest]:
    yield _json(
        "/v1/events",
        b'{"events":[%s]}',
        [_native_event(n, value) for n, value in enumerate(values)],
    )


def _native_event(number: int, value: bytes) -> bytes:
    return (
        b'{"event_id":"e%d","event":"click","anonymous_id":"a1","timestamp":"%s","metadata":{"x":%s}}'
        % (
            number,
            TIME,
            value,
        )
    )


def _segment(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = (
        b'{"type":"track","event":"Order '
        b'Completed","anonymousId":"a1","messageId":"m%d","properties":{"x":%s}}'
    )
    yield _json("/v1/batch", b'{"batch":[%s]}', [event % pair for pair in enumerate(values)])


def _ga4(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = b'{"name":"scroll","params":{"x":%s}}'
    yield _json(
        "/mp/collect", b'{"client_id":"1.2","events":[%s]}', [event % value for value in values]
    )


def _snowplow(values: list[bytes]) -> Iterator[FuzzRequest]:
    context = b'{"schema":"iglu:a/contexts/jsonschema/1","data":[{"schema":"iglu:a/b/jsonschema/1","data":%s}]}'
    event = b'{"e":"pv","p":"web","duid":"a1","eid":"e%d","cx":"%s"}'
    encoded = [base64.urlsafe_b64encode(context % value) for value in values]
    yield _json(_TP2, _SNOWPLOW, [event % (n, text) for n, text in enumerate(encoded)])


_TP2 = "/com.snowplowanalytics.snowplow/tp2"
_SNOWPLOW = (
    b'{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4","data":[%s]}'
)


def _mixpanel(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = (
        b'{"event":"Order '
        b'Completed","properties":{"token":"t","distinct_id":"u1","time":%d,"x":%s}}'
    )
    events = [event % (NOW_MS, value) for value in values]
    yield _json("/track", b"[%s]", events)
    data = base64.b64encode(b"[%s]" % b",".join(events[: max(1, len(events) * 3 // 4)]))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    yield FuzzRequest("POST", "/track", "", headers, b"data=" + data.replace(b"+", b"%2B"))


def _amplitude(values: list[bytes]) -> Iterator[FuzzRequest]:
    event = (
        b'{"event_type":"Order Completed","device_id":"a1","time":%d,"event_properties":{"x":%s}}'
    )
    yield _json(
        "/2/httpapi",
        b'{"api_key":"k","events":[%s]}',
        [event % (NOW_MS, value) for value in values],
    )


PROTOCOLS: Mapping[str, Callable[[list[bytes]], Iterator[FuzzRequest]]] = {
    "native": _native,
    "segment": _segment,
    "ga4": _ga4,
    "snowplow": _snowplow,
    "mixpanel": _mixpanel,
    "amplitude": _amplitude,
}
_COUNTS = (16, 480)


def _json(path: str, envelope: bytes, events: list[bytes]) -> FuzzRequest:
    return FuzzRequest(
        "POST", path, "", {"content-type": "application/json"}, envelope % b",".join(events)
    )


def collector_attacks() -> Iterator[Attack]:
    """Of every protocol, with 16 events and with 480 of each value; then what only one protocol
    knows.
    """
    for endpoint, wrap in PROTOCOLS.items():
        for name, value in VALUES.items():
            for count in _COUNTS:
                size = min(EVENT_BYTES, BODY_BYTES // count - 200)
                if endpoint == "snowplow":
                    size = size * 3 // 4 - 150
                for request in wrap([value(size)] * count):
                    yield Attack(endpoint, f"{count} events of {name}", request)
            for request in wrap([value(_accepted_bytes(value) // 16)] * 16):
                yield Attack(endpoint, f"as many {name} as are taken", request)
    yield from _particular()


def _particular() -> Iterator[Attack]:
    for name, value in VALUES.items():
        yield Attack(
            "native",
            f"a body of {name}",
            FuzzRequest("POST", "/v1/events", "", {}, value(BODY_BYTES)),
        )
    click = b'{"event":"click","anonymous_id":"a1","timestamp":"%s"}' % TIME
    yield Attack(
        "native", "500 small events", _json("/v1/events", b'{"events":[%s]}', [click] * 500)
    )
    yield from _rejected()
    yield from _products()
    yield from _forms()
    yield from _headers()


def _rejected() -> Iterator[Attack]:
    for name in ("objects", "keys", "one text", "personal names", "addresses", "escapes"):
        value = VALUES[name](1800)
        events = [b'{"event":"click","anonymous_id":"a1","x":%s}' % value] * 480
        yield Attack(
            "native",
            f"480 rejected events of {name}",
            _json("/v1/events", b'{"events":[%s]}', events),
        )
        events = [b'{"type":"nothing","anonymousId":"a1","x":%s}' % value] * 480
        yield Attack(
            "segment",
            f"480 rejected events of {name}",
            _json("/v1/batch", b'{"batch":[%s]}', events),
        )
        events = [b'{"device_id":"a1","x":%s}' % value] * 480
        yield Attack(
            "amplitude",
            f"480 rejected events of {name}",
            _json("/2/httpapi", b'{"events":[%s]}', events),
        )
        broken = b'{"events":[%s]' % b",".join(events)
        yield Attack(
            "native",
            f"a body that breaks off, of {name}",
            FuzzRequest("POST", "/v1/events", "", {}, broken),
        )
    for name in ("the same key", "repeated names"):
        broken = b'{"sent_at":"x","events":[%s]}' % VALUES[name](80_000)
        yield Attack(
            "native",
            f"a time that is none beside {name}",
            FuzzRequest("POST", "/v1/events", "", {}, broken),
        )
    event = b'{"event":"click","anonymous_id":"a1","x":1,%s}' % VALUES["the same key"](63_000)[1:-1]
    yield Attack(
        "native",
        "4 rejected events of the same key",
        _json("/v1/events", b'{"events":[%s]}', [event] * 4),
    )
    yield Attack("native", "500 numbers", _json("/v1/events", b'{"events":[%s]}', [b"1"] * 500))


def _products() -> Iterator[Attack]:
    for count, products in ((10, 100), (50, 100), (480, 10), (480, 100)):
        for name, product in (
            ("ids", b'"p1"'),
            ("products", b'{"product_id":"p1","price":1,"name":"a"}'),
        ):
            value = repeated(product, min(BODY_BYTES // count - 200, (len(product) + 1) * products))
            title = f"{count} orders of {products} {name}"
            for endpoint in ("segment", "mixpanel", "amplitude"):
                for request in PROTOCOLS[endpoint]([value] * count):
                    body = request.body.replace(b'"x":', b'"products":')
                    yield Attack(endpoint, title, msgspec.structs.replace(request, body=body))
    shared = b'{"context":{"x":%s},"batch":[%%s]}' % VALUES["one text"](500_000)
    track = b'{"type":"track","event":"a","anonymousId":"a1"}'
    yield Attack(
        "segment",
        "500 events with one context of 500 kB",
        _json("/v1/batch", shared, [track] * 500),
    )
    shared = b'{"context":%s,"batch":[%%s]}' % VALUES["keys"](100_000)
    yield Attack(
        "segment",
        "500 events with one context of many keys",
        _json("/v1/batch", shared, [track] * 500),
    )
    item = b'{"item_id":"p1","price":1,"item_name":"a"}'
    event = b'{"name":"purchase","params":{"items":%s}}' % repeated(item, (len(item) + 1) * 200)
    for count in (10, 25, 100):
        request = _json("/mp/collect", b'{"client_id":"1.2","events":[%s]}', [event] * count)
        yield Attack("ga4", f"{count} orders of 200 items", request)
    entity = b'{"schema":"iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1","data":{"id":"p"}}'
    action = _action(b"product_view")
    for count, products in ((10, 100), (100, 60), (480, 10)):
        context = b'{"schema":"iglu:a/contexts/jsonschema/1","data":%s}' % repeated(
            entity, (len(entity) + 1) * products
        )
        cx, ue = base64.urlsafe_b64encode(context), base64.urlsafe_b64encode(action)
        event = b'{"e":"ue","p":"web","duid":"a1","eid":"e1","cx":"%s","ue_px":"%s"}' % (cx, ue)
        body = _SNOWPLOW % b",".join([event] * min(count, BODY_BYTES // (len(event) + 1)))
        yield Attack(
            "snowplow",
            f"{count} views of {products} products",
            FuzzRequest("POST", _TP2, "", {}, body),
        )


def _action(kind: bytes) -> bytes:
    schema = b"iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1"
    return (
        b'{"schema":"iglu:a/unstruct_event/jsonschema/1","data":{"schema":"%s","data":{"type":"%s"}}}'
        % (
            schema,
            kind,
        )
    )


def _forms() -> Iterator[Attack]:
    form = {"content-type": "application/x-www-form-urlencoded"}
    pieces = {
        "pairs": b"a=b&",
        "ampersands": b"&",
        "escapes": b"%41",
        "pluses": b"+",
        "data": b"data=%5B%5D&",
    }
    for name, piece in pieces.items():
        body = piece * (BODY_BYTES // len(piece))
        yield Attack(
            "mixpanel",
            f"a form of {name}",
            FuzzRequest("POST", "/track", "", form, b"data=" + body),
        )
        yield Attack("mixpanel", f"a line of {name}", FuzzRequest("POST", "/track", "", form, body))
    lines = {
        "names": b"en=a",
        "items": b"en=purchase&pr1=" + b"idp1~nmLamp~pr2.5~" * 100,
        "pairs": b"en=a&" + b"a=b&" * 500,
        "keys": b"en=a&" + b"&".join(b"ep.k%d=1" % n for n in range(200)),
        "properties": b"en=a&" + b"&".join(b"up.k%d=1" % n for n in range(200)),
        "many items": b"en=purchase&" + b"&".join(b"pr%d=idp1" % n for n in range(1, 200)),
        "escapes": b"en=a&ep.a=" + b"%41" * 600,
        "tildes": b"en=purchase&pr1=id" + b"~" * 1800,
    }
    for name, line in lines.items():
        body = b"\n".join([line] * min(500, BODY_BYTES // (len(line) + 1)))
        request = FuzzRequest(
            "POST", "/g/collect", "tid=G-1&cid=1.2", {"content-type": "text/plain"}, body
        )
        yield Attack("ga4", f"lines of {name}", request)
    for name, query in {
        "pairs": "a=b&" * 2000,
        "escapes": "a=" + "%41" * 2600,
        "lists": "consent=" + "[1]," * 1900,
        "keys": "&".join(f"k{n}=1" for n in range(900)),
        "numbers": "price=" + "9" * 7000,
    }.items():
        for endpoint, path in (
            ("pixel", "/v1/pixel.gif"),
            ("ga4", "/g/collect"),
            ("snowplow", "/i"),
            ("mixpanel", "/track"),
        ):
            yield Attack(
                endpoint,
                f"a query of {name}",
                FuzzRequest("GET", path, f"anonymous_id=a1&e=pv&{query}", {}, b""),
            )


def _headers() -> Iterator[Attack]:
    click = b'{"event":"click","anonymous_id":"a1","timestamp":"%s"}' % TIME
    for name, value in {
        "user-agent": "Mozilla/5.0 (" + "a1 (b;c) " * 900,
        "accept-language": "en-US,en;q=0.9," * 500,
        "cookie": "a=b; " * 1600 + "freshet_id=a1",
        "x-forwarded-for": "192.0.2.1, " * 700,
        "authorization": "Basic " + "A" * 8000,
        "traceparent": "00-" + "a" * 8000,
        "origin": "https://" + "a" * 8000,
        "sec-gpc": "1" * 8000,
    }.items():
        yield Attack(
            "native", f"a long {name}", FuzzRequest("POST", "/v1/events", "", {name: value}, click)
        )
    url = b"https://a.example/?" + b"utm_source=&" * 5000
    event = b'{"event_id":"e%d","event":"page_view","anonymous_id":"a1","timestamp":"%s","metadata":{"url":"%s"}}'
    events = [event % (n, TIME, url) for n in range(16)]
    yield Attack(
        "native", "16 events of campaigns", _json("/v1/events", b'{"events":[%s]}', events)
    )
    events = [event % (n, TIME, url[:1900]) for n in range(480)]
    yield Attack(
        "native", "480 events of campaigns", _json("/v1/events", b'{"events":[%s]}', events)
    )
    agent = b'{"event_id":"e%d","event":"click","anonymous_id":"a1","timestamp":"%s","metadata":{"user_agent":"%d%s"}}'
    events = [agent % (n, TIME, n, b"Mozilla/5.0 (a; b) c " * 25) for n in range(480)]
    yield Attack(
        "native", "480 events of user agents", _json("/v1/events", b'{"events":[%s]}', events)
    )


# ---- the API and the predictor


def recommendation_attacks(time: bytes = TIME) -> Iterator[Attack]:
    """For `POST /v1/recommendations`: pending events of each value at `time`, and what stands
    beside them.
    """
    event = b'{"event_id":"e%d","event":"click","timestamp":"%s","metadata":{"x":%s}}'
    for name, value in VALUES.items():
        events = [event % (n, time, value(4600)) for n in range(200)]
        yield _asked(f"200 events of {name}", b'"events":[%s]' % b",".join(events))
        yield _asked(f"events that are {name}", b'"events":[%s]' % value(API_BYTES))
        yield _asked(f"exclude of {name}", b'"exclude":%s' % value(API_BYTES))
    yield _asked("200 views", b'"events":[%s]' % b",".join(_view(n, time) for n in range(200)))
    yield _asked("8,000 views", b'"events":[%s]' % b",".join([_view(1, time)] * 8000))


API_BYTES = 950_000


def _view(number: int, time: bytes) -> bytes:
    view = b'{"event_id":"e%d","event":"view_product","product_id":"p%d","timestamp":"%s"}'
    return view % (number, number, time)


def _asked(name: str, members: bytes, path: str = "/v1/recommendations") -> Attack:
    body = b'{"anonymous_id":"a1",%s}' % members
    return Attack("api", name, FuzzRequest("POST", path, "", {}, body))


FILTERS: Mapping[str, str] = {
    "terms": " and ".join(["price < 5"] * 1000),
    "alternatives": " or ".join(["price < 5", 'brand = "a"'] * 50),
    "brackets": "(" * 900 + "price < 5" + ")" * 900,
    "negations": "not " * 400 + "new",
    "a long set": "brand in (" + ",".join(['"a"'] * 480) + ")",
    "a regular expression": 'brand = "' + "(a+)+$" * 300 + '"',
    "open quotation marks": '"' * 1999,
    "operators": "<" * 1999,
    "an unknown name": "a" * 1999 + " = 1",
    "digits": "price < " + "9" * 1990,
    "half characters": "\\ud800" * 300,
    "spaces": "price" + " " * 1990 + "<",
    "a megabyte": "price < 5 and " * 68_000,
}
"""Filters, as they stand in JSON but for their quotation marks."""


_DEAREST = ("objects", "deep lists", "numbers", "huge integers", "keys", "one text", "escapes")
"""Of `VALUES`, for members that take few of them."""


def question_attacks(path: str, time: bytes = TIME) -> Iterator[Attack]:
    """For `/v1/recommendations` and `/v1/pages`: filters, cursors, contexts, deadlines and rows."""
    rows = b'"rows":[%s]' % b",".join([b'{"placement":"home","k":100}'] * 12)
    for name, text in FILTERS.items():
        quoted = text.replace('"', '\\"').encode()
        yield _asked(f"a filter of {name}", b'%s,"filter":"%s"' % (rows, quoted), path)
    for name in _DEAREST:
        value = VALUES[name]
        for member in (b"context", b"cursor", b"product_ids", b"rows", b"deadline_ms", b"k"):
            yield _asked(
                f"{member.decode()} of {name}", b'"%s":%s' % (member, value(API_BYTES)), path
            )
    for cursor in (b"A" * 800_000, b"AQ", b"_" * 1000, b"%ff", b"\xf0\x9f\x98\x80" * 200):
        yield _asked(f"a cursor of {len(cursor)}", b'"cursor":"%s"' % cursor, path)
    for deadline in (b"1", b"60000", b"-1", b"1e9", b"9" * 400, b"0.5", b"null"):
        yield _asked("a deadline", b'%s,"deadline_ms":%s' % (rows, deadline), path)
    views = b",".join(_view(n, time) for n in range(200))
    yield _asked("12 rows of 100 after 200 views", b'%s,"events":[%s]' % (rows, views), path)


def rank_attacks(time: bytes = TIME) -> Iterator[Attack]:
    """For `POST /v1/rank`: lists that are long, repeat themselves, or are none."""
    lists = {
        "1,000 ids": numbered(b'"p%d"', 9000, b"[]"),
        "1,000 unknown ids": b"[%s]" % b",".join(b'"unknown-%d"' % n for n in range(1000)),
        "1,000 times an id": b"[%s]" % b",".join([b'"p1"'] * 1000),
        "1,000 long ids": b"[%s]" % b",".join(b'"%0256d"' % n for n in range(1000)),
        "100,000 ids": b"[%s]" % b",".join([b'"p1"'] * 100_000),
        **{name: value(API_BYTES) for name, value in VALUES.items()},
    }
    for name, items in lists.items():
        yield _asked(name, b'"items":%s' % items, "/v1/rank")
    items = lists["1,000 ids"]
    views = b",".join(_view(n, time) for n in range(200))
    yield _asked(
        "1,000 ids after 200 views", b'"items":%s,"events":[%s]' % (items, views), "/v1/rank"
    )
    for name, value in VALUES.items():
        scores = b'"items":["p1"],"keep":1,"scores":%s' % value(API_BYTES)
        yield _asked(f"scores of {name}", scores, "/v1/rank")
    for keep in (b"1e308", b"-1", b"1e400", b"NaN"):
        yield _asked("a weight", b'"items":["p1","p2"],"keep":%s' % keep, "/v1/rank")


def suggest_attacks() -> Iterator[Attack]:
    """For `POST /v1/search/suggest`: texts that match everything, nothing, or are none."""
    texts = {
        "nothing": "",
        "a letter": "i",
        "letters": "i i i " * 16,
        "one letter": "i" * 100,
        "a mistake in each word": "itme itmee iemt " * 6,
        "accents": "e\u0301" * 50,
        "marks": "a" + "\u0301" * 99,
        "ligatures": "\ufdfa" * 100,
        "emoji": "\U0001f469\u200d\U0001f469\u200d" * 25,
        "right to left": "\u202e" * 100,
        "zeros": "\\u0000" * 100,
    }
    for name, text in texts.items():
        body = b'{"q":"%s","n":20}' % text.encode()
        yield Attack("suggest", name, FuzzRequest("POST", "/v1/search/suggest", "", {}, body))
    for name, value in VALUES.items():
        body = b'{"q":%s}' % value(API_BYTES)
        yield Attack("suggest", name, FuzzRequest("POST", "/v1/search/suggest", "", {}, body))


def item_attacks() -> Iterator[Attack]:
    """For `PUT /v1/items/{id}`, of 256 kB, and `POST /v1/items`: items of each value."""
    for name in _DEAREST:
        value = VALUES[name]
        for member in (b"title", b"attributes", b"prices", b"regions", b"price"):
            item = b'{"id":"p1","%s":%s}' % (member, value(250_000))
            title = f"{member.decode()} of {name}"
            yield Attack("items", title, FuzzRequest("PUT", "/v1/items/p1", "", {}, item))
        line = b'{"id":"p1","attributes":{"x":%s}}' % value(60)
        lines = b"\n".join([line] * 1000)
        yield Attack("items", f"lines of {name}", FuzzRequest("POST", "/v1/items", "", {}, lines))
    names = b"\n".join(b'{"id":"p1","attributes":{"n%d":1}}' % n for n in range(2000))
    bodies = {
        "2,000 lines of new names": names,
        "10,001 lines": b"\n".join([b"{}"] * 10_001),
        "empty lines": b"\n" * API_BYTES,
        "one line": b'{"id":"p1","title":"%s"}' % (b"a" * API_BYTES),
        "no UTF-8": b"\xff" * API_BYTES,
    }
    for name, body in bodies.items():
        yield Attack("items", name, FuzzRequest("POST", "/v1/items", "", {}, body))


def profile_attacks() -> Iterator[Attack]:
    """For `POST /v1/profile`."""
    for name, value in VALUES.items():
        body = b'{"anonymous_id":"a1","event_id":%s}' % value(API_BYTES)
        yield Attack(
            "api", f"a profile of {name}", FuzzRequest("POST", "/v1/profile", "", {}, body)
        )


def prediction_attacks(columns: int) -> Iterator[Attack]:
    """For `predict` of a model of so many features."""
    row = repeated(b"1", 2 * columns + 1)
    for name, value in VALUES.items():
        yield _instances(name, value(API_BYTES))
    for rows in (200, 5000):
        yield _instances(f"{rows} rows", repeated(row, (len(row) + 1) * rows))


def _instances(name: str, instances: bytes) -> Attack:
    return Attack(
        "predictor", name, FuzzRequest("POST", "/predict", "", {}, b'{"instances":%s}' % instances)
    )


def message_attacks() -> Iterator[Attack]:
    """Bodies of messages to Pub/Sub, by somebody who may publish: to be decoded by the pipeline."""
    for name, value in VALUES.items():
        for request in _native([value(BODY_BYTES // 480 - 200)] * 480):
            yield Attack("pipeline", f"480 events of {name}", request)
