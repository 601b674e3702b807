"""What the SDK tells of pages by itself: views, also of a single-page app, scrolling, and the time
in sight.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.web.conftest import Site
from tests.web.sdk_pages import hide, metadata, open_blank, open_html, show, start, wait_for

pytestmark = pytest.mark.browser

# ten screens of 860 px
TALL = "<title>tall</title><body style='margin:0'><div style='height:8600px'></div></body>"


def views(site: Site) -> list[str]:
    return [url.rpartition("/")[2] for url in metadata(site.fake.named("page_view"), "url")]


def test_a_load_is_one_page_view_with_its_referrer(page: Page, site: Site) -> None:
    site.fake.pages["from"] = f"<a href='{site.freshet}/pages/test'>go</a>"
    site.fake.pages["test"] = "<title>Arrived</title>"
    page.goto(f"{site.freshet}/pages/from")
    page.click("a")
    page.wait_for_url("**/pages/test")
    start(page, site, pages=True)
    wait_for(lambda: bool(site.fake.events), page)
    (view,) = site.fake.named("page_view")
    assert view["metadata"] == {
        "url": f"{site.freshet}/pages/test",
        "title": "Arrived",
        "referrer": f"{site.freshet}/pages/from",
    }


def test_every_new_address_of_a_single_page_app_is_one_view(page: Page, site: Site) -> None:
    open_blank(page, site, pages=True)
    for change in (
        "pushState({}, '', '/a')",
        "pushState({}, '', '/b')",
        "replaceState({}, '', '/c')",
        "back()",
    ):
        page.evaluate(f"() => history.{change}")
        page.wait_for_timeout(60)
    wait_for(lambda: len(views(site)) == 5, page)
    assert views(site) == ["blank", "a", "b", "c", "a"]
    assert [
        url and url.rpartition("/")[2] for url in metadata(site.fake.named("page_view"), "referrer")
    ] == [
        None,
        "blank",
        "a",
        "b",
        "c",
    ]


def test_an_address_that_stays_is_no_view(page: Page, site: Site) -> None:
    open_blank(page, site, pages=True)
    page.evaluate(
        "() => { history.replaceState({ scroll: 1 }, ''); history.pushState({}, '', "
        "location.href); }"
    )
    page.evaluate("() => { location.hash = 'part'; }")
    page.wait_for_timeout(1_200)
    assert views(site) == ["blank"]


def test_a_hash_is_an_address_where_the_site_says_so(page: Page, site: Site) -> None:
    open_blank(page, site, pages=True, hash=True)
    page.evaluate("() => { location.hash = 'part'; }")
    wait_for(lambda: views(site) == ["blank", "blank#part"], page)


def test_of_a_redirect_only_the_end_is_viewed_with_the_title_it_got(page: Page, site: Site) -> None:
    open_blank(page, site, pages=True)
    page.evaluate(
        """() => {
            history.pushState({}, "", "/old");
            history.replaceState({}, "", "/new");
            document.title = "Drawn";
        }"""
    )
    wait_for(lambda: len(views(site)) == 2, page)
    assert views(site) == ["blank", "new"]
    assert metadata(site.fake.named("page_view"), "title")[1] == "Drawn"


SET = {
    "before": "document.title = name; history.pushState({}, '', name);",
    "after": "history.pushState({}, '', name); document.title = name;",
    "late": "history.pushState({}, '', name); setTimeout(() => { document.title = name; }, 100);",
}


@pytest.mark.parametrize(
    ("order", "wait_ms"),
    [("before", 0), ("before", 60), ("after", 0), ("after", 60), ("late", 130), ("late", 600)],
)
def test_each_view_has_its_own_title_however_soon_the_next_one_comes(
    page: Page, site: Site, order: str, wait_ms: int
) -> None:
    open_blank(page, site, pages=True)
    page.evaluate(
        f"""async (waitMs) => {{
            for (const name of ["a", "b", "c"]) {{
                {SET[order]}
                if (waitMs) await new Promise((resolve) => setTimeout(resolve, waitMs));
            }}
        }}""",
        wait_ms,
    )
    wait_for(lambda: len(views(site)) == 4, page)
    assert (
        views(site) == metadata(site.fake.named("page_view"), "title") == ["blank", "a", "b", "c"]
    )


def test_a_page_that_sets_no_title_is_viewed_with_the_one_that_stands(
    page: Page, site: Site
) -> None:
    open_blank(page, site, pages=True)
    for name in ("a", "b"):
        page.evaluate("(name) => history.pushState({}, '', name)", name)
        page.wait_for_timeout(60)
    wait_for(lambda: len(views(site)) == 3, page)
    assert views(site) == ["blank", "a", "b"]
    assert metadata(site.fake.named("page_view"), "title") == ["blank"] * 3


def test_a_title_that_comes_late_is_not_the_next_pages(page: Page, site: Site) -> None:
    open_html(page, site, "<title>test</title><button>x</button>", pages=True)
    wait_for(lambda: len(views(site)) == 1, page)
    page.evaluate("() => { document.title = '(1) test'; }")
    page.evaluate(
        """() => document.querySelector("button").addEventListener("click", () => {
            const name = location.pathname.endsWith("/a") ? "b" : "a";
            history.pushState({}, "", name);
            setTimeout(() => { document.title = name; }, 20);
        })"""
    )
    page.click("button")
    page.wait_for_timeout(60)
    page.click("button")
    wait_for(lambda: len(views(site)) == 3, page)
    assert metadata(site.fake.named("page_view"), "title") == ["test", "a", "b"]


@pytest.mark.parametrize(
    "end", ["() => { location.href = 'about:blank'; }", "() => freshet.close()", None]
)
def test_a_view_that_waits_for_its_title_leaves_with_the_page(
    page: Page, site: Site, end: str | None
) -> None:
    open_blank(page, site, pages=True)
    page.evaluate("() => { history.pushState({}, '', 'a'); document.title = 'a'; }")
    if end:
        page.evaluate(end)
    else:
        hide(page)
    wait_for(lambda: len(views(site)) == 2, page, within_s=0.4)
    assert metadata(site.fake.named("page_view"), "title") == ["blank", "a"]


def test_the_hosts_history_works_as_before(page: Page, site: Site) -> None:
    open_blank(page, site, pages=True)
    outcome = page.evaluate(
        """() => {
            const own = history.pushState;
            let refused = null;
            try { history.pushState({}, "", "https://elsewhere.example/"); } catch (error) { refused = error.name; }
            history.pushState({ n: 1 }, "", "/a");
            freshet.close();
            return [refused, history.state, history.pushState !== own, /native code/.test(history.pushState)];
        }"""
    )
    assert outcome == ["SecurityError", {"n": 1}, True, True]
    page.evaluate("() => history.pushState({}, '', '/after')")
    page.wait_for_timeout(300)
    assert "after" not in views(site)


def test_dwell_is_the_time_in_sight_and_never_counted_twice(page: Page, site: Site) -> None:
    open_blank(page, site, pages=True)
    page.wait_for_timeout(300)
    hide(page)
    hide(page)
    page.wait_for_timeout(700)  # out of sight
    show(page)
    page.wait_for_timeout(200)
    page.evaluate("() => history.pushState({}, '', '/next')")
    page.wait_for_timeout(250)
    page.goto("about:blank")
    wait_for(lambda: len(site.fake.named("dwell")) == 3, page)
    page.wait_for_timeout(200)
    first, second, third = metadata(site.fake.named("dwell"), "dwell_ms")
    assert 300 <= first < 650 and 200 <= second < 550 and 250 <= third < 600
    places = [url.rpartition("/")[2] for url in metadata(site.fake.named("dwell"), "url")]
    assert places == ["blank", "blank", "next"]


def test_scrolling_tells_each_depth_once(page: Page, site: Site) -> None:
    open_html(page, site, TALL, pages=True)
    for y in (100, 1500, 2000, 1000, 4000, 9000):
        page.evaluate("(y) => scrollTo(0, y)", y)
        page.wait_for_timeout(400)
    wait_for(lambda: len(site.fake.named("scroll")) == 3, page)
    depths = metadata(site.fake.named("scroll"), "depth")
    assert depths == [27, 57, 100] or depths == [27, 56, 100]


def test_a_page_that_nobody_scrolls_has_no_depth(page: Page, site: Site) -> None:
    open_html(page, site, "<title>short</title><p>short</p>", pages=True)
    page.mouse.wheel(0, 400)
    page.wait_for_timeout(600)
    assert site.fake.named("scroll") == []


def test_the_next_page_of_an_app_is_scrolled_anew(page: Page, site: Site) -> None:
    open_html(page, site, TALL, pages=True)
    page.evaluate("() => { scrollTo(0, 9000); }")
    wait_for(lambda: metadata(site.fake.named("scroll"), "depth") == [100], page)
    page.evaluate("() => { scrollTo(0, 0); history.pushState({}, '', '/next'); }")
    page.wait_for_timeout(400)
    page.evaluate("() => scrollTo(0, 2000)")
    wait_for(lambda: len(site.fake.named("scroll")) == 2, page)
    assert site.fake.named("scroll")[1]["metadata"] == {"depth": 33, "url": f"{site.freshet}/next"}


def test_a_tab_in_the_background_is_not_dwelt_upon(
    context: BrowserContext, page: Page, site: Site
) -> None:
    page.add_init_script(
        "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
    )
    open_blank(page, site, pages=True)
    page.wait_for_timeout(200)
    page.evaluate("() => freshet.close()")
    page.wait_for_timeout(300)
    assert site.fake.named("dwell") == []


def test_without_the_option_nothing_is_told_by_itself(page: Page, site: Site) -> None:
    open_html(page, site, TALL)
    page.evaluate("() => { scrollTo(0, 9000); history.pushState({}, '', '/next'); }")
    page.wait_for_timeout(500)
    hide(page)
    page.wait_for_timeout(200)
    assert site.fake.events == []
