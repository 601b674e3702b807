"""Nobody reads for long, then the pipeline starts: everything is folded, and counted as late as it
is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.faults.survival import (
    assert_nothing_lost_or_doubled,
    bodies,
    counters,
    publish,
    survey,
    visits,
    wait_until_all_is_there,
)
from tests.stack import Stack

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def test_what_was_published_while_nobody_read_is_folded_whole_and_counted_as_late(
    apps: Stack,
) -> None:
    # Three kinds of lateness: the last visit ended just now, two hours ago, a day ago.
    events = visits(8) + visits(4, ended=2 * HOUR, first=8) + visits(4, ended=DAY, first=12)
    with survey(apps) as found:
        publish(apps.env, bodies(events))
        apps.start_process("pipeline")
        wait_until_all_is_there(apps, found, events)
        apps.stop_process("pipeline")
        stopped = datetime.now(UTC)
        assert_nothing_lost_or_doubled(found, events)
    counts = counters(apps)
    assert counts["decode/accepted"] == counts["fold/new"] == len(events)
    assert {name: counts[f"decode/late_{name}"] for name in ("1m", "1h", "24h")} == {
        name: sum(stopped - event.timestamp > late for event in events)
        for name, late in (("1m", MINUTE), ("1h", HOUR), ("24h", DAY))
    }
