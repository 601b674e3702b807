"""The event contract: what a client may send, and the one way to read and write it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeGuard

import msgspec

from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA
from pipeline.core.vocabulary import PRODUCT_EVENTS

MAX_ID_LENGTH = 256
MAX_TEXT_LENGTH = 256
MAX_NUMBER = 1e15
MAX_DEPTH = 32
MAX_EVENTS = 500
"""Of one request of our own protocol, and of one message to Pub/Sub."""
MAX_EVENT_BYTES = 64 * 1024
MAX_CONTAINERS = 20_000
"""Objects and lists in one request: each may be of two bytes, and costs a microsecond."""
MAX_VALUES = 75_000
"""Values in one request, objects and lists included."""
MESSAGE_TIMES = 2
"""So many times as many may be in one message: an order becomes several events, and the collector
adds to each."""
MAX_ESCAPED_HALVES = 20_000
"""Escapes of the kind that two of stand for one character: the half ones among them are mended, at
0.3 us each."""
MAX_LONG_NUMBERS = 500
"""Of a hundred digits, or of an exponent of three: what turns text into numbers takes 10 us for
each of them."""
MAX_AGE = timedelta(hours=48)
MAX_AHEAD = timedelta(minutes=5)
CLOCK_TOLERANCE = timedelta(seconds=60)
"""A client clock this close to ours is believed: a retry must not move timestamps by its own
delay."""

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


class InvalidEvent(ValueError):
    """An event that breaks the contract: which field, what was expected, and the offending
    value."""

    def __init__(self, field: str, reason: str, value: Any = None) -> None:
        self.field = field
        self.reason = reason
        self.value = _shown(value)
        super().__init__(
            f"{field}: {reason}, got {'nothing' if self.value is None else self.value}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.field, self.reason, self.value))

    def as_dict(self) -> dict[str, str | None]:
        """`{"field", "reason", "value"}`, ready for an HTTP answer; `value` is None where there was
        none.
        """
        return {"field": self.field, "reason": self.reason, "value": self.value}


class TooMuch(InvalidEvent):
    """More than a request may hold, or would become: its sender has to split it."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing a visitor did.

    `timestamp` is event time (UTC), `ingest_time` is when the collector had it.
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

        What is kept of an event (profiles, row keys of trending scopes) is bounded by this cut; the
        log has it whole.
        """
        value = self.metadata.get(key)
        return value[:MAX_TEXT_LENGTH] if isinstance(value, str) else ""

    def number(self, key: str, default: float = 0.0) -> float:
        """The finite number under `metadata[key]`, or `default`."""
        value = self.metadata.get(key)
        return float(value) if _is_finite_number(value) else default


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
_TIMES = ("timestamp", "ingest_time")
_TEXTS = ("event_id", "event", "user_id", "anonymous_id", "session_id", "product_id")
_message_decoder = msgspec.json.Decoder(Message)
_any_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def identity_of(event_id: str, event: str, product_id: str | None) -> str:
    """The identity of an event of a visitor, by which it is the same one when it comes again: id,
    name and product.

    Not the id alone: the id of a purchase follows from the order's number, and an event that says
    something else must not take its place. No field of an event holds the line break between them.
    """
    return f"{event_id}\n{event}\n{product_id or ''}"


def profile_key(event: Event) -> str:
    """The key whose profile the event belongs to: `u#<user_id>`, or `a#<anonymous_id>` before a
    login.
    """
    return f"u#{event.user_id}" if event.user_id else f"a#{event.anonymous_id}"


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
    user_id, anonymous_id = (
        _optional_text(fields, "user_id"),
        _optional_text(fields, "anonymous_id"),
    )
    if user_id is None and anonymous_id is None:
        raise InvalidEvent("user_id", "expected user_id or anonymous_id", None)
    product_id = _optional_text(fields, "product_id")
    if product_id is None and event in PRODUCT_EVENTS:
        raise InvalidEvent("product_id", f"required for {event}", None)
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
    """The event as `accept_event` makes it, or None where that may have something to say about it.

    The metadata is the wire's own, not a copy.
    """
    timestamp, user_id, anonymous_id = wire.timestamp, wire.user_id, wire.anonymous_id
    if timestamp.tzinfo is None or (user_id is None and anonymous_id is None):
        return None
    if wire.product_id is None and wire.event in PRODUCT_EVENTS:
        return None
    for text in (
        wire.event_id,
        wire.event,
        user_id,
        anonymous_id,
        wire.session_id,
        wire.product_id,
    ):
        if text is not None and not (0 < len(text) <= MAX_ID_LENGTH and text.isprintable()):
            return None
    try:
        timestamp = (
            timestamp.astimezone(UTC) if shift is None else timestamp.astimezone(UTC) + shift
        )
        _check_time(timestamp, ingest_time, False)
        _check_metadata(wire.metadata)
    except (InvalidEvent, OverflowError):
        return None
    return Event(
        event_id=wire.event_id,
        event=wire.event,
        timestamp=timestamp,
        user_id=user_id,
        anonymous_id=anonymous_id,
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
    return hashlib.blake2b(msgspec.json.encode(content, order="sorted"), digest_size=16).hexdigest()


def clock_shift(sent_at: datetime | None, ingest_time: datetime) -> timedelta | None:
    """Correction of a client's timestamps: the difference of the clocks where it exceeds
    `CLOCK_TOLERANCE`.
    """
    if sent_at is None:
        return None
    skew = ingest_time - sent_at
    return skew if abs(skew) > CLOCK_TOLERANCE else None


def parse_time(field: str, value: Any) -> datetime:
    """An RFC 3339 text with a zone, as a UTC datetime.

    Raises:
        InvalidEvent: for anything else, naming `field`.
    """
    try:
        parsed = msgspec.convert(value, datetime, strict=True)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise InvalidEvent(field, "expected an RFC 3339 time with a zone", value) from None
    if parsed.tzinfo is None:
        raise InvalidEvent(field, "expected an RFC 3339 time with a zone", value)
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent(field, "expected an RFC 3339 time with a zone", value) from None


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. `2025-01-01T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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


class Work(msgspec.Struct, frozen=True):
    """The parts of JSON that cost more than their bytes: 1 MB of `[1],[1],` takes 0.3 s to parse.

    Every comma, bracket and brace is counted, also within texts: an upper bound, in about a
    millisecond a megabyte. The values are with the objects and lists among them.
    """

    containers: int = 0
    values: int = 0
    escaped_halves: int = 0
    long_numbers: int = 0

    @staticmethod
    def of(json: bytes) -> Work:
        """Of a whole request or message."""
        containers = json.count(b"[") + json.count(b"{")
        escaped_halves = json.count(rb"\ud") + json.count(rb"\uD")
        return Work(containers, containers + json.count(b","), escaped_halves, _long_numbers(json))

    def __add__(self, other: Work) -> Work:
        return Work(
            self.containers + other.containers,
            self.values + other.values,
            self.escaped_halves + other.escaped_halves,
            self.long_numbers + other.long_numbers,
        )

    def check(self, field: str = "body", times: int = 1) -> None:
        """See `check_work`."""
        most_containers, most_values = times * MAX_CONTAINERS, times * MAX_VALUES
        if self.containers > most_containers:
            raise TooMuch(
                field, f"expected at most {most_containers} objects and lists", self.containers
            )
        if self.values > most_values:
            raise TooMuch(field, f"expected at most {most_values} values", self.values)
        if self.escaped_halves > MAX_ESCAPED_HALVES:
            raise TooMuch(field, f"expected at most {MAX_ESCAPED_HALVES} escaped surrogates", None)
        if self.long_numbers > MAX_LONG_NUMBERS:
            expected = (
                f"expected at most {MAX_LONG_NUMBERS} numbers of 100 digits or an exponent of 3"
            )
            raise TooMuch(field, expected, None)

    @property
    def fits(self) -> bool:
        """True where a request may hold as much, and so a message."""
        try:
            self.check()
        except TooMuch:
            return False
        return True


def check_work(json: bytes, field: str = "body", times: int = 1) -> None:
    """Refuse JSON that would take long for its size, before it is parsed.

    Args:
        json: a whole request or message; a short one is not counted.
        field: its name.
        times: so many times as many objects, lists and values may be in it.

    Raises:
        TooMuch: naming `field`, above `MAX_CONTAINERS`, `MAX_VALUES`, `MAX_ESCAPED_HALVES` or
            `MAX_LONG_NUMBERS`.
    """
    if len(json) > MAX_CONTAINERS:
        Work.of(json).check(field, times)


def check_event_size(event: Any, field: str = "body") -> None:
    """Refuse an event that weighs too much; what came as JSON of its own is measured there.

    Raises:
        InvalidEvent: naming `field`, above `MAX_EVENT_BYTES` of JSON.
    """
    size = len(_encoder.encode(event))
    if size > MAX_EVENT_BYTES:
        raise InvalidEvent(field, f"expected at most {MAX_EVENT_BYTES} bytes an event", size)


def _long_numbers(json: bytes) -> int:
    """Their number, counted no further than just above `MAX_LONG_NUMBERS` of one kind.

    The few that look like long exponents count as such; where there are many it is worth a closer
    look.
    """
    plain = json.translate(_DIGITS_ALIKE, b"+-")
    hundreds, exponents = plain.count(_HUNDRED_DIGITS), plain.count(b"0e000")
    if exponents <= MAX_LONG_NUMBERS:
        return hundreds + exponents
    found = islice(_LONG_EXPONENT.finditer(plain), MAX_LONG_NUMBERS + 1)
    return hundreds + sum(1 for _ in found)


_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_EXPONENT = re.compile(rb"0e0{3,}[\s,\]}]")
_HUNDRED_DIGITS = b"0" * 100


def deeper_than(value: Any, limit: int) -> bool:
    """True where objects and lists nest more than `limit` levels; without recursion, for the
    nesting is not trusted.
    """
    level = [value] if type(value) in _NESTING else []
    for _ in range(limit):
        if not level:
            return False
        children = [node.values() if type(node) is dict else node for node in level]
        level = [
            child
            for nodes in children
            if not _NESTING.isdisjoint(map(type, nodes))
            for child in nodes
            if type(child) in _NESTING
        ]
    return bool(level)


_NESTING = frozenset((dict, list))


def _check_decoded(event: Event) -> None:
    """Check what the types do not.

    A publisher may skip the collector, and must not stop the stream.
    """
    for name in _TIMES:
        moment = getattr(event, name)
        if moment is not None and (moment.tzinfo is None or not _EARLIEST <= moment < _LATEST):
            raise InvalidEvent(
                name, "expected a time with a zone in 2000 to 2100", moment.isoformat()
            )
    for name in _TEXTS:
        _check_text(name, getattr(event, name))
    if event.user_id is None and event.anonymous_id is None:
        raise InvalidEvent("user_id", "expected user_id or anonymous_id", None)
    if event.product_id is None and event.event in PRODUCT_EVENTS:
        raise InvalidEvent("product_id", f"required for {event.event}", None)
    _check_metadata(event.metadata)


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
        raise InvalidEvent(name, "required", None)
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
            raise InvalidEvent(
                f"metadata.{name}",
                f"expected at most {MAX_DEPTH} levels of nesting in an event",
                None,
            )


def _check_number(name: str, value: Any) -> None:
    if not _is_finite_number(value):
        raise InvalidEvent(f"metadata.{name}", "expected a finite number", value)
    if not 0 <= value <= MAX_NUMBER:
        raise InvalidEvent(f"metadata.{name}", f"expected a number of 0 to {MAX_NUMBER:.0e}", value)


def _is_finite_number(value: Any) -> TypeGuard[int | float]:
    """True for a number that a float can hold; JSON may hold an integer of thousands of digits."""
    try:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        )
    except OverflowError:
        return False


def _check_time(timestamp: datetime, ingest_time: datetime, backfill: bool) -> None:
    if timestamp - ingest_time > MAX_AHEAD:
        raise InvalidEvent(
            "timestamp", "expected at most 5 min after ingest", format_time(timestamp)
        )
    if backfill:
        if not _EARLIEST <= timestamp < _LATEST:
            raise InvalidEvent(
                "timestamp", "expected a time in 2000 to 2100", format_time(timestamp)
            )
    elif ingest_time - timestamp > MAX_AGE:
        raise InvalidEvent(
            "timestamp", "expected at most 48 h before ingest", format_time(timestamp)
        )


def _shifted(timestamp: Any, shift: timedelta) -> datetime:
    try:
        return parse_time("timestamp", timestamp) + shift
    except OverflowError:
        raise InvalidEvent("timestamp", "expected a time near that of ingest", timestamp) from None


def _beginning(value: Any) -> str:
    """A value as JSON, no more of it than is shown: it may be a megabyte."""
    text = ""
    for part in _shown_encoder.iterencode(value):
        text += part
        if len(text) > MAX_SHOWN:
            break
    return text


MAX_SHOWN = 80
_shown_encoder = json.JSONEncoder(ensure_ascii=False, default=repr)


def _shown(value: Any) -> str | None:
    """A short form of an offending value: a text as it is, bytes that are no text in base64, all
    else as JSON.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        text = value[:80].decode("utf-8", "ignore")
        value = text if text.isprintable() and text else base64.b64encode(value[:64]).decode()
    try:
        text = value if isinstance(value, str) else _beginning(value)
    except (TypeError, ValueError, RecursionError):
        # an integer of thousands of digits, a list a thousand deep
        text = f"unprintable {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
