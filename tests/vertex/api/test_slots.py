"""Filling slots: the order of scores, and what each limit changes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertex.api.slots import Limits, Quota, Window, best_of_each, fill, likeness_of

scores_of = st.lists(st.floats(0.0, 10.0), min_size=1, max_size=40).map(np.array)


def by_score(scores: np.ndarray) -> list[int]:
    return list(np.argsort(-scores, kind="stable"))


def mask(*members: int, n: int) -> list[bool]:
    return [index in members for index in range(n)]


@st.composite
def windowed(draw: st.DrawFn) -> tuple[np.ndarray, Window, int]:
    n = draw(st.integers(1, 30))
    scores = np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    codes = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    window = Window("brands", codes, draw(st.integers(1, 3)), draw(st.integers(2, 6)))
    return scores, window, draw(st.integers(1, 30))


@given(scores_of, st.integers(1, 50))
def test_without_limits_the_order_is_that_of_scores_and_ties_stay_as_found(
    scores: np.ndarray, k: int
) -> None:
    assert fill(scores, k, Limits()).order == by_score(scores)[:k]


@given(scores_of, st.integers(0, 3))
def test_diversity_of_one_is_the_order_of_scores(scores: np.ndarray, kinds: int) -> None:
    codes = (np.arange(len(scores)) % (kinds + 1)).astype(np.int32)
    likeness = likeness_of(codes, codes, np.zeros((len(scores), 4), np.float32))

    order = fill(scores, len(scores), Limits(diversity=1.0, likeness=likeness)).order

    assert order == by_score(scores)


def test_less_diversity_by_score_brings_another_category_forward() -> None:
    categories = np.array([1, 1, 1, 2], np.int32)
    brands, units = np.zeros(4, np.int32), np.zeros((4, 2), np.float32)
    likeness = likeness_of(categories, brands, units)
    scores = np.array([1.0, 0.9, 0.8, 0.7])

    assert fill(scores, 4, Limits(diversity=0.5, likeness=likeness)).order == [0, 3, 1, 2]


def test_vectors_tell_items_of_one_category_apart() -> None:
    same = np.ones(3, np.int32)
    units = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    scores = np.array([1.0, 0.9, 0.85])

    limits = Limits(diversity=0.5, likeness=likeness_of(same, same, units))

    assert fill(scores, 3, limits).order[:2] == [0, 2]


def test_items_without_category_brand_or_vector_are_like_nothing() -> None:
    unknown = np.zeros(2, np.int32)
    likeness = likeness_of(unknown, unknown, np.zeros((2, 3), np.float32))
    assert likeness(0).tolist() == [0.0, 0.0]


@given(windowed())
def test_no_window_holds_more_than_n_of_a_code_while_there_is_anything_else(
    case: tuple[np.ndarray, Window, int],
) -> None:
    scores, window, k = case
    order = fill(scores, k, Limits(windows=[window])).order
    codes = window.codes

    def fits(slot: int, index: int) -> bool:
        near = order[max(slot - window.within + 1, 0) : slot]
        return codes[index] == 0 or sum(codes[i] == codes[index] for i in near) < window.n

    assert len(order) == len(set(order)) == min(k, len(scores))
    for slot, index in enumerate(order):
        left = [i for i in range(len(scores)) if i not in order[:slot]]
        if not fits(slot, index):
            assert not any(fits(slot, i) for i in left)
        else:
            # and of those that fit, it is the best
            assert scores[index] == max(scores[i] for i in left if fits(slot, i))


@given(windowed(), st.data())
def test_pins_stay_and_each_candidate_is_shown_once(
    case: tuple[np.ndarray, Window, int], data: st.DataObject
) -> None:
    scores, window, k = case
    slots = data.draw(st.lists(st.integers(0, k - 1), unique=True, max_size=len(scores)))
    indexes = data.draw(st.permutations(range(len(scores))))
    pins = dict(zip(slots, indexes, strict=False))
    limits = Limits(pins=pins, pinned_by=dict.fromkeys(pins, "pin"), windows=[window])

    choice = fill(scores, k, limits)

    assert len(set(choice.order)) == len(choice.order) == min(k, len(scores))
    for slot, index in pins.items():
        if slot < len(choice.order):
            assert choice.order[slot] == index
            assert choice.placed[slot] == "pin"


def test_a_window_counts_a_pin_that_stands_further_down() -> None:
    window = Window("brands", [1, 1, 2], n=1, within=2)
    limits = Limits(pins={1: 0}, pinned_by={1: "pin"}, windows=[window])

    choice = fill(np.array([0.5, 1.0, 0.1]), 2, limits)

    assert choice.order == [2, 0]
    assert choice.passed == {1: {"brands"}}


@given(scores_of, st.floats(0.05, 1.0), st.data())
def test_a_share_is_had_in_every_beginning_of_the_slate_while_members_are_left(
    scores: np.ndarray, low: float, data: st.DataObject
) -> None:
    n = len(scores)
    members = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    quota = Quota("promoted", members, low, most=n)

    order = fill(scores, n, Limits(quotas=[quota])).order

    for slots in range(1, n + 1):
        held = sum(members[index] for index in order[:slots])
        assert held >= min(int(low * slots + 1e-9), sum(members))


@st.composite
def limited(draw: st.DrawFn) -> tuple[np.ndarray, int, Limits]:
    """All limits at once."""
    n, k = draw(st.integers(1, 20)), draw(st.integers(1, 12))
    codes = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    members = st.lists(st.booleans(), min_size=n, max_size=n)
    within, shares = st.integers(2, 5), st.floats(0.0, 0.6)
    windows = draw(st.lists(st.builds(Window, st.just("w"), codes, st.integers(1, 3), within)))
    quotas = draw(st.lists(st.builds(Quota, st.just("q"), members, shares, st.integers(0, k))))
    slots = draw(st.lists(st.integers(0, k - 1), unique=True, max_size=min(n, 3)))
    pins = dict(zip(slots, draw(st.permutations(range(n))), strict=False))
    scores = np.array(
        draw(st.lists(st.sampled_from([0.1, 0.3, 0.6, 0.9, 1.0]), min_size=n, max_size=n))
    )
    kinds = np.array(draw(codes), np.int32)
    return (
        scores,
        k,
        Limits(
            pins=pins,
            pinned_by=dict.fromkeys(pins, "pin"),
            windows=windows,
            quotas=quotas,
            diversity=draw(st.sampled_from([1.0, 0.7, 0.2])),
            likeness=likeness_of(kinds, np.zeros(n, np.int32), np.zeros((n, 2), np.float32)),
        ),
    )


def filled_as_defined(scores: np.ndarray, k: int, limits: Limits) -> list[int]:
    """As the docstring of `fill` says: for each slot every candidate is looked at."""
    k = min(k, len(scores))
    taken = {slot: index for slot, index in limits.pins.items() if slot < k}
    shares, weight = scores / scores.max(), limits.diversity
    assert limits.likeness is not None
    for slot in range(k):
        if slot in taken:
            continue
        before = [limits.likeness(taken[each]) for each in range(slot)]
        alike = np.max([np.zeros(len(scores)), *before], axis=0)
        values = weight * shares - (1.0 - weight) * alike
        left = [i for i in np.argsort(-values, kind="stable") if i not in taken.values()]
        fit = [i for i in left if fits(i, slot, taken, limits)]
        owed = [
            [i for i in fit if quota.members[i]]
            for quota in limits.quotas
            if sum(quota.members[i] for i in taken.values()) < int(quota.low * (slot + 1) + 1e-9)
        ]
        taken[slot] = int([*(i for wanted in owed for i in wanted), *fit, *left][0])
    return [taken[slot] for slot in range(k)]


def fits(index: int, slot: int, taken: dict[int, int], limits: Limits) -> bool:
    for window in limits.windows:
        same = {each for each, i in taken.items() if window.codes[i] == window.codes[index]}
        for first in range(slot - window.within + 1, slot + 1):
            held = same & set(range(first, first + window.within))
            if window.codes[index] != 0 and len(held) >= window.n:
                return False
    return not any(
        quota.members[index] and sum(quota.members[i] for i in taken.values()) >= quota.most
        for quota in limits.quotas
    )


@given(limited())
def test_slots_are_those_of_the_definition_whatever_limits_come_together(
    case: tuple[np.ndarray, int, Limits],
) -> None:
    scores, k, limits = case
    assert fill(scores, k, limits).order == filled_as_defined(scores, k, limits)


def test_a_share_takes_its_best_member_and_says_so() -> None:
    quota = Quota("promoted", mask(2, 3, n=4), low=0.5, most=4)

    choice = fill(np.array([1.0, 0.9, 0.1, 0.2]), 2, Limits(quotas=[quota]))

    assert choice.order == [0, 3]
    assert choice.placed == {1: "promoted"}


def test_no_more_than_the_most_are_shown_while_there_are_others() -> None:
    quota = Quota("promoted", mask(0, 1, 2, n=5), low=0.0, most=1)

    choice = fill(np.array([1.0, 0.9, 0.8, 0.2, 0.1]), 3, Limits(quotas=[quota]))

    assert choice.order == [0, 3, 4]
    assert choice.passed == {1: {"promoted"}, 2: {"promoted"}}


def test_a_limit_leaves_no_slot_empty() -> None:
    window = Window("brands", [1, 1, 1], n=1, within=3)
    assert fill(np.array([0.1, 0.3, 0.2]), 3, Limits(windows=[window])).order == [1, 2, 0]


@pytest.mark.parametrize("k", [1, 5])
def test_no_candidates_fill_no_slot(k: int) -> None:
    assert fill(np.zeros(0), k, Limits()).order == []


def test_a_group_is_shown_by_its_best_item_and_the_unknown_one_is_not() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.7, 1.0])
    codes = np.array([1, 2, 1, 2, 0], np.int32)
    assert best_of_each(scores, codes) == [1, 2]
