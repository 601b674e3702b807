"""Writes what is stored today and what it says: `python -m tests.pipeline.golden.write
version_1.json`, and of queries `queries_version_1.json`.

A version's file is written once, before the first release that stores it, and never again: shops
have stored it so.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import asdict

from pipeline.core.catalog import Item, encode_item
from pipeline.core.features.visitor import VISITOR_FEATURES
from pipeline.core.fold import Fact, fold, item_sums
from pipeline.core.items import ItemStats, Trending
from pipeline.core.profile import UserProfile
from pipeline.core.profile_view import readable
from pipeline.core.queries import (
    QUERY_HALF_LIFE_MS,
    QueryStats,
    SearchClick,
    TopQueries,
    query_sums,
)
from tests.pipeline.core.streams import START_MS, event, random_stream

FOLDER = Path(__file__).parent
NOW_MS = START_MS + 3_600_000
EVENTS = 190
ITEM = Item("p1", "Lamp", "home.light", "b1", 12.5, "https://img.example/p1", "/p1", in_stock=False)
# Estimates whose formula may become a better one; a golden file holds what was counted.
ESTIMATES = frozenset("churn_risk conversion_likelihood conversion_rate visit_gap_days".split())


def stream() -> list[Fact]:
    """The generated events of one visitor."""
    source = {"referrer": "https://search.example/", "utm_campaign": "spring"}
    first = event("page_view", -60, f"g{EVENTS - 1}", session_id=None, metadata=source)
    return [(first, None), *random_stream(Random(21), EVENTS - 1, 3_600_000, visitor="g")]


def states(facts: list[Fact]) -> tuple[UserProfile, ItemStats, Trending]:
    """A profile, the statistics of the item it links most, and the scope of all items, from one
    visitor's events.
    """
    profile = UserProfile(
        marks={"event_rate_1m": NOW_MS + 5}, fired={"cart_abandonment": NOW_MS - 5}
    )
    sums = item_sums([fold(profile, facts)])
    trending = Trending()
    for item_id, stats in sums.items():
        trending.rank(item_id, stats.log2_popularity() or 0.0)
        trending.counts.merge(stats.counts)
        trending.newest_ms = max(trending.newest_ms, stats.newest_ms)
    most = max(sums, key=lambda item_id: (len(sums[item_id].bought_weights.sums), item_id))
    return profile.copy(), sums[most], trending


def readings(
    profile: UserProfile, stats: ItemStats, trending: Trending, now_ms: int
) -> dict[str, Any]:
    """Everything that the three states say at `now_ms`."""
    direction = stats.context.direction()
    return {
        "profile_says": readable(profile, now_ms),
        "features": {
            feature.name: feature.value(profile, now_ms)
            for feature in VISITOR_FEATURES
            if feature.name not in ESTIMATES
        },
        "interest": profile.category_interest(),
        "shown": {str(item): weight for item, weight in profile.shown(now_ms).items()},
        "stats_says": stats.describe(now_ms),
        "category": stats.category,
        "views": stats.views(now_ms),
        "neighbours": stats.neighbours(now_ms),
        "bought_with": stats.bought_with(now_ms),
        "context": [] if direction is None else direction.tolist(),
        "trending_says": trending.top(now_ms, 20),
        "trending_counts": trending.counts.describe(now_ms),
    }


def query_states() -> tuple[QueryStats, TopQueries]:
    """Statistics of a query that six visitors searched for, and the row it has its place in."""
    searches = [
        event(
            "search",
            600 * n,
            anonymous_id=f"v{n}",
            metadata={"query": "Lamp", "results": n % 3},
        )
        for n in range(6)
    ]
    stats = query_sums(searches, [SearchClick("lamp", 1.0, START_MS)])["lamp"]
    top, found = TopQueries(stats.newest_ms), stats.top(stats.newest_ms)
    assert found is not None
    top.note("lamp", found)
    return stats, top


def query_readings(stats: QueryStats, top: TopQueries, now_ms: int) -> dict[str, Any]:
    """Everything that the two states say at `now_ms`."""
    lamp = top.queries["lamp"]
    return {
        "is_public": stats.is_public,
        "visitors": len(stats.visitors),
        "counts": {
            str(code): stats.counts.value(code, now_ms, QUERY_HALF_LIFE_MS)
            for code in stats.counts.sums
        },
        "searches": lamp.searches(now_ms),
        "empty": lamp.empty,
        "clicked": lamp.clicked,
    }


def main(name: str) -> None:
    """Write the file `name` beside this one."""
    golden = queries_golden() if name.startswith("queries") else states_golden()
    (FOLDER / name).write_text(
        json.dumps(golden, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8"
    )


def queries_golden() -> dict[str, Any]:
    """The two states of queries as stored, and what they say."""
    stats, top = query_states()
    return {
        "now_ms": NOW_MS,
        "query": _text(stats.encode()),
        "top_queries": _text(top.encode()),
        **query_readings(stats, top, NOW_MS),
    }


def states_golden() -> dict[str, Any]:
    """The other states as stored, and what they say."""
    facts = stream()
    profile, stats, trending = states(facts)
    stored = {
        "profile": profile.encode(),
        "stats": stats.encode(),
        "trending": trending.encode(),
        "item": encode_item(ITEM),
    }
    return {
        "now_ms": NOW_MS,
        "events": [[fact.event_id, fact.event, fact.product_id] for fact, _ in facts],
        **{state: _text(data) for state, data in stored.items()},
        **readings(profile, stats, trending, NOW_MS),
        "item_says": asdict(ITEM),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main(sys.argv[1])
