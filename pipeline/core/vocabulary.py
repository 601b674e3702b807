"""What stored states call events: small codes, and which events mean what. Append, never renumber."""

from __future__ import annotations

from pipeline.core.decay import DAY_MS, HOUR_MS, MINUTE_MS

# Stored states hold these codes (0 to 31): append, never renumber.
EVENT_CODES = {
    name: code
    for code, name in enumerate(
        "page_view click search scroll view_product add_to_cart remove_from_cart purchase media_play media_pause"
        " media_progress dwell impression identify visibility".split()
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
MINUTES_RING = ("minutes", 10_000, 61)
HOUR_RING = ("hour", 2 * MINUTE_MS, 34)
DAY_RING = ("day", HOUR_MS, 26)
RINGS = {"1m": MINUTES_RING, "5m": MINUTES_RING, "1h": HOUR_RING, "24h": DAY_RING}
