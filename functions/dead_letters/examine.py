"""Reads a dead letter again by its protocol, repaired where it does not pass. Pure: no I/O.

An event may be as old as it says, but not of a later time than its rejection: a clock that ran
ahead then is still wrong, until it is shifted. No payload makes anything here raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from functions.accept import facts_of
from functions.dead_letters.envelopes import (
    FLAT_PATHS,
    UNREADABLE,
    decode,
    encode,
    is_json,
    request_around,
)
from functions.dead_letters.repairs import MAX_SHIFT_S, Repairs
from functions.dead_letters.stored import NATIVE, NATIVE_PATH, StoredDeadLetter
from functions.protocols.contract import Reading, Translated
from functions.routes import ROUTES
from pipeline.core.dead_letters import DeadLetter
from pipeline.core.events import Event, accept_event, clock_shift, derived_event_id, encode_message
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import check_work
from pipeline.core.privacy.consent import record, resolve_consent

MAX_TEXT_LENGTH = 256


class StillInvalid(msgspec.Struct, frozen=True):
    """An event that breaks the contract: its place (None: the payload as a whole), why, its
    bytes."""

    index: int | None
    error: InvalidEvent
    payload: bytes = b""


class Examined(msgspec.Struct, frozen=True):
    """A dead letter, `changed` by repairs or not: its events that pass, and those that do not."""

    dead_letter: StoredDeadLetter
    good: list[Event]
    refused: list[StillInvalid]
    changed: bool = False

    @property
    def replayable(self) -> list[Event]:
        """The events to send: all, none, or the good ones of a dead letter that may be split."""
        return self.good if not self.refused or self.dead_letter.split else []

    def remainders(self, now: datetime) -> list[DeadLetter]:
        """A dead letter for each event that is left behind, received when the whole was."""
        if not self.refused or not self.replayable:
            return []
        received_at = self.dead_letter.received(now)
        attributes = self.dead_letter.origin() | {"split_from": self.dead_letter.dead_letter_id}
        return [
            DeadLetter.of(
                one.payload, _shortened(one.error), self.dead_letter.source, received_at, attributes
            )
            for one in self.refused
        ]


def examine(dead_letter: StoredDeadLetter, repairs: Repairs, now: datetime) -> Examined:
    """Read a dead letter; repair what does not pass, and read it again.

    What passes stays as it is, but for a time that it was rejected for: that can be shifted.
    """
    dead_letter = msgspec.structs.replace(dead_letter, split=dead_letter.split or repairs.split)
    good, refused = _read(dead_letter, now)
    if good and not refused:
        repairs = Repairs(shift_s=repairs.shift_s if dead_letter.field == "timestamp" else 0.0)
    repaired = _repaired(dead_letter, repairs, refused)
    if repaired == dead_letter:
        return Examined(dead_letter, good, refused)
    return Examined(repaired, *_read(repaired, now), changed=True)


# ---- reading ----


def _read(dead_letter: StoredDeadLetter, now: datetime) -> tuple[list[Event], list[StillInvalid]]:
    received_at = dead_letter.received(now)
    try:
        reading = _reading(dead_letter, received_at)
    except InvalidEvent as error:
        return [], [StillInvalid(None, error)]
    good: list[Event] = []
    refused: list[StillInvalid] = []
    for index, translated in enumerate(reading.events):
        try:
            good += _accepted(translated, reading, dead_letter, received_at)
        except InvalidEvent as error:
            refused.append(StillInvalid(index, error, _source(translated)))
    return good, refused


def _reading(dead_letter: StoredDeadLetter, received_at: datetime) -> Reading:
    """The reading of its protocol, of a request around the payload.

    Raises:
        InvalidEvent: naming what cannot be read.
    """
    payload = dead_letter.body()
    name, path = _protocol(dead_letter)
    route = ROUTES.get(path)
    if route is None or route.name != name:
        raise InvalidEvent(
            "protocol", "expected one that the collector has, and its path", f"{name} {path}"
        )
    if abs(dead_letter.shift_s) > MAX_SHIFT_S:
        raise InvalidEvent(
            "shift_s", f"expected at most {MAX_SHIFT_S:.0f} s either way", dead_letter.shift_s
        )
    reading = route.protocol.read(request_around(name, path, payload, received_at))
    if not reading.events:
        raise InvalidEvent("events", "expected at least one event", None)
    return reading


def _accepted(
    translated: Translated, reading: Reading, dead_letter: StoredDeadLetter, received_at: datetime
) -> list[Event]:
    """All that a sender's event stands for, or nothing; with the consent that was found for it."""
    if translated.error is not None:
        raise translated.error
    clock = (
        None if reading.history else clock_shift(translated.sent_at or reading.sent_at, received_at)
    )
    shift = (clock or timedelta()) + timedelta(seconds=dead_letter.shift_s)
    stated = dead_letter.consent() or reading.consent
    events: list[Event] = []
    for facts in facts_of(translated):
        fields = dict(facts)
        consent = resolve_consent(fields, stated, None)
        event = accept_event(fields, ingest_time=received_at, shift=shift or None, backfill=True)
        dead_letter.check_proven(event)
        record(event.metadata, consent, stated)
        check_work(encode_message([event]))
        events.append(event)
    return events


def _protocol(dead_letter: StoredDeadLetter) -> tuple[str, str]:
    """The name and path of its protocol; our own stands without a path."""
    origin = dead_letter.origin()
    name = origin.get("protocol", NATIVE)
    return name, NATIVE_PATH if name == NATIVE else origin.get("path", "")


def _source(translated: Translated) -> bytes:
    source = translated.source
    return source if isinstance(source, bytes) else msgspec.json.encode(source)


def _shortened(error: InvalidEvent) -> InvalidEvent:
    return InvalidEvent(error.field[:MAX_TEXT_LENGTH], error.reason[:MAX_TEXT_LENGTH])


# ---- repairs ----


def _repaired(
    dead_letter: StoredDeadLetter, repairs: Repairs, refused: Sequence[StillInvalid]
) -> StoredDeadLetter:
    """The dead letter as repaired; what no rule can repair stays as it is."""
    shifted = msgspec.structs.replace(dead_letter, shift_s=dead_letter.shift_s + repairs.shift_s)
    name, path = _protocol(dead_letter)
    try:
        payload = dead_letter.body()
        value = decode(payload, path)
        if not value:
            return shifted
        before = encode(value, as_json=is_json(payload))
        for part in _parts(value, refused) if name == NATIVE else [value]:
            _change(part, repairs, path)
        after = encode(value, as_json=is_json(payload))
    except UNREADABLE:
        return shifted
    if after == before:
        return shifted
    return msgspec.structs.replace(shifted, payload=after.decode(), encoding="utf-8")


def _parts(value: Any, refused: Sequence[StillInvalid]) -> list[Any]:
    """The refused events of a body of ours; else the event, or the body that cannot be read."""
    events = value.get("events") if isinstance(value, dict) else None
    if not isinstance(events, list):
        return [value]
    return [value if one.index is None else events[one.index] for one in refused]


def _change(part: Any, repairs: Repairs, path: str) -> None:
    """Repair in place. An event of ours without an id gets the one of its content as it came."""
    if path != NATIVE_PATH or not isinstance(part, dict) or "events" in part:
        repairs.apply(part, flat=path in FLAT_PATHS)
        return
    before, derived = msgspec.json.encode(part), derived_event_id(part)
    repairs.apply(part)
    if part.get("event_id") is None and msgspec.json.encode(part) != before:
        part["event_id"] = derived
