"""Decayed sums against the plain formula, bucket rings against a plain list, and the laws of both."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import BucketRing, DecayedSums
from tests.pipeline.core.streams import START_MS, assert_same, laws

HALF_LIFE_MS = 1_800_000
WIDTH_MS, LENGTH = 10_000, 7

# (key, weight, ms after START_MS)
Term = tuple[str, float, int]
TERMS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0.1, 10), st.integers(0, 40 * HALF_LIFE_MS)), min_size=1, max_size=30
)
# (code, count, ms after START_MS)
COUNTS = st.lists(st.tuples(st.integers(0, 31), st.integers(1, 5), st.integers(0, 200_000)), max_size=40)


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


# decayed sums


@laws
@given(TERMS, st.integers(0, 10 * HALF_LIFE_MS))
def test_a_decayed_sum_is_the_sum_of_weight_times_two_to_minus_age_by_half_life(terms: list[Term], after: int) -> None:
    now_ms = max(offset for _, _, offset in terms) + after
    sums = sums_of(terms)
    for key in "abc":
        plain = math.fsum(w * 2 ** (-(now_ms - offset) / HALF_LIFE_MS) for k, w, offset in terms if k == key)
        assert sums.value(key, START_MS + now_ms, HALF_LIFE_MS) == pytest.approx(plain, rel=1e-12, abs=1e-15)


@laws
@given(TERMS, st.randoms(use_true_random=False))
def test_the_order_of_adding_does_not_matter(terms: list[Term], random: object) -> None:
    shuffled = list(terms)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert_same(sums_of(shuffled), sums_of(terms))


@laws
@given(TERMS, TERMS, TERMS)
def test_merging_is_adding_in_any_grouping(one: list[Term], two: list[Term], three: list[Term]) -> None:
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
    assert sums.values(START_MS + HALF_LIFE_MS, HALF_LIFE_MS) == pytest.approx({"a": 1.5, "b": 0.5}, rel=1e-12)
    assert sums.shares() == {"a": 0.75, "b": 0.25}
    assert DecayedSums[str]().shares() == {}


def test_a_late_term_weighs_what_it_would_have_weighed_in_time() -> None:
    sums = sums_of([("a", 1.0, 5 * HALF_LIFE_MS), ("a", 1.0, 0)])
    assert sums.value("a", START_MS + 5 * HALF_LIFE_MS, HALF_LIFE_MS) == pytest.approx(1 + 1 / 32, rel=1e-12)


def test_terms_years_apart_neither_overflow_nor_fail() -> None:
    far = 20 * 365 * 86_400_000
    for terms in ([("a", 1.0, 0), ("b", 1.0, far)], [("b", 1.0, far), ("a", 1.0, 0)]):
        sums = sums_of(terms)
        assert sums.value("b", START_MS + far, HALF_LIFE_MS) == pytest.approx(1.0, rel=1e-12)
        assert sums.value("a", START_MS + far, HALF_LIFE_MS) == pytest.approx(0.0, abs=1e-200)
        assert all(math.isfinite(value) for value in sums.values(START_MS - far, HALF_LIFE_MS).values())


def test_only_the_largest_are_kept_and_ties_go_by_name() -> None:
    sums = sums_of([("c", 1.0, 0), ("b", 1.0, 0), ("a", 2.0, 0), ("d", 0.5, 0)])
    sums.keep_largest(2)
    assert set(sums.sums) == {"a", "b"}
    sums.keep_largest(2)
    assert set(sums.sums) == {"a", "b"}


def test_a_copy_of_sums_is_independent() -> None:
    sums = sums_of([("a", 1.0, 0)])
    copy = sums.copy()
    copy.add("a", 1.0, START_MS, HALF_LIFE_MS)
    assert sums == sums_of([("a", 1.0, 0)]) != copy


# rings of buckets


@laws
@given(COUNTS, st.randoms(use_true_random=False))
def test_a_ring_is_the_same_in_any_order(counts: list[tuple[int, int, int]], random: object) -> None:
    shuffled = list(counts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ring_of(shuffled) == ring_of(counts)


@laws
@given(COUNTS, COUNTS, COUNTS)
def test_rings_merge_in_any_grouping(
    one: list[tuple[int, int, int]], two: list[tuple[int, int, int]], three: list[tuple[int, int, int]]
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
    straddling = sum(count for _, count, offset in counts if now - window_ms - WIDTH_MS < offset <= now - window_ms)
    assert inside <= ring.total(range(32), window_ms, START_MS + now, WIDTH_MS) <= inside + straddling


@laws
@given(COUNTS)
def test_a_ring_never_holds_more_than_its_buckets(counts: list[tuple[int, int, int]]) -> None:
    ring = ring_of(counts)
    assert len({key >> 5 for key in ring.counts}) <= LENGTH


def test_the_last_millisecond_of_a_bucket_and_the_first_of_the_next_are_two_buckets() -> None:
    ring = ring_of([(1, 1, WIDTH_MS - 1), (1, 1, WIDTH_MS)])
    assert sorted(ring.counts.values()) == [1, 1]
    assert ring_of([(1, 1, 0), (1, 1, WIDTH_MS - 1)]).counts == {START_MS // WIDTH_MS * 32 + 1: 2}


def test_the_oldest_kept_bucket_counts_and_the_one_before_is_dropped() -> None:
    newest = LENGTH * WIDTH_MS
    kept, dropped = newest - (LENGTH - 1) * WIDTH_MS, newest - (LENGTH - 1) * WIDTH_MS - 1
    for counts in ([(1, 1, newest), (1, 1, kept), (1, 1, dropped)], [(1, 1, dropped), (1, 1, kept), (1, 1, newest)]):
        assert sum(ring_of(counts).counts.values()) == 2


def test_an_event_counts_from_its_own_millisecond_until_its_bucket_has_left_the_window() -> None:
    ring, window_ms = ring_of([(1, 1, 0)]), 3 * WIDTH_MS

    def at(offset: int) -> int:
        return ring.total((1,), window_ms, START_MS + offset, WIDTH_MS)

    assert [at(-1), at(0), at(window_ms), at(window_ms + WIDTH_MS - 1), at(window_ms + WIDTH_MS)] == [0, 1, 1, 1, 0]


def test_codes_are_counted_apart_up_to_the_last() -> None:
    ring = ring_of([(0, 2, 0), (31, 3, 0)])
    assert [ring.total(codes, WIDTH_MS, START_MS, WIDTH_MS) for codes in ((0,), (31,), (0, 31), (7,))] == [2, 3, 5, 0]


def test_a_copy_of_a_ring_is_independent() -> None:
    ring = ring_of([(1, 1, 0)])
    copy = ring.copy()
    copy.add(1, 1, START_MS, WIDTH_MS, LENGTH)
    assert ring == ring_of([(1, 1, 0)]) != copy
