"""Bigtable on the real emulator: what is written is read, by the pipeline and the loaders."""

from __future__ import annotations

import pytest

from pipeline.core.catalog import Item
from pipeline.core.items import ItemStats
from pipeline.store import layout
from pipeline.store.blocking import Store
from pipeline.store.layout import cell, item_write, trending_key
from tests.pipeline.core.streams import START_MS, event


def test_a_value_is_read_with_its_time_and_an_absent_one_is_none(store: Store, tag: str) -> None:
    assert store.read(layout.PROFILE, tag) is None
    assert store.write([cell(layout.PROFILE, tag, b"state", START_MS)]) == 1
    assert store.read(layout.PROFILE, tag) == (b"state", START_MS)


@pytest.mark.parametrize("later_first", [False, True])
def test_the_cell_with_the_greater_time_is_read_whichever_came_first(
    store: Store, tag: str, later_first: bool
) -> None:
    writes = [
        cell(layout.PROFILE, tag, b"older", 1000),
        cell(layout.PROFILE, tag, b"newer", 2000),
    ]
    for write in writes[::-1] if later_first else writes:
        store.write([write])
    assert store.read(layout.PROFILE, tag) == (b"newer", 2000)


def test_a_cell_is_swapped_only_for_the_one_that_was_read(store: Store, tag: str) -> None:
    first, second, third = (b"a.\x00", START_MS), (b"b", START_MS + 1), (b"b", START_MS + 2)
    swaps = [
        ((first, second), False),  # there is none yet
        ((None, first), True),
        ((None, second), False),
        (((b"a.\x01", START_MS), second), False),
        (((b"a.\x00", START_MS + 1), second), False),
        ((first, second), True),
        ((second, third), True),
        ((second, None), False),
        ((third, None), True),
        ((None, first), True),  # earlier than what was deleted
    ]
    for number, ((before, after), swapped) in enumerate(swaps):
        held = store.read(layout.PROFILE, tag)
        assert store.swap(layout.PROFILE, tag, before, after) is swapped, number
        assert store.read(layout.PROFILE, tag) == (after if swapped else held), number


def test_catalog_and_statistics_of_an_item_are_two_cells_of_one_row(store: Store, tag: str) -> None:
    stats = ItemStats()
    stats.add(event(product_id=tag))
    store.write([item_write(Item(tag, "Lamp"), 5), cell(layout.STATS, tag, stats.encode(), 7)])
    assert store.read_items([tag, tag, f"{tag}-not"]) == {tag: Item(tag, "Lamp")}
    assert store.read(layout.STATS, tag) == (stats.encode(), 7)


def test_cells_of_one_row_are_read_together_and_each_by_its_kind(store: Store, tag: str) -> None:
    writes = [
        (layout.STATS, tag, b"stats", 7),
        (layout.STUB, tag, b"stub", 8),
        (layout.PROFILE, tag, b"p", 9),
    ]
    assert store.write(cell(*write) for write in writes) == 3
    wanted = [(kind, tag) for kind in (layout.STATS, layout.STUB, layout.PROFILE, layout.ITEM)]
    found = store.read_cells([*wanted, (layout.STATS, f"{tag}-not")])
    assert found == {(kind, key): (value, at) for kind, key, value, at in writes}


def test_more_keys_than_one_request_holds_are_written_and_read(store: Store, tag: str) -> None:
    keys = [f"{tag}-{n}" for n in range(1203)]
    assert store.write(cell(layout.PROFILE, key, key.encode(), 1) for key in keys) == 1203
    found = store.read_many(layout.PROFILE, [*keys, "absent"])
    assert found == {key: (key.encode(), 1) for key in keys}


def test_a_scan_gives_every_row_and_a_count_counts_them(store: Store, tag: str) -> None:
    before = store.count("profiles")
    store.write([cell(layout.PROFILE, f"{tag}-{n}", b"x", 1) for n in range(3)])
    assert store.count("profiles") == before + 3
    assert {key for key, _ in store.scan(layout.PROFILE) if key.startswith(tag)} == {
        f"{tag}-{n}" for n in range(3)
    }


def test_the_longest_ids_the_contract_allows_fit_a_row_key(store: Store, tag: str) -> None:
    longest = tag + "\U0001f600" * (256 - len(tag))
    keys = [f"u#{longest}", trending_key(layout.category_scope(longest), 99)]
    for kind, key in zip((layout.PROFILE, layout.TRENDING), keys, strict=True):
        store.write([cell(kind, key, b"x", 1)])
        assert store.read(kind, key) == (b"x", 1)


def test_an_item_of_the_catalog_that_cannot_be_read_is_logged_and_hides_no_other(
    store: Store, tag: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, newer = f"{tag}-good", f"{tag}-newer"
    store.write([item_write(Item(good), 2), cell(layout.ITEM, newer, b"\x63", 2)])
    assert set(store.read_items([good, newer])) == {good}
    reason = "version of a stored Item: expected 1, got 99"
    assert caplog.messages == [f"1 items of the catalog cannot be read: {reason}"]
