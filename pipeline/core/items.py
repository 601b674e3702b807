"""Statistics of an item, a category and the whole shop from their visitors: monoids, as all that is
counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp2, log2

import msgspec
import numpy as np

from pipeline.core.catalog import Item
from pipeline.core.decay import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    BucketRing,
    DecayedSums,
    DecayedVector,
)
from pipeline.core.embedding import CONTEXT_DIM, signature
from pipeline.core.events import Event
from pipeline.core.session_totals import dwell_ms, watched_ms

LONG_HALF_LIFE_MS = 7 * DAY_MS
SHORT_HALF_LIFE_MS = HOUR_MS
TRENDING_HALF_LIFE_MS = 6 * HOUR_MS
# Kept of neighbours are 200, so that real shops' items lose none; shown are the 50 heaviest.
MAX_NEIGHBOURS_KEPT = 200
MAX_NEIGHBOURS = 50
MAX_TRENDING = 300

# Stored states hold these codes: append, never renumber.
VIEW, CLICK, CART, UNCART, PURCHASE, IMPRESSION = range(6)
ITEM_CODES = {
    "view_product": VIEW,
    "click": CLICK,
    "add_to_cart": CART,
    "remove_from_cart": UNCART,
    "purchase": PURCHASE,
    "impression": IMPRESSION,
    "media_play": VIEW,
}
WATCHED = 6
"""Code of the seconds that visitors spent on the item: its page read, its video watched. They are
decayed alone, half-life 7 d."""
CODE_NAMES = {
    VIEW: "views",
    CLICK: "clicks",
    CART: "carts",
    PURCHASE: "purchases",
    IMPRESSION: "impressions",
}
# How much one event says that an item is wanted, in views.
POPULARITY = {VIEW: 1.0, CLICK: 1.0, CART: 3.0, PURCHASE: 5.0}

# Prior of the smoothed rates as pseudo-counts (successes, trials), until a shop has data of its own
# (see `RatePriors`).
CTR_PRIOR = (2.0, 25.0)
CONVERSION_PRIOR = (0.5, 25.0)

WINDOWS_MS = {"5m": 5 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS}
# Per window: ring attribute, bucket width, buckets kept (the window, the bucket that straddles its
# start, 5 min ahead).
_MINUTES = ("minutes", MINUTE_MS, 12)
_HOUR = ("hour", 5 * MINUTE_MS, 14)
_DAY = ("day", HOUR_MS, 26)
_RINGS = {"5m": _MINUTES, "1h": _HOUR, "24h": _DAY}

TOUCHED, BOUGHT = 0, 1


class Counts(msgspec.Struct, array_like=True, gc=False):
    """Events by code: ever, in windows of 5 min, 1 h and 24 h, and decayed on two half-lives (7 d,
    1 h).
    """

    totals: dict[int, int] = {}
    long: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    short: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    minutes: BucketRing = msgspec.field(default_factory=BucketRing)
    hour: BucketRing = msgspec.field(default_factory=BucketRing)
    day: BucketRing = msgspec.field(default_factory=BucketRing)

    def add(self, code: int, time_ms: int) -> None:
        """Count one event."""
        self.totals[code] = self.totals.get(code, 0) + 1
        self.long.add(code, 1.0, time_ms, LONG_HALF_LIFE_MS)
        self.short.add(code, 1.0, time_ms, SHORT_HALF_LIFE_MS)
        self.minutes.add(code, 1, time_ms, _MINUTES[1], _MINUTES[2])
        self.hour.add(code, 1, time_ms, _HOUR[1], _HOUR[2])
        self.day.add(code, 1, time_ms, _DAY[1], _DAY[2])

    def merge(self, other: Counts) -> None:
        """Add everything `other` holds."""
        for code, count in other.totals.items():
            self.totals[code] = self.totals.get(code, 0) + count
        self.long.merge(other.long)
        self.short.merge(other.short)
        self.minutes.merge(other.minutes, _MINUTES[2])
        self.hour.merge(other.hour, _HOUR[2])
        self.day.merge(other.day, _DAY[2])

    def window(self, code: int, window: str, now_ms: int) -> int:
        """Events of one code in the last `window` ("5m", "1h", "24h") at `now_ms`, exact to one
        bucket.
        """
        name, width_ms, _ = _RINGS[window]
        ring: BucketRing = getattr(self, name)
        return ring.total((code,), WINDOWS_MS[window], now_ms, width_ms)

    def decayed(self, code: int, now_ms: int) -> float:
        """Events of one code, half-life 7 d."""
        return self.long.value(code, now_ms, LONG_HALF_LIFE_MS)

    def describe(self, now_ms: int) -> dict[str, int]:
        """Readable counts: ever, and by window."""
        ever = {name: self.totals.get(code, 0) for code, name in CODE_NAMES.items()}
        windows = {
            f"{name}_{window}": self.window(code, window, now_ms)
            for window in WINDOWS_MS
            for code, name in CODE_NAMES.items()
        }
        return {**ever, **windows}


Link = tuple[str, int, float, int]  # (other item, TOUCHED or BOUGHT, weight, time in ms)


class ItemStats(msgspec.Struct, array_like=True, gc=False):
    """Statistics of one item: counts, neighbours, popularity, and a vector of the items it is seen
    with.

    `neighbour_weights` are the items touched in the same session, `bought_weights` those bought in
    the same session, both decayed over 7 d: each pair counts once a session, at the hour the
    session began, in any order of its events (see `fold`). `context` sums the signatures of all
    those neighbours by the same weights, so that an item has a usable vector from its first
    visitors on. Neighbours beyond the 200 heaviest are dropped when stored; up to there nothing
    depends on order, and the context vector has no such bound.

    Duplicates are dropped before they come here (see `UserProfile.add`): this state holds no event
    ids.
    """

    newest_ms: int = 0
    category_at: tuple[int, str] = (0, "")
    counts: Counts = msgspec.field(default_factory=Counts)
    popularity: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    neighbour_weights: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    bought_weights: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    context: DecayedVector = msgspec.field(default_factory=DecayedVector)

    def add(self, event: Event, category: str | None = None) -> None:
        """Count one event; `category` is what the catalog says, None where it does not hold the
        item.
        """
        code, watched_s = ITEM_CODES.get(event.event), (dwell_ms(event) + watched_ms(event)) / 1000
        if code is None and not watched_s:
            return
        time_ms = event.time_ms
        self.newest_ms = max(self.newest_ms, time_ms)
        if category is not None:
            self.category_at = max(self.category_at, (time_ms, category))
        if watched_s:
            self.counts.long.add(WATCHED, watched_s, time_ms, LONG_HALF_LIFE_MS)
        if code is None:
            return
        self.counts.add(code, time_ms)
        weight = POPULARITY.get(code)
        if weight is not None:
            self.popularity.add(0, weight, time_ms, TRENDING_HALF_LIFE_MS)

    def link(self, other: str, kind: int, weight: float, time_ms: int) -> None:
        """Add `weight` (negative: take back) of having been touched (TOUCHED) or bought (BOUGHT)
        with `other`.
        """
        self.link_all([(other, kind, weight, time_ms)])

    def link_all(self, links: Iterable[Link]) -> None:
        """`link` for each of them, with one sum of vectors for all."""
        touched: DecayedSums[str] = DecayedSums()
        for other, kind, weight, time_ms in links:
            self.newest_ms = max(self.newest_ms, time_ms)
            (self.bought_weights if kind == BOUGHT else touched).add(
                other, weight, time_ms, LONG_HALF_LIFE_MS
            )
        if touched.sums:
            self.neighbour_weights.merge(touched)
            signatures = np.concatenate(
                [signature("item", other, CONTEXT_DIM) for other in touched.sums]
            )
            weights = np.fromiter(touched.sums.values(), np.float64)
            self.context.add(weights @ signatures.reshape(-1, CONTEXT_DIM), touched.landmark)

    def merge(self, other: ItemStats) -> None:
        """Add everything `other` holds."""
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.category_at = max(self.category_at, other.category_at)
        self.counts.merge(other.counts)
        self.popularity.merge(other.popularity)
        self.neighbour_weights.merge(other.neighbour_weights)
        self.bought_weights.merge(other.bought_weights)
        self.context.merge(other.context)

    @property
    def category(self) -> str:
        """The category that the catalog gave it at its newest event there, or the empty string."""
        return self.category_at[1]

    @property
    def in_catalog(self) -> bool:
        """True where the catalog held the item at any of its events."""
        return self.category_at[0] > 0

    def neighbours(self, now_ms: int) -> dict[str, float]:
        """Decayed weight of the 50 items most touched with this one, heaviest first (ties by
        id)."""
        return _heaviest(self.neighbour_weights, now_ms)

    def bought_with(self, now_ms: int) -> dict[str, float]:
        """Decayed weight of the 50 items most bought with this one, heaviest first (ties by id)."""
        return _heaviest(self.bought_weights, now_ms)

    def views(self, now_ms: int) -> float:
        """Decayed views (half-life 7 d)."""
        return self.counts.decayed(VIEW, now_ms)

    def ctr(self, now_ms: int, prior: tuple[float, float] = CTR_PRIOR) -> float:
        """Clicks per impression, smoothed by `prior` (successes, trials), in [0, 1]."""
        return self._rate(CLICK, IMPRESSION, prior, now_ms)

    def conversion(self, now_ms: int, prior: tuple[float, float] = CONVERSION_PRIOR) -> float:
        """Purchases per view, smoothed by `prior` (successes, trials), in [0, 1]."""
        return self._rate(PURCHASE, VIEW, prior, now_ms)

    def log2_popularity(self) -> float | None:
        """Base-2 logarithm of the forward-decayed popularity, or None while there is none; it never
        falls.

        At `now_ms` the popularity itself is `2 ** (log2_popularity - now_ms /
        TRENDING_HALF_LIFE_MS)`, in views.
        """
        weight = self.popularity.sums.get(0, 0.0)
        return self.popularity.landmark + log2(weight) if weight > 0 else None

    def describe(self, now_ms: int) -> dict[str, float | int]:
        """Readable numbers for the API."""
        return {
            **self.counts.describe(now_ms),
            "ctr": self.ctr(now_ms),
            "conversion": self.conversion(now_ms),
        }

    def settle(self) -> None:
        """Cut to the 200 heaviest neighbours of each kind."""
        self.neighbour_weights.keep_largest(MAX_NEIGHBOURS_KEPT)
        self.bought_weights.keep_largest(MAX_NEIGHBOURS_KEPT)

    def encode(self) -> bytes:
        """The stored form, cut to its bounds."""
        self.settle()
        return _VERSION + _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> ItemStats:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _stats_decoder.decode(memoryview(data)[1:])

    def _rate(self, success: int, trial: int, prior: tuple[float, float], now_ms: int) -> float:
        successes, trials = self.counts.decayed(success, now_ms), self.counts.decayed(trial, now_ms)
        return (successes + prior[0]) / (max(trials, successes) + prior[1])


class Trending(msgspec.Struct, array_like=True):
    """One scope (a category, the catalog, what no catalog holds): counts of its events, its 300
    most popular items.

    `scores` holds `ItemStats.log2_popularity` of each item, computed where all of the item's
    history is. It never falls, so the greatest value seen is the newest, and the 300 greatest are
    the same in any order: an item that had dropped out comes back with its whole weight.
    """

    newest_ms: int = 0
    scores: dict[str, float] = {}
    counts: Counts = msgspec.field(default_factory=Counts)

    def rank(self, item_id: str, log2_popularity: float) -> None:
        """Take note of an item's popularity."""
        if log2_popularity > self.scores.get(item_id, -1.0):
            self.scores[item_id] = log2_popularity

    def merge(self, other: Trending) -> None:
        """Add everything `other` holds."""
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        for item_id, score in other.scores.items():
            self.rank(item_id, score)
        self.counts.merge(other.counts)

    def top(self, now_ms: int, n: int) -> list[tuple[str, float]]:
        """The `n` most popular items with their decayed popularity (half-life 6 h), best first
        (ties by id).
        """
        best = sorted(self.scores.items(), key=lambda entry: (-entry[1], entry[0]))[:n]
        passed = now_ms / TRENDING_HALF_LIFE_MS
        return [
            (item_id, exp2(min(max(score - passed, -1_000.0), 1_000.0))) for item_id, score in best
        ]

    def settle(self) -> None:
        """Cut to the 300 most popular items."""
        if len(self.scores) > MAX_TRENDING:
            best = sorted(self.scores.items(), key=lambda entry: (-entry[1], entry[0]))
            self.scores = dict(best[:MAX_TRENDING])

    def encode(self) -> bytes:
        """The stored form, cut to its bounds."""
        self.settle()
        return _VERSION + _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> Trending:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _trending_decoder.decode(memoryview(data)[1:])


class ItemRow(msgspec.Struct, frozen=True):
    """An item as serving and training see it: what the catalog says, what its visitors did."""

    item: Item
    stats: ItemStats


def _heaviest(weights: DecayedSums[str], now_ms: int) -> dict[str, float]:
    found = weights.values(now_ms, LONG_HALF_LIFE_MS)
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))[:MAX_NEIGHBOURS])


_VERSION = b"\x01"  # the first byte of a stored state, by which `store.decode` picks its decoder
_encoder = msgspec.msgpack.Encoder()
_stats_decoder = msgspec.msgpack.Decoder(ItemStats)
_trending_decoder = msgspec.msgpack.Decoder(Trending)
