"""Amplitude's HTTP V2 API, `/2/httpapi`, and its batch API of the same shape, `/batch`.

https://amplitude.com/docs/apis/analytics/http-v2 and
https://amplitude.com/docs/apis/analytics/batch-event-upload.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.http.problems import safe
from functions.protocols.amplitude.events import event
from functions.protocols.contract import Outcome, Reading, Rejected, Translations, has_any
from functions.protocols.refused_events import refused_event
from functions.protocols.values import MAX_VENDOR_EVENTS, as_text, checked_list, read_object
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import parse_time

PATHS = {"/2/httpapi": ("POST",), "/batch": ("POST",)}
KEY_PATHS = (("api_key",),)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encoder = msgspec.json.Encoder()


def read(incoming: Incoming) -> Reading:
    """The events of a body `{"api_key", "events", "client_upload_time"?}`; the write key is the
    `api_key`.

    A body without a list of events counts as one event that is rejected, so that its key is looked
    at first.

    Raises:
        InvalidEvent: the body is no JSON object, or there are too many events.
    """
    body = read_object(incoming.body)
    key, events = as_text(body.get("api_key")), body.get("events")
    if not isinstance(events, list):
        unlisted = refused_event(body, InvalidEvent("events", "expected a list", events))
        return Reading([unlisted], key, key_paths=KEY_PATHS)
    taken = Translations(
        checked_list(events, "events"), lambda given: event(given, incoming.received_at)
    )
    return Reading(taken, key, _sent_at(body.get("client_upload_time")), key_paths=KEY_PATHS)


def body_around(path: str, rejected: Any) -> Any:
    """A list of the one event; its key is not kept."""
    if has_any(rejected, "events", "api_key"):
        return rejected
    return {"events": [rejected]}


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """200 with `events_ingested`; 400 with the events' indices by field where every event was
    rejected.

    At a 400 Amplitude's libraries would send the events that are not named again, so where some
    were accepted it is 200: those that were not are in the dead letter.
    """
    if outcome.rejected and not outcome.accepted:
        return _all_rejected(outcome.rejected)
    content = {
        "code": 200,
        "events_ingested": outcome.accepted,
        "payload_size_bytes": len(incoming.body),
        "server_upload_time": (incoming.received_at - _EPOCH) // timedelta(milliseconds=1),
    }
    return Answer(200, _encoder.encode(content))


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """`{"code", "error"}`, and what makes Amplitude's libraries do the right thing.

    They give events up at an error that begins with `Invalid API key` (401) or names a
    `missing_field` (what will never be taken), halve the batch at 413, wait for 30 s with the
    `throttled_events` at 429 (all of them, for it is the sender who is too fast) and send again at
    5xx.
    """
    content: dict[str, Any] = {
        "code": refusal.status,
        "error": f"{refusal.field}: {refusal.reason}",
    }
    if refusal.status == 401:
        content["error"] = f"Invalid API key: {refusal.reason}"
    elif refusal.status == 429:
        content["error"] = f"Too many requests for some devices and users: {refusal.reason}"
        content |= {
            "eps_threshold": 0,
            "throttled_events": list(range(_event_count(incoming.body))),
        }
    elif refusal.status < 500 and refusal.status not in (408, 413):
        content["missing_field"] = refusal.field
    return Answer(refusal.status, safe(_encoder.encode(content)))


def _all_rejected(rejected: Sequence[Rejected]) -> Answer:
    missing: dict[str, list[int]] = {}
    invalid: dict[str, list[int]] = {}
    for one in rejected:
        fields = missing if one.error.reason.startswith("required") else invalid
        fields.setdefault(one.error.field, []).append(one.index)
    first = rejected[0].error
    content = {"code": 400, "error": f"{first.field}: {first.reason}"}
    if first.field == "events":
        return Answer(400, safe(_encoder.encode(content | {"missing_field": "events"})))
    content |= {"events_with_invalid_fields": invalid, "events_with_missing_fields": missing}
    return Answer(400, safe(_encoder.encode(content)))


def _event_count(body: bytes) -> int:
    """At least so many events are in it; a body that was refused unread counts as the largest."""
    return min(body.count(b'"event_type"'), MAX_VENDOR_EVENTS) or MAX_VENDOR_EVENTS


def _sent_at(client_upload_time: Any) -> datetime | None:
    """None for what is no time: clocks are then not repaired."""
    try:
        return parse_time("client_upload_time", client_upload_time)
    except InvalidEvent:
        return None
