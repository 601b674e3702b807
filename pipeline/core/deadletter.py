"""What becomes of input that breaks the contract: kept whole, with the reason, ready to be mended and replayed."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from pipeline.core.consent import FIELD, Consent
from pipeline.core.events import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MESSAGE_TIMES,
    Event,
    InvalidEvent,
    Work,
    accept_event,
    check_work,
    derived_event_id,
    encode_message,
    format_time,
    parse_time,
)
from pipeline.core.metadata_fields import NUMBER_METADATA
from pipeline.core.user_tokens import USER_TOKEN

MAX_MESSAGE_BYTES = 1024 * 1024
MAX_SHIFT_S = 10 * 365 * 86_400.0
ADDED_BYTES = 256
"""What the collector adds to an event that it accepts: the time of ingest, and an id where there was none."""

NATIVE = "native"

T = TypeVar("T")
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_ORIGIN = ("site", "sender", "protocol", "path", "consent", "unproven")
_object_decoder = msgspec.json.Decoder(dict[str, Any])


class DeadLetter(msgspec.Struct, frozen=True):
    """One rejected event or body. The fields are the columns of the table `dead_letters`, times as RFC 3339.

    `payload` is the input as text when it is UTF-8 (`encoding` "utf-8"), else in base64 (`encoding` "base64").
    """

    received_at: str
    source: str
    field: str
    reason: str
    payload: str
    encoding: str
    attributes: str

    @staticmethod
    def of(
        payload: bytes, error: InvalidEvent, source: str, received_at: datetime, attributes: Mapping[str, str]
    ) -> DeadLetter:
        """The letter for `payload`, rejected by `source` ("collector" or "pipeline") because of `error`."""
        text, encoding = _as_text(payload)
        return DeadLetter(
            received_at=format_time(received_at),
            source=source,
            field=error.field,
            reason=error.reason,
            payload=text,
            encoding=encoding,
            attributes=msgspec.json.encode(dict(attributes)).decode(),
        )

    @staticmethod
    def received(payload: bytes, attributes: Mapping[str, str], now: datetime) -> DeadLetter:
        """The letter that a message of the dead-letters topic is: the input as data, the reason as attributes.

        `now` stands in for a `received_at` that is missing or no time.
        """
        error = InvalidEvent(attributes.get("field", "unknown"), attributes.get("reason", "unknown"))
        try:
            received_at = parse_time("received_at", attributes.get("received_at"))
        except InvalidEvent:
            received_at = now
        return DeadLetter.of(payload, error, attributes.get("source", "unknown"), received_at, attributes)

    def row(self) -> dict[str, Any]:
        """The row of the BigQuery table."""
        return msgspec.structs.asdict(self)


class StoredLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A letter in an operator's hands: a row of the view `dead_letters_unique`, a line of an exported file.

    `split` says that the good events of a body may be replayed without the bad ones, `shift_s` what to add to the
    timestamps of a vendor's events: in their own form that cannot be written down.
    """

    letter_id: str
    received_at: str
    source: str = "unknown"
    field: str = "unknown"
    reason: str = "unknown"
    split: bool = False
    shift_s: float = 0.0
    encoding: str = "utf-8"
    payload: str
    attributes: str = "{}"

    def body(self) -> bytes:
        """The input as it came.

        Raises:
            InvalidEvent: field `encoding` or `payload`, when the one does not fit the other.
        """
        if self.encoding not in ("utf-8", "base64"):
            raise InvalidEvent("encoding", "expected utf-8 or base64", self.encoding)
        try:
            return self.payload.encode() if self.encoding == "utf-8" else base64.b64decode(self.payload, validate=True)
        except ValueError:
            raise InvalidEvent("payload", f"expected text in {self.encoding}", self.payload) from None

    def protocol(self) -> str:
        """Whose form the payload has: `native`, or a vendor's of `functions.routes.PROTOCOLS`."""
        return self.origin().get("protocol", NATIVE)

    def origin(self) -> dict[str, str]:
        """`protocol`, `path`, `site`, `sender`, `consent` and `unproven`, as far as the attributes tell them."""
        try:
            attributes = _object_decoder.decode(self.attributes)
        except _UNREADABLE:
            return {}
        return {name: str(value) for name in _ORIGIN if (value := attributes.get(name))}

    def consent(self) -> Any:
        """What the collector found that the visitor agreed to; None: to everything, or nobody said."""
        stated = self.origin().get("consent")
        try:
            return None if stated is None else _object_decoder.decode(stated)
        except _UNREADABLE:
            return {}

    def check_proven(self, event: Event) -> None:
        """A replay must not do for a user id what its sender could not.

        Raises:
            InvalidEvent: field `user_token`, where the event names a user and the letter says that it lacks the proof.
        """
        if event.user_id is not None and "unproven" in self.origin():
            raise InvalidEvent(USER_TOKEN, "expected an event without the user id, which nothing proves", None)

    def received(self, now: datetime) -> datetime:
        """When it was rejected; `now` where that is no time, or still to come."""
        try:
            return min(parse_time("received_at", self.received_at), now)
        except InvalidEvent:
            return now


