"""What the stack holds in the end: the events log, dead letters and Bigtable rows, counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile
from pipeline.store.blocking import Store
from pipeline.store.layout import PROFILE, STATS
from tests.stack.bootstrap import bigquery_client

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class LogCount:
    """Rows of the events log, and how many different event ids they have."""

    rows: int
    distinct: int

    @property
    def duplicates(self) -> int:
        """Rows beyond the first of their event id."""
        return self.rows - self.distinct


@dataclass(frozen=True)
class Held:
    """What Bigtable holds: rows, and how many events they counted."""

    profiles: int
    items: int
    events_in_profiles: int
    events_in_items: int


class Warehouse:
    """Reads the stack's BigQuery and Bigtable; blocking.

    Args:
        env: the stack's environment. Bigtable's client reads its emulator's host from the process
        environment,
            which must agree.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._dataset = env["FRESHET_DATASET"]
        self._bigquery = bigquery_client(env)

    def log(self) -> LogCount:
        """How much the events log holds."""
        row = self._rows(
            f"select count(*) as n, count(distinct event_id) as d from {self._dataset}.events"
        )[0]
        return LogCount(int(row["n"]), int(row["d"]))

    def event_ids(self) -> set[str]:
        """Every event id in the log."""
        rows = self._rows(f"select distinct event_id from {self._dataset}.events")
        return {str(row["event_id"]) for row in rows}

    def dead_letters(self) -> dict[str, int]:
        """Dead letters as `source: field: reason` -> count."""
        rows = self._rows(
            f"select source, field, reason, count(*) as n from {self._dataset}.dead_letters group "
            "by 1, 2, 3"
        )
        return {f"{row['source']}: {row['field']}: {row['reason']}": int(row["n"]) for row in rows}

    def held(self) -> Held:
        """What the profiles and items tables hold."""
        store = Store(self._env["GOOGLE_CLOUD_PROJECT"], self._env["FRESHET_BIGTABLE_INSTANCE"])
        try:
            profiles = [UserProfile.decode(value).events_total for _, value in store.scan(PROFILE)]
            stats = [
                sum(ItemStats.decode(value).counts.totals.values())
                for _, value in store.scan(STATS)
            ]
            return Held(len(profiles), store.count("items"), sum(profiles), sum(stats))
        finally:
            store.close()

    def close(self) -> None:
        """Close the connection."""
        self._bigquery.close()

    def _rows(self, sql: str) -> list[Any]:
        return list(self._bigquery.query_and_wait(sql))


async def wait_until_folded(
    warehouse: Warehouse, expected: int, *, patience_s: float = 20.0
) -> Held:
    """Wait until the profiles hold `expected` events, or `patience_s` is over; what Bigtable holds
    then.
    """
    end = time.monotonic() + patience_s
    held = await asyncio.to_thread(warehouse.held)
    while held.events_in_profiles != expected and time.monotonic() < end:
        await asyncio.sleep(POLL_S)
        held = await asyncio.to_thread(warehouse.held)
    return held


async def wait_until_stored(
    warehouse: Warehouse,
    expected: int,
    *,
    patience_s: float = 60.0,
    say: Callable[[str], None] = lambda line: None,
) -> LogCount:
    """Wait until the log holds `expected` ids, or nothing new comes for `patience_s`; the last
    count.
    """
    count = await asyncio.to_thread(warehouse.log)
    since = said = time.monotonic()
    while count.distinct < expected and time.monotonic() - since < patience_s:
        await asyncio.sleep(POLL_S)
        newer = await asyncio.to_thread(warehouse.log)
        if newer.distinct > count.distinct:
            since = time.monotonic()
        count = newer
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            say(f"{count.distinct:,} of {expected:,} events are in the log")
    return count
