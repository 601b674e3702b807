"""Places that show what is recommended: drawn from a template, asked again after events, told when
seen and clicked.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.web.conftest import Site
from tests.web.sdk_pages import hide, metadata, open_blank, open_html, show, wait_for

pytestmark = pytest.mark.browser

HOME = """<body><div data-freshet-slot="home" data-freshet-k="4">
  <template><a href="/pages/test/{id}" title="{title}">{title}: {id}</a></template>
</div>
<section data-freshet-banner="home"><template><div><h2>{headline}</h2><a href="/pages/test/{product_id}">{text}</a></div></template></section>
</body>"""
LINKS = "[data-freshet-slot] a"


def links(page: Page) -> list[str]:
    texts: list[str] = page.eval_on_selector_all(
        LINKS, "(all) => all.map((link) => link.textContent)"
    )
    return texts


def test_a_slot_and_a_banner_are_drawn_by_one_question(page: Page, site: Site) -> None:
    open_html(page, site, HOME, elements=True)
    page.wait_for_selector(LINKS)
    assert links(page) == [": i00", ": i01", ": i02", ": i03"]
    assert page.inner_text("section h2") == "Made for the long run"
    assert page.get_attribute("section a", "href") == "/pages/test/i00"
    (asked,) = site.fake.asked
    assert asked["placement"] == "home" and asked["k"] == 4


def test_a_slot_asks_again_after_events_once_for_many(page: Page, site: Site) -> None:
    open_html(page, site, HOME, elements=True)
    page.wait_for_selector(LINKS)
    page.evaluate(
        "() => { freshet.view('i03'); freshet.addToCart('i03'); freshet.track('scroll'); }"
    )
    wait_for(lambda: links(page)[0] == ": i03", page)
    page.wait_for_timeout(500)
    assert len(site.fake.asked) == 2
    assert page.inner_text("section h2") == "More in plants"
    page.evaluate("() => freshet.track('scroll')")
    page.wait_for_timeout(600)
    assert len(site.fake.asked) == 2


def test_an_answer_with_the_same_items_leaves_the_elements_alone(page: Page, site: Site) -> None:
    open_html(page, site, HOME, elements=True)
    page.wait_for_selector(LINKS)
    page.evaluate(
        "(links) => { document.querySelector(links).mark = true; freshet.search('lamp'); }", LINKS
    )
    wait_for(lambda: len(site.fake.asked) == 2, page)
    page.wait_for_timeout(300)
    assert page.evaluate("(links) => document.querySelector(links).mark", LINKS) is True


def test_a_hidden_page_asks_when_it_is_seen(page: Page, site: Site) -> None:
    open_html(page, site, HOME, elements=True)
    page.wait_for_selector(LINKS)
    hide(page)
    page.evaluate("() => freshet.view('i03')")
    page.wait_for_timeout(700)
    assert len(site.fake.asked) == 1
    show(page)
    wait_for(lambda: links(page)[0] == ": i03", page)
    show(page)
    page.wait_for_timeout(500)
    assert len(site.fake.asked) == 2


def test_what_a_slot_shows_is_told_with_its_slate_when_seen_and_when_clicked(
    page: Page, site: Site
) -> None:
    site.fake.experiments = ["order=cheap"]
    open_html(page, site, HOME, elements=True, flushMs=0, impressionMs=200)
    page.wait_for_selector(LINKS)
    wait_for(lambda: len(site.fake.named("impression")) == 5, page)
    slate = {"request_id": "r1", "variant": "personalized", "experiments": ["order=cheap"]}
    in_slot = [
        event for event in site.fake.named("impression") if event["metadata"]["placement"] == "home"
    ]
    assert [event["product_id"] for event in in_slot] == ["i00", "i01", "i02", "i03"]
    assert metadata(in_slot, "position") == [0, 1, 2, 3]
    assert all(
        event["metadata"].items() >= (slate | {"propensity": 1}).items() for event in in_slot
    )
    (banner,) = [
        event
        for event in site.fake.named("impression")
        if event["metadata"]["placement"] == "banner"
    ]
    assert banner["product_id"] == "i00"
    assert banner["metadata"] == slate | {
        "placement": "banner",
        "position": 0,
        "banner_id": "banner-welcome",
    }
    page.click(f"{LINKS}:nth-of-type(3)")
    wait_for(lambda: bool(site.fake.named("click")), page)
    # the click leads away while its request is under way, and comes in once all the same
    page.wait_for_timeout(500)
    (click,) = site.fake.named("click")
    assert click["product_id"] == "i02"
    assert click["metadata"] == slate | {"placement": "home", "position": 2, "propensity": 1}


def test_a_button_in_a_slot_tells_its_own_event_with_the_slate(page: Page, site: Site) -> None:
    html = """<div data-freshet-slot="home" data-freshet-k="2"><template>
      <article><button data-freshet-click="add_to_cart" data-freshet-price="{price}">Add</button></article></template></div>"""
    site.fake.pages["test"] = html
    page.goto(f"{site.freshet}/pages/test")
    page.evaluate(
        """async ([sdk, settings]) => {
            const { createFreshet } = await import(sdk);
            const items = async (ids) => Object.fromEntries(ids.map((id) => [id, { price: 9.5 }]));
            window.freshet = createFreshet({ ...settings, items });
        }""",
        [
            f"{site.store}/sdk/freshet.js",
            {"collector": site.freshet, "api": site.freshet, "elements": True},
        ],
    )
    page.click("article:nth-of-type(2) button")
    wait_for(lambda: bool(site.fake.named("add_to_cart")), page)
    (added,) = site.fake.named("add_to_cart")
    assert added["product_id"] == "i01" and site.fake.named("click") == []
    assert added["metadata"].items() >= {"price": 9.5, "position": 1, "request_id": "r1"}.items()


def test_a_value_is_text_and_an_address_is_no_script(page: Page, site: Site) -> None:
    page.goto(f"{site.freshet}/blank")
    page.evaluate(
        """async ([sdk, settings]) => {
            document.body.innerHTML = `<div id="slot"><template><p onclick="window.ran = '{evil}'" style="color:{color}">
              <a class="whole" href="{evil}">{markup}</a><a class="data" href="{data}">x</a><a class="relative" href="{path}">x</a>
              <a class="part" href="/p/{markup}?x={evil}">x</a><img alt="{colon}"></p></template></div>`;
            const { createFreshet } = await import(sdk);
            const evil = "java\\nscript:window.ran=1";
            const markup = '<img src=x onerror="window.ran=1">"/..';
            const values = { evil, markup, data: "data:text/html,x", path: "/a?b=c:d", colon: "One: two", color: "red" };
            window.freshet = createFreshet({ ...settings, items: (ids) => Object.fromEntries(ids.map((id) => [id, values])) });
            freshet.slot(document.querySelector("#slot"), { placement: "home", k: 1 });
        }""",
        [f"{site.store}/sdk/freshet.js", {"collector": site.freshet, "api": site.freshet}],
    )
    page.wait_for_selector("#slot p")
    href = {
        kind: page.get_attribute(f".{kind}", "href")
        for kind in ("whole", "data", "relative", "part")
    }
    assert href["whole"] == "" and href["data"] == "" and href["relative"] == "/a?b=c:d"
    assert (
        href["part"]
        == "/p/%3Cimg%20src%3Dx%20onerror%3D%22window.ran%3D1%22%3E%22%2F..?x=java%0Ascript%3Awindow.ran%3D1"
    )
    assert page.inner_text(".whole").startswith("<img src=x")
    assert page.get_attribute("#slot p", "onclick") == "window.ran = '{evil}'"
    assert page.get_attribute("#slot img", "alt") == "One: two"
    assert page.locator("#slot img").count() == 1 and page.evaluate("() => window.ran") is None


def test_a_page_may_draw_its_own_elements_and_stop(page: Page, site: Site) -> None:
    open_blank(page, site, flushMs=0, impressionMs=100)
    page.evaluate(
        """() => {
            const list = document.body.appendChild(document.createElement("ul"));
            const render = ({ id, fields }) => {
                const line = document.createElement("li");
                line.textContent = `${id} ${fields.position}`;
                return line;
            };
            window.stop = freshet.slot(list, { placement: "cart", k: 3, productId: "i05", render });
        }"""
    )
    page.wait_for_selector("li")
    assert page.inner_text("ul").split("\n") == ["i00 0", "i01 1", "i02 2"]
    assert site.fake.asked[0]["placement"] == "cart" and site.fake.asked[0]["product_id"] == "i05"
    wait_for(lambda: len(site.fake.named("impression")) == 3, page)
    page.evaluate("() => { stop(); freshet.view('i03'); }")
    page.wait_for_timeout(600)
    assert len(site.fake.asked) == 1


def test_a_slot_that_left_the_page_asks_no_more(page: Page, site: Site) -> None:
    open_html(page, site, HOME, elements=True)
    page.wait_for_selector(LINKS)
    page.evaluate("() => { document.body.replaceChildren(); freshet.view('i03'); }")
    page.wait_for_timeout(600)
    assert len(site.fake.asked) == 1


def test_a_render_that_throws_and_an_api_that_is_away_are_told_and_hurt_nobody(
    page: Page, site: Site
) -> None:
    open_blank(page, site)
    page.evaluate(
        """() => {
            const render = () => { throw new Error("the page's own mistake"); };
            freshet.slot(document.body, { placement: "home", render });
            freshet.slot(document.body, { placement: "home", k: -1 });
        }"""
    )
    wait_for(lambda: page.evaluate("() => heard.error.length") >= 1, page)
    page.wait_for_timeout(200)
    assert page.evaluate("() => surprises") == []


def test_a_decision_changes_what_the_slots_show(page: Page, site: Site) -> None:
    open_html(page, site, HOME, elements=True)
    page.wait_for_selector(LINKS)
    page.evaluate("() => freshet.view('i03')")
    wait_for(lambda: links(page)[0] == ": i03", page)
    page.evaluate("() => freshet.consent({ personalization: false })")
    wait_for(lambda: links(page)[0] == ": i00", page)
    assert (
        not site.fake.asked[-1]["consent"]["personalization"]
        and "anonymous_id" not in site.fake.asked[-1]
    )
