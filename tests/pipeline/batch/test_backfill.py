"""The batch graph on the real emulators: what it reads, whose events are whose, what it writes over
what.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from google.cloud import bigquery

from pipeline.batch import backfill
from pipeline.batch.archive import Day, ReadLog, decode_event, encode_event, event_of, spans
from pipeline.batch.backfill import fold_messages, messages_of, progress_line
from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.fold import first_account, fold
from pipeline.core.interests import MAX_CATEGORIES
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.rules import AnomalyRule, Condition, Rules
from pipeline.core.trust import Judge
from pipeline.lease import KEY, HeldLease, Holder
from pipeline.steps.bigquery import insert
from pipeline.steps.decode import event_row
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import ITEM, LEASE, PROFILE, STATS, STUB, TRENDING, cell, item_write
from tests.pipeline.core.streams import assert_same
from tests.pipeline.running import features, message, stored_items, stored_stubs

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


def event(number: int, name: str = "view_product", tag: str = "", **fields: Any) -> Event:
    at = START + timedelta(seconds=10 * number)
    return Event(
        **{
            "event_id": f"{tag}e{number}",
            "event": name,
            "timestamp": at,
            "session_id": f"{tag}s",
            "product_id": f"{tag}p{number % 4}",
            "ingest_time": at + timedelta(seconds=1),
            "metadata": {"category": f"{tag}c{number % 2}", "price": 3 + number % 4},
            **fields,
        }
    )


@pytest.fixture
def log(bigquery_server: bigquery.Client, dataset: str, emulators: Mapping[str, str]) -> Any:
    """Writes events into the log; returns what `backfill.run` is to read."""

    def write(events: list[Event]) -> None:
        rows = [event_row(found, None) for found in events]
        rows = [row._replace(insert_id=uuid.uuid4().hex) for row in rows]  # doubles are to stay
        insert(bigquery_server, f"{emulators['GOOGLE_CLOUD_PROJECT']}.{dataset}.events", rows, 10.0)

    return write


def run(source: Bigtable, dataset: str, *arguments: str) -> int:
    environ = {"GOOGLE_CLOUD_PROJECT": source.project, "BIGTABLE_EMULATOR_HOST": "set"}
    return backfill.run(
        [*arguments, f"--instance={source.instance}", f"--dataset={dataset}"], environ
    )


def profile(store: Store, key: str) -> UserProfile:
    found = store.read(PROFILE, key)
    assert found is not None, f"no profile under {key}"
    return UserProfile.decode(found[0])


def folded(events: list[Event]) -> UserProfile:
    expected = UserProfile()
    fold(expected, [(found, None) for found in events])
    return expected.copy()


def test_the_log_becomes_the_rows_that_the_stream_would_have_written(
    source: Bigtable, store: Store, dataset: str, tag: str, log: Any
) -> None:
    anonymous = [event(n, tag=tag, anonymous_id=f"{tag}a") for n in range(4)]
    known = [event(n, tag=tag, anonymous_id=f"{tag}a", user_id=f"{tag}u") for n in range(4, 7)]
    late = event(
        2,
        tag=tag,
        anonymous_id=f"{tag}a",
        event_id=f"{tag}late",
        ingest_time=START + timedelta(hours=1),
    )
    everything = [*anonymous, *known, late]
    loaded = [Item(f"{tag}p{n}", category=f"{tag}c{n % 2}") for n in (0, 2, 3)]  # not p1
    store.write([item_write(item, 1000) for item in loaded])
    log(everything + Random(1).sample(everything, 4))

    assert run(source, dataset, "--since=2025-01-01", "--until=2025-01-02") == 0

    assert_same(profile(store, f"u#{tag}u"), folded([*everything]))
    pointer = profile(store, f"a#{tag}a")
    assert (pointer.account, pointer.events_total) == (f"u#{tag}u", 0)
    stats = {n: store.read(STATS, f"{tag}p{n}") for n in range(4)}
    counted = [ItemStats.decode(found[0]).counts.totals for found in stats.values() if found]
    assert sum(sum(totals.values()) for totals in counted) == 8
    first = ItemStats.decode(stats[0][0]) if stats[0] else ItemStats()
    assert set(first.neighbour_weights.sums) == {f"{tag}p{n}" for n in (1, 2, 3)}
    assert stored_stubs(store, [f"{tag}p{n}" for n in range(4)]).keys() == {f"{tag}p1"}
    [scope] = [
        Trending.decode(found[0])
        for found in [store.read(TRENDING, f"category#{tag}c0#00")]
        if found
    ]
    assert set(scope.scores) == {f"{tag}p0", f"{tag}p2"} and sum(scope.counts.totals.values()) == 5
    other = store.read(TRENDING, f"category#{tag}c1#00")
    assert other is not None and set(Trending.decode(other[0]).scores) == {f"{tag}p3"}


def test_the_link_of_a_browser_that_always_had_an_account_has_the_streams_time(
    source: Bigtable, store: Store, dataset: str, tag: str, log: Any
) -> None:
    known = [event(n, tag=tag, anonymous_id=f"{tag}a", user_id=f"{tag}u") for n in range(3)]
    features(source, [message(*known)])
    streamed = store.read(PROFILE, f"a#{tag}a")
    store.swap(PROFILE, f"a#{tag}a", streamed, None)
    log(known)
    assert run(source, dataset, "--since=2025-01-01", "--until=2025-01-02") == 0
    assert streamed is not None and streamed[1] == known[-1].time_ms
    assert store.read(PROFILE, f"a#{tag}a") == streamed


def test_running_it_again_changes_nothing_and_lies_above_what_was_there(
    source: Bigtable, store: Store, dataset: str, tag: str, log: Any
) -> None:
    log([event(n, tag=tag, user_id=f"{tag}u") for n in range(3)])
    wrong = UserProfile(
        events_total=99, newest_ms=1, fired={"onboarding": 7}, marks={"event_rate_1m": 8}
    )
    store.write([cell(PROFILE, f"u#{tag}u", wrong.encode(), 4_000_000_000_000)])
    for _ in range(2):
        assert run(source, dataset, "--since=2025-01-01", "--until=2025-01-02") == 0
        found = profile(store, f"u#{tag}u")
        assert (found.events_total, found.fired, found.marks) == (
            3,
            {"onboarding": 7},
            {"event_rate_1m": 8},
        )


def test_it_leaves_what_a_newer_release_has_written_and_mends_what_is_damaged(
    source: Bigtable,
    store: Store,
    dataset: str,
    tag: str,
    log: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log([event(n, tag=tag, user_id=f"{tag}u{n}") for n in range(3)])
    newer, damaged = (b"\x63newer", 7), (b"\x01\xc1", 7)
    kept = {PROFILE: f"u#{tag}u0", STATS: f"{tag}p0", STUB: f"{tag}p0"}
    store.write(cell(kind, key, *newer) for kind, key in kept.items())
    store.write([cell(PROFILE, f"u#{tag}u1", *damaged), cell(STATS, f"{tag}p1", *damaged)])
    assert run(source, dataset, "--since=2025-01-01", "--until=2025-01-02") == 0
    assert {kind: store.read(kind, key) for kind, key in kept.items()} == dict.fromkeys(kept, newer)
    assert [profile(store, f"u#{tag}u{n}").events_total for n in (1, 2)] == [1, 1]
    assert stored_items(store, [f"{tag}p1"])[f"{tag}p1"].counts.totals == {0: 1}
    assert "unreadable 3" in capsys.readouterr().out


def test_while_a_job_folds_a_backfill_is_refused_and_writes_nothing(
    source: Bigtable,
    store: Store,
    dataset: str,
    tag: str,
    log: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log([event(1, tag=tag, user_id=f"{tag}u")])
    stream = HeldLease(store, Holder("stream"), renew_s=0.5)
    stream.take()
    try:
        assert run(source, dataset, "--since=2025-01-01", "--until=2025-01-02") == 1
    finally:
        stream.end()
        store.swap(LEASE, KEY, store.read(LEASE, KEY), None)
    assert "backfill: lease: the job stream folds into this instance" in capsys.readouterr().err
    assert store.read(PROFILE, f"u#{tag}u") is None
    assert run(source, dataset, "--since=2025-01-01", "--until=2025-01-02") == 0
    assert profile(store, f"u#{tag}u").events_total == 1
    assert store.read(LEASE, KEY) is None


def test_an_item_of_the_catalog_stays_as_it_is(
    source: Bigtable, store: Store, dataset: str, tag: str, log: Any
) -> None:
    lamp = Item(f"{tag}p1", title="Lamp", category=f"{tag}lamps")
    store.write([item_write(lamp, 1000)])
    log([event(1, tag=tag, user_id=f"{tag}u")])
    run(source, dataset, "--since=2025-01-01", "--until=2025-01-02")
    assert store.read(ITEM, lamp.item_id) is not None and store.read_items([lamp.item_id]) == {
        lamp.item_id: lamp
    }
    assert profile(store, f"u#{tag}u").last_category == f"{tag}lamps"


def test_a_file_of_events_is_read_as_the_log_is_and_broken_lines_are_left_out(
    source: Bigtable,
    store: Store,
    dataset: str,
    tag: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = [event(n, tag=tag, user_id=f"{tag}u") for n in range(3)]
    lines = [msgspec.json.encode(found).decode() for found in events]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join([*lines, "{", "[]", '{"event": "click"}', lines[0]]) + "\n")
    assert run(source, dataset, f"--file={path}") == 0
    assert_same(profile(store, f"u#{tag}u"), folded(events))
    assert "backfill: read 7 of 7 events, folded 3, wrote " in capsys.readouterr().out


def test_how_much_of_the_log_there_is_to_read_is_known_and_said_before(
    source: Bigtable, dataset: str, tag: str, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    day = START + timedelta(days=40)
    log([event(n, tag=tag, user_id="u", timestamp=day + timedelta(hours=n)) for n in range(3)])
    until = day + timedelta(hours=2)
    assert ReadLog(source.project, dataset, day, until).count() == 2
    run(source, dataset, f"--since={day.isoformat()}", f"--until={until.isoformat()}")
    assert capsys.readouterr().out.startswith("backfill: 2 events to read\n")
    assert progress_line({"backfill/read": 1_500, "backfill/events": 9}, 2_000) == (
        "backfill: read 1,500 of 2,000 events, folded 9, wrote 0 rows"
    )


def assert_reads(read: ReadLog, events: list[Event]) -> None:
    """Assert that it reads these events, in any order."""
    with beam.Pipeline(FnApiRunner()) as pipeline:
        ids = pipeline | read | beam.Map(lambda encoded: decode_event(encoded).event_id)
        assert_that(ids, equal_to([one.event_id for one in events]))


def queries_of_rows(client: bigquery.Client, dataset: str) -> dict[str, str]:
    """The queries so far that read events of the log, by their job."""
    jobs = [job for job in client.list_jobs() if isinstance(job, bigquery.QueryJob)]
    return {
        job.job_id: job.query
        for job in jobs
        if f"metadata from `{client.project}.{dataset}.events`" in job.query
    }


def test_a_year_of_sparse_log_is_one_query_and_each_of_its_events_is_read_once(
    bigquery_server: bigquery.Client, source: Bigtable, dataset: str, tag: str, log: Any
) -> None:
    year = START + timedelta(days=1_000), START + timedelta(days=1_365)
    days = [year[0] + timedelta(days=7 * n) for n in range(50)]
    events = [event(n, tag=tag, user_id="u", timestamp=day) for n, day in enumerate(days)]
    log([*events, events[0]])
    before = queries_of_rows(bigquery_server, dataset)
    assert_reads(ReadLog(source.project, dataset, *year), [*events, events[0]])
    assert len(queries_of_rows(bigquery_server, dataset)) == len(before) + 1


def test_a_busy_log_is_read_day_by_day_and_in_parts_and_each_of_its_events_once(
    bigquery_server: bigquery.Client, source: Bigtable, dataset: str, tag: str, log: Any
) -> None:
    first = START.replace(hour=0) + timedelta(days=2_000)
    times = [first + timedelta(days=day, hours=4 * n) for day in range(3) for n in range(6)]
    events = [event(n, tag=tag, user_id="u", timestamp=at) for n, at in enumerate(times)]
    log(events)
    before = queries_of_rows(bigquery_server, dataset)
    until = first + timedelta(days=3)
    read = ReadLog(source.project, dataset, first, until, max_query_events=6, part_rows=4)
    assert_reads(read, events)
    assert len(queries_of_rows(bigquery_server, dataset)) == len(before) + 3


def test_arguments_that_do_not_fit_are_refused_with_their_name(
    source: Bigtable, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ((), "since: expected a time"),
        (("--since=yesterday",), "since: expected an RFC 3339 time"),
        (("--file=nowhere.jsonl",), "file: expected a file of events, got nowhere.jsonl"),
        (("--since=2025-01-02", "--until=2025-01-01"), "since: expected a time before until"),
    ):
        assert run(source, dataset, *arguments) == 2
        assert said in capsys.readouterr().err


# pure parts


def test_events_that_arrived_together_are_one_message_and_doubles_count_where_they_came_first() -> (
    None
):
    one, two, three = event(1), event(2, ingest_time=START + timedelta(seconds=11)), event(3)
    again = msgspec.structs.replace(one, ingest_time=START + timedelta(hours=1))
    messages = messages_of([(found, None) for found in (again, three, two, one)])
    assert [[found.event_id for found, _ in message] for message in messages] == [
        ["e1", "e2"],
        ["e3"],
    ]


def test_an_id_that_came_first_with_another_event_takes_no_event_from_batch_or_stream() -> None:
    at = {"user_id": "u", "event_id": "o1#p1#0", "product_id": "p1"}
    forged = event(1, "page_view", ingest_time=START, **at)
    sold = [event(n, "purchase", ingest_time=START + timedelta(minutes=n), **at) for n in (2, 3)]
    facts = [(found, None) for found in (*reversed(sold), forged)]
    batch, _ = fold_messages(list(facts), Judge(Rules()), "u#u")
    stream = UserProfile()
    for fact in reversed(facts):
        fold(stream, [fact])
    assert (batch.total("purchase"), batch.total("page_view")) == (1, 1)
    assert_same(batch.copy(), stream.copy())


def test_a_browser_belongs_to_the_account_that_arrived_first() -> None:
    early = event(5, user_id="early", ingest_time=START)
    late = event(1, user_id="late", ingest_time=START + timedelta(hours=1))
    assert first_account([late, event(0, anonymous_id="a"), early]) == "u#early"
    assert first_account([event(0, anonymous_id="a")]) == ""


def test_what_follows_a_mark_is_in_the_profile_but_not_in_what_items_get() -> None:
    rate = AnomalyRule("rate", (Condition("events_1m", "at_least", 3.0),), "high", True, 3_600_000)
    facts = [
        (event(n, user_id="u", timestamp=START + timedelta(seconds=n)), None) for n in range(6)
    ]
    found, trusted = fold_messages(list(facts), Judge(Rules(anomalies=(rate,))), "u#u")
    assert found.events_total == 6 and set(found.marks) == {"rate"}
    assert [fact.event_id for one in trusted for fact, _ in one.new] == ["e0", "e1"]


def test_beyond_a_bound_too_the_batch_drops_what_the_stream_drops() -> None:
    """One message a category, 39 of them: the first is the faintest, is dropped in between, and
    comes back.
    """
    names = ["click", *["add_to_cart"] * 25, *["view_product"] * 13]
    events = [
        event(n, name, user_id="u", metadata={"category": f"c{n}"}) for n, name in enumerate(names)
    ]
    events.append(event(99, "purchase", user_id="u", metadata={"category": "c0"}))
    stream = UserProfile()
    for found in events:
        fold(stream, [(found, None)])
        stream = UserProfile.decode(stream.encode())
    batch, _ = fold_messages([(found, None) for found in reversed(events)], Judge(Rules()), "u#u")
    assert len(stream.taste.categories) == MAX_CATEGORIES and "c0" in stream.taste.categories
    assert_same(batch.copy(), stream)


def test_an_event_comes_back_from_its_row_as_it_went_in() -> None:
    whole = event(1, user_id="u", anonymous_id="a", metadata={"price": 1.5, "x": [1, {"y": None}]})
    row = event_row(whole, None).row
    times = {name: datetime.fromisoformat(row[name]) for name in ("timestamp", "ingest_time")}
    assert event_of({**row, **times}) == whole == decode_event(encode_event(whole))


def test_a_day_of_the_log_is_never_divided_between_two_queries() -> None:
    midnight = START.replace(hour=0)
    days = [
        Day(midnight + timedelta(days=n), events)
        for n, events in ((0, 5), (1, 5), (9, 1), (10, 30), (11, 2))
    ]
    since, until = START, START + timedelta(days=20)
    found = list(spans(since, until, days, max_events=10))
    cuts = [f"2025-01-{day}T00:00:00+00:00" for day in ("10", "11", "12")]
    assert found == list(pairwise([since.isoformat(), *cuts, until.isoformat()]))


def test_a_span_of_which_nothing_was_counted_is_read_too() -> None:
    until = START + timedelta(days=365)
    assert list(spans(START, until, [], max_events=10)) == [(START.isoformat(), until.isoformat())]


def test_an_empty_span_is_refused() -> None:
    with pytest.raises(ValueError, match="since: expected a time before until"):
        ReadLog("p", "d", START, START)


def test_an_integer_that_no_machine_word_holds_travels_between_steps() -> None:
    whole = event(1, user_id="u", metadata={"n": 10**30, "m": -(2**70)})
    assert decode_event(encode_event(whole)) == whole
