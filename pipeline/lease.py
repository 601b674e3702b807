"""The lease on an instance of Bigtable: one job folds into it at a time.

Each job keeps states of its own and writes whole rows, so two jobs on one subscription would
overwrite each other's rows. The lease is a row that names the job and is renewed by every process
of it that folds or writes; a second job is refused, and a job that has lost its lease fails its
bundles. See docs/decisions/lease.md.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from google.api_core.exceptions import GoogleAPIError

from pipeline.options import FreshetOptions
from pipeline.runtime.clock import now_ms
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import LEASE, Cell, revise

logger = logging.getLogger(__name__)

LEASE_S = 30.0  # a lease that is not renewed is free after so long
RENEW_S = 5.0  # each process that folds or writes renews it so often
STALE_S = 10.0  # a process that has not renewed it for so long renews it before the next element
END_S = 2.0  # at the end a process tries to let go of it for so long
LOOK_S = 1.0  # a job that waits for a lease looks so often
KEY = "pipeline"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_IDS = Path("/proc/self/ns/pid")


class Holder(msgspec.Struct, frozen=True):
    """The job that folds: a Dataflow job by its name, or one process of one machine (`pid` above
    0).
    """

    name: str
    pid: int = 0

    @staticmethod
    def of_this_process() -> Holder:
        """The process that asks."""
        return Holder(machine(), os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.name}" if self.pid else f"the job {self.name}"

    def has_ended(self) -> bool:
        """True for a process of this machine that runs no more; of others only the lease's age is
        known.
        """
        if not self.pid or self.name != machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


class Grant(msgspec.Struct, frozen=True):
    """The row's content: the holder, and since when in ms, which distinguishes terms."""

    holder: Holder
    since_ms: int


class LeaseHeld(RuntimeError):
    """Another job holds the lease."""

    def __init__(self, grant: Grant, renewed_ms: int) -> None:
        self.renewed_ms = renewed_ms
        super().__init__(
            f"lease: {grant.holder} folds into this instance since {_clock(grant.since_ms)} "
            "(renewed"
            f" {_clock(renewed_ms)}), and two jobs at once would overwrite each other's rows. "
            "Drain it, then start this"
            f" one: docs/operations.md, 'Handing over'"
        )


