"""The policy of a slate: chance picks a new item, and says with which propensity."""

from __future__ import annotations

from random import Random

import numpy as np

from pipeline.core.columns import Mask, Rows
from vertex.api.policy import Exploration, explore
from vertex.api.shelves import Shelves


def rows(*numbers: int) -> Rows:
    return np.array(numbers, np.int32)


def every(asked: Rows) -> Mask:
    return np.ones(len(asked), np.bool_)


def none(asked: Rows) -> Mask:
    return np.zeros(len(asked), np.bool_)


SHELVES = Shelves(new=rows(1, 2, 3, 4), new_by_category={"hats": rows(1, 2), "shoes": rows(3)})


def test_a_new_item_of_the_visitors_categories_is_drawn_before_any_other() -> None:
    drawn = [explore(SHELVES, ["hats"], every, 1.0, Random(seed)) for seed in range(20)]
    assert {each.drawn for each in drawn} == {1, 2}
    assert {each.propensity for each in drawn} == {0.5}


def test_without_one_in_the_categories_it_is_any_eligible_item() -> None:
    found = explore(SHELVES, ["hats"], lambda asked: asked == 4, 1.0, Random(1))
    assert found == Exploration(4, 1.0)


def test_where_chance_decides_against_it_the_slot_keeps_the_rest_of_the_probability() -> None:
    found = explore(SHELVES, ["hats"], every, 1e-9, Random(1))
    assert found == Exploration(None, 1.0 - 1e-9)


def test_where_nothing_is_eligible_nothing_is_left_to_chance() -> None:
    assert explore(SHELVES, ["hats"], none, 1.0, Random(1)) == Exploration()
