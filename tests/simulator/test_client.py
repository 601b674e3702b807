"""The client: it counts what it was answered, tries again where that helps, and gives up aloud."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.simulator import catalog
from tests.simulator.browser import wire_time
from tests.simulator.client import Client, Outbox, Unanswered, wait_for_items, wait_for_model
from tests.simulator.fakes import BACKFILL_KEY, FakeFreshet, serving

PRODUCTS = catalog.generate(200)


def event(
    number: int, name: str = "page_view", at: float | None = None, **fields: Any
) -> dict[str, Any]:
    moment = wire_time(time.time() if at is None else at)
    return {
        "event_id": f"e{number}",
        "event": name,
        "timestamp": moment,
        "anonymous_id": "a1",
        **fields,
    }


def client_of(fake: FakeFreshet, key: str = BACKFILL_KEY) -> Client:
    return Client(fake.url, fake.url, backfill_key=key)


async def test_accepted_and_rejected_events_are_counted_and_told_apart() -> None:
    async with serving(FakeFreshet(PRODUCTS)) as fake, client_of(fake) as client:
        receipt = await client.send([event(1), event(2, "purchase"), event(3)])
    assert (receipt.accepted, receipt.rejected) == (2, 1)
    assert client.tally.accepted_ids == {"e1": "page_view", "e3": "page_view"}
    assert client.tally.errors[0]["field"] == "product_id"


async def test_a_message_refused_with_503_goes_out_again_unchanged() -> None:
    async with serving(FakeFreshet(PRODUCTS, refusals=2)) as fake, client_of(fake) as client:
        await client.send([event(1)])
    assert [e["event_id"] for e in fake.events] == ["e1"]
    assert (client.tally.retries, client.tally.sent, client.tally.accepted) == (2, 1, 1)


async def test_a_collector_that_is_away_is_named_and_its_events_are_booked_as_unconfirmed() -> None:
    away = "http://127.0.0.1:9"
    async with Client(away, away, first_wait_s=0.001, max_wait_s=0.001) as client:
        with pytest.raises(Unanswered, match=r"POST http://127.0.0.1:9/v1/events"):
            await client.send([event(1), event(2)])
    assert client.tally.unconfirmed == 2 and not client.tally.accepted_ids


async def test_the_past_is_sent_with_the_backfill_key_and_refused_without() -> None:
    async with serving(FakeFreshet(PRODUCTS)) as fake:
        async with client_of(fake) as client:
            assert (await client.send([event(1, at=1.6e9)], backfill=True)).accepted == 1
        async with client_of(fake, key="wrong") as client:
            with pytest.raises(Unanswered, match="403"):
                await client.send([event(2, at=1.6e9)], backfill=True)


async def test_an_answer_gives_ids_in_order_and_the_chance_of_each() -> None:
    async with serving(FakeFreshet(PRODUCTS)) as fake, client_of(fake) as client:
        answer = await client.recommend({"anonymous_id": "a1", "k": 3, "events": []})
    assert answer.recommendations == [product.id for product in PRODUCTS[:3]]
    assert answer.propensities == [0.5, 0.5, 0.5]
    assert len(client.tally.api_ms) == 1 and client.tally.served_by == {"local": 1}


async def test_events_wait_in_the_outbox_until_it_is_flushed_and_go_as_one_message() -> None:
    async with serving(FakeFreshet(PRODUCTS)) as fake, client_of(fake) as client:
        outbox = Outbox(client)
        outbox.add([event(1)])
        outbox.add([event(2), event(3)])
        assert not fake.messages
        await outbox.flush()
        await outbox.flush()
    assert [[e["event_id"] for e in message] for message in fake.messages] == [["e1", "e2", "e3"]]


async def test_pending_events_are_those_past_the_profiles_newest_without_impressions() -> None:
    async with Client("http://127.0.0.1:9", "http://127.0.0.1:9") as client:
        outbox = Outbox(client)
        outbox.add([event(1, at=100.0), event(2, "impression", at=101.0), event(3, at=102.0)])
        assert [e["event_id"] for e in outbox.pending()] == ["e1", "e3"]
        outbox.processed(None)
        assert [e["event_id"] for e in outbox.pending()] == ["e1", "e3"]
        outbox.processed(wire_time(100.0))
        assert [e["event_id"] for e in outbox.pending()] == ["e3"]


async def test_waiting_for_items_or_a_model_that_do_not_come_ends_with_what_is_there_instead() -> (
    None
):
    async with serving(FakeFreshet(PRODUCTS)) as fake, client_of(fake) as client:
        await wait_for_items(client, 200)
        await wait_for_model(client, "fake")
        with pytest.raises(TimeoutError, match="items: expected 201 in 0 s, got 200"):
            await wait_for_items(client, 201, timeout_s=0)
        with pytest.raises(TimeoutError, match="model_version: expected v2 in 0 s, got fake"):
            await wait_for_model(client, "v2", timeout_s=0)
