"""Requests that are almost right: what each vendor's clients send, and seeded mutations of it."""

from __future__ import annotations

import base64
import binascii
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from functions.routes import PROTOCOLS
from tests.bench import payloads

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW_MS = 1767268800000
MAX_REPEATED = 40_000
MAX_BODY = 64 * 1024


class FuzzRequest(msgspec.Struct, frozen=True):
    """A request without its connection; texts are Latin-1, as HTTP's are."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes of query, headers and body."""
        return len(self.query) + len(self.body) + sum(len(n) + len(v) for n, v in self.headers.items())


def corpus(name: str) -> list[FuzzRequest]:
    """What a protocol's clients send, at a fixed time: of the benchmarks' payloads and some of its own.

    Every path and method of the protocol comes with every body.
    """
    bodies = [*_of_benchmarks(name), *_EXTRAS.get(name, ())]
    found = [_request("POST", path, content, body) for path, content, body in bodies]
    found += [_request("GET", path, "", b"") for path in _QUERIES.get(name, ())]
    paths = PROTOCOLS[name].PATHS
    moved = [
        msgspec.structs.replace(request, path=path, method=method)
        for request in found
        for path, methods in paths.items()
        for method in methods
    ]
    return [request for request in found if request.method in paths.get(request.path, ())] + moved


def mutated(request: FuzzRequest, others: list[FuzzRequest], dice: random.Random) -> FuzzRequest:
    """One to four mutations of a request, with pieces of the others."""
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 4))):
        part = dice.random()
        if part < 0.1:
            request = msgspec.structs.replace(request, headers=_headers(dict(request.headers), dice))
        elif request.query and (part < 0.3 or not request.body):
            query = _text(request.query, dice).encode("utf-8", "replace").decode("latin-1")
            request = msgspec.structs.replace(request, query=query)
        elif part < 0.4:
            request = msgspec.structs.replace(request, body=_spliced(request.body, dice.choice(others).body, dice))
        else:
            request = msgspec.structs.replace(request, body=_body(request.body, dice))
    return request


# ---- bytes -----------------------------------------------------------------------------------------------------

_TOKENS = (
    *(
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r\n",
        b"&",
        b"=",
        b"%",
        b"%00",
        b"%ff",
        b"%ED%A0%80",
    ),
    *(
        b'"',
        b"\\",
        b"\\ud800",
        b"\\udfff",
        b"\\u0000",
        b"[",
        b"{",
        b"]",
        b"}",
        b",",
        b":",
        b"null",
        b"NaN",
        b"-Infinity",
    ),
    *(b"1e400", b"-0", b"1" * 400, b"0.1e-400", b"true", b"{}", b"[]", b"+", b" ", b"~", b"<", b"data=", b"verbose=1&"),
)


