"""The visitor's profile: everything remembered of one person, as a monoid that no disorder of the stream can bend."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from math import log
from typing import Any, TypeVar

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS, BucketRing, DecayedSums
from pipeline.core.events import Event

LONG_HALF_LIFE_MS = 7 * DAY_MS
SHORT_HALF_LIFE_MS = 30 * MINUTE_MS
FATIGUE_HALF_LIFE_MS = DAY_MS

# The bounds on the state: what lies beyond is dropped oldest first (recency) or lightest first (interest).
MAX_RECENT_ITEMS = 50
MAX_SEEN_IDS = 200
MAX_CATEGORIES = 24
MAX_BRANDS = 16
MAX_CART_ITEMS = 16
MAX_SHOWN_ITEMS = 32
MAX_SESSIONS = 2
MAX_SESSION_CATEGORIES = 8

# Stored states hold these codes (0 to 31): append, never renumber.
EVENT_CODES = {
    name: code
    for code, name in enumerate(
        "page_view click search scroll view_product add_to_cart remove_from_cart purchase media_play media_pause"
        " media_progress dwell impression identify".split()
    )
}
CUSTOM_CODE = 31
# Events the visitor did on purpose: they move "last" features and windows of activity; an impression does not.
ENGAGED = frozenset("click view_product add_to_cart remove_from_cart purchase media_play".split())
ENGAGED_CODES = frozenset(EVENT_CODES[name] for name in ENGAGED)
# How much one event says of an interest, in product views.
INTEREST = {"click": 0.5, "view_product": 1.0, "media_play": 1.0, "add_to_cart": 3.0, "purchase": 5.0}

WINDOWS_MS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS, "1h": HOUR_MS, "24h": DAY_MS}
# Each window is read from the ring whose buckets are fine enough: (ring attribute, bucket width, buckets kept).
# Kept are the window, the bucket that straddles its start, and 5 min more: so far ahead may an event's clock run.
_MINUTES = ("minutes", 10_000, 61)
_HOUR = ("hour", 2 * MINUTE_MS, 34)
_DAY = ("day", HOUR_MS, 26)
_RINGS = {"1m": _MINUTES, "5m": _MINUTES, "1h": _HOUR, "24h": _DAY}

Stamp = tuple[int, str, str]  # (event time in ms, event id, value): the maximum is the last
_NEVER: Stamp = (0, "", "")


class Recent(msgspec.Struct, array_like=True, frozen=True):
    """The newest touch of one item: when, in which session."""

    time_ms: int
    event_id: str
    session_id: str


class SessionTotals(msgspec.Struct, array_like=True):
    """What one visitor did in one session."""

    first_ms: int = 0
    last_ms: int = 0
    events: int = 0
    counts: dict[int, int] = {}
    categories: dict[str, int] = {}

    def merge(self, other: SessionTotals) -> None:
        """Add everything `other` holds."""
        if not other.events:
            return
        self.first_ms = min(self.first_ms, other.first_ms) if self.events else other.first_ms
        self.last_ms = max(self.last_ms, other.last_ms)
        self.events += other.events
        _add_counts(self.counts, other.counts)
        _add_counts(self.categories, other.categories)

    def top_category(self) -> str:
        """The most viewed category (ties by name), or the empty string."""
        return min(self.categories, key=lambda name: (-self.categories[name], name), default="")


class UserProfile(msgspec.Struct, array_like=True):
    """Everything kept of one visitor. `add` and `merge` commute; adding an event twice changes nothing.

    Idempotence reaches back over the visitor's newest `MAX_SEEN_IDS` events: an event redelivered after more than
    that many newer ones counts again. Recent items, cart and windows are cut in a way that no order changes. Three
    bounds are order-free only until they are exceeded: decayed interest beyond the heaviest categories and brands is
    dropped, so are the categories of one session beyond the most viewed, and of more than `MAX_SESSIONS` sessions at
    once the one that comes back starts again. Events without a session id share one endless session.
    """

    first_ms: int = 0
    newest_ms: int = 0
    events_total: int = 0
    last_event: Stamp = _NEVER
    last_item_at: Stamp = _NEVER
    last_category_at: Stamp = _NEVER
    last_query_at: Stamp = _NEVER
    totals: dict[int, int] = {}
    minutes: BucketRing = msgspec.field(default_factory=BucketRing)
    hour: BucketRing = msgspec.field(default_factory=BucketRing)
    day: BucketRing = msgspec.field(default_factory=BucketRing)
    categories: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    categories_short: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    brands: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    prices: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)  # "n": weight, "log": weight * ln(price)
    shown: DecayedSums[str] = msgspec.field(default_factory=DecayedSums)
    recent: dict[str, Recent] = {}
    cart: dict[str, tuple[int, str, bool]] = {}
    sessions: dict[str, SessionTotals] = {}
    seen: dict[int, int] = {}  # hash of event id -> event time in seconds

    # -- the monoid ----------------------------------------------------------------------------------------------

    def add(self, event: Event, item: Item | None = None) -> bool:
        """Fold one event, with what the catalog knows of its item; return False for a duplicate, which changes nothing.

        Category, brand and price come from `item`, else from the event's metadata.
        """
        event_hash = _hash(event.event_id)
        if event_hash in self.seen:
            return False
        time_ms = event.time_ms
        self.seen[event_hash] = time_ms // 1000
        if len(self.seen) > 2 * MAX_SEEN_IDS:
            self.seen = _newest(self.seen, MAX_SEEN_IDS, _seen_order)
        category = (item.category if item is not None else "") or event.text("category")
        self._count(event, time_ms)
        self._touch(event, time_ms, category)
        weight = INTEREST.get(event.event)
        if weight is not None:
            self._add_interest(event, item, category, weight, time_ms)
        return True

    def merge(self, other: UserProfile) -> None:
        """Add everything `other` holds; meant for disjoint histories (an anonymous visitor's and the account's)."""
        if not other.events_total:
            return
        self.first_ms = min(self.first_ms, other.first_ms) if self.events_total else other.first_ms
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.events_total += other.events_total
        for name in ("last_event", "last_item_at", "last_category_at", "last_query_at"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        _add_counts(self.totals, other.totals)
        for name, _, length in (_MINUTES, _HOUR, _DAY):
            getattr(self, name).merge(getattr(other, name), length)
        for name in ("categories", "categories_short", "brands", "prices", "shown"):
            getattr(self, name).merge(getattr(other, name))
        for item_id, touch in other.recent.items():
            self._keep_recent(item_id, touch)
        for item_id, entry in other.cart.items():
            self.cart[item_id] = max(entry, self.cart.get(item_id, entry))
        for session_id, totals in other.sessions.items():
            self.sessions.setdefault(session_id, SessionTotals()).merge(totals)
        self.seen.update(other.seen)
        self._settle()

    def copy(self) -> UserProfile:
        """An independent profile with the same content."""
        return UserProfile.decode(self.encode())

    def encode(self) -> bytes:
        """The stored form, cut to its bounds."""
        self._settle()
        return _encoder.encode(self)

    @staticmethod
    def decode(data: bytes) -> UserProfile:
        """The profile that `encode` wrote; raises `msgspec.DecodeError` for other bytes."""
        return _decoder.decode(data)

    # -- reading -------------------------------------------------------------------------------------------------

    def contains(self, event_id: str) -> bool:
        """Whether the event is among those folded (within the newest `MAX_SEEN_IDS`)."""
        return _hash(event_id) in self.seen

    @property
    def last_category(self) -> str:
        """The category last clicked, viewed, carted or bought; empty when there is none."""
        return self.last_category_at[2]

    @property
    def last_item(self) -> str:
        """The item last clicked, viewed, carted or bought; empty when there is none."""
        return self.last_item_at[2]

    @property
    def last_query(self) -> str:
        """The last search; empty when there is none."""
        return self.last_query_at[2]

    def recent_items(self, now_ms: int, limit: int = MAX_RECENT_ITEMS) -> list[tuple[str, int]]:
        """The items touched last up to `now_ms`, newest first, as (item id, time in ms)."""
        touched = [(touch.time_ms, touch.event_id, item_id) for item_id, touch in self.recent.items()]
        touched.sort(reverse=True)
        return [(item_id, time_ms) for time_ms, _, item_id in touched if time_ms <= now_ms][:limit]

    def covisited(self, event: Event) -> list[str]:
        """The other items of the event's session, when the event is the session's first touch of its item.

        Read it before `add`. Each pair of items counts once a session, whichever of the two comes first. Without a
        session id, what lies within 30 min counts as one session. An item's session is that of its newest touch: where
        sessions with common items interleave, or events of an older session come late, a pair may be missed or
        counted again.
        """
        if event.product_id is None or event.event not in ENGAGED:
            return []
        session = event.session_id or ""
        known = self.recent.get(event.product_id)
        time_ms = event.time_ms
        if (
            known is not None
            and known.session_id == session
            and (session or abs(known.time_ms - time_ms) <= SHORT_HALF_LIFE_MS)
        ):
            return []
        return [
            item_id
            for item_id, touch in self.recent.items()
            if touch.session_id == session
            and item_id != event.product_id
            and (session or abs(touch.time_ms - time_ms) <= SHORT_HALF_LIFE_MS)
        ]

    def count(self, event_type: str, window: str, now_ms: int) -> int:
        """Events of one type in the last `window` ("1m", "5m", "1h", "24h") at `now_ms`, exact to one bucket.

        `now_ms` may lie up to 5 min before the newest event; further back, the oldest buckets are gone.
        """
        return self._window((EVENT_CODES.get(event_type, CUSTOM_CODE),), window, now_ms)

    def engaged(self, window: str, now_ms: int) -> int:
        """Clicks, views, carts and purchases in the last `window` at `now_ms`."""
        return self._window(ENGAGED_CODES, window, now_ms)

    def category_interest(self, now_ms: int) -> dict[str, float]:
        """Share of decayed interest by category: half from the 7 d half-life, half from the 30 min one."""
        long, short = self.categories.shares(), self.categories_short.shares()
        return {name: 0.5 * long.get(name, 0.0) + 0.5 * short.get(name, 0.0) for name in {**long, **short}}

    def log_price(self) -> float | None:
        """Decayed mean of ln(price) of what the visitor touched, or None before the first price."""
        weight = self.prices.sums.get("n", 0.0)
        return self.prices.sums.get("log", 0.0) / weight if weight > 0 else None

    def in_cart(self) -> list[str]:
        """Items put into the cart and neither removed nor bought since."""
        return [item_id for item_id, (_, _, inside) in self.cart.items() if inside]

    def session(self) -> tuple[str, SessionTotals]:
        """The newest session's id and totals."""
        if not self.sessions:
            return "", SessionTotals()
        session_id = max(self.sessions, key=lambda name: (self.sessions[name].last_ms, name))
        return session_id, self.sessions[session_id]

    def describe(self, now_ms: int) -> dict[str, Any]:
        """The profile in readable numbers, for people and for the API."""
        session_id, session = self.session()
        names = {code: name for name, code in EVENT_CODES.items()}
        interest = sorted(self.category_interest(now_ms).items(), key=lambda entry: (-entry[1], entry[0]))
        return {
            "events_total": self.events_total,
            "last_category": self.last_category,
            "last_item": self.last_item,
            "last_query": self.last_query,
            "windows": {
                window: {name: count for name in EVENT_CODES if (count := self.count(name, window, now_ms))}
                for window in WINDOWS_MS
            },
            "session": {
                "session_id": session_id,
                "events": session.events,
                "duration_s": (session.last_ms - session.first_ms) / 1000,
                "top_category": session.top_category(),
                "counts": {names.get(code, "custom"): count for code, count in sorted(session.counts.items())},
            },
            "top_categories": [{"category": name, "interest": share} for name, share in interest[:8]],
            "recent_items": [{"id": name, "time_ms": time_ms} for name, time_ms in self.recent_items(now_ms, 20)],
            "cart": sorted(self.in_cart()),
        }

    # -- folding -------------------------------------------------------------------------------------------------

    def _count(self, event: Event, time_ms: int) -> None:
        code = EVENT_CODES.get(event.event, CUSTOM_CODE)
        self.first_ms = min(self.first_ms, time_ms) if self.events_total else time_ms
        self.newest_ms = max(self.newest_ms, time_ms)
        self.events_total += 1
        self.totals[code] = self.totals.get(code, 0) + 1
        self.minutes.add(code, 1, time_ms, *_MINUTES[1:])
        self.hour.add(code, 1, time_ms, *_HOUR[1:])
        self.day.add(code, 1, time_ms, *_DAY[1:])
        self.last_event = max(self.last_event, (time_ms, event.event_id, event.event))

    def _touch(self, event: Event, time_ms: int, category: str) -> None:
        name, item_id = event.event, event.product_id
        session = self.sessions.get(event.session_id or "")
        if session is None:
            session = self.sessions[event.session_id or ""] = SessionTotals(time_ms)
        session.first_ms = min(session.first_ms, time_ms)
        session.last_ms = max(session.last_ms, time_ms)
        session.events += 1
        code = EVENT_CODES.get(name, CUSTOM_CODE)
        session.counts[code] = session.counts.get(code, 0) + 1
        if name in ENGAGED:
            if category:
                session.categories[category] = session.categories.get(category, 0) + 1
                self.last_category_at = max(self.last_category_at, (time_ms, event.event_id, category))
            if item_id is not None:
                self.last_item_at = max(self.last_item_at, (time_ms, event.event_id, item_id))
                self._keep_recent(item_id, Recent(time_ms, event.event_id, event.session_id or ""))
        elif name == "impression" and item_id is not None:
            self.shown.add(item_id, 1.0, time_ms, FATIGUE_HALF_LIFE_MS)
            if len(self.shown.sums) > 4 * MAX_SHOWN_ITEMS:
                self.shown.keep_largest(MAX_SHOWN_ITEMS)
        elif name == "search" and (query := event.text("query")):
            self.last_query_at = max(self.last_query_at, (time_ms, event.event_id, query))
        if item_id is not None and name in ("add_to_cart", "remove_from_cart", "purchase"):
            entry = (time_ms, event.event_id, name == "add_to_cart")
            self.cart[item_id] = max(entry, self.cart.get(item_id, entry))

    def _keep_recent(self, item_id: str, touch: Recent) -> None:
        known = self.recent.get(item_id)
        if known is None or (known.time_ms, known.event_id) < (touch.time_ms, touch.event_id):
            self.recent[item_id] = touch
        if len(self.recent) > 2 * MAX_RECENT_ITEMS:
            self.recent = _newest(self.recent, MAX_RECENT_ITEMS, _recent_order)

    def _add_interest(self, event: Event, item: Item | None, category: str, weight: float, time_ms: int) -> None:
        if category:
            self.categories.add(category, weight, time_ms, LONG_HALF_LIFE_MS)
            self.categories_short.add(category, weight, time_ms, SHORT_HALF_LIFE_MS)
        brand = (item.brand if item is not None else "") or event.text("brand")
        if brand:
            self.brands.add(brand, weight, time_ms, LONG_HALF_LIFE_MS)
        price = (item.price if item is not None else 0.0) or event.number("price")
        if price > 0:
            self.prices.add("n", weight, time_ms, LONG_HALF_LIFE_MS)
            self.prices.add("log", weight * log(price), time_ms, LONG_HALF_LIFE_MS)

    def _window(self, codes: Any, window: str, now_ms: int) -> int:
        name, width_ms, _ = _RINGS[window]
        ring: BucketRing = getattr(self, name)
        return ring.total(codes, WINDOWS_MS[window], now_ms, width_ms)

    def _settle(self) -> None:
        """Cut every part to its bound, in an order that depends on the content alone."""
        self.categories.keep_largest(MAX_CATEGORIES)
        self.categories_short.keep_largest(MAX_CATEGORIES)
        self.brands.keep_largest(MAX_BRANDS)
        self.shown.keep_largest(MAX_SHOWN_ITEMS)
        self.recent = _newest(self.recent, MAX_RECENT_ITEMS, _recent_order)
        self.cart = _newest(self.cart, MAX_CART_ITEMS, _cart_order)
        self.sessions = _newest(self.sessions, MAX_SESSIONS, _session_order)
        self.seen = _newest(self.seen, MAX_SEEN_IDS, _seen_order)
        for totals in self.sessions.values():
            if len(totals.categories) > MAX_SESSION_CATEGORIES:
                totals.categories = _newest(totals.categories, MAX_SESSION_CATEGORIES, _count_order)


K = TypeVar("K", str, int)
V = TypeVar("V")


def _newest(entries: dict[K, V], limit: int, order: Callable[[tuple[K, V]], Any]) -> dict[K, V]:
    """The `limit` entries that `order` puts last."""
    if len(entries) <= limit:
        return entries
    return dict(sorted(entries.items(), key=order, reverse=True)[:limit])


def _recent_order(entry: tuple[str, Recent]) -> tuple[int, str]:
    return entry[1].time_ms, entry[1].event_id


def _cart_order(entry: tuple[str, tuple[int, str, bool]]) -> tuple[int, str, bool]:
    return entry[1]


def _session_order(entry: tuple[str, SessionTotals]) -> tuple[int, str]:
    return entry[1].last_ms, entry[0]


def _seen_order(entry: tuple[int, int]) -> tuple[int, int]:
    return entry[1], entry[0]


def _count_order(entry: tuple[str, int]) -> tuple[int, str]:
    return entry[1], entry[0]


def _add_counts(into: dict[K, int], counts: dict[K, int]) -> None:
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


def _hash(event_id: str) -> int:
    """32 bits of the event id: two of a visitor's 200 remembered events collide once in 10^5 visitors."""
    return int.from_bytes(blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "little")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UserProfile)
