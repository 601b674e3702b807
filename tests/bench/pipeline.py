"""Events a second through the whole pipeline on the DirectRunner for five minutes, all sinks on,
beside the pure core.

A backlog of 20-event messages waits in Pub/Sub at all times, so the pipeline runs as fast as it
can; what reaches the events log in BigQuery between two readings is its rate: over the whole time,
over its first minute and over its last. A message is what a browser sends: what one visitor was
shown, clicked, viewed and searched, on a few of 2,000 products. Everybody has been there the day
before, so states are as large as in a shop in use. No visitor does more than people do, for what is
marked as a program's costs less: the pipeline's own count of anomalies is reported, and is to be
0. The floor is the same work without a runner and without a network: decode, fold into profiles,
  items and trending,
encode. `PIPELINE_SECONDS=60 python -m tests.bench pipeline` for less.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

from google.cloud import bigquery, pubsub_v1  # type: ignore[attr-defined]

from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import parse_item
from pipeline.core.events import Event, decode_message, encode_message
from pipeline.core.fold import fold
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import profile_key
from pipeline.runtime.clock import now_ms
from pipeline.steps.decode import event_row
from pipeline.steps.items import add_rank, sums
from pipeline.store.blocking import Store
from pipeline.store.layout import PROFILE, STATS, TRENDING, cell, item_write
from tests.bench.rows import Row, row
from tests.simulator import catalog
from tests.stack import EMULATORS, Stack
from tests.stack.bootstrap import bigquery_client
from tests.stack.ports import free_ports

EVENTS_A_MESSAGE = 20
VISITORS = 2_000
STRIDE = 1_009  # shares no divisor with VISITORS
MESSAGES_A_SESSION = 8
PAST_MESSAGES = 5  # of each visitor, on the day before
WARM_UP_S = 60.0
MEASURE_S = 300.0
PROFILE_S = 20.0
MOST_WAITING = 600  # messages: a backlog that neither runs dry between two looks nor grows
LOOK_S = 4.0
TARGET_EVENTS_PER_S = 1_000.0
TARGET_SLOW_DOWN_PERCENT = 10.0
BETWEEN_EVENTS = timedelta(milliseconds=500)
SHOWN = 10
RUNNER_FILES = ("pipeline/local/",)
MIX = ["click"] * 3 + ["view_product"] * 4 + ["add_to_cart", "page_view", "search"]

# when, in s of a clock that never goes back, and how many rows the log held
Reading = tuple[float, int]


def run() -> list[Row]:
    """Measure; takes about eight minutes, or what PIPELINE_SECONDS says and three more."""
    seconds = float(os.environ.get("PIPELINE_SECONDS", MEASURE_S))
    items = [parse_item(asdict(product)) for product in catalog.generate(seed=7)]
    shop = yesterday(items)
    with Stack(f"bench-{time.time_ns()}", free_ports(), (*EMULATORS, "pipeline")) as stack:
        os.environ.update(stack.env)  # Google's clients find their emulators in no other way
        _load(stack, shop)
        readings, share = _measure(stack, items, seconds)
        stack.stop_process("pipeline")  # it says its counts once more
        counts = last_counts((stack.folder / "logs" / "pipeline.log").read_text(encoding="utf-8"))
    shutil.rmtree(stack.folder, ignore_errors=True)
    return [
        *rate_rows(readings, core_rate(shop)),
        row(
            "pipeline_anomalies",
            counts.get("rules/anomalies", 0) + counts.get("rules/address_anomalies", 0),
            "",
            0,
        ),
        row("pipeline_coalesced_writes", 100 * coalesced(counts), "%"),
        *(row(f"pipeline_time_in_{part}", value, "%") for part, value in share.most_common()),
    ]


def rate_rows(readings: list[Reading], core: float) -> list[Row]:
    """The rate over all of the readings, over the first and the last minute (a third, of less than
    three), and how much slower the last is, in percent."""
    minute = min(60.0, (readings[-1][0] - readings[0][0]) / 3)
    first = [reading for reading in readings if reading[0] <= readings[0][0] + minute + 1]
    last = [reading for reading in readings if reading[0] >= readings[-1][0] - minute - 1]
    slow_down = 100 * (1 - rate(last) / rate(first))
    floor = "pure core, no runner, no network"
    return [
        row(
            "pipeline_20_event_messages",
            rate(readings),
            "events/s",
            TARGET_EVENTS_PER_S,
            floor,
            core,
        ),
        row("pipeline_first_minute", rate(first), "events/s"),
        row("pipeline_last_minute", rate(last), "events/s"),
        row("pipeline_slow_down", slow_down, "%", TARGET_SLOW_DOWN_PERCENT),
        row("pipeline_measured_for", readings[-1][0] - readings[0][0], "s"),
    ]


def rate(readings: list[Reading]) -> float:
    """Rows a second from the first reading to the last."""
    (began, before), (ended, after) = readings[0], readings[-1]
    return (after - before) / (ended - began)


def last_counts(log: str) -> dict[str, int]:
    """The counts of the newest metrics line in a pipeline's log; empty when there is none."""
    lines = [line for line in log.splitlines() if line.startswith("INFO pipeline.metrics {")]
    counts: dict[str, int] = (
        json.loads(lines[-1].partition("metrics ")[2])["metrics"] if lines else {}
    )
    return counts


