"""Times on the wire are read and written as RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import format_time, parse_time


def test_a_time_is_written_as_it_is_read() -> None:
    moment = parse_time("t", "2025-06-01T01:02:03.004+02:00")
    assert moment == datetime(2025, 5, 31, 23, 2, 3, 4000, UTC)
    assert format_time(moment) == "2025-05-31T23:02:03.004Z"


@pytest.mark.parametrize(
    "value",
    [
        None,
        1735732800,
        "yesterday",
        "2025-01-01T12:00:00",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
    ],
)
def test_anything_but_a_time_with_a_zone_that_utc_can_hold_is_rejected_by_name(value: Any) -> None:
    with pytest.raises(InvalidEvent, match="t: expected an RFC 3339 time with a zone"):
        parse_time("t", value)
