"""Rows of a backfill into Bigtable, above what is there."""

from __future__ import annotations

import apache_beam as beam

from pipeline.core.profile import UserProfile
from pipeline.lease import Lease
from pipeline.runtime.metrics import Counter
from pipeline.store.layout import PROFILE, STUB, cell, revise
from pipeline.store.versions import UNREADABLE, decode, knows_version

MAX_WRITES = 500

Row = tuple[str, str, bytes, int]  # (kind, key, encoded state, newest event time in ms)


class WriteRows(beam.DoFn):
    """Writes rows above what is there.

    Kept is what a profile knows and the log does not (cooldowns, marks), and what a stub said
    first. A row that a newer release has written stays as it is, and is counted.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._written = Counter("backfill", "written")
        self._unreadable = Counter("backfill", "unreadable")
        self._pending: dict[str, dict[str, tuple[bytes, int]]] = {}

    def start_bundle(self) -> None:
        self._pending = {}

    def process(self, row: Row) -> None:
        kind, key, value, newest_ms = row
        self._pending.setdefault(kind, {})[key] = (value, newest_ms)
        if sum(map(len, self._pending.values())) >= MAX_WRITES:
            self._write()

    def finish_bundle(self) -> None:
        self._write()

    def _write(self) -> None:
        self._lease.held().term()  # raises where another job writes
        store, writes = self._lease.target.store(), []
        stored = store.read_cells(
            (kind, key) for kind, rows in self._pending.items() for key in rows
        )
        for kind, rows in self._pending.items():
            for key, (value, newest_ms) in rows.items():
                before, revision = stored.get((kind, key), (b"", 0))
                if before and not knows_version(kind, before):
                    self._unreadable.inc()
                    continue
                if before and kind == PROFILE:
                    value = _with_memory(value, before)
                elif before and kind == STUB:
                    value = before
                writes.append(cell(kind, key, value, revise(newest_ms, revision)))
        self._written.inc(store.write(writes))
        self._pending = {}


def _with_memory(value: bytes, before: bytes) -> bytes:
    """The folded profile with the cooldowns and marks of the one that was stored, where that is not
    damaged.
    """
    profile = UserProfile.decode(value)
    try:
        stored = decode(UserProfile, before)
    except UNREADABLE:
        return value
    profile.merge(UserProfile(marks=stored.marks, fired=stored.fired))
    return profile.encode()
