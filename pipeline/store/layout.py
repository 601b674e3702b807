"""Bigtable's layout: tables, families, columns and row keys. Nothing outside this folder knows it.

| table    | row key                | family:column | encoded value         | cell timestamp     |
|----------|------------------------|---------------|-----------------------|--------------------|
| profiles | `core.profile_keys`     | p:s           | `UserProfile`         | revision, `revise` |
| items    | item id                | c:i           | `Item` of the catalog | time of the write  |
|          |                        | s:s, s:i      | `ItemStats`, a stub   | revision           |
| trending | `scope#shard`          | t:s           | `Trending`            | revision           |
| queries  | `q#` and `query_key`   | q:s           | `QueryStats`          | revision           |
|          | `top#shard`            | q:t           | `TopQueries`          | revision           |
| policies |                        | b:s           | nothing yet           |                    |
| leases   | `pipeline`             | l:g           | `Grant`, as JSON      | renewal, `lease`   |
| catalog_changes | `change_key`    | n:i           | ids, as MessagePack   | time of the write  |

A stub is made from events, of an item that the catalog does not hold. Families `p`, `s`, `t` and
`q` expire by the age of their cells, which is event time; the catalog's family `c` never does
(docs/decisions/unknown-items.md), and so the mark of a deleted item stays. A change of the catalog
is noted after it is written, and the note expires a day later.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar
from zlib import crc32

import msgspec
from google.cloud.bigtable.data import Row, RowMutationEntry, SetCell
from google.cloud.bigtable.data.row_filters import (
    CellsColumnLimitFilter,
    ColumnQualifierRegexFilter,
    FamilyNameRegexFilter,
    LiteralValueFilter,
    RowFilter,
    RowFilterChain,
    TimestampRangeFilter,
)

from pipeline.core.catalog import Item, encode_item
from pipeline.core.decay import DAY_MS
from pipeline.core.queries import query_key

Entry = TypeVar("Entry")
Cell = tuple[bytes, int]
"""Encoded value, timestamp in ms."""

TABLES: dict[str, tuple[str, ...]] = {
    "profiles": ("p",),
    "items": ("c", "s"),
    "trending": ("t",),
    "queries": ("q",),
    "policies": ("b",),
    "leases": ("l",),
    "catalog_changes": ("n",),
}
"""Families of each table."""
CHANGE_FAMILY = "n"
CHANGE_TTL_MS = DAY_MS
"""Notes of changed items expire so long after the change."""
ITEM_FAMILIES = ("s", "t", "q")
"""Families of items, scopes and queries that expire some days after the last event."""


class StateColumn(NamedTuple):
    """The place of one kind of value."""

    table: str
    family: str
    qualifier: bytes


PROFILE = "profile"
ITEM = "item"
STATS = "stats"
STUB = "stub"
TRENDING = "trending"
QUERY = "query"
TOP_QUERIES = "top_queries"
LEASE = "lease"
CHANGE = "change"
COLUMNS: dict[str, StateColumn] = {
    PROFILE: StateColumn("profiles", "p", b"s"),
    ITEM: StateColumn("items", "c", b"i"),
    STATS: StateColumn("items", "s", b"s"),
    STUB: StateColumn("items", "s", b"i"),
    TRENDING: StateColumn("trending", "t", b"s"),
    QUERY: StateColumn("queries", "q", b"s"),
    TOP_QUERIES: StateColumn("queries", "q", b"t"),
    LEASE: StateColumn("leases", "l", b"g"),
    CHANGE: StateColumn("catalog_changes", CHANGE_FAMILY, b"i"),
}
CHANGE_SHARDS = 4
"""Notes of changed items are spread over so many ranges of keys."""

GLOBAL_SCOPE = "global#all"
"""The trending scope of all items of the catalog."""
STUB_SCOPE = "stubs#all"
"""The trending scope of stubs; their number is unbounded."""

NEWEST = CellsColumnLimitFilter(1)
"""Every read asks for the newest cell of a column."""
TOP_QUERIES_ROWS = ("top#", "top$")
"""Begin and end of the rows of the top queries."""
QUERY_SHARDS = 8
"""Rows of the top queries: 500 a row are 4,000 in all."""
_MAX_BULK = 500


def category_scope(category: str) -> str:
    """The trending scope of one category."""
    return f"category#{category}"


def trending_key(scope: str, shard: int) -> str:
    """The row of one shard of a scope; a reader merges all shards."""
    return f"{scope}#{shard:02d}"


def query_row(query: str) -> str:
    """The row of one query's statistics."""
    return f"q#{query_key(query)}"


def top_queries_row(query: str) -> str:
    """The row of the top queries that this one has its place in."""
    return f"top#{crc32(query.encode()) % QUERY_SHARDS:02d}"


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
    column = COLUMNS[kind]
    return column.table, RowMutationEntry(key, set_cell(column, value, timestamp_ms))


def item_write(item: Item, now_ms: int) -> tuple[str, RowMutationEntry]:
    """One catalog write as (table, mutation)."""
    return cell(ITEM, item.item_id, encode_item(item), now_ms)


def change_key(shard: int, at_ms: int, token: str = "") -> str:
    """The row of a note of changed items; without a token, where the notes of this moment begin."""
    return f"{shard}#{at_ms:013d}#{token}"


def change_note(ids: Sequence[str], now_ms: int) -> tuple[str, RowMutationEntry]:
    """A note that items of the catalog have changed, as (table, mutation): to be written after
    them.
    """
    token = uuid.uuid4()
    key = change_key(token.int % CHANGE_SHARDS, now_ms, token.hex)
    return cell(CHANGE, key, msgspec.msgpack.encode(list(ids)), now_ms)


def holds(column: StateColumn, cell: Cell | None) -> RowFilter:
    """Lets a row's newest cell through: any, or only this one."""
    found: list[RowFilter] = [
        FamilyNameRegexFilter(column.family),
        ColumnQualifierRegexFilter(re.escape(column.qualifier)),
        NEWEST,
    ]
    if cell is not None:
        value, timestamp_ms = cell
        at = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
        found.append(LiteralValueFilter(value))
        found.append(TimestampRangeFilter(at, at + timedelta(milliseconds=1)))
    return RowFilterChain(found)


def set_cell(column: StateColumn, value: bytes, timestamp_ms: int) -> SetCell:
    """The mutation that writes one cell."""
    micros = timestamp_ms * 1000
    return SetCell(column.family, column.qualifier, value, timestamp_micros=micros)


def newest(row: Row, column: StateColumn) -> Cell | None:
    """The cell of a row that was read by `NEWEST`; None where it has none."""
    if (column.family, column.qualifier) not in row:
        return None
    found = row.get_cells(column.family, column.qualifier)[0]
    return found.value, found.timestamp_micros // 1000


def batches(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Slices of as many rows as one request may name."""
    for start in range(0, len(entries), _MAX_BULK):
        yield entries[start : start + _MAX_BULK]
