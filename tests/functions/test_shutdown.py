"""A collector that is told to stop answers what it has taken first."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.functions.pubsub import Topics
from tests.functions.test_collector import event, post
from tests.stack import Stack

PAUSE_S = 0.7  # well within the tests' publish deadline


def test_a_request_under_way_is_stored_and_answered_and_then_the_process_ends(
    collector_stack: Stack, client: httpx.Client, topics: Topics
) -> None:
    process = collector_stack.processes["collector"]
    pubsub = collector_stack.processes["pubsub"].pid
    post(client, event(event_id="warm"))
    os.killpg(pubsub, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(post, client, event(event_id="waiting"))
            time.sleep(PAUSE_S / 2)
            process.ask_to_stop()
            time.sleep(PAUSE_S / 2)
            assert process.exit_code is None, "it went without answering"
            os.killpg(pubsub, signal.SIGCONT)
            assert waiting.result(timeout=10.0).status_code == 202
        deadline = time.monotonic() + 10.0
        while process.exit_code is None:
            assert time.monotonic() < deadline, "it answered and did not end"
            time.sleep(0.05)
    finally:
        os.killpg(pubsub, signal.SIGCONT)
        collector_stack.restart_process("collector")
    topics.events(2)
