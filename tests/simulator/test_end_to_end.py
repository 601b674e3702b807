"""Shoppers on the whole stack: what the collector accepted is in the log once, and views change
recommendations.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import pytest

from tests.simulator import catalog, history
from tests.simulator.client import Client, wait_for_items
from tests.simulator.freshness import Freshness, Prober
from tests.simulator.report import run_module
from tests.simulator.shoppers import World
from tests.simulator.traffic import Outcome, Plan, Traffic
from tests.simulator.warehouse import Warehouse, wait_until_stored
from tests.stack import Stack

PRODUCTS = catalog.generate(300)


async def open_shop(stack: Stack) -> None:
    path = Path(stack.env["FRESHET_CATALOG"])
    catalog.write(PRODUCTS, path)
    await run_module("pipeline.ops.catalog", str(path), env=stack.env)
    # it scans the catalog when it starts, then once a minute
    await asyncio.to_thread(stack.restart_process, "api")


async def live(client: Client, run: str) -> tuple[Outcome, Freshness]:
    world = World(PRODUCTS)
    for message in history.messages(
        history.generate(world, sessions=10, until=time.time(), run=run)
    ):
        await client.send(message, backfill=True)
    traffic = Traffic(client, world, Plan(8, events_per_s=30), run=run)
    return await asyncio.gather(traffic.run(), Prober(client, world, run=run).run(8, at_least=4))


@pytest.mark.end_to_end
async def test_shoppers_lose_no_event_and_every_probe_sees_its_view_change_the_recommendation(
    stack: Stack,
) -> None:
    await open_shop(stack)
    run = uuid.uuid4().hex[:8]
    env = stack.env
    key = env["FRESHET_BACKFILL_KEY"]
    async with Client(
        env["FRESHET_COLLECTOR_URL"], env["FRESHET_API_URL"], backfill_key=key
    ) as client:
        await wait_for_items(client, len(PRODUCTS))
        outcome, freshness = await live(client, run)
    warehouse = Warehouse(env)
    stored = await asyncio.to_thread(warehouse.event_ids)
    await wait_until_stored(warehouse, len(stored | set(client.tally.accepted_ids)))
    stored = await asyncio.to_thread(warehouse.event_ids)
    warehouse.close()
    assert client.tally.accepted == client.tally.sent == len(client.tally.accepted_ids) > 500
    assert set(client.tally.accepted_ids) <= stored
    assert outcome.visits > outcome.broken_visits == 0
    assert freshness.probes >= 4 and freshness.lost == freshness.failed == 0
