"""Bigtable's layout: tables, families, row keys, and which decoder reads which version. Nothing
else knows them.

| table    | row key                | family:column | encoded value         | cell timestamp     |
|----------|------------------------|---------------|-----------------------|--------------------|
| profiles | `u#` or `a#` and an id | p:s           | `UserProfile`         | revision, `revise` |
| items    | item id                | c:i           | `Item` of the catalog | load time          |
|          |                        | s:s, s:i      | `ItemStats`, a stub   | revision           |
| trending | `scope#shard`          | t:s           | `Trending`            | revision           |
| policies | policy name            | b:s           | bandit posterior      | revision           |
| leases   | `pipeline`             | l:g           | `Grant`, as JSON      | renewal, `lease`   |

A stub is what events say of an item that the catalog does not hold. Families `p`, `s` and `t`
expire by the age of their cells, which is event time; the catalog's family `c` never does
(docs/decisions/unknown-items.md).

A stored state begins with a byte, its version, by which `decode` picks the decoder
(docs/decisions/versions.md).
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
from google.api_core.exceptions import Aborted, DeadlineExceeded, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type
from google.cloud.bigtable.data import (
    BigtableDataClient,
    BigtableDataClientAsync,
    DeleteAllFromRow,
    Mutation,
    ReadRowsQuery,
    Row,
    RowMutationEntry,
    RowRange,
    SetCell,
)
from google.cloud.bigtable.data.row_filters import (
    CellsColumnLimitFilter,
    ColumnQualifierRegexFilter,
    ConditionalRowFilter,
    FamilyNameRegexFilter,
    LiteralValueFilter,
    RowFilter,
    RowFilterChain,
    TimestampRangeFilter,
)

from pipeline.core.catalog import Item, decode_item, encode_item
from pipeline.core.decay import DAY_MS
from pipeline.core.items import ItemRow, ItemStats, Trending
from pipeline.core.profile import UserProfile

log = logging.getLogger(__name__)

TABLES: dict[str, tuple[str, ...]] = {
    "profiles": ("p",),
    "items": ("c", "s"),
    "trending": ("t",),
    "policies": ("b",),
    "leases": ("l",),
}
# Of items and scopes, the families that are forgotten some days after the last event.
ITEM_FAMILIES = ("s", "t")
# The scope of the catalog's items, and that of products that only events name: there is no end of
# these.
GLOBAL_SCOPE, STUB_SCOPE = "global#all", "stubs#all"

Cell = tuple[bytes, int]  # (encoded value, timestamp in ms)

PROFILE, ITEM, STATS, STUB, TRENDING, LEASE = (
    "profile",
    "item",
    "stats",
    "stub",
    "trending",
    "lease",
)
# What is stored -> (table, family, column)
_CELLS: dict[str, tuple[str, str, bytes]] = {
    PROFILE: ("profiles", "p", b"s"),
    ITEM: ("items", "c", b"i"),
    STATS: ("items", "s", b"s"),
    STUB: ("items", "s", b"i"),
    TRENDING: ("trending", "t", b"s"),
    LEASE: ("leases", "l", b"g"),
}
_NEWEST = CellsColumnLimitFilter(1)
_OF_CATALOG = ConditionalRowFilter(FamilyNameRegexFilter("c"), true_filter=_NEWEST)
# Bigtable passes by the rows of made-up products at some 10,000 a second: a scan has to reach the
# catalog behind them.
SCAN_S = 300.0
_MAX_BULK = 500
_MAX_WRITERS = 4
_SWAP_S = 10.0
_RETRY = Retry(if_exception_type(Aborted, DeadlineExceeded, ServiceUnavailable), maximum=5.0)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)

State = TypeVar("State", UserProfile, ItemStats, Trending, Item)
_FORMS: Mapping[str, type] = {
    PROFILE: UserProfile,
    ITEM: Item,
    STATS: ItemStats,
    STUB: Item,
    TRENDING: Trending,
}
# The decoder of each version that this release reads; a state's own `encode` writes the newest of
# them.
_DECODERS: Mapping[type, Mapping[int, Callable[[bytes], Any]]] = {
    UserProfile: {1: UserProfile.decode},
    ItemStats: {1: ItemStats.decode},
    Trending: {1: Trending.decode},
    Item: {1: decode_item},
}


class UnknownVersion(msgspec.DecodeError):
    """A stored state of a version that this release does not read: a newer release has written
    it."""


def decode(form: type[State], value: bytes) -> State:
    """The stored state, by the decoder of its version.

    Raises:
        UnknownVersion: naming the version and those that are known.
        msgspec.DecodeError, UnicodeDecodeError: the value is damaged.
    """
    decoders = _DECODERS[form]
    decoder = decoders.get(value[0]) if value else None
    if decoder is None:
        found = value[0] if value else "no byte"
        known = " or ".join(map(str, decoders))
        raise UnknownVersion(f"version of a stored {form.__name__}: expected {known}, got {found}")
    state: State = decoder(value)
    return state


def knows_version(kind: str, value: bytes) -> bool:
    """True where this release reads the version of a stored value; it must overwrite no other."""
    return bool(value) and value[0] in _DECODERS[_FORMS[kind]]


def category_scope(category: str) -> str:
    """The trending scope of one category."""
    return f"category#{category}"


def trending_key(scope: str, shard: int) -> str:
    """The row of one shard of a scope; a reader merges all shards."""
    return f"{scope}#{shard:02d}"


def revise(newest_ms: int, previous_ms: int) -> int:
    """The cell timestamp in ms for a state that grew: its newest event time, but always past its
    predecessor's.

    Bigtable shows the cell with the greatest timestamp. By event time alone a late event would make
    a tie; with this rule a fuller state always lies above the state it grew from, so a delayed
    older write never hides it.
    """
    return max(newest_ms, previous_ms + 1)


def cell(kind: str, key: str, value: bytes, timestamp_ms: int) -> tuple[str, RowMutationEntry]:
    """One write as (table, mutation)."""
    table, family, column = _CELLS[kind]
    mutation = SetCell(family, column, value, timestamp_micros=timestamp_ms * 1000)
    return table, RowMutationEntry(key, mutation)


def item_write(item: Item, now_ms: int) -> tuple[str, RowMutationEntry]:
    """One catalog write as (table, mutation)."""
    return cell(ITEM, item.item_id, encode_item(item), now_ms)


def ensure_tables(project: str, instance: str, item_ttl_days: float | None = None) -> list[str]:
    """Create the missing tables (one version a cell), and return their names. For emulators and
    tests.

    `item_ttl_days`, where given, is the age at which statistics, stubs and scopes are forgotten. On
    Google Cloud, Terraform creates the tables.
    """
    from google.cloud import bigtable
    from google.cloud.bigtable.column_family import GCRuleUnion, MaxAgeGCRule, MaxVersionsGCRule

    one_version = MaxVersionsGCRule(1)
    rules: dict[str, Any] = {}
    if item_ttl_days is not None:
        expiring = GCRuleUnion([one_version, MaxAgeGCRule(timedelta(days=item_ttl_days))])
        rules = dict.fromkeys(ITEM_FAMILIES, expiring)
    admin = bigtable.Client(project=project, admin=True).instance(instance)
    existing = {table.table_id for table in admin.list_tables()}
    missing = [name for name in TABLES if name not in existing]
    for name in missing:
        families = {family: rules.get(family, one_version) for family in TABLES[name]}
        admin.table(name).create(column_families=families)
    return missing


class Store:
    """Blocking reads and writes, for the pipeline and the loaders. One per process."""

    def __init__(self, project: str, instance: str) -> None:
        self._client = BigtableDataClient(project=project)
        self._writers = ThreadPoolExecutor(_MAX_WRITERS, "bigtable-writer")
        self._tables = {name: self._client.get_table(instance, name) for name in TABLES}

    def read(self, kind: str, key: str) -> tuple[bytes, int] | None:
        """The newest value and its timestamp in ms, or None."""
        table, family, column = _CELLS[kind]
        row = self._tables[table].read_row(key, row_filter=_NEWEST)
        return _newest(row, family, column) if row is not None else None

    def read_many(self, kind: str, keys: Iterable[str]) -> dict[str, Cell]:
        """The newest values of those keys that exist."""
        return {
            key: found for (_, key), found in self.read_cells((kind, key) for key in keys).items()
        }

    def read_cells(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Cell]:
        """The newest values of those `(kind, key)` that exist; a row is read once for all of its
        kinds.
        """
        by_table: dict[str, dict[str, list[str]]] = {}
        for kind, key in wanted:
            by_table.setdefault(_CELLS[kind][0], {}).setdefault(key, []).append(kind)
        found: dict[tuple[str, str], Cell] = {}
        for table, rows in by_table.items():
            for row in self._read_rows(table, sorted(rows)):
                key = row.row_key.decode()
                cells = {(kind, key): _newest(row, *_CELLS[kind][1:]) for kind in rows[key]}
                found.update((name, value) for name, value in cells.items() if value is not None)
        return found

    def read_items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Items of the catalog, of those that it holds; those that cannot be read are left out, and
        logged.
        """
        found: dict[str, Item] = {}
        reasons: list[str] = []
        for key, (value, _) in self.read_many(ITEM, ids).items():
            try:
                found[key] = decode(Item, value)
            except UNREADABLE as error:
                reasons.append(str(error))
        if reasons:
            log.error("%d items of the catalog cannot be read: %s", len(reasons), reasons[-1])
        return found

    def write(self, writes: Iterable[tuple[str, RowMutationEntry]]) -> int:
        """Write all, and return how many; raises when one could not be written. A row's writes are
        one mutation.
        """
        by_row: dict[tuple[str, bytes], list[RowMutationEntry]] = {}
        for table, entry in writes:
            by_row.setdefault((table, entry.row_key), []).append(entry)
        by_table: dict[str, list[RowMutationEntry]] = {}
        for (table, _), entries in by_row.items():
            by_table.setdefault(table, []).append(_joined(entries))
        requests = [
            (table, list(batch))
            for table, entries in by_table.items()
            for batch in _batches(entries)
        ]
        for done in [
            self._writers.submit(self._tables[table].bulk_mutate_rows, batch)
            for table, batch in requests
        ]:
            done.result()
        return sum(map(len, by_row.values()))

    def swap(
        self,
        kind: str,
        key: str,
        before: Cell | None,
        after: Cell | None,
        patience_s: float = 600.0,
    ) -> bool:
        """Give a row that holds `before`, and nothing newer, the cell `after`; False when it holds
        something else.

        None is a row without the cell. Asks again for `patience_s` while Bigtable does not answer.
        """
        table, family, column = _CELLS[kind]
        mutations: list[Mutation] = [DeleteAllFromRow()]
        if after is not None:
            mutations.append(SetCell(family, column, after[0], timestamp_micros=after[1] * 1000))
        cases = {"false_case_mutations" if before is None else "true_case_mutations": mutations}
        ask = _RETRY.with_timeout(patience_s)(self._tables[table].check_and_mutate_row)
        matched = ask(
            key, _holds(family, column, before), operation_timeout=min(_SWAP_S, patience_s), **cases
        )
        return bool(matched) == (before is not None)

    def count(self, table: str) -> int:
        """Number of rows of a table (a scan: for reports and tests)."""
        return sum(
            1 for _ in self._tables[table].read_rows_stream(ReadRowsQuery(row_filter=_NEWEST))
        )

    def scan(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every row's key and newest value."""
        table, family, column = _CELLS[kind]
        for row in self._tables[table].read_rows_stream(ReadRowsQuery(row_filter=_NEWEST)):
            value = _newest(row, family, column)
            if value is not None:
                yield row.row_key.decode(), value[0]

    def _read_rows(self, table: str, keys: Sequence[str]) -> Iterator[Row]:
        for batch in _batches(keys):
            yield from self._tables[table].read_rows(
                ReadRowsQuery(row_keys=list(batch), row_filter=_NEWEST)
            )

    def close(self) -> None:
        """Close the channel."""
        self._writers.shutdown()
        self._client.close()


class Bigtable(NamedTuple):
    """A Bigtable instance: picklable, and the key of the client that a process shares."""

    project: str
    instance: str

    def store(self) -> Store:
        """The process's client, made on first use and kept: a runner sets DoFns up again and
        again."""
        # one process may meet several emulators
        key = (*self, os.environ.get("BIGTABLE_EMULATOR_HOST"))
        if key not in _stores:
            _stores[key] = Store(*self)
        return _stores[key]


_stores: dict[tuple[str, str, str | None], Store] = {}


class AsyncStore:
    """Reads for serving, on the running event loop. One item that cannot be decoded must not hide
    the others.

    Args:
        project, instance: which Bigtable.
        item_ttl_days: statistics, stubs and scopes older than this are left out, for garbage
            collection may be late; None reads them all.

    Attributes:
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

    async def read_profile(self, key: str, timeout_s: float = 1.0) -> UserProfile | None:
        """The visitor's profile; None for an unknown visitor, and for a profile that cannot be
        read.
        """
        _, family, column = _CELLS[PROFILE]
        row = await self._tables["profiles"].read_row(
            key, row_filter=_NEWEST, operation_timeout=timeout_s
        )
        value = _newest(row, family, column) if row is not None else None
        if value is None:
            return None
        try:
            return decode(UserProfile, value[0])
        except UNREADABLE as error:
            log.error("a profile cannot be read: %s", error)
            self._leave_out(error)
            return None

    async def read_items(self, ids: Sequence[str], timeout_s: float = 1.0) -> dict[str, ItemRow]:
        """Catalog and stats of those items that exist, stubs among them."""
        found: dict[str, ItemRow] = {}
        for batch in _batches(sorted(set(ids))):
            query = ReadRowsQuery(row_keys=list(batch), row_filter=_NEWEST)
            for row in await self._tables["items"].read_rows(query, operation_timeout=timeout_s):
                if (readable := self._readable(row)) is not None:
                    found[row.row_key.decode()] = readable
        return found

    async def scan_items(
        self, with_stubs: bool, timeout_s: float = SCAN_S
    ) -> AsyncIterator[ItemRow]:
        """Every item of the catalog that can be read; `with_stubs`, also those that only events
        name.

        One attempt has all of the time: a second may begin at the first row again, where a server
        does not say which rows its filter has passed by.
        """
        query = ReadRowsQuery(row_filter=_NEWEST if with_stubs else _OF_CATALOG)
        stream = self._tables["items"].read_rows_stream(
            query, attempt_timeout=timeout_s, operation_timeout=timeout_s
        )
        async for row in await stream:
            if (readable := self._readable(row)) is not None:
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
        total = Trending()
        keys: list[str | bytes] = [trending_key(scope, shard) for shard in self._shards or ()]
        if not keys:
            return total
        for row in await self._trending_rows(
            ReadRowsQuery(row_keys=keys, row_filter=_NEWEST), timeout_s
        ):
            self._merge(total, row)
        return total

    async def _read_ranges(self, scopes: Sequence[str], timeout_s: float) -> Trending:
        """Scopes whose range no name can enter, the catalog's among them; the shards that they have
        are noted.
        """
        ranges = [RowRange(f"{scope}#", f"{scope}$", end_is_inclusive=False) for scope in scopes]
        total = Trending()
        rows = await self._trending_rows(
            ReadRowsQuery(row_ranges=ranges, row_filter=_NEWEST), timeout_s
        )
        for row in rows:
            self._merge(total, row)
        self._shards = sorted({int(row.row_key.decode().rpartition("#")[2]) for row in rows})
        return total

    async def _trending_rows(self, query: ReadRowsQuery, timeout_s: float) -> list[Row]:
        rows: list[Row] = await self._tables["trending"].read_rows(
            query, operation_timeout=timeout_s
        )
        return rows

    def _merge(self, total: Trending, row: Row) -> None:
        _, family, column = _CELLS[TRENDING]
        value = self._state(row, family, column)
        if value is None:
            return
        try:
            total.merge(decode(Trending, value))
        except UNREADABLE as error:
            self._leave_out(error)

    async def ping(self, timeout_s: float = 0.5) -> None:
        """Read one row; raises when Bigtable does not answer in time."""
        await self._tables["policies"].read_row(
            b"ping", row_filter=_NEWEST, operation_timeout=timeout_s
        )

    async def close(self) -> None:
        """Close the channel."""
        await self._client.close()

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
        """The item; None where there is nothing but statistics that have expired."""
        loaded, counted = _newest(row, "c", b"i"), self._state(row, "s", b"s")
        stats = decode(ItemStats, counted) if counted is not None else ItemStats()
        if loaded is not None:
            return ItemRow(decode(Item, loaded[0]), stats)
        if counted is None:
            return None
        said = self._state(row, "s", b"i")
        stub = decode(Item, said) if said is not None else Item(row.row_key.decode(), stub=True)
        return ItemRow(stub, stats)

    def _state(self, row: Row, family: str, column: bytes) -> bytes | None:
        """The newest value of a family that expires; None where it has."""
        found = _newest(row, family, column)
        if found is None or (self._ttl_ms is not None and found[1] < now_ms() - self._ttl_ms):
            return None
        return found[0]


def _holds(family: str, column: bytes, cell: Cell | None) -> RowFilter:
    """Lets a row's newest cell through: any, or only this one."""
    name = re.escape(column)
    newest: list[RowFilter] = [
        FamilyNameRegexFilter(family),
        ColumnQualifierRegexFilter(name),
        _NEWEST,
    ]
    if cell is None:
        return RowFilterChain(newest)
    at = datetime.fromtimestamp(cell[1] / 1000, UTC)
    same_time = TimestampRangeFilter(at, at + timedelta(milliseconds=1))
    return RowFilterChain([*newest, LiteralValueFilter(cell[0]), same_time])


def _joined(entries: list[RowMutationEntry]) -> RowMutationEntry:
    """The writes of one row as one."""
    if len(entries) == 1:
        return entries[0]
    return RowMutationEntry(
        entries[0].row_key, [mutation for entry in entries for mutation in entry.mutations]
    )


def _newest(row: Row, family: str, column: bytes) -> tuple[bytes, int] | None:
    for found in row.get_cells(family, column) if (family, column) in row else ():
        return found.value, found.timestamp_micros // 1000
    return None


def _batches(entries: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(entries), _MAX_BULK):
        yield entries[start : start + _MAX_BULK]


def now_ms() -> int:
    """The wall clock in ms since the Unix epoch, for the edges; the core takes time as an
    argument."""
    return time.time_ns() // 1_000_000
