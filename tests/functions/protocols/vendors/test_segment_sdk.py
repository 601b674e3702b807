"""Segment's and RudderStack's libraries, pointed at the running collector: what arrives, what they
make of answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page
from rudderstack.analytics.client import Client as RudderClient  # type: ignore[import-untyped]
from segment.analytics.client import Client as SegmentClient  # type: ignore[import-untyped]

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import DEADLINE_S, ORIGIN, SERVER_KEY, SLOW_KEY
from tests.functions.protocols.vendors.pages import shop_page, without_pubsub
from tests.functions.pubsub import Topics
from tests.stack import Stack

ORDER = {
    "order_id": "o1",
    "total": 52.5,
    "currency": "EUR",
    "products": [{"product_id": "p1", "price": 20, "quantity": 2}, {"sku": "p2", "price": "12.50"}],
}
CLIENTS = pytest.mark.parametrize(
    "make", [SegmentClient, RudderClient], ids=["segment", "rudderstack"]
)


def url(stack: Stack) -> str:
    return stack.env["FRESHET_COLLECTOR_URL"]


def arrived(topics: Topics, messages: int) -> list[Event]:
    """The events of so many messages, by time; of one time, by id."""
    found = [event for message in topics.events(messages) for event in decode_message(message.data)]
    return sorted(found, key=lambda event: (event.timestamp, event.event_id))


# ---- Python


class Failures:
    """What a client tells its `on_error`."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, error: Exception, batch: list[Any]) -> None:
        self.told += [str(error)] * len(batch)


@CLIENTS
def test_every_call_of_a_back_end_arrives_in_one_request(
    collector_stack: Stack, topics: Topics, make: Callable[..., Any]
) -> None:
    failures = Failures()
    sdk = make(
        "any-key-1",
        host=url(collector_stack),
        on_error=failures,
        gzip=True,
        upload_interval=1.0,
        upload_size=6,
    )
    start = datetime.now(UTC)
    moments = [start - timedelta(seconds=60 - number) for number in range(6)]
    sdk.identify("anna", {"plan": "gold"}, anonymous_id="a1", timestamp=moments[0])
    sdk.track("anna", "Order Completed", ORDER, timestamp=moments[1], message_id="m1")
    sdk.page("anna", "Shop", "Lamps", {"url": "https://shop.example/lamps"}, timestamp=moments[2])
    sdk.screen("anna", None, "Cart", timestamp=moments[3])
    sdk.group("anna", "oakmere", {"size": 3}, timestamp=moments[4])
    sdk.alias("a2", "anna", timestamp=moments[5])
    sdk.flush()
    sdk.join()
    identified, lamp, oak, page, screen, group, alias = arrived(topics, 1)
    assert failures.told == []
    assert (identified.event, identified.user_id, identified.anonymous_id) == (
        "identify",
        "anna",
        "a1",
    )
    assert identified.metadata["traits"] == {"plan": "gold"}
    assert [(one.event, one.product_id, one.event_id) for one in (lamp, oak)] == [
        ("purchase", "p1", "m1:0"),
        ("purchase", "p2", "m1:1"),
    ]
    assert (lamp.metadata["quantity"], oak.metadata["price"], oak.metadata["order_value"]) == (
        2,
        12.5,
        52.5,
    )
    assert (page.event, page.metadata["url"]) == ("page_view", "https://shop.example/lamps")
    assert (page.metadata["page_name"], page.metadata["page_category"]) == ("Lamps", "Shop")
    assert (screen.event, screen.metadata["title"]) == ("page_view", "Cart")
    assert (group.event, group.metadata["group_id"], group.metadata["traits"]) == (
        "group",
        "oakmere",
        {"size": 3},
    )
    assert (alias.event, alias.user_id, alias.anonymous_id) == ("identify", "anna", "a2")
    assert all("analytics-python" in event.metadata["tracker"] for event in (lamp, page, alias))
    difference = abs(lamp.timestamp - moments[1])
    assert difference < timedelta(milliseconds=1)


