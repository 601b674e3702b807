"""BigQuery stands still for 8 s, or dies and comes back with its data, while traffic goes on."""

from __future__ import annotations

import time

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

HELD_S = 8.0  # several flushes long, and within the 30 s that an insert waits for an answer
DOWN_S = 5.0


def test_a_bigquery_that_stands_still_for_a_while_loses_and_doubles_nothing(island: Stack) -> None:
    events = visits()
    with survey(island) as found:
        island.start_process("pipeline")
        island.wait_for("pipeline")
        with traffic(island.env, bodies(events), HELD_S + 4.0):
            wait_until(island, lambda: found.folded() > len(events) // 20)
            held(island, "bigquery", HELD_S)
            assert found.folded() < len(events)
        wait_until_all_is_there(island, found, events)
        island.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)


def test_a_bigquery_that_dies_and_comes_back_with_its_data_misses_nothing(island: Stack) -> None:
    events = visits()
    with survey(island) as found:
        island.start_process("pipeline")
        island.wait_for("pipeline")
        with traffic(island.env, bodies(events), DOWN_S + 4.0):
            wait_until(island, lambda: found.folded() > len(events) // 20)
            island.kill_process("bigquery")
            time.sleep(DOWN_S)
            island.start_process("bigquery")
            island.wait_for("bigquery")
        wait_until_all_is_there(island, found, events)
        island.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)
