"""Dead letters of vendors' protocols: mended in the vendor's own form, read by the protocol that the collector has.

What the collector keeps of a rejected event is that event, not its request, so a request is made around it; of a
request that could not be read at all it keeps the body. What only the request said (the query, a batch's own context,
its clock) is in no letter. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from functions.protocols.contract import Incoming, Reading, Translated
from functions.protocols.ga4 import protocol as ga4
from functions.protocols.pixel import protocol as pixel
from functions.protocols.segment import protocol as segment
from functions.protocols.snowplow import protocol as snowplow
from functions.routes import ROUTES
from pipeline.core import field_paths
from pipeline.core.deadletter import (
    MAX_SHIFT_S,
    Examined,
    Refused,
    Repairs,
    StoredLetter,
    keep_consent,
    number_of,
)
from pipeline.core.events import MAX_DEPTH, Event, InvalidEvent, accept_event, clock_shift, deeper_than

_FLAT = frozenset((ga4.COLLECT, *snowplow.PATHS, *pixel.PATHS))
"""Paths whose events are forms, also where they are kept as JSON: a dot in a name is a part of it."""
_SNOWPLOW_SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"


def examine_vendors(letter: StoredLetter, repairs: Repairs, now: datetime) -> Examined:
    """As `deadletter.examine`, of a letter in a vendor's form; no payload makes it raise.

    Repairs name the fields of the payload, see `field_paths`. They are done to a letter that does not pass; to one
    that was rejected for its time and passes by now, only the shift. An event is as old as it says, by a clock that is
    repaired where the payload tells when it was sent.
    """
    letter = msgspec.structs.replace(letter, split=letter.split or repairs.split)
    try:
        payload = letter.body()
    except InvalidEvent as error:
        return Examined(letter, [], [Refused(error, letter.payload.encode("utf-8", "replace"))], 0)
    good, refused = _read(letter, payload, now)
    if good and not refused:
        repairs = Repairs(shift_s=repairs.shift_s if letter.field == "timestamp" else 0.0)
    mended = _mended(letter, payload, repairs)
    if mended == letter:
        return Examined(letter, good, refused, 0)
    good, refused = _read(mended, mended.body(), now)
    return Examined(mended, good, refused, 1)


# ---- reading ---------------------------------------------------------------------------------------------------


def _read(letter: StoredLetter, payload: bytes, now: datetime) -> tuple[list[Event], list[Refused]]:
    """Its events that pass the contract, and those that do not, as the vendor has them."""
    received_at = letter.received(now)
    try:
        reading = _reading(letter.origin(), payload, received_at)
    except InvalidEvent as error:
        return [], [Refused(error, payload)]
    good: list[Event] = []
    refused: list[Refused] = []
    for translated in reading.events:
        try:
            events = _accepted(translated, reading, received_at, letter.shift_s)
            for event in events:
                letter.check_proven(event)
            good += [msgspec.structs.replace(event, ingest_time=now) for event in events]
            keep_consent(events, letter.consent())
        except InvalidEvent as error:
            alone = len(reading.events) == 1
            refused.append(Refused(error, payload if alone else _source(translated)))
    return good, refused


def _reading(origin: Mapping[str, str], payload: bytes, received_at: datetime) -> Reading:
    name, path = origin.get("protocol", ""), origin.get("path", "")
    route = ROUTES.get(path)
    if route is None or route.name != name:
        raise InvalidEvent("protocol", "expected one that the collector has, and its path", f"{name} {path}")
    return route.protocol.read(_incoming(name, path, payload, received_at))


def _accepted(translated: Translated, reading: Reading, received_at: datetime, shift_s: float) -> list[Event]:
    """All that the vendor's event stands for, or nothing."""
    if translated.error is not None:
        raise translated.error
    if abs(shift_s) > MAX_SHIFT_S:
        raise InvalidEvent("shift_s", f"expected at most {MAX_SHIFT_S:.0f} s either way", shift_s)
    repaired = None if reading.history else clock_shift(translated.sent_at or reading.sent_at, received_at)
    shift = (repaired or timedelta()) + timedelta(seconds=shift_s)
    return [
        accept_event(dict(fact), ingest_time=received_at, shift=shift or None, backfill=True)
        for fact in translated.facts
    ]


