"""What each vendor's clients send, at a fixed time: of the benchmarks' payloads, and what those do
not have.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from functions.protocols.registry import PROTOCOLS
from tests.bench import payloads

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW_MS = 1767268800000


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
        return (
            len(self.query) + len(self.body) + sum(len(n) + len(v) for n, v in self.headers.items())
        )


def corpus(name: str) -> list[FuzzRequest]:
    """What a protocol's clients send, at a fixed time: of the benchmarks' payloads and some of its
    own.

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


_HEADERS = dict(payloads.BROWSER_HEADERS)
_PRODUCTS = [
    {"product_id": "p1", "price": 2.5, "quantity": 2},
    {"sku": "p2", "price": "3", "category": "a/b"},
]


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
    context |= {
        "userAgent": "Mozilla/5.0",
        "traits": {"anonymousId": "a1"},
        "sessionId": 17,
        "timezone": "Europe/Rome",
    }
    told = {
        "originalTimestamp": NOW.isoformat(),
        "sentAt": NOW.isoformat(),
        "messageId": "m1",
        "channel": "web",
    }
    return {"type": kind, "userId": "u1", "anonymousId": "a1", "context": context, **told, **fields}


_SEGMENT = [
    _segment_message(
        "track", event="Order Completed", properties={"order_id": "o1", "products": _PRODUCTS}
    ),
    _segment_message("track", event="Products Searched", properties={"query": "lamp"}),
    _segment_message(
        "page", name="Home", category="c", properties={"title": "A", "url": "https://a.example/"}
    ),
    _segment_message("screen", name="Home"),
    _segment_message("identify", traits={"email": "a@b.example", "plan": 1}),
    _segment_message("alias", previousId="a1"),
    _segment_message("group", groupId="g1", traits={"name": "G"}),
]
_GA4_ITEMS = [
    {"item_id": "p1", "price": 2.5, "quantity": 2, "item_category": "a"},
    {"item_id": "p2", "price": "3"},
]
_GA4 = {
    "client_id": "1.2",
    "user_id": "u1",
    "timestamp_micros": str(NOW_MS * 1000),
    "user_properties": {"plan": {"value": "pro"}},
    "user_location": {"city": "Rome", "country_id": "IT"},
    "device": {"category": "mobile", "language": "it-it", "model": "x", "browser": "Chrome"},
    "consent": {"ad_personalization": "DENIED", "ad_user_data": "GRANTED"},
    "events": [
        {
            "name": "purchase",
            "params": {"transaction_id": "t1", "value": 5, "currency": "EUR", "items": _GA4_ITEMS},
        },
        {"name": "user_engagement", "params": {"engagement_time_msec": 1200, "session_id": 17}},
        {"name": "search", "params": {"search_term": "lamp"}},
        {
            "name": "page_view",
            "params": {"page_location": "https://a.example/?utm_source=m", "page_title": "A"},
        },
    ],
}
_GTAG = (
    "/g/collect?v=2&tid=G-1&gcs=G111&gcd=13l3l3l3l1l1&cid=1.2&uid=u1&ul=en-us&sr=10x10&sid=17&sct=1&seg=1"
    "&dl=https%3A%2F%2Fa.example%2F&dt=A&en=purchase&_et=120&cu=EUR&epn.value=5&ep.transaction_id=t1&up.plan=pro"
    "&pr1=idp1~nmLamp~pr2.5~qt2~caa~k0color~v0red&pr2=idp2~pr3"
)
_IGLU = "iglu:com.snowplowanalytics.snowplow"


