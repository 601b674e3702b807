"""The moment by which an answer is wanted: what is not there by then, it goes without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from math import inf
from typing import TypeVar

from vertex.api.breaker import Unavailable
from vertex.api.timing import StageTimer

T = TypeVar("T")


class TooLate(Exception):
    """The deadline passed before the answer was begun (503): a request that waited that long."""


class Deadline:
    """Of one answer, from the arrival of its request.

    Args:
        ms: after the arrival; None: there is none.
        watch: begun at the arrival.
    """

    def __init__(self, ms: int | None, watch: StageTimer) -> None:
        self._ms = ms
        self._watch = watch

    @classmethod
    def to_begin(cls, ms: int | None, watch: StageTimer) -> Deadline:
        """The deadline of an answer that is begun now.

        Raises:
            TooLate: when it has passed.
        """
        deadline = cls(ms, watch)
        if deadline.left_s <= 0.0:
            raise TooLate(f"deadline_ms: {ms} ms passed before the request was begun")
        return deadline

    @property
    def left_s(self) -> float:
        """Seconds until then, below 0 afterwards; infinite where there is no deadline."""
        if self._ms is None:
            return inf
        return (self._ms - self._watch.total_ms) / 1000

    async def within(self, work: Awaitable[T]) -> T:
        """The result of the work.

        Raises:
            Unavailable: when it is not there in time; the work is cancelled.
        """
        if self._ms is None:
            return await work
        try:
            async with asyncio.timeout(self.left_s):
                return await work
        except TimeoutError:
            raise Unavailable("deadline: passed") from None


NO_DEADLINE = Deadline(None, StageTimer())
