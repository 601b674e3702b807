"""The stream that every engine reads: real shop events where the file is there, else seeded ones;
late and doubled.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.engines.contract import EVENT_NAMES, EVENTS_A_MESSAGE, HOUR_MS, SECOND_MS, Event

REES46 = Path(__file__).resolve().parents[4] / "shared" / "data" / "rees46_2019-10-01.csv"
ROWS = 17_435  # of the seeded stream: as many as the file has
REPEATS = 12
SHARED_REPEATS = 6  # repeats in which a visitor comes back, so that some outgrow the remembered ids
SHIFT_MS = 9 * HOUR_MS  # from a repeat to the next: 24 h windows expire within three
LATEST_BY = 500  # places an event may come late in the stream
# share of the events that come twice, the second time up to `LATEST_BY` places later still
DOUBLED = 0.05
_NAMES = {"view": "view_product", "cart": "add_to_cart"}


def write_stream(path: Path, base: Sequence[Event], repeats: int = REPEATS, seed: int = 46) -> int:
    """Write `base` repeated, shuffled and doubled as messages, one JSON line each; returns the
    number of events.
    """
    events = disturbed(list(repeated(base, repeats)), seed)
    with path.open("w", encoding="utf-8") as lines:
        for start in range(0, len(events), EVENTS_A_MESSAGE):
            lines.write(json.dumps(events[start : start + EVENTS_A_MESSAGE]) + "\n")
    return len(events)


def base_events() -> tuple[str, list[Event]]:
    """What the stream is made of, in words, and its events in time order."""
    if REES46.is_file():
        return "REES46 shop events", rees46_events(REES46)
    return "seeded events (no ../shared/data/rees46_2019-10-01.csv)", seeded_events(ROWS)


def rees46_events(path: Path) -> list[Event]:
    """The file's rows as events; a row without a category code is of its category id."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [_from_rees46(row, number) for number, row in enumerate(csv.DictReader(lines))]


def _from_rees46(row: dict[str, str], number: int) -> Event:
    moment = datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    return Event(
        event_id=str(number),
        event=_NAMES.get(row["event_type"], row["event_type"]),
        user_id=row["user_id"],
        time_ms=int(moment.timestamp()) * SECOND_MS,
        category=row["category_code"] or row["category_id"],
        brand=row["brand"],
    )


def seeded_events(count: int, seed: int = 7) -> list[Event]:
    """`count` events of every type over three hours, some visitors with many of them.

    None has so many that a double could come after more newer events than an engine must remember.
    """
    rng = random.Random(seed)
    times = sorted(rng.randrange(3 * HOUR_MS) for _ in range(count))
    return [
        Event(
            event_id=str(number),
            event=rng.choice(EVENT_NAMES),
            user_id=f"visitor {int(count // 4 * rng.random() ** 2.5)}",
            time_ms=1_569_888_000_000 + time_ms,
            category=f"category {int(rng.paretovariate(1.0)) % 300}",
            brand=rng.choice(["", f"brand {int(rng.paretovariate(1.0)) % 500}"]),
        )
        for number, time_ms in enumerate(times)
    ]


def repeated(base: Sequence[Event], repeats: int) -> Iterator[Event]:
    """`base` again and again, later each time, under new event ids, by new visitors every
    `SHARED_REPEATS` repeats.
    """
    for repeat in range(repeats):
        for event in base:
            yield Event(
                event_id=f"{repeat}-{event['event_id']}",
                event=event["event"],
                user_id=f"{event['user_id']}-{repeat // SHARED_REPEATS}",
                time_ms=event["time_ms"] + repeat * SHIFT_MS,
                category=event["category"],
                brand=event["brand"],
            )


def disturbed(events: Iterable[Event], seed: int) -> list[Event]:
    """`events` out of order by up to `LATEST_BY` places, some of them twice."""
    rng = random.Random(seed)
    arrivals: list[tuple[float, Event]] = []
    for place, event in enumerate(events):
        arrival = place + rng.uniform(0, LATEST_BY)
        arrivals.append((arrival, event))
        if rng.random() < DOUBLED:
            arrivals.append((arrival + rng.uniform(0, LATEST_BY), event))
    return [event for _, event in sorted(arrivals, key=lambda entry: entry[0])]
