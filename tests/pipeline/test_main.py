"""The graph as a whole: how it is connected, and one run for real that no disorder of the stream bends."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from google.cloud import bigquery
from google.pubsub_v1 import PubsubMessage

from pipeline import store as bigtable
from pipeline.core.catalog import Item
from pipeline.core.events import Event, encode_message, profile_key
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.main import build
from pipeline.options import arguments, as_options
from pipeline.store import Store, item_write
from pipeline.transforms import sums_by_row
from tests.pipeline.core.streams import assert_same
from tests.stack.bootstrap import bigquery_client
from tests.stack.prerequisites import REPO
from tests.stack.readiness import publisher

STEPS = {
    "events": "ReadEvents Decode LogInvalid LogEvents FoldProfiles WriteProfiles FoldItems WriteItems"
    " SummarizeSessions LogSessions".split(),
    "dead_letters": "ReadDeadLetters LogDeadLetters".split(),
}


@pytest.mark.parametrize("row_sink", ["insert_rows", "streaming_inserts"])
@pytest.mark.parametrize("read", ["events", "dead_letters", "both"])
def test_the_graph_has_the_steps_of_what_it_is_told_to_read(read: str, row_sink: str) -> None:
    environ = {"GOOGLE_CLOUD_PROJECT": "demo-project"}
    options = as_options([*arguments(environ), f"--read={read}", f"--row_sink={row_sink}"])
    pipeline = beam.Pipeline(options=options)
    build(pipeline, options)
    expected = STEPS["events"] + STEPS["dead_letters"] if read == "both" else STEPS[read]
    labels = [part.full_label for part in pipeline.transforms_stack[0].parts]
    assert [label for label in labels if label in expected] == expected


def test_without_a_project_the_pipeline_does_not_start_and_says_why() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "GOOGLE_CLOUD_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.main"], cwd=REPO, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "GOOGLE_CLOUD_PROJECT: expected a project id, got nothing" in done.stderr


# one run for real

VISITORS, EVENTS_EACH, PRODUCTS = 3, 40, 8
GAP_S = 2.0
PATIENCE_S = 60.0
CATALOG = {
    f"p{n}": Item(f"p{n}", category=f"c{n % 2}.s{n % 3}", brand=f"b{n % 2}", price=1.5 + n) for n in range(PRODUCTS - 2)
}
NAMES = "page_view search impression view_product click add_to_cart purchase dwell".split()
WITHOUT_PRODUCT = {"page_view", "search", "dwell"}


def clean_stream(random: Random, start: datetime) -> list[Event]:
    """Three visitors of ten minutes; two of the eight products are not in the catalog."""
    return [
        _event(random, f"v{visitor}", f"v{visitor}-e{n}", start + timedelta(milliseconds=random.randrange(600_000)))
        for visitor in range(VISITORS)
        for n in range(EVENTS_EACH)
    ]


def _event(random: Random, visitor: str, event_id: str, timestamp: datetime) -> Event:
    name = random.choice(NAMES)
    metadata: dict[str, Any] = {"request_id": "r"}
    if name == "search":
        metadata["query"] = random.choice(["lamp", "chair"])
    return Event(
        event_id=event_id,
        event=name,
        timestamp=timestamp,
        session_id=f"{visitor}-s",
        product_id=None if name in WITHOUT_PRODUCT else f"p{random.randrange(PRODUCTS)}",
        ingest_time=timestamp,
        metadata={**metadata, "category": "said", "price": 2},
        **{"anonymous_id": "a1"} if visitor == "v0" else {"user_id": visitor, "anonymous_id": "a2"},
    )


def broken_bodies(good: Event) -> list[bytes]:
    """Bodies that no collector of ours would publish, all different."""
    wire = json.loads(encode_message([good]))["events"][0]
    changed: list[dict[str, Any]] = [
        {"timestamp": "1970-01-01T00:00:00Z"},
        {"timestamp": "2100-01-01T00:00:00Z"},
        {"event_id": "x" * 10_000},
        {"event_id": 7},
        {"product_id": ""},
        {"user_id": None, "anonymous_id": None},
        {"metadata": {"price": "much"}},
        {"metadata": {"position": 10**25}},
    ]
    bodies = [json.dumps({"events": [wire, {**wire, **change}]}).encode() for change in changed]
    deep = b'{"events": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}"
    nan = json.dumps({"events": [{**wire, "metadata": {"price": float("nan")}}]}).encode()
    return [*bodies, deep, nan, b"not json", b'{"events": [', b"\xff\xfe\x00", '{"é": 1}'.encode(), b"[]"]


def disordered(random: Random, clean: list[Event], broken: list[bytes]) -> list[bytes]:
    """Bodies of one to eight events in any order, a third of the events twice, the broken ones in between."""
    events = clean + random.sample(clean, len(clean) // 3)
    random.shuffle(events)
    bodies = list(broken)
    while events:
        size = random.randint(1, 8)
        bodies.append(encode_message(events[:size]))
        events = events[size:]
    random.shuffle(bodies)
    return bodies


def publish(env: Mapping[str, str], bodies: list[bytes]) -> None:
    topic = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/topics/{env['FRESHET_EVENTS_TOPIC']}"
    with publisher(env) as client:
        for body in bodies:
            client.publish(topic=topic, messages=[PubsubMessage(data=body, attributes={"schema_version": "1"})])


@pytest.fixture
def pipeline(warehouse: Mapping[str, str], tmp_path: Path) -> Iterator[Callable[[], None]]:
    """The pipeline in a process of its own; call it for a check that it still runs."""
    log = tmp_path / "pipeline.log"
    command = [sys.executable, "-m", "pipeline.main", "--read=events", f"--session_gap_s={GAP_S}"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=REPO, env={**os.environ, **warehouse}, stdout=output, stderr=subprocess.STDOUT
        )

    def check() -> None:
        assert process.poll() is None, f"the pipeline ended with {process.returncode}:\n{log.read_text()[-4000:]}"

    try:
        yield check
        check()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], check: Callable[[], None]) -> None:
    """Return when the condition holds or patience ends; the assertions that follow say what is missing."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        check()
        time.sleep(0.25)


