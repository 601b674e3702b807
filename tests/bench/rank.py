"""Rankings of 100 items, and recommendations without and with ten filters and rules, beside the
floor F; the most answers a second and the p99 at 70 % of that; and what is served when 64
connections ask at once.

F is one bare Bigtable `read_row` and one bare `rawPredict` of 200 rows through the same clients,
one after the other. `python -m tests.bench.rank`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.runtime.clock import now_ms
from tests.bench.api import (
    ITEMS,
    SESSIONS,
    VISITORS,
    WARM_UP,
    Client,
    Work,
    bare_store,
    fill,
    quantile,
    times_of,
)
from tests.bench.load import pace, saturate
from tests.bench.rows import Row, row
from tests.bench.shop import ATTRIBUTES, Shop
from tests.stack import Stack, running_stack
from tests.stack.ports import HOST
from vertex.api.endpoint import Endpoint

QUESTIONS, ROUNDS = 500, 10
LISTED, FLOOR_ROWS = 100, 200
CONNECTIONS, LOAD_S = 64, 10.0
# The most that is answered is what so many connections get that ask again at once.
MOST_CONNECTIONS, MOST_SHARE = 8, 0.7
TARGET_PACED = 5.0
ALONE = "api_recommendations_p50"
FLOOR = "F: one bare read_row, one bare rawPredict"
TARGETS = {"rank": 2.0, "recommendations": 2.5, "ruled": 2.5}  # times F
PROCESSOR_TARGET = 3.0
TARGET_ADDED = 0.1
# Four filters and six rules. Half of the visitors' candidates pass.
PLACEMENTS = """
home: {kind: for_you}
ruled:
  kind: for_you
  filter: price < 200 and price <= list_price and not adult and "be" in regions
  rules:
    - {boost: 1.5, where: 'brand in ["brand1", "brand2", "brand3"]'}
    - {boost: 0.5, where: price < 10}
    - {freshness: 0.5, half_life: 7d}
    - {repeats: 0.8}
    - {at_most: 2, of: brand, within: 8}
    - {share: 0.1, up_to: 0.2, where: sponsored}
