"""Counts by address: the laws of a monoid, windows, how well distinct visitors are estimated, and
their bounds.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.privacy.address_counts import MAX_VISITOR_HASHES, AddressCounts
from tests.pipeline.core.streams import START_MS, laws

MINUTE_MS = 60_000
# (visitor, ms after START_MS); half an hour, so that old spans are dropped
SENT = st.lists(
    st.tuples(st.sampled_from([f"a#{n}" for n in range(100)]), st.integers(0, 30 * MINUTE_MS)),
    max_size=60,
)


def counts_of(sent: list[tuple[str, int]]) -> AddressCounts:
    counts = AddressCounts()
    for visitor, offset in sent:
        counts.add(visitor, START_MS + offset)
    return counts


@laws
@given(SENT, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter(sent: list[tuple[str, int]], random: object) -> None:
    shuffled = list(sent)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert counts_of(shuffled) == counts_of(sent)


@laws
@given(SENT, SENT, SENT)
def test_counts_merge_in_any_grouping(
    one: list[tuple[str, int]], two: list[tuple[str, int]], three: list[tuple[str, int]]
) -> None:
    left, late, grouped = counts_of(one), counts_of(two), counts_of(one)
    left.merge(counts_of(two))
    left.merge(counts_of(three))
    late.merge(counts_of(three))
    grouped.merge(late)
    assert left == grouped == counts_of(one + two + three)


def test_merging_changes_only_the_one_that_is_merged_into() -> None:
    one, other = counts_of([("a#1", 0)]), counts_of([("a#2", 0)])
    one.merge(other)
    one.add("a#3", START_MS)
    assert other == counts_of([("a#2", 0)])


@laws
@given(SENT)
def test_what_is_stored_comes_back_and_a_copy_is_independent(sent: list[tuple[str, int]]) -> None:
    counts = counts_of(sent)
    assert AddressCounts.decode(counts.encode()) == counts
    copy = counts.copy()
    copy.add("a#new", START_MS + 30 * MINUTE_MS)
    assert counts == counts_of(sent) != copy


def test_bytes_of_something_else_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        AddressCounts.decode(b"\x81\xa1x\x01")


def test_events_leave_their_windows_and_visitors_with_them() -> None:
    counts = AddressCounts()
    counts.add("a#1", START_MS, count=30)
    counts.add("a#2", START_MS + 2 * MINUTE_MS, count=10)

    soon = counts.signals(START_MS + 2 * MINUTE_MS)
    assert (soon["events_1m"], soon["events_5m"], soon["visitors_5m"]) == (10, 40, 2)
    assert soon["events_per_visitor_5m"] == 20

    later = counts.signals(START_MS + 20 * MINUTE_MS)
    assert set(later.values()) == {0.0}


def test_each_visitors_share_is_of_the_same_time_as_the_visitors() -> None:
    counts = AddressCounts()
    for number in range(40):
        counts.add(f"a#{number}", START_MS + number)
    # nine minutes on, the spans of 5 min still reach back to them, and so must their events
    now = counts.signals(START_MS + 9 * MINUTE_MS)
    assert (now["events_5m"], now["visitors_5m"], now["events_per_visitor_5m"]) == (0, 40, 1)


def test_up_to_63_visitors_are_counted_exactly() -> None:
    for number in (1, 2, MAX_VISITOR_HASHES - 1):
        counts = counts_of([(f"a#{n % number}", n % 1000) for n in range(3 * number)])
        assert counts.signals(START_MS + 1000)["visitors_5m"] == number


@pytest.mark.parametrize("number", [100, 1_000, 5_000])
def test_many_visitors_are_estimated_within_four_standard_errors(number: int) -> None:
    counts = counts_of([(f"a#{n}", n % 1000) for n in range(number)])
    assert counts.signals(START_MS + 1000)["visitors_5m"] == pytest.approx(number, rel=0.5)


def test_the_state_of_an_address_stays_small_however_many_come() -> None:
    counts = AddressCounts()
    for number in range(6_000):
        counts.add(f"a#{number}", START_MS + number * 500)
    assert len(counts.visitors) == 3
    assert max(len(hashes) for hashes in counts.visitors.values()) == MAX_VISITOR_HASHES
    assert len(counts.encode()) < 2_000
