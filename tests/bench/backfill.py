"""Events a second of the batch backfill through every feature, on one core, beside the pure core
alone.

The events come from a file, in the wire format with the arrival times that the collector would have
given them: the simulated shop's past traffic, and a file in REES46 columns where there is one
(`BACKFILL_FILE`). The rows go to the Bigtable emulator. The backfill runs in a process of its own
that is held to one core; its emulator has the others. `python -m tests.bench.backfill`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from pipeline.batch import backfill
from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import parse_item
from pipeline.core.events import Event, parse_event
from pipeline.core.fold import Fact, item_sums
from pipeline.core.rules import Rules
from pipeline.core.trust import Judge
from pipeline.ops.rules_file import rules_of
from pipeline.runtime.clock import now_ms
from pipeline.steps.items import scope_counts
from pipeline.store.blocking import Store
from pipeline.store.layout import item_write
from tests.bench.rows import Row, row
from tests.simulator import catalog, history
from tests.simulator.parity import by_visitor, from_file
from tests.simulator.shoppers import World
from tests.stack import Stack, running_stack

SESSIONS = 1_500
TARGET_EVENTS_PER_S = 5_000.0
SAMPLE_EVERY_S = 0.01
PATIENCE_S = 900.0
# Real shop events, for those who have a copy of the file (17,435 rows of REES46).
REAL = Path(
    os.environ.get(
        "BACKFILL_FILE", Path(__file__).parents[2].parent / "shared/data/rees46_2019-10-01.csv"
    )
)

# Where a sample of the working thread was, by what its stack names: the first mark that fits, or
# else the runner.
PARTS = (
    ("/pipeline/store/", "bigtable"),
    ("/pipeline/core/", "core"),
    ("/pipeline/", "steps"),
)


def run() -> list[Row]:
    """Measure; takes about two minutes."""
    warnings.filterwarnings("ignore", message="Connecting to Bigtable emulator")
    items = [parse_item(asdict(product)) for product in catalog.generate(seed=7)]
    rows = _measured("simulated", simulated(SESSIONS), items, TARGET_EVENTS_PER_S)
    if REAL.is_file():
        rows += _measured("real", from_file(REAL), [], TARGET_EVENTS_PER_S)
    return rows


def simulated(sessions: int) -> list[list[Event]]:
    """Messages of simulated shoppers over a day, half of whom name an account from somewhere in
    each visit on.
    """
    rng, until = random.Random(7), time.time() - 7_200
    wire = history.generate(
        World(catalog.generate(seed=7)), sessions=sessions, until=until, run="bench"
    )
    arrived = datetime.now(UTC)
    return by_visitor(
        parse_event(_named(dict(e), rng), ingest_time=arrived, backfill=True) for e in wire
    )


def write_file(path: Path, messages: Sequence[Sequence[Event]]) -> int:
    """The messages as lines of a file, each message's events with one arrival time; returns how
    many events.
    """
    arrived = datetime.now(UTC) - timedelta(hours=1)
    with path.open("wb") as file:
        for number, message in enumerate(messages):
            moment = arrived + timedelta(milliseconds=number)
            arrivals = (msgspec.structs.replace(event, ingest_time=moment) for event in message)
            file.writelines(msgspec.json.encode(event) + b"\n" for event in arrivals)
    return sum(map(len, messages))


def core_rate(messages: Sequence[Sequence[Event]], items: Iterable[Item]) -> float:
    """Events a second of the same folds on one core without a runner, a file and a store."""
    by_id, rules = {item.item_id: item for item in items}, rules_of("default")
    visitors: dict[str, list[Fact]] = {}
    for number, message in enumerate(messages):
        moment = datetime.fromtimestamp(number, UTC)
        for event in message:
            fact = (
                msgspec.structs.replace(event, ingest_time=moment),
                by_id.get(event.product_id or ""),
            )
            visitors.setdefault(event.user_id or event.anonymous_id or "", []).append(fact)
    began = time.perf_counter()
    _fold_all(visitors, rules)
    return sum(map(len, visitors.values())) / (time.perf_counter() - began)


def _fold_all(visitors: dict[str, list[Fact]], rules: Rules) -> None:
    folded, judge = [], Judge(rules)
    for key, facts in visitors.items():
        profile, trusted = backfill.fold_messages(facts, judge, key)
        profile.encode()
        folded += trusted
    stats = item_sums(folded)
    scope_counts(folded, stats, 1)
    for found in stats.values():
        found.encode()


def _measured(
    name: str, messages: list[list[Event]], items: list[Item], target: float
) -> list[Row]:
    with (
        running_stack(f"bench-backfill-{name}", parts=("bigtable",)) as stack,
        tempfile.TemporaryDirectory() as folder,
    ):
        _load(stack, items)
        events = write_file(Path(folder) / "events.jsonl", messages)
        told = _in_own_process(stack, Path(folder) / "events.jsonl")
    floor = core_rate(messages, items)
    head = f"backfill_{name}"
    return [
        row(
            head,
            events / told["wall_s"],
            "events/s",
            target,
            "pure core, no runner, file or store",
            floor,
        ),
        row(f"{head}_per_cpu_second", events / told["cpu_s"], "events/s"),
        row(f"{head}_events", events, "events"),
        *(row(f"{head}_time_in_{part}", share, "%") for part, share in told["shares"].items()),
    ]


def _load(stack: Stack, items: list[Item]) -> None:
    before = dict(os.environ)
    os.environ.update(stack.env)  # Google's client learns of its emulator in no other way
    try:
        store = Store(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
        store.write(item_write(item, now_ms()) for item in items)
        store.close()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _in_own_process(stack: Stack, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.backfill", str(path)]
    done = subprocess.run(
        command,
        env={**os.environ, **stack.env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"backfill: expected exit code 0, got {done.returncode}: {done.stderr[-2_000:]}"
        )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def fold_file(path: str) -> dict[str, Any]:
    """Backfill a file on the last core that this process may use; what it took, and where the time
    went.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with Sampler() as sampler:
        wall, cpu = time.perf_counter(), time.process_time()
        if backfill.run([f"--file={path}"], dict(os.environ)) != 0:
            raise RuntimeError(f"backfill of {path}: expected exit code 0")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall, "cpu_s": cpu, "shares": sampler.shares()}


