"""Reads the states that release 0.1.0 stored, so that an upgrade loses nothing. Decoding only; never written again."""

from __future__ import annotations

from math import log2

import msgspec

from pipeline.core.decay import ActiveDays, BucketRing, DecayedSums
from pipeline.core.items import Counts, ItemStats, Trending
from pipeline.core.profile import MAX_SEEN_IDS, CartEntry, UserProfile
from pipeline.core.session_totals import SessionTotals
from pipeline.core.taste import Prices, Taste, Weights
from pipeline.core.vocabulary import EVENT_CODES

_NEVER = (0, "", "")


class _Recent(msgspec.Struct, array_like=True):
    time_ms: int
    event_id: str
    session_id: str


class _Session(msgspec.Struct, array_like=True):
    first_ms: int = 0
    last_ms: int = 0
    events: int = 0
    counts: dict[int, int] = {}
    categories: dict[str, int] = {}


class _Profile(msgspec.Struct, array_like=True):
    first_ms: int = 0
    newest_ms: int = 0
    events_total: int = 0
    last_event: tuple[int, str, str] = _NEVER
    last_item_at: tuple[int, str, str] = _NEVER
    last_category_at: tuple[int, str, str] = _NEVER
    last_query_at: tuple[int, str, str] = _NEVER
    totals: dict[int, int] = {}
    minutes: BucketRing = msgspec.field(default_factory=BucketRing)
    hour: BucketRing = msgspec.field(default_factory=BucketRing)
    day: BucketRing = msgspec.field(default_factory=BucketRing)
    categories: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    categories_short: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    brands: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    prices: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    shown: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    recent: dict[str, _Recent] = {}
    cart: dict[str, tuple[int, str, bool]] = {}
    sessions: dict[str, _Session] = {}
    seen: dict[int, int] = {}


class _Stats(msgspec.Struct, array_like=True):
    newest_ms: int = 0
    long: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    short: DecayedSums[int] = msgspec.field(default_factory=DecayedSums)
    hour: BucketRing = msgspec.field(default_factory=BucketRing)
    neighbour_weights: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    totals: dict[int, int] = {}


class _Trending(msgspec.Struct, array_like=True):
    newest_ms: int = 0
    scores: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)


def read_profile(data: bytes) -> UserProfile:
    """A profile of release 0.1.0; what is new since then starts empty. Raises `msgspec.DecodeError`."""
    old = _profile_decoder.decode(data)
    seen = sorted(old.seen.items(), key=lambda entry: (entry[1], entry[0]))[-MAX_SEEN_IDS:]
    profile = UserProfile(
        old.first_ms,
        old.newest_ms,
        old.events_total,
        old.last_event,
        totals=old.totals,
        minutes=_ring(old.minutes),
        hour=_ring(old.hour),
        day=_ring(old.day),
        taste=_taste(old),
        cart={item_id: CartEntry(time_ms, inside) for item_id, (time_ms, _, inside) in old.cart.items()},
        sessions={key or "~": _session(found) for key, found in old.sessions.items()},
        seen=b"".join(event_hash.to_bytes(4, "little") for event_hash, _ in seen),
        days=ActiveDays(),
    )
    for name in ("last_item_at", "last_category_at", "last_query_at"):
        time_ms, _, value = getattr(old, name)
        setattr(profile, name, (time_ms, 0, value))
    for item_id, touch in old.recent.items():
        profile.note_touch(item_id, touch.time_ms)
    for time_ms in (old.first_ms, old.newest_ms):
        profile.days.add(time_ms)
    if old.totals.get(EVENT_CODES["purchase"]):
        profile.purchase_days.add(old.newest_ms)
    profile.settle()
    return profile


def read_stats(data: bytes) -> ItemStats:
    """An item's statistics of release 0.1.0. Raises `msgspec.DecodeError`."""
    old = _stats_decoder.decode(data)
    counts = Counts(old.totals, old.long, old.short, hour=_ring(old.hour))
    return ItemStats(old.newest_ms, counts=counts, neighbour_weights=old.neighbour_weights)


def read_trending(data: bytes) -> Trending:
    """A scope of release 0.1.0. Raises `msgspec.DecodeError`."""
    old = _trending_decoder.decode(data)
    landmark = old.scores.landmark
    scores = {item_id: landmark + log2(weight) for item_id, weight in old.scores.sums.items() if weight > 0}
    trending = Trending(old.newest_ms, scores)
    trending.settle()
    return trending


def _ring(old: BucketRing) -> BucketRing:
    """Keys were `bucket * 32 + code`."""
    return BucketRing(old.newest, {((key >> 5) & 127) << 5 | key & 31: count for key, count in old.counts.items()})


def _session(old: _Session) -> SessionTotals:
    return SessionTotals(old.first_ms, old.last_ms, old.events, old.counts, old.categories)


def _taste(old: _Profile) -> Taste:
    """The sums lay under landmarks of their own; a `Taste` has one for each half-life."""
    taste = Taste()
    taste.merge(Taste(old.categories.landmark, taste.short, categories=_lasting(old.categories)))
    taste.merge(Taste(old.brands.landmark, taste.short, brands=_lasting(old.brands)))
    short = old.categories_short
    zero: Weights = {key: (0.0, value) for key, value in short.sums.items()}
    taste.merge(Taste(taste.long, short.landmark, categories=zero))
    prices = Prices(old.prices.sums.get("n", 0.0), old.prices.sums.get("log", 0.0))
    taste.merge(Taste(old.prices.landmark, taste.short, prices=prices))
    return taste


def _lasting(weights: DecayedSums[str]) -> Weights:
    return {key: (value,) for key, value in weights.sums.items()}


_profile_decoder = msgspec.msgpack.Decoder(_Profile)
_stats_decoder = msgspec.msgpack.Decoder(_Stats)
_trending_decoder = msgspec.msgpack.Decoder(_Trending)
