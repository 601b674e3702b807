"""Shelves: items in stock by views, new ones, context vectors."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.decay import DAY_MS
from pipeline.core.items import TOUCHED
from tests.vertex.api.fakes import NOW_MS, event, item, row
from vertex.api.shelves import build_contexts, build_shelves


class TestShelves:
    def test_items_stand_by_views_and_what_is_out_of_stock_does_not_stand_there(self) -> None:
        rows = [row(item(0), 1), row(item(4), 3), row(item(8), 2), row(item(12, in_stock=False), 9)]

        shelves = build_shelves(rows, NOW_MS)

        assert shelves.by_category == {"c0": ["p4", "p8", "p0"]}
        assert shelves.popular == ["p4", "p8", "p0"]

    def test_an_item_is_new_until_enough_have_seen_it(self) -> None:
        shelves = build_shelves(
            [row(item(0), impressions=19), row(item(1), impressions=20)], NOW_MS
        )

        assert shelves.new == ["p0"]

    def test_context_vectors_are_those_of_items_in_stock_that_have_company(self) -> None:
        kept = row(item(0), neighbours=["p1", "p2"])
        rows = [kept, row(item(1)), row(item(2, in_stock=False), neighbours=["p0"])]

        contexts = build_shelves(rows, NOW_MS).contexts

        direction = kept.stats.context.direction()
        assert list(contexts) == ["p0"]
        assert direction is not None and np.allclose(contexts["p0"], direction, atol=1e-6)

    def test_a_pair_that_was_taken_back_leaves_no_context_vector(self) -> None:
        alone = row(item(0), neighbours=["p1"])
        alone.stats.link("p1", TOUCHED, -1.0, NOW_MS - 60_000)

        assert list(build_shelves([alone], NOW_MS).contexts) == []

    def test_of_very_many_items_those_touched_last_are_searched_by_context(self) -> None:
        rows = [row(item(index), neighbours=["p1"]) for index in range(3)]
        for age, each in enumerate(rows):
            each.stats.newest_ms -= age

        assert list(build_contexts(rows, limit=2)) == ["p0", "p1"]

    def test_rates_are_fitted_as_of_the_newest_event_however_long_ago_that_was(self) -> None:
        rows = [row(item(index), impressions=20) for index in range(20)]
        for each in rows[::2]:
            for number in range(8):
                each.stats.add(event("click", each.item.item_id, 60, event_id=f"click-{number}"))

        now, later = (
            build_shelves(rows, at_ms).priors for at_ms in (NOW_MS, NOW_MS + 400 * DAY_MS)
        )

        assert now == later
        assert now.ctr_of_all[0] / now.ctr_of_all[1] == pytest.approx(0.2, abs=0.01)
