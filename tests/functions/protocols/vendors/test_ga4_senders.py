"""What gtag.js, Tag Manager and back ends put on the wire, sent by a browser and by an HTTP client
to the collector.

gtag.js itself is served by Google alone, so the page here sends its form as it does: with
`sendBeacon`, or an image.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Browser, Page

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import BROWSER_KEY, ORIGIN, SERVER_KEY
from tests.functions.protocols.vendors.pages import shop_page
from tests.functions.pubsub import Topics
from tests.stack import Stack

MP = "/mp/collect?measurement_id=G-SHOP1&api_secret="
TAG = {
    "v": "2",
    "tid": "G-SHOP1",
    "cid": "11.22",
    "sid": "77",
    "_p": "5",
    "_s": "1",
    "ul": "de-de",
    "gcs": "G111",
}
EMPTY_SCRIPT = "empty.js"


def arrived(topics: Topics, messages: int) -> list[Event]:
    """The events of so many messages, in order."""
    return [event for message in topics.events(messages) for event in decode_message(message.data)]


def order(**fields: Any) -> dict[str, Any]:
    """A back end's order of two items."""
    items = [{"item_id": "p1", "price": 9.5, "quantity": 2}, {"item_id": "p2", "price": "1"}]
    params = {
        "transaction_id": "o1",
        "currency": "EUR",
        "value": 20,
        "session_id": 77,
        "items": items,
    }
    purchase = {"name": "purchase", "params": params, "timestamp_micros": time.time_ns() // 1000}
    return {"client_id": "11.22", "user_id": "anna", "events": [purchase], **fields}


# ---- back ends


def test_an_order_of_a_back_end_is_a_purchase_a_product(
    client: httpx.Client, topics: Topics
) -> None:
    sent = order()
    answer = client.post(MP + "secret-1", json=sent)
    assert (answer.status_code, answer.content) == (204, b"")
    lamp, shade = arrived(topics, 1)
    assert [(event.event, event.product_id) for event in (lamp, shade)] == [
        ("purchase", "p1"),
        ("purchase", "p2"),
    ]
    assert (lamp.user_id, lamp.anonymous_id, lamp.session_id) == ("anna", "11.22", "77")
    assert (lamp.metadata["order_id"], lamp.metadata["price"], shade.metadata["price"]) == (
        "o1",
        9.5,
        1,
    )
    client.post(MP + "secret-1", json=sent)
    assert [event.event_id for event in arrived(topics, 1)] == [lamp.event_id, shade.event_id]


def test_a_bad_event_is_a_dead_letter_and_leaves_the_others(
    client: httpx.Client, topics: Topics
) -> None:
    bad = {"name": "view_item", "params": {"items": [{"price": 1}]}}
    answer = client.post(
        MP + "secret-1", json={"client_id": "11.22", "events": [bad, {"name": "tutorial"}]}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    [dead_letter] = topics.dead_letters(1)
    assert (dead_letter.attributes["protocol"], dead_letter.attributes["field"]) == (
        "ga4",
        "items[0]",
    )
    assert [event.event for event in arrived(topics, 1)] == ["tutorial"]


def test_the_validation_server_tells_what_is_bad_and_stores_nothing(
    client: httpx.Client, topics: Topics
) -> None:
    bad = {"name": "view_item", "params": {"items": [{"price": 1}]}}
    answer = client.post(
        "/debug" + MP + "secret-1", json={"client_id": "11.22", "events": [{"name": "a"}, bad]}
    )
    assert [message["fieldPath"] for message in answer.json()["validationMessages"]] == [
        "events[1].items[0]"
    ]
    topics.events(0)
    topics.dead_letters(0)


def test_the_secret_is_the_write_key(guarded: httpx.Client, guarded_topics: Topics) -> None:
    refused = guarded.post(MP + "no-such-key", json=order())
    assert refused.status_code == 401
    assert refused.json()["validationMessages"][0]["fieldPath"] == "write_key"
    assert guarded.post(MP + SERVER_KEY, json=order()).status_code == 204
    [message] = guarded_topics.events(1)
    assert message.attributes["site"] == "shop"


def test_the_measurement_id_is_the_write_key_of_a_tag(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    query = {"en": "page_view", **TAG}
    headers = {"origin": ORIGIN}
    assert guarded.get("/g/collect", params=query, headers=headers).status_code == 401
    assert (
        guarded.get("/g/collect", params=query | {"tid": BROWSER_KEY}, headers=headers).status_code
        == 204
    )
    assert len(arrived(guarded_topics, 1)) == 1


def test_a_forwarded_batch_of_lines_arrives(client: httpx.Client, topics: Topics) -> None:
    lines = "\r\n".join(
        urlencode(line) for line in ({"en": "scroll", "epn.percent_scrolled": 90}, {"en": "lamp"})
    )
    answer = client.post(
        "/g/collect",
        params=TAG,
        content=lines,
        headers={"content-type": "text/plain;charset=UTF-8"},
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert [event.event for event in arrived(topics, 1)] == ["scroll", "lamp"]


def test_of_a_visitor_who_agreed_to_nothing_nothing_arrives(
    client: httpx.Client, topics: Topics
) -> None:
    for query in ({"en": "page_view"}, {"ep.name": "nothing"}):
        assert client.get("/g/collect", params=TAG | query | {"gcs": "G100"}).status_code == 204
    topics.events(0)
    topics.dead_letters(0)


# ---- the browser


@pytest.fixture
def page(browser: Browser, collector_stack: Stack, tmp_path: Path) -> Iterator[Page]:
    script = tmp_path / EMPTY_SCRIPT
    script.write_text("")
    with shop_page(browser, str(script), collector_stack.env["FRESHET_COLLECTOR_URL"]) as page:
        yield page


def url_of(stack: Stack, **fields: str) -> str:
    return f"{stack.env['FRESHET_COLLECTOR_URL']}/g/collect?{urlencode(TAG | fields)}"


@pytest.mark.browser
def test_a_beacon_of_several_events_arrives(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    lines = (
        urlencode({"en": "page_view", "dt": "Lamps ☕"})
        + "\r\n"
        + urlencode({"en": "user_engagement", "_et": "1200"})
    )
    url = url_of(collector_stack, dl=f"{ORIGIN}/lamps?utm_source=mail")
    # requests of the page move on only while the test is in here
    with page.expect_response("**/g/collect**"):
        assert (
            page.evaluate("([url, lines]) => navigator.sendBeacon(url, lines)", [url, lines])
            is True
        )
    viewed, dwell = arrived(topics, 1)
    assert (viewed.event, viewed.anonymous_id, viewed.session_id) == ("page_view", "11.22", "77")
    assert (viewed.metadata["title"], viewed.metadata["utm_source"]) == ("Lamps ☕", "mail")
    assert (viewed.metadata["language"], viewed.metadata["consent"]["analytics"]) == ("de-DE", True)
    assert (dwell.event, dwell.metadata["dwell_ms"]) == ("dwell", 1200)


@pytest.mark.browser
def test_an_image_with_items_arrives(page: Page, collector_stack: Stack, topics: Topics) -> None:
    items = {"pr1": "idp1~nmOak lamp~pr49.9~lp0~lnhome", "pr2": "idp2~nmShade ~~ oak~lp1~lnhome"}
    with page.expect_response("**/g/collect**") as answered:
        page.evaluate(
            "url => { new Image().src = url; }",
            url_of(collector_stack, en="view_item_list", **items),
        )
    assert answered.value.status == 204
    lamp, shade = arrived(topics, 1)
    assert [(event.event, event.product_id) for event in (lamp, shade)] == [
        ("impression", "p1"),
        ("impression", "p2"),
    ]
    assert (shade.metadata["title"], shade.metadata["position"], shade.metadata["placement"]) == (
        "Shade ~ oak",
        1,
        "home",
    )


@pytest.mark.browser
def test_a_fetch_across_origins_may_read_its_answer(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    url = url_of(collector_stack, en="page_view")
    fetched = (
        "url => fetch(url, { method: 'POST', keepalive: true, credentials: 'include' "
        "}).then((a) => a.status)"
    )
    assert page.evaluate(fetched, url) == 204
    assert [event.event for event in arrived(topics, 1)] == ["page_view"]
