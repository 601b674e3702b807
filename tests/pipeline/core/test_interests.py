"""Interest against the plain formula, its laws, and what is dropped at its bounds."""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS
from pipeline.core.embedding import DIM, signature
from pipeline.core.interests import (
    LONG,
    LONG_HALF_LIFE_MS,
    MAX_BRANDS,
    MAX_CATEGORIES,
    SHORT,
    SHORT_HALF_LIFE_MS,
    Taste,
)
from tests.pipeline.core.streams import START_MS, assert_same, laws, randoms, shuffled, split

# category, brand, price, deal, item, weight, ms after START_MS
Touch = tuple[str, str, float, bool, str, float, int]
TOUCHES = st.lists(
    st.tuples(
        st.sampled_from(["", "shoes", "hats", "bags"]),
        st.sampled_from(["", "acme", "best"]),
        st.sampled_from([0.0, 0.5, 10.0, 99.0]),
        st.booleans(),
        st.sampled_from(["", "a", "b", "c"]),
        st.sampled_from([0.5, 1.0, 3.0, 5.0]),
        st.integers(0, 2 * DAY_MS),
    ),
    max_size=25,
)
HALF_LIVES = {LONG: LONG_HALF_LIFE_MS, SHORT: SHORT_HALF_LIFE_MS}


def taste_of(touches: list[Touch]) -> Taste:
    taste = Taste()
    for category, brand, price, deal, item, weight, offset in touches:
        vector = signature("item", item) if item else None
        taste.add(category, brand, price, deal, vector, weight, START_MS + offset)
    return taste


def touch(category: str = "", at_ms: int = 0, weight: float = 1.0, **fields: Any) -> Touch:
    return (
        category,
        fields.get("brand", ""),
        fields.get("price", 0.0),
        fields.get("deal", False),
        fields.get("item", ""),
        weight,
        at_ms,
    )


def settled(taste: Taste) -> Taste:
    """A copy, cut to its bounds."""
    taste = msgspec.msgpack.decode(msgspec.msgpack.encode(taste), type=Taste)
    taste.settle()
    return taste


# laws


@laws
@given(TOUCHES, randoms())
def test_interest_does_not_depend_on_order_on_grouping_or_on_being_stored(
    touches: list[Touch], random: Random
) -> None:
    whole = settled(taste_of(touches))
    assert_same(settled(taste_of(shuffled(random, touches))), whole)
    parts = split(random, touches, 3)
    for order in itertools.permutations(parts):
        left = settled(taste_of(order[0]))
        left.merge(settled(taste_of(order[1])))
        left.merge(settled(taste_of(order[2])))
        right = taste_of(order[1])
        right.merge(taste_of(order[2]))
        grouped = taste_of(order[0])
        grouped.merge(right)
        assert_same(settled(left), whole)
        assert_same(settled(grouped), whole)


@laws
@given(TOUCHES)
def test_no_interest_is_neutral_on_either_side_and_merging_leaves_the_other_as_it_is(
    touches: list[Touch],
) -> None:
    left, right, other = taste_of(touches), Taste(), taste_of(touches)
    left.merge(Taste())
    right.merge(other)
    right.merge(Taste())
    assert_same(settled(left), settled(taste_of(touches)))
    assert_same(settled(right), settled(taste_of(touches)))
    assert other == taste_of(touches)


@laws
@given(TOUCHES, st.sampled_from([LONG, SHORT]))
def test_shares_prices_and_directions_are_those_of_the_plain_formula(
    touches: list[Touch], term: int
) -> None:
    taste = taste_of(touches)
    decayed = [w * 2.0 ** ((at - 2 * DAY_MS) / HALF_LIVES[term]) for *_, w, at in touches]

    def shares(names: list[str]) -> dict[str, float]:
        sums = {
            name: math.fsum(
                value for value, other in zip(decayed, names, strict=True) if other == name
            )
            for name in set(names) - {""}
        }
        total = sum(sums.values())
        return {name: value / total for name, value in sums.items()}

    assert taste.category_shares(term) == pytest.approx(
        shares([t[0] for t in touches]), rel=1e-9, abs=1e-12
    )
    assert taste.brand_shares(term) == pytest.approx(
        shares([t[1] for t in touches]), rel=1e-9, abs=1e-12
    )
    vectors = [
        value * signature("item", t[4]) for value, t in zip(decayed, touches, strict=True) if t[4]
    ]
    direction = taste.embedding(term)
    if not vectors:
        assert direction is None
    else:
        total = np.sum(vectors, axis=0)
        assert direction == pytest.approx(total / np.linalg.norm(total), abs=1e-9)


