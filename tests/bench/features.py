"""Our features of one visitor and 100 items, read from Bigtable, beside Feast's Python feature
server on the same emulator, the same visitor and items, in turns in one run.

Ours is the read through the API's own client and the whole feature matrix, `(100, d)`, in this
process. Feast's is its answer over HTTP with eight stored numbers for the visitor and for each
item, which it does not compute. Beside both the floor: one bare `read_row`.

`.venv-feast` is made by `make .venv-feast/.installed`. `python -m tests.bench.features`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from pipeline.core.event_types import EVENT_TYPES
from pipeline.core.features.matrix import feature_matrix
from pipeline.core.features.moment import RECENT_SEEDS, Moment
from pipeline.core.features.ranking_inputs import RankingContext
from pipeline.core.item_columns import ItemColumns, Seed
from pipeline.core.items import ItemRow
from pipeline.core.profile import UserProfile
from pipeline.runtime.clock import now_ms
from pipeline.store.serving import AsyncStore
from tests.bench.api import ITEMS, SESSIONS, VISITORS, Work, bare_store, fill, quantile, times_of
from tests.bench.rows import Row, row
from tests.bench.shop import Shop
from tests.stack import Stack, running_stack
from tests.stack.environment import REPO
from tests.stack.ports import HOST, free_ports

PYTHON = REPO / ".venv-feast" / "bin" / "python"
SERVER = "tests.bench.engines.feast_server"
LISTED, QUESTIONS, ROUNDS, WARM_UP = 100, 500, 10, 50
COUNTED = EVENT_TYPES[:8]
START_S, WRITE_S = 60.0, 120.0
DEADLINE_S = 5.0


def run() -> list[Row]:
    """Measure; takes about a minute, and a few more the first time, for Feast's environment."""
    made = subprocess.run(
        ["make", "--no-print-directory", ".venv-feast/.installed"], cwd=REPO, check=False
    )
    if made.returncode:
        print("features: .venv-feast is not there, so Feast is not compared", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="freshet-feast-") as name,
        running_stack("bench-features", parts=("bigtable",)) as stack,
    ):
        shop = Shop(ITEMS, VISITORS, SESSIONS, now_ms())
        fill(stack, shop)
        if made.returncode:
            return asyncio.run(_measure(stack, None))
        with _feast(stack, shop, Path(name)) as url:
            return asyncio.run(_measure(stack, url))


@contextlib.contextmanager
def _feast(stack: Stack, shop: Shop, folder: Path) -> Iterator[str]:
    """Feast's server with the values of this shop, for the time of a block; its address."""
    (folder / "values.json").write_text(json.dumps(_values(shop)), encoding="utf-8")
    env = {**os.environ, **stack.env, "PYTHONPATH": str(REPO)}
    command = [str(PYTHON), "-m", SERVER]
    subprocess.run([*command, "write", str(folder)], cwd=REPO, env=env, check=True, timeout=WRITE_S)
    port = free_ports().api
    with (folder / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [*command, "serve", str(folder), str(port)],
            cwd=REPO,
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://{HOST}:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(START_S)


def _values(shop: Shop) -> dict[str, dict[str, list[float]]]:
    """Counts of eight types of events, by visitor and by item."""
    return {
        "visitor": {
            visitor: [float(profile.total(each.name)) for each in COUNTED]
            for visitor, profile in shop.profiles.items()
        },
        "item": {
            item_id: [float(stats.counts.totals.get(each.code, 0)) for each in COUNTED]
            for item_id, stats in shop.stats.items()
        },
    }


async def _measure(stack: Stack, url: str | None) -> list[Row]:
    async with contextlib.AsyncExitStack() as opened:
        store = await opened.enter_async_context(bare_store(stack))
        rng = random.Random(3)

        async def bare() -> None:
            await store.read_profile(f"u#{_visitor(rng)}", DEADLINE_S)

        works: dict[str, Work] = {"bare": bare, "ours": _ours(store)}
        if url is not None:
            works["feast"] = await opened.enter_async_context(_theirs(url))
        for work in works.values():
            await times_of(work, WARM_UP)
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                times[name] += await times_of(work, QUESTIONS // ROUNDS)
    return [each for point in (0.5, 0.99) for each in _rows(times, point)]


def _rows(times: dict[str, list[float]], share: float) -> list[Row]:
    at = {name: quantile(each, share) for name, each in times.items()}
    point = f"p{share * 100:.0f}"
    floor = "one bare read_row"
    rows = [row(f"features_ours_{point}", at["ours"], "ms", at.get("feast"), floor, at["bare"])]
    if "feast" in at:
        rows.append(row(f"features_feast_{point}", at["feast"], "ms", None, floor, at["bare"]))
    return rows


def _ours(store: AsyncStore) -> Work:
    rng = random.Random(4)

    async def read() -> None:
        asked = _items(rng)
        profile, rows = await asyncio.gather(
            store.read_profile(f"u#{_visitor(rng)}", DEADLINE_S),
            store.read_items(asked, DEADLINE_S),
        )
        matrix = _matrix(profile or UserProfile(), rows)
        if len(matrix) != LISTED:
            raise RuntimeError(f"expected {LISTED} items, got {len(matrix)}")

    return read


def _matrix(profile: UserProfile, rows: dict[str, ItemRow]) -> Any:
    """The features of these items, which are in no memory before."""
    items = ItemColumns.of(rows.values())
    at_ms = now_ms()
    recent = [item_id for item_id, _ in profile.recent_items(at_ms, RECENT_SEEDS)]
    seeds = {item_id: Seed(rows[item_id].stats) for item_id in recent if item_id in rows}
    return feature_matrix(Moment(profile, items, at_ms, seeds), items.all_rows(), RankingContext())


@contextlib.asynccontextmanager
async def _theirs(url: str) -> AsyncIterator[Work]:
    """Feast's answer to the same questions, once it is up."""
    rng = random.Random(4)
    features = [f"{kind}:f{place}" for kind in ("visitor", "item") for place in range(len(COUNTED))]
    async with aiohttp.ClientSession(url) as http:

        async def read() -> None:
            items = _items(rng)
            entities = {"item_id": items, "visitor_id": [_visitor(rng)] * LISTED}
            question = {"features": features, "entities": entities, "full_feature_names": True}
            async with http.post("/get-online-features", json=question) as answer:
                body = await answer.json()
            is_whole = answer.status == 200 and all(
                result["statuses"] == ["PRESENT"] * LISTED for result in body["results"]
            )
            if not is_whole:
                raise RuntimeError(f"expected {LISTED} whole rows, got {answer.status}: {body}")

        await _until_up(http)
        yield read


async def _until_up(http: aiohttp.ClientSession) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            async with http.get("/health") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        if time.monotonic() > end:
            raise RuntimeError(f"expected Feast's server within {START_S:.0f} s")
        await asyncio.sleep(0.2)


def _visitor(rng: random.Random) -> str:
    return f"visitor{rng.randrange(VISITORS)}"


def _items(rng: random.Random) -> list[str]:
    return [f"p{index}" for index in rng.sample(range(ITEMS), LISTED)]


if __name__ == "__main__":
    for found in run():
        print(found)
