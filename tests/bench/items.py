"""Items in the API's memory at 10,000, 100,000 and a million: bytes each with trained and text
vectors, time until a snapshot is ready, and the time of an answer in the process.

Each size is measured in a process of its own, which starts from a snapshot as the API does. Answers
are ranked by the prior in the process: no network. `python -m tests.bench items`.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import TOUCHED, ItemRow, ItemStats
from pipeline.core.profile import UserProfile
from pipeline.core.text_vectors import TEXT_DIM, Units, encode_waiting
from pipeline.core.vectors import VectorIndex
from pipeline.store.item_snapshot import load_items, save_items
from tests.bench.api import quantile
from tests.bench.rows import Row, row
from tests.vertex.api.fakes import NOW_MS, FakeReader, Service, local_ranker
from vertex.api.approximate import InvertedLists
from vertex.api.contract import Request
from vertex.api.latest_model import EXACT_VECTORS
from vertex.api.timing import StageTimer
from vertex.models.registry import prior_model

SIZES = (10_000, 100_000, 1_000_000)
VECTOR_DIM = 64
TARGET_BYTES = dict.fromkeys(SIZES[1:], 1_500.0)
TARGET_READY_S = {100_000: 3.0, 1_000_000: 30.0}
TARGET_RATIO = 1.5
VISITORS, QUESTIONS, WARM_UP = 100, 400, 50
# Items that the visitors have viewed, each seen with the next 50.
VIEWED, COMPANY = 2_000, 50
STATES = 500
PAGE_BYTES = resource.getpagesize()


def run() -> list[Row]:
    """Rows for each size; takes about five minutes."""
    rows: list[Row] = []
    p50_ms: dict[int, float] = {}
    for size in SIZES:
        found = _measured(size)
        name = f"items_{size // 1000}k"
        p50_ms[size] = found["p50_ms"]
        rows += [
            row(f"{name}_bytes", found["bytes"], "bytes", TARGET_BYTES.get(size)),
            row(f"{name}_ready", found["ready_s"], "s", TARGET_READY_S.get(size)),
            row(f"{name}_answer_p50", found["p50_ms"], "ms"),
        ]
    least, most = SIZES[0], SIZES[-1]
    beside = f"ms among {least // 1000}k"
    ratio = p50_ms[most] / p50_ms[least]
    return [*rows, row("items_1000k_answer", ratio, "ratio", TARGET_RATIO, beside, p50_ms[least])]


def _measured(size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        for step in ("write", "measure"):
            command = [sys.executable, "-m", "tests.bench.items", step, folder, str(size)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, float] = json.loads(output)
    return found


class _ByChance:
    """A `TextEncoder` that looks at no text."""

    name = "chance"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def encode(self, texts: Sequence[str]) -> Units:
        """See `TextEncoder`."""
        return self._rng.standard_normal((len(texts), TEXT_DIM), np.float32) / np.float32(8)


def write(folder: str, size: int) -> None:
    """A snapshot of so many items."""
    items = ItemColumns()
    for number, each in enumerate(_items(size)):
        items.put(each)
        if number % 10_000 == 0:
            encode_waiting(items.text, _ByChance())
    encode_waiting(items.text, _ByChance())
    save_items(folder, items, items.all_rows(), NOW_MS)


def _items(size: int) -> Iterator[ItemRow]:
    rng = random.Random(1)
    states = [_stats(rng) for _ in range(STATES)]
    for number in range(size):
        item = Item(
            f"p{number}",
            f"{rng.choice(_WORDS)} {rng.choice(_WORDS)} {rng.choice(_WORDS)}, number {number}",
            _category(number),
            f"brand{rng.randrange(1_000)}",
            round(rng.uniform(5.0, 500.0), 2),
            description="Holds what it says, and is easy to keep clean.",
            regions=rng.sample(("nl", "be", "de"), rng.randrange(3)),
            attributes={
                "colour": rng.choice(_WORDS),
                "weight": round(rng.uniform(0.1, 20.0), 2),
                "list_price": round(rng.uniform(5.0, 600.0), 2),
                "organic": rng.random() < 0.2,
                "tags": rng.sample(_WORDS, 2),
            },
        )
        yield ItemRow(item, rng.choice(states))


_WORDS = "red blue green steel oak linen wool small large round lamp rug chair table vase".split()


def _category(number: int) -> str:
    return f"department{number % 20}.category{number % 400}"


def _stats(rng: random.Random) -> ItemStats:
    stats = ItemStats()
    for _ in range(rng.randrange(1, 10)):
        name = rng.choice(("view_product", "view_product", "click", "impression", "purchase"))
        stats.add(_event(name, "p0", rng.randrange(7 * 86_400)))
    for _ in range(5):
        stats.link(f"p{rng.randrange(VIEWED)}", TOUCHED, 1.0, NOW_MS)
    return stats


def _event(name: str, product_id: str, ago_s: int) -> Event:
    time_ms = NOW_MS - ago_s * 1000
    timestamp = datetime.fromtimestamp(time_ms / 1000, UTC)
    return Event(
        event_id=f"{name}-{product_id}-{time_ms}",
        event=name,
        user_id="u",
        session_id="s",
        product_id=product_id,
        timestamp=timestamp,
    )


async def measure(folder: str, size: int) -> dict[str, float]:
    """Start from the snapshot, take trained vectors, and answer."""
    reader, before = _reader(), _resident_bytes()
    vectors = _vectors(size)
    service = Service(reader, local_ranker(), replace(prior_model(), vectors=vectors))
    began_s = time.monotonic()
    columns = ItemColumns()
    header = load_items(folder, columns, size)
    await service.items.start_from(columns, header)
    ready_s = time.monotonic() - began_s
    service.items.columns.use_vectors(vectors)
    held = _resident_bytes() - before
    if size > EXACT_VECTORS:
        vectors.search_with(InvertedLists(vectors.rows).nearest)
    times = await _answers(service)
    return {"bytes": held / size, "ready_s": ready_s, "p50_ms": quantile(times, 0.5)}


def _vectors(size: int) -> VectorIndex:
    """Around a centre for each category."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(400, VECTOR_DIM)).astype(np.float32)
    rows = centres[np.arange(size) % 400]
    rows += 0.7 * rng.standard_normal(size=rows.shape, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return VectorIndex([f"p{number}" for number in range(size)], rows)


def _reader() -> FakeReader:
    rng = random.Random(2)
    rows = []
    for number in range(VIEWED):
        stats = ItemStats()
        for step in range(1, COMPANY + 1):
            stats.link(f"p{(number + step) % VIEWED}", TOUCHED, 1.0 + step, NOW_MS)
        rows.append(ItemRow(Item(f"p{number}", f"Item {number}", _category(number)), stats))
    profiles = {}
    for visitor in range(VISITORS):
        profile = UserProfile()
        for _ in range(20):
            seen = rng.choice(rows).item
            profile.add(_event("view_product", seen.item_id, rng.randrange(86_400)), seen)
        profiles[f"u#visitor{visitor}"] = profile
    return FakeReader(rows, profiles)


async def _answers(service: Service) -> list[float]:
    rng, times = random.Random(3), []
    for number in range(WARM_UP + QUESTIONS):
        question = Request(user_id=f"visitor{rng.randrange(VISITORS)}", k=20)
        began = time.perf_counter()
        answer = await service.recommender.answer(question, StageTimer())
        if number >= WARM_UP:
            times.append((time.perf_counter() - began) * 1000)
        if len(answer["recommendations"]) != 20:
            raise RuntimeError(f"expected 20 items, got {answer}")
    return times


def _resident_bytes() -> int:
    """Memory that is in use: what the allocator keeps for later is given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["measure"]:
        print(json.dumps(asyncio.run(measure(sys.argv[2], int(sys.argv[3])))))
    else:
        print(json.dumps(run(), indent=1))
