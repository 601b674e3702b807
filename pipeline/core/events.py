"""The event contract: what a client may send, and the one way to read and write it."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

import msgspec

from pipeline.core.event_types import PRODUCT_EVENTS
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import MAX_DEPTH, MESSAGE_TIMES, check_work, deeper_than
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA
from pipeline.core.timestamps import format_time, parse_time

MAX_ID_LENGTH = 256
MAX_TEXT_LENGTH = 256
MAX_NUMBER = 1e15
MAX_EVENTS = 500
"""Of one request of our own protocol, and of one message to Pub/Sub."""
MAX_EVENT_BYTES = 64 * 1024
MAX_AGE = timedelta(hours=48)
MAX_AHEAD = timedelta(minutes=5)
CLOCK_TOLERANCE = timedelta(seconds=60)
"""A client clock this close to ours is believed: a retry must not move timestamps by its own
delay."""

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One action of a visitor.

    `timestamp` is event time (UTC), `ingest_time` is when the collector received it.
    """

    event_id: str
    event: str
    timestamp: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    product_id: str | None = None
    ingest_time: datetime | None = None
    metadata: dict[str, Any] = {}

    @property
    def time_ms(self) -> int:
        """Event time in whole milliseconds since the Unix epoch, cut as the log cuts it."""
        since = self.timestamp - _UNIX_EPOCH
        return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000

    @property
    def identity(self) -> str:
        """Equal for two events of one visitor that are the same one, see `identity_of`."""
        return identity_of(self.event_id, self.event, self.product_id)

    def text(self, key: str) -> str:
        """The first 256 characters of the text under `metadata[key]`, or the empty string.

        This cut bounds profiles and the row keys of trending scopes; the log has the whole text.
        """
        value = self.metadata.get(key)
        return value[:MAX_TEXT_LENGTH] if isinstance(value, str) else ""

    def number(self, key: str, default: float = 0.0) -> float:
        """The finite number under `metadata[key]`, or `default`."""
        value = self.metadata.get(key)
        return float(value) if value is not None and _is_finite_number(value) else default


class WireEvent(msgspec.Struct, forbid_unknown_fields=True):
    """An event as most clients write it: nothing missing, nothing beside the contract's fields.

    Read straight from JSON, it takes the collector 10 us in place of the 16 us of an event that is
    read as an object (`make bench`, `step_event_read_typed`). An event that does not fit, or that
    `accept_wire` does not accept, is left to `accept_event`.
    """

    event_id: str
    event: str
    timestamp: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    product_id: str | None = None
    metadata: dict[str, Any] = {}


class Message(msgspec.Struct, frozen=True):
    """The body of one Pub/Sub message: the accepted events of one request."""

    events: list[Event]


_FIELDS = frozenset(Event.__struct_fields__)
_message_decoder = msgspec.json.Decoder(Message)
_any_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def identity_of(event_id: str, event: str, product_id: str | None) -> str:
    """Id, name and product: a visitor's event with the same three is a duplicate.

    Not the id alone: the id of a purchase follows from the order's number, and another event with
    that id must not take its place. No field of an event holds the line break between them.
    """
    return f"{event_id}\n{event}\n{product_id or ''}"


def parse_event(
    raw: dict[str, Any] | bytes, *, ingest_time: datetime, backfill: bool = False
) -> Event:
    """Read one untrusted event.

    Unknown top-level fields are kept under `metadata`. A live event's timestamp lies within [-48 h,
    +5 min] of `ingest_time`; a backfilled one anywhere in 2000 to 2100, but not after `ingest_time`
    + 5 min.

    Raises:
        InvalidEvent: naming field, expectation and value.
    """
    fields = _as_object(raw)
    event = _required_text(fields, "event")
    timestamp = parse_time("timestamp", fields.get("timestamp"))
    _check_time(timestamp, ingest_time, backfill)
    user_id = _optional_text(fields, "user_id")
    anonymous_id = _optional_text(fields, "anonymous_id")
    _check_visitor(user_id, anonymous_id)
    product_id = _optional_text(fields, "product_id")
    _check_product(event, product_id)
    return Event(
        event_id=_required_text(fields, "event_id"),
        event=event,
        timestamp=timestamp,
        user_id=user_id,
        anonymous_id=anonymous_id,
        session_id=_optional_text(fields, "session_id"),
        product_id=product_id,
        ingest_time=ingest_time,
        metadata=_metadata(fields),
    )


