"""Generated streams of visitors' events, and what it means that two states are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.core.catalog import Item
from pipeline.core.decay import DecayedSums, DecayedVector
from pipeline.core.event_types import EVENT_CODES
from pipeline.core.events import Event
from pipeline.core.interests import Taste
from pipeline.core.items import ItemStats
from pipeline.core.profile import MAX_SEEN_IDS, UserProfile

START = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
LATE_MS = 48 * 3_600_000  # as late as an event may come
CATALOG = {
    f"p{n}": Item(f"p{n}", category=f"c{n % 5}.s{n % 3}", brand=f"b{n % 4}", price=0.5 + 7 * n)
    for n in range(12)
}
PRODUCTS = [*CATALOG, "new1", "new2"]  # the catalog does not know all that is sold
NAMES = [*EVENT_CODES, "rating"]
WITH_PRODUCT = frozenset(
    "click view_product add_to_cart remove_from_cart purchase impression media_play media_pause "
    "media_progress".split()
)

# The same examples each time, and no more than the whole suite has time for.
laws = settings(derandomize=True, max_examples=60, deadline=None)

Fact = tuple[Event, Item | None]
T = TypeVar("T")


def event(
    name: str = "view_product", at_s: float = 0.0, event_id: str = "", **fields: Any
) -> Event:
    """An event of user `u`, `at_s` seconds after `START`."""
    return Event(
        event_id=event_id or f"{name}@{at_s:g}/{fields.get('product_id', '')}",
        event=name,
        timestamp=START + timedelta(seconds=at_s),
        **{"user_id": "u", "session_id": "s1", **fields},
    )


# generated streams


def random_stream(
    random: Random, size: int, span_ms: int = LATE_MS, visitor: str = "u"
) -> list[Fact]:
    """Distinct events of one visitor in time order, each with its item; of every type, within a
    profile's bounds.

    At most two sessions: two of the client's, or one of the client's and the events of one hour
    that name none. Times are whole milliseconds, and some events share one.
    """
    sessions = random.choice((("s1", "s2"), ("s1", None), ("s1",), (None,)))
    hour_ms = min(span_ms, 3_600_000)
    stream: list[Fact] = []
    offset = 0
    for number in range(size):
        session = random.choice(sessions)
        if random.random() > 0.1:
            offset = random.randrange(span_ms if session else hour_ms)
        elif session is None:
            offset %= hour_ms
        stream.append(random_fact(random, f"{visitor}{number}", offset, session, visitor))
    return sorted(stream, key=lambda fact: fact[0].time_ms)


def random_fact(
    random: Random, event_id: str, offset_ms: int, session: str | None, visitor: str = "u"
) -> Fact:
    """One event `offset_ms` after `START`, of any type, with what belongs to it in its metadata."""
    name = random.choice(NAMES)
    product = random.choice(PRODUCTS) if name in WITH_PRODUCT else None
    found = Event(
        event_id=event_id,
        event=name,
        timestamp=START + timedelta(milliseconds=offset_ms),
        anonymous_id=f"browser of {visitor}",
        user_id=visitor if name == "identify" or random.random() < 0.5 else None,
        session_id=session,
        product_id=product,
        metadata={
            key: value for key, value in _metadata(random, name).items() if value is not None
        },
    )
    return found, CATALOG.get(product or "")


def _metadata(random: Random, name: str) -> dict[str, Any]:
    def maybe(value: T, chance: float = 0.3) -> T | None:
        return value if random.random() < chance else None

    found: dict[str, Any] = {
        "latitude": maybe(random.uniform(-90, 90), 0.1),
        "longitude": random.uniform(-180, 180),
    }
    if name in WITH_PRODUCT:
        found |= {
            "category": maybe(f"c{random.randrange(4)}"),
            "brand": maybe(f"b{random.randrange(4)}"),
        }
        found |= {
            "price": maybe(random.choice((0, 3, 9.99, 120))),
            "quantity": maybe(random.randrange(1, 4)),
        }
        found |= {"discount": maybe(5), "list_price": maybe(150.0)}
    if name in ("click", "impression"):
        found |= {
            "request_id": maybe(f"r{random.randrange(4)}", 0.7),
            "position": maybe(random.randrange(20)),
        }
    elif name in ("page_view", "identify"):
        campaign = random.choice(("", "?utm_campaign=spring", "?utm_campaign=autumn#top"))
        found |= {
            "url": maybe(f"https://shop.example/{campaign}", 0.7),
            "utm_campaign": maybe("winter", 0.1),
        }
        found |= {
            "referrer": maybe(
                random.choice(("https://search.example/q", "https://shop.example/", "no url"))
            )
        }
    elif name == "search":
        found["query"] = random.choice(("lamp", "red lamp", "shoes", "", "été"))
    elif name == "dwell":
        found["dwell_ms"] = random.choice((0, 250.5, 1_000, 90_000, 9_000_000))
    elif name == "scroll":
        found["depth"] = random.choice((0, 12.5, 50, 100, 400))
    elif name == "visibility":
        found["state"] = random.choice(("visible", "hidden"))
    elif name.startswith("media"):
        found["watched_ms"] = maybe(random.choice((0, 5_000, 30_000)))
    return found


def shuffled(random: Random, values: Sequence[T]) -> list[T]:
    """The same in another order."""
    return random.sample(values, len(values))


def disorder(random: Random, clean: Sequence[T]) -> list[T]:
    """The same in any order, some of them twice: as late as the stream is long."""
    doubled = [random.choice(clean) for _ in range(random.randrange(10))] if clean else []
    return shuffled(random, [*clean, *doubled])


def split(random: Random, values: Sequence[T], parts: int) -> list[list[T]]:
    """Each of the values in one of `parts` lists; some of those may be empty."""
    found: list[list[T]] = [[] for _ in range(parts)]
    for value in values:
        random.choice(found).append(value)
    return found


def messages(random: Random, stream: Sequence[T], most: int = 6) -> list[list[T]]:
    """The stream cut into messages of 1 to `most` events."""
    found, start = [], 0
    while start < len(stream):
        size = random.randint(1, most)
        found.append(list(stream[start : start + size]))
        start += size
    return found


# One seed a stream: drawing each field of each event by Hypothesis takes a hundred times as long.
seeds = st.integers(0, 2**32 - 1)


@st.composite
def randoms(draw: st.DrawFn) -> Random:
    """A source of chance that Hypothesis can repeat."""
    return Random(draw(seeds))


@st.composite
def facts(draw: st.DrawFn, max_size: int = 40, span_s: int = LATE_MS // 1000) -> list[Fact]:
    """A clean stream of one visitor, see `random_stream`."""
    return random_stream(Random(draw(seeds)), draw(st.integers(0, max_size)), span_s * 1000)


@st.composite
def disordered(draw: st.DrawFn, most: int = 40) -> tuple[list[Fact], list[Fact]]:
    """A clean stream, and the same shuffled with some events doubled."""
    clean = draw(facts(max_size=most))
    return clean, disorder(Random(draw(seeds)), clean)


def profile_of(stream: Sequence[Fact]) -> UserProfile:
    """The fold of a stream, cut to its bounds."""
    profile = UserProfile()
    for found, item in stream:
        profile.add(found, item)
    return profile.copy()


def stats_of(stream: Sequence[Event]) -> ItemStats:
    """The fold of an item's events."""
    stats = ItemStats()
    for found in stream:
        stats.add(found)
    return stats


