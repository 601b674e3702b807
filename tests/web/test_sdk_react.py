"""The SDK in a shop of React 19 and React Router 7, clicked with a real mouse: titles of its pages,
and views of products.
"""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.stack.prerequisites import REPO
from tests.web.conftest import Site
from tests.web.sdk_pages import metadata, wait_for

pytestmark = pytest.mark.browser

VENDORS = REPO / "tests" / "web" / "vendors"
ESBUILD = VENDORS / "node_modules" / ".bin" / "esbuild"
TITLES = {"react": "Home", "lamp": "Hoisted lamp", "sofa": "Effect sofa", "desk": "Hoisted desk"}
MAX_DELAY_MS = 150
HEAR_DELAYS = """() => {
    window.delays = [];
    let clickedMs;
    addEventListener("click", ({ timeStamp }) => { clickedMs = timeStamp; }, true);
    freshet.on("tracked", ({ event, at_ms }) => event === "view_product" && delays.push(at_ms - clickedMs));
}"""


@pytest.fixture(scope="module")
def bundle(sdk_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shop's bundle, with the SDK's module build in it."""
    if not (VENDORS / "node_modules" / "react-router").exists():
        pytest.fail("React and its router are missing: npm ci --prefix tests/web/vendors")
    folder = tmp_path_factory.mktemp("react")
    options = [
        "--bundle",
        "--minify",
        "--jsx=automatic",
        '--define:process.env.NODE_ENV="production"',
    ]
    places = [f"--alias:freshet-sdk={sdk_build / 'freshet.js'}", f"--outfile={folder / 'shop.js'}"]
    command = [str(ESBUILD), str(VENDORS / "react_shop.jsx"), *options, *places]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(params=["BrowserRouter", "RouterProvider"])
def shop(request: pytest.FixtureRequest, page: Page, site: Site, bundle: Path) -> Page:
    """The open shop."""
    site.fake.folders["shop"] = bundle
    site.fake.pages["react"] = f"""<title>Vite + React</title>
        <div id="root" data-collector="{site.freshet}" data-router="{request.param}"></div>
        <script type="module" src="/files/shop/shop.js"></script>"""
    page.goto(f"{site.freshet}/pages/react")
    page.wait_for_selector("nav")
    return page


def views(site: Site) -> list[str]:
    return [url.rpartition("/")[2] for url in metadata(site.fake.named("page_view"), "url")]


def wait_for_title(shop: Page, title: str) -> None:
    shop.wait_for_function("title => document.title === title", arg=title)


def test_a_view_has_the_title_that_react_or_an_effect_gives_its_page(
    shop: Page, site: Site
) -> None:
    for step, link in enumerate(["lamp", "sofa", "desk"]):
        wait_for(lambda step=step: len(views(site)) == step + 1, shop)  # type: ignore[misc]
        shop.click(f"#{link}")
    wait_for(lambda: len(views(site)) == 4, shop)
    assert views(site) == ["react", "lamp", "sofa", "desk"]
    assert metadata(site.fake.named("page_view"), "title") == [TITLES[name] for name in views(site)]


def test_pages_that_are_left_as_soon_as_they_are_drawn_keep_their_titles_and_their_order(
    shop: Page, site: Site
) -> None:
    for link in ("lamp", "sofa", "desk", "home", "lamp"):
        shop.click(f"#{link}")
        wait_for_title(shop, TITLES.get(link, "Home"))
    for title in ("Home", "Hoisted desk"):
        shop.go_back()
        wait_for_title(shop, title)
    shop.goto("about:blank")
    wait_for(lambda: len(views(site)) == 8, shop)
    assert views(site) == ["react", "lamp", "sofa", "desk", "react", "lamp", "react", "desk"]
    assert metadata(site.fake.named("page_view"), "title") == [TITLES[name] for name in views(site)]
    times = [event["timestamp"] for event in site.fake.named("page_view")]
    assert times == sorted(times)


def test_a_product_is_viewed_within_150_ms_of_the_click_that_leads_to_it(
    shop: Page, site: Site
) -> None:
    shop.evaluate(HEAR_DELAYS)
    for number, link in enumerate(["lamp", "sofa", "desk", "lamp", "sofa"]):
        shop.click(f"#{link}")
        wait_for(lambda number=number: len(site.fake.named("view_product")) == number + 1, shop)  # type: ignore[misc]
    assert [event["product_id"] for event in site.fake.named("view_product")] == [
        "lamp",
        "sofa",
        "desk",
        "lamp",
        "sofa",
    ]
    assert statistics.median(shop.evaluate("() => delays")) < MAX_DELAY_MS
