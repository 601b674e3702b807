"""Rows of the store's pages: what they ask for, what they leave out, and what a page is without
them.
"""

from __future__ import annotations

from collections import Counter

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Site
from tests.web.sdk_pages import wait_for
from tests.web.test_store import open_store, row

pytestmark = pytest.mark.browser


def on_page(page: Page) -> list[str]:
    """The item of every card in a row, and of the banner."""
    ids: list[str] = page.evaluate(
        """() => {
            const cards = [...document.querySelectorAll(".row:not([hidden]) .card[data-item]")];
            const banner = document.querySelector("a.banner-art");
            const shown = cards.map((card) => card.dataset.item);
            return banner ? [...shown, banner.pathname.split("/").pop()] : shown;
        }"""
    )
    return ids


def twice(page: Page) -> list[str]:
    return [item for item, times in Counter(on_page(page)).items() if times > 1]


def buy(page: Page, item: str) -> None:
    page.locator(f".card[data-item={item}]").first.hover()
    page.locator(f".card[data-item={item}] .quick").first.click()
    page.get_by_role("link", name="Cart, 1 item").click()
    page.get_by_role("button", name="Place order").click()
    page.wait_for_selector(".thanks")


def test_no_item_stands_twice_on_a_page_also_after_clicks(page: Page, site: Site) -> None:
    complaints = open_store(page, site)
    page.wait_for_selector(".row[data-placement=trending] .card[data-item]")
    assert len(on_page(page)) >= 24 and twice(page) == []
    for _ in range(3):
        page.locator(".picks .card[data-item] a").nth(1).click()
        page.wait_for_selector("article.product")
        page.wait_for_selector(".picks .card[data-item]")
        page.wait_for_timeout(300)
        assert twice(page) == []
    page.get_by_role("link", name="Freshet store, home").click()
    page.wait_for_selector(".row[data-placement=trending] .card[data-item]")
    page.wait_for_timeout(300)
    assert twice(page) == []
    assert complaints == []


def test_a_row_tells_the_api_what_stands_above_it(page: Page, site: Site) -> None:
    open_store(page, site)
    wait_for(lambda: any(it["placement"] == "trending" for it in site.fake.asked), page)
    asked = next(it for it in site.fake.asked if it["placement"] == "trending")
    assert set(row(page)) <= set(asked["exclude"])


def test_a_row_takes_its_title_from_the_answer(page: Page, site: Site) -> None:
    site.fake.titles["home_picks"] = "Because you looked at lamps"
    open_store(page, site)
    expect(page.locator(".picks h2")).to_have_text("Because you looked at lamps")


def test_a_category_shows_what_is_trending_in_it_before_its_products(
    page: Page, site: Site
) -> None:
    site.fake.titles["trending"] = "Trending"
    open_store(page, site, "/category/home")
    expect(page.locator(".picks h2")).to_have_text("Trending in home")
    asked = next(it for it in site.fake.asked if it["placement"] == "trending")
    assert asked["filter"] == 'category under "home"'
    lamps = {it["item_id"] for it in site.fake.catalog if it["category"] == "home.lighting"}
    assert set(row(page)) <= lamps
    tops = page.evaluate(
        """() => [".picks", ".listing"].map(
            (name) => document.querySelector(name).getBoundingClientRect().top)"""
    )
    assert tops[0] < tops[1]


def test_what_was_bought_is_offered_on_no_page_afterwards(page: Page, site: Site) -> None:
    open_store(page, site)
    bought = row(page)[0]
    buy(page, bought)
    for path in ("/", "/cart", "/search?q=nothing+like+it", "/product/i30"):
        open_store(page, site, path)
        page.wait_for_timeout(300)
        assert bought not in on_page(page), path
    assert all(bought in it["exclude"] for it in site.fake.asked[-3:])


def test_no_row_tells_of_having_viewed_what_was_bought(page: Page, site: Site) -> None:
    open_store(page, site)
    bought = row(page)[0]
    buy(page, bought)
    because = page.locator(".row[data-placement=because_you_viewed]")
    open_store(page, site)
    expect(because).to_be_visible()
    site.fake.about = bought
    open_store(page, site)
    page.wait_for_selector(".row[data-placement=trending] .card[data-item]")
    expect(because).to_be_hidden()


def test_the_thanks_page_shows_what_is_popular_not_more_of_the_same(page: Page, site: Site) -> None:
    open_store(page, site)
    buy(page, row(page)[0])
    expect(page.locator(".picks h2")).to_have_text("Popular right now")
    expect(page.locator(".thanks")).to_contain_text("1 item, $")
    assert site.fake.asked[-1]["placement"] == "trending"