# sameness


def assert_same(left: Any, right: Any, path: str = "") -> None:
    """Floats to 1e-9 relative, everything else exactly; order of keys aside. The message names the
    first difference.

    Four parts are compared for what they mean: the memory of what arrived last as a set (while
    nothing has dropped out of it), interest of 30 min relative to the strongest, vectors by their
    length, and pairs, which are added and taken back, to 1e-9 of one pair.
    """
    if isinstance(left, msgspec.Struct):
        assert type(left) is type(right), path
        for name in left.__struct_fields__:
            _assert_same_field(left, right, name, f"{path}.{name}")
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), f"{path}: {left.keys() ^ right.keys()} on one side only"
        for key in left:
            assert_same(left[key], right[key], f"{path}[{key!r}]")
    elif isinstance(left, tuple):
        assert len(left) == len(right), f"{path}: {left} and {right}"
        for place, (one, two) in enumerate(zip(left, right, strict=True)):
            assert_same(one, two, f"{path}[{place}]")
    elif isinstance(left, float):
        assert math.isclose(left, right, rel_tol=1e-9), f"{path}: {left} and {right}"
    else:
        assert left == right, f"{path}: {left} and {right}"


def _assert_same_field(left: Any, right: Any, name: str, path: str) -> None:
    one, two = getattr(left, name), getattr(right, name)
    if isinstance(left, UserProfile) and name == "seen":
        assert len(one) == len(two), path
        if len(one) < 4 * MAX_SEEN_IDS:
            assert _hashes(one) == _hashes(two), path
    elif isinstance(left, Taste) and name in ("categories", "brands"):
        _assert_same_interest(one, two, path)
    elif isinstance(left, Taste) and name == "vectors":
        _assert_same_vectors(one, two, 2, path)
    elif isinstance(left, ItemStats) and name in ("neighbour_weights", "bought_weights"):
        assert_same_pairs(one, two, path)
    elif isinstance(left, DecayedVector) and name == "landmark":
        # a pair that was taken back may have moved it; `values` is compared at the later of both
        pass
    elif isinstance(left, DecayedVector):
        _assert_same_direction(left, right, path)
    else:
        assert_same(one, two, path)


