"""The steps of the pipeline. Each is a PTransform around one DoFn, each DoFn around pure functions of the core.

A Pub/Sub message is a batch and stays one: what is keyed by visitor is one element a message and visitor.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.userstate import (
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow, IntervalWindow, Sessions, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import Duration, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipeline import store as bigtable
from pipeline.core.catalog import Item, encode_item, stub_item
from pipeline.core.deadletter import DeadLetter
from pipeline.core.events import Event, InvalidEvent, decode_message, format_time, profile_key
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.sessions import SessionSummary, merged, runs
from pipeline.dofn import LeanDoFn
from pipeline.sinks import RowToInsert

logger = logging.getLogger(__name__)

Fact = tuple[Event, Item | None]  # an event and what the catalog knows of its item

INVALID, LOG, NEW = "invalid", "log", "new"

KNOWN_ITEM_TTL_S, UNKNOWN_ITEM_TTL_S = 300.0, 10.0
MAX_CACHED_ITEMS = 100_000


class Bigtable(NamedTuple):
    """Which Bigtable: picklable, and the key of the client that a process shares."""

    project: str
    instance: str

    def store(self) -> bigtable.Store:
        """The process's client, made on first use and kept: a runner sets DoFns up again and again."""
        if self not in _stores:
            _stores[self] = bigtable.Store(*self)
        return _stores[self]


_stores: dict[Bigtable, bigtable.Store] = {}


class Decode(beam.PTransform):
    """Turn messages into facts by visitor.

    Outputs: main `(profile key, [(event, item)])`, one element a message and visitor; `LOG`, one list of rows a
    message for the events table; `INVALID`, dead letters for bodies that are no message of ours. Never raises on
    input. The catalog is read from Bigtable and cached in the process for five minutes (an unknown item for ten
    seconds), so what is known of an item may be that old.
    """

    def __init__(self, source: Bigtable) -> None:
        super().__init__()
        self._source = source

    def expand(self, messages: PCollection) -> Any:
        return messages | beam.ParDo(_Decode(self._source)).with_outputs(INVALID, LOG, main="facts")


class FoldProfiles(beam.PTransform):
    """Fold each visitor's new events into the profile.

    Keyed by profile key, global window. State: the encoded profile (bounded, see `UserProfile`), read back from
    Bigtable when a key is new to this job, forgotten after `state_ttl_s` of silence. A duplicate changes nothing and
    goes no further, so what follows (items, sessions) counts each event once. Outputs: main, Bigtable writes; `NEW`,
    `(profile key, [(event, item, covisited items)])` of the events seen for the first time.
    """

    def __init__(self, source: Bigtable, state_ttl_s: float = 0.0) -> None:
        super().__init__()
        self._fold = _FoldProfiles(source, state_ttl_s)

    def expand(self, facts: PCollection) -> Any:
        return facts | beam.ParDo(self._fold).with_outputs(NEW, main="writes")


class FoldItems(beam.PTransform):
    """Fold new events into item stats and trending scopes; yield Bigtable writes.

    A bundle's events are first summed by row, so a hot item costs one element a bundle and worker, not one an event.
    Keyed by row, global window; state is the encoded monoid, warm-started and forgotten as in `FoldProfiles`. An item
    that the catalog does not hold gets a stub, which a later catalog load overwrites.

    These states hold no event ids: each new event counts once because `FoldProfiles` hands it on once, and the runner
    keeps what is between steps exactly once. Where it does not, they are only nearly exact: Dataflow's at-least-once
    mode may count an event twice; a job that is killed or cancelled, not drained, leaves out events whose profile was
    stored already, for a replay finds them duplicate. Profiles are exact in both cases.
    """

    def __init__(self, source: Bigtable, trending_shards: int = 1, state_ttl_s: float = 0.0) -> None:
        super().__init__()
        self._sum = _SumByRow(trending_shards)
        self._fold = _FoldRows(source, state_ttl_s)

    def expand(self, new: PCollection) -> Any:
        return new | "SumByRow" >> beam.ParDo(self._sum) | "FoldRows" >> beam.ParDo(self._fold)