def accept_event(
    fields: dict[str, Any],
    *,
    ingest_time: datetime,
    shift: timedelta | None = None,
    backfill: bool = False,
) -> Event:
    """`parse_event`, for events from clients: a missing id is derived, a wrong clock repaired.

    Args:
        fields: the event as the client wrote it; what is derived or repaired is written into it.
        ingest_time, backfill: as for `parse_event`.
        shift: what the client's clock is behind, of `clock_shift`.

    Raises:
        InvalidEvent: naming field, expectation and value.
    """
    if fields.get("event_id") is None:
        fields["event_id"] = derived_event_id(fields)
    if shift is not None:
        fields["timestamp"] = _shifted(fields.get("timestamp"), shift)
    return parse_event(fields, ingest_time=ingest_time, backfill=backfill)


def accept_wire(
    wire: WireEvent, *, ingest_time: datetime, shift: timedelta | None = None
) -> Event | None:
    """The event as `accept_event` makes it, or None where `accept_event` may reject it.

    The metadata is the wire's own, not a copy.
    """
    if wire.timestamp.tzinfo is None:
        return None
    try:
        timestamp = wire.timestamp.astimezone(UTC)
        if shift is not None:
            timestamp += shift
        _check_time(timestamp, ingest_time, backfill=False)
        _check_content(wire)
    except (InvalidEvent, OverflowError):
        return None
    return Event(
        event_id=wire.event_id,
        event=wire.event,
        timestamp=timestamp,
        user_id=wire.user_id,
        anonymous_id=wire.anonymous_id,
        session_id=wire.session_id,
        product_id=wire.product_id,
        ingest_time=ingest_time,
        metadata=wire.metadata,
    )


def derived_event_id(fields: dict[str, Any]) -> str:
    """32 hexadecimal digits that depend on the event's content alone, in any order of its keys.

    The same event sent again gets the same id. So do two events that differ in nothing, not even in
    their timestamp: a client that can produce those must number its events itself.
    """
    content = {name: value for name, value in fields.items() if value is not None}
    sorted_json = msgspec.json.encode(content, order="sorted")
    return hashlib.blake2b(sorted_json, digest_size=16).hexdigest()


def clock_shift(sent_at: datetime | None, ingest_time: datetime) -> timedelta | None:
    """Correction of a client's timestamps: the difference of the clocks where it exceeds
    `CLOCK_TOLERANCE`.
    """
    if sent_at is None:
        return None
    skew = ingest_time - sent_at
    return skew if abs(skew) > CLOCK_TOLERANCE else None


def encode_message(events: list[Event]) -> bytes:
    """The Pub/Sub body `{"events": [...]}` of accepted events."""
    return _encoder.encode(Message(events))


def decode_message(data: bytes) -> list[Event]:
    """The events of a Pub/Sub body that the collector wrote.

    Raises:
        InvalidEvent: field `body` when the bytes are no such message.
    """
    check_work(data, times=MESSAGE_TIMES)
    try:
        events = _message_decoder.decode(data).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidEvent("body", f"expected a message of events ({error})", data) from None
    for event in events:
        _check_decoded(event)
    return events


def check_event_size(event: Any, field: str = "body") -> None:
    """Reject an event that is too large; the raw bytes of one that came as JSON are measured there.

    Raises:
        InvalidEvent: naming `field`, above `MAX_EVENT_BYTES` of JSON.
    """
    size = len(_encoder.encode(event))
    if size > MAX_EVENT_BYTES:
        raise InvalidEvent(field, f"expected at most {MAX_EVENT_BYTES} bytes an event", size)


def _check_decoded(event: Event) -> None:
    """Check what the types do not.

    A publisher may skip the collector, and must not stop the stream.
    """
    _check_moment("timestamp", event.timestamp)
    if event.ingest_time is not None:
        _check_moment("ingest_time", event.ingest_time)
    _check_content(event)


