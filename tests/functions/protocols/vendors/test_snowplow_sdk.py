"""Snowplow's own trackers, pointed at the running collector: what reaches Pub/Sub, and what they
make of answers.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page
from snowplow_tracker.emitters import Emitter
from snowplow_tracker.events.page_ping import PagePing
from snowplow_tracker.events.page_view import PageView
from snowplow_tracker.events.screen_view import ScreenView
from snowplow_tracker.events.self_describing import SelfDescribing
from snowplow_tracker.events.structured_event import StructuredEvent
from snowplow_tracker.self_describing_json import SelfDescribingJson
from snowplow_tracker.subject import Subject
from snowplow_tracker.tracker import Tracker

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import BROWSER_KEY, NEWS_KEY, ORIGIN, SERVER_KEY
from tests.functions.protocols.vendors.pages import NODE_MODULES, shop_page, without_pubsub
from tests.functions.pubsub import Topics
from tests.stack import Stack

SCRIPT = "@snowplow/browser-tracker/dist/index.umd.min.js"
ECOMMERCE_PLUGIN = "@snowplow/browser-plugin-snowplow-ecommerce/dist/index.umd.min.js"
TP2 = "**/com.snowplowanalytics.snowplow/tp2*"


def arrived(topics: Topics, messages: int) -> list[Event]:
    """The events of so many messages, by time and id."""
    found = [event for message in topics.events(messages) for event in decode_message(message.data)]
    return sorted(found, key=lambda event: (event.timestamp, event.event_id))


# ---- Python


class Sent:
    """An emitter and what it was told: how many events arrived, and how many did not."""

    def __init__(self, stack: Stack, **settings: Any) -> None:
        url = urlsplit(stack.env["FRESHET_COLLECTOR_URL"])
        self.arrived = self.failed = 0
        self.emitter = Emitter(
            str(url.hostname),
            protocol="http",
            port=url.port,
            on_success=self._succeeded,
            on_failure=self._failed,
            **settings,
        )

    def _succeeded(self, events: list[Any]) -> None:
        self.arrived += len(events)

    def _failed(self, arrived: int, events: list[Any]) -> None:
        self.failed += len(events)

    def retries(self) -> bool:
        """Whether it will send again what failed."""
        return self.emitter.retry_timer.is_active()


def tracker(sent: Sent, app_id: str = "any-key-1", base64: bool = True) -> Tracker:
    subject = (
        Subject()
        .set_platform("srv")
        .set_user_id("anna")
        .set_domain_user_id("b1")
        .set_domain_session_id("s1")
    )
    subject.set_useragent("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0")
    return Tracker("backend", sent.emitter, subject, app_id, encode_base64=base64)


@pytest.mark.parametrize("base64", [True, False])
def test_a_batch_of_a_back_end_is_one_request(
    collector_stack: Stack, topics: Topics, base64: bool
) -> None:
    sent = Sent(collector_stack, batch_size=10)
    sdk = tracker(sent, base64=base64)
    before = datetime.now(UTC)
    page = SelfDescribingJson(
        "iglu:com.snowplowanalytics.snowplow/web_page/jsonschema/1-0-0", {"id": "view-1"}
    )
    terms = {"terms": ["lamp", "ü"]}
    search = SelfDescribingJson(
        "iglu:com.snowplowanalytics.snowplow/site_search/jsonschema/1-0-0", terms
    )
    ids = [
        sdk.track(PageView(f"{ORIGIN}/lamps", "Lamps", context=[page])),
        sdk.track(StructuredEvent("shop", "add-to-basket", label="p1", property_="pcs", value=2)),
        sdk.track(SelfDescribing(search)),
        sdk.track(ScreenView(id_="5a4bb5b5-3ca2-4a5a-8d0f-0e1a4f8e51f3", name="Basket")),
        sdk.track(PagePing(f"{ORIGIN}/lamps", max_y=100)),
    ]
    sent.emitter.flush()
    found = {event.event_id: event for event in arrived(topics, 1)}
    viewed, added, searched, screen, ping = (found[str(event_id)] for event_id in ids)
    assert [event.event for event in (viewed, added, searched, screen, ping)] == [
        "page_view", "add_to_cart", "search", "page_view", "dwell",
    ]  # fmt: skip
    assert (viewed.user_id, viewed.anonymous_id, viewed.session_id) == ("anna", "b1", "s1")
    assert (viewed.metadata["page_view_id"], viewed.metadata["title"]) == ("view-1", "Lamps")
    assert (added.product_id, added.metadata["quantity"]) == ("p1", 2)
    assert (searched.metadata["query"], screen.metadata["title"]) == ("lamp ü", "Basket")
    assert all(abs(event.timestamp - before) < timedelta(seconds=5) for event in found.values())
    assert (sent.arrived, sent.failed) == (5, 0)


def test_events_in_queries_arrive_one_by_one(collector_stack: Stack, topics: Topics) -> None:
    sent = Sent(collector_stack, method="get")
    sdk = tracker(sent)
    sdk.track(PageView(f"{ORIGIN}/lamps?a=1&b=ü", "Lamps & more"))
    sdk.track(StructuredEvent("shop", "Wish", label="p1"))
    viewed, wished = arrived(topics, 2)
    assert (viewed.metadata["url"], viewed.metadata["title"]) == (
        f"{ORIGIN}/lamps?a=1&b=ü",
        "Lamps & more",
    )
    assert (wished.event, sent.arrived, sent.failed) == ("Wish", 2, 0)


def test_one_bad_event_of_a_batch_keeps_the_others(collector_stack: Stack, topics: Topics) -> None:
    sent = Sent(collector_stack, batch_size=10)
    sdk = tracker(sent)
    sdk.track(PageView(f"{ORIGIN}/lamps"))
    sdk.track(StructuredEvent("shop", "add-to-basket", label="p\n1"))
    sent.emitter.flush()
    assert [event.event for event in arrived(topics, 1)] == ["page_view"]
    [dead_letter] = topics.dead_letters(1)
    assert (dead_letter.attributes["protocol"], dead_letter.attributes["field"]) == (
        "snowplow",
        "product_id",
    )
    assert (sent.arrived, sent.retries()) == (2, False)


def test_the_app_id_is_the_write_key(guarded_stack: Stack, guarded_topics: Topics) -> None:
    sent = Sent(guarded_stack, batch_size=1)
    tracker(sent, SERVER_KEY).track(PageView(f"{ORIGIN}/lamps"))
    [message] = guarded_topics.events(1)
    assert (message.attributes["site"], message.attributes["protocol"]) == ("shop", "snowplow")


def test_an_unknown_app_id_is_refused_and_not_sent_again(
    guarded_stack: Stack, guarded_topics: Topics
) -> None:
    sent = Sent(guarded_stack, batch_size=1)
    tracker(sent, "no-such-key").track(PageView(f"{ORIGIN}/lamps"))
    assert (sent.arrived, sent.failed, sent.retries()) == (0, 1, False)
    guarded_topics.events(0)
    guarded_topics.dead_letters(0)


def test_a_batch_that_is_too_large_is_refused_and_not_sent_again(
    collector_stack: Stack, topics: Topics
) -> None:
    sent = Sent(collector_stack, batch_size=30)
    sdk = tracker(sent)
    for number in range(30):
        sdk.track(PageView(f"{ORIGIN}/lamps", "x" * 40_000 + str(number)))
    assert (sent.arrived, sent.failed, sent.retries()) == (0, 30, False)
    topics.events(0)


def test_what_was_not_stored_is_sent_again_and_arrives_once(
    collector_stack: Stack, topics: Topics
) -> None:
    sent = Sent(collector_stack, batch_size=2)
    sdk = tracker(sent)
    with without_pubsub(collector_stack):
        sdk.track(PageView(f"{ORIGIN}/lamps"))
        sdk.track(PageView(f"{ORIGIN}/shoes"))
        assert (sent.arrived, sent.failed, sent.retries()) == (0, 2, True)
    deadline = time.monotonic() + 30
    while not sent.arrived and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(event.metadata["url"] for event in arrived(topics, 1)) == [
        f"{ORIGIN}/lamps",
        f"{ORIGIN}/shoes",
    ]
    assert (sent.arrived, sent.retries()) == (2, False)


# ---- the browser


def start(page: Page, stack: Stack, **settings: Any) -> None:
    """A tracker with the plugin, and its defaults: it sends along what the browser keeps, and asks
    for nothing.
    """
    page.add_script_tag(content=(NODE_MODULES / ECOMMERCE_PLUGIN).read_text())
    page.evaluate(
        """([endpoint, settings]) => {
          window.sp = snowplowBrowserTracking;
          window.shop = snowplowEcommerceAccelerator;
          sp.newTracker("sp", endpoint, { plugins: [shop.SnowplowEcommercePlugin()], ...settings });
        }""",
        [stack.env["FRESHET_COLLECTOR_URL"], {"appId": "any-key-1"} | settings],
    )


@pytest.mark.browser
@pytest.mark.parametrize("method", ["post", "get"])
def test_a_page_view_arrives(
    page: Page, collector_stack: Stack, topics: Topics, method: str
) -> None:
    start(page, collector_stack, eventMethod=method, contexts={"session": True, "browser": True})
    path = "**/i?*" if method == "get" else TP2
    with page.expect_response(path) as answer:
        page.evaluate("sp.trackPageView()")
    assert answer.value.status == 200
    [viewed] = arrived(topics, 1)
    assert (viewed.event, viewed.user_id) == ("page_view", None)
    assert viewed.anonymous_id == page.evaluate("sp.newTracker('sp2', 'x', {}).getDomainUserId()")
    assert viewed.session_id == page.evaluate(
        "sp.newTracker('sp3', 'x', {}).getDomainUserInfo()[6]"
    )
    assert viewed.metadata["url"] == f"{ORIGIN}/lamps?utm_source=mail"
    assert (viewed.metadata["title"], viewed.metadata["platform"]) == ("Lamps", "web")
    kinds = {context["schema"].split("/")[1] for context in viewed.metadata["contexts"]}
    assert kinds == {"web_page", "client_session", "browser_context"}


@pytest.mark.browser
def test_activity_on_a_page_is_dwell_and_scroll(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack)
    page.evaluate("document.body.style.height = '4000px'")
    page.evaluate("sp.enableActivityTracking({ minimumVisitLength: 1, heartbeatDelay: 1 })")
    page.evaluate("sp.trackPageView()")
    with page.expect_response(lambda answer: "pp_may" in (answer.request.post_data or "")):
        page.mouse.wheel(0, 1500)
    page.evaluate("sp.disableActivityTracking()")
    viewed, dwell, scroll = arrived(topics, 2)
    assert [event.event for event in (viewed, dwell, scroll)] == ["page_view", "dwell", "scroll"]
    assert dwell.metadata["dwell_ms"] == 10_000
    assert 25 < scroll.metadata["depth"] < 75
    assert dwell.metadata["page_view_id"] == viewed.metadata["page_view_id"]


@pytest.mark.browser
def test_the_e_commerce_plugin_s_events_are_ours(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack, bufferSize=5, encodeBase64=True)
    with page.expect_response(TP2):
        page.evaluate(
            """() => {
              const lamp = { id: "p1", price: 20.5, currency: "EUR", category: "home/lamps", variant: "sand" };
              const fern = { id: "p2", price: 5, currency: "EUR", quantity: 3 };
              shop.setEcommerceUser({ id: "anna" });
              shop.trackProductListView({ name: "bestsellers", products: [lamp, fern] });
              shop.trackProductListClick({ name: "bestsellers", product: lamp });
              shop.trackProductView(lamp);
              shop.trackAddToCart({ products: [fern], total_value: 15, currency: "EUR" });
              shop.trackTransaction({ transaction_id: "o1", revenue: 35.5, currency: "EUR", payment_method: "card",
                                      products: [lamp, fern] });
            }"""
        )
    found = arrived(topics, 1)
    told = [(event.event, event.product_id) for event in found]
    assert sorted(told) == [
        ("add_to_cart", "p2"),
        ("click", "p1"),
        ("impression", "p1"),
        ("impression", "p2"),
        ("purchase", "p1"),
        ("purchase", "p2"),
        ("view_product", "p1"),
    ]
    assert len({event.event_id for event in found}) == 7
    assert {event.user_id for event in found} == {"anna"}
    by_name = {(event.event, event.product_id): event.metadata for event in found}
    assert by_name["view_product", "p1"]["product_variant"] == "sand"
    assert (
        by_name["impression", "p1"]["placement"]
        == by_name["click", "p1"]["placement"]
        == "bestsellers"
    )
    assert by_name["purchase", "p2"]["order_id"] == "o1"
    assert (by_name["purchase", "p2"]["price"], by_name["purchase", "p2"]["quantity"]) == (5, 3)


@pytest.mark.browser
def test_a_login_links_browser_and_account(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack)
    for script in (
        "sp.trackPageView()",
        "sp.setUserId('anna'); sp.trackStructEvent({category: 'user', action: 'Hi'})",
    ):
        with page.expect_response(TP2):
            page.evaluate(script)
    before, after = arrived(topics, 2)
    assert (before.user_id, after.user_id, after.event) == (None, "anna", "Hi")
    assert after.anonymous_id == before.anonymous_id is not None


@pytest.mark.browser
def test_anonymous_visitors_are_known_for_their_session_only(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(
        page,
        collector_stack,
        anonymousTracking={"withSessionTracking": True, "withServerAnonymisation": True},
    )
    with page.expect_response(TP2) as answer:
        page.evaluate("sp.trackPageView()")
    assert answer.value.request.headers["sp-anonymous"] == "*"
    [viewed] = arrived(topics, 1)
    assert viewed.anonymous_id == viewed.session_id is not None


@pytest.mark.browser
def test_what_was_not_stored_is_sent_again_by_the_browser_and_arrives_once(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack)
    with without_pubsub(collector_stack):
        with page.expect_response(TP2) as refused:
            page.evaluate("sp.trackPageView()")
        assert refused.value.status == 503
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status))
    tracked = 0
    # it sends again when there is something more to send
    while 200 not in statuses and tracked < 30:
        page.evaluate("sp.trackStructEvent({category: 'user', action: 'Hi'})")
        page.wait_for_timeout(300)
        tracked += 1
    page.wait_for_timeout(1_000)
    names = [event.event for event in arrived(topics, statuses.count(200))]
    assert sorted(names) == ["Hi"] * tracked + ["page_view"]


@pytest.mark.browser
def test_an_unknown_app_id_is_not_sent_again_by_the_browser(
    browser: Browser, guarded_stack: Stack, guarded_topics: Topics
) -> None:
    with shop_page(browser, SCRIPT, guarded_stack.env["FRESHET_COLLECTOR_URL"]) as page:
        start(page, guarded_stack, appId="no-such-key")
        with page.expect_response(TP2) as refused:
            page.evaluate("sp.trackPageView()")
        assert refused.value.status == 401
        page.wait_for_timeout(300)  # until it has heard
        with page.expect_response(TP2) as again:  # what is still in its queue would be sent along
            page.evaluate("sp.trackStructEvent({category: 'user', action: 'Hi'})")
        sent = again.value.request.post_data or ""
        assert ('"e":"se"' in sent, '"e":"pv"' in sent) == (True, False)
    guarded_topics.events(0)
    guarded_topics.dead_letters(0)


@pytest.mark.browser
def test_the_write_key_may_stand_in_the_address(
    browser: Browser, guarded_stack: Stack, guarded_topics: Topics
) -> None:
    path = f"/com.snowplowanalytics.snowplow/tp2?key={BROWSER_KEY}&heartbeat_s=5"
    with shop_page(browser, SCRIPT, guarded_stack.env["FRESHET_COLLECTOR_URL"]) as page:
        start(page, guarded_stack, appId=NEWS_KEY, postPath=path)
        with page.expect_response(TP2):
            page.evaluate("sp.trackPageView()")
    [message] = guarded_topics.events(1)
    assert message.attributes["site"] == "shop"
