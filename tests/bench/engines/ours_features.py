"""One visitor's features on Freshet's two monoids, for the plain fold and for Beam's combiner
alike.
"""

from __future__ import annotations

from operator import itemgetter

from pipeline.core.decay import BucketRing, DecayedSums
from tests.bench.engines.contract import (
    CODES,
    HALF_LIVES,
    INTEREST_WEIGHTS,
    RINGS,
    SEEN_IDS,
    WINDOWS,
    Event,
    Features,
)

_by_time_and_id = itemgetter("time_ms", "event_id")


class Visitor:
    """Counts, interests and the newest `SEEN_IDS` events of one visitor; `add` and `merge` in any
    order.

    The remembered events make `merge` exact too: one that both sides have counted is taken out
    once.
    """

    def __init__(self) -> None:
        self.rings = {width_ms: BucketRing() for width_ms in RINGS}
        self.category: dict[str, DecayedSums[str]] = {name: DecayedSums() for name in HALF_LIVES}
        self.brand: dict[str, DecayedSums[str]] = {name: DecayedSums() for name in HALF_LIVES}
        self.seen: dict[str, Event] = {}
        self.now_ms = 0

    def add(self, event: Event) -> None:
        """Count `event`, unless it is one of the remembered ones."""
        if event["event_id"] in self.seen:
            return
        self._count(event, 1)
        self.now_ms = max(self.now_ms, event["time_ms"])
        self._remember(event)

    def merge(self, other: Visitor) -> None:
        """Count everything that `other` has counted."""
        for width_ms, length in RINGS.items():
            self.rings[width_ms].merge(other.rings[width_ms], length)
        for name in HALF_LIVES:
            self.category[name].merge(other.category[name])
            self.brand[name].merge(other.brand[name])
        self.now_ms = max(self.now_ms, other.now_ms)
        for event_id, event in other.seen.items():
            if event_id in self.seen:
                self._count(event, -1)
            else:
                self._remember(event)

    def features(self, user_id: str) -> Features:
        """The features at the time of the newest event."""
        return Features(
            user_id=user_id,
            now_ms=self.now_ms,
            windows={
                name: [
                    self.rings[width_ms].total([code], length_ms, self.now_ms, width_ms)
                    for code in CODES.values()
                ]
                for name, (length_ms, width_ms) in WINDOWS.items()
            },
            category={
                name: self.category[name].values(self.now_ms, HALF_LIVES[name])
                for name in HALF_LIVES
            },
            brand={
                name: self.brand[name].values(self.now_ms, HALF_LIVES[name]) for name in HALF_LIVES
            },
        )

    def _count(self, event: Event, times: int) -> None:
        code, time_ms = CODES[event["event"]], event["time_ms"]
        for width_ms, length in RINGS.items():
            self.rings[width_ms].add(code, times, time_ms, width_ms, length)
        weight = times * INTEREST_WEIGHTS.get(event["event"], 0.0)
        if not weight:
            return
        for name, half_life_ms in HALF_LIVES.items():
            self.category[name].add(event["category"], weight, time_ms, half_life_ms)
            if event["brand"]:
                self.brand[name].add(event["brand"], weight, time_ms, half_life_ms)

    def _remember(self, event: Event) -> None:
        self.seen[event["event_id"]] = event
        if len(self.seen) > SEEN_IDS:
            del self.seen[min(self.seen.values(), key=_by_time_and_id)["event_id"]]
