"""The order of a slate: by score, and one slot by chance."""

from __future__ import annotations

import numpy as np

from vertex.api.policy import EXPLORE_SLOT, Exploration
from vertex.api.rerank import arrange, arrange_trending

IDS, SOURCES = [f"p{number}" for number in range(8)], ["recent"] * 8


def parts(*scores: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Terms of which the first alone counts."""
    return np.array([[score, 0.0, 0.0, 0.0] for score in scores])


def test_the_best_come_first_and_equal_ones_in_the_order_found() -> None:
    shown = arrange(IDS, SOURCES, parts(0, 2, 1, 2, 0, 0, 0, 0), 4, Exploration())
    assert [each.id for each in shown] == ["p1", "p3", "p2", "p0"]
    assert [each.position for each in shown] == [0, 1, 2, 3]
    assert {each.propensity for each in shown} == {1.0}


def test_the_drawn_item_takes_its_slot_whatever_its_score() -> None:
    shown = arrange(IDS, SOURCES, parts(8, 7, 6, 5, 4, 3, 2, 99), 7, Exploration(7, 0.02))
    assert [each.id for each in shown] == ["p0", "p1", "p2", "p3", "p4", "p7", "p6"]
    assert [each.propensity for each in shown] == [1.0] * EXPLORE_SLOT + [0.02, 1.0]


def test_trending_items_keep_their_order_and_say_their_score() -> None:
    first, second = arrange_trending(["p2", "p1"], {"p1": 0.5})
    assert (first.id, first.score, second.id, second.parts["popularity"]) == ("p2", 0.0, "p1", 0.5)
