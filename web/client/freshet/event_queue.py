"""The queue of events that wait to be sent: in order, in batches, bounded. Many threads put, one
sender takes.

It starts no thread and does no I/O; of the outside it needs `threading.Condition`, and a clock to
wait by.
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


class EventQueue:
    """A queue in which each event is finished once: stored, reported, dropped by `put`, or left by
    `abandon`.

    Args:
        batch_size: events in one batch, at most.
        flush_s: seconds that an event waits for others to share its batch.
        limit: events that are held, the batch in flight included; the oldest that wait are dropped
            for new ones.
    """

    def __init__(self, *, batch_size: int, flush_s: float, limit: int) -> None:
        self._batch_size = batch_size
        self._max_batch = batch_size  # less for a while after a 413
        self._flush_s = flush_s
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[_Queued] = deque()
        self._in_flight: list[_Queued] = []
        self._is_answered = False
        self._is_closed = False
        self._last_number = 0
        self._due_number = 0  # events up to this number wait for no others
        self._dropped = 0

    # ---- for the threads that track --------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True where every event is finished."""
        with self._changed:
            return self._size() == 0

    def put(self, payloads: list[bytes]) -> list[bytes]:
        """Add events; returns those that were dropped for them.

        Raises:
            ValueError: after `close`.
        """
        with self._changed:
            if self._is_closed:
                raise ValueError("client: expected an open one, got one that was closed")
            self._append(payloads)
            dropped = self._drop_oldest()
            waiting = len(self._waiting)
            if waiting <= len(payloads) or waiting >= self._max_batch:
                self._changed.notify_all()
            return dropped

    def flush(self, timeout_s: float) -> bool:
        """Make every event due that was put so far; False when not all were finished in time."""
        with self._changed:
            last = self._last_number
            self._due_number = last
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._is_finished(last), timeout_s)

    def close(self) -> None:
        """Take no more events, and make all due."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def abandon(self) -> list[bytes]:
        """Stop sending, after `close`; returns what is left, a batch without response included."""
        with self._changed:
            left: list[_Queued] = []
            if not self._is_answered:
                left = self._in_flight
                self._in_flight = []
            left = [*left, *self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
            return [queued.payload for queued in left]

    # ---- for the sender --------------------------------------------------------------------------

    def take(self) -> list[bytes]:
        """Wait until a batch is full, old enough or flushed; an empty one follows the last."""
        with self._changed:
            while (wait_s := self._until_due_s()) is None or wait_s > 0:
                self._changed.wait(wait_s)
            self._fill_batch()
            return [queued.payload for queued in self._in_flight]

    def give_back(self, max_batch: int | None = None) -> None:
        """Return the batch to the head of the queue, to go again in batches of `max_batch`."""
        with self._changed:
            if self._in_flight:  # else abandoned
                self._due_number = max(self._due_number, self._in_flight[-1].number)
                self._waiting.extendleft(reversed(self._in_flight))
                self._in_flight = []
            if max_batch is not None:
                self._max_batch = max_batch
            self._changed.notify_all()

    def pause(self, delay_s: float) -> None:
        """Wait for `delay_s`, or until all is abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed and not self._waiting, delay_s)

    def answered(self) -> bool:
        """Mark the batch as one with a final response; False where `abandon` reports it."""
        with self._changed:
            self._is_answered = bool(self._in_flight)
            return self._is_answered

    def finish(self) -> None:
        """End the batch, once it is reported. A limit that a 413 halved grows by one each time."""
        with self._changed:
            self._in_flight = []
            self._is_answered = False
            self._max_batch = min(self._batch_size, self._max_batch + 1)
            self._changed.notify_all()

    def count_dropped(self) -> int:
        """Return the number of events that `put` dropped since the last call."""
        with self._changed:
            dropped = self._dropped
            self._dropped = 0
            return dropped

    # ---- with the lock held ----------------------------------------------------------------------

    def _append(self, payloads: list[bytes]) -> None:
        now_s = time.monotonic()
        for payload in payloads:
            self._last_number += 1
            self._waiting.append(_Queued(payload, self._last_number, now_s))

    def _drop_oldest(self) -> list[bytes]:
        excess = min(self._size() - self._limit, len(self._waiting))
        dropped = [self._waiting.popleft().payload for _ in range(excess)]
        self._dropped += len(dropped)
        return dropped

    def _fill_batch(self) -> None:
        size = 0
        while self._waiting and len(self._in_flight) < self._max_batch:
            size += len(self._waiting[0].payload)
            if self._in_flight and size > MAX_BATCH_BYTES:
                break
            self._in_flight.append(self._waiting.popleft())

    def _size(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def _is_finished(self, number: int) -> bool:
        oldest = self._in_flight or self._waiting
        return not oldest or oldest[0].number > number

    def _until_due_s(self) -> float | None:
        """Seconds until a batch is due; None while no event waits."""
        if self._is_closed:
            return 0.0
        if not self._waiting:
            return None
        oldest = self._waiting[0]
        if oldest.number <= self._due_number or len(self._waiting) >= self._max_batch:
            return 0.0
        return oldest.since_s + self._flush_s - time.monotonic()
