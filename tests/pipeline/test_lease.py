"""The lease on the real emulator: one job at a time, and how the next one comes by it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.core.items import Trending
from pipeline.lease import (
    KEY,
    LEASE_S,
    Grant,
    HeldLease,
    Holder,
    Lease,
    LeaseHeld,
    decoder,
    encoder,
    holder_of,
    machine,
)
from pipeline.runtime.clock import now_ms
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.steps.keyed_state import FoldPartials, StateOptions
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.layout import LEASE, PROFILE, TRENDING, Cell
from pipeline.store.tables import ensure_tables
from tests.pipeline.running import collect, outputs, run, script

BLUE, GREEN = Holder("blue in us-central1"), Holder("green in us-central1")


class Claim(Protocol):
    """Makes a process's part in the lease."""

    def __call__(self, holder: Holder, renew_s: float = 60.0) -> HeldLease: ...


@pytest.fixture
def instance(emulators: dict[str, str], tag: str) -> Iterator[Bigtable]:
    """An instance with a lease of its own."""
    found = Bigtable(emulators["GOOGLE_CLOUD_PROJECT"], f"lease-{tag}")
    ensure_tables(*found)
    yield found
    found.store().close()


@pytest.fixture
def leased(instance: Bigtable) -> Store:
    """The client of that instance."""
    return instance.store()


@pytest.fixture
def of(leased: Store) -> Iterator[Claim]:
    """Makes a process's part in the lease; the test's end ends its renewals."""
    made: list[HeldLease] = []

    def make(holder: Holder, renew_s: float = 60.0) -> HeldLease:
        made.append(HeldLease(leased, holder, renew_s))
        return made[-1]

    yield make
    for held in made:
        held.end()


class SlowStore(Store):
    """The lease's row alone, in memory; each read takes 20 ms, and `swaps` counts what was
    written."""

    def __init__(self) -> None:
        self.row: Cell | None = None
        self.swaps = 0
        self._lock = threading.Lock()

    def read(self, kind: str, key: str) -> Cell | None:
        time.sleep(0.02)
        return self.row

    def swap(
        self,
        kind: str,
        key: str,
        before: Cell | None,
        after: Cell | None,
        patience_s: float = 600.0,
    ) -> bool:
        with self._lock:
            if self.row != before:
                return False
            self.row = after
            self.swaps += 1
            return True


def renewed(store: Store, holder: Holder, ago_s: float = 0.0, since_ms: int = 1) -> None:
    """Let the row say that the holder renewed its lease so long ago."""
    row = encoder.encode(Grant(holder, since_ms)), now_ms() - round(ago_s * 1000)
    assert store.swap(LEASE, KEY, store.read(LEASE, KEY), row)


def named(store: Store) -> Holder | None:
    """The holder that the row names."""
    found = store.read(LEASE, KEY)
    return decoder.decode(found[0]).holder if found is not None else None


def test_a_second_job_is_refused_and_told_by_whom_since_when_and_what_to_do(
    leased: Store, of: Claim
) -> None:
    of(BLUE).take()
    with pytest.raises(LeaseHeld) as refused:
        of(GREEN).term()
    message = str(refused.value)
    assert message.startswith(
        "lease: the job blue in us-central1 folds into this instance since 20"
    )
    assert "Drain it, then start this one: docs/operations.md, 'Handing over'" in message
    assert named(leased) == BLUE


def test_all_processes_of_a_job_share_its_term(of: Claim) -> None:
    assert len({of(BLUE).term() for _ in range(3)}) == 1


@pytest.mark.parametrize("ago_s", [LEASE_S - 2, LEASE_S + 1])
def test_a_lease_that_nobody_has_renewed_for_its_time_is_free_and_not_before(
    leased: Store, of: Claim, ago_s: float
) -> None:
    renewed(leased, BLUE, ago_s)
    if ago_s < LEASE_S:
        with pytest.raises(LeaseHeld):
            of(GREEN).term()
    else:
        of(GREEN).term()
    assert named(leased) == (BLUE if ago_s < LEASE_S else GREEN)


def test_the_term_stays_over_a_pause_and_changes_when_another_job_held_the_lease(
    leased: Store, of: Claim
) -> None:
    first = of(BLUE).term()
    renewed(leased, BLUE, LEASE_S + 60, first)
    assert of(BLUE).term() == first
    renewed(leased, BLUE, LEASE_S + 60, first)
    between = of(GREEN).term()
    renewed(leased, GREEN, LEASE_S + 60, between)
    assert first < between < of(BLUE).term()


def test_of_many_jobs_that_start_at_once_one_gets_the_lease(leased: Store, of: Claim) -> None:
    jobs = [of(Holder(f"job {number}")) for number in range(8)]
    gate = threading.Barrier(len(jobs))

    def start(job: HeldLease) -> bool:
        gate.wait()
        try:
            job.term()
        except LeaseHeld:
            return False
        return True

    with ThreadPoolExecutor(len(jobs)) as threads:
        won = list(threads.map(start, jobs))
    assert won.count(True) == 1
    assert named(leased) == Holder(f"job {won.index(True)}")


def test_the_lease_of_a_process_that_was_killed_on_this_machine_is_free_at_once(
    leased: Store, of: Claim
) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Holder.of_this_process()
    try:
        holder = Holder(here.name, process.pid)
        renewed(leased, holder)
        with pytest.raises(LeaseHeld, match=f"lease: process {process.pid} on "):
            of(here).term()
    finally:
        process.kill()
        process.communicate()
    of(here).term()
    assert named(leased) == here
    renewed(leased, Holder("another-machine#1", process.pid))
    with pytest.raises(LeaseHeld):
        of(here).term()


