"""Suggestions that are no products: public queries, categories and brands, and how much each is
wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log2
from typing import Literal, NamedTuple

import numpy as np

from pipeline.core.catalog import department
from pipeline.core.columns import Rows, TextColumn
from pipeline.core.item_columns import ItemColumns
from pipeline.core.queries import TopQueries, TopQuery
from vertex.api.suggest.index import Changes
from vertex.api.suggest.segment import Entry
from vertex.api.suggest.titles import MOVED, Ranks

Kind = Literal["query", "category", "brand", "product"]
QUERY, CATEGORY, BRAND = "query", "category", "brand"

QUERY_HALVINGS = 12.0
"""A query that is searched for 2^12 times less than the first ranks last."""
CLICK_PRIOR = 5.0
"""Searches with the clicks of the average query, beside those that a query has had itself."""
UNCLICKED = 0.3
"""The rank of a query without clicks, as a share of what it would be with the average's."""
MAX_OF_A_KIND = 20_000

_SEPARATOR = "\x1f"  # no name holds it: names are printable


class Phrase(NamedTuple):
    """One suggestion: `id` is the category's path or the brand, and empty for a query."""

    kind: Kind
    id: str
    text: str

    def key(self) -> str:
        """Its key in the index."""
        return f"{self.kind}{_SEPARATOR}{self.id or self.text}"


def kind_and_id(key: str) -> tuple[str, str]:
    """The kind and the id of a phrase's key."""
    kind, _, name = key.partition(_SEPARATOR)
    return kind, name


def query_entries(top: TopQueries) -> list[Entry]:
    """The public queries; one that never had a result is left out.

    They are read at the time of the newest search, not at the wall clock's: silence says nothing
    about them.
    """
    now_ms = top.newest_ms
    average = _average_clicks(top.queries.values(), now_ms)
    most = max((found.log2_searches for found in top.queries.values()), default=0.0)
    entries = []
    for text, found in top.queries.items():
        rank = query_rank(found, most, average, now_ms)
        if rank > 0:
            entries.append(Entry(Phrase("query", "", text).key(), text, rank=rank))
    return entries


def query_rank(found: TopQuery, most: float, average: float, now_ms: int) -> float:
    """The weight of a query, in [0, 1]: by its searches, less for searches without a result
    or a click after them.

    Args:
        most: `log2_searches` of the query that is searched for most.
        average: the share of searches that a click comes after, of all queries.
    """
    rank = max(1.0 + (found.log2_searches - most) / QUERY_HALVINGS, 0.01)
    searches = found.searches(now_ms)
    clicked = (found.clicked * searches + average * CLICK_PRIOR) / (searches + CLICK_PRIOR)
    is_clicked = min(clicked / average, 1.0) if average > 0 else 1.0
    answered: float = (1.0 - found.empty) ** 2
    return rank * answered * (UNCLICKED + (1.0 - UNCLICKED) * is_clicked)


def _average_clicks(queries: Iterable[TopQuery], now_ms: int) -> float:
    """The share of searches that a click comes after, of all queries."""
    searches = clicks = 0.0
    for found in queries:
        count = found.searches(now_ms)
        searches += count
        clicks += found.clicked * count
    return clicks / searches if searches > 0 else 0.0


def category_entries(columns: ItemColumns, rows: Rows, ranks: Ranks) -> list[Entry]:
    """Categories and those that they are in, each as much wanted as its items are."""
    wanted: dict[str, tuple[int, float]] = {}
    for path, (count, rank) in _by_text(columns.category, rows, ranks).items():
        for name in _paths(path):
            known = wanted.get(name, (0, 0.0))
            wanted[name] = known[0] + count, max(known[1], rank)
    return [
        Entry(Phrase("category", path, category_text(path)).key(), category_text(path), rank=rank)
        for path, rank in _ranked(wanted).items()
    ]


def brand_entries(columns: ItemColumns, rows: Rows, ranks: Ranks) -> list[Entry]:
    """Brands, each as much wanted as its items are."""
    wanted = _ranked(_by_text(columns.brand, rows, ranks))
    return [
        Entry(Phrase("brand", brand, brand).key(), brand, rank=rank)
        for brand, rank in wanted.items()
    ]


def category_text(path: str) -> str:
    """The last part of a dotted path as people write it: `home.living_room` is "living room"."""
    last = path.rpartition(".")[2]
    return " ".join(last.replace("_", " ").replace("-", " ").split()) or department(path)


def _paths(path: str) -> list[str]:
    """The path and all that it lies in."""
    parts = path.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _by_text(column: TextColumn, rows: Rows, ranks: Ranks) -> dict[str, tuple[int, float]]:
    """Number of items and greatest rank by the text of a column; those without a text left out."""
    codes = column.get(rows)
    counts = np.bincount(codes)
    greatest = np.zeros(len(counts), np.float32)
    np.maximum.at(greatest, codes, ranks)
    text = column.dictionary.text
    found = {
        text(code): (int(counts[code]), float(greatest[code]))
        for code in np.flatnonzero(counts).tolist()
    }
    found.pop("", None)
    return found


def _ranked(wanted: Mapping[str, tuple[int, float]]) -> dict[str, float]:
    """Half by the number of items, on a scale of logarithms, half by the most popular of them."""
    most = log2(1 + max((count for count, _ in wanted.values()), default=0))
    ranks = {
        name: 0.5 * log2(1 + count) / most + 0.5 * rank for name, (count, rank) in wanted.items()
    }
    best = sorted(ranks.items(), key=lambda entry: (-entry[1], entry[0]))
    return dict(best[:MAX_OF_A_KIND])


class PhraseWatch:
    """Remembers phrases, and finds what changed."""

    def __init__(self) -> None:
        self._known: dict[str, Entry] = {}

    def look(self, entries: Iterable[Entry]) -> Changes:
        """Take the changes since the last look; these are all that there are now."""
        known, found = self._known, {entry.key: entry for entry in entries}
        changes = Changes([], [key for key in known if key not in found], [])
        for key, entry in found.items():
            before = known.get(key)
            if before is None:
                changes.entries.append(entry)
            elif abs(before.rank - entry.rank) > MOVED:
                changes.ranks.append((key, entry.rank))
            else:
                found[key] = before
        self._known = found
        return changes
