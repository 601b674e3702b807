"""From the bytes of a request to accepted events and rejections with reasons. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from pipeline.core.events import MAX_EVENT_BYTES, Event, InvalidEvent, accept_event, clock_shift, parse_time

MAX_BODY_BYTES = 1024 * 1024
MAX_EVENTS = 500
MAX_DEPTH = 32
"""Levels of nesting in one event: far above need, far below where a JSON reader down the stream gives up."""


class TooManyEvents(ValueError):
    """A batch of more than `MAX_EVENTS`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: the events as the client wrote them, and what it said about all of them."""

    events: list[bytes]
    sent_at: datetime | None = None
    backfill: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """One event that broke the contract: where it stood, why, and its bytes, untouched."""

    index: int
    event_id: str | None
    error: InvalidEvent
    payload: bytes

    def as_dict(self) -> dict[str, Any]:
        """`{"index", "event_id", "field", "reason", "value"}`, ready for an HTTP answer."""
        return {"index": self.index, "event_id": self.event_id, **self.error.as_dict()}


class _Body(msgspec.Struct):
    """A request's outer shape. The events stay raw, so that a dead letter holds exactly what was sent."""

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    sent_at: Any = None
    backfill: Any = False


_body_decoder = msgspec.json.Decoder(_Body)
_event_decoder = msgspec.json.Decoder(dict[str, Any])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_batch(body: bytes) -> Batch:
    """Split a request body: `{"events": [...], "sent_at"?, "backfill"?}`, or one event on its own.

    Raises:
        InvalidEvent: the body as a whole cannot be used; field `body`, `sent_at` or `backfill`.
        TooManyEvents: above `MAX_EVENTS`.
    """
    try:
        outer = _body_decoder.decode(body)
    except _UNREADABLE as error:
        raise InvalidEvent("body", f"expected an event or a batch as a JSON object ({error})", body) from None
    if isinstance(outer.events, msgspec.UnsetType):
        _decode(body)
        return Batch([body])
    if len(outer.events) > MAX_EVENTS:
        raise TooManyEvents(f"events: expected at most {MAX_EVENTS}, got {len(outer.events)}")
    if not isinstance(outer.backfill, bool):
        raise InvalidEvent("backfill", "expected true or false", outer.backfill)
    sent_at = None if outer.sent_at is None else parse_time("sent_at", outer.sent_at)
    return Batch([bytes(event) for event in outer.events], sent_at, outer.backfill)


def sort_events(batch: Batch, ingest_time: datetime) -> tuple[list[Event], list[Rejection]]:
    """The accepted events in order, and a rejection for each of the others.

    Where `sent_at` shows a client clock that is off by more than `CLOCK_TOLERANCE`, every timestamp of the
    batch is shifted by the difference; a backfill keeps its timestamps.
    """
    shift = None if batch.backfill else clock_shift(batch.sent_at, ingest_time)
    accepted: list[Event] = []
    rejected: list[Rejection] = []
    for index, payload in enumerate(batch.events):
        fields: dict[str, Any] = {}
        try:
            fields = _decode(payload)
            accepted.append(accept_event(fields, ingest_time=ingest_time, shift=shift, backfill=batch.backfill))
        except InvalidEvent as error:
            rejected.append(Rejection(index, _readable_id(fields), error, payload))
    return accepted, rejected


def _decode(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_EVENT_BYTES:
        raise InvalidEvent("body", f"expected at most {MAX_EVENT_BYTES} bytes an event", len(payload))
    try:
        fields: dict[str, Any] = _event_decoder.decode(payload)
    except _UNREADABLE as error:
        raise InvalidEvent("body", f"expected a JSON object ({error})", payload) from None
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH and _depth(fields) > MAX_DEPTH:
        raise InvalidEvent("body", f"expected at most {MAX_DEPTH} levels of nesting", payload)
    return fields


def _readable_id(fields: dict[str, Any]) -> str | None:
    event_id = fields.get("event_id")
    return event_id[:256] if isinstance(event_id, str) else None


def _depth(value: Any) -> int:
    """Levels of objects and lists, counted without recursion: the nesting is not to be trusted."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for node in level for child in _children(node) if isinstance(child, (dict, list))]
    return depth


def _children(node: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node
