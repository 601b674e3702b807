"""The API's latency with 200 candidates, beside one bare Bigtable read in the same run.

One worker; the predictor and the Bigtable emulator are real processes on loopback. `python -m tests.bench.api`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx

from pipeline.store import AsyncStore, Store, now_ms
from tests.bench.shop import Shop
from tests.stack import Stack, running_stack

ITEMS, VISITORS, SESSIONS = 2_000, 200, 6_000
WARM_UP, QUESTIONS, ROUNDS = 300, 1_000, 10
CONCURRENT = 4
TARGET_MS = {"p50": 15.0, "p99": 50.0}

Row = dict[str, Any]
Work = Callable[[], Awaitable[None]]


def run() -> list[Row]:
    """Measure, and return the rows of the bench report."""
    with running_stack("bench-api", parts=("bigtable", "predictor", "api")) as stack:
        shop = Shop(ITEMS, VISITORS, SESSIONS, now_ms())
        _fill(stack, shop)
        stack.restart_process("predictor")
        stack.restart_process("api")
        return asyncio.run(_measure(stack))


def _fill(stack: Stack, shop: Shop) -> None:
    with _stack_environment(stack):
        store = Store(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
        shop.write(store)
        store.close()
    shop.write_model(stack.env["FRESHET_MODEL_DIR"])


async def _measure(stack: Stack) -> list[Row]:
    dice, served_by, steps = random.Random(3), Counter[str](), defaultdict[str, list[float]](list)
    async with _client(stack) as client, _bare_store(stack) as store:

        async def ask() -> None:
            question = {"user_id": f"visitor{dice.randrange(VISITORS)}", "k": 20}
            response = await client.post("/v1/recommendations", json=question)
            answer = response.json()
            for step, ms in _steps(response.headers["server-timing"]):
                steps[step].append(ms)
            if answer["served_by"] != "trending" and answer["candidates"] != 200:
                raise RuntimeError(f"expected 200 candidates, got {answer['candidates']}")
            served_by[answer["served_by"]] += 1

        async def read() -> None:
            await store.read_profile(f"u#visitor{dice.randrange(VISITORS)}")

        await _times(ask, WARM_UP)
        served_by.clear()
        steps.clear()
        alone, bare = await _in_turns(ask, read)
        inside = [_row(f"api_step_{step}_p50", _quantile(times, 0.5), "ms") for step, times in steps.items()]
        busy, per_s = await _at_once(ask)
    by_vertex = served_by["vertex"] / served_by.total()
    return [
        *_rows("api_one_at_a_time", alone, bare),
        *inside,
        *({**row, "target": None} for row in _rows(f"api_{CONCURRENT}_at_a_time", busy, bare)),
        _row(f"api_{CONCURRENT}_at_a_time_throughput", per_s, "answers/s"),
        _row("api_share_ranked_by_vertex", by_vertex, "ratio"),
    ]


async def _in_turns(ask: Work, read: Work) -> tuple[list[float], list[float]]:
    """Milliseconds of each, in alternating rounds, so that what else the machine does meets both."""
    asked, bare = [], []
    for _ in range(ROUNDS):
        asked += await _times(ask, QUESTIONS // ROUNDS)
        bare += await _times(read, QUESTIONS // ROUNDS)
    return asked, bare


async def _at_once(ask: Work) -> tuple[list[float], float]:
    """Milliseconds of each answer to `CONCURRENT` clients that wait for nothing else, and answers a second."""
    began = time.perf_counter()
    parts = await asyncio.gather(*(_times(ask, QUESTIONS // CONCURRENT) for _ in range(CONCURRENT)))
    return [each for part in parts for each in part], QUESTIONS / (time.perf_counter() - began)


def _rows(name: str, times: list[float], bare: list[float]) -> list[Row]:
    floor = "one bare Bigtable read_row"
    return [
        _row(f"{name}_{quantile}", _quantile(times, share), "ms", TARGET_MS[quantile], floor, _quantile(bare, share))
        for quantile, share in (("p50", 0.5), ("p99", 0.99))
    ]


def _row(
    name: str,
    value: float,
    unit: str,
    target: float | None = None,
    floor: str | None = None,
    floor_value: float | None = None,
) -> Row:
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "target": target,
        "floor": floor,
        "floor_value": round(floor_value, 3) if floor_value is not None else None,
    }


async def _times(work: Work, n: int) -> list[float]:
    """Milliseconds of `n` runs, one after the other."""
    times = []
    for _ in range(n):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1000)
    return times


def _steps(header: str) -> Iterator[tuple[str, float]]:
    """(step, milliseconds) of a Server-Timing header."""
    for entry in header.split(", "):
        step, _, ms = entry.partition(";dur=")
        yield step, float(ms)


def _quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(share * len(times)), len(times) - 1)]


def _client(stack: Stack) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=stack.env["FRESHET_API_URL"], timeout=10.0, trust_env=False)


@contextlib.asynccontextmanager
async def _bare_store(stack: Stack) -> AsyncIterator[AsyncStore]:
    with _stack_environment(stack):
        store = AsyncStore(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def _stack_environment(stack: Stack) -> Iterator[None]:
    """Google's Bigtable client finds the emulator through this process' environment."""
    before = os.environ.get("BIGTABLE_EMULATOR_HOST")
    os.environ["BIGTABLE_EMULATOR_HOST"] = stack.env["BIGTABLE_EMULATOR_HOST"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "Connecting to Bigtable emulator"
            yield
    finally:
        if before is None:
            del os.environ["BIGTABLE_EMULATOR_HOST"]
        else:
            os.environ["BIGTABLE_EMULATOR_HOST"] = before


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
