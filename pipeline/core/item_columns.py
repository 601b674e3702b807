"""The items in memory: one array a field, each item a row. Serving and training read features from
here.

The rows come from the states that the pipeline stores (`ItemRow`), so that an item has the same
numbers wherever it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nsmallest
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.attribute_columns import AttributeColumns
from pipeline.core.attributes import AttributeType
from pipeline.core.catalog import Item, department
from pipeline.core.columns import (
    Arrays,
    Column,
    FlagColumn,
    Growable,
    Mask,
    NumberColumn,
    Rows,
    TextColumn,
    TextsColumn,
    drop_unused_texts,
    has_many_unused,
    packed_texts,
    part_of,
    unpacked_texts,
    with_part,
    with_slack,
)
from pipeline.core.decay import DecayedSums
from pipeline.core.embedding import CONTEXT_DIM, DIM, item_vector
from pipeline.core.item_fields import ItemFields, ItemIds, Regions
from pipeline.core.item_tapes import item_hash
from pipeline.core.items import (
    IMPRESSION,
    LONG_HALF_LIFE_MS,
    MAX_NEIGHBOURS,
    SHORT_HALF_LIFE_MS,
    TRENDING_HALF_LIFE_MS,
    VIEW,
    WATCHED,
    ItemRow,
    ItemStats,
)
from pipeline.core.text_vectors import TextVectors, item_text
from pipeline.core.vectors import VectorIndex

NO_ROW = -1
_COUNTED = WATCHED + 1  # the codes whose long-term counts are kept: 0 up to WATCHED
_NONE = np.zeros(0, np.int32)


class DecayedColumn:
    """Decayed sums of `width` codes, 0 up to `width`, on one half-life, evaluated when read."""

    def __init__(self, half_life_ms: int, width: int) -> None:
        self._half_life_ms, self._width = half_life_ms, width
        self._sums = Growable(np.float64, width=width)
        self._landmarks = Growable(np.int32)

    def put(self, row: int, sums: DecayedSums[int]) -> None:
        """Set the row's sums; codes from `width` on are left out."""
        found = sums.sums
        self._sums[row] = [found.get(code, 0.0) for code in range(self._width)]
        self._landmarks[row] = sums.landmark

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        self._sums.reserve(rows)
        self._landmarks.reserve(rows)

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """See `Column`."""
        return {"sums": self._sums[rows], "landmarks": self._landmarks[rows]}

    def restore(self, arrays: Arrays, n: int) -> None:
        """See `Column`."""
        self._sums.restore({"": arrays["sums"]}, n)
        self._landmarks.restore({"": arrays["landmarks"]}, n)

    def get(self, rows: Rows, code: int, now_ms: int) -> NDArray[np.float64]:
        """The sums under `code` at `now_ms`, `(n,)`."""
        return np.asarray(self._sums[rows, code] * self._decay(rows, now_ms))

    def all_of(self, rows: Rows, now_ms: int) -> NDArray[np.float64]:
        """The sums under all codes at `now_ms`, `(width, n)`."""
        return np.asarray(self._sums[rows].T * self._decay(rows, now_ms))

    def _decay(self, rows: Rows, now_ms: int) -> NDArray[np.float64]:
        landmarks = self._landmarks[rows].astype(np.float64)
        half_lives = (landmarks * self._half_life_ms - now_ms) / self._half_life_ms
        return np.exp2(np.clip(half_lives, -1000.0, 1.0))


