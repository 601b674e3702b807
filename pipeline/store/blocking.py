"""Blocking reads and writes of Bigtable, for the pipeline and the loaders."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from google.api_core.exceptions import Aborted, DeadlineExceeded, ServiceUnavailable
from google.api_core.retry import Retry, if_exception_type
from google.cloud.bigtable.data import (
    BigtableDataClient,
    DeleteAllFromRow,
    Mutation,
    ReadRowsQuery,
    Row,
    RowMutationEntry,
)

from pipeline.core.catalog import Item
from pipeline.store.layout import (
    COLUMNS,
    ITEM,
    NEWEST,
    TABLES,
    Cell,
    batches,
    holds,
    newest,
    set_cell,
)
from pipeline.store.versions import UNREADABLE, decode

log = logging.getLogger(__name__)

_MAX_WRITERS = 4
_SWAP_S = 10.0
_RETRY = Retry(if_exception_type(Aborted, DeadlineExceeded, ServiceUnavailable), maximum=5.0)


class Store:
    """Blocking reads and writes. One per process."""

    def __init__(self, project: str, instance: str) -> None:
        self._client = BigtableDataClient(project=project)
        self._writers = ThreadPoolExecutor(_MAX_WRITERS, "bigtable-writer")
        self._tables = {name: self._client.get_table(instance, name) for name in TABLES}

    def read(self, kind: str, key: str) -> Cell | None:
        """The newest value and its timestamp in ms, or None."""
        column = COLUMNS[kind]
        row = self._tables[column.table].read_row(key, row_filter=NEWEST)
        return newest(row, column) if row is not None else None

    def read_many(self, kind: str, keys: Iterable[str]) -> dict[str, Cell]:
        """The newest values of those keys that exist."""
        found = self.read_cells((kind, key) for key in keys)
        return {key: cell for (_, key), cell in found.items()}

    def read_cells(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Cell]:
        """The newest values of those `(kind, key)` that exist; a row is read once for all of its
        kinds.
        """
        kinds_of: dict[str, dict[str, list[str]]] = {}
        for kind, key in wanted:
            kinds_of.setdefault(COLUMNS[kind].table, {}).setdefault(key, []).append(kind)
        found: dict[tuple[str, str], Cell] = {}
        for table, kinds in kinds_of.items():
            for row in self._read_rows(table, sorted(kinds)):
                key = row.row_key.decode()
                for kind in kinds[key]:
                    cell = newest(row, COLUMNS[kind])
                    if cell is not None:
                        found[kind, key] = cell
        return found

    def read_items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Those of the items that the catalog holds; deleted ones are left out, unreadable ones
        too, and logged.
        """
        found: dict[str, Item] = {}
        reasons: list[str] = []
        for key, (value, _) in self.read_many(ITEM, ids).items():
            try:
                item = decode(Item, value)
            except UNREADABLE as error:
                reasons.append(str(error))
                continue
            if not item.deleted:
                found[key] = item
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
        self._write_rows(by_table)
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
        column = COLUMNS[kind]
        mutations: list[Mutation] = [DeleteAllFromRow()]
        if after is not None:
            mutations.append(set_cell(column, *after))
        swap = _RETRY.with_timeout(patience_s)(self._tables[column.table].check_and_mutate_row)
        exists = before is not None
        case = "true_case_mutations" if exists else "false_case_mutations"
        timeout_s = min(_SWAP_S, patience_s)
        matched = swap(key, holds(column, before), operation_timeout=timeout_s, **{case: mutations})
        return bool(matched) == exists

    def count(self, table: str) -> int:
        """Number of rows of a table (a scan: for reports and tests)."""
        rows = self._tables[table].read_rows_stream(ReadRowsQuery(row_filter=NEWEST))
        return sum(1 for _ in rows)

    def scan(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every row's key and newest value."""
        column = COLUMNS[kind]
        rows = self._tables[column.table].read_rows_stream(ReadRowsQuery(row_filter=NEWEST))
        for row in rows:
            cell = newest(row, column)
            if cell is not None:
                yield row.row_key.decode(), cell[0]

    def close(self) -> None:
        """Close the channel."""
        self._writers.shutdown()
        self._client.close()

    def _read_rows(self, table: str, keys: Sequence[str]) -> Iterator[Row]:
        for batch in batches(keys):
            query = ReadRowsQuery(row_keys=list(batch), row_filter=NEWEST)
            yield from self._tables[table].read_rows(query)

    def _write_rows(self, by_table: dict[str, list[RowMutationEntry]]) -> None:
        """Write batches in parallel, and wait for all of them."""
        requests = [
            self._writers.submit(self._tables[table].bulk_mutate_rows, list(batch))
            for table, entries in by_table.items()
            for batch in batches(entries)
        ]
        for request in requests:
            request.result()


class Bigtable(NamedTuple):
    """A Bigtable instance: picklable, and the key of the client that a process shares."""

    project: str
    instance: str

    def store(self) -> Store:
        """The process's client, made on first use and kept: a runner sets DoFns up again and
        again."""
        # one process may use several emulators
        key = (*self, os.environ.get("BIGTABLE_EMULATOR_HOST"))
        if key not in _stores:
            _stores[key] = Store(*self)
        return _stores[key]


_stores: dict[tuple[str, str, str | None], Store] = {}


def _joined(entries: list[RowMutationEntry]) -> RowMutationEntry:
    """The writes of one row as one."""
    if len(entries) == 1:
        return entries[0]
    mutations = [mutation for entry in entries for mutation in entry.mutations]
    return RowMutationEntry(entries[0].row_key, mutations)
