"""State that a key keeps: what is written when, and that the last of it always is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import apache_beam as beam
import msgspec
import pytest
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.transforms.userstate import RuntimeTimer

from pipeline.core.items import ItemStats
from pipeline.lease import Holder, Lease
from pipeline.local.runner import LeanDirectRunner
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import snapshot
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.steps.keyed_state import KeyedState, RowState, StateOptions
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import cell
from tests.pipeline.running import (
    LONG_S,
    RUNNERS,
    Visitor,
    collect,
    disordered,
    features,
    message,
    outputs,
    run,
    script,
)

HOUR_S = 3600.0


class Sum(KeyedState):
    """A fold that adds up; each element is `(key, (seconds to be silent before, number))`."""

    def __init__(self, state_options: StateOptions) -> None:
        super().__init__(state_options, "sum")

    def process(
        self,
        element: tuple[str, tuple[float, int]],
        state: Any = beam.DoFn.StateParam(KeyedState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeyedState.FLUSH),
        expiry: Any = beam.DoFn.TimerParam(KeyedState.EXPIRY),
    ) -> Iterator[Any]:
        key, (silence_s, number) = element
        time.sleep(silence_s)
        kept = self._load(layout.PROFILE, key, state)
        total = int(kept.value or b"0") + number
        yield from self._keep(kept, str(total).encode(), 0, state, flush, expiry)


def written(key: str) -> list[int]:
    """The sums that were written of a key, in order; each lies above the one before."""
    found = [
        (revision, int(value)) for _, name, value, revision in outputs["writes"] if name == key
    ]
    assert [revision for revision, _ in found] == sorted({revision for revision, _ in found})
    return [value for _, value in found]


def sums(
    source: Bigtable, stream: Script, runner: type = LeanDirectRunner, **state_options: Any
) -> int:
    """Run the stream to its end, write what is to be written, and return what was coalesced."""

    def connect(pipeline: beam.Pipeline) -> None:
        writes = pipeline | stream | beam.ParDo(Sum(StateOptions(source, **state_options)))
        collect(writes, "writes")
        writes | WriteToBigtable(source, after_commit=False)

    return run(connect, runner)["sum/coalesced"]


def ones(key: str, count: int) -> list[list[Any]]:
    """So many elements of 1, each in a bundle of its own."""
    return [[(key, (0.0, 1))] for _ in range(count)]


@pytest.mark.parametrize("runner", RUNNERS)
def test_without_an_interval_every_change_is_written(
    source: Bigtable, tag: str, runner: type
) -> None:
    assert sums(source, script(*ones(tag, 4)), runner) == 0
    assert written(tag) == [1, 2, 3, 4]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_quiet_key_is_written_at_once_and_what_follows_within_the_interval_once_at_its_end(
    source: Bigtable, tag: str, runner: type
) -> None:
    stream = Script()
    for elements in ones(tag, 4):
        stream.add_elements(elements)
    # The script's clock passes the interval's end before its last element comes.
    stream.advance_processing_time(LONG_S).add_elements(
        [(tag, (0.0, 1))]
    ).advance_watermark_to_infinity()
    coalesced = sums(source, stream, runner, flush_s=HOUR_S)
    assert written(tag) == [1, 4, 5]
    assert coalesced == 5 - 3


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_still_waits_when_the_stream_ends_is_written_then(
    source: Bigtable, store: Store, tag: str, runner: type
) -> None:
    coalesced = sums(source, script(*ones(tag, 5)), runner, flush_s=HOUR_S)
    assert written(tag) == [1, 5]
    assert store.read(layout.PROFILE, tag) == (b"5", 5)
    assert coalesced == 5 - 2


class Terms(Lease, frozen=True):
    """A lease whose term the stream sets."""

    current: ClassVar[int] = 0

    def held(self) -> Any:
        return self

    def term(self) -> int:
        return Terms.current


class HandOver(beam.DoFn):
    """Passes elements on; at a number instead of one, another job writes the row, and a new term
    begins.
    """

    def __init__(self, source: Bigtable) -> None:
        self._source = source

    def process(self, element: tuple[str, Any]) -> Iterator[Any]:
        key, value = element
        if isinstance(value, int):
            self._source.store().write([cell(layout.PROFILE, key, b"100", 1_000_000)])
            Terms.current = value
        else:
            yield element


@pytest.mark.parametrize("flush_s", [0.0, HOUR_S])
def test_when_another_job_has_held_the_lease_the_row_is_read_again_and_not_written_over(
    source: Bigtable, tag: str, flush_s: float
) -> None:
    Terms.current = 1
    state_options = StateOptions(source, flush_s=flush_s, lease=Terms(source, Holder("blue")))
    elements = [*ones(tag, 2), [(tag, 2)], *ones(tag, 2)]

    def connect(pipeline: beam.Pipeline) -> None:
        given = pipeline | script(*elements) | beam.ParDo(HandOver(source))
        collect(given | beam.ParDo(Sum(state_options)), "writes")

    counts = run(connect)
    assert written(tag) == ([1, 101, 102] if flush_s else [1, 2, 101, 102])
    assert counts["sum/superseded"] == (1 if flush_s else 0)


class State:
    """A key's state, outside of a runner."""

    def __init__(self, value: bytes) -> None:
        self.value: bytes | None = value

    def read(self) -> bytes | None:
        return self.value

    def write(self, value: bytes) -> None:
        self.value = value

    def clear(self) -> None:
        self.value = None


