"""The batch graph: the archived log in; the same profile, item, trending and query rows out as the
stream would have written.

    python -m pipeline.batch.backfill --since 2025-01-01 [--until 2025-02-01] [--instance other]
    python -m pipeline.batch.backfill --file events.jsonl

It folds with the stream's own functions, each visitor's messages in the order in which they
arrived, so that it agrees with the stream to the last bucket (`make parity` compares every row). It
runs while the stream is drained or stopped, and holds the same lease: a running job has states of
its own and would write them over what was folded here.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.batch.archive import ReadFile, ReadLog, decode_event
from pipeline.batch.sums import (
    CombineRows,
    ItemStatsSum,
    ItemSum,
    QueryStatsSum,
    TopQueriesSum,
    TrendingSum,
)
from pipeline.batch.write import Row, WriteRows
from pipeline.core.events import Event
from pipeline.core.fold import Fact, Folded, first_account, fold
from pipeline.core.items import ItemStats, Trending
from pipeline.core.privacy.consent import may_fold
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import browser_key, profile_key
from pipeline.core.queries import QueryStats, TopQueries
from pipeline.core.rules import Rules
from pipeline.core.trust import Judge
from pipeline.lease import LeaseHeld, lease_of
from pipeline.ops.rules_file import rules_of
from pipeline.options import CLOUD_TRENDING_SHARDS, FreshetOptions
from pipeline.runtime.environ import bigtable_instance, dataset_name
from pipeline.runtime.metrics import Counter, Reporter, snapshot
from pipeline.runtime.times import moment
from pipeline.steps.decode import CatalogCache, catalog_of
from pipeline.steps.items import RANKS, ItemFold, partials
from pipeline.steps.queries import TOP, query_partials, top_partial
from pipeline.store.blocking import Bigtable
from pipeline.store.layout import (
    PROFILE,
    QUERY,
    STATS,
    STUB,
    TOP_QUERIES,
    TRENDING,
    query_row,
)

BROWSERS, POINTERS, QUERIES = "browsers", "pointers", "queries"
MAX_WAITING_EVENTS = 5_000
PROGRESS_S = 3.0


def build(pipeline: beam.Pipeline, events: Any, options: FreshetOptions) -> None:
    """Connect every step; `events` is the transform that reads the log."""
    lease = lease_of(options)
    bigtable = lease.target
    visitors = pipeline | "ReadLog" >> events | "RouteVisitors" >> RouteVisitors()
    folded = visitors[0] | "FoldVisitors" >> FoldLog(
        bigtable, rules_of(options.rules), options.trending_shards
    )
    sums = folded["items"] | "FoldItems" >> CombineRows(ItemStatsSum)
    items = sums | "ItemRows" >> beam.ParDo(_ItemRows(options.trending_shards)).with_outputs(
        RANKS, main="rows"
    )
    partials = (folded[RANKS], items[RANKS]) | "Scopes" >> beam.Flatten()
    scopes = (
        partials | "FoldScopes" >> CombineRows(TrendingSum) | "ScopeRows" >> beam.Map(scope_row)
    )
    queries = folded[QUERIES] | "FoldQueries" >> FoldQueries()
    rows = (folded["profiles"], visitors[1], items["rows"], scopes, queries)
    rows | "Rows" >> beam.Flatten() | "WriteRows" >> beam.ParDo(WriteRows(lease))


class RouteVisitors(beam.PTransform):
    """Give every event to its visitor: encoded events to `(profile key, encoded event)`, and
    pointer rows.

    A browser belongs to the first account that it named, by time of arrival; all that it sent
    without an account is the account's, as in the stream. Events whose visitor denied
    personalization are left out, as there; what was not logged, because its visitor denied
    analytics, a backfill cannot know. Grouped by browser: one browser's events have to fit into
    memory.
    """

    def expand(self, events: PCollection) -> tuple[PCollection, PCollection]:
        split = events | "Split" >> beam.ParDo(_SplitBrowsers()).with_outputs(
            BROWSERS, main="accounts"
        )
        browsers = split[BROWSERS] | "ByBrowser" >> beam.GroupByKey()
        resolve = beam.ParDo(_Resolve())  # type: ignore[no-untyped-call]
        routed = browsers | "Resolve" >> resolve.with_outputs(POINTERS, main="routed")
        return (split["accounts"], routed["routed"]) | "Visitors" >> beam.Flatten(), routed[
            POINTERS
        ]


class FoldLog(beam.PTransform):
    """Fold each visitor's events in the order of their arrival.

    Outputs: `profiles`, rows; `items`, `(item id, (partial ItemStats, stub or empty))`; `RANKS`,
    `(scope's row, partial Trending)`; `QUERIES`, `(query, partial QueryStats)`. Grouped by visitor:
    one visitor's events have to fit into memory.
    """

    def __init__(self, source: Bigtable, rules: Rules, shards: int) -> None:
        super().__init__()
        self._fold = _FoldVisitor(source, rules, shards)

    def expand(self, visitors: PCollection) -> Any:
        grouped = visitors | "ByVisitor" >> beam.GroupByKey()
        return grouped | "Fold" >> beam.ParDo(self._fold).with_outputs(
            RANKS, "items", QUERIES, main="profiles"
        )


class FoldQueries(beam.PTransform):
    """`(query, partial QueryStats)` to the rows of queries, and of the public ones of most
    searches.
    """

    def expand(self, partials: PCollection) -> Any:
        sums = partials | "SumByQuery" >> CombineRows(QueryStatsSum)
        make_rows = beam.ParDo(_QueryRows())  # type: ignore[no-untyped-call]
        rows = sums | "QueryRows" >> make_rows.with_outputs(TOP, main="rows")
        top = rows[TOP] | "FoldTop" >> CombineRows(TopQueriesSum) | "TopRows" >> beam.Map(top_row)
        return (rows["rows"], top) | "Both" >> beam.Flatten()


def fold_messages(facts: list[Fact], judge: Judge, key: str) -> tuple[UserProfile, list[Folded]]:
    """One visitor's profile, and what each of the messages adds to items, in the order in which
    they arrived.

    The collector stamps every event of a request with the same ingest time: events that share it
    came as one message, and the stream folded, bounded and judged them as one.
    """
    profile, trusted = UserProfile(), []
    for message in messages_of(facts):
        folded = fold(profile, message)
        profile.settle()
        people = judge.judge(profile, folded, key).people
        if people.trusted:
            trusted.append(Folded(people.facts, people.pairs, people.clicks))
    return profile, trusted


def messages_of(facts: list[Fact]) -> list[list[Fact]]:
    """The facts as the messages they came in, each event once: of doubles the one that arrived
    first.
    """
    arrived = sorted(facts, key=lambda fact: (_arrival(fact[0]), fact[0].event_id))
    messages: dict[datetime, list[Fact]] = {}
    known: set[str] = set()
    for fact in arrived:
        if fact[0].identity not in known:
            known.add(fact[0].identity)
            messages.setdefault(_arrival(fact[0]), []).append(fact)
    return list(messages.values())


def scope_row(scope: tuple[str, bytes]) -> Row:
    """The row of one scope's shard."""
    key, encoded = scope
    return TRENDING, key, encoded, Trending.decode(encoded).newest_ms


