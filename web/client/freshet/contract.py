"""The wire contract, as much as this client needs: limits, and the collector's checks of events.

It stands here a second time so that the package needs nothing of Freshet's servers.
`tests/web/client/test_contract.py` compares it with theirs, value by value and message by message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

MAX_ID_LENGTH = 256
"""Characters."""
MAX_NUMBER = 1e15
MAX_DEPTH = 32
"""Levels of objects and lists in an event, itself and its metadata included."""
MAX_EVENTS = 500
"""In one request."""
MAX_EVENT_BYTES = 64 * 1024
MAX_AGE = timedelta(hours=48)
MAX_AHEAD = timedelta(minutes=5)

MAX_K = 100
"""Recommendations in one response."""
MAX_EXCLUDED = 1_000
"""Items that one request for recommendations excludes."""
MAX_SEEDS = 20
"""Items that a page is about, beside `product_id`."""
MAX_ROWS = 12
"""Of a page."""
MAX_RANKED = 1_000
"""Items of a list that is to be ordered."""
MAX_TYPED = 100
"""Characters typed into a search box."""
MAX_SUGGESTIONS = 20
MAX_LINES = 10_000
"""Items in one request that writes the catalog."""
MAX_LINES_BYTES = 16 * 1024 * 1024

PRODUCT_EVENTS = frozenset("view_product add_to_cart remove_from_cart purchase impression".split())
NUMBER_METADATA = frozenset("price quantity position propensity dwell_ms".split())
TEXT_METADATA = frozenset(
    (
        "category",
        "brand",
        "query",
        "request_id",
        "placement",
        "variant",
        "url",
        "title",
        "referrer",
    )
)

MAX_SHOWN = 80


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A visitor's consent. A misspelt name is refused: it would grant what the caller denies."""

    analytics: bool | None = None
    personalization: bool | None = None


def invalid(field: str, expected: str, value: object) -> ValueError:
    """Make the error for a value that breaks the contract; shows 80 characters of it at most."""
    return ValueError(f"{field}: {expected}, got {_shown(value)}")


def check_event(event: Mapping[str, Any], now: datetime) -> None:
    """Make the collector's checks, in its order.

    Args:
        event: decoded from the JSON that will be sent.
        now: in UTC.

    Raises:
        ValueError: naming field, expectation and value.
    """
    _check_required_text("event", event)
    _check_age(parse_time("timestamp", event.get("timestamp")), now)
    _check_visitor(event)
    _check_product(event)
    _check_required_text("event_id", event)
    _check_text("session_id", event)
    for name, value in event.get("metadata", {}).items():
        _check_metadata(name, value)


def check_consent(consent: Any) -> dict[str, Any]:
    """Return `consent` as a dict for JSON.

    Raises:
        ValueError: it has a name or a value that no consent has.
    """
    try:
        msgspec.convert(dict(consent), Consent)
    except (msgspec.ValidationError, TypeError, ValueError):
        expected = 'expected {"analytics": true or false, "personalization": true or false}'
        raise invalid("consent", expected, consent) from None
    return dict(consent)


def parse_time(field: str, value: Any) -> datetime:
    """Read a datetime, or an RFC 3339 text, with a zone; returns it in UTC.

    Raises:
        ValueError: it is neither, naming `field`.
    """
    try:
        parsed = msgspec.convert(value, datetime, strict=True)
        if parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
    except (msgspec.ValidationError, ValueError, OverflowError):
        pass
    raise invalid(field, "expected an RFC 3339 time with a zone", value)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. `2025-01-01T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_required_text(name: str, event: Mapping[str, Any]) -> None:
    if event.get(name) is None:
        raise invalid(name, "required", None)
    _check_text(name, event)


def _check_text(name: str, event: Mapping[str, Any]) -> None:
    value = event.get(name)
    if value is None:
        return
    if not isinstance(value, str):
        raise invalid(name, "expected a text", value)
    if not 0 < len(value) <= MAX_ID_LENGTH or not value.isprintable():
        raise invalid(name, f"expected 1 to {MAX_ID_LENGTH} printable characters", value)


def _check_age(timestamp: datetime, now: datetime) -> None:
    if timestamp - now > MAX_AHEAD:
        raise invalid("timestamp", "expected at most 5 min after ingest", format_time(timestamp))
    if now - timestamp > MAX_AGE:
        raise invalid("timestamp", "expected at most 48 h before ingest", format_time(timestamp))


def _check_visitor(event: Mapping[str, Any]) -> None:
    _check_text("user_id", event)
    _check_text("anonymous_id", event)
    if event.get("user_id") is None and event.get("anonymous_id") is None:
        raise invalid("user_id", "expected user_id or anonymous_id", None)


def _check_product(event: Mapping[str, Any]) -> None:
    _check_text("product_id", event)
    if event.get("product_id") is None and event["event"] in PRODUCT_EVENTS:
        raise invalid("product_id", f"required for {event['event']}", None)


def _check_metadata(name: str, value: Any) -> None:
    field = f"metadata.{name}"
    if name in NUMBER_METADATA and value is not None:
        _check_number(field, value)
    elif name in TEXT_METADATA and value is not None and not isinstance(value, str):
        raise invalid(field, "expected a text", value)
    elif _is_deeper(value, MAX_DEPTH - 2):  # the event and its metadata are two levels
        raise invalid(field, f"expected at most {MAX_DEPTH} levels of nesting in an event", None)


def _check_number(field: str, value: Any) -> None:
    if not _is_finite_number(value):
        raise invalid(field, "expected a finite number", value)
    if not 0 <= value <= MAX_NUMBER:
        raise invalid(field, f"expected a number of 0 to {MAX_NUMBER:.0e}", value)


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of thousands of digits
        return False


def _is_deeper(value: Any, levels: int) -> bool:
    """True where objects and lists nest more than `levels` deep."""
    if not isinstance(value, (dict, list)):
        return False
    if levels == 0:
        return True
    children = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(child, levels - 1) for child in children)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return _cut(value)
    try:
        return _cut(repr(value))
    except (ValueError, RecursionError):  # thousands of digits, or of levels
        return f"unprintable {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
