"""Mixpanel's own libraries, pointed at the running collector: what reaches Pub/Sub, and what they
make of answers.
"""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from mixpanel import BufferedConsumer, Consumer, Mixpanel, MixpanelException  # type: ignore[import-untyped]
from playwright.sync_api import Page

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import NEWS_KEY, ORIGIN, SERVER_KEY
from tests.functions.protocols.vendors.pages import without_pubsub
from tests.functions.pubsub import Topics
from tests.stack import Stack

SCRIPT = "mixpanel-browser/dist/mixpanel.umd.js"
SETTINGS = {"batch_requests": False, "track_pageview": False, "persistence": "localStorage"}


def addresses(stack: Stack) -> dict[str, str]:
    """What `api_host` is made of where the collector has no TLS."""
    url = stack.env["FRESHET_COLLECTOR_URL"]
    paths = {
        "events_url": "track",
        "people_url": "engage",
        "import_url": "import",
        "groups_url": "groups",
    }
    return {name: f"{url}/{path}" for name, path in paths.items()}


def arrived(topics: Topics, messages: int) -> list[Event]:
    """The events of so many messages, by time."""
    found = [event for message in topics.events(messages) for event in decode_message(message.data)]
    return sorted(found, key=lambda event: event.timestamp)


# ---- Python


def test_an_event_of_a_back_end_arrives(collector_stack: Stack, topics: Topics) -> None:
    sdk = Mixpanel("any-key-1", Consumer(**addresses(collector_stack)))
    before = datetime.now(UTC)
    sdk.track("anna", "Product Added", {"Product ID": "p1", "Price": 9.5, "Quantity": 2})
    [event] = arrived(topics, 1)
    assert (event.event, event.user_id, event.anonymous_id, event.product_id) == (
        "add_to_cart",
        "anna",
        None,
        "p1",
    )
    assert (event.metadata["price"], event.metadata["quantity"], event.metadata["tracker"]) == (
        9.5,
        2,
        "python",
    )
    assert abs(event.timestamp - before) < timedelta(seconds=5)
    assert len(event.event_id) == 32


def test_a_buffer_is_one_request_and_an_order_one_purchase_a_product(
    collector_stack: Stack, topics: Topics
) -> None:
    consumer = BufferedConsumer(**addresses(collector_stack))
    sdk = Mixpanel("any-key-1", consumer)
    sdk.track("$device:d1", "Search", {"query": "oak & lamp = 100 %"})
    sdk.track("anna", "Order Completed", {"products": [{"sku": "p1"}, {"sku": "p2"}]})
    consumer.flush()
    search, *purchases = arrived(topics, 1)
    assert (search.event, search.anonymous_id, search.metadata["query"]) == (
        "search",
        "d1",
        "oak & lamp = 100 %",
    )
    assert {(event.event, event.product_id) for event in purchases} == {
        ("purchase", "p1"),
        ("purchase", "p2"),
    }


