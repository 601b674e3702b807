"""The events that wait to be sent: in order, in batches, never more than a bound. Many put, one sender takes.

It starts no thread and sends nothing; `threading.Condition` is all it needs of the outside, and the clock to wait by.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple

MAX_BATCH_BYTES = 512 * 1024
"""Of the events of one request; the collector takes twice as much."""


class _Queued(NamedTuple):
    payload: bytes
    number: int
    since_s: float


class Outbox:
    """Each event is settled once: stored, told of by the sender, dropped by `put`, or left by `abandon`.

    Args:
        batch_size: events that are taken at once, at most.
        flush_s: how long an event waits for others to go with.
        limit: events that are held, those under way included; the oldest that wait are dropped for new ones.
    """

    def __init__(self, batch_size: int, flush_s: float, limit: int) -> None:
        self._batch_size = self._most = batch_size
        self._flush_s = flush_s
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[_Queued] = deque()
        self._under_way: list[_Queued] = []
        self._is_answered = self._is_closed = False
        self._last = 0  # number of the event that was put last
        self._due_to = 0  # up to this number nobody waits for more
        self._dropped = 0

    # ---- for those who track -----------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether all is settled."""
        with self._changed:
            return not self._held()

    def put(self, payloads: list[bytes]) -> list[bytes]:
        """Add them; what was dropped for them.

        Raises:
            ValueError: after `close`.
        """
        with self._changed:
            if self._is_closed:
                raise ValueError("client: expected an open one, got one that was closed")
            now_s = time.monotonic()
            self._waiting.extend(_Queued(payload, self._last + i, now_s) for i, payload in enumerate(payloads, 1))
            self._last += len(payloads)
            excess = min(self._held() - self._limit, len(self._waiting))
            dropped = [self._waiting.popleft().payload for _ in range(excess)]
            self._dropped += len(dropped)
            if len(self._waiting) <= len(payloads) or len(self._waiting) >= self._most:
                self._changed.notify_all()
            return dropped

    def flush(self, timeout_s: float) -> bool:
        """Have all sent that was put so far, without waiting for more; whether it was settled in time."""
        with self._changed:
            last = self._due_to = self._last
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._is_settled(last), timeout_s)

    def close(self) -> None:
        """Take no more events; all are due."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def abandon(self) -> list[bytes]:
        """After `close`: send nothing any more. What was left, a batch without an answer included."""
        with self._changed:
            left = [*([] if self._is_answered else self._under_way), *self._waiting]
            if not self._is_answered:
                self._under_way = []
            self._waiting.clear()
            self._changed.notify_all()
            return [queued.payload for queued in left]

    # ---- for the sender ----------------------------------------------------------------------------------------

    def take(self) -> list[bytes]:
        """The next batch, once it is full, old enough or asked for; an empty one when there will be none."""
        with self._changed:
            while (wait_s := self._until_due_s()) is None or wait_s > 0:
                self._changed.wait(wait_s)
            size = 0
            while self._waiting and len(self._under_way) < self._most:
                size += len(self._waiting[0].payload)
                if self._under_way and size > MAX_BATCH_BYTES:
                    break
                self._under_way.append(self._waiting.popleft())
            return [queued.payload for queued in self._under_way]

    def give_back(self, most: int | None = None) -> None:
        """The batch is to be sent again, at most `most` at once."""
        with self._changed:
            if self._under_way:  # else abandoned
                self._due_to = max(self._due_to, self._under_way[-1].number)
                self._waiting.extendleft(reversed(self._under_way))
                self._under_way = []
            self._most = most or self._most
            self._changed.notify_all()

    def pause(self, delay_s: float) -> None:
        """Wait so long, less when all is abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed and not self._waiting, delay_s)

    def answered(self) -> bool:
        """The batch has its last answer; whether it is still the sender's to tell of, and not `abandon`'s."""
        with self._changed:
            self._is_answered = bool(self._under_way)
            return self._is_answered

    def settle(self) -> None:
        """The batch is done with, all is told. What a 413 halved grows again, by one each time."""
        with self._changed:
            self._under_way, self._is_answered = [], False
            self._most = min(self._batch_size, self._most + 1)
            self._changed.notify_all()

    def count_dropped(self) -> int:
        """How many `put` has dropped since this was asked last."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    # ---- with the lock held ------------------------------------------------------------------------------------

    def _held(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def _is_settled(self, number: int) -> bool:
        oldest = self._under_way or self._waiting
        return not oldest or oldest[0].number > number

    def _until_due_s(self) -> float | None:
        if self._is_closed:
            return 0.0
        if not self._waiting:
            return None
        oldest = self._waiting[0]
        if oldest.number <= self._due_to or len(self._waiting) >= self._most:
            return 0.0
        return oldest.since_s + self._flush_s - time.monotonic()