class SummarizeSessions(beam.PTransform):
    """Summarize each visit: `(profile key, SessionSummary)`, which `session_rows` makes a row of.

    Session windows of `gap_s` by event time, each message's events entering as one partial summary whose window spans
    them. Fires when the watermark passes the end and again for each late element within `lateness_s`, accumulating,
    so the newest row of a session is the whole of it. Beam drops, without counting, what comes when the watermark has
    passed its visit's end by more than `lateness_s`; the watermark is never ahead of the clock, so the counter
    `too_late`, events that are later than that by the clock, counts at least all that were dropped.
    """

    def __init__(self, gap_s: float = 1800.0, lateness_s: float = 3600.0) -> None:
        super().__init__()
        if gap_s <= 0 or lateness_s < 0:
            raise ValueError(f"gap_s and lateness_s: expected above 0 and at least 0, got {gap_s}, {lateness_s}")
        self._gap_s, self._lateness_s = gap_s, lateness_s

    def expand(self, new: PCollection) -> Any:
        return (
            new
            | "Partials" >> beam.ParDo(_Partials(self._gap_s, self._lateness_s))
            | "Windows"
            >> beam.WindowInto(
                SpanSessions(self._gap_s),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=Duration.of(self._lateness_s),
            )
            | "Merge" >> beam.CombinePerKey(merged)
        )


class SpanSessions(Sessions):
    """Beam's Sessions for elements that span time: `(key, SessionSummary)` reaches from its first event to its last."""

    def assign(self, context: WindowFn.AssignContext) -> list[IntervalWindow]:
        _, summary = cast(tuple[str, SessionSummary], context.element)
        first, last = Timestamp(summary.first_ms / 1000), Timestamp(summary.last_ms / 1000)
        return [IntervalWindow(first, last + self.gap_size)]


class WriteToBigtable(beam.PTransform):
    """Write `(kind, key, value, timestamp in ms)` to Bigtable, in one request a table and bundle.

    Idempotent: a cell's timestamp says which state is fuller, so a retried or delayed write does no harm.

    `after_commit` breaks the fusion with the fold before it, so that a state reaches Bigtable only when the runner has
    committed it. Without, a bundle that is tried again would warm-start a new key from its own first try's write, and
    take its events for duplicates. The DirectRunner does not try bundles again and is spared the shuffle.
    """

    def __init__(self, target: Bigtable, after_commit: bool = True) -> None:
        super().__init__()
        self._target, self._after_commit = target, after_commit

    def expand(self, writes: PCollection) -> Any:
        if self._after_commit:
            writes = writes | beam.Reshuffle()
        return writes | "Write" >> beam.ParDo(_Write(self._target))


def event_row(event: Event, item: Item | None) -> RowToInsert:
    """The row of the events table, with the event id as insert id."""
    metadata = event.metadata
    row = {
        "event_id": event.event_id,
        "event": event.event,
        "visitor": profile_key(event),
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "session_id": event.session_id,
        "product_id": event.product_id,
        "timestamp": format_time(event.timestamp),
        "ingest_time": format_time(event.ingest_time) if event.ingest_time else None,
        "category": (item.category if item else "") or event.text("category") or None,
        "brand": (item.brand if item else "") or event.text("brand") or None,
        "price": price if (price := metadata.get("price")) is not None else (item.price if item else None),
        "query": metadata.get("query"),
        "request_id": metadata.get("request_id"),
        "placement": metadata.get("placement"),
        "variant": metadata.get("variant"),
        "position": int(event.number("position")) if metadata.get("position") is not None else None,
        "propensity": metadata.get("propensity"),
        "metadata": msgspec.json.encode(metadata).decode() if metadata else None,
    }
    return RowToInsert(event.event_id, row)


def session_rows(session: tuple[str, SessionSummary]) -> list[RowToInsert]:
    """The row of the sessions table."""
    key, summary = session
    return [RowToInsert(None, summary.row(key, datetime.now(UTC)))]


def dead_letter_rows(message: PubsubMessage) -> list[RowToInsert]:
    """The row of a message of the dead-letters topic, with the message's id as insert id."""
    letter = DeadLetter.received(message.data, message.attributes or {}, datetime.now(UTC))
    return [RowToInsert(message.message_id, letter.row())]


def sums_by_row(new: Iterable[tuple[Event, Item | None, list[str]]], shard: int) -> dict[tuple[str, str], Any]:
    """Partial `ItemStats` and `Trending` by (kind, row key) of some events, each already known to be new."""
    stats: dict[str, ItemStats] = defaultdict(ItemStats)
    trending: dict[str, Trending] = defaultdict(Trending)
    for event, item, covisited in new:
        if event.product_id is None:
            continue
        time_ms = event.time_ms
        stats[event.product_id].add(event, covisited)
        for other in covisited:
            stats[other].add_neighbour(event.product_id, time_ms)
        category = (item.category if item else "") or event.text("category")
        scopes = [bigtable.GLOBAL_SCOPE, *([bigtable.category_scope(category)] if category else [])]
        for scope in scopes:
            trending[bigtable.trending_key(scope, shard)].add(event)
    rows: dict[tuple[str, str], Any] = {(bigtable.STATS, key): state for key, state in stats.items()}
    rows.update({(bigtable.TRENDING, key): state for key, state in trending.items() if state.scores.sums})
    return rows


