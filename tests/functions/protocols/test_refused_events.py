"""What becomes of a vendor's event that its reader refuses: whose it is counts of it as of any
other event.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from functions.accept import OPEN_TERMS, Rejection, Sorted, Terms, sort_events
from functions.http.exchange import Incoming, Refusal
from functions.protocols.amplitude import protocol as amplitude
from functions.protocols.contract import Outcome, Rejected, VendorProtocol
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.mixpanel import protocol as mixpanel
from functions.protocols.pixel import protocol as pixel
from functions.protocols.segment import protocol as segment
from functions.protocols.snowplow import protocol as snowplow
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import MAX_DEPTH
from pipeline.core.privacy.consent import DENIED
from pipeline.core.privacy.policy import Privacy

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKS_FIRST = Terms(privacy=Privacy(default=DENIED))
SNOWPLOW = "com.snowplowanalytics.snowplow"


class Sent(NamedTuple):
    """A request with one event that its vendor's reader refuses."""

    protocol: VendorProtocol
    path: str
    body: Any = b""
    query: str = ""

    @property
    def incoming(self) -> Incoming:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return Incoming("POST" if body else "GET", self.path, self.query, {}, body, NOW)

    def sorted(self, terms: Terms = OPEN_TERMS) -> Sorted:
        return sort_events(self.protocol.read(self.incoming), NOW, terms)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


DEEP = nested(MAX_DEPTH + 4)


def of_segment(agreed: bool) -> Mapping[str, Any]:
    return {
        "context": {"consent": {"categoryPreferences": {"analytics": agreed, "marketing": agreed}}}
    }


def of_rudderstack(agreed: bool) -> Mapping[str, Any]:
    ids = "allowedConsentIds" if agreed else "deniedConsentIds"
    return {"context": {"consentManagement": {ids: ["analytics", "marketing"]}}}


def both(agreed: bool) -> Mapping[str, bool]:
    return {"analytics": agreed, "personalization": agreed}


def preferences(agreed: bool) -> str:
    data = {"eventType": "allow_all" if agreed else "deny_all"}
    event = {"schema": f"iglu:{SNOWPLOW}/consent_preferences/jsonschema/1-0-0", "data": data}
    return json.dumps({"schema": f"iglu:{SNOWPLOW}/unstruct_event/jsonschema/1-0-0", "data": event})


def payload_data(event: Any) -> Any:
    return {"schema": f"iglu:{SNOWPLOW}/payload_data/jsonschema/1-0-4", "data": [event]}


