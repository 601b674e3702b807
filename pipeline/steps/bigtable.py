"""Writes to Bigtable: one request a table and bundle."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipeline.lease import Lease
from pipeline.runtime.clock import now_ms
from pipeline.runtime.metrics import Counter, Distribution
from pipeline.steps.keyed_state import Write
from pipeline.store.blocking import Bigtable
from pipeline.store.layout import PROFILE, cell


class WriteCells(beam.DoFn):
    """The newest write of each row of a bundle; see `WriteToBigtable`."""

    def __init__(self, target: Bigtable, lease: Lease | None = None) -> None:
        self._target, self._lease = target, lease
        self._written = Counter("bigtable", "written")
        self._coalesced = Counter("bigtable", "coalesced")
        self._freshness = Distribution("bigtable", "data_freshness_ms")
        self._pending: dict[tuple[str, str], tuple[bytes, int]] = {}

    def start_bundle(self) -> None:
        self._pending = {}

    def process(self, write: Write) -> None:
        kind, key, value, timestamp_ms = write
        known = self._pending.get((kind, key))
        if known is not None:
            self._coalesced.inc()
        if known is None or known[1] <= timestamp_ms:
            self._pending[(kind, key)] = (value, timestamp_ms)

    def finish_bundle(self) -> None:
        writes = [cell(kind, key, *value) for (kind, key), value in self._pending.items()]
        if self._lease is not None and writes:
            self._lease.held().term()  # raises where another job writes
        self._written.inc(self._target.store().write(writes))
        now = now_ms()
        for (kind, _), (_, revision) in self._pending.items():
            if kind == PROFILE:
                self._freshness.update(now - revision)


class WriteToBigtable(beam.PTransform):
    """Write `(kind, key, value, timestamp in ms)` to Bigtable, in one request a table and bundle.

    Idempotent: a cell's timestamp says which state is fuller, so a retried or delayed write does no
    harm.

    `after_commit` breaks the fusion with the fold before it, so that a state reaches Bigtable only
    when the runner has committed it. Without, a bundle that is tried again would warm-start a new
    key from its own first try's write, and take its events for duplicates. The DirectRunner does
    not try bundles again and is spared the shuffle.

    With a `lease`, a bundle fails while another job holds it.
    """

    def __init__(
        self, target: Bigtable, after_commit: bool = True, lease: Lease | None = None
    ) -> None:
        super().__init__()
        self._write, self._after_commit = WriteCells(target, lease), after_commit

    def expand(self, writes: PCollection) -> Any:
        if self._after_commit:
            writes = writes | beam.Reshuffle()
        return writes | "Write" >> beam.ParDo(self._write)