def top_row(top: tuple[str, bytes]) -> Row:
    """One row of the top queries."""
    key, encoded = top
    return TOP_QUERIES, key, encoded, TopQueries.decode(encoded).newest_ms


def _arrival(event: Event) -> datetime:
    return event.ingest_time or event.timestamp


class _SplitBrowsers(beam.DoFn):
    def __init__(self) -> None:
        self._not_folded = Counter("backfill", "not_folded")

    def process(self, encoded: bytes) -> Iterator[Any]:
        event = decode_event(encoded)
        if not may_fold(event):
            self._not_folded.inc()
        elif event.anonymous_id is not None:
            yield TaggedOutput(BROWSERS, (event.anonymous_id, encoded))
        else:
            yield profile_key(event), encoded


class _Resolve(beam.DoFn):
    def process(self, browser: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
        anonymous_id, encoded = browser
        found = [(decode_event(one), one) for one in encoded]
        events = [event for event, _ in found]
        account = first_account(events)
        for event, one in found:
            yield profile_key(event) if event.user_id or not account else account, one
        if account:
            newest_ms = max(event.time_ms for event in events)
            pointer = UserProfile(newest_ms=newest_ms, account=account)
            yield TaggedOutput(
                POINTERS, (PROFILE, browser_key(anonymous_id), pointer.encode(), newest_ms)
            )


class _FoldVisitor(beam.DoFn):
    def __init__(self, source: Bigtable, rules: Rules, shards: int) -> None:
        self._source, self._judge, self._shards = source, Judge(rules), shards
        self._shared_catalog = Shared()
        self._events = Counter("backfill", "events")
        self._waiting: list[tuple[str, list[Event]]] = []
        self._events_waiting = 0

    def setup(self) -> None:
        self._catalog: CatalogCache = self._shared_catalog.acquire(lambda: catalog_of(self._source))

    def start_bundle(self) -> None:
        self._waiting, self._events_waiting = [], 0

    def process(self, visitor: tuple[str, Iterable[bytes]]) -> Iterator[Any]:
        key, encoded = visitor
        events = [decode_event(found) for found in encoded]
        self._waiting.append((key, events))
        self._events_waiting += len(events)
        if self._events_waiting >= MAX_WAITING_EVENTS:
            yield from self._fold()

    def finish_bundle(self) -> Iterator[Any]:
        for output in self._fold():
            tag, value = (
                (output.tag, output.value) if isinstance(output, TaggedOutput) else (None, output)
            )
            windowed = WindowedValue(value, MIN_TIMESTAMP, (GlobalWindow(),))
            yield windowed if tag is None else TaggedOutput(tag, windowed)

    def _fold(self) -> Iterator[Any]:
        """Fold the visitors that wait: one look into the catalog and one sum by item for all of
        them.
        """
        ids = {
            event.product_id for _, events in self._waiting for event in events if event.product_id
        }
        items = self._catalog.items(ids, time.monotonic())
        pending: list[Folded] = []
        for key, events in self._waiting:
            facts = [(event, items.get(event.product_id or "")) for event in events]
            profile, trusted = fold_messages(facts, self._judge, key)
            self._events.inc(sum(len(folded.new) for folded in trusted))
            pending += trusted
            yield PROFILE, key, profile.encode(), profile.newest_ms
        self._waiting, self._events_waiting = [], 0
        yield from self._partials(pending)

    def _partials(self, pending: list[Folded]) -> Iterator[TaggedOutput]:
        found = partials(pending, self._shards)
        for item in found.items:
            yield TaggedOutput("items", item)
        for scope in found.scopes:
            yield TaggedOutput(RANKS, scope)
        for query in query_partials(pending):
            yield TaggedOutput(QUERIES, query)


class _ItemRows(beam.DoFn):
    """The rows of whole items: statistics, and a stub where the catalog does not hold the item.

    Their popularity goes on into the scopes they belong to, summed over a bundle.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._fold = ItemFold(shards)

    def start_bundle(self) -> None:
        self._fold = ItemFold(self._shards)

    def process(self, item: tuple[str, ItemSum]) -> Iterator[Row]:
        item_id, (encoded, stub) = item
        stats = ItemStats.decode(encoded)
        self._fold.rank(item_id, stats)
        yield STATS, item_id, encoded, stats.newest_ms
        if stub and stats.counts.totals:
            yield STUB, item_id, stub, stats.newest_ms

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        for rank in self._fold.take_ranks():
            yield TaggedOutput(RANKS, WindowedValue(rank, MIN_TIMESTAMP, (GlobalWindow(),)))


class _QueryRows(beam.DoFn):
    """The rows of whole queries; public ones also go on to the top queries."""

    def process(self, query: tuple[str, bytes]) -> Iterator[Any]:
        text, encoded = query
        stats = QueryStats.decode(encoded)
        yield QUERY, query_row(text), encoded, stats.newest_ms
        top = top_partial(text, stats, stats.newest_ms)
        if top is not None:
            yield TaggedOutput(TOP, top)


def run(argv: list[str], environ: dict[str, str]) -> int:
    """Backfill; the exit code: 0 done, 1 while another job folds, 2 for arguments that do not
    fit."""
    known, rest = _parser(environ).parse_known_args(argv)
    try:
        source = _source(known, datetime.now(UTC))
    except ValueError as error:
        print(f"backfill: {error}", file=sys.stderr)
        return 2
    began, local = time.monotonic(), "BIGTABLE_EMULATOR_HOST" in environ
    shards = [] if local else [f"--trending_shards={CLOUD_TRENDING_SHARDS}"]
    options = PipelineOptions([f"--project={known.project}", *shards, *rest]).view_as(
        FreshetOptions
    )
    options.bigtable_instance, options.dataset = known.instance, known.dataset
    runner = FnApiRunner() if local else None
    try:
        with (
            lease_of(options).taken(),
            _progress(source),
            beam.Pipeline(runner, options) as pipeline,
        ):
            build(pipeline, source, options)
    except LeaseHeld as held:
        print(f"backfill: {held}", file=sys.stderr)
        return 1
    done = snapshot() if local else {}  # elsewhere the runner's own metrics say it
    counts = ", ".join(
        f"{name.partition('/')[2]} {count:,}" for name, count in done.items() if "backfill/" in name
    )
    print(f"backfill: {counts or 'done'} in {time.monotonic() - began:.1f} s")
    return 0


def _progress(source: ReadLog | ReadFile) -> Reporter:
    """Prints how many events there are to read, then every few seconds how far the backfill is.

    Where its steps run elsewhere, as on Dataflow, only the first is known here.
    """
    total, before = source.count(), snapshot()
    if total is not None:
        print(f"backfill: {total:,} events to read", flush=True)

    def tell() -> None:
        done = {
            name: count - before.get(name, 0)
            for name, count in snapshot().items()
            if "backfill/" in name
        }
        if any(done.values()):
            print(progress_line(done, total), flush=True)

    return Reporter(PROGRESS_S, tell)


def progress_line(done: Mapping[str, int], total: int | None) -> str:
    """Progress: events read, of how many, events folded, rows written."""
    of = "" if total is None else f" of {total:,}"
    read, folded, written = (
        done.get(f"backfill/{name}", 0) for name in ("read", "events", "written")
    )
    return f"backfill: read {read:,}{of} events, folded {folded:,}, wrote {written:,} rows"


def _source(known: argparse.Namespace, now: datetime) -> ReadLog | ReadFile:
    """The transform that reads the events.

    Raises ValueError, naming the argument that does not fit.
    """
    if known.file is not None:
        if not os.path.exists(known.file) and "://" not in known.file:
            raise ValueError(f"file: expected a file of events, got {known.file}")
        return ReadFile(known.file)
    if known.since is None:
        raise ValueError(
            "since: expected a time, a date or a span, or --file with a file of events, got nothing"
        )
    until = now if known.until is None else _moment("until", known.until, now)
    return ReadLog(known.project, known.dataset, _moment("since", known.since, now), until)


def _parser(environ: dict[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.batch.backfill", description=__doc__)
    parser.add_argument("--since", help="first event time, RFC 3339, a date, or a span such as 7d")
    parser.add_argument("--until", help="event time to stop before; now unless said")
    parser.add_argument(
        "--file", help="a file of events, one JSON object a line, in place of the log"
    )
    parser.add_argument("--project", default=environ.get("GOOGLE_CLOUD_PROJECT"))
    parser.add_argument("--instance", default=bigtable_instance(environ))
    parser.add_argument("--dataset", default=dataset_name(environ))
    return parser


def _moment(field: str, text: str, now: datetime) -> datetime:
    """A time, a span back from now, or a date, which begins at midnight UTC."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return moment(field, text, now)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    sys.exit(run(sys.argv[1:], dict(os.environ)))
