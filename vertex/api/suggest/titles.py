"""Titles of the items in memory, and what changed of them since the last look."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from pipeline.core.columns import Growable, Rows
from pipeline.core.item_columns import ItemColumns
from vertex.api.suggest.index import Changes
from vertex.api.suggest.segment import SLICE, Entry

HALVINGS = 24.0
"""An item so many half-lives (6 h) less popular than the most popular one ranks last."""
MOVED = 0.01
"""A rank that changes by less stays as it is."""

Ranks = NDArray[np.float32]


def suggested_rows(columns: ItemColumns, now_ms: int) -> Rows:
    """Rows of the items that may be suggested: sellable at this moment, and of the catalog.

    A stub's title is what some event said.
    """
    rows = columns.all_rows()
    shown: Rows = rows[columns.is_sellable(rows, now_ms) & ~columns.stub.get(rows)]
    return shown


def ranks_of(columns: ItemColumns, rows: Rows, now_ms: int) -> Ranks:
    """The weight of each, `(n,)` in [0, 1]: its popularity on a scale of logarithms.

    1 is the most popular item, and 0 one that is 2^24 times less so, or that was never touched.
    """
    popularity = columns.popularity.get(rows, 0, now_ms)
    best = float(popularity.max(initial=0.0))
    if best <= 0:
        return np.zeros(len(rows), np.float32)
    halvings = np.log2(np.maximum(popularity / best, 2.0**-HALVINGS))
    return np.asarray(1.0 + halvings / HALVINGS, np.float32)


class TitleWatch:
    """Remembers titles by the items' rows, and finds what changed: a look at 100,000 takes some
    40 ms, in slices, and it holds 24 bytes each.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []  # by row; empty: not suggested
        self._titles: list[str] = []
        self._brands = Growable(np.int32)
        self._ranks = Growable(np.float32)

    def look(self, columns: ItemColumns, now_ms: int) -> Generator[None, None, Changes]:
        """Take the changes since the last look."""
        rows = suggested_rows(columns, now_ms)
        ranks = ranks_of(columns, rows, now_ms)
        changes = Changes([], [], [])
        self._reserve(columns.capacity)
        for start in range(0, len(rows), 10 * SLICE):
            part = slice(start, start + 10 * SLICE)
            # an item that went meanwhile has left a row that is out of stock
            is_there = columns.in_stock.get(rows[part])
            self._compare(columns, rows[part][is_there], ranks[part][is_there], changes)
            yield
        hidden = np.ones(len(self._ids), np.bool_)
        hidden[rows] = False
        self._forget(np.flatnonzero(hidden), changes)
        return changes

    def _compare(self, columns: ItemColumns, rows: Rows, ranks: Ranks, changes: Changes) -> None:
        brands = columns.brand.get(rows)
        is_other = brands != self._brands[rows]
        has_moved = np.abs(self._ranks[rows] - ranks) > MOVED
        self._brands.array[rows] = brands
        self._ranks.array[rows[has_moved]] = ranks[has_moved]
        found = zip(
            rows.tolist(),
            columns.ids(rows),
            columns.titles(rows),
            is_other.tolist(),
            has_moved.tolist(),
            strict=True,
        )
        for row, item_id, title, is_other_brand, has_other_rank in found:
            known = self._ids[row]
            if known != item_id or is_other_brand or self._titles[row] != title:
                if known and known != item_id:
                    changes.gone.append(known)
                self._ids[row] = item_id
                if title:
                    brand, rank = columns.brand.text(row), float(self._ranks[row])
                    changes.entries.append(Entry(item_id, title, brand, rank))
                else:
                    changes.gone.append(item_id)
            elif has_other_rank:
                changes.ranks.append((item_id, float(self._ranks[row])))
            self._titles[row] = title

    def _forget(self, rows: NDArray[np.intp], changes: Changes) -> None:
        for row in rows.tolist():
            if self._ids[row]:
                changes.gone.append(self._ids[row])
                self._ids[row] = self._titles[row] = ""
                self._ranks[row] = 0.0

    def _reserve(self, rows: int) -> None:
        more = rows - len(self._ids)
        self._ids += [""] * more
        self._titles += [""] * more
        self._brands.reserve(rows)
        self._ranks.reserve(rows)