def test_profiles_are_identify_events_and_groups_are_none(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = Mixpanel("any-key-1", Consumer(**addresses(collector_stack)))
    sdk.people_set("anna", {"plan": "gold"})
    sdk.group_set("company", "oakmere", {"size": 3})
    [event] = arrived(topics, 1)
    assert (event.event, event.user_id, event.metadata["traits"]) == (
        "identify",
        "anna",
        {"plan": "gold"},
    )


def test_a_merge_links_two_ids(collector_stack: Stack, topics: Topics) -> None:
    sdk = Mixpanel("any-key-1", Consumer(**addresses(collector_stack)))
    sdk.merge(None, "anna", "$device:d1")
    [event] = arrived(topics, 1)
    assert (event.event, event.user_id, event.anonymous_id) == ("identify", "anna", "d1")


def test_an_alias_is_tracked_for_alias_itself_asks_mixpanel(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = Mixpanel("any-key-1", Consumer(**addresses(collector_stack)))
    sdk.track("a1", "$create_alias", {"alias": "anna"})
    [event] = arrived(topics, 1)
    assert (event.event, event.user_id, event.anonymous_id) == ("identify", "anna", "a1")


def test_history_is_imported_with_a_servers_key(
    guarded_stack: Stack, guarded_topics: Topics
) -> None:
    sdk = Mixpanel(SERVER_KEY, Consumer(**addresses(guarded_stack)))
    then = datetime(2024, 2, 29, 12, tzinfo=UTC)
    sdk.import_data(None, "anna", "View Product", then.timestamp(), {"sku": "p1"})
    [message] = guarded_topics.events(1)
    [event] = decode_message(message.data)
    assert (event.event, event.timestamp) == ("view_product", then)
    assert (message.attributes["site"], message.attributes["backfill"]) == ("shop", "1")


def test_history_is_not_imported_with_a_browsers_key(
    guarded_stack: Stack, guarded_topics: Topics
) -> None:
    sdk = Mixpanel(NEWS_KEY, Consumer(**addresses(guarded_stack)))
    with pytest.raises(MixpanelException, match="backfill"):
        sdk.import_data(None, "anna", "View Product", 1709208000, {"sku": "p1"})
    guarded_topics.events(0)


def test_an_unknown_token_is_an_error_that_is_not_sent_again(
    guarded_stack: Stack, guarded_topics: Topics
) -> None:
    sdk = Mixpanel("no-such-key", Consumer(**addresses(guarded_stack)))
    with pytest.raises(MixpanelException, match="write_key: expected the write key of a site"):
        sdk.track("anna", "Signed Up")
    guarded_topics.events(0)
    guarded_topics.dead_letters(0)


def test_an_event_that_cannot_be_one_is_an_error_with_its_reason(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = Mixpanel("any-key-1", Consumer(**addresses(collector_stack)))
    with pytest.raises(MixpanelException, match=r"properties\.time: expected a Unix time"):
        sdk.track("anna", "Signed Up", {"time": "noon"})
    [dead_letter] = topics.dead_letters(1)
    assert (dead_letter.attributes["protocol"], dead_letter.attributes["field"]) == (
        "mixpanel",
        "properties.time",
    )
    topics.events(0)


def test_the_documented_import_takes_the_token_as_its_user(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    events = [
        {"event": "Lamp", "properties": {"distinct_id": "anna", "$insert_id": str(n)}}
        for n in range(2)
    ]
    bad = {
        "event": "Lamp",
        "properties": {"distinct_id": "anna", "time": "noon", "$insert_id": "2"},
    }
    authorization = {
        "authorization": "Basic " + base64.b64encode(f"{SERVER_KEY}:".encode()).decode()
    }
    answer = guarded.post("/import?strict=1", json=[*events, bad], headers=authorization)
    told = answer.json()
    assert (answer.status_code, told["num_records_imported"]) == (400, 2)
    assert [record["index"] for record in told["failed_records"]] == [2]
    assert len(arrived(guarded_topics, 1)) == 2
    guarded_topics.dead_letters(1)


# ---- the browser


def start(page: Page, stack: Stack, **settings: Any) -> None:
    host = stack.env["FRESHET_COLLECTOR_URL"]
    page.evaluate(
        "settings => mixpanel.init('any-key-1', settings)", {"api_host": host} | SETTINGS | settings
    )


def track(page: Page, name: str, properties: dict[str, Any] | None = None) -> Any:
    """What the library tells its caller when the request is answered: 1 for success."""
    return page.evaluate(
        "([name, properties]) => new Promise((told) => mixpanel.track(name, properties, told))",
        [name, properties or {}],
    )


@pytest.mark.browser
def test_a_page_view_and_an_event_of_the_browser_arrive(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack)
    page.evaluate(
        "() => new Promise((told) => mixpanel.track_pageview({}, {}) && setTimeout(told, 50))"
    )
    assert track(page, "Product Viewed", {"product_id": "p1", "category": "lamps"}) == 1
    viewed, product = arrived(topics, 2)
    assert (viewed.event, product.event, product.product_id) == ("page_view", "view_product", "p1")
    assert viewed.anonymous_id == product.anonymous_id is not None
    assert (viewed.user_id, product.metadata["category"]) == (None, "lamps")
    assert viewed.metadata["url"] == f"{ORIGIN}/lamps?utm_source=mail"
    assert (viewed.metadata["title"], viewed.metadata["utm_source"]) == ("Lamps", "mail")


@pytest.mark.browser
@pytest.mark.parametrize("payload", ["base64", "json"])
def test_a_login_links_browser_and_account(
    page: Page, collector_stack: Stack, topics: Topics, payload: str
) -> None:
    start(page, collector_stack, api_payload_format=payload)
    track(page, "Lamp")
    page.evaluate("() => mixpanel.identify('anna')")
    page.evaluate("() => new Promise((told) => mixpanel.people.set({plan: 'gold ☕'}, told))")
    # the login, where the visitor first came from, and the plan
    before, *others = arrived(topics, 4)
    assert (before.event, before.user_id) == ("Lamp", None)
    assert [(event.event, event.user_id, event.anonymous_id) for event in others] == [
        ("identify", "anna", before.anonymous_id)
    ] * 3
    traits = [event.metadata["traits"] for event in others if "traits" in event.metadata]
    assert {(name, value) for one in traits for name, value in one.items()} >= {
        ("plan", "gold ☕"),
        ("initial_utm_source", "mail"),
    }


@pytest.mark.browser
def test_a_batch_is_sent_again_after_an_outage_and_arrives_once(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(
        page,
        collector_stack,
        batch_requests=True,
        batch_autostart=False,
        batch_flush_interval_ms=500,
    )
    page.evaluate(
        "() => { for (let i = 0; i < 3; i += 1) mixpanel.track('Lamp ' + i, { number: i }); }"
    )
    with without_pubsub(collector_stack):
        with page.expect_response("**/track/**") as refused:
            page.evaluate("() => mixpanel.start_batch_senders()")
        assert refused.value.status == 503
    with page.expect_response(lambda answer: answer.status == 200, timeout=30_000):
        pass
    # All in one millisecond, and its queue keeps no order.
    assert sorted(event.event for event in arrived(topics, 1)) == ["Lamp 0", "Lamp 1", "Lamp 2"]
    page.wait_for_timeout(1_200)
    topics.events(0)


@pytest.mark.browser
def test_what_is_sent_at_the_end_of_a_page_arrives(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack)
    page.evaluate("() => mixpanel.track('Left', {}, { transport: 'sendBeacon' })")
    page.goto("about:blank")
    [event] = arrived(topics, 1)
    assert event.event == "Left"


@pytest.mark.browser
def test_a_wrong_clock_is_repaired(page: Page, collector_stack: Stack, topics: Topics) -> None:
    page.clock.install(time=datetime.now(UTC) - timedelta(hours=3))
    start(page, collector_stack)
    page.evaluate("() => { mixpanel.track('Lamp'); }")
    [event] = arrived(topics, 1)
    assert abs(event.timestamp.timestamp() - time.time()) < 10
