"""What the SDK does by itself in a page: attributes, slots, banners, media, pages; also where the page is strict."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.stack.prerequisites import REPO
from tests.web.conftest import Site
from tests.web.sdk_pages import wait_for
from tests.web.servers import serving

pytestmark = pytest.mark.browser

SOURCE = REPO / "web" / "sdk" / "src"
STRICT = {"content-security-policy": "default-src 'self'; connect-src *; media-src data:"}


@contextmanager
def hosted(body: str, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A site with one page of this body, which serves the SDK's modules itself."""

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(f"<!doctype html><title>page</title><body>{body}</body>", headers=headers)

    with serving(Starlette(routes=[Mount("/sdk", StaticFiles(directory=SOURCE)), Route("/{path:path}", page)])) as url:
        yield url


def open_with(page: Page, site: Site, url: str, **settings: Any) -> None:
    page.goto(url)
    page.evaluate(
        """async ([settings]) => {
            const { createFreshet } = await import("/sdk/freshet.js");
            window.errors = [];
            window.surprises = [];
            addEventListener("error", (event) => surprises.push(event.message));
            addEventListener("unhandledrejection", (event) => surprises.push(String(event.reason)));
            addEventListener("securitypolicyviolation", (event) => surprises.push(event.violatedDirective));
            window.freshet = createFreshet(settings);
            freshet.on("error", ({ where, error }) => errors.push(`${where}: ${error}`));
        }""",
        [{"collector": site.freshet, "api": site.freshet, "elements": True} | settings],
    )


