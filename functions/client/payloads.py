"""An event of the caller's as the bytes that will be sent, once it is one that the collector takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from functions.privacy import Stated
from pipeline.core.consent import FIELD
from pipeline.core.events import MAX_EVENT_BYTES, MAX_ID_LENGTH, InvalidEvent, format_time, parse_event, parse_time
from pipeline.core.metadata_fields import NUMBER_METADATA

MAX_ORDER_ID_LENGTH = MAX_ID_LENGTH - 16

_encoder = msgspec.json.Encoder()
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)


def event_payload(fields: Mapping[str, Any], metadata: Mapping[str, Any], consent: Any) -> bytes:
    """One event.

    Args:
        fields: the contract's, by name; None stands for absent. Without a `timestamp` it is now.
        metadata: all else; None stands for absent.
        consent: unchecked; None where nothing was said.

    Raises:
        InvalidEvent: naming field, expectation and value.
    """
    now = datetime.now(UTC)
    written = {name: value for name, value in fields.items() if value is not None}
    written["timestamp"] = format_time(parse_time("timestamp", written.get("timestamp", now)))
    content = {name: _plain(name, value) for name, value in metadata.items() if value is not None}
    if consent is not None:
        content[FIELD] = checked_consent(consent)
    if content:
        written["metadata"] = content
    payload = encoded(written, content)
    if len(payload) > MAX_EVENT_BYTES:
        raise InvalidEvent("metadata", f"expected an event of at most {MAX_EVENT_BYTES} bytes", len(payload))
    parse_event(payload, ingest_time=now)
    return payload


def order_payloads(
    order_id: str,
    lines: Iterable[Mapping[str, Any]],
    whose: Mapping[str, Any],
    metadata: Mapping[str, Any],
    consent: Any,
) -> dict[str, bytes]:
    """The event of each line of an order by its id: that of `freshet.purchase` in the browser for the same order.

    Raises:
        InvalidEvent: as `event_payload`; or for an order without an id or lines.
    """
    if not isinstance(order_id, str) or not 0 < len(order_id) <= MAX_ORDER_ID_LENGTH:
        raise InvalidEvent("order_id", f"expected a text of 1 to {MAX_ORDER_ID_LENGTH} characters", order_id)
    payloads: dict[str, bytes] = {}
    told: Counter[str] = Counter()
    for line in _lines(lines):
        product_id = str(line.get("product_id"))
        told[product_id] += 1
        event_id = f"{order_id}#{product_id}#{told[product_id]}"
        own = {name: value for name, value in line.items() if name != "product_id"}
        fields = {"event_id": event_id, "event": "purchase", "product_id": line.get("product_id"), **whose}
        payloads[event_id] = event_payload(fields, {**metadata, "order_id": order_id, **own}, consent)
    return payloads


class _Consent(Stated, frozen=True, forbid_unknown_fields=True):
    """A name that the collector does not know would grant what the caller meant to deny."""


def checked_consent(consent: Any) -> dict[str, Any]:
    """`consent` as JSON's object.

    Raises:
        InvalidEvent: for a name or a value that is none of a consent's.
    """
    try:
        msgspec.convert(dict(consent), _Consent)
    except (msgspec.ValidationError, TypeError, ValueError):
        expected = 'expected {"analytics": true or false, "personalization": true or false}'
        raise InvalidEvent(FIELD, expected, consent) from None
    return dict(consent)


def encoded(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """JSON.

    Args:
        metadata: what `fields` holds under that name, to be named one by one where it cannot be written.

    Raises:
        InvalidEvent: naming the first field that JSON cannot say.
    """
    try:
        return _encoder.encode(fields)
    except _UNWRITABLE:
        named = {**fields, "metadata": {}} | {f"metadata.{name}": value for name, value in metadata.items()}
        field = next((name for name, value in named.items() if not _can_be_written(value)), "metadata")
        kind = type(named[field]).__name__
    raise InvalidEvent(field, "expected what JSON can say", kind)


def _can_be_written(value: Any) -> bool:
    try:
        _encoder.encode(value)
    except _UNWRITABLE:
        return False
    return True


def _plain(name: str, value: Any) -> Any:
    """Decimals as JSON's numbers where numbers are expected; JSON would make null of what is not finite."""
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise InvalidEvent(f"metadata.{name}", "expected a finite number", value)
    return float(value) if isinstance(value, Decimal) and name in NUMBER_METADATA else value


def _lines(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = [] if isinstance(lines, (str, bytes, Mapping)) else list(lines)
    if not found or not all(isinstance(line, Mapping) for line in found):
        raise InvalidEvent("lines", "expected one object or more, each with a product_id", type(lines).__name__)
    return found