def test_a_start_waits_for_a_lease_that_nobody_renews_and_is_refused_when_its_holder_does(
    leased: Store, of: Claim
) -> None:
    renewed(leased, BLUE, LEASE_S - 1.5)
    of(GREEN).take()
    assert named(leased) == GREEN
    alive = of(GREEN, renew_s=0.5)
    alive.term()
    with pytest.raises(LeaseHeld, match="green"):
        of(BLUE).take()


def test_an_idle_job_keeps_its_lease(leased: Store, of: Claim) -> None:
    of(BLUE, renew_s=0.1).take()
    renewed(leased, BLUE, LEASE_S - 1)
    time.sleep(1.5)
    with pytest.raises(LeaseHeld):
        of(GREEN).term()


def test_a_process_that_ends_lets_go_and_a_job_that_ends_leaves_its_lease_to_its_other_processes(
    instance: Bigtable, leased: Store, of: Claim
) -> None:
    here = Holder.of_this_process()
    with Lease(instance, here).taken():
        assert named(leased) == here
    assert named(leased) is None
    with Lease(instance, BLUE).taken():
        pass
    assert named(leased) == BLUE


def test_nothing_goes_on_under_a_lease_that_has_ended(of: Claim) -> None:
    held = of(BLUE)
    held.take()
    held.end()
    with pytest.raises(RuntimeError, match="lease: expected no more elements"):
        held.term()


def test_a_lease_that_the_pipeline_has_let_go_of_is_free_until_another_pipeline_takes_it(
    instance: Bigtable, leased: Store
) -> None:
    lease = Lease(instance, Holder.of_this_process())
    with lease.taken():
        pass
    with pytest.raises(RuntimeError, match="lease: expected no more elements"):
        lease.held().term()
    assert named(leased) is None
    with lease.taken():
        assert named(leased) == lease.holder


def test_bundles_that_ask_during_a_renewal_wait_for_it_and_renew_nothing_themselves() -> None:
    store = SlowStore()
    held = HeldLease(store, BLUE, renew_s=60.0)
    gate = threading.Barrier(8)

    def ask() -> int:
        gate.wait()
        return held.term()

    with ThreadPoolExecutor(8) as threads:
        terms = [asked.result() for asked in [threads.submit(ask) for _ in range(8)]]
    held.end()
    assert len(set(terms)) == 1
    assert store.swaps == 1


def test_renewals_come_as_often_however_many_bundles_ask() -> None:
    store = SlowStore()
    held = HeldLease(store, BLUE, renew_s=0.2)
    end_s = time.monotonic() + 1.0

    def ask() -> None:
        while time.monotonic() < end_s:
            held.term()
            time.sleep(0.001)

    with ThreadPoolExecutor(8) as threads:
        for asked in [threads.submit(ask) for _ in range(8)]:
            asked.result()
    held.end()
    assert 2 <= store.swaps <= 6


def test_a_lease_that_is_lost_is_logged_once_though_no_bundle_asks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = SlowStore()
    held = HeldLease(store, BLUE, renew_s=0.05)
    held.take()
    store.row = encoder.encode(Grant(GREEN, now_ms())), now_ms() + 1
    with caplog.at_level(logging.ERROR, "pipeline.lease"):
        time.sleep(0.6)
    with pytest.raises(LeaseHeld):
        held.term()
    held.end()
    [record] = caplog.records
    assert record.getMessage().startswith(
        "lost its lease: lease: the job green in us-central1 folds"
    )


def test_two_machines_of_one_host_name_are_two_holders(
    leased: Store, of: Claim, tmp_path: Path
) -> None:
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("another\n")
    here = Holder.of_this_process()
    of(here).term()
    with pytest.raises(LeaseHeld):
        of(Holder(machine(boot_id), here.pid)).term()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    renewed(leased, Holder(machine(boot_id), ended.pid))
    with pytest.raises(LeaseHeld):
        of(here).term()


def test_a_bundle_is_not_written_while_another_job_holds_the_lease(
    instance: Bigtable, leased: Store
) -> None:
    renewed(leased, BLUE)
    writes = [(PROFILE, "u#a", b"green's", 1000)]
    lease = Lease(instance, GREEN)
    with pytest.raises(RuntimeError, match="lease: the job blue"):
        run(
            lambda p: (
                p | script(writes) | WriteToBigtable(instance, after_commit=False, lease=lease)
            )
        )
    assert leased.read(PROFILE, "u#a") is None


def test_nothing_is_folded_while_another_job_holds_the_lease(
    instance: Bigtable, leased: Store, tag: str
) -> None:
    renewed(leased, BLUE)
    partial = [(tag, Trending().encode())]
    state_options = StateOptions(instance, lease=Lease(instance, GREEN))
    fold = beam.ParDo(FoldPartials(state_options, "scopes", TRENDING, Trending))
    with pytest.raises(RuntimeError, match="lease: the job blue"):
        run(lambda p: collect(p | script(partial) | fold, "writes"))
    assert outputs["writes"] == []


def test_a_dataflow_job_goes_by_its_name_and_any_other_by_its_process() -> None:
    named_job = ["--runner=DataflowRunner", "--job_name=freshet-pipeline", "--region=us-central1"]
    assert holder_of(PipelineOptions(named_job)) == Holder("freshet-pipeline in us-central1")
    assert (
        holder_of(PipelineOptions([]))
        == holder_of(PipelineOptions(["--job_name=x"]))
        == Holder.of_this_process()
    )
    assert Holder.of_this_process().pid == os.getpid()
    with pytest.raises(ValueError, match="job_name: expected a name for the Dataflow job"):
        holder_of(PipelineOptions(["--runner=DataflowRunner"]))
