"""Bigtable's layout: tables, families, columns and row keys. Nothing outside this folder knows it.

| table    | row key                | family:column | encoded value         | cell timestamp     |
|----------|------------------------|---------------|-----------------------|--------------------|
| profiles | `core.profile_keys`     | p:s           | `UserProfile`         | revision, `revise` |
| items    | item id                | c:i           | `Item` of the catalog | load time          |
|          |                        | s:s, s:i      | `ItemStats`, a stub   | revision           |
| trending | `scope#shard`          | t:s           | `Trending`            | revision           |
| policies |                        | b:s           | nothing yet           |                    |
| leases   | `pipeline`             | l:g           | `Grant`, as JSON      | renewal, `lease`   |

A stub is made from events, of an item that the catalog does not hold. Families `p`, `s` and `t`
expire by the age of their cells, which is event time; the catalog's family `c` never does
(docs/decisions/unknown-items.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from google.cloud.bigtable.data import Row, RowMutationEntry, SetCell
from google.cloud.bigtable.data.row_filters import CellsColumnLimitFilter

from pipeline.core.catalog import Item, encode_item

Entry = TypeVar("Entry")
Cell = tuple[bytes, int]
"""Encoded value, timestamp in ms."""

TABLES: dict[str, tuple[str, ...]] = {
    "profiles": ("p",),
    "items": ("c", "s"),
    "trending": ("t",),
    "policies": ("b",),
    "leases": ("l",),
}
"""Families of each table."""
ITEM_FAMILIES = ("s", "t")
"""Families of items and scopes that expire some days after the last event."""


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
LEASE = "lease"
COLUMNS: dict[str, StateColumn] = {
    PROFILE: StateColumn("profiles", "p", b"s"),
    ITEM: StateColumn("items", "c", b"i"),
    STATS: StateColumn("items", "s", b"s"),
    STUB: StateColumn("items", "s", b"i"),
    TRENDING: StateColumn("trending", "t", b"s"),
    LEASE: StateColumn("leases", "l", b"g"),
}

GLOBAL_SCOPE = "global#all"
"""The trending scope of all items of the catalog."""
STUB_SCOPE = "stubs#all"
"""The trending scope of stubs; their number is unbounded."""

NEWEST = CellsColumnLimitFilter(1)
"""Every read asks for the newest cell of a column."""
_MAX_BULK = 500


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
    column = COLUMNS[kind]
    return column.table, RowMutationEntry(key, set_cell(column, value, timestamp_ms))


def item_write(item: Item, now_ms: int) -> tuple[str, RowMutationEntry]:
    """One catalog write as (table, mutation)."""
    return cell(ITEM, item.item_id, encode_item(item), now_ms)


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
