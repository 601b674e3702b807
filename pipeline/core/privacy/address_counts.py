"""Counts of one network address over the last minutes: its events, and its different visitors."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from heapq import merge as merge_sorted

import msgspec

from pipeline.core.decay import MINUTE_MS, BucketRing

# What rules about addresses may ask about.
ADDRESS_SIGNALS = ("events_1m", "events_5m", "visitors_5m", "events_per_visitor_5m")
# Kept are up to 10 min back, which `events_per_visitor_5m` reads, and 5 min more: so far ahead may
# a clock run.
_WIDTH_MS, _LENGTH = 10_000, 91
_VISITORS_WIDTH_MS, _VISITORS_LENGTH = 5 * MINUTE_MS, 3
MAX_VISITOR_HASHES = 64
_HASHES = 2**32


class AddressCounts(msgspec.Struct, array_like=True):
    """Events and distinct visitors of one network address in the last minutes. `add` and `merge`
    commute.

    Events are a ring of 10 s buckets. Visitors are, for each of the newest three spans of 5 min,
    the 64 smallest of their 32-bit hashes: up to 63 visitors are counted exactly (but for hashes
    that collide), more are estimated from how densely the hashes lie, with a standard error of
    about an eighth (k minimum values: Bar-Yossef, Jayram, Kumar, Sivakumar, Trevisan, "Counting
    Distinct Elements in a Data Stream", RANDOM 2002). About 1.5 kB encoded at most.
    """

    events: BucketRing = msgspec.field(default_factory=BucketRing)
    visitors: dict[int, list[int]] = {}  # time_ms // 5 min -> ascending hashes

    def add(self, visitor: str, time_ms: int, count: int = 1) -> None:
        """Count `count` events of `visitor` (a profile's key) at `time_ms`."""
        self.events.add(0, count, time_ms, _WIDTH_MS, _LENGTH)
        hashes = self.visitors.setdefault(time_ms // _VISITORS_WIDTH_MS, [])
        digest = int.from_bytes(blake2b(visitor.encode(), digest_size=4).digest(), "big")
        place = bisect_left(hashes, digest)
        if place == len(hashes) or hashes[place] != digest:
            hashes.insert(place, digest)
            del hashes[MAX_VISITOR_HASHES:]
        self._drop_old()

    def merge(self, other: AddressCounts) -> None:
        """Add everything `other` holds."""
        self.events.merge(other.events, _LENGTH)
        for bucket, hashes in other.visitors.items():
            self.visitors[bucket] = _smallest([self.visitors.get(bucket, []), hashes])
        self._drop_old()

    def copy(self) -> AddressCounts:
        """An independent state with the same content."""
        return AddressCounts(
            self.events.copy(), {bucket: list(hashes) for bucket, hashes in self.visitors.items()}
        )

    def encode(self) -> bytes:
        """The stored form."""
        return _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> AddressCounts:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _decoder.decode(data)

    def signals(self, now_ms: int) -> dict[str, float]:
        """The signals that rules about addresses may name, at `now_ms`.

        `visitors_5m` and `events_per_visitor_5m` look back to the start of the 5 min span that the
        window begins in: 5 to 10 min, both the same.
        """
        first_span = (now_ms - 5 * MINUTE_MS) // _VISITORS_WIDTH_MS
        visitors = self._visitors(first_span, now_ms)
        return {
            "events_1m": self._events(MINUTE_MS, now_ms),
            "events_5m": self._events(5 * MINUTE_MS, now_ms),
            "visitors_5m": visitors,
            "events_per_visitor_5m": self._events(now_ms - first_span * _VISITORS_WIDTH_MS, now_ms)
            / max(visitors, 1),
        }

    def _events(self, window_ms: int, now_ms: int) -> float:
        return float(self.events.total((0,), window_ms, now_ms, _WIDTH_MS))

    def _visitors(self, first_span: int, now_ms: int) -> float:
        last_span = now_ms // _VISITORS_WIDTH_MS
        hashes = _smallest(
            [found for span, found in self.visitors.items() if first_span <= span <= last_span]
        )
        if len(hashes) < MAX_VISITOR_HASHES:
            return float(len(hashes))
        return (MAX_VISITOR_HASHES - 1) * _HASHES / (hashes[-1] + 1)

    def _drop_old(self) -> None:
        oldest = max(self.visitors, default=0) - _VISITORS_LENGTH + 1
        for bucket in [bucket for bucket in self.visitors if bucket < oldest]:
            del self.visitors[bucket]


def _smallest(lists: list[list[int]]) -> list[int]:
    """The smallest different hashes of ascending lists, ascending."""
    return list(dict.fromkeys(merge_sorted(*lists)))[:MAX_VISITOR_HASHES]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AddressCounts)
