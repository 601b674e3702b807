"""From what a protocol read to accepted events and rejections with reasons. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from functions.protocols.contract import Reading, Translated
from pipeline.core.events import Event, InvalidEvent, accept_event, accept_wire, clock_shift

MAX_EXPANDED_BYTES = 4 * 1024 * 1024
"""What the events of a request that stand for several of ours may come to: a small body must not become a big one."""


class TooMuch(ValueError):
    """A request whose events would come to more than `MAX_EXPANDED_BYTES`."""


class Terms(msgspec.Struct, frozen=True):
    """What holds for all events of one request.

    Attributes:
        plan: a stricter tracking plan.
        replay_window_s: how far `sent_at` may be from the arrival; None: as far as it likes.
    """

    plan: Any = None
    replay_window_s: float | None = None


OPEN_TERMS = Terms()


class Rejection(msgspec.Struct, frozen=True):
    """One event that broke the contract: where it stood, why, and what it was, untouched."""

    index: int
    event_id: str | None
    error: InvalidEvent
    payload: bytes


class Sorted(msgspec.Struct):
    """What becomes of a request.

    Attributes:
        events: ours, in order.
        accepted, withheld: of the sender's events; those withheld are among the accepted.
        rejected: in order.
    """

    events: list[Event]
    accepted: int
    withheld: int
    rejected: list[Rejection]


def sort_events(reading: Reading, ingest_time: datetime, terms: Terms = OPEN_TERMS) -> Sorted:
    """Accept or reject each event.

    Where `sent_at` shows a client clock that is off by more than `CLOCK_TOLERANCE`, the timestamps are shifted by the
    difference; history keeps its timestamps. An event of the sender's is accepted whole or rejected whole, with all
    that it stands for.

    Raises:
        TooMuch: see there.
    """
    found = Sorted([], 0, 0, [])
    shift = None if reading.history else clock_shift(reading.sent_at, ingest_time)
    expanded_bytes = 0
    for index, translated in enumerate(reading.events):
        try:
            events = _accepted(translated, reading, ingest_time, shift, terms)
        except InvalidEvent as error:
            found.rejected.append(Rejection(index, _readable_id(translated), error, _payload(translated.source)))
            continue
        if len(events) > 1:
            expanded_bytes += sum(len(_encoder.encode(event)) for event in events)
            if expanded_bytes > MAX_EXPANDED_BYTES:
                raise TooMuch(f"expected events that come to at most {MAX_EXPANDED_BYTES} bytes")
        found.events += events
        found.accepted += 1
    return found


_encoder = msgspec.json.Encoder(enc_hook=str)


def _accepted(
    translated: Translated, reading: Reading, ingest_time: datetime, shift: timedelta | None, terms: Terms
) -> list[Event]:
    if translated.error is not None:
        raise translated.error
    if translated.sent_at is not None and not reading.history:
        shift = clock_shift(translated.sent_at, ingest_time)
    if terms.replay_window_s is not None:
        _check_replay(translated.sent_at or reading.sent_at, ingest_time, terms.replay_window_s)
    if translated.wire is not None and terms.plan is None and not reading.history:
        event = accept_wire(translated.wire, ingest_time=ingest_time, shift=shift)
        if event is not None:
            return [event]
    return [_event(fields, ingest_time, shift, terms, reading.history) for fields in _facts(translated)]


def _facts(translated: Translated) -> Sequence[dict[str, Any]]:
    if translated.wire is None:
        return translated.facts
    fields = msgspec.structs.asdict(translated.wire)
    fields["timestamp"] = msgspec.to_builtins(fields["timestamp"])
    return [{name: value for name, value in fields.items() if value is not None}]


def _event(
    fields: dict[str, Any], ingest_time: datetime, shift: timedelta | None, terms: Terms, history: bool
) -> Event:
    if terms.plan is not None:
        terms.plan.check(fields)
    return accept_event(fields, ingest_time=ingest_time, shift=shift, backfill=history)


def _check_replay(sent_at: datetime | None, ingest_time: datetime, window_s: float) -> None:
    """A request that was recorded and is sent again later shows by its `sent_at`; one without shows nothing."""
    if sent_at is None:
        raise InvalidEvent("sent_at", "required here, for requests that are sent again are not taken", None)
    if abs((ingest_time - sent_at).total_seconds()) > window_s:
        raise InvalidEvent("sent_at", f"expected within {window_s:g} s of the arrival", sent_at.isoformat())


def _readable_id(translated: Translated) -> str | None:
    facts = _facts(translated)
    event_id = facts[0].get("event_id") if facts else None
    return event_id[:256] if isinstance(event_id, str) else None


def _payload(source: Any) -> bytes:
    if isinstance(source, bytes):
        return source
    return source.encode("utf-8", "surrogatepass") if isinstance(source, str) else _encoder.encode(source)
