"""The monoids under every feature: each against the plain formula or a plain list, and the laws of
all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import (
    DAY_MS,
    ActiveDays,
    BucketRing,
    DecayedSums,
    DecayedVector,
    Stopwatch,
    tape_add,
    tape_entries,
    tape_merge,
)
from tests.pipeline.core.streams import START_MS, assert_same, laws, randoms, shuffled

HALF_LIFE_MS = 1_800_000
WIDTH_MS, LENGTH = 10_000, 7

# (key, weight, ms after START_MS)
Term = tuple[str, float, int]
TERMS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0.1, 10), st.integers(0, 40 * HALF_LIFE_MS)),
    min_size=1,
    max_size=30,
)
# (code, count, ms after START_MS)
COUNTS = st.lists(
    st.tuples(st.integers(0, 31), st.integers(1, 5), st.integers(0, 200_000)), max_size=40
)


def sums_of(terms: list[Term]) -> DecayedSums[str]:
    sums: DecayedSums[str] = DecayedSums()
    for key, weight, offset in terms:
        sums.add(key, weight, START_MS + offset, HALF_LIFE_MS)
    return sums


def ring_of(counts: list[tuple[int, int, int]]) -> BucketRing:
    ring = BucketRing()
    for code, count, offset in counts:
        ring.add(code, count, START_MS + offset, WIDTH_MS, LENGTH)
    return ring


def reread(state: msgspec.Struct) -> msgspec.Struct:
    """The state after it was written and read."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state))


# decayed sums


@laws
@given(TERMS, st.integers(0, 10 * HALF_LIFE_MS))
def test_a_decayed_sum_is_the_sum_of_weight_times_two_to_minus_age_by_half_life(
    terms: list[Term], after: int
) -> None:
    now_ms = max(offset for _, _, offset in terms) + after
    sums = sums_of(terms)
    for key in "abc":
        plain = math.fsum(
            w * 2 ** (-(now_ms - offset) / HALF_LIFE_MS) for k, w, offset in terms if k == key
        )
        assert sums.value(key, START_MS + now_ms, HALF_LIFE_MS) == pytest.approx(
            plain, rel=1e-12, abs=1e-15
        )


@laws
@given(TERMS, randoms())
def test_the_order_of_adding_does_not_matter(terms: list[Term], random: Random) -> None:
    assert_same(sums_of(shuffled(random, terms)), sums_of(terms))


@laws
@given(TERMS, TERMS, TERMS)
def test_merging_is_adding_in_any_grouping(
    one: list[Term], two: list[Term], three: list[Term]
) -> None:
    left, right, late = sums_of(one), sums_of(two), sums_of(two)
    left.merge(right)
    left.merge(sums_of(three))
    late.merge(sums_of(three))
    grouped = sums_of(one)
    grouped.merge(late)
    assert_same(left, sums_of(one + two + three))
    assert_same(grouped, left)
    assert_same(right, sums_of(two))


def test_an_empty_sum_is_neutral_on_either_side() -> None:
    terms = [("a", 1.0, 0)]
    left, right = sums_of(terms), DecayedSums[str]()
    left.merge(DecayedSums())
    right.merge(sums_of(terms))
    assert left == right == sums_of(terms)
    assert DecayedSums[str]().value("a", START_MS, HALF_LIFE_MS) == 0.0


def test_one_half_life_halves_and_shares_stay() -> None:
    sums = sums_of([("a", 3.0, 0), ("b", 1.0, 0)])
    assert sums.values(START_MS, HALF_LIFE_MS) == pytest.approx({"a": 3.0, "b": 1.0}, rel=1e-12)
    assert sums.values(START_MS + HALF_LIFE_MS, HALF_LIFE_MS) == pytest.approx(
        {"a": 1.5, "b": 0.5}, rel=1e-12
    )
    assert sums.shares() == {"a": 0.75, "b": 0.25}
    assert DecayedSums[str]().shares() == {}


def test_a_late_term_weighs_what_it_would_have_weighed_in_time() -> None:
    sums = sums_of([("a", 1.0, 5 * HALF_LIFE_MS), ("a", 1.0, 0)])
    assert sums.value("a", START_MS + 5 * HALF_LIFE_MS, HALF_LIFE_MS) == pytest.approx(
        1 + 1 / 32, rel=1e-12
    )


def test_terms_years_apart_neither_overflow_nor_fail() -> None:
    far = 20 * 365 * 86_400_000
    for terms in ([("a", 1.0, 0), ("b", 1.0, far)], [("b", 1.0, far), ("a", 1.0, 0)]):
        sums = sums_of(terms)
        assert sums.value("b", START_MS + far, HALF_LIFE_MS) == pytest.approx(1.0, rel=1e-12)
        assert sums.value("a", START_MS + far, HALF_LIFE_MS) == pytest.approx(0.0, abs=1e-200)
        assert all(
            math.isfinite(value) for value in sums.values(START_MS - far, HALF_LIFE_MS).values()
        )


