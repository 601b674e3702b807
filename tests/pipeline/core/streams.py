"""Generated streams of one visitor's events, and what it means that two states are the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
CATALOG = {
    f"p{n}": Item(f"p{n}", category=f"c{n % 5}.s{n % 3}", brand=f"b{n % 4}", price=0.5 + 7 * n) for n in range(12)
}
NAMES = "page_view click search scroll view_product add_to_cart remove_from_cart purchase impression dwell poke".split()
WITH_PRODUCT = "click view_product add_to_cart remove_from_cart purchase impression".split()

# The same examples each time, and no more than the whole suite has time for.
laws = settings(derandomize=True, max_examples=60, deadline=None)

Fact = tuple[Event, Item | None]


def event(name: str = "view_product", at_s: float = 0.0, event_id: str = "", **fields: Any) -> Event:
    """An event of user `u`, `at_s` seconds after `START`."""
    return Event(
        event_id=event_id or f"{name}@{at_s:g}/{fields.get('product_id', '')}",
        event=name,
        timestamp=START + timedelta(seconds=at_s),
        **{"user_id": "u", "session_id": "s1", **fields},
    )


@st.composite
def facts(draw: st.DrawFn, max_size: int = 40, span_s: int = 6 * 3600) -> list[Fact]:
    """Distinct events of one visitor in time order, each with its item; within all bounds of a profile.

    Two sessions, one after the other; times are whole milliseconds, and some events share one.
    """
    offsets = sorted(draw(st.lists(st.integers(0, span_s * 1000), max_size=max_size)))
    stream = []
    for number, offset in enumerate(offsets):
        name = draw(st.sampled_from(NAMES))
        product = draw(st.sampled_from(sorted(CATALOG))) if name in WITH_PRODUCT else None
        metadata: dict[str, Any] = {"query": draw(st.sampled_from("abc"))} if name == "search" else {}
        if name == "dwell":
            metadata = {"dwell_ms": draw(st.integers(0, 100_000))}
        found = Event(
            event_id=f"e{number}",
            event=name,
            timestamp=START + timedelta(milliseconds=offset),
            user_id="u",
            session_id="s1" if offset < span_s * 500 else "s2",
            product_id=product,
            metadata=metadata,
        )
        stream.append((found, CATALOG.get(product or "")))
    return stream


@st.composite
def disordered(draw: st.DrawFn, most: int = 40) -> tuple[list[Fact], list[Fact]]:
    """A clean stream, and the same shuffled with some events doubled."""
    clean = draw(facts(max_size=most))
    doubled = clean + [draw(st.sampled_from(clean)) for _ in range(draw(st.integers(0, 10)) if clean else 0)]
    return clean, draw(st.permutations(doubled))


def profile_of(stream: list[Fact]) -> UserProfile:
    """The fold of a stream, cut to its bounds."""
    profile = UserProfile()
    for found, item in stream:
        profile.add(found, item)
    return profile.copy()


def stats_of(stream: list[Event]) -> ItemStats:
    """The fold of an item's events."""
    stats = ItemStats()
    for found in stream:
        stats.add(found)
    return stats


def assert_same(left: Any, right: Any, path: str = "") -> None:
    """Floats to 1e-9, everything else exactly; order of keys aside. The message names the first difference."""
    if isinstance(left, msgspec.Struct):
        assert type(left) is type(right), path
        for name in left.__struct_fields__:
            assert_same(getattr(left, name), getattr(right, name), f"{path}.{name}")
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_same(left[key], right[key], f"{path}[{key!r}]")
    elif isinstance(left, float):
        assert math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12), f"{path}: {left} and {right}"
    else:
        assert left == right, f"{path}: {left} and {right}"
