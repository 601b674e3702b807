"""Writes to Bigtable: one request a table and bundle."""

from __future__ import annotations

from pipeline.dofn import LeanDoFn
from pipeline.keeping import Write
from pipeline.lease import Lease
from pipeline.metrics import Counter, Distribution
from pipeline.store import PROFILE, Bigtable, cell, now_ms


class WriteRows(LeanDoFn):
    """The newest write of each row of a bundle; see `transforms.WriteToBigtable`."""

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
