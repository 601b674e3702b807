"""The search box of the store in a real browser: suggestions by keyboard, by mouse, on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import Site
from tests.web.sdk_pages import wait_for
from tests.web.test_store import open_store

pytestmark = pytest.mark.browser

OPTIONS = "#suggestions [role=option]"


def type_into(page: Page, text: str) -> None:
    box = page.get_by_role("combobox", name="Search the store")
    box.click()
    box.press_sequentially(text)


def test_suggestions_are_chosen_by_keyboard_and_read_out(page: Page, site: Site) -> None:
    complaints = open_store(page, site)
    box = page.get_by_role("combobox", name="Search the store")
    expect(box).to_have_attribute("aria-expanded", "false")
    type_into(page, "head")
    expect(page.locator(OPTIONS)).to_have_count(3)
    expect(box).to_have_attribute("aria-expanded", "true")
    # on a busy machine the letters come one by one, and a part of them may be asked about before
    wait_for(lambda: any(asked["q"] == "head" for asked in site.fake.typed), page)
    assert site.fake.typed[-1]["anonymous_id"]
    assert len(site.fake.typed) <= 3, "one question after a pause, not one a letter"

    box.press("ArrowDown")
    chosen = page.get_by_role("option", name="headphones wireless")
    expect(chosen).to_have_attribute("aria-selected", "true")
    expect(box).to_have_value("headphones wireless")
    active = box.get_attribute("aria-activedescendant")
    assert active == chosen.get_attribute("id")
    box.press("ArrowUp")
    expect(box).to_have_value("head")
    box.press("Escape")
    expect(page.locator("#suggestions")).to_be_hidden()

    type_into(page, "p")
    expect(page.locator(OPTIONS)).to_have_count(3)
    box.press("ArrowDown")
    box.press("Enter")
    expect(page).to_have_url(f"{site.store}/search?q=headphones%20wireless")
    expect(page.locator("#suggestions")).to_be_hidden()
    wait_for(lambda: bool(site.fake.named("search")), page)
    [search] = site.fake.named("search")
    assert search["metadata"].items() >= {"query": "headphones wireless", "results": 0}.items()
    assert complaints == []


def test_a_click_opens_the_category_or_the_product(page: Page, site: Site) -> None:
    open_store(page, site)
    type_into(page, "headp")
    page.get_by_role("option", name="Category").click()
    expect(page).to_have_url(f"{site.store}/category/electronics.audio")
    type_into(page, "headphones:")
    page.get_by_role("option", name="Product").click()
    expect(page).to_have_url(f"{site.store}/product/i00")


def test_on_a_phone_suggestions_fit_the_screen_and_are_large_enough_to_touch(
    browser: Browser, site: Site
) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 667}, has_touch=True)
    page = context.new_page()
    open_store(page, site)
    type_into(page, "head")
    expect(page.locator(OPTIONS)).to_have_count(3)
    for option in page.locator(OPTIONS).all():
        place = option.bounding_box()
        assert place is not None and place["height"] >= 44
        assert place["x"] >= 0 and 300 <= place["width"] <= 375 - place["x"]
    page.locator(OPTIONS).first.tap()
    expect(page).to_have_url(f"{site.store}/search?q=headphones%20wireless")
    context.close()


def test_without_an_api_the_box_searches_as_before(page: Page, site: Site) -> None:
    open_store(page, site)
    page.route("**/v1/search/suggest", lambda route: route.abort())
    type_into(page, "lamp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.store}/search?q=lamp")
