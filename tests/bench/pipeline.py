"""Events a second through the whole pipeline on the DirectRunner, all sinks on, beside the pure core alone.

A backlog of 20-event messages waits in Pub/Sub at all times, so the pipeline runs as fast as it can; what reaches
the events log in BigQuery between two readings a minute apart is its rate. A message is what a browser sends: one
visitor's impressions, clicks and views over a few of 2,000 products. The floor is the same work without a runner and
without a network: decode, fold into profiles, items and trending, encode.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from pipeline.core.catalog import Item, parse_item
from pipeline.core.events import Event, decode_message, encode_message, profile_key
from pipeline.core.fold import fold
from pipeline.core.profile import UserProfile
from pipeline.decoding import event_row
from pipeline.folding import sums
from pipeline.store import Store, item_write, now_ms
from tests.bench.rows import Row, row
from tests.simulator import catalog
from tests.simulator.warehouse import Warehouse
from tests.stack import EMULATORS, Stack
from tests.stack.ports import free_ports

EVENTS_A_MESSAGE = 20
VISITORS = 400
WARM_UP_S = 15.0
MEASURE_S = 60.0
PROFILE_S = 20.0
MOST_WAITING = 600  # messages: a backlog that neither runs dry between two looks nor grows
LOOK_S = 4.0
TARGET_EVENTS_PER_S = 800.0
MIX = ["impression"] * 10 + ["click"] * 3 + ["view_product"] * 4 + ["add_to_cart", "page_view", "search"]


def run() -> list[Row]:
    """Measure; takes about two minutes."""
    items = [parse_item(asdict(product)) for product in catalog.generate(seed=7)]
    with Stack(f"bench-{time.time_ns()}", free_ports(), (*EMULATORS, "pipeline")) as stack:
        os.environ.update(stack.env)  # Google's clients find their emulators in no other way
        _load(stack, items)
        rate, share = _measure(stack, items)
    shutil.rmtree(stack.folder, ignore_errors=True)
    core = core_rate(items)
    rows = [
        row(
            "pipeline_20_event_messages",
            rate,
            "events/s",
            TARGET_EVENTS_PER_S,
            "pure core, no runner, no network",
            core,
        )
    ]
    return rows + [row(f"pipeline_time_in_{part}", value, "%") for part, value in share.most_common()]


def message(dice: random.Random, number: int, items: list[Item], moment: datetime) -> bytes:
    """One browser's flush: 20 events of one visitor on products of one shelf."""
    visitor = dice.randrange(VISITORS)
    shelf = (visitor * 37 + dice.randrange(3) * 400) % len(items)
    events = [
        Event(
            event_id=f"{number}-{position}",
            event=name,
            timestamp=moment,
            user_id=f"v{visitor}",
            session_id=f"s{visitor}-{number // (VISITORS * 8)}",
            product_id=None
            if name in ("page_view", "search")
            else items[(shelf + dice.randrange(10)) % len(items)].item_id,
            ingest_time=moment,
            metadata={"query": "shoes"} if name == "search" else {"position": position, "placement": "home"},
        )
        for position, name in enumerate(dice.choices(MIX, k=EVENTS_A_MESSAGE))
    ]
    return encode_message(events)


def core_rate(items: list[Item], messages: int = 1_000) -> float:
    """Events a second on one core: what remains when runner, network and stores are taken away."""
    dice, by_id = random.Random(7), {item.item_id: item for item in items}
    bodies = [message(dice, number, items, datetime.now(UTC)) for number in range(messages)]
    profiles: dict[str, bytes] = {}
    rows: dict[str, bytes] = {}
    began = time.perf_counter()
    for body in bodies:
        _fold_one(decode_message(body), by_id, profiles, rows)
    return messages * EVENTS_A_MESSAGE / (time.perf_counter() - began)


def _fold_one(
    events: list[Event], items: dict[str, Item], profiles: dict[str, bytes], rows: dict[str, bytes]
) -> None:
    key = profile_key(events[0])
    profile = UserProfile.decode(profiles[key]) if key in profiles else UserProfile()
    facts = [(event, items.get(event.product_id or "")) for event in events]
    for fact in facts:
        event_row(*fact)
    partial_items, partial_scopes = sums([fold(profile, facts)], 1)
    profiles[key] = profile.encode()
    for name, addition in {**partial_items, **partial_scopes}.items():
        total: Any = type(addition).decode(rows[name]) if name in rows else type(addition)()
        total.merge(addition)
        rows[name] = total.encode()


def _measure(stack: Stack, items: list[Item]) -> tuple[float, Counter[str]]:
    warehouse = Warehouse(stack.env)
    feed = _feed(stack, items, warehouse)
    try:
        _pump(feed, WARM_UP_S)
        first, began = warehouse.log().rows, time.monotonic()
        _pump(feed, MEASURE_S)
        last, ended = warehouse.log().rows, time.monotonic()
        profiler = _profiler(stack)  # afterwards: it stops the process at every sample
        _pump(feed, PROFILE_S)
    finally:
        warehouse.close()
    return (last - first) / (ended - began), _shares(profiler)


def _feed(stack: Stack, items: list[Item], warehouse: Warehouse) -> Iterator[None]:
    """Fill the backlog up at each step; what the log holds says how much of it is left."""
    env = stack.env
    publisher = pubsub_v1.PublisherClient(batch_settings=pubsub_v1.types.BatchSettings(max_messages=100))
    topic = publisher.topic_path(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_EVENTS_TOPIC"])
    dice, sent = random.Random(7), 0
    while True:
        room = MOST_WAITING - (sent - warehouse.log().rows // EVENTS_A_MESSAGE)
        now = datetime.now(UTC)
        futures = [publisher.publish(topic, message(dice, sent + n, items, now)) for n in range(max(0, room))]
        for future in futures:
            future.result(timeout=10)
        sent += len(futures)
        stack.check()
        yield


def _pump(feed: Iterator[None], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        next(feed)
        time.sleep(min(LOOK_S, max(0.0, end - time.monotonic())))


def _load(stack: Stack, items: list[Item]) -> None:
    store = Store(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
    store.write([item_write(item, now_ms()) for item in items])
    store.close()


def _profiler(stack: Stack) -> tuple[subprocess.Popen[bytes], Path] | None:
    """py-spy on the pipeline's process, where it is installed and allowed to look."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        return None
    output = stack.folder / "pipeline.stacks"
    pid = stack.processes["pipeline"].pid
    command = [
        str(spy),
        "record",
        "-p",
        str(pid),
        "-d",
        str(round(PROFILE_S) - 2),
        "-r",
        "50",
        "-f",
        "raw",
        "-o",
        str(output),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), output


def _shares(profiler: tuple[subprocess.Popen[bytes], Path] | None) -> Counter[str]:
    """Percent of the pipeline thread's wall time by where it was spent."""
    if profiler is None:
        return Counter()
    process, output = profiler
    if process.wait(timeout=60) != 0:
        return Counter()
    samples: Counter[str] = Counter()
    for line in output.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if "_ExecutorServiceWorker.run" in stack:
            samples[_part(stack)] += int(count)
    total = samples.total() or 1
    return Counter({part: round(100 * count / total, 1) for part, count in samples.items()})


def _part(stack: str) -> str:
    for mark, part in (
        ("pubsub", "pubsub_reads"),
        ("insert_rows_json", "bigquery_inserts"),
        ("Store.write", "bigtable_writes"),
        ("Store.read", "bigtable_reads"),
        ("pipeline/", "own_code"),
    ):
        if mark in stack:
            return part
    return "runner"


if __name__ == "__main__":
    for found in run():
        print(found)
