"""Past traffic: valid events in order, with the true chance of what was shown."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

from pipeline.core.events import parse_event
from pipeline.core.timestamps import parse_time
from tests.simulator import catalog, history
from tests.simulator.shoppers import World

NOW = 1_760_000_000.0


@cache
def events() -> tuple[dict[str, Any], ...]:
    return tuple(history.generate(World(catalog.generate()), sessions=60, until=NOW, run="run"))


def test_every_event_keeps_the_contract_and_has_its_own_id() -> None:
    moment = datetime.fromtimestamp(NOW, UTC)
    for event in events():
        parse_event(event, ingest_time=moment, backfill=True)
    assert len({event["event_id"] for event in events()}) == len(events())


def test_the_same_seed_gives_the_same_past() -> None:
    again = history.generate(World(catalog.generate()), sessions=60, until=NOW, run="run")
    assert tuple(again) == events()


def test_nothing_happened_in_the_future_or_more_than_a_day_ago() -> None:
    times = [parse_time("timestamp", event["timestamp"]).timestamp() for event in events()]
    assert min(times) >= NOW - 24 * 3600 and max(times) <= NOW


def test_within_a_visit_events_are_in_time_order() -> None:
    for before, after in pairwise(events()):
        if before["session_id"] == after["session_id"]:
            assert before["timestamp"] <= after["timestamp"]


def test_a_click_is_on_a_product_that_its_row_showed_at_that_position() -> None:
    shown = {
        (event["metadata"]["request_id"], event["metadata"]["position"]): event["product_id"]
        for event in events()
        if event["event"] == "impression"
    }
    clicks = [event for event in events() if event["event"] == "click"]
    assert len(clicks) > 20
    for click in clicks:
        place = (click["metadata"]["request_id"], click["metadata"]["position"])
        assert shown[place] == click["product_id"]


def test_impressions_carry_the_chance_of_the_old_shop_and_no_row_shows_a_product_twice() -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for event in events():
        if event["event"] == "impression":
            rows.setdefault(event["metadata"]["request_id"], []).append(event)
    for row in rows.values():
        assert len({event["product_id"] for event in row}) == len(row)
        assert [event["metadata"]["position"] for event in row] == list(range(len(row)))
        for event in row:
            chance, variant = event["metadata"]["propensity"], event["metadata"]["variant"]
            assert chance == {"before_random": 1 / 2_000, "before_popular": 1 / 60}.get(
                variant, chance
            )
            assert 0 < chance < 0.1


def test_messages_hold_twenty_events_and_lose_none() -> None:
    messages = list(history.messages(iter(events())))
    assert {len(message) for message in messages[:-1]} == {20} and 0 < len(messages[-1]) <= 20
    assert [event for message in messages for event in message] == list(events())