class Expected:
    """What the features are when the clean stream is folded in order, in one place."""

    def __init__(self, clean: list[Event]) -> None:
        self.profiles: dict[str, UserProfile] = {}
        new = []
        for event in sorted(clean, key=lambda found: found.timestamp):
            item = CATALOG.get(event.product_id or "")
            profile = self.profiles.setdefault(profile_key(event), UserProfile())
            covisited = profile.covisited(event)
            assert profile.add(event, item)
            new.append((event, item, covisited))
        self.rows: dict[tuple[str, str], Any] = sums_by_row(new, 0)


def stored(store: Store, kind: str, decode: Callable[[bytes], Any]) -> dict[str, Any]:
    return {key: decode(value) for key, value in store.scan(kind)}


def assert_items_same(found: dict[str, ItemStats], expected: dict[str, ItemStats]) -> None:
    assert found.keys() == expected.keys()
    for item_id, stats in expected.items():
        for part in ("newest_ms", "long", "short", "hour", "totals"):
            assert_same(getattr(found[item_id], part), getattr(stats, part), f"{item_id}.{part}")
        # A pair's time is that of the event folded second: ten minutes bend a weight by 0.07 %.
        now_ms = stats.newest_ms
        assert found[item_id].neighbours(now_ms) == pytest.approx(stats.neighbours(now_ms), rel=2e-3)


def query(client: bigquery.Client, text: str) -> list[dict[str, Any]]:
    return [dict(row) for row in client.query_and_wait(text)]


def test_a_shuffled_doubled_and_half_broken_stream_gives_the_features_and_logs_of_the_clean_one(
    warehouse: Mapping[str, str], pipeline: Callable[[], None]
) -> None:
    random = Random(20250101)
    clean = clean_stream(random, datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=12))
    broken = broken_bodies(clean[0])
    store = Store(warehouse["GOOGLE_CLOUD_PROJECT"], warehouse["FRESHET_BIGTABLE_INSTANCE"])
    store.write([item_write(item, bigtable.now_ms()) for item in CATALOG.values()])
    expected = Expected(clean)

    publish(warehouse, disordered(random, clean, broken))

    def folded() -> int:
        return sum(profile.events_total for profile in stored(store, bigtable.PROFILE, UserProfile.decode).values())

    wait_until(lambda: folded() >= len(clean), pipeline)
    assert_same(
        stored(store, bigtable.PROFILE, UserProfile.decode),
        {key: profile.copy() for key, profile in expected.profiles.items()},
    )

    def of_kind(kind: str) -> dict[str, Any]:
        return {key: state for (found, key), state in expected.rows.items() if found == kind}

    def counted() -> int:
        return sum(sum(s.totals.values()) for s in stored(store, bigtable.STATS, ItemStats.decode).values())

    wanted = sum(sum(stats.totals.values()) for stats in of_kind(bigtable.STATS).values())
    wait_until(lambda: counted() >= wanted, pipeline)
    assert_items_same(stored(store, bigtable.STATS, ItemStats.decode), of_kind(bigtable.STATS))
    assert_same(stored(store, bigtable.TRENDING, Trending.decode), of_kind(bigtable.TRENDING))
    stubs = store.read_items([f"p{n}" for n in range(PRODUCTS)])
    assert {item_id for item_id, item in stubs.items() if item.stub} == {"p6", "p7"}
    assert stubs["p6"].category == "said" and stubs["p0"] == CATALOG["p0"]
    store.close()

    client, dataset = bigquery_client(warehouse), warehouse["FRESHET_DATASET"]

    def seen() -> list[int]:
        counts = f"select (select count(distinct event_id) from `{dataset}.events`) as events,"
        counts += f" (select count(*) from `{dataset}.dead_letters`) as letters,"
        counts += f" (select coalesce(sum(events), 0) from `{dataset}.sessions_latest`) as in_sessions"
        [found] = query(client, counts)
        return [found["events"], found["letters"], found["in_sessions"]]

    wait_until(lambda: seen() == [len(clean), len(broken), len(clean)], pipeline)
    assert seen() == [len(clean), len(broken), len(clean)]
    logged = Counter(row["event_id"] for row in query(client, f"select event_id from `{dataset}.events_unique`"))
    assert logged == Counter(event.event_id for event in clean)
    letters = query(client, f"select payload, encoding, source, reason from `{dataset}.dead_letters`")
    assert Counter(_payload(letter) for letter in letters) == Counter(broken)
    assert {letter["source"] for letter in letters} == {"pipeline"} and all(letter["reason"] for letter in letters)
    client.close()


def _payload(letter: dict[str, Any]) -> bytes:
    payload: str = letter["payload"]
    return base64.b64decode(payload) if letter["encoding"] == "base64" else payload.encode()
