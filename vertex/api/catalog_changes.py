"""Follows the changes of the catalog, so that a price or a stock is seen within a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from pipeline.store.catalog import Change
from vertex.api.breaker import Unavailable

log = logging.getLogger(__name__)

POLL_S = 0.25
RETRY_S = 1.0
# A writer's clock may be behind ours, and its note a while under way: notes are looked for so far
# back.
OVERLAP_MS = 10_000
# So many items are read at once.
BATCH = 50


class ReadsChanges(Protocol):
    """Reads notes of changes; raises `Unavailable` when there is no answer in time."""

    async def changes(self, since_ms: int) -> list[Change]:
        """The notes from this moment on, the oldest first."""


class CatalogTail:
    """Hands on the ids of changed items, each change once.

    A note counts as handed on when `on_changed` has returned, so one that failed is handed on
    again. While many items change, handing on takes half of all time at most.

    Args:
        reader: where notes come from.
        on_changed: reads these items again, `BATCH` at most; may raise `Unavailable`.
        now_ms: wall clock, ms since the Unix epoch.
    """

    def __init__(
        self,
        reader: ReadsChanges,
        on_changed: Callable[[Sequence[str]], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._on_changed = on_changed
        self._now_ms = now_ms
        self._read_at_ms = now_ms()
        self._seen: dict[str, int] = {}  # keys of notes within the overlap, and their times

    async def follow(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                await self.poll()
                await asyncio.sleep(POLL_S)
            except Unavailable as error:
                log.info("changes of the catalog are late: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:  # one odd note must not end the others
                log.exception("changes of the catalog are late")
                await asyncio.sleep(RETRY_S)

    async def catch_up(self, since_ms: int) -> None:
        """Hand on what has changed since a moment before the start. Where that fails, `follow`
        begins at the start all the same: the rest is for a scan.

        Raises `Unavailable`.
        """
        start_ms = self._read_at_ms
        self._read_at_ms = since_ms
        try:
            await self.poll()
        finally:
            self._read_at_ms = max(self._read_at_ms, start_ms)

    async def poll(self) -> None:
        """Hand on what has changed since the last poll. Raises `Unavailable`."""
        began_ms = self._now_ms()
        since_ms = self._read_at_ms - OVERLAP_MS
        changes = await self._reader.changes(since_ms)
        for group in _groups([change for change in changes if change.key not in self._seen]):
            await self._hand_on(list(dict.fromkeys(chain(*(change.ids for change in group)))))
            self._seen.update((change.key, change.at_ms) for change in group)
        self._read_at_ms = began_ms
        self._forget(began_ms - OVERLAP_MS)

    async def _hand_on(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            began = time.monotonic()
            await self._on_changed(batch)
            if len(batch) == BATCH:
                await asyncio.sleep(time.monotonic() - began)

    def _forget(self, before_ms: int) -> None:
        """Forget the notes that no poll finds again."""
        for key in [key for key, at_ms in self._seen.items() if at_ms < before_ms]:
            del self._seen[key]


def _groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """The changes in their order, together as many as fill a batch."""
    group: list[Change] = []
    for change in changes:
        group.append(change)
        if sum(len(each.ids) for each in group) >= BATCH:
            yield group
            group = []
    if group:
        yield group
