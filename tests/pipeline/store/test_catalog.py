"""Writes of the catalog on the real emulator: noted, in order, and never lost to one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipeline.core.catalog import Item, encode_item
from pipeline.core.items import ItemStats
from pipeline.runtime.clock import now_ms
from pipeline.store import layout
from pipeline.store.blocking import Bigtable, Store
from pipeline.store.catalog import write_items
from pipeline.store.layout import cell, change_note
from pipeline.store.serving import AsyncStore
from pipeline.store.versions import decode
from tests.pipeline.core.streams import event


@pytest.fixture
async def serving(source: Bigtable) -> AsyncIterator[AsyncStore]:
    """The client that the API uses."""
    found = AsyncStore(*source)
    yield found
    await found.close()


async def changed(serving: AsyncStore, tag: str, since_ms: int) -> list[list[str]]:
    """The ids of each note of this test."""
    changes = await serving.catalog.changes(since_ms)
    return [change.ids for change in changes if change.ids[0].startswith(tag)]


async def test_what_is_written_is_read_and_noted(serving: AsyncStore, tag: str) -> None:
    began_ms = now_ms()
    lamp, vase = Item(f"{tag}-1", "Lamp", attributes={"color": "red"}), Item(f"{tag}-2", "Vase")
    await serving.catalog.put([lamp, vase])
    found = await serving.read_items([f"{tag}-1", f"{tag}-2"])
    assert [row.item for row in found.values()] == [lamp, vase]
    assert await changed(serving, tag, began_ms) == [[f"{tag}-1", f"{tag}-2"]]


async def test_changes_come_in_the_order_of_their_times_whatever_their_shard(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    at_ms = now_ms()
    times = [5, 3, 9, 1, 7, 2, 8, 4, 6, 0]
    store.write(change_note([f"{tag}-{time}"], at_ms + time) for time in times)
    assert await changed(serving, tag, at_ms) == [[f"{tag}-{time}"] for time in range(10)]
    assert await changed(serving, tag, at_ms + 8) == [[f"{tag}-8"], [f"{tag}-9"]]


async def test_the_loader_notes_what_it_writes_and_the_last_of_an_id_wins(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    began_ms = now_ms()
    items = [Item(f"{tag}-{number:03}") for number in range(501)]
    await asyncio.to_thread(write_items, store, [*items, Item(f"{tag}-000", "Last")])
    found = await serving.read_items([item.item_id for item in items])
    assert len(found) == 501 and found[f"{tag}-000"].item.title == "Last"
    noted = await changed(serving, tag, began_ms)
    assert list(map(len, noted)) == [500, 1]


async def test_a_deleted_item_is_as_if_there_were_none_also_where_events_name_it(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    stats = ItemStats()
    stats.add(event(product_id=tag))
    stub = encode_item(Item(tag, "Made up", stub=True))
    began_ms = now_ms()
    await serving.catalog.put([Item(tag, "Lamp")])
    await serving.catalog.delete(tag)
    store.write([cell(layout.STATS, tag, stats.encode(), 1), cell(layout.STUB, tag, stub, 1)])
    assert await serving.read_items([tag]) == {}
    assert tag not in {row.item.item_id async for row in serving.scan_items(with_stubs=True)}
    assert store.read_items([tag]) == {}
    assert await changed(serving, tag, began_ms) == [[tag], [tag]]


async def test_an_item_is_there_again_once_it_is_written_after_its_deletion(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    await serving.catalog.delete(tag)
    write_items(store, [Item(tag, "Back")])
    assert (await serving.read_items([tag]))[tag].item.title == "Back"
    assert store.read_items([tag])[tag].title == "Back"


async def test_an_item_is_swapped_only_where_it_is_still_what_was_read(
    serving: AsyncStore, tag: str
) -> None:
    began_ms = now_ms()
    await serving.catalog.put([Item(tag, "Old")])
    before = await serving.catalog.read(tag)
    assert before is not None
    assert await serving.catalog.swap(Item(tag, "New"), before)
    assert not await serving.catalog.swap(Item(tag, "Late"), before)
    after = await serving.catalog.read(tag)
    assert after is not None and decode(Item, after[0]).title == "New"
    assert await changed(serving, tag, began_ms) == [[tag], [tag]]


async def test_a_swap_keeps_statistics_and_wins_over_a_cell_of_a_clock_that_is_ahead(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    stats = ItemStats()
    stats.add(event(product_id=tag))
    ahead_ms = now_ms() + 60_000
    store.write(
        [
            cell(layout.STATS, tag, stats.encode(), 1),
            cell(layout.ITEM, tag, encode_item(Item(tag, "Ahead")), ahead_ms),
        ]
    )
    before = await serving.catalog.read(tag)
    assert before is not None and await serving.catalog.swap(Item(tag, "Now"), before)
    row = (await serving.read_items([tag]))[tag]
    assert (row.item.title, row.stats) == ("Now", stats)


async def test_an_item_that_only_events_name_is_none_of_the_catalog(
    serving: AsyncStore, store: Store, tag: str
) -> None:
    store.write([cell(layout.STUB, tag, encode_item(Item(tag, stub=True)), 1)])
    assert await serving.catalog.read(tag) is None