class ItemColumns:
    """Items by row: what the catalog says, what visitors did, vectors.

    The row of an item stays the same until the item is removed; after that another may get it. So
    rows are for the moment, and what is kept longer names items, or the `version` it was made at.

    Args:
        declared: types of the shop's own attributes, as far as they are declared.

    Attributes:
        version: changes whenever an item comes or goes.
        title, category, department, brand, price: of the catalog; the price is NaN where unknown.
        in_stock, stub: flags of the catalog; a free row is out of stock.
        published_ms, expires_ms, group, regions: of the catalog.
        attributes: the shop's own fields.
        fields: all of these by the names that expressions use.
        hash: `item_hash` of the id.
        newest_ms: the time of the newest event.
        impressions: how often it was shown, ever.
        counts: events by code, half-life 7 d; `views_1h` views, half-life 1 h; `popularity` as in
            `ItemStats`, code 0.
        own_vector: `(n, DIM)`, the unit vector of id, category and brand.
        context: `(n, CONTEXT_DIM)` float16, the unit context vector; zeros while there is none.
        text: the vectors of the items' texts.
        vectors: the trained vectors, set by `use_vectors`.
    """

    def __init__(self, declared: Mapping[str, AttributeType] | None = None) -> None:
        self.version = 0
        self._ids: list[str | None] = []
        self._titles: list[str] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self.category = TextColumn()
        self.department = TextColumn(self.category.dictionary)
        self.brand = TextColumn()
        self.price = NumberColumn()
        self.in_stock = FlagColumn()
        self.stub = FlagColumn()
        self.published_ms = NumberColumn()
        self.expires_ms = NumberColumn()
        self.group = TextColumn()
        self.regions = TextsColumn()
        self.attributes = AttributeColumns(declared)
        self.fields = self._fields()
        self.hash = Growable(np.uint32)
        self.newest_ms = Growable(np.int64)
        self.impressions = Growable(np.int64)
        self.counts = DecayedColumn(LONG_HALF_LIFE_MS, _COUNTED)
        self.views_1h = DecayedColumn(SHORT_HALF_LIFE_MS, VIEW + 1)
        self.popularity = DecayedColumn(TRENDING_HALF_LIFE_MS, 1)
        self.own_vector = Growable(np.float32, width=DIM)
        self.context = Growable(np.float16, width=CONTEXT_DIM)
        self.text = TextVectors()
        self._columns: dict[str, Column] = {
            "category": self.category,
            "department": self.department,
            "brand": self.brand,
            "price": self.price,
            "in_stock": self.in_stock,
            "stub": self.stub,
            "published_ms": self.published_ms,
            "expires_ms": self.expires_ms,
            "group": self.group,
            "regions": self.regions,
            "attributes": self.attributes,
            "hash": self.hash,
            "newest_ms": self.newest_ms,
            "impressions": self.impressions,
            "counts": self.counts,
            "views_1h": self.views_1h,
            "popularity": self.popularity,
            "own_vector": self.own_vector,
            "context": self.context,
            "text": self.text,
        }
        self.vectors = VectorIndex.empty()
        self._vector_places = Growable(np.int32, NO_ROW)
        self._rows_of_vectors = _NONE

    @classmethod
    def of(cls, rows: Iterable[ItemRow], vectors: VectorIndex | None = None) -> ItemColumns:
        """Columns of these rows, the last of an id winning."""
        columns = cls()
        for row in rows:
            columns.put(row)
        if vectors is not None:
            columns.use_vectors(vectors)
        return columns

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows

    @property
    def capacity(self) -> int:
        """Rows that are or were taken: every row is below this."""
        return len(self._ids)

    def row(self, item_id: str | None) -> int:
        """The item's row, `NO_ROW` where it is not in memory."""
        return self._rows.get(item_id, NO_ROW)  # type: ignore[arg-type]

    def rows(self, ids: Iterable[str]) -> Rows:
        """The rows of those that are in memory, in the order of `ids`."""
        find = self._rows.get
        return np.array([row for row in map(find, ids) if row is not None], np.int32)

    def all_rows(self) -> Rows:
        """The rows of all items, ascending."""
        taken = np.ones(self.capacity, np.bool_)
        taken[self._free] = False
        return np.flatnonzero(taken).astype(np.int32)

    def id(self, row: int) -> str:
        """The id of a row that is taken."""
        item_id = self._ids[row]
        assert item_id is not None
        return item_id

    def ids(self, rows: Rows) -> list[str]:
        """The ids of rows that are taken."""
        return [self.id(row) for row in rows.tolist()]

    def titles(self, rows: Rows) -> list[str]:
        """The titles of the items of these rows."""
        titles = self._titles
        return [titles[row] for row in rows.tolist()]

    def item(self, item_id: str | None) -> Item | None:
        """The catalog's item as it is in memory: no image, no address, no text but the title."""
        row = self.row(item_id)
        if row == NO_ROW:
            return None
        price = float(self.price.get(np.array([row]))[0])
        at = np.array([row], np.int32)
        return Item(
            self.id(row),
            title=self._titles[row],
            category=self.category.text(row),
            brand=self.brand.text(row),
            price=price if price == price else 0.0,
            in_stock=bool(self.in_stock.get(at)[0]),
            stub=bool(self.stub.get(at)[0]),
        )

    def is_sellable(self, rows: Rows, now_ms: int) -> Mask:
        """True for the rows that may be shown at this moment: in stock, published, and not past
        their end.
        """
        is_early = self.published_ms.get(rows) > now_ms
        is_over = self.expires_ms.get(rows) <= now_ms
        return self.in_stock.get(rows) & ~is_early & ~is_over

    def put(self, row: ItemRow) -> int:
        """Write an item over what is known of it, and return its row."""
        at = self._take(row.item.item_id)
        self.put_item(at, row.item)
        self.put_stats(at, row.stats)
        return at

    def put_item(self, row: int, item: Item) -> None:
        """Write what the catalog says."""
        self._titles[row] = item.title
        self.category.put(row, item.category)
        self.department.put(row, department(item.category))
        self.brand.put(row, item.brand)
        self.price.put(row, item.price or None)
        self.in_stock.put(row, item.in_stock)
        self.stub.put(row, item.stub)
        self.published_ms.put(row, item.published_ms)
        self.expires_ms.put(row, item.expires_ms)
        self.group.put(row, item.group)
        self.regions.put(row, item.regions)
        self.attributes.put(row, item.attributes)
        self.own_vector[row] = _unit(item_vector(item.item_id, item.category, item.brand))
        self.text.note(row, item_text(item))

    def put_stats(self, row: int, stats: ItemStats) -> None:
        """Write what visitors did."""
        self.put_counts(row, stats)
        direction = stats.context.direction()
        self.context[row] = 0.0 if direction is None else direction

    def put_counts(self, row: int, stats: ItemStats) -> None:
        """Write what visitors did, but for the context vector."""
        self.newest_ms[row] = stats.newest_ms
        self.impressions[row] = stats.counts.totals.get(IMPRESSION, 0)
        self.counts.put(row, stats.counts.long)
        self.views_1h.put(row, stats.counts.short)
        self.popularity.put(row, stats.popularity)

    def remove(self, item_id: str) -> None:
        """Forget an item, if it is there."""
        row = self._rows.pop(item_id, None)
        if row is None:
            return
        self._ids[row] = None
        self._titles[row] = ""
        self.in_stock.put(row, False)
        self.regions.put(row, None)
        self.attributes.remove(row)
        self.context[row] = 0.0
        self.text.forget(row)
        self._place(row, NO_ROW)
        self._free.append(row)
        self.version += 1

    def saved(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """These items as the arrays of a snapshot, in this order: all but the trained vectors."""
        saved = with_part("id", packed_texts(self.ids(rows)))
        saved |= with_part("title", packed_texts(self._titles[row] for row in rows.tolist()))
        for name, column in self._columns.items():
            saved |= with_part(name, column.saved(rows))
        return saved

    def restore(self, arrays: Arrays, n: int) -> None:
        """Take the first `n` items of what `saved` gave; to be called while there are none.

        Raises:
            KeyError, ValueError: as `Column.restore`.
        """
        ids = unpacked_texts(part_of(arrays, "id"), n)
        titles = unpacked_texts(part_of(arrays, "title"), n)
        for name, column in self._columns.items():
            column.restore(part_of(arrays, name), n)
        self._vector_places.reserve(with_slack(n))
        self._rows = {item_id: row for row, item_id in enumerate(ids)}
        if len(self._rows) != n:
            raise ValueError(f"expected each id once, got {n} ids with doubles")
        self._ids, self._titles = [*ids], titles
        self.version += 1

    @property
    def has_many_unused_texts(self) -> bool:
        """True where it is time for `drop_unused_texts`: there are many more texts than items."""
        coded = (self.category, self.brand, self.group, self.regions)
        is_own = any(has_many_unused(column, len(self)) for column in coded)
        return is_own or self.attributes.has_many_unused_texts(len(self))

    def drop_unused_texts(self) -> None:
        """Forget the texts that no item has any more; the codes of all change."""
        rows = self.all_rows()
        drop_unused_texts([self.category, self.department], rows)
        for column in (self.brand, self.group, self.regions):
            drop_unused_texts([column], rows)
        self.attributes.drop_unused_texts(rows)

    def use_vectors(self, vectors: VectorIndex) -> None:
        """Take these trained vectors in place of those before."""
        if vectors is self.vectors:
            return
        self.vectors = vectors
        self._vector_places = Growable(np.int32, NO_ROW)
        self._vector_places.reserve(self.capacity)
        rows = map(self._rows.get, vectors, repeat(NO_ROW))
        self._rows_of_vectors = np.fromiter(rows, np.int32, len(vectors))
        places = np.flatnonzero(self._rows_of_vectors >= 0)
        self._vector_places.array[self._rows_of_vectors[places]] = places

    def trained_similarity(self, rows: Rows, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosines `(n,)` of the items' trained vectors with a unit vector `(dim,)`; 0 where there
        is none.
        """
        places = self._vector_places[rows]
        cosines = self.vectors.rows[places] @ vector
        return np.where(places >= 0, cosines, np.float32(0.0))

    def nearest(self, vector: NDArray[np.float32], n: int) -> Rows:
        """The items in memory among the `n` whose trained vectors lie nearest to `vector`, best
        first.
        """
        rows = self._rows_of_vectors[self.vectors.nearest_places(vector, n)]
        return rows[rows >= 0]

    def _take(self, item_id: str) -> int:
        """The item's row, a free or a new one where it has none."""
        row = self._rows.get(item_id)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self._ids[row] = item_id
        else:
            row = len(self._ids)
            self._ids.append(item_id)
            self._titles.append("")
            self._reserve(row + 1)
        self._rows[item_id] = row
        self.hash[row] = item_hash(item_id)
        self._place(row, self.vectors.place(item_id))
        self.version += 1
        return row

    def _place(self, row: int, place: int) -> None:
        """Note which trained vector is the row's."""
        old = int(self._vector_places[row])
        if old >= 0:
            self._rows_of_vectors[old] = NO_ROW
        self._vector_places[row] = place
        if place >= 0:
            self._rows_of_vectors[place] = row

    def _fields(self) -> ItemFields:
        return ItemFields(
            values={
                "price": self.price,
                "in_stock": self.in_stock,
                "published_at": self.published_ms,
                "expires_at": self.expires_ms,
            },
            texts={
                "item_id": ItemIds(self),
                "category": self.category,
                "brand": self.brand,
                "group": self.group,
            },
            lists={"regions": Regions(self.regions)},
            attributes=self.attributes,
        )

    def _reserve(self, rows: int) -> None:
        for column in self._columns.values():
            column.reserve(rows)
        self._vector_places.reserve(rows)


class Neighbours:
    """The `MAX_NEIGHBOURS` items that one item is seen with most, each with its share of the
    strongest, in [0, 1].
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        strongest = max(weights.values(), default=0.0)
        known = weights if strongest > 0 else {}
        if len(known) > MAX_NEIGHBOURS:
            heaviest = nsmallest(MAX_NEIGHBOURS, known, key=lambda name: (-known[name], name))
            known = {name: known[name] for name in heaviest}
        self._ids = list(known)
        self._shares = np.maximum(np.fromiter(known.values(), np.float64) / (strongest or 1.0), 0.0)
        self._known_at: tuple[ItemColumns | None, int] = (None, 0)
        self._known = (_NONE, np.zeros(0))

    @property
    def ids(self) -> list[str]:
        """The items' ids."""
        return self._ids

    def known(self, items: ItemColumns) -> tuple[Rows, NDArray[np.float64]]:
        """The rows of those that are in memory, and their shares; both `(k,)`."""
        of, version = self._known_at
        if of is not items or version != items.version:
            rows = np.array([items.row(item_id) for item_id in self._ids], np.int32)
            is_known: Mask = rows >= 0
            self._known = (rows[is_known], self._shares[is_known])
            self._known_at = (items, items.version)
        return self._known


class Seed:
    """The items that one item leads to: items touched with it, items bought with it, and
    the direction `(CONTEXT_DIM,)` of its context vector, None while there is none.
    """

    def __init__(self, stats: ItemStats) -> None:
        self.touched = Neighbours(stats.neighbour_weights.sums)
        self.bought = Neighbours(stats.bought_weights.sums)
        self.context = stats.context.direction()


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector at length 1; the zero vector stays."""
    length = float(np.sqrt(vector @ vector))
    return vector / length if length > 0 else vector
