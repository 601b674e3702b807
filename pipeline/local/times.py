"""The earliest of many keys' times, found without looking at every key."""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Any

from apache_beam.utils.timestamp import Timestamp


class Earliest:
    """Times of keys, in microseconds, of which only the earliest are ever looked at.

    A heap whose entries are put right when they come to the top, so that a key whose time moves on
    and on (a timer set anew with every message) keeps one entry: O(log n) a change that comes
    earlier, O(1) one that comes later.
    """

    def __init__(self) -> None:
        self._times: dict[Hashable, int] = {}
        self._queued: dict[Hashable, int] = {}
        self._heap: list[tuple[int, int, Hashable]] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: Hashable, micros: int | None) -> None:
        """The key's time from now on; None: it has none."""
        if micros is None:
            self._times.pop(key, None)
            return
        self._times[key] = micros
        queued = self._queued.get(key)
        if queued is None or micros < queued:
            self._push(key, micros)

    def least(self) -> int | None:
        """The earliest time, None without any."""
        while self._heap:
            micros, _, key = self._heap[0]
            if self._queued.get(key) == micros == self._times.get(key):
                return micros
            self._correct()
        return None

    def due(self, micros: int) -> list[Any]:
        """Keys whose time has come at `micros`, earliest first; they keep their times."""
        found = []
        while (least := self.least()) is not None and least <= micros:
            found.append(heapq.heappop(self._heap)[2])
            del self._queued[found[-1]]
        for key in found:
            self._push(key, self._times[key])
        return found

    def _push(self, key: Hashable, micros: int) -> None:
        self._pushed += 1  # ties are broken without comparing keys
        self._queued[key] = micros
        heapq.heappush(self._heap, (micros, self._pushed, key))

    def _correct(self) -> None:
        micros, _, key = heapq.heappop(self._heap)
        if self._queued.get(key) == micros:
            del self._queued[key]
            if key in self._times:
                self._push(key, self._times[key])


def micros_of(moment: Any) -> int:
    """Microseconds of a timestamp or of seconds, rounded down."""
    return int(
        Timestamp.of(moment)
        .to_precision(Timestamp.MICROS_PRECISION, allow_lossy_conversion=True)
        .micros
    )
