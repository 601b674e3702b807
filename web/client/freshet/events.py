"""Turns the caller's arguments into the JSON of events that the collector accepts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from freshet.contract import (
    MAX_EVENT_BYTES,
    MAX_ID_LENGTH,
    NUMBER_METADATA,
    check_consent,
    check_event,
    format_time,
    invalid,
    parse_time,
)

MAX_ORDER_ID_LENGTH = MAX_ID_LENGTH - 16
"""Characters: an event's id also holds the product's id and the number of the line."""

_encoder = msgspec.json.Encoder()
_ENCODING_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)


def encode_event(fields: Mapping[str, Any], metadata: Mapping[str, Any], consent: Any) -> bytes:
    """Encode one event, once it is valid.

    Args:
        fields: the contract's, by name; None stands for absent. The default of `timestamp` is now.
        metadata: every other field; None stands for absent.
        consent: not yet validated; None where the caller states none.

    Raises:
        ValueError: naming field, expectation and value.
    """
    now = datetime.now(UTC)
    event = {name: value for name, value in fields.items() if value is not None}
    event["timestamp"] = format_time(parse_time("timestamp", event.get("timestamp", now)))
    content = _metadata(metadata, consent)
    if content:
        event["metadata"] = content
    payload = encode(event, content)
    if len(payload) > MAX_EVENT_BYTES:
        expected = f"expected an event of at most {MAX_EVENT_BYTES} bytes"
        raise invalid("metadata", expected, len(payload))
    check_event(msgspec.json.decode(payload), now)  # as it will arrive, e.g. a UUID as a text
    return payload


def encode_order(
    order_id: str,
    lines: Iterable[Mapping[str, Any]],
    visitor: Mapping[str, Any],
    metadata: Mapping[str, Any],
    consent: Any,
) -> dict[str, bytes]:
    """Encode one event a line of an order, by its id: the browser SDK's for the same order.

    Raises:
        ValueError: as `encode_event`; or the order has no id or no lines.
    """
    if not isinstance(order_id, str) or not 0 < len(order_id) <= MAX_ORDER_ID_LENGTH:
        expected = f"expected a text of 1 to {MAX_ORDER_ID_LENGTH} characters"
        raise invalid("order_id", expected, order_id)
    payloads: dict[str, bytes] = {}
    lines_of_product: Counter[str] = Counter()
    for line in _lines(lines):
        product_id = str(line.get("product_id"))
        lines_of_product[product_id] += 1
        event_id = f"{order_id}#{product_id}#{lines_of_product[product_id]}"
        fields = {
            "event_id": event_id,
            "event": "purchase",
            "product_id": line.get("product_id"),
            **visitor,
        }
        own = {name: value for name, value in line.items() if name != "product_id"}
        content = {**metadata, "order_id": order_id, **own}
        payloads[event_id] = encode_event(fields, content, consent)
    return payloads


def encode(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> bytes:
    """Encode as JSON.

    Args:
        fields: a JSON object.
        metadata: the object that `fields` holds under that name; an error names its fields one by
            one.

    Raises:
        ValueError: naming the first field that JSON cannot hold.
    """
    try:
        return _encoder.encode(fields)
    except _ENCODING_ERRORS:
        named = {**fields, "metadata": {}}
        named |= {f"metadata.{name}": value for name, value in metadata.items()}
    field = next((name for name, value in named.items() if not _is_encodable(value)), "metadata")
    raise invalid(field, "expected what JSON can say", type(named[field]).__name__)


def _is_encodable(value: Any) -> bool:
    try:
        _encoder.encode(value)
    except _ENCODING_ERRORS:
        return False
    return True


def _metadata(metadata: Mapping[str, Any], consent: Any) -> dict[str, Any]:
    content = {name: _plain(name, value) for name, value in metadata.items() if value is not None}
    if consent is not None:
        content["consent"] = check_consent(consent)
    return content


def _plain(name: str, value: Any) -> Any:
    """Turn decimals into JSON numbers where the contract expects numbers.

    Raises:
        ValueError: the number is not finite; JSON would make null of it.
    """
    if isinstance(value, (float, Decimal)) and not math.isfinite(value):
        raise invalid(f"metadata.{name}", "expected a finite number", value)
    if isinstance(value, Decimal) and name in NUMBER_METADATA:
        return float(value)
    return value


def _lines(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    found = [] if isinstance(lines, (str, bytes, Mapping)) else list(lines)
    if not found or not all(isinstance(line, Mapping) for line in found):
        expected = "expected one object or more, each with a product_id"
        raise invalid("lines", expected, type(lines).__name__)
    return found
