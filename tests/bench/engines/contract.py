"""What every engine is asked for: the events of the stream, the features at its end. Standard
library only.

The definition, for one visitor with the distinct events E and `now` the newest event time in E:

- `windows[w][i]`: how many events of the i-th type lie in the window `w`, to the bucket that
  straddles its start, i.e. with `(now - w) // width <= time // width`, where `width` is the
  bucket's width of that window;
- `category[h][key]`, `brand[h][key]`: the sum over E of `weight(type) * 2 ** (-(now - time) / h)`.

Times and lengths are in milliseconds. An event is one of E once, however often it comes: an engine
remembers the ids of the visitor's newest `SEEN_IDS` events, newest by (time, id).
"""

from __future__ import annotations

from typing import TypedDict

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

EVENT_NAMES = (
    "page_view click search scroll view_product add_to_cart remove_from_cart purchase media_play "
    "media_pause"
    " media_progress dwell impression identify".split()
)
CODES = {name: code for code, name in enumerate(EVENT_NAMES)}
INTEREST_WEIGHTS = {"click": 0.5, "view_product": 1.0, "add_to_cart": 3.0, "purchase": 5.0}
WINDOWS = {
    "1 min": (MINUTE_MS, 10 * SECOND_MS),
    "5 min": (5 * MINUTE_MS, 10 * SECOND_MS),
    "1 h": (HOUR_MS, 2 * MINUTE_MS),
    "24 h": (DAY_MS, HOUR_MS),
}
"""Name -> (length, bucket width)."""
RINGS = {10 * SECOND_MS: 31, 2 * MINUTE_MS: 31, HOUR_MS: 25}
"""Bucket width -> how many buckets the longest of its windows needs, the straddling one
included."""
HALF_LIVES = {"7 d": 7 * DAY_MS, "30 min": 30 * MINUTE_MS}
SEEN_IDS = 200
"""How many of a visitor's newest event ids are remembered."""
EVENTS_A_MESSAGE = 20


class Event(TypedDict):
    """One event as it stands in a message, which is a JSON array of them; `brand` may be empty."""

    event_id: str
    event: str
    user_id: str
    time_ms: int
    category: str
    brand: str


class Features(TypedDict):
    """One line of an engine's answer: a visitor at the time of the visitor's newest event."""

    user_id: str
    now_ms: int
    windows: dict[str, list[int]]
    category: dict[str, dict[str, float]]
    brand: dict[str, dict[str, float]]
