"""Trending items of a scope in memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.store.layout import GLOBAL_SCOPE, STUB_SCOPE
from vertex.api.breaker import Unavailable
from vertex.api.reader import Reads
from vertex.api.shelves import SHELF

log = logging.getLogger(__name__)

# How old what is trending may be before it is read again, and before that is waited for.
TRENDING_SOFT_S, TRENDING_HARD_S = 1.0, 10.0
CATEGORY_SOFT_S = 3.0
# After a read that failed, no request waits for the scope for so long.
TRENDING_RETRY_S = 3.0
MAX_SCOPES = 2_000

_NEVER = float("-inf")

# Item id -> score as a share of the best, best first.
Ranked = dict[str, float]


@dataclass
class _Scope:
    """A scope as last read, and when: at all, and with success."""

    ranked: Ranked = field(default_factory=dict)
    tried_at: float = _NEVER
    read_at: float = _NEVER


class TrendingCache:
    """Trending items of a scope, as fresh as the limits above say where it is asked for often.

    Scores are shares of the scope's most popular item, in [0, 1]; decay moves all alike, so they
    keep.
    """

    def __init__(self, reader: Reads, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._scopes: dict[str, _Scope] = {}  # longest untried first
        self._reads: dict[str, asyncio.Task[None]] = {}

    async def top(self, scopes: Sequence[str]) -> dict[str, Ranked]:
        """Each scope's items, best first; waits only for what is unknown or older than
        `TRENDING_HARD_S`.

        Without Bigtable it is what was last known, or nothing; it is asked again after
        `TRENDING_RETRY_S`.
        """
        now = self._clock()
        waiting = []
        for scope in scopes:
            known = self._scopes.get(scope, _Scope())
            age_s = now - known.read_at
            is_of_all = scope in (GLOBAL_SCOPE, STUB_SCOPE)
            if age_s > (TRENDING_SOFT_S if is_of_all else CATEGORY_SOFT_S):
                self._start(scope, now - known.tried_at)
            if age_s > TRENDING_HARD_S and scope in self._reads:
                waiting.append(self._reads[scope])
        if waiting:
            await asyncio.wait(waiting)
        return {scope: self.known(scope) for scope in scopes}

    def known(self, scope: str) -> Ranked:
        """The scope's items as last read."""
        return self._scopes.get(scope, _Scope()).ranked

    def _start(self, scope: str, since_tried_s: float) -> None:
        """Read the scope, unless that is going on or has failed a moment ago."""
        known = self._scopes.get(scope, _Scope())
        failed = known.tried_at > known.read_at
        if scope in self._reads or (failed and since_tried_s < TRENDING_RETRY_S):
            return
        task = self._reads[scope] = asyncio.create_task(self._read(scope))
        task.add_done_callback(lambda _: self._reads.pop(scope, None))

    async def _read(self, scope: str) -> None:
        known = self._scopes.get(scope, _Scope())
        try:
            trending = await self._reader.trending(scope)
        except Unavailable as error:
            log.debug("trending in %s stays as it is: %s", scope, error)
            self._keep(scope, _Scope(known.ranked, self._clock(), known.read_at))
            return
        top = trending.top(trending.newest_ms, SHELF)
        best = max((score for _, score in top), default=0.0) or 1.0
        now = self._clock()
        self._keep(scope, _Scope({item_id: score / best for item_id, score in top}, now, now))

    def _keep(self, scope: str, found: _Scope) -> None:
        self._scopes.pop(scope, None)
        self._scopes[scope] = found
        if len(self._scopes) > MAX_SCOPES:
            del self._scopes[next(iter(self._scopes))]
