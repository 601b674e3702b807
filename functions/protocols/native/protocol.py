"""Freshet's own protocol, `POST /v1/events`: one event, or a batch of them, as JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.http.problems import problem, safe
from functions.protocols.contract import Outcome, Reading, Translated, as_it_is
from pipeline.core.events import MAX_EVENT_BYTES, MAX_EVENTS, WireEvent
from pipeline.core.invalid_event import InvalidEvent, TooMuch
from pipeline.core.json_limits import MAX_DEPTH, check_work, deeper_than
from pipeline.core.privacy.consent import FIELD
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import parse_time
from pipeline.core.unicode_surrogates import mended
from pipeline.core.untrusted_json import UNREADABLE, may_hide_consent, may_hide_consent_beside
from pipeline.core.untrusted_json import read as read_json

PATHS = {"/v1/events": ("POST",)}
body_around = as_it_is
KEY_HEADER = "x-freshet-key"


class _Body(msgspec.Struct):
    """A request's outer shape.

    The events stay raw, so that a dead letter holds exactly what was sent.
    """

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    sent_at: Any = None
    backfill: Any = False
    consent: Any = None
    user_token: Any = None


class _Wire(WireEvent, forbid_unknown_fields=True):
    """An event as our SDK writes it for an account whose token it has."""

    user_token: Any = None


class _Stated(msgspec.Struct):
    """The part of a refused event that counts."""

    event_id: Any = None
    consent: Any = None
    metadata: Any = None


_wire_decoder = msgspec.json.Decoder(_Wire)
_body_decoder = msgspec.json.Decoder(_Body)
_encoder = msgspec.json.Encoder()


def read(incoming: Incoming) -> Reading:
    """See `read_batch`; the write key is the header `X-Freshet-Key` or, for beacons, the query's
    `key`.

    Raises:
        InvalidEvent: the body as a whole cannot be used.
    """
    return read_batch(incoming.body, write_key(incoming))


def write_key(incoming: Incoming) -> str | None:
    """The key of a request of ours, unchecked."""
    key = incoming.headers.get(KEY_HEADER)
    if key is None and incoming.query:
        key = dict(parse_qsl(incoming.query[:2048])).get("key")
    return key


def read_batch(body: bytes, key: str | None = None) -> Reading:
    """Split a body: `{"events": [...], "sent_at"?, "consent"?, "user_token"?, "backfill"?}`, or one
    event on its own.

    Raises:
        InvalidEvent: the body as a whole cannot be used; field `body`, `events`, `sent_at` or
            `backfill`.
    """
    check_work(body)
    try:
        outer = _body_decoder.decode(body)
    except UNREADABLE as error:
        whole = mended(body)
        if whole is None:
            raise InvalidEvent(
                "body", f"expected an event or a batch as a JSON object ({error})", body
            ) from None
        return read_batch(whole, key)
    if isinstance(outer.events, msgspec.UnsetType):
        alone = _translated(body)
        if alone.error is not None and not alone.facts:
            raise alone.error
        return Reading((alone,), key)
    if len(outer.events) > MAX_EVENTS:
        raise TooMuch("events", f"expected at most {MAX_EVENTS}", len(outer.events))
    if not isinstance(outer.backfill, bool):
        raise InvalidEvent("backfill", "expected true or false", outer.backfill)
    sent_at = None if outer.sent_at is None else parse_time("sent_at", outer.sent_at)
    payloads = [bytes(event) for event in outer.events]
    if may_hide_consent_beside(body, payloads):
        outer.consent = _consent_of_all(body)
    events = [_translated(payload) for payload in payloads]
    return Reading(events, key, sent_at, outer.backfill, outer.consent, user_token=outer.user_token)


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """202: `{"accepted", "rejected", "errors"}`, and `withheld` where visitors did not agree."""
    if not outcome.rejected and not outcome.withheld:
        return _all_accepted(outcome.accepted)
    told: dict[str, Any] = {"accepted": outcome.accepted, "rejected": len(outcome.rejected)}
    if outcome.withheld:
        told["withheld"] = outcome.withheld
    told["errors"] = [
        {"index": rejected.index, "event_id": rejected.event_id, **rejected.error.as_dict()}
        for rejected in outcome.rejected
    ]
    return Answer(202, safe(_encoder.encode(told)))


@lru_cache(maxsize=MAX_EVENTS + 1)
def _all_accepted(count: int) -> Answer:
    return Answer(202, _encoder.encode({"accepted": count, "rejected": 0, "errors": []}))


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """A problem as RFC 9457 has it."""
    return problem(refusal)


def _consent_of_all(body: bytes) -> Any:
    """Of a body that may say it twice; all of it has to be JSON for that, also what is not looked
    at else.
    """
    try:
        return read_json(body).get(FIELD)
    except UNREADABLE as error:
        raise InvalidEvent("body", f"expected JSON ({error})", body) from None


def _translated(payload: bytes) -> Translated:
    try:
        return _read_event(payload)
    except TooMuch as error:  # to read it again costs as much again
        return Translated(payload, (), error)
    except InvalidEvent as error:
        return Translated(payload, _stated(payload), error)


def _stated(payload: bytes) -> tuple[dict[str, Any], ...]:
    """Of an event that is refused its id, and what it says of its visitor's consent."""
    try:
        found = msgspec.convert(read_json(payload), _Stated)
    except (*UNREADABLE, msgspec.ValidationError, TooMuch):
        return ()
    inner = found.metadata.get("consent") if isinstance(found.metadata, dict) else None
    return ({"event_id": found.event_id, "consent": found.consent, "metadata": {"consent": inner}},)


def _read_event(payload: bytes) -> Translated:
    """Read an event typed, see `WireEvent`, else as an object; typed takes nothing that the other
    refuses.
    """
    is_small = (
        len(payload) <= MAX_EVENT_BYTES and payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH
    )
    if is_small and not may_hide_consent(payload):
        try:
            wire = _wire_decoder.decode(payload)
            return Translated(payload, wire=wire, user_token=wire.user_token)
        except UNREADABLE:
            pass
    fields = _decode(payload)
    token = fields.pop(USER_TOKEN, None)
    return Translated(payload, (fields,), user_token=token)


def _decode(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_EVENT_BYTES:
        raise InvalidEvent(
            "body", f"expected at most {MAX_EVENT_BYTES} bytes an event", len(payload)
        )
    try:
        fields = read_json(payload)
    except UNREADABLE as error:
        raise InvalidEvent("body", f"expected a JSON object ({error})", payload) from None
    if not isinstance(fields, dict):
        raise InvalidEvent("body", "expected a JSON object", payload)
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH and deeper_than(fields, MAX_DEPTH):
        raise InvalidEvent("body", f"expected at most {MAX_DEPTH} levels of nesting", payload)
    return fields
