"""One visit in numbers: the monoid that Beam's session windows fold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipeline.core.catalog import Item
from pipeline.core.event_types import ENGAGED
from pipeline.core.events import Event
from pipeline.core.fold import category_of
from pipeline.core.timestamps import format_time

# Distinct items and categories are counted exactly up to here, in any order; a person views no
# more.
MAX_SESSION_ITEMS = 500
MAX_SESSION_CATEGORIES = 500

_COLUMNS = {
    "views": "view_product",
    "clicks": "click",
    "carts": "add_to_cart",
    "purchases": "purchase",
    "impressions": "impression",
}
_COUNTED = frozenset(_COLUMNS.values())


class SessionSummary(msgspec.Struct):
    """Totals of one visitor's events between two gaps. `merge` commutes; times are event times in
    ms.

    Beyond 500 categories, which ones are kept depends on order; how many does not.
    """

    # (time in ms, event id, event name): the minimum is the first
    first: tuple[int, str, str] = (0, "", "")
    last_ms: int = 0
    events: int = 0
    counts: dict[str, int] = {}
    items: set[str] = set()
    categories: dict[str, int] = {}
    revenue: float = 0.0
    dwell_s: float = 0.0

    def add(self, event: Event, item: Item | None = None) -> None:
        """Count one event, with what the catalog knows of its item."""
        stamp = (event.time_ms, event.event_id, event.event)
        if not self.events or stamp < self.first:
            self.first = stamp
        self.last_ms = max(self.last_ms, event.time_ms)
        self.events += 1
        if event.event in _COUNTED:
            self.counts[event.event] = self.counts.get(event.event, 0) + 1
        if event.event in ENGAGED and event.product_id is not None:
            self._add_item(event, item)
        if event.event == "purchase":
            price = event.number("price") or (item.price if item is not None else 0.0)
            self.revenue += price * event.number("quantity", 1.0)
        elif event.event == "dwell":
            self.dwell_s += event.number("dwell_ms") / 1000

    def merge(self, other: SessionSummary) -> None:
        """Add everything `other` holds."""
        if not other.events:
            return
        if not self.events or other.first < self.first:
            self.first = other.first
        self.last_ms = max(self.last_ms, other.last_ms)
        self.events += other.events
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        for name, count in other.categories.items():
            self._add_category(name, count)
        self.items |= other.items
        if len(self.items) > MAX_SESSION_ITEMS:
            self.items = set(sorted(self.items)[:MAX_SESSION_ITEMS])
        self.revenue += other.revenue
        self.dwell_s += other.dwell_s

    @property
    def first_ms(self) -> int:
        """Event time of the first event, in ms."""
        return self.first[0]

    def row(self, visitor: str, emitted_at: datetime) -> dict[str, Any]:
        """The row of the BigQuery table `sessions`."""
        top = min(self.categories, key=lambda name: (-self.categories[name], name), default=None)
        return {
            "visitor": visitor,
            "session_start": _time(self.first_ms),
            "session_end": _time(self.last_ms),
            "events": self.events,
            **{column: self.counts.get(name, 0) for column, name in _COLUMNS.items()},
            "items": len(self.items),
            "categories": len(self.categories),
            "revenue": round(self.revenue, 2),
            "dwell_s": round(self.dwell_s, 3),
            "top_category": top,
            "first_event": self.first[2],
            "emitted_at": format_time(emitted_at),
        }

    def _add_item(self, event: Event, item: Item | None) -> None:
        if len(self.items) < MAX_SESSION_ITEMS and event.product_id is not None:
            self.items.add(event.product_id)
        category = category_of((event, item))
        if category:
            self._add_category(category, 1)

    def _add_category(self, name: str, count: int) -> None:
        if name in self.categories or len(self.categories) < MAX_SESSION_CATEGORIES:
            self.categories[name] = self.categories.get(name, 0) + count


def merged(summaries: Iterable[SessionSummary]) -> SessionSummary:
    """One summary of all; the inputs stay as they are."""
    total = SessionSummary()
    for summary in summaries:
        total.merge(summary)
    return total


def runs(events: list[tuple[Event, Item | None]], gap_ms: int) -> list[SessionSummary]:
    """Partial summaries of one visitor's events, cut wherever two neighbours lie `gap_ms` or more
    apart.
    """
    partials: list[SessionSummary] = []
    for event, item in sorted(events, key=lambda entry: entry[0].time_ms):
        if not partials or event.time_ms - partials[-1].last_ms >= gap_ms:
            partials.append(SessionSummary())
        partials[-1].add(event, item)
    return partials


def _time(time_ms: int) -> str:
    return format_time(datetime.fromtimestamp(time_ms / 1000, UTC))
