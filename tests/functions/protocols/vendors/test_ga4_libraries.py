"""Libraries of others that send GA4's forms, pointed at the running collector: what reaches
Pub/Sub.

`ga4mp`, of Adswerve, speaks the Measurement Protocol; `@minimal-analytics/ga4` stands in for
gtag.js in a page.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.error import HTTPError

import pytest
from ga4mp import FirebaseMP, GtagMP  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import BROWSER_KEY, ORIGIN, SERVER_KEY
from tests.functions.protocols.vendors.pages import shop_page
from tests.functions.pubsub import Topics
from tests.stack import Stack

SCRIPT = "@minimal-analytics/ga4/dist/index.js"


def arrived(topics: Topics, messages: int) -> list[Event]:
    """The events of so many messages, in order."""
    return [event for message in topics.events(messages) for event in decode_message(message.data)]


# ---- ga4mp


def pointed(sdk: Any, stack: Stack) -> Any:
    """At the collector, whose refusals it raises as errors. It has no option for that."""
    url = stack.env["FRESHET_COLLECTOR_URL"]
    sdk._base_domain, sdk._validation_domain = f"{url}/mp/collect", f"{url}/debug/mp/collect"
    return sdk


def gtag(stack: Stack, secret: str = "secret-1") -> Any:
    return pointed(GtagMP(secret, "G-SHOP1", "11.22"), stack)


def made(sdk: Any, name: str, *items: dict[str, Any], **params: Any) -> Any:
    """An event as the library makes it."""
    event = sdk.create_new_event(name)
    event["params"] = {}
    for param, value in params.items():
        event.set_event_param(param, value)
    for fields in items:
        item = event.create_new_item(fields.get("item_id"), fields.get("item_name"))
        for field, value in fields.items():
            item.set_parameter(field, value)
        event.add_item_to_event(item)
    return event


def test_a_page_view_and_a_custom_event_of_ga4mp_arrive_in_a_message(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = gtag(collector_stack)
    page = made(
        sdk, "page_view", page_location=f"{ORIGIN}/lamps?utm_source=mail", page_title="Lamps"
    )
    sdk.send([page, made(sdk, "lamp_switched", power=7)])
    viewed, switched = arrived(topics, 1)
    assert (viewed.event, switched.event) == ("page_view", "lamp_switched")
    assert {(e.user_id, e.anonymous_id) for e in (viewed, switched)} == {(None, "11.22")}
    assert viewed.session_id == switched.session_id == str(int(sdk._initialization_time))
    assert (viewed.metadata["title"], viewed.metadata["utm_source"]) == ("Lamps", "mail")
    assert switched.metadata["power"] == 7


def test_items_and_the_user_of_ga4mp_arrive(collector_stack: Stack, topics: Topics) -> None:
    sdk = gtag(collector_stack)
    sdk.store.set_user_property("user_id", "anna")
    sdk.store.set_user_property("plan", "gold")
    lamp = {
        "item_id": "p1",
        "item_name": "Oak lamp",
        "item_category": "home",
        "item_category2": "lamps",
        "price": 9.5,
    }
    params = {"transaction_id": "o1", "currency": "EUR", "value": 20}
    sdk.send([made(sdk, "purchase", lamp, {"item_name": "Shade", "price": 1}, **params)])
    first, second = arrived(topics, 1)
    assert [(e.event, e.product_id, e.user_id) for e in (first, second)] == [
        ("purchase", "p1", "anna"),
        ("purchase", "Shade", "anna"),
    ]
    assert (first.metadata["title"], first.metadata["category"]) == ("Oak lamp", "home.lamps")
    assert (first.metadata["order_id"], first.metadata["price"], second.metadata["price"]) == (
        "o1",
        9.5,
        1,
    )
    assert first.metadata["traits"] == {"plan": "gold"}


def test_what_a_shop_tells_of_its_pages_arrives_from_ga4mp(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = gtag(collector_stack)
    engaged = made(sdk, "user_engagement", engagement_time_msec=1200)
    scrolled = made(sdk, "scroll", percent_scrolled=90)
    searched = made(sdk, "search", search_term="oak & lamp")
    seen = made(sdk, "view_item", {"item_id": "p1"})
    sdk.send([engaged, scrolled, searched, seen])
    dwell, scroll, search, product = arrived(topics, 1)
    assert (dwell.event, dwell.metadata["dwell_ms"]) == ("dwell", 1200)
    assert (scroll.event, scroll.metadata["depth"]) == ("scroll", 90)
    assert (search.event, search.metadata["query"]) == ("search", "oak & lamp")
    assert (product.event, product.product_id) == ("view_product", "p1")


def test_postponed_events_of_ga4mp_arrive_with_the_time_when_they_happened(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = gtag(collector_stack)
    sdk.send([made(sdk, "lamp"), made(sdk, "shade")], postpone=True)
    times = [event["_timestamp_micros"] for event in sdk._event_list]
    sdk.postponed_send()
    events = arrived(topics, 2)
    assert [event.event for event in events] == ["lamp", "shade"]
    assert [round(event.timestamp.timestamp() * 1e3) for event in events] == [
        micros // 1000 for micros in times
    ]


def test_a_date_of_ga4mp_is_the_time_of_its_events(collector_stack: Stack, topics: Topics) -> None:
    sdk = gtag(collector_stack)
    then = datetime.now().replace(microsecond=0) - timedelta(hours=30)
    sdk.send([made(sdk, "lamp")], date=then)
    [event] = arrived(topics, 1)
    assert event.timestamp == then.astimezone()


def test_more_events_than_a_request_of_ga4mp_takes_are_several_messages(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = gtag(collector_stack)
    sdk.send([made(sdk, "lamp", number=number) for number in range(30)])
    events = arrived(topics, 2)
    assert [event.metadata["number"] for event in events] == list(range(30))
    assert len({event.event_id for event in events}) == 30


def test_an_apps_instance_is_the_visitor(collector_stack: Stack, topics: Topics) -> None:
    sdk = pointed(FirebaseMP("secret-1", "1:2:android:3", "instance-1"), collector_stack)
    sdk.send([made(sdk, "screen_view", screen_name="Lamps")])
    [event] = arrived(topics, 1)
    assert (event.event, event.anonymous_id, event.metadata["title"]) == (
        "page_view",
        "instance-1",
        "Lamps",
    )


def test_what_is_validated_with_ga4mp_is_stored_nowhere(
    collector_stack: Stack, topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    sdk = gtag(collector_stack)
    sdk.send([made(sdk, "lamp")], validation_hit=True)
    assert caplog.messages[-1] == "Status code: 200"
    topics.events(0)
    sdk.send([made(sdk, "lamp")])
    assert caplog.messages[-1] == "Status code: 204"
    arrived(topics, 1)


def test_an_event_that_cannot_be_one_is_an_error_to_ga4mp_and_a_dead_letter(
    collector_stack: Stack, topics: Topics
) -> None:
    sdk = gtag(collector_stack)
    with pytest.raises(HTTPError, match="400"):
        sdk.send([{"name": "view_item", "params": {"items": [{"price": 1}]}}])
    [dead_letter] = topics.dead_letters(1)
    assert (dead_letter.attributes["protocol"], dead_letter.attributes["field"]) == (
        "ga4",
        "items[0]",
    )
    topics.events(0)


def test_the_secret_of_ga4mp_is_the_write_key(guarded_stack: Stack, guarded_topics: Topics) -> None:
    sdk = gtag(guarded_stack, SERVER_KEY)
    sdk.send([made(sdk, "lamp")])
    [message] = guarded_topics.events(1)
    assert message.attributes["site"] == "shop"
    unknown = gtag(guarded_stack, "no-such-key")
    with pytest.raises(HTTPError, match="401"):
        unknown.send([made(unknown, "lamp")])
    guarded_topics.events(0)


# ---- the browser


@pytest.fixture
def page(page: Page, collector_stack: Stack) -> Page:
    point(page, collector_stack)
    return page


def point(page: Page, stack: Stack) -> None:
    endpoint = f"{stack.env['FRESHET_COLLECTOR_URL']}/g/collect"
    page.evaluate("url => { window.minimalAnalytics = { analyticsEndpoint: url }; }", endpoint)


def track(page: Page, key: str = "G-SHOP1", **props: Any) -> int:
    """The status of the answer to a beacon of the library's."""
    with page.expect_response("**/g/collect**") as answered:
        page.evaluate("([key, props]) => track(key, props)", [key, props])
    return answered.value.status


