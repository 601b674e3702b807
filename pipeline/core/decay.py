"""The two monoids under every feature: exponentially decayed sums and rings of time buckets.

Both are order-free: adding the same events in any order, in any split over merged states, gives the same state
(decayed floats to rounding, about 1e-15 a term; buckets exactly). Neither knows a clock: time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ldexp
from typing import Generic, TypeVar

import msgspec

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# Beyond this many half-lives a weight is indistinguishable from zero in double precision.
_FORGOTTEN_HALF_LIVES = 1_000

K = TypeVar("K", str, int)


class DecayedSums(msgspec.Struct, Generic[K], array_like=True):
    """Sums by key in which an event of age `a` weighs `2 ** (-a / half_life)` when read.

    Forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward Decay", ICDE 2009): a weight is stored relative to
    a landmark and rescaled when read, so a late event lands where it belongs. The landmark moves along a grid of
    half-lives, so that moving it multiplies by an exact power of two and adds no rounding.

    `landmark` counts half-lives since the Unix epoch; `sums[key]` is the sum of `weight * 2 ** (t / h - landmark)`.
    The half-life belongs to the feature, not to the state, and is passed in by its owner.
    """

    landmark: int = 0
    sums: dict[K, float] = {}

    def add(self, key: K, weight: float, time_ms: int, half_life_ms: int) -> None:
        """Add `weight` (any finite number) at `time_ms` under `key`."""
        landmark = time_ms // half_life_ms
        if landmark > self.landmark:
            self._move(landmark)
        half_lives = (time_ms - self.landmark * half_life_ms) / half_life_ms
        scaled = weight * 2.0 ** max(half_lives, -_FORGOTTEN_HALF_LIVES)
        self.sums[key] = self.sums.get(key, 0.0) + scaled

    def merge(self, other: DecayedSums[K]) -> None:
        """Add everything `other` holds."""
        if not other.sums:
            return
        if other.landmark > self.landmark:
            self._move(other.landmark)
        shift = max(other.landmark - self.landmark, -_FORGOTTEN_HALF_LIVES)
        sums = self.sums
        for key, value in other.sums.items():
            sums[key] = sums.get(key, 0.0) + ldexp(value, shift)

    def scale(self, now_ms: int, half_life_ms: int) -> float:
        """The factor that turns a stored sum into its value at `now_ms`."""
        half_lives = (self.landmark * half_life_ms - now_ms) / half_life_ms
        return float(2.0 ** max(min(half_lives, 1000.0), -_FORGOTTEN_HALF_LIVES))

    def value(self, key: K, now_ms: int, half_life_ms: int) -> float:
        """The decayed sum under `key` at `now_ms`."""
        return self.sums.get(key, 0.0) * self.scale(now_ms, half_life_ms)

    def values(self, now_ms: int, half_life_ms: int) -> dict[K, float]:
        """Every decayed sum at `now_ms`."""
        scale = self.scale(now_ms, half_life_ms)
        return {key: value * scale for key, value in self.sums.items()}

    def shares(self) -> dict[K, float]:
        """Each sum's share of the total, in [0, 1]; shares do not depend on the time of reading."""
        total = sum(self.sums.values())
        return {key: value / total for key, value in self.sums.items()} if total > 0 else {}

    def keep_largest(self, limit: int) -> None:
        """Drop all but the `limit` largest sums (ties by key): the bound on the state.

        Up to `limit` keys nothing depends on order. Beyond, it does: a dropped key starts again from zero, so one that
        grows slower than the lightest kept decays may never come in.
        """
        if len(self.sums) > limit:
            largest = sorted(self.sums.items(), key=lambda entry: (-entry[1], entry[0]))[:limit]
            self.sums = dict(largest)

    def copy(self) -> DecayedSums[K]:
        return DecayedSums(self.landmark, dict(self.sums))

    def _move(self, landmark: int) -> None:
        if self.sums:
            shift = max(self.landmark - landmark, -_FORGOTTEN_HALF_LIVES)
            self.sums = {key: ldexp(value, shift) for key, value in self.sums.items()}
        self.landmark = landmark


class BucketRing(msgspec.Struct, array_like=True):
    """Counts by small code in the newest `length` buckets of `width_ms` each, evaluated at read time.

    `counts` maps `bucket * 32 + code` to a count, where `bucket = time_ms // width_ms`. Buckets older than the
    newest by `length` or more are dropped: the newest bucket only grows, so what is dropped never depends on order.
    A window is whole at `now` while `length` buckets reach from the newest event back to the window's start.
    Width and length belong to the feature and are passed in by its owner.
    """

    newest: int = 0
    counts: dict[int, int] = {}

    def add(self, code: int, count: int, time_ms: int, width_ms: int, length: int) -> None:
        """Count `count` events of `code` (0 to 31) at `time_ms`."""
        bucket = time_ms // width_ms
        if bucket > self.newest:
            self._advance(bucket, length)
        elif bucket <= self.newest - length:
            return
        key = bucket * 32 + code
        self.counts[key] = self.counts.get(key, 0) + count

    def merge(self, other: BucketRing, length: int) -> None:
        """Add everything `other` holds."""
        if other.newest > self.newest:
            self._advance(other.newest, length)
        oldest = (self.newest - length + 1) * 32
        for key, count in other.counts.items():
            if key >= oldest:
                self.counts[key] = self.counts.get(key, 0) + count

    def total(self, codes: Iterable[int], window_ms: int, now_ms: int, width_ms: int) -> int:
        """Events of `codes` in `(now_ms - window_ms, now_ms]`, to the bucket that straddles its start."""
        wanted = set(codes)
        first, last = (now_ms - window_ms) // width_ms, now_ms // width_ms
        return sum(count for key, count in self.counts.items() if first <= key >> 5 <= last and (key & 31) in wanted)

    def copy(self) -> BucketRing:
        return BucketRing(self.newest, dict(self.counts))

    def _advance(self, bucket: int, length: int) -> None:
        self.newest = bucket
        oldest = (bucket - length + 1) * 32
        if any(key < oldest for key in self.counts):
            self.counts = {key: count for key, count in self.counts.items() if key >= oldest}