class Sampler:
    """Notes every 10 ms where the thread that processes bundles is, while a `with` block runs."""

    def __init__(self) -> None:
        self._samples: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5.0)

    def shares(self) -> dict[str, float]:
        """Percent of the samples by part, largest first."""
        total = self._samples.total() or 1
        return {part: round(100 * count / total, 1) for part, count in self._samples.most_common()}

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            working = [
                files
                for frame in sys._current_frames().values()
                if (files := _within(list(_files(frame))))
            ]
            self._samples.update([_part(working[0])] if working else ["no_bundle"])


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _within(files: list[str]) -> list[str]:
    """Of the files of a stack, innermost first, those within the processing of a bundle; empty
    outside of it.
    """
    last = max(
        (place for place, file in enumerate(files) if file.endswith("bundle_processor.py")),
        default=-1,
    )
    return files[: last + 1]


def _part(files: list[str]) -> str:
    return next((part for mark, part in PARTS if any(mark in file for file in files)), "runner")


def _named(event: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Half of the browsers belong to an account, which half of their events name."""
    browser = str(event.get("anonymous_id") or event.get("user_id"))
    if (
        event.get("user_id") is None
        and random.Random(browser).random() < 0.5
        and rng.random() < 0.5
    ):
        event["user_id"] = f"account-{browser}"
    return event


def main(argv: list[str]) -> None:
    """With a file: fold it and print what it took, as JSON. Without: measure."""
    if argv:
        print(json.dumps(fold_file(argv[0])))
        return
    for found in run():
        print(found)


if __name__ == "__main__":
    main(sys.argv[1:])
