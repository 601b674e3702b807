"""Shoppers on the whole stack: what the collector accepted is in the log once, and views change
recommendations.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import httpx
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


def _search(visitor: str, query: str) -> dict[str, object]:
    return {
        "event_id": uuid.uuid4().hex,
        "event": "search",
        "timestamp": datetime.now(UTC).isoformat(),
        "anonymous_id": visitor,
        "session_id": visitor,
        "metadata": {"query": query, "results": 3},
    }


@pytest.mark.end_to_end
async def test_a_query_is_suggested_seconds_after_the_fifth_visitor_typed_it(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    # letters alone: seven digits in a row are taken for a telephone number
    query = "lantern " + "".join(chr(ord("a") + int(digit, 16)) for digit in run)

    async def suggested(client: httpx.AsyncClient) -> list[str]:
        asked = {"q": query[:14]}
        answer = await client.get(f"{stack.env['FRESHET_API_URL']}/v1/search/suggest", params=asked)
        return [one["text"] for one in answer.json()["suggestions"] if one["kind"] == "query"]

    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:

        async def search(visitors: range) -> None:
            events = [_search(f"{run}-{n}", query) for n in visitors]
            url = f"{stack.env['FRESHET_COLLECTOR_URL']}/v1/events"
            assert (await client.post(url, json={"events": events})).status_code == 202

        await search(range(4))
        await asyncio.sleep(4.0)
        assert query not in await suggested(client)
        await search(range(4, 5))
        began = time.monotonic()
        while query not in await suggested(client):
            assert time.monotonic() - began < 15.0
            await asyncio.sleep(0.1)
        print(f"suggested after {time.monotonic() - began:.1f} s")
