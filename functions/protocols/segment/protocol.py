"""Segment's HTTP tracking API, which RudderStack's data plane has as well.

https://www.twilio.com/docs/segment/connections/sources/catalog/libraries/server/http-api;
the short paths are those of analytics-next and of Segment's mobile SDKs, `/beacon/v1/batch` is that
of RudderStack's browser SDK.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.http.problems import safe
from functions.protocols.commerce_facts import Fact, written
from functions.protocols.contract import Outcome, Reading, Translated, Translations, has_any
from functions.protocols.refused_events import object_of_any_depth, refused_event
from functions.protocols.segment.context import consent_of, surroundings
from functions.protocols.segment.ecommerce import as_metadata, facts_of_track
from functions.protocols.values import (
    as_id,
    as_object,
    as_text,
    basic_user,
    check_shared,
    checked_list,
    read_form,
    read_object,
    without_none,
)
from functions.protocols.visitor_ids import first_id
from pipeline.core.events import MAX_ID_LENGTH, check_event_size, derived_event_id
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time

TYPES = ("track", "page", "screen", "identify", "alias", "group")
BATCHES = frozenset(("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"))
_TYPE_OF = {f"/v1/{path}": kind for kind in TYPES for path in (kind, kind[0])}
PATHS = dict.fromkeys([*_TYPE_OF, *sorted(BATCHES)], ("POST",))
IMPORT = "/v1/import"
KEY_PATHS = (("writeKey",),)

_CODES = {
    401: "invalid_write_key",
    413: "too_large",
    429: "rate_limited",
    500: "internal_error",
    503: "not_stored",
}
_MAX_NUMBERED_ID_LENGTH = MAX_ID_LENGTH - 4
_PAGE_FIELDS = {"name": "page_name", "category": "page_category"}
_SHARED = ("context", "integrations")
_OF_SENDING = ("sentAt", "_metadata", "writeKey")
_encoder = msgspec.json.Encoder()
_SUCCESS = Answer(200, b'{"success":true}')


def read(incoming: Incoming) -> Reading:
    """One message, or a body `{"batch": [...], "sentAt"?, "context"?, "integrations"?}`.

    The content type is not looked at: browsers send JSON as text/plain, which needs no preflight. A
    batch without its list counts as one event that is rejected, so that its key is looked at first.

    Raises:
        InvalidEvent: the body is no JSON object, a batch nests too deep, or there are too many
            events.
    """
    try:
        body = read_object(incoming.body)
    except InvalidEvent as error:
        return _too_deep(incoming, error)
    key = _write_key(incoming, body)
    if incoming.path not in BATCHES:
        lone = message(body, incoming.received_at, kind=_TYPE_OF.get(incoming.path))
        return Reading([lone], key, key_paths=KEY_PATHS)
    batch, history = body.get("batch"), incoming.path == IMPORT
    if not isinstance(batch, list):
        unlisted = InvalidEvent("batch", "expected a list", batch)
        rejected = refused_event(body, unlisted, _stated_consent(body))
        return Reading([rejected], key, history=history, key_paths=KEY_PATHS)
    given = checked_list(batch, "events")  # the collector answers 413 to too many `events`
    shared = {name: body[name] for name in _SHARED if name in body}
    check_shared(_encoder.encode(shared), len(given))
    taken = Translations(given, lambda one: message(one, incoming.received_at, body))
    return Reading(taken, key, _sent_at(body.get("sentAt")), history, key_paths=KEY_PATHS)


def body_around(path: str, rejected: Any) -> Any:
    """A batch of the one event, at a path of batches."""
    if path not in BATCHES or has_any(rejected, "batch"):
        return rejected
    return {"batch": [rejected]}


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """200 and `{"success": true}`, which RudderStack's Python SDK wants to the digit.

    Where every event was rejected it is 400, so that an integrator sees it; what was, is in the
    dead letter.
    """
    if not outcome.rejected or outcome.accepted:
        return _SUCCESS
    error = outcome.rejected[0].error
    return _failure(400, "invalid_request", f"{error.field}: {error.reason}")


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """`{"success": false, "code", "message"}`.

    Segment's and RudderStack's SDKs send again at 429 and 5xx. Without a `code`, RudderStack's for
    Python takes any other refusal for a network failure, and sends again too.
    """
    code = _CODES.get(refusal.status, "invalid_request")
    return _failure(refusal.status, code, f"{refusal.field}: {refusal.reason}")


def message(
    source: Any, received_at: datetime, batch: Any = None, kind: str | None = None
) -> Translated:
    """One message of Segment's. It never raises.

    Args:
        source: any JSON value.
        received_at: when something happened whose message does not say so.
        batch: the body that it came in; its `context` and `integrations` are for all of its
            messages.
        kind: one of `TYPES` where the path says it, else the message's `type` does.
    """
    try:
        check_event_size(source)
        return _message(as_object(source, "message"), received_at, batch or {}, kind)
    except InvalidEvent as error:
        return refused_event(source, error, _stated_consent(source, batch))


def _too_deep(incoming: Incoming, error: InvalidEvent) -> Reading:
    """A lone call of which only the nesting is wrong is one event that is rejected: its consent can
    be read.

    It stays the text that it was: who writes JSON may go less deep than who reads it.
    """
    body = object_of_any_depth(incoming.body)
    if body is None or incoming.path in BATCHES:
        raise error
    return Reading(
        [refused_event(incoming.body, error, _stated_consent(body))],
        _write_key(incoming, body),
        key_paths=KEY_PATHS,
    )


def _stated_consent(source: Any, batch: Any = None) -> dict[str, Any] | None:
    """Of a message that is refused, as far as it can be read."""
    stated: dict[str, Any] = {}
    for around in (batch, source):
        context = around.get("context") if isinstance(around, dict) else None
        if isinstance(context, dict):
            stated |= context
    return consent_of(stated)


def _message(
    source: dict[str, Any], received_at: datetime, batch: dict[str, Any], kind: str | None
) -> Translated:
    kind = kind or source.get("type")
    context = {
        **as_object(batch.get("context"), "context"),
        **as_object(source.get("context"), "context"),
    }
    token = context.pop(USER_TOKEN, None)
    around = surroundings(context, source.get("integrations") or batch.get("integrations"))
    first, *others = _facts(kind, source, around.rest.get("traits"))
    facts = [Fact(first.event, around.rest | first.metadata, first.product_id), *others]
    timestamp = _timestamp(source, batch)
    shared = _who(kind, source, context) | {
        "session_id": around.session_id,
        "timestamp": format_time(timestamp or received_at),
    }
    event_id = _event_id(source, None if timestamp else received_at)
    known = around.known | without_none({"channel": as_text(source.get("channel"))})
    found = written(facts, shared, known, event_id, source)
    return Translated(source, found, sent_at=_sent_at(source.get("sentAt")), user_token=token)


def _facts(kind: Any, source: dict[str, Any], traits: Any) -> list[Fact]:
    properties = as_object(source.get("properties"), "properties")
    if kind == "track":
        return list(facts_of_track(_required(source, "event"), properties))
    if kind in ("page", "screen"):
        return [Fact("page_view", _page(kind, source, properties))]
    if kind == "identify":
        return [Fact("identify", without_none({"traits": source.get("traits") or traits}))]
    if kind == "alias":
        _required(source, "previousId")
        return [Fact("identify", {})]
    if kind == "group":
        group = {"group_id": _required(source, "groupId"), "traits": source.get("traits")}
        return [Fact("group", without_none(group))]
    raise InvalidEvent("type", f"expected one of {', '.join(TYPES)}", kind)


def _page(kind: str, source: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """A page's category is no product category; a screen has no title but its name."""
    named = {name: properties.get(name) or source.get(name) for name in _PAGE_FIELDS}
    own = {name: value for name, value in properties.items() if name not in _PAGE_FIELDS}
    metadata = as_metadata(own) | {_PAGE_FIELDS[name]: value for name, value in named.items()}
    if kind == "screen":
        metadata["screen_name"] = metadata.pop("page_name")
        metadata["title"] = metadata.get("title") or as_text(named["name"])
    return without_none(metadata)


