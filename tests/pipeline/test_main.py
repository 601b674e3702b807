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
from pipeline.core.fold import fold
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.folding import add_rank, sums
from pipeline.main import build
from pipeline.options import arguments, as_options
from pipeline.rules_file import InvalidRules
from pipeline.store import Store, item_write
from tests.pipeline.core.streams import assert_same
from tests.stack.bootstrap import bigquery_client
from tests.stack.prerequisites import REPO
from tests.stack.readiness import publisher, subscriber

STEPS = {
    "events": "ReadEvents Decode LogInvalid LogEvents WatchAddresses Browsers Accounts FoldProfiles WriteProfiles"
    " FoldItems WriteItems SummarizeSessions LogSessions Anomalies LogCampaigns CampaignsAsMessages PublishCampaigns"
    " LogAnomalies AnomaliesAsMessages PublishAnomalies".split(),
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
    assert labels == expected


def test_without_a_project_the_pipeline_does_not_start_and_says_why() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "GOOGLE_CLOUD_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.main"], cwd=REPO, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "GOOGLE_CLOUD_PROJECT: expected a project id, got nothing" in done.stderr


def test_rules_that_make_no_sense_keep_the_pipeline_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("campaigns: 7")
    options = as_options([*arguments({"GOOGLE_CLOUD_PROJECT": "demo-project"}), f"--rules={path}"])
    with pytest.raises(InvalidRules, match="campaigns: expected a list, got '7'"):
        build(beam.Pipeline(options=options), options)


# runs for real

EVENTS_EACH, PRODUCTS = 40, 8
GAP_S = 2.0
PATIENCE_S = 60.0
CATALOG = {
    f"p{n}": Item(f"p{n}", category=f"c{n % 2}.s{n % 3}", brand=f"b{n % 2}", price=1.5 + n) for n in range(PRODUCTS - 2)
}
NAMES = "page_view search impression view_product click add_to_cart purchase dwell".split()
WITHOUT_PRODUCT = {"page_view", "search", "dwell", "identify"}
RULES = """
campaigns:
  - name: bought
    conditions: {purchases_total: {at_least: 1}}
    cooldown: 366d
    channel: email
  - name: fell_silent
    conditions: {idle_s: {at_least: 3s, at_most: 60s}}
    cooldown: 366d
    channel: onsite
anomalies:
  - name: searches
    conditions: {searches_24h: {at_least: 2}}
    severity: low
    marks: false
    mark_for: 30d
  - name: address
    of: address
    conditions: {events_5m: {at_least: 20}}
    severity: low
    marks: false
    mark_for: 30d
"""


def clean_stream(random: Random, start: datetime) -> list[Event]:
    """Four visitors of ten minutes; two of the eight products are not in the catalog.

    v0 has no account. v1 logs in in the middle and out again near the end. v2 and v3 share a browser.
    """
    return [
        _event(random, f"v{visitor}", n, start + timedelta(milliseconds=15_000 * n + random.randrange(15_000)))
        for visitor in range(4)
        for n in range(EVENTS_EACH)
    ]


def _event(random: Random, visitor: str, number: int, timestamp: datetime) -> Event:
    name = "identify" if (visitor, number) == ("v1", 15) else random.choice(NAMES)
    metadata: dict[str, Any] = {"request_id": "r"}
    if name == "search":
        metadata["query"] = random.choice(["lamp", "chair"])
    return Event(
        event_id=f"{visitor}-e{number}",
        event=name,
        timestamp=timestamp,
        session_id=f"{visitor}-s",
        product_id=None if name in WITHOUT_PRODUCT else f"p{random.randrange(PRODUCTS)}",
        ingest_time=timestamp,
        metadata={**metadata, "category": "said", "price": 2},
        anonymous_id={"v0": "a0", "v1": "a1"}.get(visitor, "shared"),
        user_id=visitor if visitor in ("v2", "v3") or (visitor == "v1" and 15 <= number < 35) else None,
    )


def owner(event: Event) -> str:
    """The key whose profile the event belongs to in the end."""
    return "u#v1" if event.anonymous_id == "a1" else profile_key(event)


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
            attributes = {"schema_version": "1", "address": "net"}
            client.publish(topic=topic, messages=[PubsubMessage(data=body, attributes=attributes)])


def received(env: Mapping[str, str], kind: str) -> list[dict[str, Any]]:
    """What has come on a topic since `Pipeline` began to listen."""
    with subscriber(env) as client:
        response = client.pull(subscription=_listener(env, kind), max_messages=1000, timeout=10)
        return [json.loads(found.message.data) for found in response.received_messages]


