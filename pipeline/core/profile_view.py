"""A profile as people and other programs read it."""

from __future__ import annotations

from typing import Any

from pipeline.core.event_types import EVENT_CODES, WINDOWS_MS
from pipeline.core.first_touch import FirstTouch
from pipeline.core.profile import UserProfile


def readable(profile: UserProfile, now_ms: int) -> dict[str, Any]:
    """The profile in readable numbers, for people and for the API."""
    session_id, session = profile.session()
    names = {code: name for name, code in EVENT_CODES.items()}
    interest = sorted(profile.category_interest().items(), key=lambda entry: (-entry[1], entry[0]))
    first = profile.first_touch or FirstTouch()
    return {
        "events_total": profile.events_total,
        "last_category": profile.last_category,
        "last_item": profile.last_item,
        "last_query": profile.last_query,
        "windows": {
            window: {
                name: count
                for name in EVENT_CODES
                if (count := profile.count(name, window, now_ms))
            }
            for window in WINDOWS_MS
        },
        "session": {
            "session_id": session_id,
            "events": session.events,
            "duration_s": (session.last_ms - session.first_ms) / 1000,
            "top_category": session.top_category(),
            "dwell_s": session.dwell.elapsed_ms / 1000,
            "media_s": session.media.elapsed_ms / 1000,
            "scroll_percent": session.scroll_percent,
            "counts": {
                names.get(code, "custom"): count for code, count in sorted(session.counts.items())
            },
        },
        "top_categories": [{"category": name, "interest": share} for name, share in interest[:8]],
        "recent_items": [
            {"id": name, "time_ms": time_ms} for name, time_ms in profile.recent_items(now_ms, 20)
        ],
        "recent_queries": [query for query, _ in profile.recent_queries()],
        "first_touch": {"referrer": first.referrer, "campaign": first.campaign},
        "cart": sorted(profile.in_cart()),
    }
