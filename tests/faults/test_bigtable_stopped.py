"""Bigtable stands still for 13 s while traffic goes on: the pipeline waits for it and then catches
up.

The emulator keeps its rows in memory, so it is held with SIGSTOP and let go with SIGCONT: to its
clients it is a server that takes connections and answers nothing.
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

HELD_S = 13.0  # longer than the 10 s that a renewal of the lease waits, and than a lease is fresh


def test_a_bigtable_that_stands_still_for_a_while_loses_and_doubles_nothing(island: Stack) -> None:
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
