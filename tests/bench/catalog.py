"""Milliseconds from the answer to a write of the catalog to the first answer that shows it, and
10,000 lines beside recommendations.

A price, a stock and an attribute by PATCH, a whole item by PUT, a line among 100, a deletion: one
after another on items of the running shop while simulated shoppers send 50 events a second. Each is
asked for by a filter that only the written value meets (or, for what is to be gone, that the item
meets), again and again. The floor is what such an answer takes. `python -m tests.bench.catalog`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.bench.api import quantile
from tests.bench.freshness import EVENTS_PER_S, WARM_UP_S, OpenShop, open_shop
from tests.bench.rows import Row, row
from tests.simulator.traffic import Plan
from vertex.api.catalog_changes import POLL_S as CHANGES_POLL_S

MEASURE_S = 60.0
POLL_S, TIMEOUT_S = 0.01, 10.0
TARGET_P99_MS = 1_000.0
LINES, MANY_LINES = 100, 10_000
TARGET_LINES_S = 30.0  # half of what Cloud Run lets a request take
BULKS = 3
DESCRIPTION = "Words for people about this product, as a shop writes them. " * 5


class Writes:
    """Writes items, and sees when answers show it.

    Attributes:
        times_ms: from the answer to a write to the answer that shows it, by kind of write.
        answers_ms: of each answer that was asked for.
    """

    def __init__(self, http: aiohttp.ClientSession, items: list[str]) -> None:
        self._http = http
        self._items = items
        self._number = 0
        self._random = random.Random(7)
        self.times_ms: dict[str, list[float]] = {}
        self.answers_ms: list[float] = []

    async def run(self, seconds: float) -> None:
        """One kind after the other until `seconds` are over, each kind once at least."""
        end = time.monotonic() + seconds
        await self._write("PUT", "bench-attribute", {"attributes": {"bench": 0}})
        await self._seconds_until(
            lambda: self._shows("bench-attribute", "bench = 0", or_unknown=True)
        )
        kinds = (self._price, self._stock, self._attribute, self._put, self._lines, self._delete)
        while time.monotonic() < end:
            for kind in kinds:
                self._number += 1
                # not in step with the process's own looks at what has changed
                await asyncio.sleep(self._random.uniform(0.0, CHANGES_POLL_S))
                times = self.times_ms.setdefault(kind.__name__.strip("_"), [])
                times.append(await kind(self._items[self._number % len(self._items)]) * 1000)

    async def _price(self, item_id: str) -> float:
        price = 1_000 + self._number
        await self._write("PATCH", item_id, {"price": price})
        return await self._seconds_until(lambda: self._shows(item_id, f"price = {price}"))

    async def _stock(self, item_id: str) -> float:
        await self._write("PATCH", item_id, {"in_stock": False})
        seconds = await self._seconds_until(lambda: self._hides(item_id))
        await self._write("PATCH", item_id, {"in_stock": True})
        return seconds

    async def _attribute(self, item_id: str) -> float:
        await self._write("PATCH", item_id, {"attributes": {"bench": self._number}})
        return await self._seconds_until(lambda: self._shows(item_id, f"bench = {self._number}"))

    async def _put(self, _: str) -> float:
        item_id = f"bench-{self._number}"
        await self._write("PUT", item_id, {"title": "A new lamp", "price": 5})
        return await self._seconds_until(lambda: self._shows(item_id, "price = 5"))

    async def _lines(self, _: str) -> float:
        ids = [f"bench-{self._number}-{line}" for line in range(LINES)]
        await write_lines(self._http, ids)
        return await self._seconds_until(lambda: self._shows(ids[-1], "price = 7"))

    async def _delete(self, _: str) -> float:
        item_id = f"bench-{self._number - 2}"  # that was put two steps ago
        await self._write("DELETE", item_id)
        return await self._seconds_until(lambda: self._hides(item_id))

    async def _write(self, method: str, item_id: str, body: Any = None) -> None:
        async with self._http.request(method, f"/v1/items/{item_id}", json=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"expected a write, got {answer.status}: {await answer.text()}")

    async def _seconds_until(self, is_so: Callable[[], Awaitable[bool]]) -> float:
        began = time.monotonic()
        while not await is_so():
            if time.monotonic() - began > TIMEOUT_S:
                raise RuntimeError(f"expected a change within {TIMEOUT_S:.0f} s")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    async def _shows(self, item_id: str, fulfils: str, or_unknown: bool = False) -> bool:
        """True where an answer holds the item as one that fulfils an expression."""
        asked = {
            "anonymous_id": "bench-catalog",
            "k": 1,
            "filter": f'item_id = "{item_id}" and {fulfils}',
        }
        began = time.perf_counter()
        async with self._http.post("/v1/recommendations", json=asked) as answer:
            body = await answer.json()
            if or_unknown and answer.status == 400:
                return False  # no item in memory has the attribute
            if answer.status != 200:
                raise RuntimeError(f"expected an answer, got {answer.status}: {body}")
        self.answers_ms.append((time.perf_counter() - began) * 1000)
        return bool(body["recommendations"] == [item_id])

    async def _hides(self, item_id: str) -> bool:
        return not await self._shows(item_id, "not price = -1")


def run() -> list[Row]:
    """Measure; takes about two minutes."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    async with open_shop() as shop, _back_end(shop) as http:
        ids = [product.id for product in shop.world.products[:400] if product.in_stock]
        writes = Writes(http, ids)
        plan = Plan(WARM_UP_S + MEASURE_S, EVENTS_PER_S, seed=7)
        await asyncio.gather(shop.traffic(plan).run(), _later(writes))
        return [*_rows(writes), *await _beside_lines(http)]