def _hashes(seen: bytes) -> set[bytes]:
    return {seen[at : at + 4] for at in range(0, len(seen), 4)}


def _assert_same_interest(left: dict[str, Any], right: dict[str, Any], path: str) -> None:
    assert left.keys() == right.keys(), path
    strongest = max((sums[1] for sums in left.values() if len(sums) > 1), default=0.0)
    for name, sums in left.items():
        assert_same(sums[0], right[name][0], f"{path}[{name!r}] on 7 d")
        one, two = (*sums, 0.0)[1], (*right[name], 0.0)[1]
        assert math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-9 * strongest), (
            f"{path}[{name!r}] on 30 min"
        )


def assert_same_pairs(left: DecayedSums[str], right: DecayedSums[str], path: str = "") -> None:
    """Pairs' weights are the same to 1e-9 at the later landmark; one that is not there weighs
    nothing.
    """
    landmark = max(left.landmark, right.landmark)
    scales = [2.0 ** (state.landmark - landmark) for state in (left, right)]
    for key in left.sums.keys() | right.sums.keys():
        one, two = (
            state.sums.get(key, 0.0) * scale
            for state, scale in zip((left, right), scales, strict=True)
        )
        assert math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-9), (
            f"{path}[{key!r}]: {one} and {two}"
        )


def _assert_same_direction(left: DecayedVector, right: DecayedVector, path: str) -> None:
    landmark = max(left.landmark, right.landmark)
    zero = bytes(max(len(left.values), len(right.values)))
    one, two = (
        np.frombuffer(state.values or zero)
        * 2.0 ** (state.landmark - landmark if state.values else 0)
        for state in (left, right)
    )
    assert np.allclose(one, two, rtol=0, atol=1e-9 * max(float(np.linalg.norm(two)), 1.0)), path


def _assert_same_vectors(left: bytes, right: bytes, parts: int, path: str) -> None:
    assert len(left) == len(right), path
    for one, two in zip(
        *(np.split(np.frombuffer(vectors), parts) for vectors in (left, right)), strict=True
    ):
        assert np.allclose(one, two, rtol=0, atol=1e-9 * float(np.linalg.norm(two))), path