class Repairs(msgspec.Struct, frozen=True, kw_only=True):
    """What to change in events, in this order. A field is a `name` or a `metadata.name`.

    Attributes:
        rename: (old, new) names; an event that has the new one already keeps both.
        drop: fields to take out.
        assign: (field, text); the text is read as a number where the contract wants one.
        number: fields whose text to read as a number; what is no number stays.
        shift_s: seconds to add to the timestamp.
        split: let a body's good events go without the bad ones.

    Raises:
        ValueError: naming the repair that cannot be done.
    """

    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    assign: tuple[tuple[str, str], ...] = ()
    number: tuple[str, ...] = ()
    shift_s: float = 0.0
    split: bool = False

    def __post_init__(self) -> None:
        if not abs(self.shift_s) <= MAX_SHIFT_S:
            raise ValueError(f"shift: expected at most {MAX_SHIFT_S:.0f} s either way, got {self.shift_s}")
        for field, text in self.assign:
            if _wants_number(field) and number_of(text) is None:
                raise ValueError(f"set: {field}: expected a number, got {text!r}")

    def apply(self, event: dict[str, Any]) -> dict[str, Any]:
        """A mended copy of the event's fields; equal to them where there was nothing to mend."""
        mended = dict(event)
        if isinstance(mended.get("metadata"), dict):
            mended["metadata"] = dict(mended["metadata"])
        for old, new in self.rename:
            _rename(mended, old, new)
        for field in self.drop:
            _take(mended, field)
        for field, text in self.assign:
            _put(mended, field, number_of(text) if _wants_number(field) else text)
        for field in self.number:
            _read_number(mended, field)
        if self.shift_s:
            _shift(mended, self.shift_s)
        return mended


class Refused(NamedTuple):
    """An event that still breaks the contract, as mended."""

    error: InvalidEvent
    payload: bytes


class Examined(NamedTuple):
    """What repairs made of a letter: the letter mended, its events that pass, the others, how many were changed."""

    letter: StoredLetter
    good: list[Event]
    refused: list[Refused]
    changed: int

    @property
    def replayable(self) -> list[Event]:
        """The events to publish: all, or none, or the good ones of a letter that may be split."""
        return self.good if not self.refused or self.letter.split else []

    def remainders(self, now: datetime) -> list[DeadLetter]:
        """A letter for each event that is left behind when the others go, received when the whole was."""
        if not self.refused or not self.replayable:
            return []
        received_at = self.letter.received(now)
        origin = self.letter.origin() | {"split_from": self.letter.letter_id}
        shortened = [(InvalidEvent(e.field[:256], e.reason[:256]), payload) for e, payload in self.refused]
        return [DeadLetter.of(payload, e, self.letter.source, received_at, origin) for e, payload in shortened]