def _bytes(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.choice((1, 1, 2, 8, 64, 512)))
    kind = dice.randrange(6)
    if kind == 0 and data:
        at %= len(data)
        return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + dice.choice(_TOKENS) + data[at:]
    if kind == 3:
        return data[:at] + data[end:]
    if kind == 4:
        piece = data[at:end] or b"["
        return data[:at] + piece * dice.choice((2, 3, 20, MAX_REPEATED // len(piece))) + data[end:]
    return data[:at] + dice.randbytes(end - at) + data[end:]


def _spliced(one: bytes, other: bytes, dice: random.Random) -> bytes:
    return one[: dice.randrange(len(one) + 1)] + other[dice.randrange(len(other) + 1) :]


# ---- texts that hold something ---------------------------------------------------------------------------------


def _body(data: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.2:
        return _bytes(data, dice)
    return _text(data.decode("utf-8", "surrogateescape"), dice).encode("utf-8", "surrogatepass")


def _text(text: str, dice: random.Random) -> str:
    """JSON as JSON, base64 of JSON and forms by what is in them, lines one by one, anything else as bytes."""
    if dice.random() < 0.15:
        return _characters(text, dice)
    if text[:1] in ("{", "["):
        return _json_text(text, dice)
    if text.startswith(("ey", "W3", "eyJ")) and (inner := _of_base64(text)) is not None:
        changed = _text(inner, dice).encode("utf-8", "replace")
        return (
            dice.choice((base64.urlsafe_b64encode, base64.b64encode))(changed).decode().rstrip(dice.choice(("", "=")))
        )
    if "=" in text and len(text) < 16_000:
        return _form(text, dice)
    return _characters(text, dice)


def _characters(text: str, dice: random.Random) -> str:
    return _bytes(text.encode("utf-8", "surrogatepass"), dice).decode("utf-8", "surrogateescape")


def _json_text(text: str, dice: random.Random) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.split("\n")
        if len(lines) > 1 and dice.random() < 0.7:
            at = dice.randrange(len(lines))
            lines[at] = _text(lines[at], dice)
            return "\n".join(lines)
        return _characters(text, dice)
    try:
        return json.dumps(_json(value, dice), ensure_ascii=dice.random() < 0.8)
    except (ValueError, RecursionError):
        return text


def _of_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "==").decode()
    except (binascii.Error, ValueError):
        return None


def _form(text: str, dice: random.Random) -> str:
    pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
    if not pairs:
        return text
    at = dice.randrange(len(pairs))
    name, value = pairs[at]
    kind = dice.randrange(8)
    if kind == 0:
        del pairs[at]
    elif kind == 1:
        pairs.insert(dice.randrange(len(pairs)), pairs[at])
    elif kind == 2:
        pairs[at] = (dice.choice(pairs)[0], value)
    elif kind == 3:
        pairs[at] = (name, str(_odd(dice)))
    elif kind == 4:
        pairs *= dice.choice((2, 10, 200))
    elif kind == 5:
        pairs[at] = (_characters(name, dice), value)
    else:
        pairs[at] = (name, _text(value, dice))
    return "&".join(f"{quote(n, errors='replace')}={quote(v, errors='replace')}" for n, v in pairs[:3000])


# ---- JSON ------------------------------------------------------------------------------------------------------


def _nested(levels: int, dice: random.Random) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if dice.random() < 0.5 else {"a": value}
    return value


_ODD: tuple[Callable[[random.Random], Any], ...] = (
    lambda dice: None,
    lambda dice: dice.choice((True, False)),
    lambda dice: dice.choice((0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400)),
    lambda dice: dice.choice((0.0, -0.0, 0.5, 1e-320, 1e15, 1e22, 1.8e308, float("inf"), float("nan"))),
    lambda dice: dice.choice((NOW_MS, NOW_MS * 1000, NOW_MS / 1000, -NOW_MS, 253402300800000, 10**18)),
    lambda dice: dice.choice(
        ("", " ", "\x00", "\ud800", "a\udfffb", "\u202e", "ß" * 300, "null", "NaN", "1e400", "-1")
    ),
    lambda dice: dice.choice(("9" * 50, "9" * 5000, "1_000", "٣", "1e5", "0x10", "true", "{}", "[object Object]")),
    lambda dice: dice.choice(("2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "now")),
    lambda dice: (
        dice.choice(("a", "\ud83d", "=", "~", " ", "9", "[", "%", "\\", ".")) * dice.choice((300, 4000, MAX_REPEATED))
    ),
    lambda dice: dice.choice(([], {}, [[]], [None], {"": None}, [{}], {"a": {}}, [1, "a", None])),
    lambda dice: _nested(dice.choice((3, 8, 12, 40, 900)), dice),
    lambda dice: {f"k{number}": number for number in range(dice.choice((5, 70, 1500)))},
    lambda dice: (
        [dice.choice(("p1", {"product_id": "p1", "price": 1}, {"item_id": "p1"}))] * dice.choice((2, 120, 600))
    ),
)


def _odd(dice: random.Random) -> Any:
    return dice.choice(_ODD)(dice)


def _json(value: Any, dice: random.Random) -> Any:
    """Changed at a place taken at random; deeper places are as likely as outer ones."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        return _object(dict(value), dice)
    if isinstance(value, list) and value and dice.random() < 0.9:
        return _list(list(value), dice)
    if isinstance(value, str) and dice.random() < 0.5:
        return _text(value, dice)
    return _wrapped(value, dice) if dice.random() < 0.2 else _odd(dice)


def _wrapped(value: Any, dice: random.Random) -> Any:
    return dice.choice(([value], {"value": value}, str(value), json.dumps(value), [value, value]))


def _object(value: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    name, kind = dice.choice(list(value)), dice.random()
    if kind < 0.7:
        value[name] = _json(value[name], dice)
    elif kind < 0.78:
        del value[name]
    elif kind < 0.86:
        value[dice.choice((*_NAMES, str(_odd(dice))[:2000]))] = value[name]
    elif kind < 0.94:
        value[dice.choice(_NAMES)] = _odd(dice)
    else:
        value[name] = value[dice.choice(list(value))]
    return value


def _list(value: list[Any], dice: random.Random) -> list[Any]:
    at, kind = dice.randrange(len(value)), dice.random()
    if kind < 0.7:
        value[at] = _json(value[at], dice)
    elif kind < 0.8:
        del value[at]
    elif kind < 0.9:
        value.insert(at, _odd(dice))
    else:
        value = (value * dice.choice((2, 3, 60, 600)))[:1200]
    return value


# ---- headers ---------------------------------------------------------------------------------------------------

_HEADER_VALUES = {
    "content-type": ("application/json", "text/plain", "application/x-www-form-urlencoded", "APPLICATION/JSON;;", ""),
    "authorization": (
        "Basic YTpi",
        "basic eA==",
        "Basic \xff",
        "Basic",
        "Bearer x",
        "Basic " + "A" * 4000,
        "Basic /w==",
    ),
    "user-agent": ("curl/8", "", "Mozilla/5.0 (", "(" * 500, "Mozilla/5.0 (X11) " + "a " * 2000, "\xff\x00"),
    "accept-language": ("", "de", "*", "de;q=", "a-" * 2000, "en-US,en;q=0.9," * 200, "\xe4"),
    "sec-gpc": ("1", "0"),
    "dnt": ("1", "x"),
    "cookie": ("a=b", "freshet=1", ";" * 3000, "=" * 3000),
    "x-freshet-key": ("", "k", "\xff"),
    "sec-fetch-mode": ("navigate", "", "\xff"),
    "x-forwarded-proto": ("http", "https,http", ""),
    "host": ("", "a" * 300),
    "sp-anonymous": ("*", ""),
}


def _headers(headers: dict[str, str], dice: random.Random) -> dict[str, str]:
    name = dice.choice(list(_HEADER_VALUES))
    kind = dice.random()
    if kind < 0.2:
        headers.pop(name, None)
    elif kind < 0.8 or name not in headers:
        headers[name] = dice.choice(_HEADER_VALUES[name])
    else:
        headers[name] = _bytes(headers[name].encode("latin-1"), dice)[:8192].decode("latin-1")
    return headers


# ---- what clients send -----------------------------------------------------------------------------------------

_HEADERS = dict(payloads.BROWSER_HEADERS)
_PRODUCTS = [{"product_id": "p1", "price": 2.5, "quantity": 2}, {"sku": "p2", "price": "3", "category": "a/b"}]
_NAMES = (
    *"event events batch type name properties params items products product_id price quantity currency value".split(),
    *"timestamp time sent_at sentAt user_id userId anonymousId context traits consent schema data metadata".split(),
    *"messageId $insert_id $device_id $set url title referrer ip user_agent language order_id query bot".split(),
)


def _request(method: str, target: str, content_type: str, body: bytes) -> FuzzRequest:
    path, _, query = target.partition("?")
    headers = _HEADERS | ({"content-type": content_type} if content_type else {})
    return FuzzRequest(method, path, query, headers, body)


def _of_benchmarks(name: str) -> list[payloads.Body]:
    made = payloads._VENDORS | {"native": payloads._native}
    return [made[name](list(range(count)), NOW) for count in (1, 3)] if name in made else []


def _json_body(target: str, content: Any, content_type: str = "application/json") -> payloads.Body:
    return target, content_type, json.dumps(content).encode()


def _form_body(target: str, **fields: str) -> payloads.Body:
    return target, "application/x-www-form-urlencoded", urlencode(fields).encode()


def _segment_message(kind: str, **fields: Any) -> dict[str, Any]:
    context: dict[str, Any] = {
        "page": {"url": "https://a.example/?q=1", "title": "A"},
        "campaign": {"source": "m"},
        "ip": "10.0.0.1",
    }
    context |= {"userAgent": "Mozilla/5.0", "traits": {"anonymousId": "a1"}, "sessionId": 17, "timezone": "Europe/Rome"}
    told = {"originalTimestamp": NOW.isoformat(), "sentAt": NOW.isoformat(), "messageId": "m1", "channel": "web"}
    return {"type": kind, "userId": "u1", "anonymousId": "a1", "context": context, **told, **fields}


_SEGMENT = [
    _segment_message("track", event="Order Completed", properties={"order_id": "o1", "products": _PRODUCTS}),
    _segment_message("track", event="Products Searched", properties={"query": "lamp"}),
    _segment_message("page", name="Home", category="c", properties={"title": "A", "url": "https://a.example/"}),
    _segment_message("screen", name="Home"),
    _segment_message("identify", traits={"email": "a@b.example", "plan": 1}),
    _segment_message("alias", previousId="a1"),
    _segment_message("group", groupId="g1", traits={"name": "G"}),
]
_GA4_ITEMS = [{"item_id": "p1", "price": 2.5, "quantity": 2, "item_category": "a"}, {"item_id": "p2", "price": "3"}]
_GA4 = {
    "client_id": "1.2",
    "user_id": "u1",
    "timestamp_micros": str(NOW_MS * 1000),
    "user_properties": {"plan": {"value": "pro"}},
    "user_location": {"city": "Rome", "country_id": "IT"},
    "device": {"category": "mobile", "language": "it-it", "model": "x", "browser": "Chrome"},
    "consent": {"ad_personalization": "DENIED", "ad_user_data": "GRANTED"},
    "events": [
        {"name": "purchase", "params": {"transaction_id": "t1", "value": 5, "currency": "EUR", "items": _GA4_ITEMS}},
        {"name": "user_engagement", "params": {"engagement_time_msec": 1200, "session_id": 17}},
        {"name": "search", "params": {"search_term": "lamp"}},
        {"name": "page_view", "params": {"page_location": "https://a.example/?utm_source=m", "page_title": "A"}},
    ],
}
_GTAG = (
    "/g/collect?v=2&tid=G-1&gcs=G111&gcd=13l3l3l3l1l1&cid=1.2&uid=u1&ul=en-us&sr=10x10&sid=17&sct=1&seg=1"
    "&dl=https%3A%2F%2Fa.example%2F&dt=A&en=purchase&_et=120&cu=EUR&epn.value=5&ep.transaction_id=t1&up.plan=pro"
    "&pr1=idp1~nmLamp~pr2.5~qt2~caa~k0color~v0red&pr2=idp2~pr3"
)
_IGLU = "iglu:com.snowplowanalytics.snowplow"


def _snowplow_event(kind: str, **fields: str) -> dict[str, str]:
    told = {"e": kind, "tv": "js-4.6.0", "p": "web", "aid": "bench", "uid": "u1", "duid": "a1", "dtm": str(NOW_MS)}
    page = {"url": "https://a.example/", "page": "A", "refr": "https://b.example/", "res": "10x10", "lang": "en"}
    return {**told, **page, "stm": str(NOW_MS), "eid": "00000000-0000-4000-8000-000000000001", "sid": "s1", **fields}


def _described(name: str, data: Any, vendor: str = _IGLU) -> dict[str, Any]:
    return {"schema": f"{vendor}/{name}/jsonschema/1-0-0", "data": data}


def _unstruct(name: str, data: Any, vendor: str = _IGLU) -> str:
    return json.dumps(_described("unstruct_event", _described(name, data, vendor)))


_SNOWPLOW = [
    _snowplow_event("pv"),
    _snowplow_event("pp", pp_mix="0", pp_max="10", pp_miy="0", pp_may="900"),
    _snowplow_event("se", se_ca="shop", se_ac="add-to-basket", se_la="p1", se_pr="1", se_va="2.5"),
    _snowplow_event("tr", tr_id="o1", tr_tt="5", tr_cu="EUR"),
    _snowplow_event("ti", ti_id="o1", ti_sk="p1", ti_pr="2.5", ti_qu="2", ti_ca="a"),
    _snowplow_event("ue", ue_pr=_unstruct("link_click", {"targetUrl": "https://b.example/", "elementId": "x"})),
    _snowplow_event("ue", ue_pr=_unstruct("site_search", {"terms": ["a", "b"], "totalResults": 3})),
    _snowplow_event(
        "ue", ue_pr=_unstruct("consent_preferences", {"eventType": "allow_selected", "consentScopes": ["a"]})
    ),
    _snowplow_event(
        "ue",
        ue_pr=_unstruct("play_event", {}, f"{_IGLU}.media"),
        co=json.dumps(
            _described("contexts", [_described("media_player", {"currentTime": 1.5, "percentProgress": 50})])
        ),
    ),
    _snowplow_event(
        "ue",
        ue_pr=_unstruct("snowplow_ecommerce_action", {"type": "transaction"}, f"{_IGLU}.ecommerce"),
        co=json.dumps(
            _described(
                "contexts",
                [
                    _described(
                        "product", {"id": "p1", "price": 2.5, "currency": "EUR", "quantity": 2}, f"{_IGLU}.ecommerce"
                    ),
                    _described(
                        "transaction", {"transaction_id": "o1", "revenue": 5, "currency": "EUR"}, f"{_IGLU}.ecommerce"
                    ),
                ],
            )
        ),
    ),
]
_MIXPANEL_EVENTS = [
    {
        "event": "Order Completed",
        "properties": {"token": "bench", "time": NOW_MS, "distinct_id": "u1", "products": _PRODUCTS},
    },
    {
        "event": "$identify",
        "properties": {"token": "bench", "$identified_id": "u1", "$anon_id": "a1", "time": NOW_MS / 1000},
    },
    {"event": "$merge", "properties": {"token": "bench", "$distinct_ids": ["u1", "$device:a1"]}},
    {"event": "$create_alias", "properties": {"token": "bench", "alias": "u1", "distinct_id": "a1"}},
    {
        "event": "$mp_web_page_view",
        "properties": {"token": "bench", "distinct_id": "$device:a1", "$current_url": "https://a.example/"},
    },
]
_MIXPANEL_PROFILES = [
    {"$token": "bench", "$distinct_id": "u1", "$set": {"$email": "a@b.example"}, "$time": NOW_MS, "$ip": "10.0.0.1"},
    {"$token": "bench", "$distinct_id": "u1", "$add": {"n": 1}, "$union": {"l": [1]}},
]
_AMPLITUDE = [
    {
        "event_type": "Order Completed",
        "user_id": "u1",
        "device_id": "a1",
        "time": NOW_MS,
        "event_properties": {"products": _PRODUCTS},
    },
    {
        "event_type": "$identify",
        "user_id": "u1",
        "device_id": "a1",
        "time": NOW_MS,
        "user_properties": {"$set": {"a": 1}, "$add": {"n": 1}},
    },
    {"event_type": "$groupidentify", "device_id": "a1", "groups": {"g": "1"}, "group_properties": {"$set": {"a": 1}}},
    {
        "event_type": "[Amplitude] Page Viewed",
        "device_id": "a1",
        "event_properties": {"[Amplitude] Page URL": "https://a.example/"},
        "session_id": NOW_MS,
        "event_id": 3,
        "insert_id": "i1",
        "$insert_id": "i2",
        "ip": "$remote",
        "price": 2.5,
        "quantity": 1,
        "revenue": 5,
        "productId": "p1",
        "language": "en",
        "platform": "Web",
        "location_lat": 1.5,
    },
]
_NATIVE = [
    {
        "event": "purchase",
        "anonymous_id": "a1",
        "product_id": "p1",
        "timestamp": NOW.isoformat(),
        "metadata": {"price": 2.5, "quantity": 2, "order_id": "o1", "currency": "EUR", "consent": {"analytics": True}},
    },
    {
        "event": "identify",
        "user_id": "u1",
        "anonymous_id": "a1",
        "timestamp": "2026-01-01T12:00:00Z",
        "metadata": {"traits": {"a": 1}},
    },
    {
        "event": "search",
        "user_id": "u1",
        "timestamp": "2026-01-01T11:59:59.123456+01:00",
        "metadata": {"query": "a", "user_agent": "x"},
    },
]
_EXTRAS: dict[str, list[payloads.Body]] = {
    "native": [
        _json_body(
            "/v1/events?key=k", {"events": _NATIVE, "sent_at": NOW.isoformat(), "consent": {"personalization": False}}
        ),
        _json_body("/v1/events", {"events": _NATIVE, "backfill": True}, "text/plain"),
    ],
    "segment": [
        _json_body(
            "/v1/batch", {"batch": _SEGMENT, "writeKey": "k", "sentAt": NOW.isoformat(), "context": {"locale": "en"}}
        ),
        *(_json_body(f"/v1/{one['type']}?writeKey=k", one, "text/plain") for one in _SEGMENT),
    ],
    "ga4": [
        _json_body("/mp/collect?measurement_id=G-1&api_secret=k", _GA4),
        (
            f"{_GTAG}&_p=1",
            "text/plain",
            b"en=page_view&_et=5\r\nen=view_item&pr1=idp1~pr2.5\r\nen=scroll&epn.percent_scrolled=90",
        ),
    ],
    "snowplow": [
        _json_body("/com.snowplowanalytics.snowplow/tp2?heartbeat_s=5", _described("payload_data", _SNOWPLOW)),
        *(_json_body("/com.snowplowanalytics.snowplow/tp2", _described("payload_data", [one])) for one in _SNOWPLOW),
    ],
    "mixpanel": [
        _json_body("/track?verbose=1&ip=1&_=" + str(NOW_MS), _MIXPANEL_EVENTS),
        _form_body("/track", data=payloads._base64(_MIXPANEL_EVENTS), verbose="1", token="bench"),
        _form_body("/engage", data=payloads._base64(_MIXPANEL_PROFILES)),
        _json_body("/engage", _MIXPANEL_PROFILES),
        ("/import?strict=1", "application/x-ndjson", b"\n".join(json.dumps(one).encode() for one in _MIXPANEL_EVENTS)),
    ],
    "amplitude": [
        _json_body("/2/httpapi", {"api_key": "k", "events": _AMPLITUDE, "client_upload_time": NOW.isoformat()})
    ],
}
_QUERIES: dict[str, list[str]] = {
    "pixel": [
        "/v1/pixel.gif?event=view_product&anonymous_id=a1&product_id=p1&price=2.5&key=k&placement=mail",
        "/v1/pixel.gif?user_id=u1&timestamp=2026-01-01T12%3A00%3A00Z&event_id=e1",
        "/v1/pixel.gif?event=purchase&user_id=u1&product_id=p1&quantity=2&order_id=o1&consent=x&bot=1&ip=10.0.0.1",
        "/v1/pixel.gif",
    ],
    "ga4": [_GTAG],
    "snowplow": [f"/i?{urlencode(one)}" for one in _SNOWPLOW],
    "mixpanel": [f"/track?{urlencode({'data': payloads._base64(_MIXPANEL_EVENTS[0]), 'img': '1', '_': str(NOW_MS)})}"],
}
