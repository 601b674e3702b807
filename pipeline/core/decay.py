"""The monoids under every feature: decayed sums and vectors, rings of time buckets, active days,
stopwatches, tapes.

All are order-free: adding the same events in any order, in any split over merged states, gives the
same state (decayed floats to rounding, about 1e-15 a term; all else exactly). None knows a clock:
time is an argument.

No state can refer to itself, so `gc=False` spares the garbage collector the walk through them.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ldexp
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# Beyond this many half-lives a weight is indistinguishable from zero in double precision.
_FORGOTTEN_HALF_LIVES = 1_000
# What has been taken back leaves rounding: this is nothing beside the weight of one event at the
# landmark.
_NOTHING = 1e-12

K = TypeVar("K", str, int)


class DecayedSums(msgspec.Struct, Generic[K], array_like=True, gc=False):
    """Sums by key in which an event of age `a` weighs `2 ** (-a / half_life)` when read.

    Forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward Decay", ICDE 2009): a weight is
    stored relative to a landmark and rescaled when read, so a late event lands where it belongs.
    The landmark moves along a grid of half-lives, so that moving it multiplies by an exact power of
    two and adds no rounding.

    `landmark` counts half-lives since the Unix epoch; `sums[key]` is the sum of `weight * 2 ** (t /
    h - landmark)`. The half-life belongs to the feature, not to the state, and is passed in by its
    owner.
    """

    landmark: int = 0
    sums: dict[K, float] = {}

    def add(self, key: K, weight: float, time_ms: int, half_life_ms: int) -> None:
        """Add `weight` (any finite number) at `time_ms` under `key`."""
        landmark = time_ms // half_life_ms
        if landmark > self.landmark:
            self._move(landmark)
        half_lives = (time_ms - self.landmark * half_life_ms) / half_life_ms
        if half_lives < -_FORGOTTEN_HALF_LIVES:
            half_lives = -_FORGOTTEN_HALF_LIVES
        self.sums[key] = self.sums.get(key, 0.0) + weight * 2.0**half_lives

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
        """Drop what is zero but for rounding, and all but the `limit` sums of the largest magnitude
        (ties by key).

        Up to `limit` keys nothing depends on order. Beyond, it does: a dropped key starts again
        from zero, so one that grows slower than the lightest kept decays may never come in. A
        negative sum, which takes back what another state holds, is kept like a positive one.
        """
        if self.sums and min(map(abs, self.sums.values())) < _NOTHING:
            self.sums = {key: value for key, value in self.sums.items() if abs(value) >= _NOTHING}
        if len(self.sums) > limit:
            largest = sorted(self.sums.items(), key=lambda entry: (-abs(entry[1]), entry[0]))[
                :limit
            ]
            self.sums = dict(largest)

    def copy(self) -> DecayedSums[K]:
        return DecayedSums(self.landmark, dict(self.sums))

    def _move(self, landmark: int) -> None:
        if self.sums:
            shift = max(self.landmark - landmark, -_FORGOTTEN_HALF_LIVES)
            self.sums = {key: ldexp(value, shift) for key, value in self.sums.items()}
        self.landmark = landmark


class BucketRing(msgspec.Struct, array_like=True, gc=False):
    """Counts by small code in the newest `length` buckets of `width_ms` each, evaluated at read
    time.

    `counts` maps `(bucket % 128) * 32 + code` to a count, where `bucket = time_ms // width_ms`: a
    ring is at most 128 buckets long, so the bucket follows from the remainder and `newest`, and a
    key takes three bytes. Buckets older than the newest by `length` or more are dropped: the newest
    bucket only grows, so what is dropped never depends on order. A window is whole at `now` while
    `length` buckets reach from the newest event back to the window's start. Width and length (at
    most 128) belong to the feature and are passed in by its owner.
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
        key = (bucket & 127) << 5 | code
        self.counts[key] = self.counts.get(key, 0) + count

    def merge(self, other: BucketRing, length: int) -> None:
        """Add everything `other` holds."""
        if other.newest > self.newest:
            self._advance(other.newest, length)
        behind = self.newest - other.newest
        for key, count in other.counts.items():
            if (other.newest - (key >> 5) & 127) + behind < length:
                self.counts[key] = self.counts.get(key, 0) + count

    def total(self, codes: Iterable[int] | None, window_ms: int, now_ms: int, width_ms: int) -> int:
        """Events of `codes` (None: all) in `(now_ms - window_ms, now_ms]`, to the bucket that
        straddles its start.
        """
        wanted = ALL_CODES if codes is None else frozenset(codes)
        first, last = (now_ms - window_ms) // width_ms, now_ms // width_ms
        newest, found = self.newest, 0
        for key, count in self.counts.items():
            if key & 31 in wanted and first <= newest - (newest - (key >> 5) & 127) <= last:
                found += count
        return found

    def copy(self) -> BucketRing:
        return BucketRing(self.newest, dict(self.counts))

    def _advance(self, bucket: int, length: int) -> None:
        newest, self.newest = self.newest, bucket
        # what is so many buckets or more behind the old newest goes
        kept = length - (bucket - newest)
        for key in self.counts:
            if newest - (key >> 5) & 127 >= kept:
                self.counts = {
                    key: count
                    for key, count in self.counts.items()
                    if newest - (key >> 5) & 127 < kept
                }
                return


ALL_CODES = frozenset(range(32))