def _source(translated: Translated) -> bytes:
    """The vendor's event alone, of a payload that holds several."""
    source = translated.source
    return source if isinstance(source, bytes) else msgspec.json.encode(source)


# ---- a request around an event ---------------------------------------------------------------------------------


def _incoming(name: str, path: str, payload: bytes, received_at: datetime) -> Incoming:
    """The request that would have brought the payload, and nothing else."""
    value = _json(payload)
    if path == ga4.COLLECT and isinstance(value, dict):
        return Incoming("POST", path, urlencode(value), {}, b"", received_at)
    if path in pixel.PATHS or (name == "snowplow" and not _is_json(payload)):
        return Incoming("GET", path, payload.decode("latin-1"), {}, b"", received_at)
    wrap = _WRAPS.get(name)
    body = payload if value is None or wrap is None else msgspec.json.encode(wrap(path, value))
    return Incoming("POST", path, "", {}, body, received_at)


def _in_a_batch(path: str, value: Any) -> Any:
    return value if path not in segment.BATCHES or _has(value, "batch") else {"batch": [value]}


def _in_payload_data(path: str, value: Any) -> Any:
    return value if _has(value, "schema", "data") else {"schema": _SNOWPLOW_SCHEMA, "data": [value]}


def _in_events(path: str, value: Any) -> Any:
    return value if _has(value, "events", "api_key") else {"events": [value]}


def _has(value: Any, *names: str) -> bool:
    """Whether it is a whole request already: an event has none of the names."""
    return isinstance(value, dict) and not value.keys().isdisjoint(names)


_WRAPS: Mapping[str, Callable[[str, Any], Any]] = {
    "segment": _in_a_batch,
    "snowplow": _in_payload_data,
    "amplitude": _in_events,
}
"""Of GA4 the letter has the body around its one event, and Mixpanel takes an event as it is."""


def _is_json(payload: bytes) -> bool:
    return payload.lstrip()[:1] in (b"{", b"[")


def _json(payload: bytes) -> Any:
    """The object or list; None for what is none, or deeper than any protocol reads."""
    try:
        value = msgspec.json.decode(payload) if _is_json(payload) else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return None if deeper_than(value, MAX_DEPTH + 3) else value


# ---- repairs ---------------------------------------------------------------------------------------------------


def _mended(letter: StoredLetter, payload: bytes, repairs: Repairs) -> StoredLetter:
    """The same letter where there was nothing to mend; what is neither JSON nor a form has nothing."""
    shifted = msgspec.structs.replace(letter, shift_s=letter.shift_s + repairs.shift_s)
    flat = letter.origin().get("path") in _FLAT
    in_json = _is_json(payload) or not flat
    read, written = (_json, msgspec.json.encode) if in_json else (_form, _form_of)
    before, after = read(payload), read(payload)
    if before:
        _change(after, repairs, flat)
    if after == before:
        return shifted
    return msgspec.structs.replace(shifted, payload=written(after).decode(), encoding="utf-8")


def _form(payload: bytes) -> dict[str, str]:
    """The fields of a query or a form; none of what is several lines, or no text."""
    try:
        text = payload.decode().strip()
        return {} if "\n" in text else dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except ValueError:
        return {}


def _form_of(fields: Mapping[str, Any]) -> bytes:
    return urlencode(fields).encode()


def _change(value: Any, repairs: Repairs, flat: bool) -> None:
    """Do the repairs, in the order that they have in `Repairs`; the readers take a number written as a text."""
    for old, new in repairs.rename:
        _rename(value, old, new, flat)
    for field in repairs.drop:
        field_paths.take(value, field, flat=flat)
    for field, text in repairs.assign:
        field_paths.put(value, field, text, flat=flat)
    for field in repairs.number:
        given = field_paths.get(value, field, flat=flat)
        number = number_of(given) if isinstance(given, str) and not flat else None
        if number is not None:
            field_paths.put(value, field, number)


def _rename(value: Any, old: str, new: str, flat: bool) -> None:
    """Nothing is lost: a new name that is taken, or that nothing can hold, leaves the old one in place."""
    given, taken = field_paths.get(value, old, flat=flat), field_paths.get(value, new, flat=flat)
    if given is not None and taken is None and field_paths.put(value, new, given, flat=flat):
        field_paths.take(value, old, flat=flat)
