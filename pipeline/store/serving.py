"""Reads of Bigtable for serving, on the running event loop."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from google.cloud.bigtable.data import BigtableDataClientAsync, ReadRowsQuery, Row, RowRange
from google.cloud.bigtable.data.row_filters import (
    ConditionalRowFilter,
    FamilyNameRegexFilter,
    RowFilter,
    TimestampRangeFilter,
)

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS
from pipeline.core.items import ItemRow, ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import TopQueries
from pipeline.runtime.clock import now_ms
from pipeline.store.catalog import CatalogTable
from pipeline.store.layout import (
    COLUMNS,
    GLOBAL_SCOPE,
    ITEM,
    NEWEST,
    PROFILE,
    STATS,
    STUB,
    STUB_SCOPE,
    TABLES,
    TOP_QUERIES,
    TOP_QUERIES_ROWS,
    TRENDING,
    StateColumn,
    batches,
    newest,
    trending_key,
)
from pipeline.store.versions import UNREADABLE, decode

log = logging.getLogger(__name__)

SCAN_S = 300.0
"""Bigtable passes by the rows of made-up products at some 10,000 a second: a scan has to reach the
catalog behind them."""
_OF_CATALOG = ConditionalRowFilter(FamilyNameRegexFilter(COLUMNS[ITEM].family), true_filter=NEWEST)


def _since(since_ms: int, rows: RowFilter) -> RowFilter:
    """Lets whole rows through of which a cell is as young."""
    since = datetime.fromtimestamp(since_ms / 1000, UTC)
    return ConditionalRowFilter(TimestampRangeFilter(start=since), true_filter=rows)


class AsyncStore:
    """Reads for serving. One item that cannot be decoded must not hide the others.

    Args:
        project, instance: which Bigtable.
        item_ttl_days: statistics, stubs and scopes older than this are left out, for garbage
            collection may be late; None reads them all.

    Attributes:
        catalog: writes of items, and what changed of them.
        unreadable: how many rows were left out because they could not be decoded.
        unreadable_reason: why the last of them could not.
    """

    def __init__(self, project: str, instance: str, item_ttl_days: float | None = None) -> None:
        self.unreadable = 0
        self.unreadable_reason = ""
        self._ttl_ms = round(item_ttl_days * DAY_MS) if item_ttl_days is not None else None
        self._shards: list[int] | None = None
        self._client = BigtableDataClientAsync(project=project)
        self._tables = {name: self._client.get_table(instance, name) for name in TABLES}
        self.catalog = CatalogTable(self._tables["items"], self._tables["catalog_changes"])

    async def read_profile(self, key: str, timeout_s: float = 1.0) -> UserProfile | None:
        """The visitor's profile; None for an unknown visitor, and for a profile that cannot be
        read.
        """
        row = await self._tables["profiles"].read_row(
            key, row_filter=NEWEST, operation_timeout=timeout_s
        )
        cell = newest(row, COLUMNS[PROFILE]) if row is not None else None
        if cell is None:
            return None
        try:
            return decode(UserProfile, cell[0])
        except UNREADABLE as error:
            log.error("a profile cannot be read: %s", error)
            self._leave_out(error)
            return None

    async def read_items(self, ids: Sequence[str], timeout_s: float = 1.0) -> dict[str, ItemRow]:
        """Catalog and stats of those items that exist, stubs among them."""
        found: dict[str, ItemRow] = {}
        for batch in batches(sorted(set(ids))):
            query = ReadRowsQuery(row_keys=list(batch), row_filter=NEWEST)
            for row in await self._tables["items"].read_rows(query, operation_timeout=timeout_s):
                readable = self._readable(row)
                if readable is not None:
                    found[row.row_key.decode()] = readable
        return found

    async def scan_items(
        self, with_stubs: bool, timeout_s: float = SCAN_S, since_ms: int | None = None
    ) -> AsyncIterator[ItemRow]:
        """Every item of the catalog that can be read; `with_stubs`, also those that only events
        name.

        With `since_ms`, only those of which a cell is as young: the catalog wrote them since, or
        one of their events happened since.

        One attempt has all of the time: a second may begin at the first row again, where a server
        does not say which rows its filter has passed by.
        """
        chosen = NEWEST if with_stubs else _OF_CATALOG
        query = ReadRowsQuery(row_filter=chosen if since_ms is None else _since(since_ms, chosen))
        stream = self._tables["items"].read_rows_stream(
            query, attempt_timeout=timeout_s, operation_timeout=timeout_s
        )
        async for row in await stream:
            readable = self._readable(row)
            if readable is not None:
                yield readable

    async def read_trending(self, scope: str, timeout_s: float = 1.0) -> Trending:
        """The scope's shards, merged; empty when nothing is trending there. `STUB_SCOPE` is read
        with the catalog's.

        A category is read by exact keys: a range would hold the rows of all categories whose names
        begin alike, and names are free. The catalog's scope has a shard wherever a category has
        one, and no name lies in its range.
        """
        if scope == GLOBAL_SCOPE:
            return await self._read_ranges([GLOBAL_SCOPE], timeout_s)
        if scope == STUB_SCOPE:
            return await self._read_ranges([GLOBAL_SCOPE, STUB_SCOPE], timeout_s)
        if self._shards is None:
            await self._read_ranges([GLOBAL_SCOPE], timeout_s)
        keys: list[str | bytes] = [trending_key(scope, shard) for shard in self._shards or ()]
        if not keys:
            return Trending()
        query = ReadRowsQuery(row_keys=keys, row_filter=NEWEST)
        return self._merged(await self._trending_rows(query, timeout_s))

    async def read_top_queries(self, timeout_s: float = 1.0) -> TopQueries:
        """The public queries that are searched for most, of all shards."""
        rows = RowRange(*TOP_QUERIES_ROWS, end_is_inclusive=False)
        query = ReadRowsQuery(row_ranges=rows, row_filter=NEWEST)
        total = TopQueries()
        for row in await self._tables["queries"].read_rows(query, operation_timeout=timeout_s):
            value = self._unexpired(row, COLUMNS[TOP_QUERIES])
            if value is None:
                continue
            try:
                total.merge(decode(TopQueries, value))
            except UNREADABLE as error:
                self._leave_out(error)
        return total

    async def ping(self, timeout_s: float = 0.5) -> None:
        """Read one row; raises when Bigtable does not answer in time."""
        await self._tables["policies"].read_row(
            b"ping", row_filter=NEWEST, operation_timeout=timeout_s
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._client.close()

    async def _read_ranges(self, scopes: Sequence[str], timeout_s: float) -> Trending:
        """Scopes whose range no name can enter, the catalog's among them; remembers the shards
        that they have.
        """
        ranges = [RowRange(f"{scope}#", f"{scope}$", end_is_inclusive=False) for scope in scopes]
        query = ReadRowsQuery(row_ranges=ranges, row_filter=NEWEST)
        rows = await self._trending_rows(query, timeout_s)
        self._shards = sorted({int(row.row_key.decode().rpartition("#")[2]) for row in rows})
        return self._merged(rows)

    async def _trending_rows(self, query: ReadRowsQuery, timeout_s: float) -> list[Row]:
        table = self._tables["trending"]
        rows: list[Row] = await table.read_rows(query, operation_timeout=timeout_s)
        return rows

    def _merged(self, rows: Sequence[Row]) -> Trending:
        total = Trending()
        for row in rows:
            value = self._unexpired(row, COLUMNS[TRENDING])
            if value is None:
                continue
            try:
                total.merge(decode(Trending, value))
            except UNREADABLE as error:
                self._leave_out(error)
        return total

    def _readable(self, row: Row) -> ItemRow | None:
        try:
            return self._item_row(row)
        except UNREADABLE as error:
            self._leave_out(error)
            return None

    def _leave_out(self, error: Exception) -> None:
        self.unreadable += 1
        self.unreadable_reason = str(error)

    def _item_row(self, row: Row) -> ItemRow | None:
        """The item; None where it is deleted, or there is nothing but statistics that have
        expired.
        """
        counted = self._unexpired(row, COLUMNS[STATS])
        stats = decode(ItemStats, counted) if counted is not None else ItemStats()
        loaded = newest(row, COLUMNS[ITEM])
        if loaded is not None:
            item = decode(Item, loaded[0])
            return ItemRow(item, stats) if not item.deleted else None
        if counted is None:
            return None
        return ItemRow(self._stub(row), stats)

    def _stub(self, row: Row) -> Item:
        value = self._unexpired(row, COLUMNS[STUB])
        if value is None:
            return Item(row.row_key.decode(), stub=True)
        return decode(Item, value)

    def _unexpired(self, row: Row, column: StateColumn) -> bytes | None:
        """The newest value of a family that expires; None where it has."""
        cell = newest(row, column)
        if cell is None:
            return None
        value, timestamp_ms = cell
        if self._ttl_ms is not None and timestamp_ms < now_ms() - self._ttl_ms:
            return None
        return value
