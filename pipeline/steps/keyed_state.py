"""State that a key keeps: read back from Bigtable when the key is new here, written at most once a
flush interval.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, TypeVar

import apache_beam as beam
import msgspec
from apache_beam.coders import BytesCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
    RuntimeTimer,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import QueryStats, TopQueries
from pipeline.lease import Lease
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter
from pipeline.store.blocking import Bigtable
from pipeline.store.layout import revise
from pipeline.store.versions import UNREADABLE, decode

log = logging.getLogger(__name__)

FoldState = TypeVar("FoldState", UserProfile, ItemStats, Trending, QueryStats, TopQueries)

END: Timestamp = GlobalWindow().max_timestamp()
"""Of event time: timers that are set here fire when the job is drained."""

Write = tuple[str, str, bytes, int]  # (kind, key, encoded value, cell timestamp in ms)


def until_drained(time_s: float) -> Timestamp:
    """Time of a timer in event time, given in seconds since the Unix epoch: when the job is drained
    at the latest.
    """
    return min(Timestamp(time_s), END)


class RowState(msgspec.Struct, array_like=True):
    """One row in Beam's state: its key, value and revision, when it was written last, and whether
    it waits.

    `term`: the lease's when it was kept. In another term another job has written the row meanwhile.
    """

    kind: str
    key: str
    value: bytes = b""
    revision: int = 0
    written_ms: int = 0
    waits: bool = False
    term: int = 0

    def write(self) -> Write:
        """The write to Bigtable."""
        return self.kind, self.key, self.value, self.revision


class StateOptions(msgspec.Struct, frozen=True):
    """Options of a fold's state: its Bigtable and lease, when to forget and how often to write.

    `ttl_s`: forget the state of a key that is silent for so long (it is read back from Bigtable);
    0: never. `flush_s`: a key is written at most once in so long, the last state always; 0: at
    every change.
    """

    source: Bigtable
    ttl_s: float = 0.0
    flush_s: float = 0.0
    lease: Lease | None = None

    def __post_init__(self) -> None:
        if self.ttl_s < 0 or self.flush_s < 0:
            raise ValueError(
                f"ttl_s and flush_s: expected at least 0, got {self.ttl_s}, {self.flush_s}"
            )

    def term(self) -> int:
        """The lease's term; 0 without one. Raises LeaseHeld."""
        return self.lease.held().term() if self.lease is not None else 0


