"""Milliseconds from the collector's answer to the changed profile and the changed recommendation,
under load.

Simulated shoppers send 50 events a second through the whole stack while probe visitors measure, one
after another (see `tests.simulator.freshness`). The floor is the API's own answer in the same run:
the least a change can take.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from tests.bench.rows import Row, row
from tests.simulator import catalog
from tests.simulator.client import Client, wait_for_items
from tests.simulator.freshness import Freshness, Prober
from tests.simulator.report import run_module
from tests.simulator.shoppers import World
from tests.simulator.statistics import percentiles
from tests.simulator.traffic import Plan, Traffic
from tests.stack import APPS, EMULATORS, Stack
from tests.stack.ports import free_ports

EVENTS_PER_S = 50.0
WARM_UP_S, MEASURE_S = 10.0, 60.0
TARGETS_MS = {"p50": 700.0, "p99": 2_000.0}


def run() -> list[Row]:
    """Measure; takes about two minutes."""
    stack = Stack(f"bench-{time.time_ns()}", free_ports(), (*EMULATORS, *APPS))
    try:
        stack.prepare()
        stack.start_parts(EMULATORS)
        rows = asyncio.run(_measure(stack))
        stack.check()
    finally:
        stack.stop()
    shutil.rmtree(stack.folder, ignore_errors=True)
    return rows


async def _measure(stack: Stack) -> list[Row]:
    products = catalog.generate(seed=7)
    world = World(products, 7)
    path = Path(stack.env["FRESHET_CATALOG"])
    catalog.write(products, path)
    await run_module("pipeline.ops.catalog", str(path), env=stack.env)
    await asyncio.to_thread(stack.start_parts, APPS)
    async with Client(stack.env["FRESHET_COLLECTOR_URL"], stack.env["FRESHET_API_URL"]) as client:
        await wait_for_items(client, len(products))
        traffic = Traffic(
            client, world, Plan(WARM_UP_S + MEASURE_S, EVENTS_PER_S, seed=7), run="bench"
        )
        prober = Prober(client, world, run="bench", seed=7)
        outcome, freshness = await asyncio.gather(traffic.run(), _later(prober))
        answers_ms = percentiles(client.tally.api_ms)
    rows = [row("freshness_traffic", outcome.events / outcome.seconds, "events/s", EVENTS_PER_S)]
    return rows + _rows(freshness, answers_ms)


async def _later(prober: Prober) -> Freshness:
    await asyncio.sleep(WARM_UP_S)
    return await prober.run(MEASURE_S)


def _rows(freshness: Freshness, answers_ms: dict[str, float | None]) -> list[Row]:
    rows = []
    for what, times in (
        ("profile", freshness.profile_ms),
        ("recommendation", freshness.recommendation_ms),
    ):
        for point, value in percentiles(times).items():
            if value is not None:
                target = TARGETS_MS.get(point) if what == "recommendation" else None
                rows.append(
                    row(
                        f"freshness_{what}_{point}",
                        value,
                        "ms",
                        target,
                        "the API's answer",
                        answers_ms[point],
                    )
                )
    lost = freshness.lost + freshness.failed
    return [*rows, row("freshness_probes_lost", lost, "probes", 0, "probes", freshness.probes)]


if __name__ == "__main__":
    for found in run():
        print(found)
