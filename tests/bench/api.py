"""The API's latency with 200 candidates, beside one bare Bigtable read in the same run.

One worker; the predictor and the Bigtable emulator are real processes on loopback. `python -m
tests.bench.api`.
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

from pipeline.runtime.clock import now_ms
from pipeline.store.blocking import Store
from pipeline.store.serving import AsyncStore
from tests.bench.rows import Row, row
from tests.bench.shop import Shop
from tests.stack import Stack, running_stack
from tests.stack.ports import HOST

ITEMS, VISITORS, SESSIONS = 2_000, 200, 6_000
WARM_UP, QUESTIONS, ROUNDS = 300, 1_000, 10
CONCURRENT = 4
TARGET_MS = {"p50": 15.0, "p99": 50.0}

Work = Callable[[], Awaitable[None]]


class Client:
    """Connections that stay open, and as little work for each request as may be: it shares the
    machine's cores.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(
        self, question: dict[str, Any], path: str = "/v1/recommendations"
    ) -> tuple[dict[str, Any], str]:
        """The answer and its Server-Timing."""
        reader, writer = (
            self._idle.pop() if self._idle else await asyncio.open_connection(HOST, self._port)
        )
        body = json.dumps(question).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        content = await reader.readexactly(int(headers["content-length"]))
        if " 200 " not in status:
            raise RuntimeError(f"expected status 200, got {status}: {content[:200]!r}")
        self._idle.append((reader, writer))
        return json.loads(content), headers["server-timing"]

    async def aclose(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()


def run() -> list[Row]:
    """Measure, and return the rows of the bench report."""
    with running_stack("bench-api", parts=("bigtable", "predictor", "api")) as stack:
        shop = Shop(ITEMS, VISITORS, SESSIONS, now_ms())
        fill(stack, shop)
        stack.restart_process("predictor")
        stack.restart_process("api")
        return asyncio.run(_measure(stack))


def fill(stack: Stack, shop: Shop) -> None:
    """Put the shop into the stack's Bigtable, and its model where the API finds it."""
    with _stack_environment(stack):
        store = Store(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
        shop.write(store)
        store.close()
    shop.write_model(stack.env["FRESHET_MODEL_DIR"])


async def _measure(stack: Stack) -> list[Row]:
    rng, served_by, steps = random.Random(3), Counter[str](), defaultdict[str, list[float]](list)
    async with contextlib.aclosing(Client(stack.ports.api)) as api, bare_store(stack) as store:

        async def ask() -> None:
            question = {"user_id": f"visitor{rng.randrange(VISITORS)}", "k": 20}
            answer, timing = await api.ask(question)
            for step, ms in _steps(timing):
                steps[step].append(ms)
            if answer["served_by"] != "trending" and answer["candidates"] != 200:
                raise RuntimeError(f"expected 200 candidates, got {answer['candidates']}")
            served_by[answer["served_by"]] += 1

        async def read() -> None:
            await store.read_profile(f"u#visitor{rng.randrange(VISITORS)}")

        await times_of(ask, WARM_UP)
        served_by.clear()
        steps.clear()
        alone, bare = await _in_turns(ask, read)
        inside = [
            row(f"api_step_{step}_p50", quantile(times, 0.5), "ms") for step, times in steps.items()
        ]
        busy, per_s = await _at_once(ask)
    by_vertex = served_by["vertex"] / served_by.total()
    return [
        *_rows("api_one_at_a_time", alone, bare),
        *inside,
        *(
            Row(**{**found, "target": None})
            for found in _rows(f"api_{CONCURRENT}_at_a_time", busy, bare)
        ),
        row(f"api_{CONCURRENT}_at_a_time_throughput", per_s, "answers/s"),
        row("api_share_ranked_by_vertex", by_vertex, "ratio"),
    ]


async def _in_turns(ask: Work, read: Work) -> tuple[list[float], list[float]]:
    """Milliseconds of each, in alternating rounds, so that what else the machine does meets
    both."""
    asked, bare = [], []
    for _ in range(ROUNDS):
        asked += await times_of(ask, QUESTIONS // ROUNDS)
        bare += await times_of(read, QUESTIONS // ROUNDS)
    return asked, bare


async def _at_once(ask: Work) -> tuple[list[float], float]:
    """Milliseconds of each answer to `CONCURRENT` clients that wait for nothing else, and answers a
    second.
    """
    began = time.perf_counter()
    parts = await asyncio.gather(
        *(times_of(ask, QUESTIONS // CONCURRENT) for _ in range(CONCURRENT))
    )
    return [each for part in parts for each in part], QUESTIONS / (time.perf_counter() - began)


def _rows(name: str, times: list[float], bare: list[float]) -> list[Row]:
    floor = "one bare Bigtable read_row"
    return [
        row(
            f"{name}_{of}",
            quantile(times, share),
            "ms",
            TARGET_MS[of],
            floor,
            quantile(bare, share),
        )
        for of, share in (("p50", 0.5), ("p99", 0.99))
    ]


async def times_of(work: Work, n: int) -> list[float]:
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


def quantile(times: list[float], share: float) -> float:
    """The time that so large a share of them stays below."""
    return sorted(times)[min(int(share * len(times)), len(times) - 1)]


@contextlib.asynccontextmanager
async def bare_store(stack: Stack) -> AsyncIterator[AsyncStore]:
    """The store as serving reads it, without the API."""
    with _stack_environment(stack):
        store = AsyncStore(
            stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"]
        )
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