def refused(agreed: bool) -> dict[str, Sent]:
    said, given = of_segment(agreed), both(agreed)
    encoded = base64.urlsafe_b64encode(preferences(agreed).encode()).decode()
    codes = "G111" if agreed else "G100"
    track, events = "/v1/track", "/2/httpapi"
    return {
        "segment, no event": Sent(segment, track, {"userId": "u1", **said}),
        "segment, an empty event": Sent(segment, track, {"userId": "u1", "event": "", **said}),
        "segment, a bogus type": Sent(
            segment, "/v1/batch", {"batch": [{"type": "bogus", "userId": "u1", **said}]}
        ),
        "segment, of its batch": Sent(
            segment, "/v1/batch", {"batch": [{"type": "track", "userId": "u1"}], **said}
        ),
        "segment, not an object": Sent(segment, "/v1/batch", {"batch": ["track"], **said}),
        "segment, a context that is none": Sent(
            segment,
            "/v1/batch",
            {"batch": [{"type": "page", "userId": "u1", "context": 7}], **said},
        ),
        "segment, no list": Sent(
            segment, "/v1/batch", {"batch": {"type": "page", "userId": "u1"}, **said}
        ),
        "segment, too deep": Sent(
            segment, track, {"event": "A", "userId": "u1", "x": DEEP, **said}
        ),
        "rudderstack": Sent(segment, track, {"userId": "u1", **of_rudderstack(agreed)}),
        "amplitude, no type": Sent(
            amplitude,
            events,
            {"events": [{"user_id": "u1", "event_properties": {"consent": given}}]},
        ),
        "amplitude, its own consent": Sent(
            amplitude,
            events,
            {"events": [{"user_id": "u1", "event_properties": {"[Amplitude] Consent": given}}]},
        ),
        "mixpanel, no event": Sent(
            mixpanel, "/track", {"properties": {"distinct_id": "u1", "consent": given}}
        ),
        "mixpanel, old and wrong": Sent(
            mixpanel,
            "/import",
            [{"properties": {"distinct_id": "u1", "time": 1, "consent": given}}],
        ),
        "mixpanel, too deep": Sent(
            mixpanel,
            "/track",
            {"event": "A", "properties": {"distinct_id": "u1", "consent": given, "x": DEEP}},
        ),
        "mixpanel, a form that is too deep": Sent(
            mixpanel,
            "/track",
            urlencode(
                {"data": json.dumps({"event": "A", "properties": {"consent": given, "x": DEEP}})}
            ).encode(),
        ),
        "mixpanel, in base64": Sent(
            mixpanel,
            "/track",
            query=urlencode(
                {
                    "data": base64.b64encode(
                        json.dumps({"properties": {"consent": given, "x": DEEP}}).encode()
                    ).decode()
                }
            ),
        ),
        "tag, no name": Sent(
            ga4, "/g/collect", query=urlencode({"v": 2, "tid": "G-1", "cid": "a1", "gcs": codes})
        ),
        "tag, a line that is no text": Sent(
            ga4, "/g/collect", b"en=%ff", urlencode({"v": 2, "cid": "a1", "gcs": codes})
        ),
        "snowplow, its entities": Sent(
            snowplow,
            f"/{SNOWPLOW}/tp2",
            payload_data({"e": "ue", "duid": "a1", "ue_pr": preferences(agreed), "co": "{"}),
        ),
        "snowplow, in base64": Sent(
            snowplow,
            f"/{SNOWPLOW}/tp2",
            payload_data({"e": "ue", "duid": "a1", "ue_px": encoded, "co": "{"}),
        ),
        "snowplow, a query": Sent(
            snowplow,
            "/i",
            query=urlencode(
                {"e": "ue", "duid": "a1", "ue_pr": preferences(agreed), "dtm": "never"}
            ),
        ),
    }


NAMES = list(refused(True))


@pytest.mark.parametrize("name", NAMES)
def test_of_a_visitor_who_denied_both_nothing_is_kept(name: str) -> None:
    found = refused(False)[name].sorted()
    assert (found.events, found.rejected) == ([], [])
    assert (found.accepted, found.withheld, found.consent) == (1, 1, DENIED)


@pytest.mark.parametrize("name", NAMES)
def test_of_a_visitor_who_agreed_it_is_rejected_and_kept_also_where_one_has_to_ask_first(
    name: str,
) -> None:
    for terms in (Terms(), ASKS_FIRST):
        found = refused(True)[name].sorted(terms)
        assert (found.events, found.accepted, found.withheld) == ([], 0, 0)
        [rejection] = found.rejected
        assert rejection.payload is not None


@pytest.mark.parametrize(
    "body",
    [
        {"consent": {"ad_personalization": "GRANTED"}},
        {"consent": {"ad_personalization": "DENIED"}},
        {"non_personalized_ads": True},
        {"consent": 7},
    ],
)
def test_the_measurement_protocol_tells_nothing_of_analytics(body: dict[str, Any]) -> None:
    sent = Sent(ga4, "/mp/collect", {"client_id": "a1", "events": [{"params": {}}], **body})
    [rejection] = sent.sorted().rejected
    assert rejection.payload is not None
    found = sent.sorted(ASKS_FIRST)
    if body == {"consent": {"ad_personalization": "GRANTED"}}:
        assert [r.payload for r in found.rejected] == [None]
    else:
        assert (found.rejected, found.withheld) == ([], 1)


@pytest.mark.parametrize("name", ["segment, no event", "segment, too deep", "mixpanel, too deep"])
def test_a_lone_event_is_answered_as_an_unreadable_request_is(name: str) -> None:
    protocol, incoming = refused(True)[name].protocol, refused(True)[name].incoming
    found = refused(True)[name].sorted()
    answer = protocol.accepted(incoming, Outcome(0, [_told(one) for one in found.rejected]))
    error = found.rejected[0].error
    unreadable = protocol.refused(incoming, Refusal(400, error.field, error.reason))
    assert answer.status == unreadable.status == 400
    if protocol is segment:
        assert answer.body == unreadable.body


