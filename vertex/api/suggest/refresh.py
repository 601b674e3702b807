"""Suggestions in memory, kept fresh: new titles and queries are found within seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

import numpy as np

from pipeline.core.item_columns import NO_ROW, ItemColumns
from pipeline.core.queries import TopQueries
from pipeline.runtime.clock import now_ms
from vertex.api.breaker import Unavailable
from vertex.api.suggest.answer import Suggester
from vertex.api.suggest.index import WordIndex
from vertex.api.suggest.phrases import (
    PhraseWatch,
    brand_entries,
    category_entries,
    query_entries,
)
from vertex.api.suggest.segment import Entry
from vertex.api.suggest.titles import TitleWatch, ranks_of, suggested_rows

log = logging.getLogger(__name__)

REFRESH_S = 1.0
REFRESH_SHARE = 20
"""Looking for what changed takes at most one part in so many of all time."""
SLICE_S = 0.001
"""Work goes on without a pause for so long."""

T = TypeVar("T")


class ReadsQueries(Protocol):
    """The part of `Reads` that is needed here."""

    async def top_queries(self) -> TopQueries:
        """The public queries that are searched for most. Raises `Unavailable`."""


class Suggestions:
    """Both indexes, made from the items in memory and the top queries in Bigtable.

    Without Bigtable, queries are those that were read last. All work is done in slices of about a
    millisecond on the event loop, so that no answer waits for it; sorting the keys of 100,000
    titles takes 50 ms, at the start and when that many are merged.

    Args:
        reader: reads the top queries.
        columns: gives the items in memory.

    Attributes:
        version: grows with each refresh; until then the same is suggested to all.
    """

    def __init__(self, reader: ReadsQueries, columns: Callable[[], ItemColumns]) -> None:
        self._reader, self._columns = reader, columns
        self.version = 0
        self._phrases, self._titles = WordIndex(), WordIndex()
        self._phrase_watch, self._title_watch = PhraseWatch(), TitleWatch()
        self._top = TopQueries()
        self._queries: list[Entry] = []
        self.suggester = Suggester(self._phrases, self._titles, self._category_of)

    def describe(self) -> dict[str, Any]:
        """The state for `/healthz`."""
        return {"titles": len(self._titles), "phrases": len(self._phrases)}

    async def keep_fresh(self) -> None:
        """Refresh again and again; runs until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.refresh()
            except Exception:  # one odd text must not leave all others as they are for ever
                log.exception("suggestions stay as they are")
            took_s = time.monotonic() - began
            await asyncio.sleep(max(REFRESH_S, REFRESH_SHARE * took_s))

    async def refresh(self) -> None:
        """Take what changed of items and queries into the indexes."""
        await self._read_queries()
        changes = await _in_slices(self._title_watch.look(self._columns(), now_ms()))
        await _in_slices(self._titles.apply(changes))
        entries = await _in_slices(self._entries())
        await _in_slices(self._phrases.apply(self._phrase_watch.look(entries)))
        self.version += 1

    async def _read_queries(self) -> None:
        try:
            top = await self._reader.top_queries()
        except Unavailable as error:
            log.debug("queries stay as they are: %s", error)
            return
        if top != self._top:
            self._top, self._queries = top, query_entries(top)

    def _entries(self) -> Generator[None, None, list[Entry]]:
        """All phrases that there are now, each kind in a slice."""
        columns, at_ms = self._columns(), now_ms()
        rows = suggested_rows(columns, at_ms)
        ranks = ranks_of(columns, rows, at_ms)
        yield
        categories = category_entries(columns, rows, ranks)
        yield
        brands = brand_entries(columns, rows, ranks)
        yield
        return [*self._queries, *categories, *brands]

    def _category_of(self, item_id: str) -> str | None:
        """The category of an item that may be shown now."""
        columns = self._columns()
        row = columns.row(item_id)
        at = np.array([row], np.int32)
        if row == NO_ROW or not columns.is_sellable(at, now_ms())[0]:
            return None
        return columns.category.text(row)


async def _in_slices(work: Generator[None, None, T]) -> T:
    """Do the work, and let the event loop do its own after each millisecond of it."""
    began = time.perf_counter()
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if time.perf_counter() - began > SLICE_S:
            await asyncio.sleep(0)
            began = time.perf_counter()