def test_only_the_largest_are_kept_and_ties_go_by_name() -> None:
    sums = sums_of([("c", 1.0, 0), ("b", 1.0, 0), ("a", 2.0, 0), ("d", 0.5, 0)])
    sums.keep_largest(2)
    assert set(sums.sums) == {"a", "b"}
    sums.keep_largest(2)
    assert set(sums.sums) == {"a", "b"}


def test_what_takes_back_is_kept_like_what_adds_and_what_is_nothing_but_rounding_is_dropped() -> (
    None
):
    sums = sums_of(
        [("a", 0.1, 0), ("a", 0.2, 0), ("a", -0.3, 0), ("b", -2.0, 0), ("c", 1.0, 0), ("d", 0.5, 0)]
    )
    assert sums.sums["a"] != 0
    sums.keep_largest(2)
    assert set(sums.sums) == {"b", "c"}


def test_a_copy_of_sums_is_independent() -> None:
    sums = sums_of([("a", 1.0, 0)])
    copy = sums.copy()
    copy.add("a", 1.0, START_MS, HALF_LIFE_MS)
    assert sums == sums_of([("a", 1.0, 0)]) != copy


# rings of buckets


@laws
@given(COUNTS, randoms())
def test_a_ring_is_the_same_in_any_order(
    counts: list[tuple[int, int, int]], random: Random
) -> None:
    assert ring_of(shuffled(random, counts)) == ring_of(counts)


@laws
@given(COUNTS, COUNTS, COUNTS)
def test_rings_merge_in_any_grouping(
    one: list[tuple[int, int, int]],
    two: list[tuple[int, int, int]],
    three: list[tuple[int, int, int]],
) -> None:
    left, right, late = ring_of(one), ring_of(two), ring_of(two)
    left.merge(right, LENGTH)
    left.merge(ring_of(three), LENGTH)
    late.merge(ring_of(three), LENGTH)
    grouped = ring_of(one)
    grouped.merge(late, LENGTH)
    assert left == grouped == ring_of(one + two + three)
    assert right == ring_of(two)


@laws
@given(COUNTS.filter(bool), st.integers(0, 90_000))
def test_a_window_is_exact_to_the_bucket_that_straddles_its_start(
    counts: list[tuple[int, int, int]], after: int
) -> None:
    now = max(offset for _, _, offset in counts) + after
    window_ms, ring = (LENGTH - 1) * WIDTH_MS, ring_of(counts)
    inside = sum(count for _, count, offset in counts if now - window_ms < offset <= now)
    straddling = sum(
        count
        for _, count, offset in counts
        if now - window_ms - WIDTH_MS < offset <= now - window_ms
    )
    assert (
        inside <= ring.total(range(32), window_ms, START_MS + now, WIDTH_MS) <= inside + straddling
    )


@laws
@given(COUNTS)
def test_a_ring_never_holds_more_than_its_buckets_and_is_read_as_it_was_written(
    counts: list[tuple[int, int, int]],
) -> None:
    ring = ring_of(counts)
    assert len({key >> 5 for key in ring.counts}) <= LENGTH
    assert reread(ring) == ring


@laws
@given(st.integers(0, 2**31), st.lists(st.integers(0, 127), min_size=1, max_size=40), randoms())
def test_the_longest_ring_tells_each_of_its_buckets_from_the_others(
    first: int, buckets: list[int], random: Random
) -> None:
    ring = BucketRing()
    for bucket in shuffled(random, buckets):
        ring.add(3, 1, (first + bucket) * WIDTH_MS, WIDTH_MS, 128)
    for bucket in range(128):
        now_ms = (first + bucket) * WIDTH_MS
        assert ring.total((3,), 0, now_ms, WIDTH_MS) == buckets.count(bucket)


def test_the_last_millisecond_of_a_bucket_and_the_first_of_the_next_are_two_buckets() -> None:
    ring = ring_of([(1, 1, WIDTH_MS - 1), (1, 1, WIDTH_MS)])
    assert sorted(ring.counts.values()) == [1, 1]
    assert ring_of([(1, 1, 0), (1, 1, WIDTH_MS - 1)]).counts == {
        START_MS // WIDTH_MS % 128 * 32 + 1: 2
    }


def test_the_oldest_kept_bucket_counts_and_the_one_before_is_dropped() -> None:
    newest = LENGTH * WIDTH_MS
    kept, dropped = newest - (LENGTH - 1) * WIDTH_MS, newest - (LENGTH - 1) * WIDTH_MS - 1
    for counts in (
        [(1, 1, newest), (1, 1, kept), (1, 1, dropped)],
        [(1, 1, dropped), (1, 1, kept), (1, 1, newest)],
    ):
        assert sum(ring_of(counts).counts.values()) == 2