@beam.typehints.with_output_types(tuple[str, Any])
class _Decode(LeanDoFn):
    def __init__(self, source: Bigtable) -> None:
        self._source = source
        self._accepted = Metrics.counter("decode", "accepted")
        self._invalid = Metrics.counter("decode", "invalid")
        self._unknown_item = Metrics.counter("decode", "unknown_item")

    def process(self, message: PubsubMessage) -> Iterator[Any]:
        try:
            events = decode_message(message.data)
        except InvalidEvent as error:
            self._invalid.inc()
            letter = DeadLetter.of(message.data, error, "pipeline", datetime.now(UTC), message.attributes or {})
            yield TaggedOutput(INVALID, [RowToInsert(None, letter.row())])
            return
        self._accepted.inc(len(events))
        items = known_items(self._source, time.monotonic(), {event.product_id for event in events if event.product_id})
        facts = [(event, items.get(event.product_id or "")) for event in events]
        self._unknown_item.inc(sum(1 for event, item in facts if event.product_id and item is None))
        yield TaggedOutput(LOG, [event_row(event, item) for event, item in facts])
        by_visitor: dict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            by_visitor[profile_key(fact[0])].append(fact)
        yield from by_visitor.items()


class _KeptState(LeanDoFn):
    """What both folds share: encoded state with its revision, warm start, expiry after silence."""

    STATE = ReadModifyWriteStateSpec("state", BytesCoder())
    EXPIRY = TimerSpec("expiry", TimeDomain.REAL_TIME)

    def __init__(self, source: Bigtable, state_ttl_s: float) -> None:
        self._source, self._ttl_s = source, state_ttl_s
        self._duplicate = Metrics.counter("fold", "duplicate")
        self._new = Metrics.counter("fold", "new")
        self._warm = Metrics.counter("fold", "warm_started")

    def _load(self, kind: str, key: str, state: ReadModifyWriteRuntimeState) -> tuple[bytes, int]:
        """The encoded state (empty: none yet) and its revision in ms."""
        kept: bytes | None = state.read()
        if kept is not None:
            return kept[8:], int.from_bytes(kept[:8], "big")
        stored = self._source.store().read(kind, key)
        if stored is None:
            return b"", 0
        self._warm.inc()
        return stored

    def _keep(self, encoded: bytes, revision: int, state: ReadModifyWriteRuntimeState, expiry: RuntimeTimer) -> None:
        state.write(revision.to_bytes(8, "big") + encoded)
        if self._ttl_s:
            expiry.set(Timestamp(time.time() + self._ttl_s))

    @on_timer(EXPIRY)
    def forget(self, state: Any = beam.DoFn.StateParam(STATE)) -> None:
        state.clear()


class _FoldProfiles(_KeptState):
    def process(
        self,
        element: tuple[str, list[Fact]],
        state: Any = beam.DoFn.StateParam(_KeptState.STATE),
        expiry: Any = beam.DoFn.TimerParam(_KeptState.EXPIRY),
    ) -> Iterator[Any]:
        key, facts = element
        encoded, revision = self._load(bigtable.PROFILE, key, state)
        profile = UserProfile.decode(encoded) if encoded else UserProfile()
        new = []
        for event, item in facts:
            covisited = profile.covisited(event)
            if profile.add(event, item):
                new.append((event, item, covisited))
        self._new.inc(len(new))
        self._duplicate.inc(len(facts) - len(new))
        if not new:
            return
        revision = bigtable.revise(profile.newest_ms, revision)
        encoded = profile.encode()
        self._keep(encoded, revision, state, expiry)
        yield bigtable.PROFILE, key, encoded, revision
        yield TaggedOutput(NEW, (key, new))