def _check_moment(name: str, moment: datetime) -> None:
    if moment.tzinfo is None or not _EARLIEST <= moment < _LATEST:
        expected = "expected a time with a zone in 2000 to 2100"
        raise InvalidEvent(name, expected, moment.isoformat())


def _check_content(event: Event | WireEvent) -> None:
    """Check all but the times."""
    _check_text("event_id", event.event_id)
    _check_text("event", event.event)
    _check_text("user_id", event.user_id)
    _check_text("anonymous_id", event.anonymous_id)
    _check_text("session_id", event.session_id)
    _check_text("product_id", event.product_id)
    _check_visitor(event.user_id, event.anonymous_id)
    _check_product(event.event, event.product_id)
    _check_metadata(event.metadata)


def _check_visitor(user_id: str | None, anonymous_id: str | None) -> None:
    if user_id is None and anonymous_id is None:
        raise InvalidEvent("user_id", "expected user_id or anonymous_id")


def _check_product(event: str, product_id: str | None) -> None:
    if product_id is None and event in PRODUCT_EVENTS:
        raise InvalidEvent("product_id", f"required for {event}")


def _as_object(raw: dict[str, Any] | bytes) -> dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    if not isinstance(raw, bytes):
        raise InvalidEvent("event", "expected a JSON object", raw)
    try:
        value = _any_decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("body", f"expected JSON ({error})", raw) from None
    if not isinstance(value, dict):
        raise InvalidEvent("event", "expected a JSON object", value)
    return value


def _required_text(fields: dict[str, Any], name: str) -> str:
    text = _optional_text(fields, name)
    if text is None:
        raise InvalidEvent(name, "required")
    return text


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEvent(name, "expected a text", value)
    _check_text(name, value)
    return value


def _check_text(name: str, value: str | None) -> None:
    if value is not None and not (0 < len(value) <= MAX_ID_LENGTH and value.isprintable()):
        raise InvalidEvent(name, f"expected 1 to {MAX_ID_LENGTH} printable characters", value)


def _metadata(fields: dict[str, Any]) -> dict[str, Any]:
    metadata = fields.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise InvalidEvent("metadata", "expected an object", metadata)
    extra = {name: value for name, value in fields.items() if name not in _FIELDS}
    merged = {**extra, **metadata} if extra else metadata
    _check_metadata(merged)
    return merged


def _check_metadata(metadata: dict[str, Any]) -> None:
    for name, value in metadata.items():
        if name in NUMBER_METADATA and value is not None:
            _check_number(name, value)
        elif name in TEXT_METADATA and value is not None and not isinstance(value, str):
            raise InvalidEvent(f"metadata.{name}", "expected a text", value)
        elif isinstance(value, (dict, list)) and deeper_than(value, MAX_DEPTH - 2):
            # Far above need, far below where the encoder of the log gives up; the event and its
            # metadata are two.
            expected = f"expected at most {MAX_DEPTH} levels of nesting in an event"
            raise InvalidEvent(f"metadata.{name}", expected)


def _check_number(name: str, value: Any) -> None:
    if not _is_finite_number(value):
        raise InvalidEvent(f"metadata.{name}", "expected a finite number", value)
    if not 0 <= value <= MAX_NUMBER:
        raise InvalidEvent(f"metadata.{name}", f"expected a number of 0 to {MAX_NUMBER:.0e}", value)


def _is_finite_number(value: Any) -> TypeGuard[int | float]:
    """True for a number that a float can hold; JSON may hold an integer of thousands of digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _check_time(timestamp: datetime, ingest_time: datetime, backfill: bool) -> None:
    if timestamp - ingest_time > MAX_AHEAD:
        expected = "expected at most 5 min after ingest"
    elif backfill and not _EARLIEST <= timestamp < _LATEST:
        expected = "expected a time in 2000 to 2100"
    elif not backfill and ingest_time - timestamp > MAX_AGE:
        expected = "expected at most 48 h before ingest"
    else:
        return
    raise InvalidEvent("timestamp", expected, format_time(timestamp))


def _shifted(timestamp: Any, shift: timedelta) -> datetime:
    try:
        return parse_time("timestamp", timestamp) + shift
    except OverflowError:
        raise InvalidEvent("timestamp", "expected a time near that of ingest", timestamp) from None
