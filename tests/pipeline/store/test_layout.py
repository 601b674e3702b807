"""Revisions order the states of a row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.layout import revise
from tests.pipeline.core.streams import laws


@laws
@given(st.lists(st.integers(0, 2**41), min_size=1))
def test_each_revision_lies_above_the_one_before_and_at_or_above_its_newest_event(
    times: list[int],
) -> None:
    newest, revision = 0, 0
    for time_ms in times:
        newest, before = max(newest, time_ms), revision
        revision = revise(newest, revision)
        assert revision > before and revision >= newest
    assert revision < newest + len(times) + 1
