"""Times on a command line: which are read, and what is said of those that are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.runtime.times import moment

NOW = datetime(2025, 1, 8, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2025-01-08T11:00:00Z", NOW - timedelta(hours=1)),
        ("2025-01-08T12:30:00+01:00", NOW - timedelta(minutes=30)),
        ("30s", NOW - timedelta(seconds=30)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
    ],
)
def test_a_time_is_named_by_itself_or_by_the_span_since_then(text: str, since: datetime) -> None:
    assert moment("SINCE", text, NOW) == since


@pytest.mark.parametrize(
    "text", ["", "soon", "10", "m", "-10m", "1.5h", "10 m", "2025-01-08", "999999d", "٣m"]
)
def test_what_is_no_time_is_refused_with_field_value_and_expectation(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^SINCE: expected an RFC 3339 time with a zone, or a span"
    ) as error:
        moment("SINCE", text, NOW)
    assert repr(text) in str(error.value)
