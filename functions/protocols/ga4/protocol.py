"""GA4: the Measurement Protocol, `/mp/collect`, its validation server, and the `/g/collect` form of
Google's tags.

https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference;
for `/g/collect` see `hits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.http.problems import safe
from functions.protocols.commerce_facts import within_bounds
from functions.protocols.contract import (
    Outcome,
    Reading,
    Rejected,
    Translated,
    Translations,
    as_it_is,
)
from functions.protocols.ga4.hits import CONSENT_JOINS, consent_of, params_of, user_properties_of
from functions.protocols.ga4.translation import Hit, language_of, named, translated
from functions.protocols.places import country_of
from functions.protocols.refused_events import refused_event
from functions.protocols.values import (
    as_object,
    as_text,
    check_form,
    check_shared,
    checked_list,
    read_form,
    read_object,
    time_of,
    without_none,
)
from functions.protocols.visitor_ids import first_id
from pipeline.core.events import MAX_EVENTS, check_event_size, derived_event_id, parse_event
from pipeline.core.invalid_event import InvalidEvent

COLLECT, MEASUREMENT, VALIDATION = "/g/collect", "/mp/collect", "/debug/mp/collect"
PATHS = {COLLECT: ("POST", "GET"), MEASUREMENT: ("POST",), VALIDATION: ("POST",)}
body_around = as_it_is
KEY_PATHS = (("tid",), ("api_secret",))
MAX_QUERY_LENGTH = 32 * 1024

_DEVICE = {
    "operating_system": "os_family",
    "operating_system_version": "os_version",
    "model": "device_model",
    "brand": "device_brand",
    "browser": "user_agent_family",
    "screen_resolution": "screen_size",
}
_DEVICE_CLASSES = {"desktop": "desktop", "mobile": "mobile", "tablet": "tablet", "smart tv": "tv"}
_LOCATION = {"region_id": "region", "city": "city"}
_CODES = {413: "EXCEEDED_MAX_ENTITIES", 500: "INTERNAL_ERROR", 503: "INTERNAL_ERROR"}
_encoder = msgspec.json.Encoder()
_STORED = Answer(204)


def read(incoming: Incoming) -> Reading:
    """The events of a request; the write key is `api_secret` of the query, of `/g/collect` it is
    `tid`.

    What is sent to the validation server is looked at by `accepted`, and stored nowhere.

    Raises:
        InvalidEvent: the request as a whole cannot be read, or there are too many events.
    """
    if len(incoming.query) > MAX_QUERY_LENGTH:
        expected = f"expected at most {MAX_QUERY_LENGTH} characters"
        raise InvalidEvent("query", expected, len(incoming.query))
    query = read_form(incoming.query.encode("utf-8", "surrogatepass"), "query", CONSENT_JOINS)
    if incoming.path == COLLECT:
        return Reading(_hits(incoming, query), query.get("tid"), key_paths=KEY_PATHS)
    events = [] if incoming.path == VALIDATION else _measured(incoming)
    return Reading(events, query.get("api_secret"), key_paths=KEY_PATHS)


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """204, as Google's endpoints say it, and of the validation server its messages.

    Where every event was rejected it is 400, so that an integrator sees it; what was, is in the
    dead letter.
    """
    if incoming.path == VALIDATION:
        return _messages(200, _validated(incoming))
    if outcome.rejected and not outcome.accepted:
        return _messages(400, [_message(one) for one in outcome.rejected])
    return _STORED


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """`{"validationMessages": [{"fieldPath", "description", "validationCode"}]}`; Google's endpoint
    refuses nothing.
    """
    code = _CODES.get(refusal.status, "VALUE_INVALID")
    return _messages(refusal.status, [_validation_message(refusal.field, refusal.reason, code)])


# ---- /g/collect


def _hits(incoming: Incoming, shared: dict[str, str]) -> Sequence[Translated]:
    """Of each line of the body, which says what the query does not; without a body the query is
    one.
    """
    check_form(incoming.body)
    lines = list(filter(None, map(bytes.strip, incoming.body.split(b"\n"))))
    if not lines and not shared:
        raise InvalidEvent("query", "expected an event")
    checked_list(lines, "events", MAX_EVENTS)
    check_shared(incoming.query.encode("utf-8", "surrogatepass"), len(lines))
    agent = incoming.headers.get("user-agent")
    base = derived_event_id(shared)

    def hit(numbered: tuple[int, bytes]) -> Translated:
        number, line = numbered
        return _hit(line, shared, base, number, agent, incoming.received_at)

    return Translations(list(enumerate(lines or [b""])), hit)


def _hit(
    line: bytes,
    shared: dict[str, str],
    base: str,
    number: int,
    agent: str | None,
    received_at: datetime,
) -> Translated:
    source: Any = line
    try:
        own = read_form(line, joins=CONSENT_JOINS)
        source = fields = {**shared, **own}
        check_event_size(fields)
        identity = derived_event_id({"request": base, "place": number, "event": own})
        return translated(source, _of_hit(fields, identity, agent), received_at)
    except InvalidEvent as error:
        fields = source if isinstance(source, dict) else shared
        return refused_event(source, error, consent_of(fields))


def _of_hit(fields: dict[str, str], identity: str, agent: str | None) -> Hit:
    """The agent is the visitor's also where a server sends."""
    return Hit(
        name=named(fields.get("en"), "en"),
        params=params_of(fields),
        visitor={
            "user_id": first_id(fields.get("uid")),
            "anonymous_id": first_id(fields.get("cid")),
        },
        user_properties=user_properties_of(fields),
        around=without_none({"user_agent": agent or None, "consent": consent_of(fields)}),
        timestamp=None,
        identity=identity,
    )