def examine(letter: StoredLetter, repairs: Repairs, now: datetime) -> Examined:
    """Mend a letter and read it again; no payload makes it raise. For those of vendors see `vendor_letters`.

    Events may be as old as a backfill's, but not of a later time than when the letter was rejected: a clock that ran
    ahead then is still wrong. What passes as it is stays as it is, but for the timestamp of an event that was rejected
    for it: that can be shifted. An event without an id gets the one that its content had before it was mended.
    """
    letter = msgspec.structs.replace(letter, split=letter.split or repairs.split)
    received_at = letter.received(now)
    try:
        payload = letter.body()
    except InvalidEvent as error:
        return Examined(letter, [], [Refused(error, letter.payload.encode("utf-8", "replace"))], 0)
    if (protocol := letter.protocol()) != NATIVE:
        reason = "expected an event of ours"
        return Examined(letter, [], [Refused(InvalidEvent("protocol", reason, protocol), payload)], 0)
    try:
        inside, stated = _events_inside(payload)
    except InvalidEvent as error:
        return Examined(letter, [], [Refused(error, payload)], 0)
    before = [payload] if inside is None else inside
    if_it_passes = Repairs(shift_s=repairs.shift_s if inside is None and letter.field == "timestamp" else 0.0)
    read = partial(_read, letter=letter, received_at=received_at)
    after = [_mended(raw, repairs, if_it_passes, read) for raw in before]
    changed = sum(old is not new for old, (new, _) in zip(before, after, strict=True))
    if changed:
        raws = [raw for raw, _ in after]
        text, encoding = _as_text(raws[0] if inside is None else b'{"events":[' + b",".join(raws) + b"]}")
        letter = msgspec.structs.replace(letter, payload=text, encoding=encoding)
    good = [msgspec.structs.replace(found, ingest_time=now) for _, found in after if isinstance(found, Event)]
    keep_consent(good, stated if letter.consent() is None else letter.consent())
    refused = [Refused(found, raw) for raw, found in after if isinstance(found, InvalidEvent)]
    return Examined(letter, good, refused, changed)


def keep_consent(events: Iterable[Event], stated: Any) -> None:
    """Write what a visitor agreed to for a whole request into its events, in place, where they do not say it.

    Args:
        stated: the consent of the letter or of the body around the events; None: nothing. Of what is there only `true`
            grants, as in `consent.stored_consent`.
    """
    if stated is None:
        return
    told = stated if isinstance(stated, dict) else {}
    for event in events:
        own = event.metadata.get(FIELD)
        own = own if isinstance(own, dict) else {}
        event.metadata[FIELD] = {
            name: own[name] if isinstance(own.get(name), bool) else told.get(name) is True
            for name in Consent.__struct_fields__
        }


def parcels(letters: Iterable[Examined]) -> Iterator[list[Examined]]:
    """Letters in lists whose events fill a message, or one letter that has more."""
    return _packed(
        letters, lambda found: _weight(len(found.replayable), found.letter.payload.encode("utf-8", "replace"))
    )