@laws
@given(TOUCHES)
def test_prices_are_the_decayed_moments_of_the_logarithm_and_the_share_of_deals(
    touches: list[Touch],
) -> None:
    taste = taste_of(touches)
    priced = [
        (w * 2.0 ** (at / LONG_HALF_LIFE_MS), math.log(p), deal)
        for _, _, p, deal, _, w, at in touches
        if p > 0
    ]
    total = sum(w for w, _, _ in priced)
    if not priced:
        assert (taste.log_price(), taste.price_spread(), taste.deal_share()) == (None, 0.0, 0.0)
        return
    mean = sum(w * log for w, log, _ in priced) / total
    variance = sum(w * (log - mean) ** 2 for w, log, _ in priced) / total
    assert taste.log_price() == pytest.approx(mean, rel=1e-9, abs=1e-12)
    assert taste.price_spread() == pytest.approx(variance**0.5, rel=1e-6, abs=1e-6)
    assert taste.deal_share() == pytest.approx(
        sum(w for w, _, deal in priced if deal) / total, rel=1e-9
    )


# stories


def test_the_same_weight_a_week_earlier_is_half_the_lasting_interest_and_no_present_one() -> None:
    taste = taste_of([touch("shoes"), touch("hats", 7 * DAY_MS)])
    assert taste.category_shares(LONG) == pytest.approx({"shoes": 1 / 3, "hats": 2 / 3})
    assert taste.category_shares(SHORT)["hats"] == pytest.approx(1.0)


def test_half_an_hour_halves_the_present_interest() -> None:
    taste = taste_of([touch("shoes", brand="acme"), touch("hats", 30 * MINUTE_MS, brand="best")])
    assert taste.category_shares(SHORT) == pytest.approx({"shoes": 1 / 3, "hats": 2 / 3})
    assert taste.brand_shares(SHORT) == pytest.approx({"acme": 1 / 3, "best": 2 / 3})


def test_years_between_two_touches_neither_overflow_nor_fail() -> None:
    far = 20 * 365 * DAY_MS
    touches = [touch("old", item="a", price=10.0), touch("new", far, item="b", price=20.0)]
    for order in (touches, touches[::-1]):
        taste = taste_of(order)
        assert taste.category_shares(LONG)["new"] == pytest.approx(1.0)
        assert taste.embedding(LONG) == pytest.approx(signature("item", "b"))
        assert taste.log_price() == pytest.approx(math.log(20))


def test_a_present_interest_that_has_faded_beside_another_is_not_stored() -> None:
    taste = settled(
        taste_of([touch("old"), touch("older", 2 * HOUR_MS), touch("new", 23 * HOUR_MS)])
    )
    assert {name: len(sums) for name, sums in taste.categories.items()} == {
        "old": 1,
        "older": 2,
        "new": 2,
    }
    assert set(taste.category_shares(SHORT)) == {"older", "new"} and set(
        taste.category_shares(LONG)
    ) == {*taste.categories}


# bounds


@pytest.mark.parametrize(
    ("field", "limit"), [("categories", MAX_CATEGORIES), ("brands", MAX_BRANDS)]
)
def test_beyond_twenty_the_heaviest_are_stored_and_ties_go_by_name(field: str, limit: int) -> None:
    taste = Taste()
    for n in range(limit + 5):
        name = f"n{n:02d}"
        taste.add(name, name, 0.0, False, None, 2.0 if n >= limit - 2 else 1.0, START_MS)
    heaviest = [f"n{n:02d}" for n in range(limit - 2, limit + 5)]
    assert set(getattr(settled(taste), field)) == {
        *heaviest,
        *(f"n{n:02d}" for n in range(limit - len(heaviest))),
    }


def test_the_stored_size_is_bounded_whatever_the_names_are() -> None:
    taste, random = Taste(), Random(1)
    for n in range(2_000):
        name = f"{random.randrange(400):03d}".ljust(256, "😀")
        taste.add(
            name,
            name,
            5.0,
            True,
            signature("item", str(n % 50)),
            1.0,
            START_MS + random.randrange(DAY_MS),
        )
        if n % 100 == 99:
            taste = settled(taste)
    name_bytes = 3 + 4 * 253
    bound = (MAX_CATEGORIES + MAX_BRANDS) * (name_bytes + 3 + 19) + 2 * 8 * DIM + 64
    assert len(msgspec.msgpack.encode(settled(taste))) <= bound