def _told(rejection: Rejection) -> Rejected:
    return Rejected(rejection.index, rejection.error, rejection.event_id)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{", b'{"a":' * 100_000, b'[{"a":' * 40 + b"1" + b"}]" * 40]
)
def test_what_is_no_object_is_an_unreadable_request(body: bytes) -> None:
    with pytest.raises(InvalidEvent, match="body"):
        segment.read(Incoming("POST", "/v1/track", "", {}, body, NOW))


def test_a_batch_that_nests_too_deep_is_an_unreadable_request() -> None:
    deep = {"batch": [{"type": "track", "event": "A", "properties": DEEP}]}
    with pytest.raises(InvalidEvent, match="body"):
        segment.read(Sent(segment, "/v1/batch", deep).incoming)


# ---- keys


SECRET = "server-key-1"
WITH_KEYS = {
    "segment, lone": Sent(segment, "/v1/track", {"writeKey": SECRET, "userId": "u1", "note": 1}),
    "segment, in each event": Sent(
        segment,
        "/v1/batch",
        {"writeKey": SECRET, "batch": [{"writeKey": SECRET, "type": "x", "note": 1}]},
    ),
    "segment, no list": Sent(segment, "/v1/batch", {"writeKey": SECRET, "batch": 7, "note": 1}),
    "segment, too deep": Sent(segment, "/v1/track", {"writeKey": SECRET, "note": DEEP}),
    "amplitude, no list": Sent(amplitude, "/batch", {"api_key": SECRET, "note": 1}),
    "amplitude, in the event": Sent(
        amplitude, "/batch", {"events": [{"api_key": SECRET, "note": 1}]}
    ),
    "mixpanel": Sent(
        mixpanel, "/track", [{"event": "", "properties": {"token": SECRET, "note": 1}}]
    ),
    "mixpanel, another token": Sent(
        mixpanel,
        "/track",
        [
            {"event": "A", "properties": {"token": "browser-1", "distinct_id": "u1"}},
            {"event": "A", "properties": {"token": SECRET, "note": 1}},
        ],
    ),
    "mixpanel, a profile": Sent(mixpanel, "/engage", [{"$token": SECRET, "$set": {"note": 1}}]),
    "mixpanel, a line that is no JSON": Sent(
        mixpanel,
        "/import",
        b'{"event": "A", "properties": {"note": 1, "token": "server-key-1"}}\n{"token": '
        b'"server-key-1", note',
    ),
    "mixpanel, too deep": Sent(
        mixpanel, "/track", {"event": "A", "properties": {"token": SECRET, "note": DEEP}}
    ),
    "snowplow, a query": Sent(snowplow, "/i", query=f"e=x&key={SECRET}&note=1"),
    "tag": Sent(ga4, "/g/collect", query=f"tid={SECRET}&cid=a1&note=1"),
    "pixel": Sent(pixel, "/v1/pixel.gif", query=f"event=open&k%65y={SECRET}&note=1&key={SECRET}"),
}


@pytest.mark.parametrize("name", WITH_KEYS)
def test_no_dead_letter_has_a_key(name: str) -> None:
    found = WITH_KEYS[name].sorted()
    assert found.rejected
    for rejection in found.rejected:
        assert rejection.payload is not None
        assert SECRET.encode() not in rejection.payload
        assert b"note" in rejection.payload


def test_what_is_no_key_stays_in_the_dead_letter() -> None:
    """A property may be called as some vendor's key is."""
    event = {
        "type": "track",
        "userId": "u1",
        "properties": {"token": "t", "key": "k", "api_key": "a", "writeKey": "w"},
    }
    [rejection] = Sent(segment, "/v1/batch", {"batch": [event]}).sorted().rejected
    assert rejection.payload is not None and json.loads(rejection.payload) == event
    [rejection] = Sent(pixel, "/v1/pixel.gif", query="event=open&keys=1&note=%20").sorted().rejected
    assert rejection.payload == b"event=open&keys=1&note=%20"


def test_snowplows_app_id_stays_in_the_dead_letter_as_it_does_in_the_event() -> None:
    [rejection] = (
        Sent(snowplow, f"/{SNOWPLOW}/tp2", payload_data({"aid": "shop"})).sorted().rejected
    )
    assert rejection.payload == b'{"aid":"shop"}'