def coalesced(counts: dict[str, int]) -> float:
    """Of the changes of rows, the share that needed no write of its own, in [0, 1]."""
    spared = sum(count for name, count in counts.items() if name.endswith("/coalesced"))
    return spared / max(spared + counts.get("bigtable/written", 0), 1)


def message(rng: random.Random, number: int, items: list[Item], moment: datetime) -> bytes:
    """One browser's flush: 10 products of one shelf that one visitor was shown, and 10 things done
    with them.
    """
    # in turn: a browser does not send two messages at one moment
    visitor = number * STRIDE % VISITORS
    shelf = (visitor * 37 + rng.randrange(3) * 400) % len(items)
    shown = [items[(shelf + place) % len(items)].item_id for place in range(SHOWN)]
    deeds = [("impression", item_id) for item_id in shown]
    deeds += [(name, rng.choice(shown)) for name in rng.choices(MIX, k=EVENTS_A_MESSAGE - SHOWN)]
    events = [
        Event(
            event_id=f"{number}-{position}",
            event=name,
            timestamp=moment - BETWEEN_EVENTS * (EVENTS_A_MESSAGE - position),
            user_id=f"v{visitor}",
            session_id=f"s{visitor}-{number // (VISITORS * MESSAGES_A_SESSION)}",
            product_id=None if name in ("page_view", "search") else item_id,
            ingest_time=moment,
            metadata=_metadata(name, number, position),
        )
        for position, (name, item_id) in enumerate(deeds)
    ]
    return encode_message(events)


def _metadata(name: str, number: int, position: int) -> dict[str, Any]:
    if name in ("impression", "click"):
        return {"request_id": f"r{number}", "placement": "home", "position": position}
    return {"query": "shoes"} if name == "search" else {}


@dataclass
class Shop:
    """All that the pipeline keeps, encoded, and its work without a runner and a network."""

    catalog: dict[str, Item]
    profiles: dict[str, bytes] = field(default_factory=dict)
    items: dict[str, bytes] = field(default_factory=dict)
    scopes: dict[str, bytes] = field(default_factory=dict)

    def fold(self, body: bytes) -> None:
        """One message: decode, make its rows, fold into the profile, items and scopes, encode."""
        events = decode_message(body)
        key = profile_key(events[0])
        profile = UserProfile.decode(self.profiles[key]) if key in self.profiles else UserProfile()
        facts = [(event, self.catalog.get(event.product_id or "")) for event in events]
        for fact in facts:
            event_row(*fact)
        items, scopes = sums([fold(profile, facts)], 1)
        self.profiles[key] = profile.encode()
        for item_id, partial in items.items():
            stats = ItemStats.decode(self.items[item_id]) if item_id in self.items else ItemStats()
            stats.merge(partial)
            self.items[item_id] = stats.encode()
            add_rank(scopes, item_id, stats, 1)
        for name, addition in scopes.items():
            scope = Trending.decode(self.scopes[name]) if name in self.scopes else Trending()
            scope.merge(addition)
            self.scopes[name] = scope.encode()

    def write(self, store: Store) -> None:
        """Put everything into Bigtable."""
        at_ms = now_ms()
        store.write(item_write(item, at_ms) for item in self.catalog.values())
        for kind, rows in ((PROFILE, self.profiles), (STATS, self.items), (TRENDING, self.scopes)):
            store.write(cell(kind, key, value, at_ms) for key, value in rows.items())