# ---- /mp/collect


def _measured(incoming: Incoming) -> Sequence[Translated]:
    """Of a body without a list of events, one that is rejected, so that its key is looked at first.

    One event may stand there without a list, as a library of Google's partners writes it.
    """
    body = read_object(incoming.body)
    given = body.pop("events", None)
    events = [given] if isinstance(given, dict) else given
    if not isinstance(events, list):
        error = InvalidEvent("events", "expected a list", given)
        return [refused_event(body, error, _stated_consent(body))]
    check_shared(_encoder.encode(body), len(checked_list(events, "events", MAX_EVENTS)))
    base = derived_event_id(body)

    def measurement(numbered: tuple[int, Any]) -> Translated:
        number, event = numbered
        return _measurement(event, body, base, number, incoming.received_at)

    return Translations(list(enumerate(events)), measurement)


def _measurement(
    event: Any, body: dict[str, Any], base: str, number: int, received_at: datetime
) -> Translated:
    source = {**body, "events": [event]}
    try:
        check_event_size(event)
        identity = derived_event_id({"request": base, "place": number, "event": event})
        hit = _of_event(as_object(event, "events"), body, identity)
        return translated(source, hit, received_at)
    except InvalidEvent as error:
        return refused_event(source, error, _stated_consent(body))


def _of_event(event: dict[str, Any], body: dict[str, Any], identity: str) -> Hit:
    name = named(event.get("name"), "name")
    params = dict(as_object(event.get("params"), "params"))
    timestamp = _timestamp(
        event.get("timestamp_micros"),
        params.pop("timestamp_micros", None),
        body.get("timestamp_micros"),
    )
    visitor = {
        "user_id": first_id(body.get("user_id")),
        "anonymous_id": first_id(body.get("client_id"), body.get("app_instance_id")),
    }
    properties = as_object(body.get("user_properties"), "user_properties")
    return Hit(
        name=name,
        params=params,
        visitor=visitor,
        user_properties=without_none({key: _value(value) for key, value in properties.items()}),
        around=_surroundings(body),
        timestamp=timestamp,
        identity=identity,
    )


def _timestamp(*given: Any) -> str | None:
    """The first that is set."""
    for micros in given:
        timestamp = time_of(micros, 1e-6, "timestamp_micros")
        if timestamp:
            return timestamp
    return None


def _surroundings(body: dict[str, Any]) -> dict[str, Any]:
    """Place, device and consent.

    Where there is a `device`, Google does not look at the `user_agent`.
    """
    place = as_object(body.get("user_location"), "user_location")
    device = as_object(body.get("device"), "device")
    found: dict[str, Any] = {ours: as_text(place.get(theirs)) for theirs, ours in _LOCATION.items()}
    found |= {ours: as_text(device.get(theirs)) for theirs, ours in _DEVICE.items()}
    found["device_class"] = _DEVICE_CLASSES.get((as_text(device.get("category")) or "").lower())
    found["language"] = language_of(device.get("language"))
    if not place:
        found["ip"] = as_text(body.get("ip_override"))
    if not device:
        found["user_agent"] = as_text(body.get("user_agent"))
    found |= country_of(place.get("country_id"))
    found["consent"] = _consent(body)
    return without_none(found)


def _consent(body: dict[str, Any]) -> dict[str, bool] | None:
    """Only `GRANTED` agrees; for analytics the protocol has no field."""
    stated = as_object(body.get("consent"), "consent").get("ad_personalization")
    if body.get("non_personalized_ads") is True:
        return {"personalization": False}
    if stated in (None, ""):
        return None
    return {"personalization": stated == "GRANTED"}


def _stated_consent(body: dict[str, Any]) -> dict[str, bool] | None:
    """Of a body whose event is refused, as far as it can be read."""
    try:
        return _consent(body)
    except InvalidEvent:
        return None


def _value(user_property: Any) -> Any:
    if isinstance(user_property, dict):
        return user_property.get("value")
    return user_property


# ---- answers


def _validated(incoming: Incoming) -> list[dict[str, str]]:
    """Rejections to expect, with their reasons."""
    try:
        events = list(within_bounds(_measured(incoming)))
    except InvalidEvent as error:
        return [_validation_message(error.field, error.reason)]
    found = ((index, _error(event, incoming.received_at)) for index, event in enumerate(events))
    return [_message(Rejected(index, error)) for index, error in found if error is not None]


def _error(event: Translated, received_at: datetime) -> InvalidEvent | None:
    if event.error is not None:
        return event.error
    try:
        for fact in event.facts:
            parse_event(fact, ingest_time=received_at)
    except InvalidEvent as error:
        return error
    return None


def _message(rejected: Rejected) -> dict[str, str]:
    field = rejected.error.field
    path = field if field == "events" else f"events[{rejected.index}].{field}"
    return _validation_message(path, rejected.error.reason)


def _validation_message(path: str, description: str, code: str = "VALUE_INVALID") -> dict[str, str]:
    if description.startswith("required"):
        code = "VALUE_REQUIRED"
    return {"fieldPath": path, "description": description, "validationCode": code}


def _messages(status: int, messages: Sequence[dict[str, str]]) -> Answer:
    return Answer(status, safe(_encoder.encode({"validationMessages": messages})))