def test_an_event_counts_from_its_own_millisecond_until_its_bucket_has_left_the_window() -> None:
    ring, window_ms = ring_of([(1, 1, 0)]), 3 * WIDTH_MS

    def at(offset: int) -> int:
        return ring.total((1,), window_ms, START_MS + offset, WIDTH_MS)

    assert [
        at(-1),
        at(0),
        at(window_ms),
        at(window_ms + WIDTH_MS - 1),
        at(window_ms + WIDTH_MS),
    ] == [0, 1, 1, 1, 0]


def test_codes_are_counted_apart_up_to_the_last() -> None:
    ring = ring_of([(0, 2, 0), (31, 3, 0)])
    assert [
        ring.total(codes, WIDTH_MS, START_MS, WIDTH_MS) for codes in ((0,), (31,), (0, 31), (7,))
    ] == [2, 3, 5, 0]


def test_a_copy_of_a_ring_is_independent() -> None:
    ring = ring_of([(1, 1, 0)])
    copy = ring.copy()
    copy.add(1, 1, START_MS, WIDTH_MS, LENGTH)
    assert ring == ring_of([(1, 1, 0)]) != copy


# decayed vectors

# (vector, landmark)
VECTORS = st.lists(
    st.tuples(
        st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(np.array), st.integers(0, 60)
    ),
    max_size=12,
)
Vectors = list[tuple[np.ndarray, int]]


def vector_of(terms: Vectors) -> DecayedVector:
    total = DecayedVector()
    for vector, landmark in terms:
        total.add(vector, landmark)
    return total


@laws
@given(VECTORS, VECTORS, VECTORS, randoms())
def test_decayed_vectors_add_and_merge_in_any_order_and_grouping(
    one: Vectors, two: Vectors, three: Vectors, random: Random
) -> None:
    whole = vector_of([*one, *two, *three])
    left, right, late = vector_of(one), vector_of(two), vector_of(two)
    left.merge(right)
    left.merge(vector_of(three))
    late.merge(vector_of(three))
    late.merge(vector_of(one))
    assert_same(vector_of(shuffled(random, [*one, *two, *three])), whole)
    assert_same(left, whole)
    assert_same(late, whole)
    assert right == vector_of(two) and reread(right) == right


def test_an_empty_vector_is_neutral_and_has_no_direction() -> None:
    left, right = vector_of([(np.array([3.0, 4.0]), 7)]), DecayedVector()
    left.merge(DecayedVector())
    right.merge(left)
    assert left == right == vector_of([(np.array([3.0, 4.0]), 7)])
    assert DecayedVector().direction() is None
    assert left.direction() == pytest.approx([0.6, 0.8])


def test_a_half_life_halves_a_vector_beside_a_newer_one() -> None:
    for terms in (
        [(np.array([2.0, 0.0]), 5), (np.array([0.0, 1.0]), 6)],
        [(np.array([0.0, 2.0]), 6), (np.array([4.0, 0.0]), 5)],
    ):
        assert vector_of(terms).direction() == pytest.approx([0.5**0.5, 0.5**0.5])


def test_a_vector_that_was_taken_back_has_no_direction_but_for_rounding() -> None:
    terms = [(np.array([0.1, 0.7]), 5), (np.array([0.2, 0.1]), 5), (np.array([-0.3, -0.8]), 5)]
    assert np.linalg.norm(np.frombuffer(vector_of(terms).values)) > 0
    assert vector_of(terms).direction() is None


# active days

DAYS = st.lists(st.integers(0, 200), max_size=30)


def days_of(days: list[int]) -> ActiveDays:
    found = ActiveDays()
    for day in days:
        found.add(START_MS + day * DAY_MS)
    return found


@laws
@given(DAYS, DAYS, DAYS, randoms())
def test_active_days_are_the_days_of_the_newest_64_in_any_order_and_grouping(
    one: list[int], two: list[int], three: list[int], random: Random
) -> None:
    every = [*one, *two, *three]
    kept = {day for day in every if day > max(every) - 64}
    whole = days_of(every)
    assert whole.count == len(kept) and whole.span == (max(kept) - min(kept) if kept else 0)
    left, right = days_of(one), days_of(two)
    right.merge(days_of(three))
    left.merge(right)
    neutral = ActiveDays()
    neutral.merge(whole)
    neutral.merge(ActiveDays())
    assert days_of(shuffled(random, every)) == left == neutral == whole == reread(whole)
    assert len(msgspec.msgpack.encode(whole)) <= 15