class HeldLease:
    """One process's part in holding a lease; all processes of a job share its term.

    A background thread renews it every `renew_s` seconds from the first term on, so that an idle
    job keeps it too.
    """

    def __init__(self, store: Store, holder: Holder, renew_s: float = RENEW_S) -> None:
        self._store, self._holder, self._renew_s = store, holder, renew_s
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._renewed_s, self._term = -math.inf, 0
        self._cell: Cell | None = None
        self._renewer = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)

    def term(self) -> int:
        """The term in which this job holds the lease, in ms: renewed at most `STALE_S` ago, else
        now.

        It changes only when another job has held the lease in between. Raises LeaseHeld.
        """
        if self._is_stale():
            with self._lock:
                if self._is_stale():  # else another bundle, or the thread, has renewed it meanwhile
                    self._renew()
        return self._term

    def take(self) -> None:
        """Take the lease; wait for one that is not renewed to run out.

        Raises LeaseHeld when its holder renews it.
        """
        seen_ms = None
        while True:
            try:
                self.term()
                return
            except LeaseHeld as held:
                if seen_ms not in (None, held.renewed_ms):
                    raise
                if seen_ms is None:
                    logger.warning("waiting to see whether the holder is alive: %s", held)
                seen_ms = held.renewed_ms
            time.sleep(LOOK_S)

    def end(self) -> None:
        """Renew it no more. A process lets go of it; a job does not, for its other processes may go
        on.
        """
        self._ended.set()
        if not self._lock.acquire(timeout=END_S):
            return  # Bigtable does not answer: the lease runs out
        try:
            self._renewed_s = -math.inf
            if self._holder.pid and self._cell is not None:
                with suppress(GoogleAPIError):
                    self._store.swap(LEASE, KEY, self._cell, None, patience_s=END_S)
        finally:
            self._lock.release()

    def has_ended(self) -> bool:
        """True once `end` was called."""
        return self._ended.is_set()

    def _is_stale(self) -> bool:
        return time.monotonic() - self._renewed_s > STALE_S

    def _renew(self) -> None:
        """Renew it now; call it with the lock."""
        if self._ended.is_set():
            raise RuntimeError("lease: expected no more elements from a pipeline that has ended")
        began_s = time.monotonic()
        try:
            while not self._claim():
                pass  # another process changed the row between our read and our write
        except LeaseHeld as held:
            self._lose(held)
            raise
        self._renewed_s = began_s
        if self._renewer.ident is None:
            self._renewer.start()

    def _lose(self, held: LeaseHeld) -> None:
        """Note that another job has it: the next bundle asks first."""
        if self._cell is not None:
            logger.error("lost its lease: %s", held)
        self._renewed_s, self._cell = -math.inf, None

    def _claim(self) -> bool:
        """Write the row, unless it is another's; False when it changed meanwhile."""
        now, found = now_ms(), self._store.read(LEASE, KEY)
        grant, renewed_ms = self._grant(now, found), found[1] if found is not None else 0
        cell = encoder.encode(grant), revise(now, renewed_ms)
        if not self._store.swap(LEASE, KEY, found, cell):
            return False
        self._term, self._cell = grant.since_ms, cell
        return True

    def _grant(self, now: int, found: Cell | None) -> Grant:
        """The row's next content: the same as now for its holder. Raises LeaseHeld."""
        if found is None:
            return Grant(self._holder, now)
        grant, renewed_ms = decoder.decode(found[0]), found[1]
        if grant.holder == self._holder:
            return grant
        if now - renewed_ms < LEASE_S * 1000 and not grant.holder.has_ended():
            raise LeaseHeld(grant, renewed_ms)
        return Grant(self._holder, max(now, grant.since_ms + 1))

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._renew_s):
            # `term` tries again, and raises
            with self._lock, suppress(GoogleAPIError, RuntimeError):
                self._renew()


class Lease(msgspec.Struct, frozen=True):
    """A lease and its holder: picklable, and the key of what a process holds."""

    target: Bigtable
    holder: Holder

    def held(self) -> HeldLease:
        """This process's part in it, made on first use and kept.

        It is kept when it has ended, too: a bundle that still runs then fails rather than take the
        lease again.
        """
        with _lock:
            if self not in _held:
                _held[self] = HeldLease(self.target.store(), self.holder)
            return _held[self]

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the lease while the block runs. Raises LeaseHeld."""
        with _lock:
            if self in _held and _held[self].has_ended():
                del _held[self]
        held = self.held()
        held.take()
        try:
            yield
        finally:
            held.end()


_held: dict[Lease, HeldLease] = {}
_lock = threading.Lock()


def holder_of(options: PipelineOptions) -> Holder:
    """The job that the options start: Dataflow runs a name once at a time, elsewhere the job is
    this process.

    Raises:
        ValueError: for a Dataflow job without a name.
    """
    runner = options.view_as(StandardOptions).runner or ""
    if "dataflow" not in runner.lower():
        return Holder.of_this_process()
    cloud = options.view_as(GoogleCloudOptions)
    if not cloud.job_name:
        raise ValueError(
            "job_name: expected a name for the Dataflow job, which holds its lease by it, got "
            "nothing"
        )
    return Holder(f"{cloud.job_name} in {cloud.region}")


def lease_of(options: FreshetOptions) -> Lease:
    """The lease on the instance that the options name, for the job that they start."""
    target = Bigtable(options.view_as(GoogleCloudOptions).project, options.bigtable_instance)
    return Lease(target, holder_of(options))


def machine(boot_id: Path = _BOOT_ID) -> str:
    """This machine since its start, or this container of it: where a process id means one process.

    Its host name alone where Linux has no more.
    """
    with suppress(OSError):
        return f"{platform.node()}#{boot_id.read_text().strip()}#{_PROCESS_IDS.stat().st_ino}"
    return platform.node()


def _clock(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Grant)
