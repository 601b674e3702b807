"""The steps of the pipeline, run by Beam on the real Bigtable emulator."""

from __future__ import annotations

import base64
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.transforms.window import IntervalWindow, TimestampedValue, WindowFn
from apache_beam.utils.timestamp import Timestamp

from pipeline import store as bigtable
from pipeline import transforms
from pipeline.core.catalog import Item, decode_item
from pipeline.core.events import Event, encode_message
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.sessions import SessionSummary
from pipeline.store import Store, item_write
from pipeline.transforms import (
    INVALID,
    KNOWN_ITEM_TTL_S,
    LOG,
    NEW,
    UNKNOWN_ITEM_TTL_S,
    Bigtable,
    Decode,
    FoldItems,
    FoldProfiles,
    SpanSessions,
    SummarizeSessions,
    WriteToBigtable,
    dead_letter_rows,
    event_row,
    known_items,
    session_rows,
    sums_by_row,
)
from tests.pipeline.core.streams import assert_same

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)

_outputs: dict[str, list[Any]] = defaultdict(list)


def collect(values: Any, name: str) -> None:
    """Append the values to `_outputs[name]`: the runner works in this process."""
    values | f"Collect {name}" >> beam.ParDo(_Collect(name))


class _Collect(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, value: Any) -> None:
        _outputs[self._name].append(value)


def run(connect: Callable[[beam.Pipeline], None]) -> Counter[str]:
    """Run what `connect` builds; the outputs lie in `_outputs`.

    Returns the counters by name, of each step's first bundle: this runner does not count the others.
    """
    _outputs.clear()
    pipeline = BeamPipeline(runner="BundleBasedDirectRunner", options=PipelineOptions(["--streaming"]))
    connect(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query()["counters"]
    total: Counter[str] = Counter()
    for counter in found:
        total[counter.key.metric.name] += counter.committed
    return total


def script(*bundles: Sequence[Any]) -> Script:
    """The values, bundle after bundle."""
    stream = Script()
    for values in bundles:
        stream.add_elements(values)
    stream.advance_watermark_to_infinity()
    return stream


def message(*events: Event) -> PubsubMessage:
    return PubsubMessage(encode_message(list(events)), {"schema_version": "1"}, "m", None)


class Visitor:
    """Makes events of one visitor, on products whose names nothing else in the emulator has."""

    def __init__(self, tag: str) -> None:
        self.tag, self.key, self._count = tag, f"u#{tag}", 0

    def product(self, name: str) -> str:
        return f"{self.tag}-{name}"

    def did(self, name: str, product: str | None = None, at_s: float = 0, **fields: Any) -> Event:
        self._count += 1
        return Event(
            event_id=f"{self.tag}-e{self._count}",
            event=name,
            timestamp=START + timedelta(seconds=at_s),
            product_id=self.product(product) if product else None,
            ingest_time=START,
            **{"user_id": self.tag, "session_id": "s1", **fields},
        )


@pytest.fixture
def visitor(tag: str) -> Visitor:
    return Visitor(tag)


def profile_of(events: Iterable[Event]) -> UserProfile:
    profile = UserProfile()
    for event in events:
        profile.add(event)
    return profile.copy()


def features(source: Bigtable, messages: Iterable[PubsubMessage], shards: int = 1) -> Counter[str]:
    """Decode, fold and write, as the whole pipeline does, each message in a bundle of its own."""

    def connect(pipeline: beam.Pipeline) -> None:
        decoded = pipeline | script(*([one] for one in messages)) | Decode(source)
        profiles = decoded.facts | FoldProfiles(source)
        profiles.writes | "WriteProfiles" >> WriteToBigtable(source)
        profiles[NEW] | FoldItems(source, shards) | "WriteItems" >> WriteToBigtable(source)
        collect(decoded[INVALID], "invalid")
        collect(profiles[NEW], "new")

    return run(connect)


def stored_profile(store: Store, key: str) -> UserProfile:
    found = store.read(bigtable.PROFILE, key)
    assert found is not None, f"no profile under {key}"
    return UserProfile.decode(found[0])


def stored_stats(store: Store, item_id: str) -> ItemStats:
    found = store.read(bigtable.STATS, item_id)
    assert found is not None, f"no statistics under {item_id}"
    return ItemStats.decode(found[0])


def stored_trending(store: Store, scope: str, shards: int = 1) -> Trending:
    total = Trending()
    for shard in range(shards):
        found = store.read(bigtable.TRENDING, bigtable.trending_key(scope, shard))
        total.merge(Trending.decode(found[0]) if found is not None else Trending())
    return total


# Decode


def decode(source: Bigtable, *messages: PubsubMessage) -> Counter[str]:
    def connect(pipeline: beam.Pipeline) -> None:
        decoded = pipeline | script(messages) | Decode(source)
        for name, values in (("facts", decoded.facts), ("log", decoded[LOG]), ("invalid", decoded[INVALID])):
            collect(values, name)

    return run(connect)


def test_a_message_becomes_one_element_a_visitor_and_one_list_of_rows(source: Bigtable, visitor: Visitor) -> None:
    mine = [visitor.did("scroll"), visitor.did("view_product", "p", 1)]
    other = visitor.did("scroll", at_s=2, user_id=None, anonymous_id="a" + visitor.tag)
    counters = decode(source, message(mine[0], other, mine[1]))
    assert sorted(_outputs["facts"], key=lambda fact: fact[0]) == [
        ("a#a" + visitor.tag, [(other, None)]),
        (visitor.key, [(mine[0], None), (mine[1], None)]),
    ]
    assert [[row.insert_id for row in rows] for rows in _outputs["log"]] == [
        [mine[0].event_id, other.event_id, mine[1].event_id]
    ]
    assert _outputs["invalid"] == []
    assert (counters["accepted"], counters["invalid"], counters["unknown_item"]) == (3, 0, 1)


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"{}", b'{"events": [{"event": "click"}]}', b"[" * 100_000])
def test_a_body_that_is_no_message_becomes_a_dead_letter_whole_and_stops_nothing(
    source: Bigtable, visitor: Visitor, body: bytes
) -> None:
    event = visitor.did("scroll")
    counters = decode(source, PubsubMessage(body, {"origin": "x"}, "m", None), message(event))
    [[letter]] = _outputs["invalid"]
    payload = letter.row["payload"]
    assert body == (base64.b64decode(payload) if letter.row["encoding"] == "base64" else payload.encode())
    assert letter.row["source"] == "pipeline" and letter.row["field"] == "body"
    assert letter.row["attributes"] == '{"origin":"x"}' and letter.insert_id is None
    assert _outputs["facts"] == [(visitor.key, [(event, None)])]
    assert (counters["accepted"], counters["invalid"]) == (1, 1)