def messages(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Events in lists of up to 500, 1 MB and the work of a request, each to become one Pub/Sub message or request.

    One event that has more work than that is a list of its own, and fits a message if it was examined.
    """
    return _packed(events, lambda event: _weight(1, encode_message([event])))


class _Weight(NamedTuple):
    """The size of a message or of a part of it."""

    events: int
    size_bytes: int
    work: Work

    def plus(self, other: _Weight) -> _Weight:
        return _Weight(self.events + other.events, self.size_bytes + other.size_bytes, self.work + other.work)

    @property
    def fits(self) -> bool:
        return self.events <= MAX_EVENTS and self.size_bytes <= MAX_MESSAGE_BYTES and self.work.fits


def _weight(events: int, json: bytes) -> _Weight:
    return _Weight(events, len(json), Work.of(json))


def _packed(things: Iterable[T], weigh: Callable[[T], _Weight]) -> Iterator[list[T]]:
    batch: list[T] = []
    held = _Weight(0, 0, Work())
    for thing in things:
        more = weigh(thing)
        held = held.plus(more)
        if batch and not held.fits:
            yield batch
            batch, held = [], more
        batch.append(thing)
    if batch:
        yield batch


class _Body(msgspec.Struct):
    """The outer shape of a message or a request. Events stay raw, so that what is not mended stays as it came."""

    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    consent: Any = None


_body_decoder = msgspec.json.Decoder(_Body)


def _events_inside(payload: bytes) -> tuple[list[bytes] | None, Any]:
    """The events of a body and the consent beside them; no list where the payload is one event itself."""
    try:
        body = _body_decoder.decode(payload)
    except _UNREADABLE as error:
        raise InvalidEvent("body", f"expected an event or a body of events as a JSON object ({error})") from None
    if isinstance(body.events, msgspec.UnsetType):
        return None, None
    if not body.events:
        raise InvalidEvent("events", "expected at least one event", "none")
    return [bytes(event) for event in body.events], body.consent


def _mended(
    raw: bytes, repairs: Repairs, if_it_passes: Repairs, read: Callable[[bytes], Event | InvalidEvent]
) -> tuple[bytes, Event | InvalidEvent]:
    """The event's bytes after repairs (the same object where nothing changed), and what they read as."""
    try:
        fields = _fields(raw)
        found = read(raw)
        mended = (if_it_passes if isinstance(found, Event) else repairs).apply(fields)
        if mended == fields:
            return raw, found
        if mended.get("event_id") is None:
            mended["event_id"] = derived_event_id(fields)
        changed = msgspec.json.encode(mended)
    except InvalidEvent as error:
        return raw, error
    except _UNREADABLE as error:
        return raw, InvalidEvent("body", f"expected what JSON can hold ({type(error).__name__})")
    return changed, read(changed)


def _read(raw: bytes, letter: StoredLetter, received_at: datetime) -> Event | InvalidEvent:
    """The event that passes the contract, or why it does not."""
    if len(raw) > MAX_EVENT_BYTES + ADDED_BYTES:
        return InvalidEvent("body", f"expected at most {MAX_EVENT_BYTES} bytes an event", len(raw))
    try:
        event = accept_event(_fields(raw), ingest_time=received_at, backfill=True)
        letter.check_proven(event)
        check_work(encode_message([event]), times=MESSAGE_TIMES)
    except InvalidEvent as error:
        return error
    except _UNREADABLE as error:
        return InvalidEvent("body", f"expected what JSON can hold ({type(error).__name__})")
    return event


def _fields(raw: bytes) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = _object_decoder.decode(raw)
    except _UNREADABLE as error:
        raise InvalidEvent("body", f"expected a JSON object ({error})") from None
    return fields


def _as_text(payload: bytes) -> tuple[str, str]:
    """The payload as text, and the encoding that says how."""
    try:
        return payload.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode("ascii"), "base64"


def _holder(event: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
    """The object that holds `field`, and the field's name in it; an empty object where there is none."""
    outer, dot, name = field.partition(".")
    if outer != "metadata" or not dot:
        return event, field
    metadata = event.get("metadata")
    return (metadata if isinstance(metadata, dict) else {}), name


def _put(event: dict[str, Any], field: str, value: Any) -> None:
    if field.startswith("metadata.") and event.get("metadata") is None:
        event["metadata"] = {}
    holder, name = _holder(event, field)
    holder[name] = value


def _take(event: dict[str, Any], field: str) -> Any:
    holder, name = _holder(event, field)
    return holder.pop(name, None)


def _rename(event: dict[str, Any], old: str, new: str) -> None:
    """Nothing is lost: a new name that is taken, or that no object can hold, leaves the old one in place."""
    from_holder, from_name = _holder(event, old)
    to_holder, to_name = _holder(event, new)
    homeless = new.startswith("metadata.") and not isinstance(event.get("metadata"), dict | None)
    if from_name in from_holder and to_holder.get(to_name) is None and not homeless:
        _put(event, new, _take(event, old))


def _wants_number(field: str) -> bool:
    """Whether the contract does; it reads an unknown field beside `metadata` as one in it."""
    return field.removeprefix("metadata.") in NUMBER_METADATA


def number_of(text: str) -> int | float | None:
    """The number that a text is; None where it is none."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _read_number(event: dict[str, Any], field: str) -> None:
    holder, name = _holder(event, field)
    text = holder.get(name)
    number = number_of(text) if isinstance(text, str) else None
    if number is not None:
        holder[name] = number


def _shift(event: dict[str, Any], seconds: float) -> None:
    """What is no time stays; the contract refuses it with a better reason."""
    try:
        moved = parse_time("timestamp", event.get("timestamp")) + timedelta(seconds=seconds)
    except (InvalidEvent, OverflowError):
        return
    event["timestamp"] = moved.isoformat().replace("+00:00", "Z")
