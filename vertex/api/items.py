"""The items in memory: all that fit, what visitors are at kept fresh, so that an answer reads next
to nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from pipeline.core.attribute_columns import MAX_COLUMNS
from pipeline.core.attributes import AttributeType
from pipeline.core.catalog import Item
from pipeline.core.columns import Growable, Rows, with_slack
from pipeline.core.item_columns import NO_ROW, ItemColumns, Seed
from pipeline.core.items import ItemRow
from pipeline.core.vectors import greatest
from pipeline.runtime.clock import now_ms
from pipeline.store.item_snapshot import SnapshotHeader
from vertex.api.breaker import Unavailable
from vertex.api.reader import Reads
from vertex.api.shelves import Shelves, build_shelves

log = logging.getLogger(__name__)

# All items are read again now and then, and soon while there are none or more each time: the
# catalog is being loaded.
RESCAN_S, RESCAN_GROWING_S = 60.0, 3.0
# A scan of very many items takes its time: then it comes more seldom, for one part in so many of
# all time at most.
RESCAN_SHARE = 10
RESHELVE_S = 5.0
# An item that is not in memory is asked for so often at most.
UNKNOWN_ITEM_SOFT_S = 60.0
REFRESH_S = 0.1
REFRESH_BATCH = 40
# Of a batch, the places that rows not in memory have when all are wanted; and so many ids of either
# kind may wait.
LATER_SHARE = 10
MAX_WANTED = 2_000
# So many items that no catalog holds are kept: where there is a catalog, only for their neighbours.
MAX_STUBS, MAX_STUBS_BESIDE_CATALOG = 20_000, 1_000
# So many ids of items that do not exist are remembered, so that they are not asked for again and
# again.
MAX_MISSING = 1_000

# Fresh co-visits show quickly: a visitor's recent items are at most so old, and are waited for when
# older still.
SEED_SOFT_S, SEED_HARD_S = 10.0, 60.0
# An item that is shown is read again when it is as old as this.
ITEM_SOFT_S = 30.0
# A request waits for so many items that are not in memory.
MAX_FOUND = 100
# Of so many items the visitors' own neighbours are in memory; some 10 kB each.
MAX_SEEDS = 5_000
# So many items are noted whose text vectors came since the shelves were put together.
MAX_ENCODED = 1_000
# Where the catalog does not fit, so much of it is forgotten at once.
_FORGOTTEN_AT_ONCE = 1_000

_NEVER = float("-inf")


class _Seen(NamedTuple):
    """A row as last read, what it leads to, and when its read began."""

    row: ItemRow
    seed: Seed
    read_at: float


class ItemCache:
    """The items in memory as columns, bounded, with the age of each.

    Items of the catalog and stubs (known from events alone) have places of their own: no stub
    displaces an item of the catalog. Without a catalog the place of stubs is larger, and the most
    wanted of them have it.

    Args:
        reader: where rows come from.
        max_items: how many items of the catalog to keep; the longest unread go first.
        clock: monotonic seconds.
        declared: types of the items' attributes, as far as they are declared.

    Attributes:
        columns: the items.
        shelves: those in stock, in order.
    """

    def __init__(
        self,
        reader: Reads,
        max_items: int,
        clock: Callable[[], float] = time.monotonic,
        declared: Mapping[str, AttributeType] | None = None,
    ) -> None:
        self._reader = reader
        self._max_items = max_items
        self._clock = clock
        self.columns = ItemColumns(declared)
        self._read_at = Growable(np.float64, _NEVER)  # by row: when its last read began
        self._stubs: dict[str, None] = {}  # oldest read first
        self._missing: dict[str, float] = {}  # looked for and not there, oldest read first
        self._seen: dict[str, _Seen] = {}  # the visitors' own items, oldest read first
        self._wanted: dict[str, None] = {}  # the visitors' own, and what is in memory
        self._wanted_later: dict[str, None] = {}  # the others: there is no end of them
        self._in_table: int | None = None  # items of the catalog at the last whole scan
        self._categories: set[str] = set()
        self._rescan_at = self._reshelve_at = _NEVER
        # a snapshot's time, until what was written since has been read
        self._snapshot_ms: int | None = None
        self.shelves = Shelves()
        self._encoded: list[int] = []  # rows whose text vectors came after the shelves

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def has_catalog(self) -> bool:
        """True where the table holds any item of a catalog.

        Assumed until the table has been read to its end, and after that where all that it holds is
        of another release.
        """
        return self._in_table != 0 or len(self.columns) > len(self._stubs)

    @property
    def categories(self) -> AbstractSet[str]:
        """The catalog's categories, also those of items that do not fit."""
        return self._categories

    def item(self, item_id: str) -> Item | None:
        """The item as last read, a stub where only events name it; None for an unknown one."""
        return self.columns.item(item_id)

    def last_read(self, item_id: str) -> ItemRow | None:
        """The whole row of an item that `ensure` read lately; None for any other."""
        seen = self._seen.get(item_id)
        return seen.row if seen is not None else None

    def seeds(self, ids: Iterable[str]) -> dict[str, Seed]:
        """The seeds of those items that `ensure` has read lately."""
        found = ((item_id, self._seen.get(item_id)) for item_id in ids)
        return {item_id: seen.seed for item_id, seen in found if seen is not None}

    def rows(self, ids: Iterable[str]) -> Rows:
        """The rows of those that are in memory, in the order of `ids`; the others are wanted."""
        ids = list(ids)
        rows = self.columns.rows(ids)
        if len(rows) < len(ids):
            unknown = [item_id for item_id in ids if item_id not in self.columns]
            self.want(unknown, UNKNOWN_ITEM_SOFT_S)
        return rows

    def want(self, ids: Iterable[str], max_age_s: float) -> None:
        """Ask for fresh rows of those read more than `max_age_s` ago; they come in the background.

        Those that are not in memory come after the others. Beyond `MAX_WANTED` of either kind, an
        id is not noted.
        """
        oldest = self._clock() - max_age_s
        for item_id in ids:
            if self._last_read_at(item_id) < oldest:
                is_in_memory = item_id in self.columns
                _note(self._wanted if is_in_memory else self._wanted_later, item_id)

    def want_rows(self, rows: Rows, max_age_s: float) -> None:
        """`want` for items in memory."""
        oldest = self._clock() - max_age_s
        for item_id in self.columns.ids(rows[self._read_at[rows] < oldest]):
            _note(self._wanted, item_id)

    async def find(self, ids: Iterable[str]) -> None:
        """Read the first `MAX_FOUND` of those that are not in memory; the others are wanted.

        What was looked for lately and not there is not read again. Raises `Unavailable`.
        """
        oldest = self._clock() - UNKNOWN_ITEM_SOFT_S
        unknown = [
            item_id
            for item_id in ids
            if item_id not in self.columns and self._last_read_at(item_id) < oldest
        ]
        if unknown:
            self.want(unknown[MAX_FOUND:], UNKNOWN_ITEM_SOFT_S)
            await self._read(unknown[:MAX_FOUND])

    async def ensure(self, ids: Sequence[str], soft_s: float, hard_s: float) -> None:
        """Have what the items lead to: wait for those that are missing or older than `hard_s`; want
        those older than `soft_s`.

        Raises:
            Unavailable: what could be had is had; the rest stays as it was.
        """
        now = self._clock()
        ages = {item_id: now - self._seen_at(item_id) for item_id in ids}
        stale = [item_id for item_id, age_s in ages.items() if age_s > hard_s]
        if stale:
            await self._read(stale, as_seeds=True)
        for item_id, age_s in ages.items():
            if soft_s < age_s <= hard_s:
                _note(self._wanted, item_id)

    async def start_from(self, columns: ItemColumns, header: SnapshotHeader) -> None:
        """Take a snapshot's items in place of all that is in memory, and put them on shelves.

        They count as read when the snapshot began; `keep_fresh` reads at once what was written
        since.
        """
        rows, age_s = columns.all_rows(), max(now_ms() - header.began_ms, 0) / 1000
        self.columns = columns
        self._read_at = Growable(np.float64, _NEVER)
        self._read_at.reserve(with_slack(columns.capacity))
        self._read_at.array[rows] = self._clock() - age_s
        self._in_table, self._snapshot_ms = header.items, header.began_ms
        self._categories = columns.category.used(rows)
        await asyncio.to_thread(self.reshelve)
        self._report_full()

    async def load(self) -> None:
        """Read the catalog, as much as fits, or stubs where there is none, and put them on shelves.

        What the catalog does not hold any more is forgotten.

        Raises `Unavailable`.
        """
        scan = _CatalogScan(self._clock())
        unreadable = await self._reader.scan(lambda row: self._take(row, scan), with_stubs=False)
        # A catalog of which nothing can be read is one, too: stubs do not take its place.
        self._in_table = scan.items or (None if unreadable else 0)
        self._categories = scan.categories
        if not unreadable:
            self._forget_unread_since(scan.began)
        if not self.has_catalog:
            await self._load_stubs()
        self._forget_stubs()
        await asyncio.to_thread(self.reshelve)
        self._report_full()

    def reshelve(self) -> None:
        """Put on the shelves what may be shown: the catalog, or stubs where there is none."""
        before = len(self._encoded)
        self.shelves = build_shelves(self.columns, not self.has_catalog, now_ms())
        del self._encoded[:before]

    def note_encoded(self, rows: Rows) -> None:
        """Note the rows that have got their text vectors, until they are on the shelves."""
        self._encoded = [*self._encoded, *rows.tolist()][-MAX_ENCODED:]

    @property
    def encoded(self) -> Rows:
        """The rows whose text vectors are newer than the shelves, the newest first."""
        return np.array(self._encoded[::-1], np.int32)

    def tidy(self) -> None:
        """Forget texts of items that are not in memory any more."""
        if self.columns.has_many_unused_texts:
            self.columns.drop_unused_texts()
            self.reshelve()  # at once: shelves keep codes

    def describe(self) -> dict[str, Any]:
        """The state for `/healthz`: rows in memory, the catalog's size where it is known, bounds
        that are reached, and values by attribute that are not of its type.
        """
        return {
            "items": len(self),
            "stubs": len(self._stubs),
            "catalog": self._in_table,
            "full": list(self._full()),
            "mistyped": self.columns.attributes.mistyped,
        }

    async def refresh(self) -> None:
        """Read the next of the wanted rows. Raises `Unavailable`."""
        share = min(LATER_SHARE, len(self._wanted_later))
        batch = [*islice(self._wanted, REFRESH_BATCH - share)]
        later = [*islice(self._wanted_later, REFRESH_BATCH - len(batch))]
        for item_id in batch:
            del self._wanted[item_id]
        for item_id in later:
            del self._wanted_later[item_id]
        if batch or later:
            await self._read([*batch, *later], background=True)

    async def reread(self, ids: Sequence[str]) -> None:
        """Read rows that have changed. Raises `Unavailable`."""
        await self._read(ids, background=True)

    async def keep_fresh(self) -> None:
        """Refresh and reshelve, and beside that rescan; runs until cancelled."""
        is_fresh = self._scanned() and self._snapshot_ms is None
        self._rescan_at = self._clock() + (RESCAN_S if is_fresh else 0.0)
        self._reshelve_at = self._clock() + RESHELVE_S
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(self._freshen))
            tasks.create_task(_repeat(self._rescan_when_due))

    async def _freshen(self) -> None:
        """Put rows on their shelves when that is due, and read those that are wanted.

        Raises `Unavailable`.
        """
        if self._clock() >= self._reshelve_at:
            began = self._clock()
            self.tidy()
            await asyncio.to_thread(self.reshelve)
            # With many items it takes its time: never more than a hundredth of all time.
            self._reshelve_at = self._clock() + max(RESHELVE_S, 100 * (self._clock() - began))
        await self.refresh()

    async def _rescan_when_due(self) -> None:
        if self._clock() >= self._rescan_at:
            await self._rescan()

    async def _rescan(self) -> None:
        """Load, and set the time to do it again: soon after a change or a failure, seldom when it
        takes long.
        """
        before, began, pause_s = self._scanned(), self._clock(), RESCAN_GROWING_S
        try:
            await self._catch_up()
            await self.load()
            if self._scanned() == before > 0:
                pause_s = RESCAN_S
        except Unavailable as error:
            log.warning("the catalog could not be read to its end: %s", error)
            raise
        finally:
            took_s = self._clock() - began
            self._rescan_at = self._clock() + max(pause_s, RESCAN_SHARE * took_s)

    async def _catch_up(self) -> None:
        """Read what was written since the snapshot, long before a whole scan comes to it. Raises
        `Unavailable`.
        """
        if self._snapshot_ms is None:
            return
        scan, since_ms = _CatalogScan(self._clock()), self._snapshot_ms
        await self._reader.written_since(since_ms, lambda row: self._take(row, scan))
        self._snapshot_ms = None
        await asyncio.to_thread(self.reshelve)
        log.info("%d items changed since the snapshot", scan.items)

    async def _read(
        self, ids: Sequence[str], background: bool = False, as_seeds: bool = False
    ) -> None:
        began = self._clock()
        found = await self._reader.items(ids, background)
        overtaken = [item_id for item_id in ids if self._is_newer(item_id, began)]
        for item_id in ids:
            if item_id in overtaken:
                continue
            row = found.get(item_id)
            if row is None:
                self._note_missing(item_id, began)
                continue
            self._put(row, began)
            if as_seeds or item_id in self._seen:
                self._see(row, began)
        if overtaken and as_seeds:
            await self._read(overtaken, background, as_seeds)

    async def _load_stubs(self) -> None:
        """Read the stubs, and keep the most wanted."""
        kept: list[tuple[float, str]] = []  # a heap by popularity
        limit, began = self._max_stubs, self._clock()

        def take(row: ItemRow) -> bool:
            entry = (row.stats.log2_popularity() or 0.0, row.item.item_id)
            if len(kept) < limit:
                heappush(kept, entry)
            else:
                weakest = heappushpop(kept, entry)
                if weakest == entry:
                    return True
                if weakest[1] in self._stubs:  # beside a scan, another read may have moved it
                    self._forget(weakest[1])
            if not self._is_newer(row.item.item_id, began):
                self._put(row, began)
            return True

        await self._reader.scan(take, with_stubs=True)

    @property
    def _max_stubs(self) -> int:
        limit = MAX_STUBS_BESIDE_CATALOG if self.has_catalog else MAX_STUBS
        return min(limit, self._max_items)

    def _full(self) -> dict[str, str]:
        """The rows that fill its place, and the sentence for the log."""
        full = {}
        if self._in_table is not None and self._in_table > self._max_items:
            full["catalog"] = (
                f"the catalog holds {self._in_table} items and {self._max_items} fit into memory: "
                "the others are not"
                " recommended. Raise FRESHET_MAX_ITEMS, or the memory that it follows from"
            )
        if len(self._stubs) >= self._max_stubs:
            full["stubs"] = (
                f"{len(self._stubs)} items that no catalog holds fill their place in memory"
            )
        if self.columns.attributes.left_out:
            full["attributes"] = (
                f"the catalog has more than {MAX_COLUMNS} attributes: filters know those that came"
                " first alone. Declare those that they are to know in FRESHET_ATTRIBUTES"
            )
        return full

    def _scanned(self) -> int:
        """The number of items that the last whole scan found, stubs where there is no catalog."""
        if self._in_table == 0:
            return len(self._stubs)
        return self._in_table or 0

    def _report_full(self) -> None:
        for sentence in self._full().values():
            log.error("%s", sentence)

    def _last_read_at(self, item_id: str) -> float:
        """The time at which the item was read, or looked for, last."""
        row = self.columns.row(item_id)
        if row != NO_ROW:
            return float(self._read_at[row])
        return self._missing.get(item_id, _NEVER)

    def _seen_at(self, item_id: str) -> float:
        """The time at which `ensure` read the item, or looked for it, last."""
        seen = self._seen.get(item_id)
        if seen is not None:
            return seen.read_at
        return self._missing.get(item_id, _NEVER)

    def _take(self, row: ItemRow, scan: _CatalogScan) -> bool:
        """Keep a scanned row that is known or fits; the scan goes on either way, to what is
        known."""
        scan.items += 1
        scan.categories.add(row.item.category)
        fits = row.item.item_id in self.columns or self._in_catalog < self._max_items
        if fits and not self._is_newer(row.item.item_id, scan.began):
            self._put(row, scan.began)
        return True

    @property
    def _in_catalog(self) -> int:
        """Items of the catalog in memory."""
        return len(self.columns) - len(self._stubs)

    def _is_newer(self, item_id: str, began: float) -> bool:
        """True where what is known of the item comes from a read that began after this one: a row
        that was under way must not hide a change.
        """
        return self._last_read_at(item_id) > began

    def _put(self, row: ItemRow, read_at: float) -> None:
        item_id = row.item.item_id
        self._missing.pop(item_id, None)
        self._stubs.pop(item_id, None)
        if row.item.stub:
            self._stubs[item_id] = None
        else:
            self._categories.add(row.item.category)
        self._read_at[self.columns.put(row)] = read_at
        self._forget_stubs()
        if self._in_catalog > self._max_items:
            self._forget_longest_unread(1 + self._max_items // _FORGOTTEN_AT_ONCE)

    def _see(self, row: ItemRow, read_at: float) -> None:
        seed = Seed(row.stats)
        self.rows(seed.touched.ids)  # those that are not in memory are wanted
        self._seen.pop(row.item.item_id, None)
        self._seen[row.item.item_id] = _Seen(row, seed, read_at)
        if len(self._seen) > MAX_SEEDS:
            del self._seen[next(iter(self._seen))]

    def _note_missing(self, item_id: str, read_at: float) -> None:
        self._forget(item_id)
        self._seen.pop(item_id, None)
        self._missing.pop(item_id, None)
        self._missing[item_id] = read_at
        if len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]

    def _forget_stubs(self) -> None:
        """Forget the stubs that do not fit, the longest unread first."""
        while len(self._stubs) > self._max_stubs:
            self._forget(next(iter(self._stubs)))

    def _forget_unread_since(self, began: float) -> None:
        """Forget the items of the catalog that a whole scan which began then has not found."""
        rows = self.columns.all_rows()
        is_gone = (self._read_at[rows] < began) & ~self.columns.stub.get(rows)
        for item_id in self.columns.ids(rows[is_gone]):
            self._forget(item_id)

    def _forget_longest_unread(self, n: int) -> None:
        """Forget so many items of the catalog."""
        rows = self.columns.all_rows()
        rows = rows[~self.columns.stub.get(rows)]
        for item_id in self.columns.ids(rows[greatest(-self._read_at[rows], n)]):
            self._forget(item_id)

    def _forget(self, item_id: str) -> None:
        self.columns.remove(item_id)
        self._stubs.pop(item_id, None)


@dataclass
class _CatalogScan:
    """Items and categories found in one scan of the catalog, and when it began."""

    began: float
    items: int = 0
    categories: set[str] = field(default_factory=set)


async def _repeat(step: Callable[[], Awaitable[None]]) -> None:
    """Take the step again and again, after a failure a second later."""
    while True:
        await asyncio.sleep(REFRESH_S)
        try:
            await step()
        except Unavailable as error:
            log.info("items stay as they are: %s", error)
            await asyncio.sleep(1.0)
        except Exception:  # one odd row must not leave all others as they are for ever
            log.exception("items stay as they are")
            await asyncio.sleep(1.0)


def _note(queue: dict[str, None], item_id: str) -> None:
    if len(queue) < MAX_WANTED:
        queue[item_id] = None