class KeyedState(beam.DoFn):
    """State of a key, for all folds: a quiet key's first change is written at once, what follows
    within `flush_s` at its end.

    Timers: `flush` (processing time, at most `flush_s` ahead) ends the interval; `expiry` (event
    time) writes what still waits and forgets, after `ttl_s` of silence and when the job is drained.
    A processing-time timer holds the watermark of all that follows until it fires, an event-time
    timer does not (docs/decisions/watermarks.md).
    """

    STATE = ReadModifyWriteStateSpec("state", BytesCoder())
    FLUSH = TimerSpec("flush", TimeDomain.REAL_TIME)
    EXPIRY = TimerSpec("expiry", TimeDomain.WATERMARK)

    def __init__(self, state_options: StateOptions, step: str) -> None:
        self._options = state_options
        self._warm = Counter(step, "warm_started")
        self._coalesced = Counter(step, "coalesced")
        self._superseded = Counter(step, "superseded")
        self._unreadable = Counter(step, "unreadable")
        self._term = 0
        self._logged_unreadable = False

    def start_bundle(self) -> None:
        self._term = self._options.term()
        self._logged_unreadable = False

    def _load(self, kind: str, key: str, state: ReadModifyWriteRuntimeState) -> RowState:
        """The row's state; an empty value when there is none yet."""
        kept = self._current(state)
        if kept is not None:
            return kept
        stored = self._options.source.store().read(kind, key)
        if stored is None:
            return RowState(kind, key, term=self._term)
        self._warm.inc()
        return RowState(kind, key, *stored, term=self._term)

    def _decode(self, form: type[FoldState], kept: RowState) -> FoldState | None:
        """The kept state, empty for a new row; None, counted, for one that cannot be read, which
        stays as it is.

        What is given for such a row is in the log alone: a backfill folds it, once the row can be
        read again.
        """
        try:
            return decode(form, kept.value) if kept.value else form()
        except UNREADABLE as error:
            self._unreadable.inc()
            if not self._logged_unreadable:  # once a bundle
                log.error("a row of kind %s is left as it is: %s", kept.kind, error)
                self._logged_unreadable = True
            return None

    def _current(self, state: ReadModifyWriteRuntimeState) -> RowState | None:
        """The kept state, unless another job has held the lease since: then it is dropped, for the
        row may say more.
        """
        encoded: bytes | None = state.read()
        if encoded is None:
            return None
        kept = _decoder.decode(encoded)
        if kept.term == self._term:
            return kept
        self._superseded.inc(int(kept.waits))  # acknowledged, and in no row
        state.clear()
        return None

    def _keep(
        self,
        kept: RowState,
        value: bytes,
        newest_ms: int,
        state: Any,
        flush: RuntimeTimer,
        expiry: RuntimeTimer,
    ) -> Iterator[Write]:
        """Keep a new value, and write it now or when the interval ends."""
        kept.value, kept.revision = value, revise(newest_ms, kept.revision)
        now, flush_ms = now_ms(), round(self._options.flush_s * 1000)
        if kept.waits:
            self._coalesced.inc()  # one write for what waits and for this
        if now - kept.written_ms >= flush_ms:
            kept.written_ms, kept.waits = now, False
            yield kept.write()
        elif not kept.waits:
            kept.waits = True
            flush.set(Timestamp((kept.written_ms + flush_ms) / 1000))
        self._hold(kept, state, expiry)

    def _hold(self, kept: RowState, state: Any, expiry: RuntimeTimer) -> None:
        """Keep what is kept for as long again, without writing it."""
        state.write(_encoder.encode(kept))
        ttl_s = self._options.ttl_s
        expiry.set(until_drained(now_ms() / 1000 + ttl_s) if ttl_s else END)

    @on_timer(FLUSH)
    def flush(self, state: Any = beam.DoFn.StateParam(STATE)) -> Iterator[Write]:
        yield from self._write_waiting(state)

    @on_timer(EXPIRY)
    def forget(
        self, state: Any = beam.DoFn.StateParam(STATE), flush: Any = beam.DoFn.TimerParam(FLUSH)
    ) -> Iterator[Write]:
        yield from self._write_waiting(state)
        state.clear()
        flush.clear()  # it would hold the watermark of a job that is drained

    def _write_waiting(self, state: Any) -> Iterator[Write]:
        kept = self._current(state)
        if kept is not None and kept.waits:
            kept.written_ms, kept.waits = now_ms(), False
            state.write(_encoder.encode(kept))
            yield kept.write()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RowState)


class FoldPartials(KeyedState):
    """Partial states of one kind into each key's row.

    Args:
        state_options: where rows are, how long states are kept.
        step: the name under which its rows are counted.
        kind: of the rows, one of `layout`.
        form: the class of the state.
    """

    def __init__(
        self, state_options: StateOptions, step: str, kind: str, form: type[Trending | TopQueries]
    ) -> None:
        super().__init__(state_options, step)
        self._kind = kind
        self._form: Any = form

    def process(
        self,
        element: tuple[str, bytes],
        state: Any = beam.DoFn.StateParam(KeyedState.STATE),
        flush: Any = beam.DoFn.TimerParam(KeyedState.FLUSH),
        expiry: Any = beam.DoFn.TimerParam(KeyedState.EXPIRY),
    ) -> Iterator[Any]:
        """Merge one partial state, and yield the row when it is due."""
        key, addition = element
        kept = self._load(self._kind, key, state)
        total: Any = self._decode(self._form, kept)
        if total is None:
            return
        total.merge(decode(self._form, addition))
        yield from self._keep(kept, total.encode(), total.newest_ms, state, flush, expiry)
