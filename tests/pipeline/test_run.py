"""The pipeline run for real, on the emulators: no disorder of the stream bends what comes out, nor
does a stop.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.cloud import bigquery

from pipeline.core.events import Event, encode_message
from pipeline.core.fold import fold
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.lease import KEY, STALE_S, Grant, Holder, encoder
from pipeline.runtime.clock import now_ms
from pipeline.steps.items import add_rank, sums
from pipeline.store import layout
from pipeline.store.blocking import Store
from pipeline.store.layout import item_write
from tests.pipeline.core.streams import assert_same
from tests.pipeline.process import Pipeline, listen, publish, received
from tests.pipeline.running import stored_stubs
from tests.pipeline.shop_stream import (
    CATALOG,
    PRODUCTS,
    broken_bodies,
    clean_stream,
    disordered,
    owner,
)
from tests.stack.bootstrap import bigquery_client

PATIENCE_S = 60.0
LOOK_S = 0.5  # a look at BigQuery costs it 0.2 s of the processor that the pipeline needs


@pytest.fixture
def pipeline(warehouse: Mapping[str, str], tmp_path: Path) -> Iterator[Pipeline]:
    """The pipeline, running."""
    listen(warehouse)
    found = Pipeline(warehouse, tmp_path)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def wait_until(condition: Callable[[], bool], check: Callable[[], None]) -> None:
    """Return when the condition holds or patience ends; the assertions that follow say what is
    missing.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        check()
        time.sleep(LOOK_S)


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


def _totals(scopes: dict[str, Trending]) -> dict[str, dict[int, int]]:
    return {row: scope.counts.totals for row, scope in scopes.items()}


