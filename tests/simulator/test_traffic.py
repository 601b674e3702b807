"""Live traffic: half and half, at the rate asked for, every click counted where it was shown."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from tests.simulator import catalog
from tests.simulator.client import Client
from tests.simulator.fakes import FakeFreshet, serving
from tests.simulator.shoppers import World, arm
from tests.simulator.traffic import Outcome, Plan, Traffic

pytestmark = pytest.mark.alone


@cache
def world() -> World:
    return World(catalog.generate())


async def run(plan: Plan, fake: FakeFreshet) -> tuple[Outcome, Client]:
    async with serving(fake), Client(fake.url, fake.url) as client:
        return await Traffic(client, world(), plan, run="t").run(), client


async def test_every_event_of_the_run_is_accepted_once_and_counted() -> None:
    fake = FakeFreshet(world().products)
    outcome, client = await run(Plan(2, events_per_s=300, haste=100), fake)
    ids = [event["event_id"] for event in fake.events]
    assert (
        len(ids)
        == len(set(ids))
        == outcome.events
        == client.tally.accepted
        == client.tally.sent
        > 0
    )
    assert client.tally.rejected == outcome.broken_visits == 0
    names = Counter(event["event"] for event in fake.events)
    assert names["click"] == sum(outcome.clicks.values()) > 0
    assert names["impression"] == sum(outcome.impressions.values())
    assert names["view_product"] > names["click"]


async def test_the_run_keeps_to_its_rate_and_its_time() -> None:
    outcome, _ = await run(Plan(4, events_per_s=100, haste=50), FakeFreshet(world().products))
    assert 4 <= outcome.seconds < 6
    assert 150 < outcome.events < 1_100


async def test_a_shopper_sees_one_variant_only_and_events_say_which() -> None:
    fake = FakeFreshet(world().products)
    await run(Plan(2, events_per_s=300, haste=100), fake)
    variants: dict[str, set[str]] = {}
    for event in fake.events:
        if event["event"] in ("impression", "click"):
            variants.setdefault(event["anonymous_id"], set()).add(event["metadata"]["variant"])
    assert {variant for seen in variants.values() for variant in seen} == {
        "personalized",
        "popular",
    }
    for device, seen in variants.items():
        assert seen == {arm(device.replace("device", "shopper"))}


async def test_a_click_names_the_slate_and_the_position_at_which_its_product_was_shown() -> None:
    fake = FakeFreshet(world().products)
    await run(Plan(2, events_per_s=300, haste=100), fake)
    shown = {
        (event["metadata"]["request_id"], event["metadata"]["position"]): event["product_id"]
        for event in fake.events
        if event["event"] == "impression"
    }
    clicks = [event for event in fake.events if event["event"] == "click"]
    assert clicks and all(
        shown[c["metadata"]["request_id"], c["metadata"]["position"]] == c["product_id"]
        for c in clicks
    )


async def test_the_api_is_told_what_the_pipeline_has_not_folded_yet_and_no_more() -> None:
    slow, fast = FakeFreshet(world().products, delay_s=60), FakeFreshet(world().products)
    for fake in (slow, fast):
        await run(Plan(2, events_per_s=200, haste=20), fake)
    pending = [
        sum(len(question["events"]) for question in fake.questions) / len(fake.questions)
        for fake in (slow, fast)
    ]
    assert pending[0] > pending[1] > 0
    assert any(
        question["placement"] == "product" and question["product_id"] for question in slow.questions
    )


async def test_an_api_that_falls_silent_breaks_visits_off_but_not_the_run() -> None:
    fake = FakeFreshet(world().products)
    async with (
        serving(fake),
        Client(fake.url, "http://127.0.0.1:9", first_wait_s=0.001, max_wait_s=0.001) as client,
    ):
        outcome = await Traffic(
            client, world(), Plan(1, events_per_s=100, haste=100), run="t"
        ).run()
    assert outcome.broken_visits == outcome.visits > 0
    assert client.tally.failed_answers > 0 and outcome.lift() is None


def test_a_plan_refuses_what_cannot_be_run() -> None:
    with pytest.raises(ValueError, match="seconds: expected more than 0, got 0"):
        Plan(0)