def _listener(env: Mapping[str, str], kind: str) -> str:
    return f"projects/{env['GOOGLE_CLOUD_PROJECT']}/subscriptions/{env[f'FRESHET_{kind}_TOPIC']}-listener"


class Pipeline:
    """The pipeline in a process of its own."""

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env, self._log, self._rules = env, folder / "pipeline.log", folder / "rules.yaml"
        self._rules.write_text(RULES)
        self._process: subprocess.Popen[bytes] | None = None
        with subscriber(env) as client:
            for kind in ("CAMPAIGNS", "ANOMALIES"):
                topic = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/topics/{env[f'FRESHET_{kind}_TOPIC']}"
                client.create_subscription(name=_listener(env, kind), topic=topic)

    def start(self) -> None:
        command = [sys.executable, "-m", "pipeline.main", "--read=events", f"--session_gap_s={GAP_S}"]
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                [*command, f"--rules={self._rules}"],
                cwd=REPO,
                env={**os.environ, **self._env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def check(self) -> None:
        """Fail unless it still runs."""
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"the pipeline ended with {code}:\n{self._log.read_text()[-4000:]}"

    def stop(self) -> int:
        """Ask it to finish what it has begun, and wait for that; its exit status, negative where it was killed."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def metrics(self) -> dict[str, int]:
        """The counts of its last report; it must have ended."""
        reports = [line for line in self._log.read_text().splitlines() if '"metrics"' in line]
        found: dict[str, int] = json.loads(reports[-1][reports[-1].index("{") :])["metrics"]
        return found


@pytest.fixture
def pipeline(warehouse: Mapping[str, str], tmp_path: Path) -> Iterator[Pipeline]:
    """The pipeline, running."""
    found = Pipeline(warehouse, tmp_path)
    found.start()
    try:
        yield found
    finally:
        found.stop()


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
        folded = []
        for event in sorted(clean, key=lambda found: found.timestamp):
            profile = self.profiles.setdefault(owner(event), UserProfile())
            folded.append(fold(profile, [(event, CATALOG.get(event.product_id or ""))]))
            assert folded[-1].new
        self.items, self.scopes = sums(folded, 1)
        for item_id, stats in self.items.items():
            add_rank(self.scopes, item_id, stats, 1)

    def events(self) -> int:
        return sum(profile.events_total for profile in self.profiles.values())

    def item_events(self) -> int:
        return _counted(self.items)


def _counted(items: dict[str, ItemStats]) -> int:
    return sum(sum(stats.counts.totals.values()) for stats in items.values())


class Found:
    """What the tables hold."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.store = Store(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"])

    def profiles(self) -> dict[str, UserProfile]:
        return {key: UserProfile.decode(value) for key, value in self.store.scan(bigtable.PROFILE)}

    def items(self) -> dict[str, ItemStats]:
        return {key: ItemStats.decode(value) for key, value in self.store.scan(bigtable.STATS)}

    def scopes(self) -> dict[str, Trending]:
        return {key: Trending.decode(value) for key, value in self.store.scan(bigtable.TRENDING)}

    def wait_for(self, expected: Expected, check: Callable[[], None]) -> None:
        """Return when as many events are stored as are expected, or when patience ends."""

        def arrived() -> bool:
            return (
                sum(profile.events_total for profile in self.profiles().values()) >= expected.events()
                and _counted(self.items()) >= expected.item_events()
                and self.scopes().keys() >= expected.scopes.keys()
                and self.scopes()[ALL].counts.totals == expected.scopes[ALL].counts.totals
            )

        wait_until(arrived, check)

    def assert_same_as(self, expected: Expected) -> None:
        """Every row is that of the clean stream; what the rules did is left out."""
        profiles = self.profiles()
        links = {key: profile.account for key, profile in profiles.items() if profile.account}
        assert links.pop("a#shared") in ("u#v2", "u#v3") and links == {"a#a1": "u#v1"}
        for profile in profiles.values():
            profile.marks, profile.fired = {}, {}
        wanted = {key: profile.copy() for key, profile in expected.profiles.items()}
        assert_same({key: profile for key, profile in profiles.items() if not profile.account}, wanted)
        assert_same(self.items(), expected.items)
        assert_same(self.scopes(), expected.scopes)


ALL = bigtable.trending_key(bigtable.GLOBAL_SCOPE, 0)


def query(client: bigquery.Client, text: str) -> list[dict[str, Any]]:
    return [dict(row) for row in client.query_and_wait(text)]


