"""Writes to Bigtable: the fullest state of a row, once a bundle, and only when it has been
committed.
"""

from __future__ import annotations

import time

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.runtime.metrics import snapshot
from pipeline.steps.bigtable import WriteToBigtable
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from tests.pipeline.running import RUNNERS, run, script


def test_nothing_is_written_before_the_fold_is_committed_unless_told_so(source: Bigtable) -> None:
    def steps(after_commit: bool) -> str:
        pipeline = beam.Pipeline(options=PipelineOptions([]))
        (
            pipeline
            | beam.Create([("profile", "u#x", b"", 1)])
            | "W" >> WriteToBigtable(source, after_commit)
        )
        return "".join(
            transform.unique_name
            for transform in pipeline.to_runner_api().components.transforms.values()
        )

    assert "W/Reshuffle" in steps(True) and "W/Reshuffle" not in steps(False)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("after_commit", [True, False])
def test_what_is_given_is_written(
    source: Bigtable, store: Store, tag: str, after_commit: bool, runner: type
) -> None:
    writes = [
        (kind, tag, kind.encode(), 1000) for kind in (layout.PROFILE, layout.STATS, layout.TRENDING)
    ]
    counts = run(lambda p: p | script(writes) | WriteToBigtable(source, after_commit), runner)
    assert [store.read(kind, tag) for kind, *_ in writes] == [
        (kind.encode(), 1000) for kind, *_ in writes
    ]
    assert counts["bigtable/written"] == 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_states_in_one_bundle_the_fuller_is_written_whatever_their_order(
    source: Bigtable, store: Store, tag: str, order: tuple[int, int]
) -> None:
    states = [(layout.PROFILE, tag, b"fuller", 2000), (layout.PROFILE, tag, b"older", 1000)]
    writes = [states[n] for n in order]
    counts = run(lambda p: p | script(writes) | WriteToBigtable(source, after_commit=False))
    assert store.read(layout.PROFILE, tag) == (b"fuller", 2000)
    assert (counts["bigtable/written"], counts["bigtable/coalesced"]) == (1, 1)


def test_an_older_state_that_comes_in_a_later_bundle_hides_nothing(
    source: Bigtable, store: Store, tag: str
) -> None:
    fuller, older = (
        (layout.PROFILE, tag, b"fuller", 2000),
        (layout.PROFILE, tag, b"older", 1000),
    )
    run(lambda p: p | script([fuller], [older]) | WriteToBigtable(source, after_commit=False))
    assert store.read(layout.PROFILE, tag) == (b"fuller", 2000)


def test_what_cannot_be_written_stops_the_bundle_and_is_not_counted(
    source: Bigtable, tag: str
) -> None:
    nowhere = Bigtable(source.project, f"nowhere-{tag}")
    before = snapshot().get("bigtable/written", 0)
    with pytest.raises(RuntimeError, match="MutationsExceptionGroup"):
        run(
            lambda p: (
                p
                | script([("profile", tag, b"", 1)])
                | WriteToBigtable(nowhere, after_commit=False)
            )
        )
    assert snapshot().get("bigtable/written", 0) == before


def test_how_fresh_a_written_profile_is_becomes_a_distribution(source: Bigtable, tag: str) -> None:
    run(
        lambda p: (
            p
            | script([(layout.PROFILE, tag, b"", round(time.time() * 1000))])
            | WriteToBigtable(source)
        )
    )
    assert snapshot()["bigtable/data_freshness_ms_p99_below"] > 0