def test_what_waited_from_an_earlier_term_is_counted_once_whichever_timers_come(tag: str) -> None:
    Terms.current = 5
    nowhere = Bigtable("p", "i")
    fold = Sum(StateOptions(nowhere, lease=Terms(nowhere, Holder("blue"))))
    fold.start_bundle()
    before = snapshot().get("sum/superseded", 0)
    waiting = State(
        msgspec.msgpack.encode(RowState(layout.PROFILE, tag, b"7", 3, 0, waits=True, term=4))
    )
    assert [*fold.flush(waiting), *fold.forget(waiting, RuntimeTimer())] == []
    assert snapshot()["sum/superseded"] - before == 1


class Flush(RuntimeTimer):
    """Notes how far ahead it is set."""

    ahead_s = 0.0

    def set(self, timestamp: Any, dynamic_timer_tag: str = "") -> None:
        self.ahead_s = float(timestamp) - time.time()


def test_a_flush_is_set_no_further_ahead_than_its_interval() -> None:
    fold, flush = Sum(StateOptions(Bigtable("p", "i"), flush_s=HOUR_S)), Flush()
    kept = RowState(layout.PROFILE, "key", written_ms=now_ms())
    assert list(fold._keep(kept, b"1", 0, State(b""), flush, RuntimeTimer())) == []
    assert kept.waits and 0 < flush.ahead_s <= HOUR_S


def test_a_change_after_the_interval_is_written_at_once(source: Bigtable, tag: str) -> None:
    stream = script([(tag, (0.0, 1))], [(tag, (0.1, 1))], [(tag, (0.1, 1))])
    assert sums(source, stream, flush_s=0.05) == 0
    assert written(tag) == [1, 2, 3]


def test_a_change_after_the_interval_takes_with_it_what_waited_for_a_timer_that_is_late(
    source: Bigtable, tag: str
) -> None:
    # The script's clock stands still, so the timer never comes.
    stream = script([(tag, (0.0, 1))], [(tag, (0.0, 1))], [(tag, (0.3, 1))])
    assert sums(source, stream, flush_s=0.25) == 1
    assert written(tag) == [1, 3]


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_waits_is_written_when_the_state_is_forgotten(
    source: Bigtable, tag: str, runner: type
) -> None:
    # The state is forgotten a second after; the interval would end in an hour.
    stream = Script().add_elements([(tag, (0.0, 1))]).add_elements([(tag, (0.0, 1))])
    stream.advance_watermark_to(round(time.time()) + 60).add_elements([(tag, (0.0, 1))])
    stream.advance_watermark_to_infinity()
    sums(source, stream, runner, flush_s=HOUR_S, ttl_s=1)
    assert written(tag) == [1, 2, 3]


def test_keys_wait_apart(source: Bigtable, tag: str) -> None:
    one, two = ones(f"{tag}a", 3), ones(f"{tag}b", 2)
    sums(source, script(*one, *two), flush_s=HOUR_S)
    assert written(f"{tag}a") == [1, 3] and written(f"{tag}b") == [1, 2]


def test_on_the_real_clock_the_last_state_arrives_after_the_interval(
    source: Bigtable, tag: str
) -> None:
    elements = [(tag, (0.0, 1))] * 5

    def connect(pipeline: beam.Pipeline) -> None:
        collect(
            pipeline | beam.Create(elements) | beam.ParDo(Sum(StateOptions(source, flush_s=0.1))),
            "writes",
        )

    run(connect)
    assert written(tag) == [1, 5]


def test_a_drained_job_of_any_interval_leaves_what_one_leaves_that_writes_every_change(
    source: Bigtable, store: Store, tag: str
) -> None:
    often, seldom = Visitor(f"{tag}a"), Visitor(f"{tag}b")
    found = []
    for visitor, flush_s in ((often, 0.0), (seldom, HOUR_S)):
        views = [visitor.did("view_product", f"p{n % 3}", n) for n in range(12)]
        features(source, disordered(views, 1), flush_s=flush_s)
        profile = store.read(layout.PROFILE, visitor.key)
        stats = store.read_many(layout.STATS, [visitor.product(f"p{n}") for n in range(3)])
        assert profile is not None
        totals = [ItemStats.decode(value).counts.totals for _, (value, _) in sorted(stats.items())]
        found.append((profile[1], totals, len(outputs["profile writes"])))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] > found[1][2] == 2


def test_every_change_is_either_written_or_coalesced(source: Bigtable, visitor: Visitor) -> None:
    views = [message(visitor.did("view_product", "p", n)) for n in range(9)]
    counts = features(source, views, flush_s=HOUR_S)
    # Each view changes the profile, the item, and the scope of all twice: by a count and by the
    # item's popularity.
    changes, stubs = 9 * 4, 1
    coalesced = sum(counts[f"{step}/coalesced"] for step in ("fold", "items", "scopes", "bigtable"))
    assert counts["bigtable/written"] + coalesced == changes + stubs
    # At once and at the end, of three rows; those of the scope that one bundle holds are one write.
    assert counts["bigtable/written"] == 3 * 2 + stubs


@pytest.mark.parametrize("wrong", [{"ttl_s": -1.0}, {"flush_s": -0.1}])
def test_a_negative_time_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ttl_s and flush_s: expected at least 0, got"):
        StateOptions(Bigtable("p", "i"), **wrong)
