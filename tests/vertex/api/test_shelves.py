"""Shelves: items in stock by views, new ones, context vectors."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.decay import DAY_MS
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import TOUCHED, ItemRow
from pipeline.core.text_vectors import encode_waiting
from tests.vertex.api.fakes import NOW_MS, event, item, row
from tests.vertex.text_encoder import WordEncoder
from vertex.api.shelves import Shelves, build_contexts, build_shelves, build_texts


def shelves_of(*rows: ItemRow) -> tuple[ItemColumns, Shelves]:
    items = ItemColumns.of(rows)
    return items, build_shelves(items, False, NOW_MS)


class TestShelves:
    def test_items_stand_by_views_and_what_is_out_of_stock_does_not_stand_there(self) -> None:
        items, shelves = shelves_of(
            row(item(0), 1), row(item(4), 3), row(item(8), 2), row(item(12, in_stock=False), 9)
        )

        assert items.ids(shelves.by_category["c0"]) == ["p4", "p8", "p0"]
        assert items.ids(shelves.popular) == ["p4", "p8", "p0"]

    def test_each_category_has_the_best_of_its_own(self) -> None:
        items, shelves = shelves_of(*(row(item(index), index) for index in range(9)))

        ids = {name: items.ids(rows) for name, rows in shelves.by_category.items()}
        assert ids == {"c0": ["p8", "p4", "p0"], "c1": ["p5", "p1"], "c2": ["p6", "p2"]} | {
            "c3": ["p7", "p3"]
        }

    def test_stubs_stand_alone_or_not_at_all(self) -> None:
        items = ItemColumns.of([row(item(0)), row(item(1, stub=True))])

        assert items.ids(build_shelves(items, False, NOW_MS).popular) == ["p0"]
        assert items.ids(build_shelves(items, True, NOW_MS).popular) == ["p1"]

    def test_an_item_is_new_until_enough_have_seen_it(self) -> None:
        items, shelves = shelves_of(row(item(0), impressions=19), row(item(1), impressions=20))

        assert items.ids(shelves.new) == ["p0"]

    def test_what_was_published_last_arrives_first_and_then_what_few_have_seen(self) -> None:
        items, shelves = shelves_of(
            row(item(0, published_ms=NOW_MS - 2 * DAY_MS), impressions=50),
            row(item(1, published_ms=NOW_MS - DAY_MS), impressions=50),
            row(item(2), views=1, impressions=5),
            row(item(3), impressions=50),
            row(item(4, published_ms=NOW_MS - DAY_MS, in_stock=False)),
        )

        assert items.ids(shelves.arrivals) == ["p1", "p0", "p2"]

    def test_context_vectors_are_those_of_items_in_stock_that_have_company(self) -> None:
        kept = row(item(0), neighbours=["p1", "p2"])
        items, shelves = shelves_of(
            kept, row(item(1)), row(item(2, in_stock=False), neighbours=["p0"])
        )

        direction = kept.stats.context.direction()
        assert items.ids(shelves.contexts.rows) == ["p0"]
        assert direction is not None
        assert np.allclose(shelves.contexts.units, [direction], atol=1e-3)

    def test_text_vectors_are_of_what_is_in_stock_the_least_shown_first(self) -> None:
        items = ItemColumns.of(
            [
                row(item(0), impressions=9),
                row(item(1), impressions=2),
                row(item(2)),
                row(item(3, in_stock=False)),
            ]
        )
        encode_waiting(items.text, WordEncoder())

        shelves = build_shelves(items, False, NOW_MS)
        fewer = build_texts(items, shelves.popular, 2)

        assert sorted(items.ids(shelves.texts.rows)) == ["p0", "p1", "p2"]
        assert items.ids(fewer.rows) == ["p2", "p1"]
        np.testing.assert_array_equal(fewer.units, items.text.get(fewer.rows))

    def test_a_pair_that_was_taken_back_leaves_no_context_vector(self) -> None:
        alone = row(item(0), neighbours=["p1"])
        alone.stats.link("p1", TOUCHED, -1.0, NOW_MS - 60_000)

        assert len(shelves_of(alone)[1].contexts.rows) == 0

    def test_of_very_many_items_those_touched_last_are_searched_by_context(self) -> None:
        rows = [row(item(index), neighbours=["p1"]) for index in range(3)]
        for age, each in enumerate(rows):
            each.stats.newest_ms -= age
        items = ItemColumns.of(rows)

        contexts = build_contexts(items, items.all_rows(), limit=2)

        assert items.ids(contexts.rows) == ["p0", "p1"]

    def test_rates_are_fitted_as_of_the_newest_event_however_long_ago_that_was(self) -> None:
        rows = [row(item(index), impressions=20) for index in range(20)]
        for each in rows[::2]:
            for number in range(8):
                each.stats.add(event("click", each.item.item_id, 60, event_id=f"click-{number}"))

        items = ItemColumns.of(rows)

        now, later = (
            build_shelves(items, False, at_ms).priors.ctr
            for at_ms in (NOW_MS, NOW_MS + 400 * DAY_MS)
        )

        assert now.of_all == later.of_all
        assert now.by_category.tolist() == later.by_category.tolist()
        assert now.of_all[0] / now.of_all[1] == pytest.approx(0.2, abs=0.01)
