"""Milliseconds from the collector's answer to the changed profile and the changed recommendation,
under load.

Simulated shoppers send 50 events a second, then 500, through the whole stack while probe visitors
measure, one after another (see `tests.simulator.freshness`). The floor is the API's own answer in
the same run: the least a change can take. `python -m tests.bench.freshness`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
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
MANY_PER_S, MANY_MEASURE_S = 500.0, 45.0
# Of the many, each reads so many times faster than life: 300 shoppers at once are enough then.
MANY_HASTE = 30.0
TARGETS_MS = {"p50": 700.0, "p99": 2_000.0}


@dataclass(frozen=True)
class OpenShop:
    """A shop with its whole stack, and the simulator's way to it."""

    stack: Stack
    world: World
    client: Client

    def traffic(self, plan: Plan) -> Traffic:
        """Shoppers, to be let in."""
        return Traffic(self.client, self.world, plan, run=f"bench-{plan.events_per_s:.0f}")


@contextlib.asynccontextmanager
async def open_shop() -> AsyncIterator[OpenShop]:
    """The whole stack with the simulator's catalog in it, for the time of a block."""
    stack = Stack(f"bench-{time.time_ns()}", free_ports(), (*EMULATORS, *APPS))
    products = catalog.generate(seed=7)
    try:
        stack.prepare()
        await asyncio.to_thread(stack.start_parts, EMULATORS)
        path = Path(stack.env["FRESHET_CATALOG"])
        catalog.write(products, path)
        await run_module("pipeline.ops.catalog", str(path), env=stack.env)
        await asyncio.to_thread(stack.start_parts, APPS)
        urls = stack.env["FRESHET_COLLECTOR_URL"], stack.env["FRESHET_API_URL"]
        async with Client(*urls) as client:
            await wait_for_items(client, len(products))
            yield OpenShop(stack, World(products, 7), client)
        stack.check()
    finally:
        stack.stop()
    shutil.rmtree(stack.folder, ignore_errors=True)


def run() -> list[Row]:
    """Measure; takes about two and a half minutes."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    async with open_shop() as shop:
        few = Plan(WARM_UP_S + MEASURE_S, EVENTS_PER_S, seed=7)
        many = Plan(WARM_UP_S + MANY_MEASURE_S, MANY_PER_S, haste=MANY_HASTE, seed=8)
        rows = await _under(shop, few, "freshness")
        return rows + await _under(shop, many, f"freshness_{MANY_PER_S:.0f}")


async def _under(shop: OpenShop, plan: Plan, name: str) -> list[Row]:
    """Rows under traffic, with names that begin with `name`."""
    shop.client.tally.api_ms.clear()
    prober = Prober(shop.client, shop.world, run=name, seed=plan.seed)
    traffic = shop.traffic(plan).run()
    outcome, freshness = await asyncio.gather(traffic, _later(prober, plan.seconds - WARM_UP_S))
    answers_ms = percentiles(shop.client.tally.api_ms)
    rate = row(f"{name}_traffic", outcome.events / outcome.seconds, "events/s", plan.events_per_s)
    return [rate, *_rows(name, freshness, answers_ms)]


async def _later(prober: Prober, seconds: float) -> Freshness:
    await asyncio.sleep(WARM_UP_S)
    return await prober.run(seconds)


def _rows(name: str, freshness: Freshness, answers_ms: dict[str, float | None]) -> list[Row]:
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
                        f"{name}_{what}_{point}",
                        value,
                        "ms",
                        target,
                        "the API's answer",
                        answers_ms[point],
                    )
                )
    lost = freshness.lost + freshness.failed
    return [*rows, row(f"{name}_probes_lost", lost, "probes", 0, "probes", freshness.probes)]


if __name__ == "__main__":
    for found in run():
        print(found)