@CLIENTS
def test_an_event_without_a_time_of_its_own_happened_now(
    collector_stack: Stack, topics: Topics, make: Callable[..., Any]
) -> None:
    make("any-key-1", host=url(collector_stack), sync_mode=True).track(
        "anna", "Product Viewed", {"sku": "p1"}
    )
    [event] = arrived(topics, 1)
    assert (event.event, event.product_id, len(event.event_id)) == ("view_product", "p1", 36)
    assert abs(event.timestamp - datetime.now(UTC)) < timedelta(seconds=5)


@CLIENTS
def test_a_known_key_names_the_site_and_an_unknown_one_is_told_once(
    guarded_stack: Stack, guarded_topics: Topics, make: Callable[..., Any]
) -> None:
    make(SERVER_KEY, host=url(guarded_stack), sync_mode=True).track("anna", "Lamp")
    [message] = guarded_topics.events(1)
    assert (message.attributes["site"], message.attributes["protocol"]) == ("shop", "segment")
    failures = Failures()
    unknown = make("no-such-key", host=url(guarded_stack), on_error=failures, upload_interval=0.1)
    unknown.track("anna", "Lamp")
    started = time.monotonic()
    unknown.flush()
    unknown.join()
    # given up at once: to send it again would wait for seconds
    assert time.monotonic() - started < 2.0
    [told] = failures.told
    assert "invalid_write_key" in told
    assert "write_key: expected the write key of a site (401)" in told
    guarded_topics.events(0)
    guarded_topics.dead_letters(0)


@CLIENTS
def test_an_event_that_cannot_be_one_leaves_the_others_and_alone_is_an_error(
    collector_stack: Stack, topics: Topics, make: Callable[..., Any]
) -> None:
    failures = Failures()
    sdk = make("any-key-1", host=url(collector_stack), on_error=failures, upload_interval=0.3)
    old = datetime.now(UTC) - timedelta(days=3)
    sdk.track("anna", "Lamp", timestamp=old)
    sdk.track("anna", "Lamp")
    sdk.flush()
    assert failures.told == []
    assert len(arrived(topics, 1)) == 1
    sdk.track("anna", "Lamp", timestamp=old)
    sdk.flush()
    sdk.join()
    [told] = failures.told
    assert "invalid_request: timestamp: expected at most 48 h before ingest (400)" in told
    for dead_letter in topics.dead_letters(2):
        assert (dead_letter.attributes["protocol"], dead_letter.attributes["field"]) == (
            "segment",
            "timestamp",
        )


@CLIENTS
def test_what_was_sent_in_an_outage_arrives_once_it_is_over(
    collector_stack: Stack, topics: Topics, make: Callable[..., Any]
) -> None:
    failures = Failures()
    sdk = make("any-key-1", host=url(collector_stack), on_error=failures, upload_interval=0.1)
    with without_pubsub(collector_stack):
        sdk.track("anna", "Lamp", {"number": 1})
        time.sleep(DEADLINE_S + 0.5)  # the first answer is 503 by then
    sdk.flush()
    sdk.join()
    assert failures.told == []
    assert [event.metadata["number"] for event in arrived(topics, 1)] == [1]