def test_a_search_without_results_leads_on(page: Page, site: Site) -> None:
    open_store(page, site, "/search?q=zeppelin")
    expect(page.locator(".nothing")).to_contain_text("No product matches")
    page.locator(".nothing").get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Home")


def test_a_product_page_shows_what_else_was_looked_at(page: Page, site: Site) -> None:
    open_store(page, site, "/product/i03")
    expect(page.locator(".row[data-placement=recently_viewed]")).to_be_hidden()
    open_store(page, site, "/product/i30")
    looked = page.locator(".row[data-placement=recently_viewed] .card")
    expect(looked).to_have_count(1)
    expect(looked).to_have_attribute("data-item", "i03")


def test_starting_over_forgets_what_was_bought(page: Page, site: Site) -> None:
    open_store(page, site)
    bought = row(page)[0]
    buy(page, bought)
    page.get_by_role("button", name="What Freshet knows").click()
    page.get_by_role("button", name="Start over").click()
    page.wait_for_url(f"{site.store}/")
    page.wait_for_selector(".picks .card[data-item]")
    asked = next(it for it in reversed(site.fake.asked) if it["placement"] == "home_picks")
    assert bought not in asked["exclude"]


@pytest.mark.parametrize("placement", ["similar", "recently_viewed"])
def test_a_row_is_left_out_where_another_placement_answers(
    page: Page, site: Site, placement: str
) -> None:
    site.fake.unknown.add(placement)
    page.goto(f"{site.store}/product/i03")
    page.wait_for_selector(".banner h2")
    page.wait_for_timeout(500)
    expect(page.locator(f".row[data-placement={placement}]")).to_be_hidden()


def test_a_row_without_an_answer_is_left_out(page: Page, site: Site) -> None:
    page.route(
        "**/v1/recommendations",
        lambda route: (
            route.abort() if '"trending"' in (route.request.post_data or "") else route.continue_()
        ),
    )
    open_store(page, site)
    expect(page.locator(".row[data-placement=trending]")).to_be_hidden()


def test_a_quantity_goes_into_the_cart_and_into_the_event(page: Page, site: Site) -> None:
    open_store(page, site, "/product/i03")
    page.get_by_role("button", name="One more", exact=True).click()
    page.get_by_role("button", name="One more", exact=True).click()
    page.get_by_role("button", name="Add to cart", exact=True).click()
    expect(page.get_by_role("link", name="Cart, 3 items")).to_be_visible()
    wait_for(lambda: bool(site.fake.named("add_to_cart")), page)
    assert site.fake.named("add_to_cart")[0]["metadata"]["quantity"] == 3


def test_a_product_page_describes_the_product(page: Page, site: Site) -> None:
    site.fake.catalog[3] |= {
        "description": "Happy in the shade.",
        "attributes": {"height": "35 cm"},
    }
    site.write_catalog()
    open_store(page, site, "/product/i03")
    expect(page.locator(".description")).to_have_text("Happy in the shade.")
    expect(page.locator(".specs")).to_contain_text("Height35 cm")
    expect(page.locator(".product-copy")).to_contain_text("Free delivery")


def test_a_listing_is_filtered_and_stays_so_on_the_way_back(page: Page, site: Site) -> None:
    site.fake.catalog[1] |= {"brand": "Lumivo", "in_stock": False}
    site.write_catalog()
    open_store(page, site, "/category/home")
    cards = page.locator(".listing .card")
    page.locator(".price-filter summary").click()
    page.get_by_label("From $").fill("30")
    page.get_by_label("From $").press("Enter")
    expect(cards).to_have_count(9)
    page.get_by_role("button", name="Clear").click()
    expect(cards).to_have_count(12)
    page.get_by_label("In stock").check()
    expect(cards).to_have_count(11)
    page.locator(".brand-filter summary").click()
    page.get_by_role("checkbox", name="Oakmere").check()
    page.get_by_label("Sort by").select_option("high")
    cards.first.get_by_role("link").click()
    page.wait_for_selector("article.product")
    page.go_back()
    expect(page.get_by_label("Sort by")).to_have_value("high")
    expect(page.get_by_label("In stock")).to_be_checked()
    expect(cards).to_have_count(11)
    page.locator(".brand-filter summary").click()
    page.get_by_role("checkbox", name="Lumivo").check()
    page.get_by_role("checkbox", name="Oakmere").uncheck()
    expect(page.locator(".listing .empty")).to_be_visible()
