"""What one event costs a profile, and how large a profile grows: one core, no runner, no network.

The visitors are simulated shoppers (the demo's own) with 2,000 events each over about two months:
impressions, clicks, views, carts, purchases and searches, ids as long as a browser makes them.
Measured on the second half of each life, when every bound of the profile is reached.
"""

from __future__ import annotations

import random
import statistics
import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import parse_item
from pipeline.core.events import parse_event
from pipeline.core.fold import Fact
from pipeline.core.profile import UserProfile
from tests.bench.rows import Row, row
from tests.simulator import catalog
from tests.simulator.browser import Browser
from tests.simulator.history import OldShop, play
from tests.simulator.shoppers import World, visit

VISITORS, EVENTS = 60, 2_000
DAYS_BETWEEN_VISITS = 2.0
MESSAGE_EVENTS = 20
TARGET_ADD_US, TARGET_CYCLE_US, TARGET_BYTES = 20.0, 60.0, 4_096.0


def run() -> list[Row]:
    """Measure; takes about half a minute."""
    products = catalog.generate(seed=7)
    world, items = (
        World(products),
        {item.item_id: item for item in map(parse_item, map(asdict, products))},
    )
    adds: list[float] = []
    cycles: list[float] = []
    sizes: list[float] = []
    for number in range(VISITORS):
        facts = life(world, number, items)
        profile = UserProfile()
        adds += timed_adds(profile, facts)[EVENTS // 2 :]
        encoded = profile.encode()
        sizes.append(len(encoded))
        cycles += timed_cycles(encoded, life(world, VISITORS + number, items)[:100])
    return [
        row("profile_add_p50", statistics.median(adds) * 1e6, "us", TARGET_ADD_US),
        row("profile_add_p99", _percentile(adds, 0.99) * 1e6, "us"),
        row(
            "profile_decode_add_encode_p50", statistics.median(cycles) * 1e6, "us", TARGET_CYCLE_US
        ),
        row("profile_encoded_p50", statistics.median(sizes), "bytes"),
        row("profile_encoded_p99", _percentile(sizes, 0.99), "bytes", TARGET_BYTES),
    ]


def timed_adds(profile: UserProfile, facts: list[Fact]) -> list[float]:
    """Seconds of each `add`; the profile is stored and read back every 20 events, as between
    messages.
    """
    taken = []
    for number, (event, item) in enumerate(facts):
        began = time.perf_counter()
        profile.add(event, item)
        taken.append(time.perf_counter() - began)
        if number % MESSAGE_EVENTS == MESSAGE_EVENTS - 1:
            settled = profile.copy()
            for name in profile.__struct_fields__:
                setattr(profile, name, getattr(settled, name))
    return taken


def timed_cycles(encoded: bytes, facts: list[Fact]) -> list[float]:
    """Seconds of reading a profile, adding one event and writing it."""
    taken = []
    for event, item in facts:
        began = time.perf_counter()
        profile = UserProfile.decode(encoded)
        profile.add(event, item)
        encoded = profile.encode()
        taken.append(time.perf_counter() - began)
    return taken


def life(world: World, number: int, items: dict[str, Item]) -> list[Fact]:
    """2,000 events of one shopper, visit after visit, each with its item."""
    rng = random.Random(f"life-{number}")
    shopper, shop = world.shopper(number), OldShop(world, rng)
    at = datetime.now(UTC) - timedelta(days=90)
    facts: list[Fact] = []
    visits = 0
    while len(facts) < EVENTS:
        browser = Browser(shopper.identity, str(uuid.UUID(int=rng.getrandbits(128))))
        for wire in play(visit(world, shopper, visits), browser, shop, at.timestamp()):
            wire = {**wire, "event_id": str(uuid.UUID(int=rng.getrandbits(128)))}
            event = parse_event(wire, ingest_time=datetime.now(UTC), backfill=True)
            facts.append((event, items.get(event.product_id or "")))
        at = max(_last(facts), at) + timedelta(days=rng.expovariate(1 / DAYS_BETWEEN_VISITS))
        at = min(at, datetime.now(UTC) - timedelta(hours=1))
        visits += 1
    return facts[:EVENTS]


def _last(facts: list[Fact]) -> datetime:
    return facts[-1][0].timestamp if facts else datetime.min.replace(tzinfo=UTC)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


if __name__ == "__main__":
    for found in run():
        print(found)
