"""Counting what the stack holds, on the real emulators."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.items import ItemStats
from pipeline.core.profile import UserProfile
from pipeline.store.blocking import Store
from pipeline.store.layout import PROFILE, STATS, cell, item_write
from tests.simulator.warehouse import Held, LogCount, Warehouse, wait_until_stored
from tests.stack.bootstrap import bigquery_client

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
AT = "2025-01-01T12:00:00.000Z"


def insert(env: dict[str, str], table: str, rows: list[dict[str, str]]) -> None:
    client = bigquery_client(env)
    errors = client.insert_rows_json(
        f"{env['GOOGLE_CLOUD_PROJECT']}.{env['FRESHET_DATASET']}.{table}", rows
    )
    client.close()
    assert not errors


def log_event(env: dict[str, str], *event_ids: str) -> None:
    rows = [
        {
            "event_id": name,
            "event": "page_view",
            "visitor": "u#1",
            "timestamp": AT,
            "ingest_time": AT,
        }
        for name in event_ids
    ]
    insert(env, "events", rows)


async def test_the_log_is_counted_with_its_doubles_and_the_lost_can_be_named(
    warehouse: dict[str, str],
) -> None:
    log_event(warehouse, "a", "b", "b", "c")
    counter = Warehouse(warehouse)
    assert counter.log() == LogCount(rows=4, distinct=3) and counter.log().duplicates == 1
    assert counter.event_ids() == {"a", "b", "c"}
    assert await wait_until_stored(counter, 3) == LogCount(4, 3)
    assert await wait_until_stored(counter, 4, patience_s=0.1) == LogCount(4, 3)
    counter.close()


def test_dead_letters_are_counted_by_their_reason(warehouse: dict[str, str]) -> None:
    dead_letter = {
        "received_at": AT,
        "source": "collector",
        "field": "event",
        "reason": "required",
        "payload": "{}",
    }
    insert(warehouse, "dead_letters", [{**dead_letter, "encoding": "utf-8"}] * 2)
    counter = Warehouse(warehouse)
    assert counter.dead_letters() == {"collector: event: required": 2}
    counter.close()


@pytest.mark.filterwarnings("ignore:Connecting to Bigtable emulator:RuntimeWarning")
def test_bigtable_is_asked_for_its_rows_and_for_the_events_they_counted(
    warehouse: dict[str, str],
) -> None:
    store = Store(warehouse["GOOGLE_CLOUD_PROJECT"], warehouse["FRESHET_BIGTABLE_INSTANCE"])
    profile, stats = UserProfile(), ItemStats()
    for number in range(3):
        seen = Event(
            event_id=f"e{number}", event="view_product", timestamp=NOON, user_id="u", product_id="a"
        )
        profile.add(seen)
        stats.add(seen)
    store.write([item_write(Item("a"), 1), item_write(Item("b"), 1)])
    store.write([cell(PROFILE, "u#u", profile.encode(), 1), cell(STATS, "a", stats.encode(), 1)])
    store.close()
    counter = Warehouse(warehouse)
    assert counter.held() == Held(1, 2, 3, 3)
    counter.close()