def test_who_sends_too_much_is_told_to_wait(guarded: httpx.Client) -> None:
    body = {"writeKey": SLOW_KEY, "batch": []}
    answers = [guarded.post("/v1/b", json=body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "rate_limited"
    assert int(answers[2].headers["retry-after"]) >= 1


BROWSERS_HEADERS = (
    "authorization content-type x-retry-count anonymousid sentat rsa-recovered rsa-retry-attempt "
    "rsa-retry-reason"
    " rsa-since-last-attempt rsa-since-first-attempt"
).split()
"""What analytics-next and RudderStack's browser SDK set, at the first attempt and at others."""


def test_a_page_of_another_origin_may_set_the_headers_that_the_sdks_set(
    client: httpx.Client,
) -> None:
    """Asked for directly, for Playwright answers the preflight itself where it intercepts
    requests."""
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    answer = client.options("/v1/track", headers=asked)
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert set(BROWSERS_HEADERS) <= set(allowed)


# ---- the browser


@pytest.fixture
def segment_page(browser: Browser, collector_stack: Stack) -> Iterator[Page]:
    with shop_page(
        browser, "@segment/analytics-next/dist/umd/index.js", url(collector_stack)
    ) as page:
        yield page


@pytest.fixture
def rudder_page(browser: Browser, collector_stack: Stack) -> Iterator[Page]:
    script = "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"
    with shop_page(browser, script, url(collector_stack)) as page:
        yield page


@contextmanager
def answered(page: Page, requests: int) -> Iterator[None]:
    """Waits until so many requests of the block are answered with 200; the browser goes on
    meanwhile.
    """
    statuses: list[int] = []
    page.on("response", lambda response: statuses.append(response.status))
    yield
    deadline = time.monotonic() + 10.0
    while len(statuses) < requests and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    assert statuses == [200] * requests


def load_segment(page: Page, stack: Stack, **settings: Any) -> None:
    """As a site does that never asks Segment for settings."""
    host = url(stack).removeprefix("http://")
    segment = {"apiKey": "any-key-1", "apiHost": f"{host}/v1", "protocol": "http", **settings}
    page.evaluate(
        """(segment) => {
            const cdnSettings = { integrations: { "Segment.io": segment } };
            window.analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: segment.apiKey, cdnSettings });
            window.failures = [];
            analytics.on("error", (error) => failures.push(String(error.reason)));
            return analytics.ready();
        }""",
        segment,
    )


def load_rudderstack(page: Page, stack: Stack, **options: Any) -> None:
    """As a site does that has no account with RudderStack."""
    page.evaluate(
        """async ([url, options]) => {
            window.rudder = new rudderanalytics.RudderAnalytics();
            const source = { id: "shop", name: "shop", writeKey: "any-key-1", enabled: true, config: {},
                             destinations: [], workspaceId: "shop" };
            rudder.load("any-key-1", url, { getSourceConfig: () => ({ source }), logLevel: "NONE", ...options });
            await new Promise((ready) => rudder.ready(ready));
        }""",
        [url(stack), options],
    )


@pytest.mark.browser
def test_every_call_of_analytics_next_arrives(
    segment_page: Page, collector_stack: Stack, topics: Topics
) -> None:
    load_segment(segment_page, collector_stack)
    with answered(segment_page, 6):
        segment_page.evaluate(
            """async (order) => {
                const pause = () => new Promise((next) => setTimeout(next, 5));
                for (const call of [
                    () => analytics.page("Shop", "Listing"),
                    () => analytics.track("Product Viewed", { product_id: "p1", name: "Lamp", price: 20 }),
                    () => analytics.identify("anna", { plan: "gold" }),
                    () => analytics.track("Order Completed", order),
                    () => analytics.screen("Cart"),
                    () => analytics.group("oakmere", { size: 3 }),
                ]) { await call(); await pause(); }
            }""",
            ORDER,
        )
    page, product, identified, lamp, oak, screen, group = arrived(topics, 6)
    assert (page.event, page.metadata["title"]) == ("page_view", "Lamps")
    assert (page.metadata["url"], page.metadata["path"]) == (
        f"{ORIGIN}/lamps?utm_source=mail",
        "/lamps",
    )
    assert (page.metadata["page_name"], page.metadata["utm_source"]) == ("Listing", "mail")
    assert page.anonymous_id is not None
    assert (page.user_id, page.anonymous_id) == (None, product.anonymous_id)
    assert (product.event, product.product_id, product.metadata["title"]) == (
        "view_product",
        "p1",
        "Lamp",
    )
    assert product.metadata["page_title"] == "Lamps"
    assert (identified.event, identified.user_id, identified.anonymous_id) == (
        "identify",
        "anna",
        page.anonymous_id,
    )
    assert identified.metadata["traits"] == {"plan": "gold"}
    assert bought(lamp, oak) == [("purchase", "p1", "anna"), ("purchase", "p2", "anna")]
    assert (screen.event, screen.metadata["title"]) == ("page_view", "Cart")
    assert (group.event, group.metadata["group_id"]) == ("group", "oakmere")
    assert segment_page.evaluate("failures") == []


@pytest.mark.browser
def test_an_alias_of_analytics_next_ties_browser_and_account(
    segment_page: Page, collector_stack: Stack, topics: Topics
) -> None:
    load_segment(segment_page, collector_stack)
    with answered(segment_page, 1):
        anonymous_id = segment_page.evaluate(
            "async () => { await analytics.alias('anna'); return (await "
            "analytics.user()).anonymousId(); }"
        )
    [event] = arrived(topics, 1)
    assert (event.event, event.user_id, event.anonymous_id) == ("identify", "anna", anonymous_id)


@pytest.mark.browser
def test_analytics_next_sends_batches_too(
    segment_page: Page, collector_stack: Stack, topics: Topics
) -> None:
    batching = {"strategy": "batching", "config": {"size": 3, "timeout": 10_000}}
    load_segment(segment_page, collector_stack, deliveryStrategy=batching)
    with answered(segment_page, 1):
        segment_page.evaluate(
            "() => { for (let i = 0; i < 3; i += 1) analytics.track('Lamp', { number: i }); }"
        )
    assert sorted(event.metadata["number"] for event in arrived(topics, 1)) == [0, 1, 2]


@pytest.mark.browser
def test_what_the_visitor_agreed_to_comes_along(
    segment_page: Page, collector_stack: Stack, topics: Topics
) -> None:
    load_segment(segment_page, collector_stack)
    with answered(segment_page, 1):
        segment_page.evaluate(
            """() => analytics.track("Lamp", {}, {
                context: { consent: { categoryPreferences: { Analytics: true, Advertising: false } } } })"""
        )
    [event] = arrived(topics, 1)
    assert event.metadata["consent"] == {"analytics": True, "personalization": False}


@pytest.mark.browser
def test_calls_of_rudderstacks_browser_sdk_arrive(
    rudder_page: Page, collector_stack: Stack, topics: Topics
) -> None:
    load_rudderstack(rudder_page, collector_stack)
    with answered(rudder_page, 4):
        rudder_page.evaluate(
            """async (order) => {
                const pause = () => new Promise((next) => setTimeout(next, 5));
                rudder.page("Shop", "Listing"); await pause();
                rudder.track("Product Viewed", { product_id: "p1", name: "Lamp", price: 20 }); await pause();
                rudder.identify("anna", { plan: "gold" }); await pause();
                rudder.track("Order Completed", order);
            }""",
            ORDER,
        )
    page, product, identified, lamp, oak = arrived(topics, 4)
    assert (page.event, page.metadata["title"], page.metadata["page_name"]) == (
        "page_view",
        "Lamps",
        "Listing",
    )
    assert (page.user_id, page.anonymous_id, page.session_id) == (
        None,
        product.anonymous_id,
        product.session_id,
    )
    assert page.anonymous_id is not None
    assert page.session_id is not None
    assert (product.event, product.product_id, product.metadata["title"]) == (
        "view_product",
        "p1",
        "Lamp",
    )
    assert (identified.event, identified.user_id, identified.anonymous_id) == (
        "identify",
        "anna",
        page.anonymous_id,
    )
    assert identified.metadata["traits"] == {"plan": "gold"}
    assert bought(lamp, oak) == [("purchase", "p1", "anna"), ("purchase", "p2", "anna")]


@pytest.mark.browser
def test_rudderstacks_beacons_carry_their_key_in_the_address(
    rudder_page: Page, collector_stack: Stack, topics: Topics
) -> None:
    load_rudderstack(
        rudder_page, collector_stack, useBeacon=True, beaconQueueOptions={"flushQueueInterval": 200}
    )
    sent: list[tuple[str, bool]] = []
    rudder_page.on(
        "request", lambda request: sent.append((request.url, "authorization" in request.headers))
    )
    with answered(rudder_page, 1):
        rudder_page.evaluate(
            "() => { rudder.track('Lamp', { number: 1 }); rudder.track('Lamp', { number: 2 }); }"
        )
    assert sent == [(f"{url(collector_stack)}/beacon/v1/batch?writeKey=any-key-1", False)]
    assert sorted(event.metadata["number"] for event in arrived(topics, 1)) == [1, 2]


def bought(*events: Event) -> list[tuple[str, str | None, str | None]]:
    return [(event.event, event.product_id, event.user_id) for event in events]