def _snowplow_event(kind: str, **fields: str) -> dict[str, str]:
    told = {
        "e": kind,
        "tv": "js-4.6.0",
        "p": "web",
        "aid": "bench",
        "uid": "u1",
        "duid": "a1",
        "dtm": str(NOW_MS),
    }
    page = {
        "url": "https://a.example/",
        "page": "A",
        "refr": "https://b.example/",
        "res": "10x10",
        "lang": "en",
    }
    return {
        **told,
        **page,
        "stm": str(NOW_MS),
        "eid": "00000000-0000-4000-8000-000000000001",
        "sid": "s1",
        **fields,
    }


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
    _snowplow_event(
        "ue", ue_pr=_unstruct("link_click", {"targetUrl": "https://b.example/", "elementId": "x"})
    ),
    _snowplow_event("ue", ue_pr=_unstruct("site_search", {"terms": ["a", "b"], "totalResults": 3})),
    _snowplow_event(
        "ue",
        ue_pr=_unstruct(
            "consent_preferences", {"eventType": "allow_selected", "consentScopes": ["a"]}
        ),
    ),
    _snowplow_event(
        "ue",
        ue_pr=_unstruct("play_event", {}, f"{_IGLU}.media"),
        co=json.dumps(
            _described(
                "contexts",
                [_described("media_player", {"currentTime": 1.5, "percentProgress": 50})],
            )
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
                        "product",
                        {"id": "p1", "price": 2.5, "currency": "EUR", "quantity": 2},
                        f"{_IGLU}.ecommerce",
                    ),
                    _described(
                        "transaction",
                        {"transaction_id": "o1", "revenue": 5, "currency": "EUR"},
                        f"{_IGLU}.ecommerce",
                    ),
                ],
            )
        ),
    ),
]
_MIXPANEL_EVENTS = [
    {
        "event": "Order Completed",
        "properties": {
            "token": "bench",
            "time": NOW_MS,
            "distinct_id": "u1",
            "products": _PRODUCTS,
        },
    },
    {
        "event": "$identify",
        "properties": {
            "token": "bench",
            "$identified_id": "u1",
            "$anon_id": "a1",
            "time": NOW_MS / 1000,
        },
    },
    {"event": "$merge", "properties": {"token": "bench", "$distinct_ids": ["u1", "$device:a1"]}},
    {
        "event": "$create_alias",
        "properties": {"token": "bench", "alias": "u1", "distinct_id": "a1"},
    },
    {
        "event": "$mp_web_page_view",
        "properties": {
            "token": "bench",
            "distinct_id": "$device:a1",
            "$current_url": "https://a.example/",
        },
    },
]
_MIXPANEL_PROFILES = [
    {
        "$token": "bench",
        "$distinct_id": "u1",
        "$set": {"$email": "a@b.example"},
        "$time": NOW_MS,
        "$ip": "10.0.0.1",
    },
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
    {
        "event_type": "$groupidentify",
        "device_id": "a1",
        "groups": {"g": "1"},
        "group_properties": {"$set": {"a": 1}},
    },
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
        "metadata": {
            "price": 2.5,
            "quantity": 2,
            "order_id": "o1",
            "currency": "EUR",
            "consent": {"analytics": True},
        },
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
            "/v1/events?key=k",
            {"events": _NATIVE, "sent_at": NOW.isoformat(), "consent": {"personalization": False}},
        ),
        _json_body("/v1/events", {"events": _NATIVE, "backfill": True}, "text/plain"),
    ],
    "segment": [
        _json_body(
            "/v1/batch",
            {
                "batch": _SEGMENT,
                "writeKey": "k",
                "sentAt": NOW.isoformat(),
                "context": {"locale": "en"},
            },
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
        _json_body(
            "/com.snowplowanalytics.snowplow/tp2?heartbeat_s=5",
            _described("payload_data", _SNOWPLOW),
        ),
        *(
            _json_body("/com.snowplowanalytics.snowplow/tp2", _described("payload_data", [one]))
            for one in _SNOWPLOW
        ),
    ],
    "mixpanel": [
        _json_body("/track?verbose=1&ip=1&_=" + str(NOW_MS), _MIXPANEL_EVENTS),
        _form_body("/track", data=payloads._base64(_MIXPANEL_EVENTS), verbose="1", token="bench"),
        _form_body("/engage", data=payloads._base64(_MIXPANEL_PROFILES)),
        _json_body("/engage", _MIXPANEL_PROFILES),
        (
            "/import?strict=1",
            "application/x-ndjson",
            b"\n".join(json.dumps(one).encode() for one in _MIXPANEL_EVENTS),
        ),
    ],
    "amplitude": [
        _json_body(
            "/2/httpapi",
            {"api_key": "k", "events": _AMPLITUDE, "client_upload_time": NOW.isoformat()},
        )
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
    "mixpanel": [
        f"/track?{urlencode({'data': payloads._base64(_MIXPANEL_EVENTS[0]), 'img': '1', '_': str(NOW_MS)})}"
    ],
}