@asynccontextmanager
async def _back_end(shop: OpenShop) -> AsyncIterator[aiohttp.ClientSession]:
    key = shop.stack.env["FRESHET_API_KEYS"]
    headers = {"x-freshet-key": key}
    async with aiohttp.ClientSession(shop.stack.env["FRESHET_API_URL"], headers=headers) as http:
        yield http


async def _later(writes: Writes) -> None:
    await asyncio.sleep(WARM_UP_S)
    await writes.run(MEASURE_S)


def _rows(writes: Writes) -> list[Row]:
    rows = []
    for kind, times in writes.times_ms.items():
        for point, share, target in (("p50", 0.5, None), ("p99", 0.99, TARGET_P99_MS)):
            beside = quantile(writes.answers_ms, share)
            name = f"catalog_{kind}_{point}"
            value = quantile(times, share)
            rows.append(row(name, value, "ms", target, "such an answer", beside))
    return rows


async def _beside_lines(http: aiohttp.ClientSession) -> list[Row]:
    """Seconds for many lines, and milliseconds of answers meanwhile, beside those without."""
    alone: list[float] = []
    during: list[float] = []
    lines_s: list[float] = []
    for number in range(BULKS):
        await _ask_until(http, asyncio.create_task(asyncio.sleep(3.0)), alone)
        began = time.monotonic()
        ids = [f"lines-{number}-{line}" for line in range(MANY_LINES)]
        await _ask_until(http, asyncio.create_task(write_lines(http, ids)), during)
        lines_s.append(time.monotonic() - began)
    name = f"catalog_{MANY_LINES}_lines"
    return [
        row(name, max(lines_s), "s", TARGET_LINES_S),
        *(
            row(
                f"{name}_answer_{point}",
                quantile(during, share),
                "ms",
                None,
                "the same without lines",
                quantile(alone, share),
            )
            for point, share in (("p50", 0.5), ("p99", 0.99))
        ),
    ]


async def _ask_until(
    http: aiohttp.ClientSession, done: asyncio.Task[None], times_ms: list[float]
) -> None:
    """Ask for recommendations, one after another, until a task is done."""
    asked = {"anonymous_id": "bench-catalog", "k": 20}
    while not done.done():
        began = time.perf_counter()
        async with http.post("/v1/recommendations", json=asked) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"expected an answer, got {answer.status}")
        times_ms.append((time.perf_counter() - began) * 1000)
    await done


async def write_lines(http: aiohttp.ClientSession, ids: list[str]) -> None:
    """Write items in one request of many lines."""
    lines = [
        json.dumps(
            {
                "id": item_id,
                "title": f"Lamp {item_id}",
                "category": "home.light",
                "brand": "Luma",
                "price": 7,
                "description": DESCRIPTION,
                "attributes": {"color": "red", "watts": 9, "tags": ["new", "led"]},
            }
        )
        for item_id in ids
    ]
    async with http.post("/v1/items", data="\n".join(lines).encode()) as answer:
        body = await answer.json()
    if body.get("written") != len(ids):
        raise RuntimeError(f"expected {len(ids)} lines written, got {answer.status}: {body}")


if __name__ == "__main__":
    for found in run():
        print(found)