"""


def run() -> list[Row]:
    """Measure, and return the rows of the bench report."""
    settings = {"FRESHET_PLACEMENTS": PLACEMENTS, "FRESHET_ATTRIBUTES": json.dumps(ATTRIBUTES)}
    parts = ("bigtable", "predictor", "api")
    with running_stack("bench-rank", parts=parts, extra_env=settings) as stack:
        fill(stack, Shop(ITEMS, VISITORS, SESSIONS, now_ms()))
        stack.restart_process("predictor")
        stack.restart_process("api")
        beside_floor = asyncio.run(_beside_floor(stack))
        p50_ms = next(each["value"] for each in beside_floor if each["name"] == ALONE)
        return [*beside_floor, *_at_most_load(stack, p50_ms), *_under_load(stack)]


class _Processor:
    """Processor seconds of a process, so far."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")

    def __call__(self) -> float:
        fields = self._stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _beside_floor(stack: Stack) -> list[Row]:
    rng = random.Random(3)
    endpoint = Endpoint(
        stack.env["FRESHET_VERTEX_ENDPOINT"], stack.env["FRESHET_VERTEX_HOST"], timeout_s=5.0
    )
    matrix = np.random.default_rng(1).random((FLOOR_ROWS, len(FEATURE_NAMES)), np.float32)
    async with (
        contextlib.aclosing(Client(stack.ports.api)) as api,
        contextlib.aclosing(endpoint),
        bare_store(stack) as store,
    ):

        async def floor() -> None:
            await store.read_profile(f"u#visitor{rng.randrange(VISITORS)}")
            await endpoint.predict(matrix)

        async def rank() -> None:
            answer, _ = await api.ask(_list(rng), "/v1/rank")
            if answer["unknown"] or answer["served_by"] == "caller":
                raise RuntimeError(f"expected a list that is known, got {answer}")

        works: dict[str, Work] = {
            "floor": floor,
            "rank": rank,
            "recommendations": _recommends(api, "home"),
            "ruled": _recommends(api, "ruled"),
        }
        for work in works.values():
            await times_of(work, WARM_UP)
        served = _Processor(stack.processes["api"].pid)
        clocks: dict[str, Callable[[], float]] = {"floor": time.process_time}
        times: dict[str, list[float]] = {name: [] for name in works}
        spent_ms = dict.fromkeys(works, 0.0)
        for _ in range(ROUNDS):
            for name, work in works.items():
                clock = clocks.get(name, served)
                before = clock()
                times[name] += await times_of(work, QUESTIONS // ROUNDS)
                spent_ms[name] += (clock() - before) * 1000 / QUESTIONS
    rows = [each for name in TARGETS for each in _rows(name, times, spent_ms)]
    return [*rows, *_added(times, spent_ms)]


def _recommends(api: Client, placement: str) -> Work:
    """Asks for one visitor after another, the same ones for every placement."""
    rng = random.Random(5)

    async def recommend() -> None:
        visitor = f"visitor{rng.randrange(VISITORS)}"
        answer, _ = await api.ask({"user_id": visitor, "k": 20, "placement": placement})
        if answer["placement"] != placement or len(answer["recommendations"]) != 20:
            raise RuntimeError(f"expected 20 items of {placement}, got {answer}")

    return recommend


def _added(times: dict[str, list[float]], spent_ms: dict[str, float]) -> list[Row]:
    """The share that ten filters and rules add to an answer."""
    p50 = quantile(times["recommendations"], 0.5)
    processor = spent_ms["recommendations"]
    without = "ms without any"
    p50_added = quantile(times["ruled"], 0.5) / p50 - 1
    processor_added = spent_ms["ruled"] / processor - 1
    return [
        row("api_ruled_adds_p50", p50_added, "ratio", TARGET_ADDED, without, p50),
        row("api_ruled_adds_processor", processor_added, "ratio", TARGET_ADDED, without, processor),
    ]


def _rows(name: str, times: dict[str, list[float]], spent_ms: dict[str, float]) -> list[Row]:
    p50, p99 = quantile(times["floor"], 0.5), quantile(times["floor"], 0.99)
    own = times[name]
    of_floor = spent_ms["floor"]
    processor = f"api_{name}_processor"
    return [
        row(f"api_{name}_p50", quantile(own, 0.5), "ms", TARGETS[name] * p50, FLOOR, p50),
        row(f"api_{name}_p99", quantile(own, 0.99), "ms", 3 * p99, FLOOR, p99),
        row(processor, spent_ms[name], "ms", PROCESSOR_TARGET * of_floor, FLOOR, of_floor),
    ]


def _list(rng: random.Random) -> dict[str, object]:
    items = [f"p{index}" for index in rng.sample(range(ITEMS), LISTED)]
    return {"user_id": f"visitor{rng.randrange(VISITORS)}", "items": items}


def _at_most_load(stack: Stack, p50_ms: float) -> list[Row]:
    """The most answers a second, and the p99 at a share of that."""
    requests = _requests()
    most = saturate(stack.ports.api, requests, MOST_CONNECTIONS, LOAD_S, _served).rate_per_s
    rate_per_s = MOST_SHARE * most
    paced = pace(stack.ports.api, requests, CONNECTIONS, LOAD_S, _served, rate_per_s)
    p99_ms = quantile([seconds * 1000 for seconds in paced.latencies_s], 0.99)
    target, beside = TARGET_PACED * p50_ms, "p50 of one at a time"
    return [
        row("api_most", most, "answers/s"),
        row("api_p99_at_70_percent", p99_ms, "ms", target, beside, p50_ms),
    ]


def _served(head: bytes, _: bytes) -> bool:
    return head[9:12] == b"200"


def _requests() -> list[bytes]:
    rng = random.Random(4)
    return [_request(f"visitor{rng.randrange(VISITORS)}") for _ in range(1_000)]


def _under_load(stack: Stack) -> list[Row]:
    """What `CONNECTIONS` get that ask again at once: answers, and refusals of those that waited."""
    statuses: list[bytes] = []

    def accepts(head: bytes, _: bytes) -> bool:
        statuses.append(head[9:12])
        return statuses[-1] in (b"200", b"503")

    load = saturate(stack.ports.api, _requests(), CONNECTIONS, LOAD_S, accepts)
    served = [
        seconds * 1000
        for seconds, status in zip(load.latencies_s, statuses, strict=True)
        if status == b"200"
    ]
    name = f"api_{CONNECTIONS}_connections"
    return [
        row(f"{name}_served", len(served) / load.elapsed_s, "answers/s"),
        row(f"{name}_served_p50", quantile(served, 0.5), "ms"),
        row(f"{name}_served_p99", quantile(served, 0.99), "ms", 300.0),
        row(f"{name}_refused", 1 - len(served) / len(statuses), "ratio"),
    ]


def _request(visitor: str) -> bytes:
    body = json.dumps({"user_id": visitor, "k": 20}).encode()
    head = f"POST /v1/recommendations HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
