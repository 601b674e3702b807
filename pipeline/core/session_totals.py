"""Totals of one visitor's session, as the profile keeps them while the session lasts."""

from __future__ import annotations

from zlib import crc32

import msgspec

from pipeline.core.decay import HOUR_MS, MINUTE_MS, Stopwatch
from pipeline.core.event_types import CUSTOM_CODE, ENGAGED, EVENT_CODES
from pipeline.core.events import Event
from pipeline.core.privacy.bots import is_bot
from pipeline.core.queries import searched

MAX_SESSION_ITEMS = 16
MAX_SESSION_PURCHASES = 8
MAX_SESSION_CATEGORIES = 16
MAX_SESSION_SEARCHES = 9
MAX_SESSION_TOUCHES = 32
SEARCH_SPAN_MS = 10 * MINUTE_MS
"""An item that is touched so long after a search no longer counts for it."""
MAX_DWELL_MS = HOUR_MS  # a visitor looks at no page for longer; a tab that was left open does

_NO_SESSION = "~"
_BOT = "\x01"  # no client's session id begins so, for it is printable

Place = tuple[int, float, float]  # (event time in ms, latitude, longitude in degrees)


class SessionTotals(msgspec.Struct, array_like=True, gc=False):
    """Counts, items and attention of one session: a monoid.

    `items` are the different ones touched on purpose, `bought` those bought: pairs of them make
    neighbours. Beyond 16 (8 bought) those with the smallest hashes are kept, a fair sample that no
    order changes. Categories beyond the 16 most viewed are dropped when stored.

    `searches` are the first 9 queries by their time, `touches` the times of the first 32 touches of
    items, both in whole seconds: which search led to one, see `clicked`. They are the first, not
    the newest, so that what a long session has lost is the same in any order of its events.
    """

    first_ms: int = 0
    last_ms: int = 0
    events: int = 0
    counts: dict[int, int] = {}
    categories: dict[str, int] = {}
    items: set[str] = set()
    bought: set[str] = set()
    scroll_percent: int = 0
    dwell: Stopwatch = msgspec.field(default_factory=Stopwatch)
    media: Stopwatch = msgspec.field(default_factory=Stopwatch)
    place: Place | None = None
    searches: dict[int, str] = {}
    touches: set[int] = set()

    def add(self, event: Event, time_ms: int, category: str) -> None:
        """Count one event."""
        self.first_ms = min(self.first_ms, time_ms) if self.events else time_ms
        self.last_ms = max(self.last_ms, time_ms)
        self.events += 1
        name = event.event
        code = EVENT_CODES.get(name, CUSTOM_CODE)
        self.counts[code] = self.counts.get(code, 0) + 1
        if name in ENGAGED:
            if category:
                self.categories[category] = self.categories.get(category, 0) + 1
            if event.product_id is not None:
                self.items.add(event.product_id)
                self.touches.add(time_ms // 1000)
                if name == "purchase":
                    self.bought.add(event.product_id)
                self._sample()
        if query := searched(event):
            self._search(time_ms // 1000, query)
        if name in _ATTENTION:
            self._attend(event, time_ms)
        if "latitude" in event.metadata:
            self._locate(event, time_ms)

    def merge(self, other: SessionTotals) -> None:
        """Add everything `other` holds."""
        if not other.events:
            return
        self.first_ms = min(self.first_ms, other.first_ms) if self.events else other.first_ms
        self.last_ms = max(self.last_ms, other.last_ms)
        self.events += other.events
        for code, count in other.counts.items():
            self.counts[code] = self.counts.get(code, 0) + count
        for name, count in other.categories.items():
            self.categories[name] = self.categories.get(name, 0) + count
        self.items |= other.items
        self.bought |= other.bought
        self.touches |= other.touches
        self._sample()
        for time_s, query in other.searches.items():
            self._search(time_s, query)
        self.scroll_percent = max(self.scroll_percent, other.scroll_percent)
        self.dwell.merge(other.dwell)
        self.media.merge(other.media)
        if other.place is not None:
            self.place = max(self.place, other.place) if self.place is not None else other.place

    def top_category(self) -> str:
        """The most viewed category (ties by name), or the empty string."""
        return min(self.categories, key=lambda name: (-self.categories[name], name), default="")

    def count(self, event_type: str) -> int:
        """Events of one type."""
        return self.counts.get(EVENT_CODES.get(event_type, CUSTOM_CODE), 0)

    def clicked(self) -> set[tuple[int, str]]:
        """The time in s, and the query, of each of the first 8 searches that a click came after.

        That is a touch of an item within 10 min, before the next search. A search that comes after
        all of 32 touches is not among them: its own were not kept.
        """
        if not self.searches or not self.touches:
            return set()
        times = sorted(self.searches)
        ends = [*times[1:], 2**32]
        if len(times) == MAX_SESSION_SEARCHES:  # the last one ends the one before it, and no more
            del times[-1]
        last_s = max(self.touches) if len(self.touches) == MAX_SESSION_TOUCHES else 2**32
        found = set()
        for time_s, next_s in zip(times, ends, strict=False):
            end_s = min(next_s, time_s + SEARCH_SPAN_MS // 1000)
            if time_s <= last_s and any(time_s <= touch_s < end_s for touch_s in self.touches):
                found.add((time_s, self.searches[time_s]))
        return found

    def settle(self) -> None:
        """Cut to the most viewed categories."""
        if len(self.categories) > MAX_SESSION_CATEGORIES:
            most = sorted(self.categories.items(), key=lambda entry: (-entry[1], entry[0]))
            self.categories = dict(most[:MAX_SESSION_CATEGORIES])

    def _sample(self) -> None:
        if len(self.items) > MAX_SESSION_ITEMS:
            self.items = set(sorted(self.items, key=_rank)[:MAX_SESSION_ITEMS])
        if len(self.bought) > MAX_SESSION_PURCHASES:
            self.bought = set(sorted(self.bought, key=_rank)[:MAX_SESSION_PURCHASES])
        if len(self.touches) > MAX_SESSION_TOUCHES:
            self.touches = set(sorted(self.touches)[:MAX_SESSION_TOUCHES])

    def _search(self, time_s: int, query: str) -> None:
        self.searches[time_s] = max(query, self.searches.get(time_s, query))
        if len(self.searches) > MAX_SESSION_SEARCHES:
            del self.searches[max(self.searches)]

    def _attend(self, event: Event, time_ms: int) -> None:
        name = event.event
        if name == "dwell":
            self.dwell.reported_ms += dwell_ms(event)
        elif name == "visibility":
            (self.dwell.stop if event.text("state") == "hidden" else self.dwell.start)(time_ms)
        elif name == "scroll":
            depth = event.number("depth") or event.number("scroll_depth")
            self.scroll_percent = max(self.scroll_percent, round(min(max(depth, 0.0), 100.0)))
        elif watched := watched_ms(event):
            self.media.reported_ms += watched
        elif name == "media_play":
            self.media.start(time_ms)
        elif name == "media_pause":
            self.media.stop(time_ms)
        else:
            self.media.tick(time_ms)

    def _locate(self, event: Event, time_ms: int) -> None:
        latitude, longitude = event.number("latitude", 999.0), event.number("longitude", 999.0)
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            place = (time_ms, latitude, longitude)
            self.place = max(self.place, place) if self.place is not None else place


_ATTENTION = frozenset("dwell visibility scroll media_play media_pause media_progress".split())


def session_key(event: Event) -> str:
    """The session an event belongs to: as the client counts it, or the clock hour where the client
    counts none.

    What a bot does is a session of its own, beside a person's of the same id: so it takes no part
    in the pairs that the person's links, in any order of the two.
    """
    key = event.session_id or f"{_NO_SESSION}{event.time_ms // HOUR_MS}"
    return _BOT + key if is_bot(event) else key


def is_bot_session(key: str) -> bool:
    """True where the key is that of a bot's session."""
    return key.startswith(_BOT)


def readable_session_id(key: str) -> str:
    """The client's session id, or the empty string where it gave none."""
    key = key.removeprefix(_BOT)
    return "" if key.startswith(_NO_SESSION) else key


def dwell_ms(event: Event) -> int:
    """The time on a page that a `dwell` event reports, in whole ms, in [0, 1 h]."""
    return round(min(max(event.number("dwell_ms"), 0.0), MAX_DWELL_MS))


def watched_ms(event: Event) -> int:
    """The time watched since the last report, as a media event reports it, in whole ms, in [0, 1
    h]; 0: not reported.
    """
    return round(min(max(event.number("watched_ms"), 0.0), MAX_DWELL_MS))


def _rank(item_id: str) -> tuple[int, str]:
    return crc32(item_id.encode("utf-8", "surrogatepass")), item_id