class DecayedVector(msgspec.Struct, array_like=True, gc=False):
    """A decayed sum of vectors, as `DecayedSums` with one vector `(d,)` in place of the numbers;
    empty: the zero.

    `values` holds `d` little-endian float64. Only its direction is meant to be read, which does not
    depend on time.
    """

    landmark: int = 0
    values: bytes = b""

    def add(self, vector: Vector, landmark: int) -> None:
        """Add a vector `(d,)` that is scaled to `landmark`, in half-lives since the Unix epoch."""
        if not self.values:
            self.landmark, self.values = landmark, vector.tobytes()
            return
        shift = landmark - self.landmark
        if shift > 0:
            self.values = (
                np.ldexp(np.frombuffer(self.values), -min(shift, _FORGOTTEN_HALF_LIVES)) + vector
            ).tobytes()
            self.landmark = landmark
        else:
            late = np.ldexp(vector, max(shift, -_FORGOTTEN_HALF_LIVES)) if shift else vector
            self.values = (np.frombuffer(self.values) + late).tobytes()

    def merge(self, other: DecayedVector) -> None:
        """Add everything `other` holds."""
        if other.values:
            self.add(np.frombuffer(other.values), other.landmark)

    def direction(self) -> Vector | None:
        """The unit vector `(d,)`, float64, or None while there is nothing but rounding."""
        if not self.values:
            return None
        vector = np.frombuffer(self.values)
        norm = float(np.sqrt(vector @ vector))
        return vector / norm if norm > _NOTHING else None


class ActiveDays(msgspec.Struct, array_like=True, gc=False):
    """On which of the last 64 UTC days something happened: `mask` has bit `n` set for the day
    `newest - n`.
    """

    newest: int = 0
    mask: int = 0

    def add(self, time_ms: int) -> None:
        """Note the day of `time_ms`."""
        self._or(time_ms // DAY_MS, 1)

    def merge(self, other: ActiveDays) -> None:
        """Add everything `other` holds."""
        if other.mask:
            self._or(other.newest, other.mask)

    @property
    def count(self) -> int:
        """Number of those days, 0 to 64."""
        return self.mask.bit_count()

    @property
    def span(self) -> int:
        """Days from the first of them to the last, 0 to 63."""
        return max(self.mask.bit_length() - 1, 0)

    def _or(self, day: int, mask: int) -> None:
        if day == self.newest:
            self.mask |= mask
        elif day > self.newest:
            self.mask = (
                self.mask << day - self.newest if day - self.newest < 64 else 0
            ) & _DAYS | mask
            self.newest = day
        elif self.newest - day < 64:
            self.mask |= mask << self.newest - day & _DAYS


_DAYS = (1 << 64) - 1


class Stopwatch(msgspec.Struct, array_like=True, gc=False):
    """Time between starts and stops that come in any order: the sum of the stops less the sum of
    the starts.

    A start without its stop runs until the last event seen (`last_ms`: start, stop or tick). A
    client that reports the elapsed time itself is believed instead. All whole milliseconds, so
    exact in any order; the balance is kept modulo 2^64, so that no number of starts outgrows what a
    stored integer holds.
    """

    balance_ms: int = 0
    open: int = 0
    first_ms: int = 0
    last_ms: int = 0
    reported_ms: int = 0

    def start(self, time_ms: int) -> None:
        """It began at `time_ms`."""
        self.balance_ms = _signed(self.balance_ms - time_ms)
        self.open += 1
        self.tick(time_ms)

    def stop(self, time_ms: int) -> None:
        """It ended at `time_ms`."""
        self.balance_ms = _signed(self.balance_ms + time_ms)
        self.open -= 1
        self.tick(time_ms)

    def tick(self, time_ms: int) -> None:
        """It was in the state it was in at `time_ms`."""
        self.first_ms = min(self.first_ms, time_ms) if self.last_ms else time_ms
        self.last_ms = max(self.last_ms, time_ms)

    def merge(self, other: Stopwatch) -> None:
        """Add everything `other` holds."""
        if other.last_ms:
            self.first_ms = min(self.first_ms, other.first_ms) if self.last_ms else other.first_ms
            self.last_ms = max(self.last_ms, other.last_ms)
        self.balance_ms = _signed(self.balance_ms + other.balance_ms)
        self.open += other.open
        self.reported_ms += other.reported_ms

    @property
    def elapsed_ms(self) -> int:
        """The time that ran, in [0, last - first] unless the client reported it."""
        if self.reported_ms:
            return self.reported_ms
        return min(
            max(_signed(self.balance_ms + self.open * self.last_ms), 0),
            self.last_ms - self.first_ms,
        )


def _signed(number: int) -> int:
    """The number modulo 2^64, in [-2^63, 2^63)."""
    return (number + 2**63) % 2**64 - 2**63


def tape_add(tape: bytes, entry: bytes, limit: int) -> bytes:
    """A tape with one more entry: the `limit` greatest distinct entries of equal width, in
    ascending order.

    What remains never depends on the order of adding. Entries begin with a big-endian time, so that
    the newest remain; the usual entry, newer than all, costs a concatenation, any other a binary
    search.
    """
    width = len(entry)
    low, high = 0, len(tape) // width
    if high and tape[-width:] >= entry:
        while low < high:
            middle = (low + high) // 2
            if tape[middle * width : middle * width + width] < entry:
                low = middle + 1
            else:
                high = middle
        if tape[low * width : low * width + width] == entry:
            return tape
    place = high * width
    tape = tape[:place] + entry + tape[place:]
    return tape[-limit * width :]


def tape_merge(left: bytes, right: bytes, width: int, limit: int) -> bytes:
    """The `limit` greatest distinct entries of two tapes whose entries are `width` bytes."""
    if not left or not right:
        return left or right
    entries = {tape[at : at + width] for tape in (left, right) for at in range(0, len(tape), width)}
    return b"".join(sorted(entries)[-limit:])


def tape_entries(tape: bytes, width: int) -> list[bytes]:
    """The entries, oldest first."""
    return [tape[at : at + width] for at in range(0, len(tape), width)]