def silence() -> str:
    """A second of it, as a data address."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 8000)
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_attributes_tell_of_views_clicks_and_searches(page: Page, site: Site) -> None:
    body = (
        '<main data-freshet-view data-freshet-product="p1" data-freshet-price="49.90" data-freshet-category="lamps">'
        '<button data-freshet-click="add_to_cart" data-freshet-quantity="2"><b>Add</b></button></main>'
        '<form data-freshet-search="q" onsubmit="return false"><input name="q" value="desk lamp">'
        "<button>Go</button></form>"
    )
    with hosted(body) as url:
        open_with(page, site, url)
        wait_for(lambda: len(site.fake.named("view_product")) == 1, page)
        page.click("main b")
        page.click("form button")
        wait_for(lambda: len(site.fake.named("search")) == 1, page)
    (viewed,) = site.fake.named("view_product")
    assert (viewed["product_id"], viewed["metadata"]) == ("p1", {"price": 49.9, "category": "lamps"})
    (added,) = site.fake.named("add_to_cart")
    assert (added["product_id"], added["metadata"]["quantity"], added["metadata"]["price"]) == ("p1", 2, 49.9)
    assert site.fake.named("search")[0]["metadata"]["query"] == "desk lamp"
    assert page.evaluate("() => [errors, surprises]") == [[], []]


def test_elements_that_come_later_and_change_their_product_are_found(page: Page, site: Site) -> None:
    with hosted("<div id=app></div>") as url:
        open_with(page, site, url)
        page.evaluate("() => { app.innerHTML = '<p data-freshet-view data-freshet-product=p1>one</p>'; }")
        wait_for(lambda: [e["product_id"] for e in site.fake.named("view_product")] == ["p1"], page)
        page.evaluate("() => app.firstChild.setAttribute('data-freshet-product', 'p2')")
        wait_for(lambda: [e["product_id"] for e in site.fake.named("view_product")] == ["p1", "p2"], page)
        page.evaluate("() => app.append('something else')")
        page.wait_for_timeout(500)
    assert len(site.fake.named("view_product")) == 2


def test_a_slot_is_filled_tells_what_was_seen_and_asks_again_after_a_click(page: Page, site: Site) -> None:
    body = (
        '<div data-freshet-slot="home" data-freshet-k="4"><template><a href="#{id}">{id}</a></template></div>'
        '<div data-freshet-banner="home"><template><b>{headline}</b></template></div>'
    )
    with hosted(body) as url:
        open_with(page, site, url)
        page.wait_for_selector("[data-freshet-slot] a")
        assert page.locator("[data-freshet-slot] a").count() == 4
        assert page.inner_text("[data-freshet-banner] b")
        assert len(site.fake.asked) == 1, "slot and banner of one placement share a question"
        wait_for(lambda: len(site.fake.named("impression")) >= 4, page)
        seen = [e for e in site.fake.named("impression") if e["metadata"]["placement"] == "home"]
        assert {e["metadata"]["request_id"] for e in seen} == {"r1"}
        assert sorted(e["metadata"]["position"] for e in seen) == [0, 1, 2, 3]
        clicked = page.inner_text("[data-freshet-slot] a >> nth=2")
        page.click("[data-freshet-slot] a >> nth=2")
        wait_for(lambda: len(site.fake.asked) == 2, page)
    (click,) = site.fake.named("click")
    assert (click["product_id"], click["metadata"]["request_id"], click["metadata"]["position"]) == (clicked, "r1", 2)
    assert page.evaluate("() => surprises") == []


def test_values_from_outside_become_text_and_never_markup(page: Page, site: Site) -> None:
    body = '<div id=slot><template><a href="{link}" title="{title}">{title}</a></template></div>'
    with hosted(body) as url:
        open_with(page, site, url)
        page.evaluate(
            """([api]) => {
                freshet.close();
                return import("/sdk/freshet.js").then(({ createFreshet }) => {
                    const title = "<img src=x onerror=surprises.push('ran')>";
                    const evil = { title, link: "javascript:surprises.push('ran')" };
                    const items = (ids) => Object.fromEntries(ids.map((id) => [id, evil]));
                    window.other = createFreshet({ collector: location.origin, api, items });
                    other.slot(document.getElementById("slot"), { k: 2 });
                });
            }""",
            [site.freshet],
        )
        page.wait_for_selector("#slot a")
        page.wait_for_timeout(200)
        assert page.locator("#slot img").count() == 0
        assert "javascript" not in (page.get_attribute("#slot a", "href") or "")
    assert page.evaluate("() => surprises") == []


def test_without_personalization_nobody_is_named_and_what_is_popular_is_asked_for(page: Page, site: Site) -> None:
    with hosted("") as url:
        open_with(page, site, url)
        page.evaluate("() => { freshet.consent({ analytics: true, personalization: false }); }")
        page.evaluate("() => freshet.recommend({ k: 3 })")
    question = site.fake.asked[-1]
    assert question["variant"] == "popular"
    assert question["consent"] == {"analytics": True, "personalization": False}
    assert not {"user_id", "anonymous_id", "session_id"} & set(question)


def test_a_medium_tells_of_play_and_pause_with_the_time_watched(page: Page, site: Site) -> None:
    with hosted(f'<audio data-freshet-media data-freshet-product="p1" muted loop src="{silence()}"></audio>') as url:
        open_with(page, site, url)
        page.wait_for_timeout(300)
        page.evaluate("() => document.querySelector('audio').play()")
        page.wait_for_timeout(1000)
        page.evaluate("() => document.querySelector('audio').pause()")
        wait_for(lambda: len(site.fake.named("media_pause")) == 1, page)
    assert [e["product_id"] for e in site.fake.named("media_play")] == ["p1"]
    assert 500 <= site.fake.named("media_pause")[0]["metadata"]["watched_ms"] <= 2500


def test_scrolling_is_told_by_its_depth_and_a_page_by_how_long_it_was_in_sight(page: Page, site: Site) -> None:
    with hosted("<div style='height:4000px'></div>") as url:
        open_with(page, site, url, pages=True)
        page.wait_for_timeout(500)
        page.evaluate("() => scrollTo(0, 1400)")
        wait_for(lambda: len(site.fake.named("scroll")) == 1, page)
        page.evaluate("() => scrollTo(0, 4000)")
        wait_for(lambda: len(site.fake.named("scroll")) == 2, page)
        page.evaluate("() => { history.pushState({}, '', '/next'); }")
        wait_for(lambda: len(site.fake.named("dwell")) == 1, page)
    depths = [e["metadata"]["depth"] for e in site.fake.named("scroll")]
    assert 50 <= depths[0] < 75 and depths[1] == 100
    assert 500 <= site.fake.named("dwell")[0]["metadata"]["dwell_ms"] <= 5000
    assert [e["metadata"]["url"].removeprefix(url) for e in site.fake.named("page_view")] == ["/", "/next"]


def test_a_page_with_a_strict_content_security_policy_sees_no_violation(page: Page, site: Site) -> None:
    body = '<div data-freshet-slot="home" data-freshet-k="2"><template><a>{id}</a></template></div>'
    with hosted(body, STRICT) as url:
        page.goto(url)
        page.evaluate("() => { window.violations = []; }")
        page.add_init_script(
            "window.violations = [];"
            "addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))"
        )
        open_with(page, site, url, pages=True)
        page.wait_for_selector("[data-freshet-slot] a")
        wait_for(lambda: bool(site.fake.named("page_view")), page)
        assert page.evaluate("() => violations") == []


def test_listeners_of_the_page_that_throw_harm_nobody(page: Page, site: Site) -> None:
    with hosted("") as url:
        open_with(page, site, url)
        page.evaluate("() => { freshet.on('tracked', () => { throw new Error('mine'); }); freshet.track('click'); }")
        wait_for(lambda: len(site.fake.named("click")) == 1, page)
    assert page.evaluate("() => surprises") == []
    assert any("mine" in error for error in page.evaluate("() => errors"))


def test_an_order_buys_each_line_once_however_often_its_page_is_opened(page: Page, site: Site) -> None:
    order = "{ order_id: 'o7', lines: [{ product_id: 'p1', quantity: 2, price: 5 }, { product_id: 'p2', price: 7 }] }"
    with hosted("") as url:
        open_with(page, site, url)
        page.evaluate(f"() => {{ freshet.purchase({order}); freshet.purchase({order}); }}")
        wait_for(lambda: len(site.fake.named("purchase")) == 4, page)
    assert len({event["event_id"] for event in site.fake.named("purchase")}) == 2