@pytest.mark.browser
def test_a_page_view_of_a_tag_arrives(page: Page, collector_stack: Stack, topics: Topics) -> None:
    assert track(page) == 204
    [event] = arrived(topics, 1)
    ids = page.evaluate("[localStorage.getItem('clientId'), sessionStorage.getItem('sessionId')]")
    assert (event.event, event.anonymous_id, event.session_id) == ("page_view", *ids)
    assert (event.user_id, event.metadata["url"]) == (None, f"{ORIGIN}/lamps?utm_source=mail")
    assert (event.metadata["title"], event.metadata["utm_source"]) == ("Lamps", "mail")
    assert (event.metadata["language"], event.metadata["session_number"]) == ("en-US", "1")
    assert event.metadata["screen_size"] == page.evaluate("`${screen.width}x${screen.height}`")


@pytest.mark.browser
def test_a_custom_event_of_a_tag_keeps_its_parameters(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    assert track(page, type="lamp_switched", event={"ep.room": "Küche ☕", "epn.power": 7}) == 204
    [event] = arrived(topics, 1)
    assert (event.event, event.metadata["room"], event.metadata["power"]) == (
        "lamp_switched",
        "Küche ☕",
        7,
    )


@pytest.mark.browser
def test_the_same_event_of_a_tag_twice_is_two_events(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    for _ in range(2):
        assert track(page, type="lamp_switched") == 204
    first, second = arrived(topics, 2)
    assert first.event_id != second.event_id
    assert (first.anonymous_id, first.session_id) == (second.anonymous_id, second.session_id)


@pytest.mark.browser
def test_items_of_a_tag_are_a_purchase_each(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    order = {"ep.transaction_id": "o1", "epn.value": 60, "cu": "EUR", "uid": "anna"}
    items = {"pr1": "idp1~nmOak lamp~pr49.9~qt1", "pr2": "idp2~nmShade~pr10.1~qt1"}
    assert track(page, type="purchase", event=order | items) == 204
    lamp, shade = arrived(topics, 1)
    assert [(e.event, e.product_id, e.user_id) for e in (lamp, shade)] == [
        ("purchase", "p1", "anna"),
        ("purchase", "p2", "anna"),
    ]
    assert (lamp.metadata["title"], lamp.metadata["price"], lamp.metadata["order_value"]) == (
        "Oak lamp",
        49.9,
        60,
    )


@pytest.mark.browser
def test_a_scroll_to_the_end_is_told_once(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    page.evaluate("document.body.style.height = '5000px'")
    assert track(page) == 204
    arrived(topics, 1)
    with page.expect_response("**/g/collect**") as answered:
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert answered.value.status == 204
    [event] = arrived(topics, 1)
    assert (event.event, event.metadata["depth"]) == ("scroll", 90)


@pytest.mark.browser
def test_how_long_a_page_was_looked_at_arrives_when_it_is_left(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    assert track(page) == 204
    arrived(topics, 1)
    page.wait_for_timeout(300)
    # requests of the page move on only while the test is in here
    with page.expect_response("**/g/collect**"):
        page.evaluate("dispatchEvent(new Event('beforeunload'))")
    [event] = arrived(topics, 1)
    assert event.event == "dwell"
    assert 300 <= event.metadata["dwell_ms"] < 10_000


@pytest.mark.browser
def test_a_click_that_leads_away_arrives(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    assert track(page) == 204
    arrived(topics, 1)
    with page.expect_response("**/g/collect**"):
        page.evaluate(
            """() => {
                document.body.insertAdjacentHTML("beforeend", "<a id=out href=https://oakmere.example/>Oakmere</a>");
                const out = document.getElementById("out");
                out.addEventListener("click", (event) => event.preventDefault());
                out.click();
            }"""
        )
    [event] = arrived(topics, 1)
    assert (event.event, event.product_id) == ("click", None)
    assert (event.metadata["link_url"], event.metadata["link_text"]) == (
        "https://oakmere.example/",
        "Oakmere",
    )


@pytest.mark.browser
def test_a_search_in_the_address_is_a_search(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    page.goto(f"{ORIGIN}/lamps?q=oak+%26+lamp")
    point(page, collector_stack)
    assert track(page) == 204
    # whose `search_term` is the parameter's name: the library's own mistake
    [event] = arrived(topics, 1)
    assert (event.event, event.metadata["url"]) == ("search", f"{ORIGIN}/lamps?q=oak+%26+lamp")


@pytest.mark.browser
def test_the_id_of_a_tag_is_the_write_key(
    browser: Browser, guarded_stack: Stack, guarded_topics: Topics
) -> None:
    with shop_page(browser, SCRIPT, guarded_stack.env["FRESHET_COLLECTOR_URL"]) as page:
        point(page, guarded_stack)
        assert track(page, "no-such-key") == 401
        assert track(page, BROWSER_KEY) == 204
    [message] = guarded_topics.events(1)
    assert message.attributes["site"] == "shop"
