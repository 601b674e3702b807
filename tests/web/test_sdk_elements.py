"""What a page says in attributes, what people do in a shop, and video and sound."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.web.conftest import Site
from tests.web.sdk_pages import hide, metadata, open_blank, open_html, start, wait_for

pytestmark = pytest.mark.browser

CARD = """<article data-freshet-product="p1" data-freshet-category="home" data-freshet-price="12.50">
  <h2>Lamp</h2>
  <button data-freshet-click="add_to_cart" data-freshet-list-price="15" data-freshet-quantity="2"><b>Add</b></button>
  <a href="#more" data-freshet-click>More</a>
</article>"""


def only(site: Site, name: str) -> dict[str, Any]:
    (event,) = site.fake.named(name)
    return event


def test_a_click_tells_the_fields_of_the_element_and_of_those_around_it(
    page: Page, site: Site
) -> None:
    open_html(page, site, CARD, elements=True)
    page.click("b")
    page.click("a")
    wait_for(lambda: len(site.fake.events) == 2, page)
    added, click = only(site, "add_to_cart"), only(site, "click")
    assert added["product_id"] == click["product_id"] == "p1"
    assert added["metadata"] == {"category": "home", "price": 12.5, "list_price": 15, "quantity": 2}
    assert click["metadata"] == {"category": "home", "price": 12.5}


def test_clicks_are_heard_though_the_page_stops_them_or_throws(page: Page, site: Site) -> None:
    open_html(page, site, CARD, elements=True)
    page.evaluate(
        """() => {
            addEventListener("click", (event) => { event.stopImmediatePropagation(); event.preventDefault(); throw new Error("own"); });
            document.querySelector("b").addEventListener("click", (event) => event.stopPropagation());
        }"""
    )
    page.click("b")
    wait_for(lambda: len(site.fake.named("add_to_cart")) == 1, page)


def test_without_the_option_attributes_say_nothing(page: Page, site: Site) -> None:
    open_html(page, site, CARD + "<p data-freshet-view data-freshet-product='p2'>x</p>")
    page.click("b")
    page.wait_for_timeout(500)
    assert site.fake.events == []


def test_a_view_is_told_once_and_again_when_the_element_is_about_another_product(
    page: Page, site: Site
) -> None:
    open_html(
        page,
        site,
        "<main data-freshet-view data-freshet-product='p1' data-freshet-brand='b'></main>",
        elements=True,
    )
    wait_for(lambda: len(site.fake.named("view_product")) == 1, page)
    page.evaluate("() => document.body.append(document.createElement('p'))")
    page.evaluate("() => document.querySelector('main').setAttribute('data-freshet-product', 'p1')")
    page.wait_for_timeout(400)
    page.evaluate("() => document.querySelector('main').setAttribute('data-freshet-product', 'p2')")
    wait_for(lambda: len(site.fake.named("view_product")) == 2, page)
    page.wait_for_timeout(300)
    assert [event["product_id"] for event in site.fake.named("view_product")] == ["p1", "p2"]
    assert metadata(site.fake.named("view_product"), "brand") == ["b", "b"]


def test_elements_that_come_later_are_found(page: Page, site: Site) -> None:
    open_html(page, site, "<body></body>", elements=True)
    page.wait_for_timeout(200)
    page.evaluate(
        """() => {
            const section = document.createElement("section");
            section.innerHTML = "<p data-freshet-view data-freshet-product='p7'></p>";
            document.body.append(section);
        }"""
    )
    wait_for(lambda: len(site.fake.named("view_product")) == 1, page)


def test_what_a_click_brings_is_viewed_within_150_ms(page: Page, site: Site) -> None:
    """With a real mouse: after a scripted click Chromium is idle at once, after a real one for a
    second never.
    """
    open_html(page, site, "<button>x</button><div></div>", elements=True)
    page.wait_for_timeout(500)
    page.evaluate(
        """() => {
            window.delays = [];
            let clickedMs;
            freshet.on("tracked", ({ at_ms }) => delays.push(at_ms - clickedMs));
            document.querySelector("button").addEventListener("click", ({ timeStamp }) => {
                clickedMs = timeStamp;
                document.querySelector("div").innerHTML = `<p data-freshet-view data-freshet-product="p${timeStamp}">x</p>`;
            });
        }"""
    )
    for clicks in range(1, 6):
        page.click("button")
        wait_for(lambda clicks=clicks: len(site.fake.named("view_product")) == clicks, page)  # type: ignore[misc]
    assert statistics.median(page.evaluate("() => delays")) < 150


def test_a_search_form_tells_its_query(page: Page, site: Site) -> None:
    html = """<form data-freshet-search="term" data-freshet-placement="header" action="/pages/test">
      <input name="term"><button>Go</button></form>
      <form id="unnamed" data-freshet-search onsubmit="return false"><input name="q"></form>
      <form id="other" onsubmit="return false"><input name="q"></form>"""
    open_html(page, site, html, elements=True)
    page.fill("#other input", "nothing")
    page.press("#other input", "Enter")
    page.fill("#unnamed input", "desk lamp")
    page.press("#unnamed input", "Enter")
    page.fill("[name=term]", "red lamp")
    page.click("button")
    wait_for(lambda: len(site.fake.named("search")) == 2, page)
    page.wait_for_timeout(200)
    told = [event["metadata"] for event in site.fake.named("search")]
    assert told == [{"query": "desk lamp"}, {"query": "red lamp", "placement": "header"}]


def test_impressions_follow_the_attribute_half_visible_for_a_second_and_once(
    page: Page, site: Site
) -> None:
    item = (
        "<div data-freshet-impression data-freshet-product='{}' data-freshet-position='{}' "
        "style='height:200px'>x</div>"
    )
    html = (
        "<body style='margin:0'>"
        + item.format("seen", 0)
        + "<div style='height:1200px'></div>"
        + item.format("below", 1)
    )
    open_html(page, site, html, elements=True, flushMs=0)
    page.wait_for_timeout(700)
    assert site.fake.named("impression") == []
    wait_for(lambda: len(site.fake.named("impression")) == 1, page)
    page.evaluate("() => scrollTo(0, 2000)")
    page.wait_for_timeout(500)
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_timeout(1300)
    assert [event["product_id"] for event in site.fake.named("impression")] == ["seen"]
    assert metadata(site.fake.named("impression"), "position") == [0]


def test_the_second_of_an_impression_does_not_run_while_the_page_is_hidden(
    page: Page, site: Site
) -> None:
    html = "<div data-freshet-impression data-freshet-product='p1' style='height:200px'>x</div>"
    open_html(page, site, html, elements=True, flushMs=0)
    page.wait_for_timeout(300)
    hide(page)
    page.wait_for_timeout(1300)
    assert site.fake.named("impression") == []


def test_a_thousand_elements_are_looked_at_without_a_long_task(page: Page, site: Site) -> None:
    html = (
        "<section></section>"
        + "<div><p data-freshet-view data-freshet-product='p'>x</p></div>" * 1000
    )
    site.fake.pages["test"] = html
    page.goto(f"{site.freshet}/pages/test")
    page.evaluate(
        """() => {
            window.longest = 0;
            const note = (list) => list.getEntries().forEach((task) => { longest = Math.max(longest, task.duration); });
            new PerformanceObserver(note).observe({ type: "longtask" });
        }"""
    )
    start(page, site, elements=True, flushMs=60_000, batchSize=2000)
    wait_for(
        lambda: (
            page.evaluate("() => performance.now()") > 0 and page.evaluate("() => longest") < 200
        ),
        page,
    )
    page.wait_for_timeout(1500)
    assert page.evaluate("() => freshet.pending().length") == 50
    assert page.evaluate("() => longest") < 150


def test_the_words_of_a_shop(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate(
        """() => {
            freshet.view("p1");
            freshet.addToCart({ product_id: "p1", price: 5, quantity: 2 });
            freshet.removeFromCart("p1", { quantity: 1 });
            freshet.search("lamp", { results: 3 });
        }"""
    )
    wait_for(lambda: len(site.fake.events) == 4, page)
    assert [event["event"] for event in site.fake.events] == [
        "view_product",
        "add_to_cart",
        "remove_from_cart",
        "search",
    ]
    assert [event.get("product_id") for event in site.fake.events] == ["p1", "p1", "p1", None]
    assert site.fake.events[1]["metadata"] == {"price": 5, "quantity": 2}
    assert site.fake.events[3]["metadata"] == {"query": "lamp", "results": 3}


def test_a_purchase_is_an_event_a_line_and_a_repeated_order_is_the_same_events(
    page: Page, site: Site
) -> None:
    open_blank(page, site)
    order = {
        "order_id": "o1",
        "currency": "EUR",
        "lines": [
            {"product_id": "p1", "price": 5, "quantity": 2},
            {"product_id": "p2", "price": 7, "quantity": 1},
        ],
    }
    first = page.evaluate("(order) => freshet.purchase(order)", order)
    again = page.evaluate("(order) => freshet.purchase(order)", order)
    nameless = page.evaluate("(lines) => freshet.purchase({ lines })", order["lines"])
    assert first == again == ["o1#p1#1", "o1#p2#1"]
    assert len(set(nameless)) == 2 and not set(nameless) & set(first)
    wait_for(lambda: len(site.fake.events) == 6, page)
    assert site.fake.events[0]["metadata"] == {
        "order_id": "o1",
        "currency": "EUR",
        "price": 5,
        "quantity": 2,
    }
    assert "lines" not in site.fake.events[0]["metadata"]


SOUND = """async (seconds) => {
    const rate = 8000, bytes = new DataView(new ArrayBuffer(44 + seconds * rate));
    const text = (at, word) => [...word].forEach((letter, n) => bytes.setUint8(at + n, letter.charCodeAt(0)));
    text(0, "RIFF"); bytes.setUint32(4, 36 + seconds * rate, true); text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
    bytes.setUint32(24, rate, true); bytes.setUint32(28, rate, true); bytes.setUint16(32, 1, true);
    bytes.setUint16(34, 8, true); text(36, "data"); bytes.setUint32(40, seconds * rate, true);
    for (let at = 44; at < bytes.byteLength; at += 1) bytes.setUint8(at, 128);
    const sound = document.querySelector("audio");
    sound.src = URL.createObjectURL(new Blob([bytes], { type: "audio/wav" }));
    await new Promise((resolve) => sound.addEventListener("canplaythrough", resolve, { once: true }));
}"""


def test_media_tell_play_progress_and_pause_with_the_time_watched(page: Page, site: Site) -> None:
    html = "<audio data-freshet-media data-freshet-product='song'></audio>"
    open_html(page, site, html, elements=True, progressMs=500, flushMs=0)
    page.wait_for_timeout(200)
    page.evaluate(SOUND, 4)
    page.evaluate("() => document.querySelector('audio').play()")
    page.wait_for_timeout(1500)
    page.evaluate("() => document.querySelector('audio').pause()")
    wait_for(lambda: bool(site.fake.named("media_pause")), page)
    page.wait_for_timeout(400)
    names = [event["event"] for event in site.fake.events]
    assert names[0] == "media_play" and names[-1] == "media_pause" and "media_progress" in names
    assert {event["product_id"] for event in site.fake.events} == {"song"}
    assert site.fake.events[0]["metadata"]["watched_ms"] == 0
    assert 1200 < sum(metadata(site.fake.events, "watched_ms")) < 1900
    assert 25 < site.fake.events[-1]["metadata"]["percent"] < 50


def test_media_that_are_skipped_through_are_not_watched(page: Page, site: Site) -> None:
    open_html(page, site, "<audio></audio>", flushMs=0)
    page.evaluate(SOUND, 60)
    page.evaluate(
        """async () => {
            const sound = document.querySelector("audio");
            window.stop = freshet.observeMedia(sound, { product_id: "song" });
            await sound.play();
            sound.currentTime = 50;
            await new Promise((resolve) => setTimeout(resolve, 400));
            sound.pause();
        }"""
    )
    wait_for(lambda: bool(site.fake.named("media_pause")), page)
    assert sum(metadata(site.fake.events, "watched_ms")) < 1000
    assert site.fake.named("media_pause")[0]["metadata"]["percent"] >= 83
    before = len(site.fake.events)
    page.evaluate("async () => { stop(); await document.querySelector('audio').play(); }")
    page.wait_for_timeout(300)
    assert len(site.fake.events) == before


def test_what_was_watched_is_told_when_the_page_goes(page: Page, site: Site) -> None:
    open_html(
        page, site, "<audio data-freshet-media data-freshet-product='song'></audio>", elements=True
    )
    page.wait_for_timeout(200)
    page.evaluate(SOUND, 10)
    page.evaluate("() => document.querySelector('audio').play()")
    page.wait_for_timeout(700)
    page.goto("about:blank")
    wait_for(lambda: bool(site.fake.named("media_progress")), page)
    assert 500 < sum(metadata(site.fake.events, "watched_ms")) < 1200
