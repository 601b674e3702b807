"""The delay before a request is sent again. Pure: clock and randomness are arguments."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_BACKOFF_S = 0.25
MAX_BACKOFF_S = 30.0
MAX_RETRY_AFTER_S = 300.0


def retry_delay_s(failures: int, retry_after: str | None, now: datetime, draw: float) -> float:
    """Return the delay in seconds after the `failures`-th failure in a row.

    It is 0.25 s doubled each time up to 30 s, of that a random half to all; and never less than the
    collector asks for, of which at most 5 min are believed.

    Args:
        failures: from 1.
        retry_after: the header's value, seconds or an HTTP date.
        now: in UTC.
        draw: a random number in [0, 1).
    """
    backoff_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 30))
    return max(backoff_s * (0.5 + draw / 2), _retry_after_s(retry_after or "", now))


def _retry_after_s(value: str, now: datetime) -> float:
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(MAX_RETRY_AFTER_S, float(text[:12]))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait_s = (moment - now).total_seconds()
    return min(MAX_RETRY_AFTER_S, max(0.0, wait_s))
