"""Reads from Bigtable that give up in time: a deadline for each, a breaker for all, and a way
back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from pipeline.core.items import ItemRow, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.queries import TopQueries
from pipeline.runtime.time_limit import TimeLimit
from pipeline.store.catalog import WRITE_S, CatalogTable, Change
from pipeline.store.serving import SCAN_S, AsyncStore
from vertex.api.breaker import Breaker, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

WATCH_S = 1.0
PING_S = 0.5
BULK_S = 1.0
# A channel whose server is gone waits ever longer before it tries again; a new one tries at once.
RECONNECT_AFTER_PINGS = 3


class Reads(Protocol):
    """Reads of the API. Every method raises `Unavailable` when there is no answer in time."""

    async def profile(self, key: str) -> UserProfile | None:
        """The visitor's profile, or None for an unknown one."""

    async def items(self, ids: Sequence[str], background: bool = False) -> dict[str, ItemRow]:
        """Those of the items that exist; what no request waits for may take longer."""

    async def trending(self, scope: str) -> Trending:
        """Trending items of the scope."""

    async def top_queries(self) -> TopQueries:
        """The public queries that are searched for most; no request waits for them."""

    async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
        """Give every item of the catalog to `take` until it returns False; `with_stubs`, every item
        that is known.

        Returns how many rows were left out because they cannot be read.
        """

    async def written_since(self, since_ms: int, take: Callable[[ItemRow], bool]) -> None:
        """Give every item of the catalog that was written since to `take`, until that returns
        False.
        """


class Reader:
    """The store as serving needs it: every method answers within its deadline or raises
    `Unavailable`.

    Args:
        connect: makes the store; called again when it has been silent for some seconds.
        deadline_s: for what a visitor waits for; background reads may take longer.
        watch_s: how often to ask whether it is there.
    """

    def __init__(
        self, connect: Callable[[], AsyncStore], deadline_s: float, watch_s: float = WATCH_S
    ) -> None:
        self._connect = connect
        self._promptly = TimeLimit(deadline_s)
        self._in_bulk = TimeLimit(BULK_S)
        self._scanning = TimeLimit(SCAN_S)
        self._writing = TimeLimit(WRITE_S)
        self._pinging = TimeLimit(PING_S)
        self._watch_s = watch_s
        self._store = connect()
        self._left_out = 0  # by the stores before this one
        self._breaker = Breaker("bigtable")

    @property
    def is_up(self) -> bool:
        """True where Bigtable answers, as far as known."""
        return not self._breaker.is_open

    @property
    def unreadable(self) -> int:
        """Number of rows left out because they cannot be read, since the start."""
        return self._left_out + self._store.unreadable

    async def profile(self, key: str) -> UserProfile | None:
        """The visitor's profile; None for an unknown one, and for one that cannot be read."""
        limit = self._promptly
        return await self._guarded(lambda: self._store.read_profile(key, limit.seconds), limit)

    async def items(self, ids: Sequence[str], background: bool = False) -> dict[str, ItemRow]:
        """Those of the items that exist."""
        limit = self._in_bulk if background else self._promptly
        return await self._guarded(lambda: self._store.read_items(ids, limit.seconds), limit)

    async def trending(self, scope: str) -> Trending:
        """Trending items of the scope."""
        limit = self._promptly
        return await self._guarded(lambda: self._store.read_trending(scope, limit.seconds), limit)

    async def top_queries(self) -> TopQueries:
        """The public queries that are searched for most."""
        return await self._guarded(lambda: self._store.read_top_queries(BULK_S), self._in_bulk)

    async def scan(self, take: Callable[[ItemRow], bool], with_stubs: bool) -> int:
        """Give every item of the catalog to `take` until it returns False; `with_stubs`, every item
        that is known.

        Returns how many rows were left out because they cannot be read.
        """
        store, before = self._store, self._store.unreadable
        await self._guarded(lambda: _feed(store.scan_items(with_stubs), take), self._scanning)
        unreadable = store.unreadable - before
        if unreadable:
            log.error("%d items cannot be read: %s", unreadable, store.unreadable_reason)
        return unreadable

    async def changes(self, since_ms: int) -> list[Change]:
        """Changes of the catalog from this moment on, the oldest first."""
        read = self._store.catalog.changes
        return await self._guarded(lambda: read(since_ms, BULK_S), self._in_bulk)

    async def write(self, write: Callable[[CatalogTable], Awaitable[T]]) -> T:
        """The result of a write of the catalog."""
        return await self._guarded(lambda: write(self._store.catalog), self._writing)

    async def written_since(self, since_ms: int, take: Callable[[ItemRow], bool]) -> None:
        """Give every item of the catalog that was written since to `take`, until that returns
        False.
        """
        rows = self._store.scan_items(with_stubs=False, since_ms=since_ms)
        await self._guarded(lambda: _feed(rows, take), self._scanning)

    async def ping(self) -> None:
        """Ask for one row, also when the breaker is open."""
        await self._timed(lambda: self._store.ping(PING_S), self._pinging)

    async def watch(self) -> None:
        """Ask now and then whether Bigtable is there; runs until cancelled."""
        silent = 0
        while True:
            await asyncio.sleep(self._watch_s)
            try:
                silent = 0 if await self._answers() else silent + 1
                if silent and silent % RECONNECT_AFTER_PINGS == 0:
                    await self._reconnect()
            except Exception:  # any error of a client library: the next look is in a second
                log.exception("looking after Bigtable failed")

    async def _answers(self) -> bool:
        try:
            await self.ping()
        except Unavailable as error:
            log.debug("%s", error)
            return False
        return True

    async def _reconnect(self) -> None:
        """Take a new store, then close the old one: in between no read finds a closed one."""
        log.warning("bigtable is silent; connecting anew")
        old, self._store = self._store, self._connect()
        self._left_out += old.unreadable
        await old.close()

    async def close(self) -> None:
        """Close the channel."""
        await self._store.close()

    async def _guarded(self, read: Callable[[], Awaitable[T]], limit: TimeLimit) -> T:
        self._breaker.check()
        return await self._timed(read, limit)

    async def _timed(self, read: Callable[[], Awaitable[T]], limit: TimeLimit) -> T:
        try:
            with limit:
                answer = await read()
        except Exception as error:
            # the client library's own, its transport's, a closed channel's: all mean no answer
            self._breaker.failed()
            raise Unavailable(f"bigtable: {type(error).__name__}") from error
        except asyncio.CancelledError:
            # Closing a channel cancels what runs on it, which is no wish to end the task that
            # waits.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unavailable("bigtable: the channel was closed") from None
        self._breaker.succeeded()
        return answer


async def _feed(rows: AsyncIterator[ItemRow], take: Callable[[ItemRow], bool]) -> None:
    async for row in rows:
        if not take(row):
            return