def _who(kind: Any, source: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """An alias ties a visitor's former id, `previousId`, to the present one; analytics-next may
    give both the same id.

    RudderStack's older SDKs have the anonymous id among the traits.
    """
    traits = context.get("traits")
    user_id = source.get("userId")
    candidates = [source.get("anonymousId")]
    if isinstance(traits, dict):
        candidates.append(traits.get("anonymousId"))
    if kind == "alias" and source.get("previousId") != user_id:
        candidates.insert(0, source.get("previousId"))
    return {"user_id": first_id(user_id), "anonymous_id": first_id(*candidates)}


def _event_id(source: dict[str, Any], received_at: datetime | None) -> str:
    """`messageId`, else derived from the message without `sentAt`, which differs when it is sent
    again.

    Args:
        received_at: for a message that has no time, for the next one like it is another event.
    """
    given = as_text(source.get("messageId"))
    if given is None:
        content = {name: value for name, value in source.items() if name not in _OF_SENDING}
        content["received_at"] = received_at and format_time(received_at)
        return derived_event_id(content)
    if len(given) > _MAX_NUMBERED_ID_LENGTH:
        return derived_event_id({"messageId": given})
    return given


def _timestamp(source: dict[str, Any], batch: dict[str, Any]) -> datetime | None:
    """The event's time by the clock of `sentAt`: `timestamp`, which a caller may set, else
    `originalTimestamp`.

    Of a message that Segment's or RudderStack's servers send on (`receivedAt`) `timestamp` is
    repaired already.
    """
    given = [source.get("timestamp"), source.get("originalTimestamp")]
    sent = source.get("sentAt") or batch.get("sentAt")
    if sent and source.get("receivedAt") is not None:
        given.reverse()
    given.append(batch.get("timestamp"))
    return next(filter(None, map(_time, given)), None)


def _required(source: dict[str, Any], name: str) -> str:
    value = as_id(source.get(name))
    if value is None:
        raise InvalidEvent(name, "required", source.get(name))
    return value


def _time(value: Any) -> datetime | None:
    """ISO 8601 as SDKs write it; without a zone it is UTC.

    Raises:
        InvalidEvent: field `timestamp`.
    """
    if value is None or value == "":
        return None
    try:
        if not isinstance(value, str) or len(value) > 40:
            raise ValueError
        parsed = datetime.fromisoformat(value.strip())
        if parsed.tzinfo is None:
            return parsed.replace(tzinfo=UTC)
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidEvent("timestamp", "expected an ISO 8601 time", value) from None


def _sent_at(value: Any) -> datetime | None:
    """None for what is no time: clocks are then not repaired."""
    try:
        return _time(value)
    except InvalidEvent:
        return None


def _write_key(incoming: Incoming, body: dict[str, Any]) -> str | None:
    key = basic_user(incoming.headers) or as_text(body.get("writeKey"))
    if key is None and "writeKey=" in incoming.query:
        try:
            return read_form(incoming.query[:2048], "query").get("writeKey")
        except InvalidEvent:
            return None
    return key


def _failure(status: int, code: str, text: str) -> Answer:
    content = {"success": False, "code": code, "message": text}
    return Answer(status, safe(_encoder.encode(content)))
