"""A small log with a planted truth: cheap things get clicked, which the prior does not know."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.core.catalog import Item
from pipeline.core.events import Event

START = datetime(2025, 3, 1, tzinfo=UTC)
CHEAP = 20.0


def catalog(items: int = 6_000) -> dict[str, Item]:
    """Items of six categories; every third of each costs 10, the others 200."""
    return {
        f"p{number}": Item(
            f"p{number}",
            category=f"shop.c{number % 6}",
            price=10.0 if number // 6 % 3 == 0 else 200.0,
        )
        for number in range(items)
    }


def event(name: str, at_ms: float, **fields: Any) -> Event:
    """One event, `at_ms` after the log's beginning; `metadata` fields are told by their names."""
    names = ("user_id", "anonymous_id", "session_id", "product_id")
    known = {"anonymous_id": "a1", **{key: fields.pop(key) for key in names if key in fields}}
    return Event(
        event_id=fields.pop("event_id", f"{name}-{at_ms}-{fields}-{known}"),
        event=name,
        timestamp=START + timedelta(milliseconds=at_ms),
        metadata=fields,
        **known,
    )


def shown(request: str, at_ms: float, *items: str, **who: Any) -> list[Event]:
    """Impressions of one slate, in this order."""
    return [
        event("impression", at_ms, product_id=name, request_id=request, position=position, **who)
        for position, name in enumerate(items)
    ]


def clicks_on_cheap_things(
    visits: int = 260, slates: int = 4, shown: int = 6, seed: int = 1
) -> list[Event]:
    """Visits of a minute a slate: some views of one category, then slates of random items.

    A cheap item is clicked with chance 0.5, another with chance 0.03. Nothing else matters, place
    included. There are so many items that each is shown but once or twice: its own click-through
    rate tells next to nothing.
    """
    rng, items, log = random.Random(seed), catalog(), []
    for visit in range(visits):
        who = {"anonymous_id": f"a{visit % 80}", "session_id": f"s{visit}"}
        category = f"shop.c{rng.randrange(6)}"
        for slate in range(slates):
            at_ms, request = (visit * slates + slate) * 60_000.0, f"r{visit}-{slate}"
            seen = rng.choice([item for item in items.values() if item.category == category])
            log.append(event("view_product", at_ms, product_id=seen.item_id, **who))
            for position, name in enumerate(rng.sample(sorted(items), shown)):
                about = {"product_id": name, "request_id": request, "position": position, **who}
                log.append(event("impression", at_ms + 1_000, **about))
                if rng.random() < (0.5 if items[name].price < CHEAP else 0.03):
                    log.append(event("click", at_ms + 5_000 + position, **about))
    return log


def views_of_pairs(visits: int = 300, seed: int = 1) -> list[Event]:
    """A log of views alone: whoever views an even item goes on to its odd neighbour."""
    rng, log = random.Random(seed), []
    for visit in range(visits):
        who = {"user_id": f"u{visit % 90}", "session_id": f"s{visit}"}
        for step in range(2):
            first = 2 * rng.randrange(30)
            at_ms = visit * 60_000.0 + step * 20_000
            log.append(event("view_product", at_ms, product_id=f"p{first}", **who))
            log.append(event("view_product", at_ms + 7_000, product_id=f"p{first + 1}", **who))
    return log
