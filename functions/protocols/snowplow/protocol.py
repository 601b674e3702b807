"""The Snowplow tracker protocol: `POST /com.snowplowanalytics.snowplow/tp2`, and `GET` there and on
`/i`.

Parameters and schemas: https://docs.snowplow.io/docs/events/going-deeper/event-parameters/ and
https://github.com/snowplow/iglu-central.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.http.exchange import Answer, Incoming, Refusal
from functions.protocols.commerce_facts import Fact, written
from functions.protocols.contract import Outcome, Reading, Translated, Translations, has_any
from functions.protocols.pixel.protocol import GIF
from functions.protocols.refused_events import refused_event
from functions.protocols.snowplow.contexts import Contexts, embedded_json, read_contexts
from functions.protocols.snowplow.ecommerce import PRODUCT_KINDS
from functions.protocols.snowplow.events import facts_of, stated_consent
from functions.protocols.values import (
    as_id,
    as_number,
    as_object,
    as_text,
    checked_list,
    read_form,
    read_object,
    time_of,
    without_none,
)
from pipeline.core.events import check_event_size
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import check_work
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time, parse_time

PATHS = {"/com.snowplowanalytics.snowplow/tp2": ("POST", "GET", "HEAD"), "/i": ("GET", "HEAD")}

KEY_PATHS = (("key",),)
"""An app id is kept with its event; of a back end whose key it is, the collector leaves it out."""
HEARTBEAT_S = 10.0
"""The interval of page pings in Snowplow's documentation and data models; the payload does not hold
it."""
MAX_HEARTBEAT_S = 600.0

_PAYLOAD_DATA = "iglu:com.snowplowanalytics.snowplow/payload_data/"
_SNOWPLOW = "com.snowplowanalytics.snowplow"
_ECOMMERCE = "com.snowplowanalytics.snowplow.ecommerce"
_ANONYMOUS = "00000000-0000-0000-0000-000000000000"
"""The id that trackers and collectors send for every visitor who is to stay anonymous."""

_PAGE_FIELDS = {
    "url": "url",
    "page": "title",
    "refr": "referrer",
    "lang": "language",
    "tz": "timezone",
    "res": "screen_size",
    "vp": "viewport",
    "ip": "ip",
    "ua": "user_agent",
    "p": "platform",
    "aid": "app_id",
    "tna": "tracker",
    "tv": "tracker_version",
    "vid": "session_number",
}


def read(incoming: Incoming) -> Reading:
    """The events of a `payload_data` envelope, or the one of a query.

    The write key is the query's `key`, else the first event's `aid` (the app id). The query's
    `heartbeat_s` says for how long a page ping stands, its `user_token` is that of all events.

    Raises:
        InvalidEvent: the request as a whole cannot be read.
    """
    query = read_form(incoming.query, "query")
    heartbeat_s = _heartbeat_s(query)
    if incoming.method == "POST":
        given = _payload_data(incoming.body)
    elif query:
        given = [query]
    else:
        raise InvalidEvent("query", "expected an event", None)
    check_work(b"".join(embedded_json(event) for event in given if isinstance(event, dict)), "data")
    first = given[0] if given and isinstance(given[0], dict) else {}
    events = Translations(
        given, lambda event: _translated(event, incoming.received_at, heartbeat_s)
    )
    key = query.get("key") or as_text(first.get("aid"))
    return Reading(events, key, key_paths=KEY_PATHS, user_token=query.get(USER_TOKEN))


def body_around(path: str, rejected: Any) -> Any:
    """Payload data of the one event."""
    if has_any(rejected, "schema", "data"):
        return rejected
    return {"schema": f"{_PAYLOAD_DATA}jsonschema/1-0-4", "data": [rejected]}


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """200, as Snowplow's collector says it: `ok`, or the image.

    Also where events were rejected: a tracker would send the whole batch again, or drop it.
    """
    if incoming.method == "POST":
        return Answer(200, b"ok", "text/plain")
    return Answer(200, GIF, "image/gif")


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """A line of text; trackers look at the status only.

    They try every status again but 2xx, 400, 401, 403, 410 and 422, for as long as they live, and
    send nothing else in the meantime. So what will never be taken (413, 415) is a 400 to them.
    """
    status = 400 if refusal.status in (413, 415) else refusal.status
    text = f"{refusal.field}: {refusal.reason}\n"
    return Answer(status, text.encode("utf-8", "replace"), "text/plain")


def _heartbeat_s(query: Mapping[str, str]) -> float:
    given = as_number(query.get("heartbeat_s"))
    if given is not None and 0 < given <= MAX_HEARTBEAT_S:
        return given
    return HEARTBEAT_S


def _payload_data(body: bytes) -> list[Any]:
    envelope = read_object(body)
    schema = envelope.get("schema")
    if not isinstance(schema, str) or not schema.startswith(_PAYLOAD_DATA):
        raise InvalidEvent("schema", f"expected {_PAYLOAD_DATA}...", schema)
    return checked_list(envelope.get("data"), "data")


def _translated(source: Any, received_at: datetime, heartbeat_s: float) -> Translated:
    try:
        return _event(as_object(source, "data"), received_at, heartbeat_s)
    except InvalidEvent as error:
        consent = stated_consent(source) if isinstance(source, dict) else None
        return refused_event(source, error, consent)


def _event(fields: dict[str, Any], received_at: datetime, heartbeat_s: float) -> Translated:
    check_event_size(fields)
    contexts = read_contexts(fields)
    facts = facts_of(fields, contexts, heartbeat_s)
    shared = _who(fields, contexts, facts) | {"timestamp": _timestamp(fields, received_at)}
    surroundings = _surroundings(fields, contexts)
    kept = contexts.kept(without=PRODUCT_KINDS if facts[0].product_id else ())
    first, *others = facts
    facts = [Fact(first.event, first.metadata | kept, first.product_id), *others]
    found = written(facts, shared, surroundings, as_id(fields.get("eid")), fields)
    return Translated(fields, found, sent_at=_sent_at(fields))


def _who(fields: Mapping[str, Any], contexts: Contexts, facts: Sequence[Fact]) -> dict[str, Any]:
    """`user_id`, `anonymous_id` and `session_id`, as far as they are known.

    A visitor without any id, but with a session (anonymous tracking with session tracking), is
    known for as long as the session lasts.
    """
    session = contexts.first(f"{_SNOWPLOW}/client_session")
    session_id = _first_id(fields.get("sid"), session.get("sessionId"))
    network_ids = (fields.get("tnuid"), fields.get("nuid"))
    ids = {
        "user_id": _first_id(fields.get("uid"), _account(contexts, facts)),
        "anonymous_id": _first_id(
            fields.get("duid"), session.get("userId"), *network_ids, session_id
        ),
        "session_id": session_id,
    }
    return without_none(ids)


def _account(contexts: Contexts, facts: Sequence[Fact]) -> Any:
    """The account that an e-commerce user entity names, or an `identify` event."""
    user = contexts.first(f"{_ECOMMERCE}/user")
    if user and user.get("is_guest") is not True:
        return user.get("id")
    data = facts[0].metadata.get("data")
    if facts[0].event == "identify" and isinstance(data, dict):
        return data.get("id")
    return None


def _first_id(*candidates: Any) -> str | None:
    """The first that is an id, and not the one of anonymous tracking."""
    for given in candidates:
        found = as_id(given)
        if found and found != _ANONYMOUS:
            return found
    return None


def _surroundings(fields: Mapping[str, Any], contexts: Contexts) -> dict[str, Any]:
    """Page, device and tracker, as metadata."""
    place = contexts.first(f"{_SNOWPLOW}/geolocation_context")
    device = contexts.first(f"{_SNOWPLOW}/mobile_context")
    page = {ours: as_text(fields.get(theirs)) for theirs, ours in _PAGE_FIELDS.items()}
    entities = {
        "page_view_id": as_id(contexts.first(f"{_SNOWPLOW}/web_page").get("id")),
        "page_type": as_text(contexts.first(f"{_ECOMMERCE}/page").get("type")),
        "latitude": as_number(place.get("latitude")),
        "longitude": as_number(place.get("longitude")),
        "os_family": as_text(device.get("osType")),
        "device_manufacturer": as_text(device.get("deviceManufacturer")),
        "device_model": as_text(device.get("deviceModel")),
    }
    return without_none(page | entities)


def _timestamp(fields: Mapping[str, Any], received_at: datetime) -> str:
    """The true time (`ttm`) where the site set one, else the device's (`dtm`), else that of
    arrival.
    """
    for name in ("ttm", "dtm"):
        given = time_of(fields.get(name), 0.001, name)
        if given is not None:
            return given
    return format_time(received_at)


def _sent_at(fields: Mapping[str, Any]) -> datetime | None:
    """By the device's clock, and None where the event's time is not of that clock."""
    if fields.get("ttm") or not fields.get("dtm"):
        return None
    given = time_of(fields.get("stm"), 0.001, "stm")
    if given is None:
        return None
    return parse_time("stm", given)
