"""kill -9 of the pipeline in mid-stream: what it had read and not finished comes again, and nothing
counts twice.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from pipeline.ops.rewind import rewind
from pipeline.runtime.installation import Installation
from tests.faults.survival import (
    Survey,
    assert_nothing_lost_or_doubled,
    bodies,
    shorten_ack_deadline,
    survey,
    traffic,
    visits,
    wait_until,
    wait_until_all_is_there,
)
from tests.stack import Stack

ACK_DEADLINE_S = 10  # the least that Pub/Sub has
TRAFFIC_S = 8.0


def kill_in_mid_stream(stack: Stack, found: Survey, beyond: int, below: int) -> None:
    """Kill the pipeline once the profiles hold more than `beyond` events; it must not have read
    `below`.
    """
    wait_until(stack, lambda: found.folded() > beyond)
    stack.kill_process("pipeline")
    assert beyond < found.folded() < below


def test_what_a_killed_pipeline_had_not_acknowledged_comes_again_by_itself(apps: Stack) -> None:
    shorten_ack_deadline(apps.env, ACK_DEADLINE_S)
    events = visits()
    with survey(apps) as found:
        apps.start_process("pipeline")
        apps.wait_for("pipeline")
        with traffic(apps.env, bodies(events), TRAFFIC_S):
            kill_in_mid_stream(apps, found, len(events) // 4, len(events))
            apps.start_process("pipeline")
        wait_until_all_is_there(apps, found, events)
        time.sleep(ACK_DEADLINE_S + 1)  # whatever is to come again has come
        apps.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)


def test_after_a_kill_the_subscription_can_be_wound_back_to_before_it(apps: Stack) -> None:
    events = visits()
    with survey(apps) as found:
        apps.start_process("pipeline")
        apps.wait_for("pipeline")
        before = datetime.now(UTC) - timedelta(seconds=1)
        with traffic(apps.env, bodies(events), TRAFFIC_S):
            kill_in_mid_stream(apps, found, len(events) // 4, len(events))
        at = Installation.from_env(apps.env)
        rewind(at, [at.events_subscription], before, datetime.now(UTC))
        apps.start_process("pipeline")
        wait_until_all_is_there(apps, found, events)
        apps.stop_process("pipeline")
        assert_nothing_lost_or_doubled(found, events)
