"""Bigtable stands still for 20 s while traffic goes on: the pipeline waits for it and then catches up.

The emulator keeps its rows in memory, so it is held with SIGSTOP and let go with SIGCONT: to its clients it is a server
that takes connections and answers nothing.
"""

from __future__ import annotations

from tests.faults.survival import (
    assert_nothing_lost_or_doubled,
    bodies,
    held,
    survey,
    traffic,
    visits,
    wait_until,
    wait_until_all_is_there,
)
from tests.stack import Stack

HELD_S = 20.0


def test_twenty_seconds_without_bigtable_lose_and_double_nothing(island: Stack) -> None:
    events = visits()
    with survey(island) as found:
        island.start_process("pipeline")
        island.wait_for("pipeline")
        with traffic(island.env, bodies(events), HELD_S + 4.0):
            wait_until(island, lambda: found.folded() > len(events) // 20)
            assert found.folded() < len(events)
            held(island, "bigtable", HELD_S)
        wait_until_all_is_there(island, found, events)
        island.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)
