"""A page that the visitor leaves and comes back to, as the browser has kept it: it goes on, and
doubles nothing.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import CHROMIUM_ARGS
from tests.stack.prerequisites import chromium
from tests.web.conftest import Site
from tests.web.sdk_pages import metadata, open_html, start, wait_for

# Whether it keeps a page is Chromium's choice: one that it has loaded again says nothing of the SDK.
LOADED_AGAIN = "the browser has loaded the page again"
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=2, only_rerun=[LOADED_AGAIN])]

NOBODY = {"analytics": False, "personalization": False}


# A whole Chromium: its headless shell has no cache of pages, and Playwright turns that off.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(chromium(os.environ)),
            args=CHROMIUM_ARGS,
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield launched
        launched.close()


def leave(page: Page, site: Site) -> None:
    """To the next page, which has no SDK unless the test starts one."""
    page.evaluate(
        "(url) => { window.left = true; location.href = url; }", f"{site.freshet}/pages/next"
    )
    page.wait_for_url("**/pages/next")


def come_back(page: Page) -> None:
    page.evaluate("() => history.back()")
    page.wait_for_url("**/pages/test", wait_until="commit")  # it is not loaded
    page.wait_for_function("() => document.visibilityState === 'visible'")
    why = page.evaluate(
        "() => JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)"
    )
    assert page.evaluate("() => window.left") is True, f"{LOADED_AGAIN}: {why}"


def ms_since(began: float) -> float:
    return (time.monotonic() - began) * 1000


def track(page: Page, *numbers: int, name: str = "click") -> None:
    page.evaluate(
        "([name, all]) => { for (const n of all) freshet.track(name, { n }); }",
        [name, list(numbers)],
    )


def kept(page: Page) -> list[str]:
    keys: list[str] = page.evaluate(
        "() => Object.keys(localStorage).filter((key) => key.startsWith('freshet.queue.'))"
    )
    return keys


def arrived(site: Site, name: str = "click") -> Counter[Any]:
    """n -> how often the event of that number came in."""
    return Counter(metadata(site.fake.named(name), "n"))


def test_it_is_viewed_anew_goes_on_and_doubles_nothing(page: Page, site: Site) -> None:
    open_html(page, site, "<title>first</title>", pages=True)
    track(page, 1)
    track(page, 2, name="scroll")
    visitor = page.evaluate("() => freshet.anonymousId")
    for turn in (3, 5):
        leave(page, site)
        come_back(page)
        track(page, turn)
        track(page, turn + 1, name="scroll")
    wait_for(lambda: 5 in arrived(site) and 6 in arrived(site, "scroll"), page)
    wait_for(lambda: len(site.fake.named("page_view")) == 3, page)
    page.wait_for_timeout(500)
    assert arrived(site) == {1: 1, 3: 1, 5: 1} and arrived(site, "scroll") == {2: 1, 4: 1, 6: 1}
    assert metadata(site.fake.named("page_view"), "title") == ["first"] * 3
    assert {event["anonymous_id"] for event in site.fake.events} == {visitor}
    assert set(Counter(event["event_id"] for event in site.fake.events).values()) == {1}


def test_the_time_away_is_not_dwelt_upon(page: Page, site: Site) -> None:
    opened = time.monotonic()
    open_html(page, site, "<title>first</title>", pages=True)
    page.wait_for_timeout(300)
    leave(page, site)
    first_at_most = ms_since(opened)
    page.wait_for_timeout(3000)
    back = time.monotonic()
    come_back(page)
    page.wait_for_timeout(300)
    leave(page, site)
    second_at_most = ms_since(back)
    wait_for(lambda: len(site.fake.named("dwell")) == 2, page)
    page.wait_for_timeout(200)
    first, second = metadata(site.fake.named("dwell"), "dwell_ms")
    assert 300 <= first <= first_at_most
    assert 300 <= second <= second_at_most


def test_a_request_under_way_when_it_went_is_not_sent_again(page: Page, site: Site) -> None:
    page.add_init_script(
        """const own = fetch;
        window.fetch = async (...asked) => {
            const answer = own(...asked);
            await new Promise((resolve) => setTimeout(resolve, 400));
            return answer;
        };"""
    )
    open_html(page, site, "")
    track(page, 1)
    page.wait_for_timeout(50)
    leave(page, site)
    come_back(page)
    track(page, 2)
    wait_for(lambda: 2 in arrived(site), page)
    page.wait_for_timeout(800)
    assert arrived(site) == {1: 1, 2: 1}


@pytest.mark.parametrize("next_page_sends", [True, False])
@pytest.mark.parametrize("kept_before", [True, False])
def test_what_it_could_not_send_is_sent_once_by_the_next_page_or_by_itself(
    page: Page, site: Site, kept_before: bool, next_page_sends: bool
) -> None:
    open_html(page, site, "", retryMs=60_000)
    site.fake.failures = 1
    track(page, 1)
    wait_for(lambda: page.evaluate("() => heard.error.length") == 1, page)
    if kept_before:
        wait_for(lambda: len(kept(page)) == 1, page)
    track(page, 2)
    leave(page, site)
    if next_page_sends:
        start(page, site)
        wait_for(lambda: len(arrived(site)) == 2, page)
    come_back(page)
    track(page, 3)
    wait_for(lambda: len(arrived(site)) == 3, page)
    page.wait_for_timeout(600)
    assert arrived(site) == {1: 1, 2: 1, 3: 1}
    assert kept(page) == []


def test_what_was_decided_meanwhile_holds_for_it(page: Page, site: Site) -> None:
    open_html(page, site, "")
    page.evaluate("() => freshet.identify('u1')")
    leave(page, site)
    start(page, site)
    page.evaluate("() => freshet.reset()")
    come_back(page)
    wait_for(lambda: page.evaluate("() => freshet.userId") is None, page)
    leave(page, site)
    start(page, site)
    page.evaluate("(given) => freshet.consent(given)", NOBODY)
    come_back(page)
    wait_for(lambda: page.evaluate("() => freshet.consent()") == NOBODY, page)
    assert page.evaluate("() => [freshet.track('click'), Object.keys(localStorage)]") == [
        None,
        ["freshet.consent"],
    ]
