"""How the store looks: sizes, contrast and drawings, as a browser computes them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.simulator import catalog
from tests.web.conftest import Site
from tests.web.test_store import CARDS, open_store

pytestmark = pytest.mark.browser

PHONE: ViewportSize = {"width": 390, "height": 844}
CONTRAST = """(element) => {
    const channels = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255);
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const luminance = (colour) => {
        const [red, green, blue] = channels(colour).map(linear);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const { color, backgroundColor } = getComputedStyle(element);
    const [light, dark] = [color, backgroundColor].map(luminance).sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
}"""


def test_on_a_phone_the_header_takes_less_than_a_tenth(page: Page, site: Site) -> None:
    page.set_viewport_size(PHONE)
    open_store(page, site)
    box = page.locator("header.top").bounding_box()
    assert box is not None and 0 < box["height"] < PHONE["height"] / 10
    expect(page.get_by_role("combobox", name="Search the store")).to_be_in_viewport()
    expect(page.get_by_role("link", name="Cart, empty")).to_be_in_viewport()


def test_on_a_phone_the_first_pick_is_seen_without_scrolling(page: Page, site: Site) -> None:
    page.set_viewport_size(PHONE)
    open_store(page, site)
    expect(page.locator(CARDS).first).to_be_in_viewport(ratio=1)


def test_a_card_names_its_brand_once(page: Page, site: Site) -> None:
    open_store(page, site)
    for text in page.locator(CARDS).all_inner_texts():
        assert text.count("Oakmere") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_stock_badge_is_easy_to_read(browser: Browser, site: Site, scheme: str) -> None:
    for item in site.fake.catalog:
        item["in_stock"] = False
    site.write_catalog()
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    open_store(page, site)
    badge = page.locator(f"{CARDS} .badge").first
    expect(badge).to_have_text("Back soon")
    assert badge.evaluate(CONTRAST) >= 4.5
    context.close()


def test_a_row_ends_with_a_part_of_a_card_and_its_arrows_know_the_ends(
    page: Page, site: Site
) -> None:
    open_store(page, site)
    track = page.locator(".picks .track")
    widths = track.evaluate("(it) => [it.clientWidth, it.firstElementChild.offsetWidth]")
    assert 0.2 < (widths[0] / widths[1]) % 1 < 0.95
    back, forward = page.locator(".picks .arrow").all()
    expect(back).to_be_disabled()
    forward.click()
    expect(back).to_be_enabled()
    track.evaluate("(it) => it.scrollTo({ left: it.scrollWidth, behavior: 'instant' })")
    expect(forward).to_be_disabled()


def test_a_row_stays_within_its_column(page: Page, site: Site) -> None:
    open_store(page, site)
    edges = page.evaluate(
        """() => [".banner", ".picks .track"].map((name) => {
            const { left, right } = document.querySelector(name).getBoundingClientRect();
            return [left, right];
        })"""
    )
    (banner_left, banner_right), (row_left, row_right) = edges
    assert abs(banner_left - row_left) <= 8 and abs(banner_right - row_right) <= 8


def test_each_kind_of_product_has_a_drawing_of_its_own(page: Page, site: Site) -> None:
    open_store(page, site)
    nouns = [noun for _, nouns in catalog.CATEGORIES.values() for noun in nouns]
    items = [
        {"item_id": "x", "title": f"Oakmere Classic {noun}, Sand", "brand": "Oakmere"}
        for noun in nouns
    ]
    drawings = page.evaluate(
        """async (items) => {
            const { artwork } = await import("/assets/art.js");
            return items.map((item) => artwork(item).innerHTML);
        }""",
        items,
    )
    assert len(set(drawings)) == len(nouns)


def test_brand_and_material_change_a_drawing_and_time_does_not(page: Page, site: Site) -> None:
    open_store(page, site)
    draw = """async (item) => {
        const { artwork } = await import("/assets/art.js");
        return artwork(item).innerHTML;
    }"""
    item = {"item_id": "x", "title": "Classic Kettle, Sand", "brand": "A", "material": "enamel"}
    first = page.evaluate(draw, item)
    assert page.evaluate(draw, item) == first
    assert page.evaluate(draw, {**item, "brand": "B"}) != first
    assert page.evaluate(draw, {**item, "material": "brushed steel"}) != first


def test_pictures_are_drawings_and_nothing_is_loaded_from_elsewhere(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_store(page, site)
    own = re.compile(f"^({re.escape(site.store)}|{re.escape(site.freshet)})/")
    assert [url for url in asked if not own.match(url)] == []
    assert page.locator("img").count() == 0


def test_everything_on_a_product_page_is_reached_by_keyboard(page: Page, site: Site) -> None:
    complaints = open_store(page, site, "/product/i03")
    page.locator("main").focus()
    reached: list[str] = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => document.activeElement.getAttribute('aria-label') "
                "|| document.activeElement.textContent"
            )
        )
    assert [name for name in ("One more", "Add to cart", "Forward") if name not in reached] == []
    ring = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    assert complaints == []