class Found:
    """What the tables hold."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.store = Store(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"])

    def profiles(self) -> dict[str, UserProfile]:
        return {key: UserProfile.decode(value) for key, value in self.store.scan(layout.PROFILE)}

    def items(self) -> dict[str, ItemStats]:
        return {key: ItemStats.decode(value) for key, value in self.store.scan(layout.STATS)}

    def scopes(self) -> dict[str, Trending]:
        return {key: Trending.decode(value) for key, value in self.store.scan(layout.TRENDING)}

    def wait_for(self, expected: Expected, check: Callable[[], None]) -> None:
        """Return when as many events are stored as are expected, or when patience ends."""

        def arrived() -> bool:
            return (
                sum(profile.events_total for profile in self.profiles().values())
                >= expected.events()
                and _counted(self.items()) >= expected.item_events()
                and _totals(self.scopes()) == _totals(expected.scopes)
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
        assert_same(
            {key: profile for key, profile in profiles.items() if not profile.account}, wanted
        )
        assert_same(self.items(), expected.items)
        assert_same(self.scopes(), expected.scopes)


ALL = layout.trending_key(layout.GLOBAL_SCOPE, 0)


def query(client: bigquery.Client, text: str) -> list[dict[str, Any]]:
    return [dict(row) for row in client.query_and_wait(text)]


def started(random: Random, env: Mapping[str, str]) -> tuple[Found, list[Event]]:
    """The tables with the catalog in them, and a clean stream of the last minutes."""
    found = Found(env)
    found.store.write([item_write(item, now_ms()) for item in CATALOG.values()])
    return found, clean_stream(
        random, datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=12)
    )


def test_a_shuffled_doubled_and_half_broken_stream_gives_the_features_and_logs_of_the_clean_one(
    warehouse: Mapping[str, str], pipeline: Pipeline
) -> None:
    random = Random(20250101)
    found, clean = started(random, warehouse)
    broken = broken_bodies(clean[0])
    publish(warehouse, disordered(random, clean, broken))
    found.wait_for(Expected(clean), pipeline.check)
    found.assert_same_as(Expected(clean))
    products = [f"p{n}" for n in range(PRODUCTS)]
    assert found.store.read_items(products) == CATALOG
    stubs = stored_stubs(found.store, products)
    assert stubs.keys() == {"p6", "p7"} and stubs["p6"].category == "said"

    # One more visitor comes, and falls silent: a timer tells of it.
    quiet = Event(
        event_id="quiet", event="page_view", timestamp=datetime.now(UTC), anonymous_id="quiet"
    )
    publish(warehouse, [encode_message([quiet])])
    clean.append(quiet)
    found.wait_for(Expected(clean), pipeline.check)
    found.assert_same_as(Expected(clean))
    found.store.close()

    client, dataset = bigquery_client(warehouse), warehouse["FRESHET_DATASET"]

    def seen() -> list[int]:
        counts = f"select (select count(distinct event_id) from `{dataset}.events`) as events,"
        counts += f" (select count(*) from `{dataset}.dead_letters`) as dead_letters,"
        counts += (
            f" (select coalesce(sum(events), 0) from `{dataset}.sessions_latest`) as in_sessions,"
        )
        counts += (
            f" (select count(*) from `{dataset}.campaigns` where rule = 'fell_silent') as silent"
        )
        [row] = query(client, counts)
        return [row["events"], row["dead_letters"], row["in_sessions"], row["silent"]]

    wanted = [len(clean), len(broken), len(clean), 1]
    wait_until(lambda: seen() == wanted, pipeline.check)
    assert seen() == wanted
    logged = Counter(
        row["event_id"] for row in query(client, f"select event_id from `{dataset}.events_unique`")
    )
    assert logged == Counter(event.event_id for event in clean)
    dead_letters = query(
        client, f"select payload, encoding, source, reason from `{dataset}.dead_letters`"
    )
    assert Counter(_payload(dead_letter) for dead_letter in dead_letters) == Counter(broken)
    assert {dead_letter["source"] for dead_letter in dead_letters} == {"pipeline"} and all(
        dead_letter["reason"] for dead_letter in dead_letters
    )

    assert_told(warehouse, client, "campaigns", {"bought", "fell_silent"})
    assert_told(warehouse, client, "anomalies", {"searches", "address"})
    client.close()
    pipeline.check()
    assert pipeline.stop() == 0
    counts = pipeline.metrics()
    assert (counts["decode/invalid"], counts["fold/new"]) == (len(broken), len(clean))
    assert (
        counts["fold/duplicate"] == counts["decode/accepted"] - len(clean) == (len(clean) - 1) // 3
    )


def assert_told(
    env: Mapping[str, str], client: bigquery.Client, table: str, rules: set[str]
) -> None:
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
    wait_until(
        lambda: any(profile.account for profile in found.profiles().values()), pipeline.check
    )
    assert pipeline.stop() == 0
    pipeline.start()
    publish(warehouse, bodies[len(bodies) // 2 :])
    found.wait_for(Expected(clean), pipeline.check)
    found.assert_same_as(Expected(clean))
    found.store.close()


def half_folded(
    env: Mapping[str, str], random: Random, pipeline: Pipeline
) -> tuple[Found, list[Event], list[bytes]]:
    """Let the pipeline begin with the first half of a stream; the tables, the whole stream, and the
    second half.
    """
    found, clean = started(random, env)
    bodies = disordered(random, clean, [])
    half = len(bodies) // 2
    publish(env, bodies[:half])
    wait_until(lambda: len(found.profiles()) > 2, pipeline.check)
    return found, clean, bodies[half:]


def test_a_second_pipeline_is_refused_and_takes_over_without_loss_when_the_first_is_drained(
    warehouse: Mapping[str, str], pipeline: Pipeline, tmp_path: Path
) -> None:
    found, clean, rest = half_folded(warehouse, Random(11), pipeline)
    (tmp_path / "green").mkdir()
    green = Pipeline(warehouse, tmp_path / "green")
    green.start("--write_flush_s=1")
    said = green.refused()
    assert "pipeline: lease: process " in said and "Drain it, then start this one" in said
    assert "Traceback" not in said
    publish(warehouse, rest[: len(rest) // 2])
    assert pipeline.stop() == 0
    publish(warehouse, rest[len(rest) // 2 :])
    green.start("--write_flush_s=1")
    try:
        found.wait_for(Expected(clean), green.check)
        found.assert_same_as(Expected(clean))
    finally:
        assert green.stop() == 0
    found.assert_same_as(Expected(clean))
    found.store.close()


def test_a_pipeline_whose_lease_another_job_has_taken_ends_and_writes_over_nothing(
    warehouse: Mapping[str, str], pipeline: Pipeline
) -> None:
    found, _, rest = half_folded(warehouse, Random(12), pipeline)
    grant = encoder.encode(Grant(Holder("green in us-central1"), now_ms()))
    wait_until(lambda: take_over(found.store, grant), pipeline.check)
    time.sleep(STALE_S + 1)  # what was on its way when the lease was held is written
    profiles = found.profiles()
    publish(warehouse, rest)
    assert "lease: the job green in us-central1 folds into this instance" in pipeline.refused()
    assert_same(found.profiles(), profiles)
    found.store.close()


def take_over(store: Store, grant: bytes) -> bool:
    """Write another's lease over the one that is held, as if that had run out; False when it was
    renewed meanwhile.
    """
    lease = store.read(layout.LEASE, KEY)
    return store.swap(layout.LEASE, KEY, lease, (grant, now_ms() + 1))


def _payload(dead_letter: dict[str, Any]) -> bytes:
    payload: str = dead_letter["payload"]
    return base64.b64decode(payload) if dead_letter["encoding"] == "base64" else payload.encode()