def test_the_last_millisecond_of_a_day_and_the_first_of_the_next_are_two_days() -> None:
    days = ActiveDays()
    for offset in (0, DAY_MS - 1, DAY_MS):
        days.add(START_MS // DAY_MS * DAY_MS + offset)
    assert (days.count, days.span) == (2, 1)


# stopwatches

# (what, ms after START_MS)
STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "stop", "tick"]), st.integers(0, 10_000)), max_size=12
)
Steps = list[tuple[str, int]]


def watch_of(steps: Steps, reported_ms: int = 0) -> Stopwatch:
    watch = Stopwatch(reported_ms=reported_ms)
    for name, offset in steps:
        getattr(watch, name)(START_MS + offset)
    return watch


@laws
@given(STEPS, STEPS, STEPS, randoms())
def test_a_stopwatch_is_exact_in_any_order_and_grouping(
    one: Steps, two: Steps, three: Steps, random: Random
) -> None:
    every = [*one, *two, *three]
    whole = watch_of(every, 7)
    left, right = watch_of(one, 3), watch_of(two, 4)
    right.merge(watch_of(three))
    left.merge(right)
    neutral = Stopwatch()
    neutral.merge(whole)
    neutral.merge(Stopwatch())
    assert watch_of(shuffled(random, every), 7) == left == neutral == whole == reread(whole)
    offsets = [offset for _, offset in every]
    assert 0 <= watch_of(every).elapsed_ms <= max(offsets, default=0) - min(offsets, default=0)
    assert len(msgspec.msgpack.encode(whole)) <= 46


@pytest.mark.parametrize(
    ("steps", "elapsed_ms"),
    [
        ([], 0),
        ([("start", 0), ("stop", 30)], 30),
        ([("start", 0), ("stop", 30), ("start", 50), ("stop", 60)], 40),
        ([("start", 0), ("tick", 20), ("tick", 70)], 70),
        ([("start", 0), ("stop", 30), ("tick", 90)], 30),
        ([("start", 0), ("stop", 30), ("start", 50)], 30),
        ([("stop", 30)], 0),
        ([("tick", 30), ("tick", 90)], 0),
    ],
    ids=[
        "nothing",
        "once",
        "twice",
        "no stop",
        "a tick after",
        "just begun",
        "no start",
        "ticks alone",
    ],
)
def test_a_stopwatch_runs_from_start_to_stop_or_to_the_last_that_was_seen(
    steps: Steps, elapsed_ms: int
) -> None:
    assert watch_of(steps).elapsed_ms == watch_of(steps[::-1]).elapsed_ms == elapsed_ms


def test_a_client_that_reports_the_time_is_believed() -> None:
    assert watch_of([("start", 0), ("stop", 30)], 12).elapsed_ms == 12


# tapes

WIDTH, LIMIT = 6, 5
ENTRIES = st.lists(
    st.integers(0, 12).map(lambda second: second.to_bytes(4, "big") + b"xy"), max_size=15
)


def tape_of(entries: list[bytes]) -> bytes:
    tape = b""
    for entry in entries:
        tape = tape_add(tape, entry, LIMIT)
    return tape


@laws
@given(ENTRIES, ENTRIES, ENTRIES, randoms())
def test_a_tape_holds_the_greatest_distinct_entries_in_any_order_and_grouping(
    one: list[bytes], two: list[bytes], three: list[bytes], random: Random
) -> None:
    every = [*one, *two, *three]
    whole = tape_of(every)

    def merge(left: bytes, right: bytes) -> bytes:
        return tape_merge(left, right, WIDTH, LIMIT)

    assert tape_entries(whole, WIDTH) == sorted(set(every))[-LIMIT:]
    assert tape_of(shuffled(random, every)) == whole
    assert merge(merge(tape_of(one), tape_of(two)), tape_of(three)) == whole
    assert merge(tape_of(three), merge(tape_of(two), tape_of(one))) == whole
    assert merge(whole, b"") == merge(b"", whole) == merge(whole, whole) == whole


@pytest.mark.parametrize(
    "order", [lambda entries: entries, lambda entries: entries[::-1]], ids=["rising", "falling"]
)
def test_a_full_tape_drops_its_oldest_entry(order: Callable[[list[bytes]], list[bytes]]) -> None:
    entries = [bytes([0, 0, 0, second, 1, 1]) for second in range(LIMIT + 2)]
    assert tape_entries(tape_of(order(entries)), WIDTH) == entries[2:]


def test_a_stopwatch_stays_within_a_stored_integer_however_many_starts_it_sees() -> None:
    watch = Stopwatch(balance_ms=-(2**63) + 5, open=0, first_ms=1, last_ms=1)
    watch.start(1_700_000_000_000)
    assert -(2**63) <= watch.balance_ms < 2**63
    watch.stop(1_700_000_000_000)
    assert watch.balance_ms == -(2**63) + 5