def yesterday(items: list[Item]) -> Shop:
    """A shop in use: every visitor has been there, so that what is measured is no growth of empty
    states.
    """
    shop = Shop({item.item_id: item for item in items})
    rng, moment = random.Random(8), datetime.now(UTC) - timedelta(days=1)
    for number in range(VISITORS * PAST_MESSAGES):
        at = moment + number * timedelta(milliseconds=100)
        shop.fold(message(rng, -1 - number, items, at))
    return shop


def core_rate(shop: Shop, messages: int = 1_000) -> float:
    """Events a second on one core: what remains when runner, network and stores are taken away."""
    rng, items = random.Random(7), list(shop.catalog.values())
    bodies = [message(rng, number, items, datetime.now(UTC)) for number in range(messages)]
    began = time.perf_counter()
    for body in bodies:
        shop.fold(body)
    return messages * EVENTS_A_MESSAGE / (time.perf_counter() - began)


def _measure(stack: Stack, items: list[Item], seconds: float) -> tuple[list[Reading], Counter[str]]:
    log = bigquery_client(stack.env)
    feed = _feed(stack, items, log)
    try:
        _pump(feed, WARM_UP_S)
        readings = _pump(feed, seconds)
        profiler = _profiler(stack)  # afterwards: it stops the process at every sample
        _pump(feed, PROFILE_S)
    finally:
        log.close()
    return readings, _shares(profiler)


def _feed(stack: Stack, items: list[Item], log: bigquery.Client) -> Iterator[Reading]:
    """Fill the backlog up at each step; what the log holds says how much of it is left."""
    env = stack.env
    publisher = pubsub_v1.PublisherClient(
        batch_settings=pubsub_v1.types.BatchSettings(max_messages=100)
    )
    topic = publisher.topic_path(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_EVENTS_TOPIC"])
    query = f"select count(*) as n from {env['FRESHET_DATASET']}.events"
    rng, sent = random.Random(7), 0
    while True:
        reading = time.monotonic(), int(next(iter(log.query_and_wait(query)))["n"])
        room = max(0, MOST_WAITING - (sent - reading[1] // EVENTS_A_MESSAGE))
        now = datetime.now(UTC)
        bodies = [message(rng, sent + n, items, now) for n in range(room)]
        futures = [publisher.publish(topic, body, address=_address(body)) for body in bodies]
        for future in futures:
            future.result(timeout=10)
        sent += room
        stack.check()
        yield reading


def _address(body: bytes) -> str:
    """The network address of the message's visitor, hashed as the collector passes it on."""
    return f"{crc32(decode_message(body)[0].user_id.encode()):032x}"  # type: ignore[union-attr]


def _pump(feed: Iterator[Reading], seconds: float) -> list[Reading]:
    """Feed for so long; what was read on the way, at both ends too."""
    end, readings = time.monotonic() + seconds, [next(feed)]
    while time.monotonic() < end:
        time.sleep(min(LOOK_S, max(0.0, end - time.monotonic())))
        readings.append(next(feed))
    return readings


def _load(stack: Stack, shop: Shop) -> None:
    store = Store(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
    shop.write(store)
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
        if "Executor._work (" in stack:
            samples[_part(stack)] += int(count)
    if not samples:
        print("pipeline: no sample shows the runner's thread: it has another name", file=sys.stderr)
    total = samples.total() or 1
    return Counter({part: round(100 * count / total, 1) for part, count in samples.items()})


def _part(stack: str) -> str:
    """Where a sample `outermost;...;innermost` was; a runner's frame below our own code is our
    code's.
    """
    for mark, part in (
        ("pubsub", "pubsub_reads"),
        ("insert_rows_json", "bigquery_inserts"),
        ("Store.write", "bigtable_writes"),
        ("Store.read", "bigtable_reads"),
    ):
        if mark in stack:
            return part
    frames = stack.split(";")
    ours = [
        frame
        for frame in frames
        if "pipeline/" in frame and not any(name in frame for name in RUNNER_FILES)
    ]
    return "own_code" if ours else "runner"


if __name__ == "__main__":
    for found in run():
        print(found)