def test_one_bad_event_sends_its_whole_message_to_the_dead_letters(source: Bigtable, visitor: Visitor) -> None:
    good, bad = visitor.did("scroll"), visitor.did("purchase")
    decode(source, message(good, bad))
    [[letter]] = _outputs["invalid"]
    assert letter.row["field"] == "product_id" and letter.row["payload"].encode() == encode_message([good, bad])
    assert _outputs["facts"] == _outputs["log"] == []


def test_events_are_enriched_from_the_catalog_and_a_stub_is_no_catalog(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    lamp = Item(visitor.product("lamp"), category="home.light", brand="b", price=5.0)
    stub = Item(visitor.product("stub"), category="guessed", stub=True)
    store.write([item_write(lamp, 1000), item_write(stub, 1)])
    views = [visitor.did("view_product", "lamp", metadata={"category": "said"}), visitor.did("view_product", "stub")]
    counters = decode(source, message(*views))
    assert _outputs["facts"] == [(visitor.key, [(views[0], lamp), (views[1], None)])]
    [rows] = _outputs["log"]
    assert [(r.row["category"], r.row["brand"], r.row["price"]) for r in rows] == [
        ("home.light", "b", 5.0),
        (None, None, None),
    ]
    assert counters["unknown_item"] == 1


def test_an_item_loaded_after_its_first_event_is_known_when_the_cache_is_old(
    source: Bigtable, store: Store, tag: str
) -> None:
    now_s, lamp = time.monotonic(), Item(tag, category="c")
    assert known_items(source, now_s, {tag}) == {}
    store.write([item_write(lamp, 1000)])
    assert known_items(source, now_s + UNKNOWN_ITEM_TTL_S - 0.1, {tag}) == {}
    assert known_items(source, now_s + UNKNOWN_ITEM_TTL_S, {tag}) == {tag: lamp}


def test_a_changed_item_is_noticed_when_the_cache_is_old(source: Bigtable, store: Store, tag: str) -> None:
    now_s, old, new = time.monotonic(), Item(tag, price=1.0), Item(tag, price=2.0)
    store.write([item_write(old, 1000)])
    assert known_items(source, now_s, {tag}) == {tag: old}
    store.write([item_write(new, 2000)])
    assert known_items(source, now_s + KNOWN_ITEM_TTL_S - 0.1, {tag}) == {tag: old}
    assert known_items(source, now_s + KNOWN_ITEM_TTL_S, {tag}) == {tag: new}


def test_a_full_cache_starts_anew_and_still_answers_for_the_whole_message(
    source: Bigtable, store: Store, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write([item_write(Item(f"{tag}-{name}", "t"), 1) for name in "abc"])
    known_items(source, 0.0, {f"{tag}-a", f"{tag}-b"})
    monkeypatch.setattr(transforms, "MAX_CACHED_ITEMS", 1)
    assert set(known_items(source, 1.0, {f"{tag}-a", f"{tag}-c"})) == {f"{tag}-a", f"{tag}-c"}


def test_a_row_of_the_log_says_all_that_the_event_said(visitor: Visitor) -> None:
    metadata = {"price": 3, "position": 2.0, "propensity": 0.5, "query": "q", "request_id": "r", "placement": "home"}
    event = visitor.did("impression", "p", 0.5, metadata={**metadata, "variant": "v", "category": "c", "x": [1]})
    insert_id, row = event_row(event, None)
    assert insert_id == event.event_id
    assert row == {
        "event_id": event.event_id,
        "event": "impression",
        "visitor": visitor.key,
        "user_id": visitor.tag,
        "anonymous_id": None,
        "session_id": "s1",
        "product_id": visitor.product("p"),
        "timestamp": "2025-01-01T12:00:00.500Z",
        "ingest_time": "2025-01-01T12:00:00.000Z",
        "category": "c",
        "brand": None,
        "price": 3,
        "query": "q",
        "request_id": "r",
        "placement": "home",
        "variant": "v",
        "position": 2,
        "propensity": 0.5,
        "metadata": '{"price":3,"position":2.0,"propensity":0.5,"query":"q","request_id":"r","placement":"home",'
        '"variant":"v","category":"c","x":[1]}',
    }


@pytest.mark.parametrize(
    ("metadata", "logged"), [({"price": None}, 7.5), ({}, 7.5), ({"price": 0}, 0), ({"price": 3.0}, 3.0)]
)
def test_the_logged_price_is_the_events_where_it_names_one_and_else_the_catalogs(
    visitor: Visitor, metadata: dict[str, Any], logged: float
) -> None:
    event = visitor.did("view_product", "p", metadata=metadata)
    assert event_row(event, Item(visitor.product("p"), price=7.5)).row["price"] == logged


def test_a_rejected_event_of_the_collector_becomes_a_row_under_its_message_id() -> None:
    attributes = {"source": "collector", "field": "event", "reason": "required", "received_at": "2025-01-01T00:00:00Z"}
    [(insert_id, row)] = dead_letter_rows(PubsubMessage(b'{"a":1}', attributes, "m7", None))
    assert insert_id == "m7" and row["payload"] == '{"a":1}' and row["reason"] == "required"
    [(_, bare)] = dead_letter_rows(PubsubMessage(b"\xff", None, "m8", None))
    assert (bare["encoding"], bare["source"]) == ("base64", "unknown")


# FoldProfiles


def shuffled_and_doubled(events: list[Event], seed: int) -> list[PubsubMessage]:
    """The events in any order, a third of them twice, in messages of one to four."""
    random = Random(seed)
    disorder = events + random.sample(events, len(events) // 3)
    random.shuffle(disorder)
    messages = []
    while disorder:
        size = random.randint(1, 4)
        messages.append(message(*disorder[:size]))
        disorder = disorder[size:]
    return messages


def browsing(visitor: Visitor) -> list[Event]:
    """A visit of 30 events on six products, each shown, viewed and clicked, some bought."""
    names = ["impression", "view_product", "click", "add_to_cart", "purchase"]
    return [visitor.did(names[n % 5], f"p{n % 6}", 10 * n, metadata={"category": f"c{n % 2}"}) for n in range(30)]


def test_nothing_is_written_before_the_fold_is_committed_unless_told_so(source: Bigtable) -> None:
    def steps(after_commit: bool) -> str:
        pipeline = beam.Pipeline(options=PipelineOptions([]))
        pipeline | beam.Create([("profile", "u#x", b"", 1)]) | "W" >> WriteToBigtable(source, after_commit)
        return "".join(transform.unique_name for transform in pipeline.to_runner_api().components.transforms.values())

    assert "W/Reshuffle" in steps(True) and "W/Reshuffle" not in steps(False)


def test_the_stored_profile_of_a_disordered_stream_is_that_of_the_clean_one(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = browsing(visitor)
    features(source, shuffled_and_doubled(clean, 1))
    assert_same(stored_profile(store, visitor.key), profile_of(clean))


def test_a_duplicate_goes_no_further_whether_in_the_same_message_or_another(source: Bigtable, visitor: Visitor) -> None:
    one, two = visitor.did("view_product", "a"), visitor.did("view_product", "b", 1)
    counters = features(source, [message(one, one), message(one, two), message(two)])
    assert [(key, [event.event_id for event, _, _ in new]) for key, new in _outputs["new"]] == [
        (visitor.key, [one.event_id]),
        (visitor.key, [two.event_id]),
    ]
    assert (counters["new"], counters["duplicate"]) == (1, 1)


def test_a_new_pipeline_continues_exactly_where_the_last_one_stored(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = browsing(visitor)
    features(source, shuffled_and_doubled(clean[:17], 2))
    counters = features(source, shuffled_and_doubled(clean[10:], 3))
    assert_same(stored_profile(store, visitor.key), profile_of(clean))
    assert sum(len(new) for _, new in _outputs["new"]) == 13
    assert counters["warm_started"] >= 1
    stats = {n: stored_stats(store, visitor.product(f"p{n}")) for n in range(6)}
    assert sum(sum(found.totals.values()) for found in stats.values()) == 30


def test_a_late_event_still_folds_and_its_state_lies_above_the_earlier_one(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    on_time, late = visitor.did("scroll", at_s=3600), visitor.did("scroll", at_s=0)
    features(source, [message(on_time)])
    before = store.read(bigtable.PROFILE, visitor.key)
    features(source, [message(late)])
    after = store.read(bigtable.PROFILE, visitor.key)
    assert before is not None and after is not None
    assert before[1] == START_MS + 3_600_000 and after[1] == before[1] + 1
    # A delayed write of the earlier state, which a retry may bring, hides nothing.
    store.write([bigtable.cell(bigtable.PROFILE, visitor.key, *before)])
    assert store.read(bigtable.PROFILE, visitor.key) == after
    assert stored_profile(store, visitor.key).events_total == 2


def test_of_two_states_in_one_bundle_the_fuller_is_written_whatever_their_order(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    def connect(pipeline: beam.Pipeline) -> None:
        writes = [(bigtable.PROFILE, visitor.key, b"fuller", 2000), (bigtable.PROFILE, visitor.key, b"older", 1000)]
        pipeline | script(writes) | WriteToBigtable(source)

    counters = run(connect)
    assert store.read(bigtable.PROFILE, visitor.key) == (b"fuller", 2000)
    assert counters["written"] == 1


@pytest.mark.parametrize(("silence_s", "totals"), [(3e9, [2, 2]), (1, [2, 3])])
def test_the_state_of_a_silent_visitor_is_forgotten_and_read_back_from_bigtable(
    source: Bigtable, store: Store, visitor: Visitor, silence_s: float, totals: list[int]
) -> None:
    # A script's clock starts at 0 and the fold sets its timers by the wall: a long silence passes any of them.
    # Nothing is written here, so whoever reads Bigtable again finds the one event that it held before.
    before, first, second = (visitor.did("scroll", at_s=at_s) for at_s in range(3))
    store.write([bigtable.cell(bigtable.PROFILE, visitor.key, profile_of([before]).encode(), START_MS)])
    stream = Script().add_elements([(visitor.key, [(first, None)])]).advance_processing_time(silence_s)
    stream = stream.add_elements([(visitor.key, [(second, None)])]).advance_processing_time(3e9)
    run(lambda p: collect((p | stream.advance_watermark_to_infinity() | FoldProfiles(source, 60)).writes, "writes"))
    assert [UserProfile.decode(value).events_total for _, _, value, _ in _outputs["writes"]] == totals


# FoldItems


def test_item_statistics_count_each_distinct_event_once_in_any_order(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    clean = browsing(visitor)
    features(source, shuffled_and_doubled(clean, 4))
    expected = sums_by_row([(event, None, []) for event in clean], 0)
    for n in range(6):
        item_id = visitor.product(f"p{n}")
        stats = stored_stats(store, item_id)
        plain = expected[bigtable.STATS, item_id]
        for part in ("newest_ms", "long", "short", "hour", "totals"):
            assert_same(getattr(stats, part), getattr(plain, part), part)
        # Each was touched in one session with each other, so each pair counts once, seen from both sides.
        now_ms = START_MS + 300_000
        others = {visitor.product(f"p{m}"): 1.0 for m in range(6) if m != n}
        assert stats.neighbours(now_ms) == pytest.approx(others, rel=1e-3)


def test_covisits_are_the_same_from_both_sides(source: Bigtable, store: Store, visitor: Visitor) -> None:
    views = [visitor.did("view_product", name, at_s) for at_s, name in enumerate("abab")]
    features(source, [message(view) for view in views])
    left, right = (stored_stats(store, visitor.product(name)).neighbour_weights for name in "ab")
    assert list(left.sums) == [visitor.product("b")] and list(right.sums) == [visitor.product("a")]
    assert left.sums[visitor.product("b")] == right.sums[visitor.product("a")]
    assert left.landmark == right.landmark


def test_the_shards_of_a_scope_together_hold_what_one_would(source: Bigtable, store: Store, tag: str) -> None:
    visitors = [Visitor(f"{tag}{n}") for n in range(8)]
    category = f"{tag}.shoes"
    events = [v.did("view_product", at_s=n, metadata={"category": category}) for n, v in enumerate(visitors)]
    events = [Event(**{**_fields(event), "product_id": f"{tag}-p{n % 3}"}) for n, event in enumerate(events)]
    features(source, [message(*events[:4]), message(*events[4:])], shards=4)
    scope = bigtable.category_scope(category)
    used = [n for n in range(4) if store.read(bigtable.TRENDING, bigtable.trending_key(scope, n)) is not None]
    assert len(used) > 1
    total, plain = stored_trending(store, scope, 4), Trending()
    for event in events:
        plain.add(event)
    assert_same(total, plain)
    everywhere = stored_trending(store, bigtable.GLOBAL_SCOPE, 4).scores.sums
    assert set(plain.scores.sums) <= set(everywhere)


def test_visitors_of_one_bundle_are_summed_by_item_before_the_fold(source: Bigtable, tag: str) -> None:
    visitors = [Visitor(f"{tag}{n}") for n in range(6)]
    views = [Event(**{**_fields(v.did("view_product")), "product_id": f"{tag}-p"}) for v in visitors]
    new: list[Any] = [(v.key, [(view, None, [])]) for v, view in zip(visitors, views, strict=True)]
    run(lambda p: collect(p | script(new) | FoldItems(source, 4), "writes"))
    [stats] = [ItemStats.decode(value) for kind, _, value, _ in _outputs["writes"] if kind == bigtable.STATS]
    assert stats.totals == {0: 6}


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_an_item_the_catalog_does_not_hold_gets_a_stub_which_a_load_overwrites(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    item_id = visitor.product("new")
    features(source, [message(visitor.did("view_product", "new", metadata={"category": "c", "price": 2}))])
    assert store.read_items([item_id]) == {item_id: Item(item_id, category="c", price=2.0, stub=True)}
    loaded = Item(item_id, title="Lamp", category="home")
    store.write([item_write(loaded, bigtable.now_ms())])
    features(source, [message(visitor.did("view_product", "new", 1, metadata={"category": "c"}))])
    assert store.read_items([item_id]) == {item_id: loaded}
    assert stored_stats(store, item_id).totals == {0: 2}


def test_an_item_whose_neighbours_came_before_its_own_first_event_gets_its_stub_too(
    source: Bigtable, visitor: Visitor
) -> None:
    own, others = (
        visitor.did("view_product", "own", metadata={"category": "c"}),
        visitor.did("view_product", "other", 1),
    )
    new: list[list[Any]] = [[(visitor.key, [(others, None, [own.product_id])])], [(visitor.key, [(own, None, [])])]]
    run(lambda p: collect(p | script(*new) | FoldItems(source), "writes"))
    stubs = [decode_item(value) for kind, key, value, _ in _outputs["writes"] if kind == bigtable.ITEM]
    assert {stub.item_id: stub.category for stub in stubs} == {others.product_id: "", own.product_id: "c"}


def test_a_stub_does_not_hide_an_item_that_the_catalog_already_held(
    source: Bigtable, store: Store, visitor: Visitor
) -> None:
    item_id = visitor.product("known")
    view = visitor.did("view_product", "known")
    decode(source, message(view))  # the process remembers for some seconds that the catalog does not hold it
    store.write([item_write(Item(item_id, title="Lamp"), bigtable.now_ms())])
    features(source, [message(view)])
    assert store.read_items([item_id])[item_id].title == "Lamp"


def test_an_event_without_a_product_changes_no_item(source: Bigtable, visitor: Visitor) -> None:
    assert sums_by_row([(visitor.did("scroll"), None, [])], 0) == {}
    features(source, [message(visitor.did("scroll"))])
    assert [new[0].product_id for _, [new] in _outputs["new"]] == [None]


# SummarizeSessions

GAP_S, LATENESS_S = 1800, 3600


class Visit:
    """A script of events and watermarks in seconds after `START`, and the rows that came out."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor, self._stream = visitor, Script()

    def event(self, *at_s: float, name: str = "view_product") -> Visit:
        """One element, as the fold of a message gives it."""
        new: list[Any] = [(self._visitor.did(name, "p", s), None, []) for s in at_s]
        # Beam's time of a message is when it was published, not when its events were.
        self._stream.add_elements([TimestampedValue((self._visitor.key, new), START.timestamp() + max(at_s))])
        return self

    def watermark(self, at_s: float) -> Visit:
        self._stream.advance_watermark_to(Timestamp(START.timestamp() + at_s))
        return self

    def rows(self) -> list[tuple[str, float, int]]:
        """(start, length in s, events) of each row in the order of emission."""
        stream = self._stream.advance_watermark_to_infinity()
        run(lambda p: collect(p | stream | SummarizeSessions(GAP_S, LATENESS_S) | beam.Map(session_rows), "rows"))
        return self.emitted()

    def emitted(self) -> list[tuple[str, float, int]]:
        return [_visit(entry.row) for rows in _outputs["rows"] for entry in rows]


def _visit(row: dict[str, Any]) -> tuple[str, float, int]:
    start, end = (datetime.fromisoformat(row[name]) for name in ("session_start", "session_end"))
    return start.strftime("%H:%M:%S"), (end - start).total_seconds(), row["events"]


def test_events_less_than_the_gap_apart_are_one_visit(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0).event(GAP_S - 0.001).rows()
    assert rows == [("12:00:00", GAP_S - 0.001, 2)]


def test_events_exactly_the_gap_apart_are_two_visits(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0).event(GAP_S).rows()
    assert sorted(rows) == [("12:00:00", 0, 1), ("12:30:00", 0, 1)]


def test_a_message_that_spans_a_gap_is_two_visits_and_one_that_fills_it_joins_them(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0, GAP_S + 60).rows()
    assert sorted(rows) == [("12:00:00", 0, 1), ("12:31:00", 0, 1)]
    rows = Visit(visitor).event(0, GAP_S + 60).event(900).rows()
    assert rows == [("12:00:00", GAP_S + 60, 3)]


def test_a_visit_is_emitted_when_the_watermark_passes_its_end_and_not_before(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0).watermark(GAP_S - 1).event(60).watermark(GAP_S + 61).event(2 * GAP_S + 60).rows()
    assert rows == [("12:00:00", 60, 2), ("13:01:00", 0, 1)]


def test_a_late_event_refines_its_visit_with_a_row_that_holds_the_whole(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0, 60).watermark(GAP_S + 120).event(30).rows()
    assert rows == [("12:00:00", 60, 2), ("12:00:00", 60, 3)]


def test_a_late_event_can_begin_a_visit_earlier_or_end_it_later(visitor: Visitor) -> None:
    emitted = Visit(visitor).event(600).watermark(600 + GAP_S + 60)
    assert emitted.event(0).rows() == [("12:10:00", 0, 1), ("12:00:00", 600, 2)]
    emitted = Visit(visitor).event(600).watermark(600 + GAP_S + 60)
    # This runner never lets go of a watermark that a longer visit held back; when all is emitted, it raises a tuple.
    with pytest.raises(TypeError, match="exceptions must derive from BaseException"):
        emitted.event(1200).rows()
    assert emitted.emitted() == [("12:10:00", 0, 1), ("12:10:00", 600, 2)]


def test_a_late_event_can_join_two_visits(visitor: Visitor) -> None:
    rows = Visit(visitor).event(0).event(GAP_S + 600).watermark(2 * GAP_S + 700).event(1200).rows()
    assert sorted(rows[:2]) == [("12:00:00", 0, 1), ("12:40:00", 0, 1)]
    assert rows[-1] == ("12:00:00", GAP_S + 600, 3)


def test_an_event_within_the_lateness_counts_and_one_beyond_is_dropped(visitor: Visitor) -> None:
    end_s = GAP_S + LATENESS_S
    rows = Visit(visitor).event(0).watermark(end_s).event(0).rows()
    assert rows[-1] == ("12:00:00", 0, 2)
    rows = Visit(visitor).event(0).watermark(end_s + 1).event(0, 0.5).rows()
    assert rows == [("12:00:00", 0, 1)]


def test_visits_of_different_visitors_are_apart(tag: str) -> None:
    one, two = Visitor(tag + "a"), Visitor(tag + "b")
    stream = script([(v.key, [(v.did("scroll", at_s=n), None, [])]) for n, v in enumerate((one, two))])
    run(lambda p: collect(p | stream | SummarizeSessions() | beam.Map(session_rows), "rows"))
    assert sorted(rows[0].row["visitor"] for rows in _outputs["rows"]) == [one.key, two.key]


def test_events_whose_visit_ended_longer_ago_than_the_lateness_are_counted(visitor: Visitor) -> None:
    now = datetime.now(UTC)
    fresh, old = now - timedelta(seconds=GAP_S + LATENESS_S - 60), now - timedelta(seconds=GAP_S + LATENESS_S + 1)
    events = [
        Event(event_id=str(n), event="scroll", timestamp=at, user_id=visitor.tag)
        for n, at in enumerate((now, fresh, old))
    ]
    stream = script([(visitor.key, [(event, None, [])]) for event in events])
    counters = run(
        lambda p: collect(p | stream | SummarizeSessions(GAP_S, LATENESS_S) | beam.Map(session_rows), "rows")
    )
    assert counters["too_late"] == 1


@pytest.mark.parametrize(("gap_s", "lateness_s"), [(0, 1), (-1, 1), (1, -1)])
def test_a_gap_of_nothing_or_a_negative_lateness_is_refused(gap_s: float, lateness_s: float) -> None:
    with pytest.raises(ValueError, match=f"gap_s and lateness_s: expected .* got {gap_s}, {lateness_s}"):
        SummarizeSessions(gap_s, lateness_s)


def test_a_span_reaches_from_its_first_event_to_the_gap_after_its_last(visitor: Visitor) -> None:
    summary = SessionSummary()
    summary.add(visitor.did("scroll", at_s=90.5))
    summary.add(visitor.did("scroll", at_s=10))
    context = WindowFn.AssignContext(Timestamp(0), element=(visitor.key, summary))
    start = START.timestamp()
    assert SpanSessions(60).assign(context) == [IntervalWindow(Timestamp(start + 10), Timestamp(start + 150.5))]
