"""The items in memory: all that fit, what visitors are at kept fresh, so that an answer reads next to nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

import numpy as np

from pipeline.core.embedding import CONTEXT_DIM
from pipeline.core.items import IMPRESSION, ItemRow, RatePriors
from pipeline.store import GLOBAL_SCOPE, now_ms
from vertex.api.breaker import Unavailable
from vertex.api.reader import Reads
from vertex.model import VectorIndex
from vertex.priors import fitted_priors

log = logging.getLogger(__name__)

# An item shown less often than this is new: exploration may give it a slot.
NEW_IMPRESSIONS = 20
# Of each shelf so many are kept: nobody is shown more.
SHELF = 300
# Of so many items, those touched last, the context vectors are searched: 256 bytes each, and some 0.1 ms a question
# for every 5,000 of them.
MAX_CONTEXTS = 20_000

# All items are read again now and then, and soon while there are none or more each time: the catalog is being loaded.
RESCAN_S, RESCAN_GROWING_S = 60.0, 3.0
# A scan of very many items takes its time: then it comes more seldom, for one part in so many of all time at most.
RESCAN_SHARE = 10
RESHELVE_S = 5.0
REFRESH_S = 0.1
REFRESH_BATCH = 40
# How old what is trending may be before it is read again, and before that is waited for.
TRENDING_SOFT_S, TRENDING_HARD_S = 1.0, 10.0
CATEGORY_SOFT_S = 3.0
MAX_SCOPES = 2_000
# So many ids of items that do not exist are remembered, so that they are not asked for again and again.
MAX_MISSING = 1_000

_NEVER = float("-inf")

# Item id -> score as a share of the best, best first.
Ranked = dict[str, float]


@dataclass(frozen=True)
class Shelves:
    """The items in stock in order: by decayed views, all and by category, and those that few have seen.

    `priors` are fitted to all items: what an item's rates are before it has data of its own. `contexts` holds the
    unit vectors `(CONTEXT_DIM,)` of the company that those in stock keep, of the newest `MAX_CONTEXTS`.
    """

    popular: list[str] = field(default_factory=list)
    by_category: dict[str, list[str]] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    new_by_category: dict[str, list[str]] = field(default_factory=dict)
    has_catalog: bool = False
    priors: RatePriors = field(default_factory=RatePriors)
    contexts: VectorIndex = field(default_factory=VectorIndex.empty)


def build_shelves(rows: Iterable[ItemRow], at_ms: int) -> Shelves:
    """Put the rows on shelves; stubs stand there only while there is nothing else.

    `at_ms` is the moment to which the views decay; it changes the numbers, not their order.
    """
    rows = list(rows)
    in_stock = [row for row in rows if row.item.in_stock]
    has_catalog = any(not row.item.stub for row in in_stock)
    shown = [row for row in in_stock if not (has_catalog and row.item.stub)]
    shown.sort(key=lambda row: (-row.stats.views(at_ms), row.item.item_id))
    shelves = Shelves(has_catalog=has_catalog, priors=fitted_priors(rows), contexts=build_contexts(shown))
    for row in shown:
        _append(shelves.popular, row)
        _append(shelves.by_category.setdefault(row.item.category, []), row)
        if row.stats.counts.totals.get(IMPRESSION, 0) < NEW_IMPRESSIONS:
            _append(shelves.new, row)
            _append(shelves.new_by_category.setdefault(row.item.category, []), row)
    return shelves


def build_contexts(rows: Iterable[ItemRow], limit: int = MAX_CONTEXTS) -> VectorIndex:
    """The directions of the rows' context vectors, of the `limit` touched last; items without one stay out."""
    known = [row for row in rows if row.stats.context.values]
    newest = nlargest(limit, known, key=lambda row: row.stats.newest_ms)
    sums = np.frombuffer(b"".join(row.stats.context.values for row in newest)).reshape(-1, CONTEXT_DIM)
    lengths = np.sqrt((sums * sums).sum(axis=1))
    usable = lengths > 0  # a pair that was taken back leaves nothing
    units = (sums[usable] / lengths[usable, None]).astype(np.float32)  # (n, CONTEXT_DIM)
    return VectorIndex([row.item.item_id for row, is_usable in zip(newest, usable, strict=True) if is_usable], units)


def _append(shelf: list[str], row: ItemRow) -> None:
    if len(shelf) < SHELF:
        shelf.append(row.item.item_id)


