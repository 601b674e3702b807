"""The storefront in a real browser, with the fake collector and API behind it."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.web.conftest import Site
from tests.web.sdk_pages import wait_for
from web.store.catalog import build_document

pytestmark = pytest.mark.browser

CARDS = ".picks .card:not(.skeleton)"


def open_store(page: Page, site: Site, path: str = "/") -> list[str]:
    """Opens a page of the store and waits for its row; the returned list fills with what goes wrong
    in it.
    """
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.goto(site.store + path)
    page.evaluate("() => { window.neverReloaded = true; }")
    page.wait_for_selector(CARDS)
    return complaints


def row(page: Page) -> list[str]:
    ids: list[str] = page.eval_on_selector_all(
        CARDS, "(cards) => cards.map((card) => card.dataset.item)"
    )
    return ids


def category_of(site: Site, item_id: str) -> Any:
    return next(item["category"] for item in site.fake.catalog if item["item_id"] == item_id)


def test_a_click_changes_the_row_and_the_banner_without_a_reload(page: Page, site: Site) -> None:
    complaints = open_store(page, site)
    before, headline = row(page), page.inner_text(".banner h2")
    lamp = next(item_id for item_id in before if category_of(site, item_id) == "home.lighting")
    page.click(f".picks .card[data-item={lamp}] a")
    wait_for(lambda: row(page) not in ([], before), page)
    expect(page.locator(".banner h2")).to_have_text("More in lighting")
    assert headline != "More in lighting"
    assert {category_of(site, item_id) for item_id in row(page)[:5]} == {"home.lighting"}
    assert page.url == f"{site.store}/product/{lamp}"
    assert page.evaluate("() => window.neverReloaded") is True
    assert complaints == []


def test_adding_from_the_row_changes_it_in_place(page: Page, site: Site) -> None:
    open_store(page, site)
    before = row(page)
    shoe = next(item_id for item_id in before if category_of(site, item_id) == "apparel.shoes")
    card = page.locator(f".picks .card[data-item={shoe}]")
    card.hover()
    card.get_by_role("button").click()
    wait_for(lambda: row(page) not in ([], before), page)
    expect(page.locator(".picks .card.is-new").first).to_be_visible()
    expect(page.locator(".picks .card.is-new")).to_have_count(0, timeout=5000)
    expect(page.get_by_role("link", name="Cart, 1 item")).to_be_visible()


def test_clicks_and_views_name_the_slate_they_came_from(page: Page, site: Site) -> None:
    open_store(page, site)
    third = row(page)[2]
    page.click(f".picks .card[data-item={third}] a")
    wait_for(lambda: bool(site.fake.named("view_product")), page)
    (click,), (view,) = site.fake.named("click"), site.fake.named("view_product")
    assert click["product_id"] == view["product_id"] == third
    slate = {
        "request_id": "r1",
        "placement": "home_picks",
        "variant": "personalized",
        "position": 3,  # in the slate, whose first is on the banner
        "propensity": 1,
    }
    assert click["metadata"].items() >= slate.items()
    assert view["metadata"]["request_id"] == "r1"
    assert (
        view["metadata"].items()
        >= {"category": "garden.plants", "brand": "Oakmere", "price": 23}.items()
    )
    assert click["timestamp"] <= view["timestamp"]


def test_a_click_and_the_view_it_leads_to_travel_together(page: Page, site: Site) -> None:
    open_store(page, site)
    page.click(f"{CARDS} a")
    wait_for(lambda: bool(site.fake.named("view_product")), page)
    (request,) = [
        r for r in site.fake.requests if any(event["event"] == "view_product" for event in r)
    ]
    assert "click" in [event["event"] for event in request]


def test_cards_on_screen_become_impressions_of_their_slate(page: Page, site: Site) -> None:
    open_store(page, site)
    wait_for(lambda: len(site.fake.named("impression")) >= 4, page)
    page.wait_for_timeout(400)
    seen = [
        (e["metadata"]["request_id"], e["metadata"]["placement"], e["product_id"])
        for e in site.fake.named("impression")
    ]
    assert len(seen) == len(set(seen))
    in_row = [
        event
        for event in site.fake.named("impression")
        if event["metadata"]["placement"] == "home_picks"
    ]
    assert {event["product_id"] for event in in_row} <= set(row(page)[:6])
    slate = [item["item_id"] for item in site.fake.catalog]
    assert all(slate[event["metadata"]["position"]] == event["product_id"] for event in in_row)


def test_the_drawer_shows_the_event_in_the_profile_and_how_long_it_took(
    page: Page, site: Site
) -> None:
    open_store(page, site)
    page.get_by_role("button", name="What Freshet knows").click()
    item = row(page)[0]
    page.click(f".picks .card[data-item={item}] a")
    line = page.locator(f".events li[data-event=view_product][data-item={item}]")
    expect(line).to_have_attribute("data-state", "in-profile", timeout=5000)
    expect(line).to_contain_text("collector")
    expect(line).to_contain_text("row +")
    expect(line).to_contain_text("profile +")
    expect(page.locator(f"[data-profile-item={item}]")).to_have_count(1)
    expect(page.locator("[data-served-by]")).to_have_attribute("data-served-by", "local")
    expect(page.locator(".feed li").first).to_contain_text("0.775")
    expect(page.locator(".feed .bar").first).to_have_attribute(
        "aria-label", "Click model 0.300, Recency 0.100, Category 0.250, Interest 0.125"
    )


def test_a_drawer_opened_before_the_first_click_speaks_in_words(page: Page, site: Site) -> None:
    open_store(page, site)
    page.get_by_role("button", name="What Freshet knows").click()
    expect(page.locator("#drawer")).to_be_visible()
    wait_for(lambda: any(event["event"] == "impression" for event in site.fake.events), page)
    page.wait_for_timeout(1500)  # the profile that holds impressions only is asked for and drawn
    words = set(page.inner_text("#drawer").replace("\n", " ").split())
    assert not words & {"false", "true", "null", "undefined", "NaN", "[object"}


def test_the_drawer_follows_a_late_profile_until_the_event_is_in(page: Page, site: Site) -> None:
    site.fake.profile_lag_s = 1.5
    open_store(page, site)
    page.get_by_role("button", name="What Freshet knows").click()
    page.click(f"{CARDS} a")
    line = page.locator(".events li[data-event=view_product]")
    expect(line).to_have_attribute("data-state", "answered")
    expect(line).to_have_attribute("data-state", "in-profile", timeout=5000)
    took = page.inner_text("[data-metric=profile] dd")
    assert took.startswith("+1.") and took.endswith(" s")


def test_the_drawer_closes_with_escape_and_gives_the_focus_back(page: Page, site: Site) -> None:
    open_store(page, site)
    toggle = page.get_by_role("button", name="What Freshet knows")
    toggle.click()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(toggle).to_be_focused()


def test_signing_in_is_an_identify_event(page: Page, site: Site) -> None:
    open_store(page, site)
    page.get_by_role("button", name="What Freshet knows").click()
    page.get_by_label("Account name").fill("ada")
    page.get_by_role("button", name="Sign in").click()
    wait_for(lambda: bool(site.fake.named("identify")), page)
    assert site.fake.named("identify")[0]["user_id"] == "ada"
    expect(page.locator(".ids")).to_contain_text("Account ada")


def test_a_search_is_an_event_and_finds_words_of_title_brand_and_category(
    page: Page, site: Site
) -> None:
    open_store(page, site)
    page.get_by_role("combobox", name="Search the store").fill("oakmere lamps")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Results for “oakmere lamps”")
    expect(page.locator("main .grid .card")).to_have_count(12)
    wait_for(lambda: bool(site.fake.named("search")), page)
    assert site.fake.named("search")[0]["metadata"] == {"query": "oakmere lamps", "results": 12}


def test_a_category_page_shows_its_items_sorted_as_asked(page: Page, site: Site) -> None:
    open_store(page, site, "/category/home")
    expect(page.locator("main .grid .card")).to_have_count(12)
    page.get_by_label("Sort by").select_option("high")
    prices = page.locator("main .grid .card-price").all_inner_texts()
    assert prices == sorted(prices, reverse=True)


def test_an_order_is_one_purchase_for_each_line(page: Page, site: Site) -> None:
    open_store(page, site, "/product/i03")
    page.get_by_role("button", name="Add to cart", exact=True).click()
    page.get_by_role("button", name="Add to cart", exact=True).click()
    page.goto(f"{site.store}/product/i05")
    page.get_by_role("button", name="Add to cart", exact=True).click()
    page.get_by_role("link", name="Cart, 3 items").click()
    page.get_by_role("button", name="One less: Oakmere Classic Fern 3, Sand").click()
    page.get_by_role("button", name="One more: Oakmere Classic Fern 3, Sand").click()
    page.get_by_role("button", name="Place order").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you")
    wait_for(lambda: len(site.fake.named("purchase")) == 2, page)
    bought = {event["product_id"]: event["metadata"] for event in site.fake.named("purchase")}
    assert {item: facts["quantity"] for item, facts in bought.items()} == {"i03": 2, "i05": 1}
    assert bought["i03"]["price"] == 23
    assert len(site.fake.named("remove_from_cart")) == 1
    expect(page.get_by_role("link", name="Cart, empty")).to_be_visible()


def test_back_and_forward_move_between_pages_without_a_reload(page: Page, site: Site) -> None:
    open_store(page, site)
    page.click(f"{CARDS} a")
    page.wait_for_selector("article.product")
    page.go_back()
    page.wait_for_selector("main[data-page=home]")
    page.go_forward()
    page.wait_for_selector("article.product")
    assert page.evaluate("() => window.neverReloaded") is True
    wait_for(lambda: len(site.fake.named("page_view")) == 4, page)


def test_nothing_jumps_when_recommendations_arrive_or_change(page: Page, site: Site) -> None:
    page.add_init_script(
        """window.shift = 0;
        const add = (entry) => { if (!entry.hadRecentInput) window.shift += entry.value; };
        const observer = new PerformanceObserver((list) => list.getEntries().forEach(add));
        observer.observe({ type: "layout-shift", buffered: true });"""
    )
    open_store(page, site)
    page.wait_for_timeout(800)
    page.evaluate("() => document.querySelector('.picks .card .quick').click()")
    page.wait_for_timeout(1000)
    assert page.evaluate("() => window.shift") < 0.05


def test_without_an_api_the_shelves_are_shown_and_the_store_works(
    context: BrowserContext, site: Site
) -> None:
    context.route("**/v1/recommendations", lambda route: route.abort())
    context.route("**/v1/profile*", lambda route: route.abort())
    page = context.new_page()
    page.goto(site.store)
    page.wait_for_selector(CARDS)
    expect(page.locator(".picks .note")).to_contain_text("The recommender is away")
    page.click(f"{CARDS} a")
    expect(page.locator("article.product")).to_be_visible()
    wait_for(lambda: bool(site.fake.named("view_product")), page)
    assert "request_id" not in site.fake.named("click")[0]["metadata"]


def test_without_a_collector_recommendations_still_follow_the_visitor(
    context: BrowserContext, site: Site
) -> None:
    context.route("**/v1/events", lambda route: route.abort())
    page = context.new_page()
    open_store(page, site)
    before = row(page)
    page.click(f".picks .card[data-item={before[3]}] a")
    wait_for(lambda: row(page) not in ([], before), page)
    assert site.fake.asked[-1]["events"]


def test_a_title_is_text_never_markup(page: Page, site: Site) -> None:
    evil = '<img src=x onerror="window.owned = true">'
    site.fake.catalog[1]["title"] = evil
    site.write_catalog()
    assert evil.encode() in build_document(site.catalog).plain.replace(b'\\"', b'"')
    open_store(page, site)
    expect(page.locator(".picks .card-title").first).to_have_text(evil)
    assert page.evaluate("() => window.owned") is None


def test_an_unknown_product_or_page_says_so_and_still_recommends(page: Page, site: Site) -> None:
    for path in ("/product/nothing", "/category/nothing", "/no/such/page"):
        open_store(page, site, path)
        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing here")


def test_a_store_without_a_catalog_says_what_to_do(page: Page, site: Site) -> None:
    site.catalog.unlink()
    page.goto(site.store)
    expect(page.locator("main")).to_contain_text("make catalog")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_scrolls_sideways(context: BrowserContext, site: Site, width: int) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/product/i01", "/category/home", "/cart"):
        open_store(page, site, path)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path


def test_every_control_has_a_name(page: Page, site: Site) -> None:
    open_store(page, site)
    page.get_by_role("button", name="What Freshet knows").click()
    unnamed = page.eval_on_selector_all(
        "button, a, input, select",
        """(controls) => controls.filter((control) => !control.closest("[aria-hidden=true]")
            && !(control.getAttribute("aria-label") || control.textContent.trim())).map((it) => it.outerHTML)""",
    )
    assert unnamed == []
