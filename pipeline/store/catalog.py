"""Writes of the catalog, each noted for those who hold items in memory; and the notes read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from google.cloud.bigtable.data import (
    ReadRowsQuery,
    Row,
    RowRange,
    TableAsync,
)
from google.cloud.bigtable.data.row_filters import FamilyNameRegexFilter, RowFilterChain

from pipeline.core.catalog import Item, deleted_item
from pipeline.runtime.clock import now_ms
from pipeline.store.blocking import Store
from pipeline.store.layout import (
    CHANGE,
    CHANGE_SHARDS,
    COLUMNS,
    ITEM,
    NEWEST,
    Cell,
    batches,
    change_key,
    change_note,
    holds,
    item_write,
    newest,
    revise,
)

WRITE_S = 5.0
_COLUMN = COLUMNS[ITEM]
_OF_CATALOG = RowFilterChain([FamilyNameRegexFilter(_COLUMN.family), NEWEST])


class Change(NamedTuple):
    """A note: these items have changed, at most 500 of them. `key` names it, `at_ms` is the clock
    of the writer.
    """

    key: str
    at_ms: int
    ids: list[str]


def write_items(store: Store, items: Sequence[Item]) -> None:
    """Write items, the last of an id winning, and note the change; blocking."""
    last = {item.item_id: item for item in items}
    for batch in batches(list(last.values())):
        at_ms = now_ms()
        store.write([item_write(item, at_ms) for item in batch])
        store.write([change_note([item.item_id for item in batch], now_ms())])


class CatalogTable:
    """Items of the catalog, written on the running event loop.

    The newest write of an item wins, by the clocks of the writers. What is written twice is the
    same as written once, so a writer without an answer writes again.
    """

    def __init__(self, items: TableAsync, changes: TableAsync) -> None:
        self._items = items
        self._changes = changes

    async def put(self, items: Sequence[Item], timeout_s: float = WRITE_S) -> None:
        """Write at most 500 items of different ids, whole, and note the change."""
        at_ms = now_ms()
        writes = [item_write(item, at_ms)[1] for item in items]
        await self._items.bulk_mutate_rows(writes, operation_timeout=timeout_s)
        await self._note([item.item_id for item in items], timeout_s)

    async def delete(self, item_id: str, timeout_s: float = WRITE_S) -> None:
        """Put the mark of a deleted item in its place, and note the change."""
        await self.put([deleted_item(item_id)], timeout_s)

    async def read(self, item_id: str, timeout_s: float = WRITE_S) -> Cell | None:
        """The stored item of the catalog, a deleted one too; None where there is none."""
        row = await self._items.read_row(
            item_id, row_filter=_OF_CATALOG, operation_timeout=timeout_s
        )
        return newest(row, _COLUMN) if row is not None else None

    async def swap(self, item: Item, before: Cell, timeout_s: float = WRITE_S) -> bool:
        """Write an item where the catalog still holds `before` of it, and note the change; False
        where another write was in between.
        """
        entry = item_write(item, revise(now_ms(), before[1]))[1]
        matched = await self._items.check_and_mutate_row(
            item.item_id,
            holds(_COLUMN, before),
            true_case_mutations=list(entry.mutations),
            operation_timeout=timeout_s,
        )
        if matched:
            await self._note([item.item_id], timeout_s)
        return bool(matched)

    async def changes(self, since_ms: int, timeout_s: float = 1.0) -> list[Change]:
        """The notes from this moment on, by the clocks of their writers, the oldest first."""
        ranges = [
            RowRange(change_key(shard, since_ms), f"{shard}$") for shard in range(CHANGE_SHARDS)
        ]
        query = ReadRowsQuery(row_ranges=ranges, row_filter=NEWEST)
        rows = await self._changes.read_rows(query, operation_timeout=timeout_s)
        return sorted((_change(row) for row in rows), key=lambda change: change.at_ms)

    async def _note(self, ids: Sequence[str], timeout_s: float) -> None:
        entry = change_note(ids, now_ms())[1]
        await self._changes.mutate_row(
            entry.row_key, list(entry.mutations), operation_timeout=timeout_s
        )


def _change(row: Row) -> Change:
    key = row.row_key.decode()
    cell = newest(row, COLUMNS[CHANGE])
    ids = msgspec.msgpack.decode(cell[0], type=list[str]) if cell is not None else []
    return Change(key, int(key.split("#")[1]), ids)