def started(random: Random, env: Mapping[str, str]) -> tuple[Found, list[Event]]:
    """The tables with the catalog in them, and a clean stream of the last minutes."""
    found = Found(env)
    found.store.write([item_write(item, bigtable.now_ms()) for item in CATALOG.values()])
    return found, clean_stream(random, datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=12))


def test_a_shuffled_doubled_and_half_broken_stream_gives_the_features_and_logs_of_the_clean_one(
    warehouse: Mapping[str, str], pipeline: Pipeline
) -> None:
    random = Random(20250101)
    found, clean = started(random, warehouse)
    broken = broken_bodies(clean[0])
    publish(warehouse, disordered(random, clean, broken))
    found.wait_for(Expected(clean), pipeline.check)
    found.assert_same_as(Expected(clean))
    stubs = found.store.read_items([f"p{n}" for n in range(PRODUCTS)])
    assert {item_id for item_id, item in stubs.items() if item.stub} == {"p6", "p7"}
    assert stubs["p6"].category == "said" and stubs["p0"] == CATALOG["p0"]

    # One more visitor comes, and falls silent: a timer tells of it.
    quiet = Event(event_id="quiet", event="page_view", timestamp=datetime.now(UTC), anonymous_id="quiet")
    publish(warehouse, [encode_message([quiet])])
    clean.append(quiet)
    found.wait_for(Expected(clean), pipeline.check)
    found.assert_same_as(Expected(clean))
    found.store.close()

    client, dataset = bigquery_client(warehouse), warehouse["FRESHET_DATASET"]

    def seen() -> list[int]:
        counts = f"select (select count(distinct event_id) from `{dataset}.events`) as events,"
        counts += f" (select count(*) from `{dataset}.dead_letters`) as letters,"
        counts += f" (select coalesce(sum(events), 0) from `{dataset}.sessions_latest`) as in_sessions,"
        counts += f" (select count(*) from `{dataset}.campaigns` where rule = 'fell_silent') as silent"
        [row] = query(client, counts)
        return [row["events"], row["letters"], row["in_sessions"], row["silent"]]

    wanted = [len(clean), len(broken), len(clean), 1]
    wait_until(lambda: seen() == wanted, pipeline.check)
    assert seen() == wanted
    logged = Counter(row["event_id"] for row in query(client, f"select event_id from `{dataset}.events_unique`"))
    assert logged == Counter(event.event_id for event in clean)
    letters = query(client, f"select payload, encoding, source, reason from `{dataset}.dead_letters`")
    assert Counter(_payload(letter) for letter in letters) == Counter(broken)
    assert {letter["source"] for letter in letters} == {"pipeline"} and all(letter["reason"] for letter in letters)

    assert_told(warehouse, client, "campaigns", {"bought", "fell_silent"})
    assert_told(warehouse, client, "anomalies", {"searches", "address"})
    client.close()
    pipeline.check()
    assert pipeline.stop() == 0
    counts = pipeline.metrics()
    assert (counts["decode/invalid"], counts["fold/new"]) == (len(broken), len(clean))
    assert counts["fold/duplicate"] == counts["decode/accepted"] - len(clean) == (len(clean) - 1) // 3


def assert_told(env: Mapping[str, str], client: bigquery.Client, table: str, rules: set[str]) -> None:
    """The topic and the table hold the same findings, each once, of all these rules."""
    messages = received(env, table.upper())
    rows = query(client, f"select id, visitor, rule from `{env['FRESHET_DATASET']}.{table}`")
    assert Counter((m["id"], m["visitor"], m["rule"]) for m in messages) == Counter(
        (row["id"], row["visitor"], row["rule"]) for row in rows
    )
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["rule"] for row in rows} == rules


def test_a_pipeline_that_is_stopped_in_the_middle_and_started_again_ends_as_one_that_ran_through(
    warehouse: Mapping[str, str], pipeline: Pipeline
) -> None:
    random = Random(7)
    found, clean = started(random, warehouse)
    bodies = disordered(random, clean, [])
    publish(warehouse, bodies[: len(bodies) // 2])
    wait_until(lambda: any(profile.account for profile in found.profiles().values()), pipeline.check)
    assert pipeline.stop() == 0
    pipeline.start()
    publish(warehouse, bodies[len(bodies) // 2 :])
    found.wait_for(Expected(clean), pipeline.check)
    found.assert_same_as(Expected(clean))
    found.store.close()


def _payload(letter: dict[str, Any]) -> bytes:
    payload: str = letter["payload"]
    return base64.b64decode(payload) if letter["encoding"] == "base64" else payload.encode()
