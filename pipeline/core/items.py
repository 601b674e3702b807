"""What is known of an item from its visitors, and what is trending: monoids, as everything that is counted."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS, BucketRing, DecayedSums
from pipeline.core.events import Event

LONG_HALF_LIFE_MS = 7 * DAY_MS
SHORT_HALF_LIFE_MS = HOUR_MS
TRENDING_HALF_LIFE_MS = 6 * HOUR_MS
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
# How much one event says that an item is wanted, in views.
POPULARITY = {VIEW: 1.0, CLICK: 1.0, CART: 3.0, PURCHASE: 5.0}

# Prior of the smoothed rates as pseudo-counts (successes, trials): a Beta prior's mean until the item has its own.
CTR_PRIOR = (2.0, 25.0)
CONVERSION_PRIOR = (0.5, 25.0)

# An hour, the bucket that straddles its start, and one for an event whose clock runs 5 min ahead.
_RING_WIDTH_MS, _RING_LENGTH = 5 * MINUTE_MS, 14


class ItemStats(msgspec.Struct, array_like=True):
    """Counts of one item's events, decayed on two half-lives (7 d, 1 h), the last hour in buckets, and neighbours.

    `neighbours` are the items that the same visitors touched in the same session, decayed over 7 d; the 50 heaviest
    are kept. Duplicates are dropped before they come here (see `UserProfile.add`): this state holds no event ids.
    A pair counts at the event time of whichever of the two was folded second, so disorder within a session of length
    `t` bends its weight by at most 1 - 2^(-t / 7 d): 0.4 % for an hour. All else is the same in any order.
    """

    newest_ms: int = 0
    long: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    short: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    hour: BucketRing = msgspec.field(default_factory=BucketRing)
    neighbour_weights: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    totals: dict[int, int] = {}

    def add(self, event: Event, covisited: Iterable[str] = ()) -> None:
        """Count one event; `covisited` are the items that its visitor had touched in this session before."""
        code = ITEM_CODES.get(event.event)
        time_ms = event.time_ms
        for other in covisited:
            self.add_neighbour(other, time_ms)
        if code is None:
            return
        self.newest_ms = max(self.newest_ms, time_ms)
        self.long.add(code, 1.0, time_ms, LONG_HALF_LIFE_MS)
        self.short.add(code, 1.0, time_ms, SHORT_HALF_LIFE_MS)
        self.hour.add(code, 1, time_ms, _RING_WIDTH_MS, _RING_LENGTH)
        self.totals[code] = self.totals.get(code, 0) + 1

    def add_neighbour(self, item_id: str, time_ms: int) -> None:
        """Count one visitor who touched this item and `item_id` in one session."""
        self.neighbour_weights.add(item_id, 1.0, time_ms, LONG_HALF_LIFE_MS)

    def merge(self, other: ItemStats) -> None:
        """Add everything `other` holds."""
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.long.merge(other.long)
        self.short.merge(other.short)
        self.hour.merge(other.hour, _RING_LENGTH)
        self.neighbour_weights.merge(other.neighbour_weights)
        for code, count in other.totals.items():
            self.totals[code] = self.totals.get(code, 0) + count

    def neighbours(self, now_ms: int) -> dict[str, float]:
        """Decayed weight by item of those touched with this one."""
        return self.neighbour_weights.values(now_ms, LONG_HALF_LIFE_MS)

    def views(self, now_ms: int) -> float:
        """Decayed views (half-life 7 d)."""
        return self.long.value(VIEW, now_ms, LONG_HALF_LIFE_MS)

    def ctr(self, now_ms: int) -> float:
        """Clicks per impression, smoothed by `CTR_PRIOR`, in [0, 1]."""
        return self._rate(CLICK, IMPRESSION, CTR_PRIOR, now_ms)

    def conversion(self, now_ms: int) -> float:
        """Purchases per view, smoothed by `CONVERSION_PRIOR`, in [0, 1]."""
        return self._rate(PURCHASE, VIEW, CONVERSION_PRIOR, now_ms)

    def describe(self, now_ms: int) -> dict[str, float | int]:
        """Readable numbers for the API."""
        names = {
            VIEW: "views",
            CLICK: "clicks",
            CART: "carts",
            PURCHASE: "purchases",
            IMPRESSION: "impressions",
        }
        hour = {f"{name}_1h": self.hour.total((code,), HOUR_MS, now_ms, _RING_WIDTH_MS) for code, name in names.items()}
        totals = {name: self.totals.get(code, 0) for code, name in names.items()}
        return {**totals, **hour, "ctr": self.ctr(now_ms), "conversion": self.conversion(now_ms)}

    def encode(self) -> bytes:
        """The stored form; neighbours beyond the 50 heaviest are dropped."""
        self.neighbour_weights.keep_largest(MAX_NEIGHBOURS)
        return _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> ItemStats:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _stats_decoder.decode(data)

    def _rate(self, success: int, trial: int, prior: tuple[float, float], now_ms: int) -> float:
        scale = self.long.scale(now_ms, LONG_HALF_LIFE_MS)
        successes = self.long.sums.get(success, 0.0) * scale
        trials = max(self.long.sums.get(trial, 0.0) * scale, successes)
        return (successes + prior[0]) / (trials + prior[1])


class Trending(msgspec.Struct, array_like=True):
    """Decayed popularity (half-life 6 h) of the items of one scope; the 300 most popular are kept."""

    newest_ms: int = 0
    scores: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)

    def add(self, event: Event) -> None:
        """Count one event by its weight in `POPULARITY`; other events add nothing."""
        weight = POPULARITY.get(ITEM_CODES.get(event.event, -1))
        if weight is None or event.product_id is None:
            return
        self.newest_ms = max(self.newest_ms, event.time_ms)
        self.scores.add(event.product_id, weight, event.time_ms, TRENDING_HALF_LIFE_MS)

    def merge(self, other: Trending) -> None:
        """Add everything `other` holds."""
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.scores.merge(other.scores)

    def top(self, now_ms: int, n: int) -> list[tuple[str, float]]:
        """The `n` most popular items with their decayed scores, best first (ties by id)."""
        scores = self.scores.values(now_ms, TRENDING_HALF_LIFE_MS)
        return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))[:n]

    def encode(self) -> bytes:
        """The stored form; items beyond the 300 most popular are dropped."""
        self.scores.keep_largest(MAX_TRENDING)
        return _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> Trending:
        """The state that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _trending_decoder.decode(data)


class ItemRow(msgspec.Struct, frozen=True):
    """An item as serving and training see it: what the catalog says, what its visitors did."""

    item: Item
    stats: ItemStats


_encoder = msgspec.msgpack.Encoder()
_stats_decoder = msgspec.msgpack.Decoder(ItemStats)
_trending_decoder = msgspec.msgpack.Decoder(Trending)
