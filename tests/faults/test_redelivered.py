"""Pub/Sub delivers at least once and in no order: here every message three times, in any."""

from __future__ import annotations

from random import Random

from tests.faults.survival import (
    assert_nothing_lost_or_doubled,
    bodies,
    counters,
    publish,
    survey,
    visits,
    wait_until_all_is_read,
    wait_until_all_is_there,
)
from tests.stack import Stack

TIMES = 3


def test_every_message_three_times_in_any_order_comes_to_the_same_as_once(apps: Stack) -> None:
    events = visits()
    sent = TIMES * bodies(events)
    Random(5).shuffle(sent)
    with survey(apps) as found:
        publish(apps.env, sent)
        apps.start_process("pipeline")
        wait_until_all_is_there(apps, found, events)
        wait_until_all_is_read(apps)
        apps.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)
    counts = counters(apps)
    assert counts["decode/accepted"] == TIMES * len(events)
    assert (counts["fold/new"], counts["fold/duplicate"]) == (
        len(events),
        (TIMES - 1) * len(events),
    )
