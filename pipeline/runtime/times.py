"""Times as an operator names them on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import parse_time

_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(field: str, text: str, now: datetime) -> datetime:
    """The UTC time that `text` names: RFC 3339 with a zone, or a span before `now` such as `30s`,
    `10m`, `2h`, `3d`.

    Raises:
        ValueError: for anything else, naming `field`.
    """
    try:
        span = _SPAN.fullmatch(text)
        return (
            now - timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else parse_time(field, text)
        )
    except (InvalidEvent, OverflowError):
        expected = "an RFC 3339 time with a zone, or a span such as 10m, 2h or 3d"
        raise ValueError(f"{field}: expected {expected}, got {text!r}") from None
