"""Times on the wire: RFC 3339 with a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.core.invalid_event import InvalidEvent


def parse_time(field: str, value: Any) -> datetime:
    """An RFC 3339 text with a zone, as a UTC datetime.

    Raises:
        InvalidEvent: for anything else, naming `field`.
    """
    try:
        parsed = msgspec.convert(value, datetime, strict=True)
        if parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
    except (msgspec.ValidationError, ValueError, OverflowError):
        pass
    raise InvalidEvent(field, "expected an RFC 3339 time with a zone", value)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, e.g. `2025-01-01T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