@beam.typehints.with_output_types(tuple[str, Any])
class _SumByRow(LeanDoFn):
    def __init__(self, trending_shards: int) -> None:
        self._shards = trending_shards
        self._pending: list[tuple[str, list[tuple[Event, Item | None, list[str]]]]] = []

    def start_bundle(self) -> None:
        self._pending = []

    def process(self, element: tuple[str, list[tuple[Event, Item | None, list[str]]]]) -> None:
        self._pending.append(element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        by_shard: dict[int, list[tuple[Event, Item | None, list[str]]]] = defaultdict(list)
        for key, new in self._pending:
            by_shard[sum(key.encode()) % self._shards].extend(new)
        now = Timestamp(time.time())
        totals: dict[tuple[str, str], Any] = {}
        stubs: dict[str, Item] = {}
        for shard, new in by_shard.items():
            for row, state in sums_by_row(new, shard).items():
                if row in totals:
                    totals[row].merge(state)
                else:
                    totals[row] = state
            for event, item, _ in new:
                if item is None and event.product_id is not None:
                    stubs.setdefault(event.product_id, stub_item(event))
        for (kind, key), state in totals.items():
            stub = stubs.get(key) if kind == bigtable.STATS else None
            yield WindowedValue((f"{kind}:{key}", (state, stub)), now, (GlobalWindow(),))


class _FoldRows(_KeptState):
    def process(
        self,
        element: tuple[str, tuple[ItemStats | Trending, Item | None]],
        state: Any = beam.DoFn.StateParam(_KeptState.STATE),
        expiry: Any = beam.DoFn.TimerParam(_KeptState.EXPIRY),
    ) -> Iterator[tuple[str, str, bytes, int]]:
        (row, (addition, stub)) = element
        kind, _, key = row.partition(":")
        encoded, revision = self._load(kind, key, state)
        total: Any = type(addition).decode(encoded) if encoded else type(addition)()
        unseen = stub is not None and not total.totals  # there may be neighbours: bundles of a session overtake
        total.merge(addition)
        revision = bigtable.revise(total.newest_ms, revision)
        total_encoded = total.encode()
        self._keep(total_encoded, revision, state, expiry)
        yield kind, key, total_encoded, revision
        if stub is not None and unseen:
            # Time 1 ms: whatever the catalog says, now or later, lies above the stub.
            yield bigtable.ITEM, key, encode_item(stub), 1


class _Partials(LeanDoFn):
    def __init__(self, gap_s: float, lateness_s: float) -> None:
        self._gap_ms, self._kept_ms = round(gap_s * 1000), round((gap_s + lateness_s) * 1000)
        self._too_late = Metrics.counter("sessions", "too_late")

    def process(self, element: tuple[str, list[tuple[Event, Item | None, list[str]]]]) -> Iterator[TimestampedValue]:
        key, new = element
        oldest_ms = bigtable.now_ms() - self._kept_ms
        for partial in runs([(event, item) for event, item, _ in new], self._gap_ms):
            if partial.last_ms < oldest_ms:
                self._too_late.inc(partial.events)
            yield TimestampedValue((key, partial), Timestamp(partial.first_ms / 1000))


class _Write(LeanDoFn):
    def __init__(self, target: Bigtable) -> None:
        self._target = target
        self._written = Metrics.counter("bigtable", "written")
        self._pending: dict[tuple[str, str], tuple[bytes, int]] = {}

    def start_bundle(self) -> None:
        self._pending = {}

    def process(self, write: tuple[str, str, bytes, int]) -> None:
        kind, key, value, timestamp_ms = write
        known = self._pending.get((kind, key))
        if known is None or known[1] <= timestamp_ms:
            self._pending[(kind, key)] = (value, timestamp_ms)

    def finish_bundle(self) -> None:
        writes = [bigtable.cell(kind, key, *value) for (kind, key), value in self._pending.items()]
        self._written.inc(self._target.store().write(writes))


_items: dict[Bigtable, dict[str, tuple[Item | None, float]]] = defaultdict(dict)


def known_items(source: Bigtable, now_s: float, ids: set[str]) -> dict[str, Item]:
    """Those of the items that the catalog holds, from the process's cache where it is fresh; stubs are not known.

    `now_s` is any clock that never goes back.
    """
    cache = _items[source]
    missing = [item_id for item_id in ids if cache.get(item_id, (None, 0.0))[1] <= now_s]
    if missing:
        found = source.store().read_items(missing)
        if len(cache) > MAX_CACHED_ITEMS:
            cache = _items[source] = {}  # not cleared: another thread may be reading it
            missing = [*ids]
            found = source.store().read_items(missing)
        for item_id in missing:
            item = found.get(item_id)
            known = item is not None and not item.stub
            cache[item_id] = (
                item if known else None,
                now_s + (KNOWN_ITEM_TTL_S if known else UNKNOWN_ITEM_TTL_S),
            )
    return {item_id: item for item_id in ids if (item := cache[item_id][0]) is not None}