class ItemCache:
    """Item rows by id, bounded, with the age of each.

    Args:
        reader: where rows come from.
        max_items: how many to keep; the longest unread go first. Items looked for and not there take no such place.
        clock: monotonic seconds.
    """

    def __init__(self, reader: Reads, max_items: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._max_items = max_items
        self._clock = clock
        self._rows: dict[str, ItemRow] = {}  # oldest read first
        self._missing: dict[str, None] = {}  # looked for and not there, oldest read first
        self._read_at: dict[str, float] = {}  # of both
        self._wanted: dict[str, None] = {}
        self._rescan_at = self._reshelve_at = _NEVER
        self.shelves = Shelves()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, item_id: str) -> ItemRow | None:
        """The row as last read, however old; None for an unknown item."""
        return self._rows.get(item_id)

    def rows(self, ids: Iterable[str]) -> list[ItemRow]:
        """The rows of those that are known, in the order of `ids`."""
        rows = self._rows
        return [row for row in (rows.get(item_id) for item_id in ids) if row is not None]

    def want(self, ids: Iterable[str], max_age_s: float) -> None:
        """Ask for fresh rows of those read more than `max_age_s` ago; they come in the background."""
        read_at, oldest = self._read_at, self._clock() - max_age_s
        for item_id in ids:
            if read_at.get(item_id, _NEVER) < oldest:
                self._wanted[item_id] = None

    async def ensure(self, ids: Sequence[str], soft_s: float, hard_s: float) -> None:
        """Wait for the rows that are missing or older than `hard_s`; want those older than `soft_s`.

        Raises:
            Unavailable: what could be had is had; the rest stays as it was.
        """
        oldest = self._clock() - hard_s
        stale = [item_id for item_id in ids if self._read_at.get(item_id, _NEVER) < oldest]
        if stale:
            await self._read(stale)
        self.want(ids, soft_s)

    async def load(self) -> None:
        """Read all items, as many as fit, and put them on their shelves. Raises `Unavailable`."""
        await self._reader.scan(self._take)
        self.reshelve()

    def reshelve(self) -> None:
        """Put what is known on its shelves anew."""
        self.shelves = build_shelves(self._rows.values(), now_ms())

    async def refresh(self) -> None:
        """Read the next of the wanted rows. Raises `Unavailable`."""
        batch = list(self._wanted)[:REFRESH_BATCH]
        for item_id in batch:
            del self._wanted[item_id]
        if batch:
            await self._read(batch, background=True)

    async def keep_fresh(self) -> None:
        """Refresh, rescan and reshelve in turn; runs until cancelled."""
        self._rescan_at = self._clock() + (RESCAN_S if len(self) else 0.0)
        self._reshelve_at = self._clock() + RESHELVE_S
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self._freshen()
            except Unavailable as error:
                log.info("items stay as they are: %s", error)
                await asyncio.sleep(1.0)
            except Exception:  # one odd row must not leave all others as they are for ever
                log.exception("items stay as they are")
                await asyncio.sleep(1.0)

    async def _freshen(self) -> None:
        """What is due of the three. Raises `Unavailable`."""
        if self._clock() >= self._reshelve_at:
            began = self._clock()
            self.reshelve()
            # With many items it takes its time: never more than a hundredth of all time.
            self._reshelve_at = self._clock() + max(RESHELVE_S, 100 * (self._clock() - began))
        if self._clock() >= self._rescan_at:
            await self._rescan()
        await self.refresh()

    async def _rescan(self) -> None:
        """Load, and set the time to do it again: soon after a change or a failure, seldom when it takes long."""
        before, began, pause_s = len(self), self._clock(), RESCAN_GROWING_S
        try:
            await self.load()
            pause_s = RESCAN_S if len(self) == before > 0 else RESCAN_GROWING_S
        finally:
            took_s = self._clock() - began
            self._rescan_at = self._clock() + max(pause_s, RESCAN_SHARE * took_s)

    async def _read(self, ids: Sequence[str], background: bool = False) -> None:
        found = await self._reader.items(ids, background)
        for item_id in ids:
            self._put(item_id, found.get(item_id))

    def _take(self, row: ItemRow) -> bool:
        """Keep a scanned row that is known or fits; the scan goes on either way, to what is known."""
        if row.item.item_id in self._rows or len(self._rows) < self._max_items:
            self._put(row.item.item_id, row)
        return True

    def _put(self, item_id: str, row: ItemRow | None) -> None:
        self._rows.pop(item_id, None)
        self._missing.pop(item_id, None)
        self._read_at[item_id] = self._clock()
        if row is not None:
            self._rows[item_id] = row
            self._forget_oldest(self._rows, self._max_items)
        else:
            self._missing[item_id] = None
            self._forget_oldest(self._missing, MAX_MISSING)

    def _forget_oldest(self, known: dict[str, Any], limit: int) -> None:
        while len(known) > limit:
            oldest = next(iter(known))
            del known[oldest], self._read_at[oldest]


class TrendingCache:
    """What is trending in a scope, as fresh as the limits above say where it is asked for often.

    Scores are shares of the scope's most popular item, in [0, 1]; decay moves all alike, so they keep.
    """

    def __init__(self, reader: Reads, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._ranked: dict[str, tuple[float, Ranked]] = {}
        self._reads: dict[str, asyncio.Task[None]] = {}

    async def top(self, scopes: Sequence[str]) -> dict[str, Ranked]:
        """Each scope's items, best first; waits only for what is unknown or older than `TRENDING_HARD_S`.

        Without Bigtable it is what was last known, or nothing.
        """
        now = self._clock()
        ages = {scope: now - self._ranked[scope][0] if scope in self._ranked else None for scope in scopes}
        for scope, age in ages.items():
            if age is None or age > (TRENDING_SOFT_S if scope == GLOBAL_SCOPE else CATEGORY_SOFT_S):
                self._start(scope)
        late = [self._reads[scope] for scope, age in ages.items() if age is None or age > TRENDING_HARD_S]
        if late:
            await asyncio.wait(late)
        return {scope: self.known(scope) for scope in scopes}

    def known(self, scope: str) -> Ranked:
        """What was last read of the scope."""
        return self._ranked[scope][1] if scope in self._ranked else {}

    def _start(self, scope: str) -> None:
        if scope not in self._reads:
            task = self._reads[scope] = asyncio.create_task(self._read(scope))
            task.add_done_callback(lambda _: self._reads.pop(scope, None))

    async def _read(self, scope: str) -> None:
        try:
            trending = await self._reader.trending(scope)
        except Unavailable as error:
            log.debug("trending in %s stays as it is: %s", scope, error)
            return
        top = trending.top(trending.newest_ms, SHELF)
        best = max((score for _, score in top), default=0.0) or 1.0
        self._ranked.pop(scope, None)
        self._ranked[scope] = (self._clock(), {item_id: score / best for item_id, score in top})
        if len(self._ranked) > MAX_SCOPES:
            del self._ranked[next(iter(self._ranked))]
