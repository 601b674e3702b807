"""Nothing lost and nothing doubled: offline and back, pages that go, two tabs, and a collector that
says no.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.web.conftest import Site
from tests.web.sdk_pages import hide, metadata, open_blank, show, start, wait_for

pytestmark = pytest.mark.browser


def track(page: Page, numbers: Iterable[int], name: str = "click") -> None:
    page.evaluate(
        "([name, all]) => { for (const n of all) freshet.track(name, { n }); }",
        [name, list(numbers)],
    )


def kept(page: Page) -> list[str]:
    keys: list[str] = page.evaluate(
        "() => Object.keys(localStorage).filter((key) => key.startsWith('freshet.queue.'))"
    )
    return keys


def arrived(site: Site) -> Counter[int]:
    """n -> how often the event of that number came in."""
    return Counter(metadata(site.fake.events, "n"))


def test_offline_and_back_delivers_everything_once(
    context: BrowserContext, page: Page, site: Site
) -> None:
    open_blank(page, site, retryMs=100)
    track(page, range(3))
    wait_for(lambda: len(site.fake.events) == 3, page)
    context.set_offline(True)
    track(page, range(3, 60))
    page.wait_for_timeout(500)
    assert len(site.fake.events) == 3 and len(kept(page)) == 1
    context.set_offline(False)
    wait_for(lambda: len(arrived(site)) == 60, page)
    page.wait_for_timeout(500)
    assert set(arrived(site).values()) == {1}
    assert kept(page) == []


def test_while_the_collector_answers_nothing_is_kept(page: Page, site: Site) -> None:
    page.add_init_script(
        """window.written = [];
        const own = Storage.prototype.setItem;
        const store = new Proxy(localStorage, {
            set: (target, key, value) => { window.written.push(key); target[key] = value; return true; },
            get: (target, key) => typeof target[key] === "function" ? target[key].bind(target) : target[key],
            deleteProperty: (target, key) => delete target[key],
        });
        Object.defineProperty(window, "localStorage", { get: () => store });"""
    )
    open_blank(page, site)
    track(page, range(100))
    wait_for(lambda: len(arrived(site)) == 100, page)
    hide(page)
    page.wait_for_timeout(200)
    written = page.evaluate("() => window.written")
    assert not [key for key in written if key.startswith("freshet.queue.")]
    assert len(written) <= 3  # identity, session, and the session's time once a second


def test_what_a_page_could_not_send_the_next_one_sends(
    context: BrowserContext, page: Page, site: Site
) -> None:
    site.fake.failures = 1
    open_blank(page, site, retryMs=60_000)
    track(page, [1, 2])
    wait_for(lambda: site.fake.failed_requests == 1, page)
    page.wait_for_timeout(200)
    page.goto(f"{site.freshet}/blank?next")
    start(page, site)
    wait_for(lambda: len(arrived(site)) == 2, page)
    page.wait_for_timeout(600)
    assert arrived(site) == {1: 1, 2: 1}
    assert kept(page) == []


def test_a_page_that_goes_while_offline_leaves_its_events_to_the_next(
    context: BrowserContext, page: Page, site: Site
) -> None:
    keeper = context.new_page()
    keeper.goto(f"{site.freshet}/blank")
    open_blank(page, site, flushMs=60_000)
    context.set_offline(True)
    track(page, range(5), "scroll")
    page.close(run_before_unload=True)
    keeper.wait_for_timeout(300)
    assert len(kept(keeper)) == 1 and site.fake.events == []
    context.set_offline(False)
    start(keeper, site)
    wait_for(lambda: len(arrived(site)) == 5, keeper)
    assert set(arrived(site).values()) == {1}


def test_two_tabs_offline_and_back_lose_and_double_nothing(
    context: BrowserContext, page: Page, site: Site
) -> None:
    tabs = [page, context.new_page(), context.new_page()]
    for tab in tabs:
        open_blank(tab, site, retryMs=100)
    context.set_offline(True)
    for number, tab in enumerate(tabs):
        track(tab, range(number * 10, number * 10 + 10))
    page.wait_for_timeout(400)
    assert len(kept(page)) == 3
    tabs[2].close(run_before_unload=True)  # of this one the others take over
    page.wait_for_timeout(200)
    context.set_offline(False)
    wait_for(lambda: len(arrived(site)) == 30, page)
    page.wait_for_timeout(1200)
    assert set(arrived(site).values()) == {1}
    assert kept(page) == []


def test_a_live_tabs_queue_is_left_alone(context: BrowserContext, page: Page, site: Site) -> None:
    site.fake.failures = 1
    open_blank(page, site, retryMs=60_000)
    track(page, [1])
    wait_for(lambda: len(kept(page)) == 1, page)
    other = context.new_page()
    open_blank(other, site)
    other.wait_for_timeout(500)
    assert site.fake.events == []
    page.evaluate("() => dispatchEvent(new Event('online'))")
    wait_for(lambda: len(site.fake.events) == 1, page)
    other.wait_for_timeout(500)
    assert arrived(site) == {1: 1}


def test_a_tab_that_crashes_leaves_its_queue_to_the_others(
    context: BrowserContext, page: Page, site: Site
) -> None:
    site.fake.failures = 1
    other = context.new_page()
    open_blank(other, site)
    open_blank(page, site, retryMs=60_000)
    track(page, [1, 2])
    wait_for(lambda: len(kept(other)) == 1, other)
    page.close(run_before_unload=False)
    show(other)
    wait_for(lambda: len(arrived(site)) == 2, other)
    other.wait_for_timeout(300)
    assert set(arrived(site).values()) == {1}


def test_the_kept_queue_has_a_bound_and_the_newest_stay(
    context: BrowserContext, page: Page, site: Site
) -> None:
    site.fake.failures = 1
    open_blank(page, site, retryMs=60_000, queueBytes=20_000)
    page.evaluate("() => { for (let n = 0; n < 500; n += 1) freshet.track('scroll', { n }); }")
    wait_for(lambda: len(kept(page)) == 1, page)
    page.wait_for_timeout(300)
    size, last = page.evaluate(
        "(key) => { const text = localStorage[key]; return [text.length, "
        "JSON.parse(text.split('\\n').pop()).metadata.n]; }",
        kept(page)[0],
    )
    assert 15_000 < size < 20_000 and last == 499


def test_a_full_storage_keeps_what_fits(page: Page, site: Site) -> None:
    site.fake.failures = 1
    open_blank(page, site, retryMs=60_000)
    page.evaluate(
        """() => {
            let filler = "x".repeat(5 * 1024 * 1024 - 6000);
            while (filler) try { localStorage.filler = filler; break; } catch { filler = filler.slice(6000); }
            for (let n = 0; n < 200; n += 1) freshet.track("scroll", { n });
        }"""
    )
    wait_for(lambda: len(kept(page)) == 1, page)
    assert page.evaluate("() => surprises") == []
    page.evaluate("() => dispatchEvent(new Event('online'))")
    wait_for(lambda: len(arrived(site)) == 200, page)


def test_retry_after_is_waited_for_whatever_happens(page: Page, site: Site) -> None:
    site.fake.failures, site.fake.failure_status, site.fake.retry_after = 1, 429, "2"
    open_blank(page, site, retryMs=10, retryMaxMs=20)
    track(page, [1])
    wait_for(lambda: site.fake.failed_requests == 1, page)
    track(page, [2])
    hide(page)
    show(page)
    page.evaluate("() => dispatchEvent(new Event('online'))")
    page.wait_for_timeout(1200)
    assert site.fake.events == []
    wait_for(lambda: len(arrived(site)) == 2, page)
    assert set(arrived(site).values()) == {1}


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_a_refusal_is_told_and_not_repeated(page: Page, site: Site, status: int) -> None:
    site.fake.failures, site.fake.failure_status = 1, status
    open_blank(page, site, retryMs=10)
    track(page, [1])
    wait_for(lambda: page.evaluate("() => heard.rejected.length") == 1, page)
    assert page.evaluate("() => heard.rejected[0].reason") == f"answered {status}"
    assert page.evaluate("() => [heard.answered.length, freshet.pending().length]") == [0, 0]
    track(page, [2])
    wait_for(lambda: len(site.fake.events) == 1, page)
    assert arrived(site) == {2: 1} and site.fake.failed_requests == 1


@pytest.mark.parametrize("body", ["null", "[]", "not json", '{"errors": [null, 7, {"index": 99}]}'])
def test_an_answer_that_says_nothing_is_still_an_answer(
    context: BrowserContext, site: Site, body: str
) -> None:
    sent: list[Any] = []

    def answer(route: Route) -> None:
        sent.append(route)
        route.fulfill(status=202, body=body, headers={"Access-Control-Allow-Origin": "*"})

    context.route("**/v1/events", answer)
    page = context.new_page()
    open_blank(page, site, retryMs=10)
    track(page, [1])
    wait_for(lambda: page.evaluate("() => heard.answered.length") == 1, page)
    page.wait_for_timeout(200)
    assert len(sent) == 1
    assert page.evaluate("() => [heard.rejected.length, surprises.length]") == [0, 0]


def test_the_write_key_travels_without_a_preflight(page: Page, site: Site) -> None:
    open_blank(page, site, writeKey="key & more")
    track(page, [1])
    page.evaluate("() => freshet.recommend()")
    wait_for(lambda: len(site.fake.events) == 1, page)
    track(page, [2], "scroll")
    page.goto(f"{site.freshet}/blank?next")
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert site.fake.keys == ["key & more"] * 2
    assert site.fake.preflights == 0


def test_what_is_under_way_when_the_page_goes_is_not_sent_again_should_it_fail(
    page: Page, site: Site
) -> None:
    page.goto(f"{site.freshet}/blank")
    start(page, site, retryMs=10)
    page.evaluate(
        """() => {
            window.sent = 0;
            window.fetch = () => { sent += 1; return new Promise((_, fail) => setTimeout(fail, 200, new TypeError("gone"))); };
            freshet.track("click");
            freshet.flush();
            dispatchEvent(new Event("pagehide"));
        }"""
    )
    page.wait_for_timeout(300)
    hide(page)
    page.wait_for_timeout(300)
    assert page.evaluate("() => sent") == 1 and kept(page) == []


def test_a_request_too_large_for_the_browser_to_carry_on_goes_again_when_the_page_goes(
    page: Page, site: Site
) -> None:
    open_blank(page, site)
    page.evaluate(
        """() => {
            window.fetch = () => new Promise(() => {}); // under way when the page goes, and cut off
            freshet.track("click", { n: 1, note: "x".repeat(30_000) });
            freshet.flush();
            freshet.track("click", { n: 2 });
            freshet.flush();
        }"""
    )
    page.goto(f"{site.freshet}/blank?next")
    wait_for(lambda: len(site.fake.events) == 1, page)
    page.wait_for_timeout(300)
    assert arrived(site) == {1: 1}  # the small one is the browser's


def test_a_large_event_travels_alone(page: Page, site: Site) -> None:
    open_blank(page, site)
    page.evaluate(
        "() => { freshet.track('scroll', { note: '\\u6f22'.repeat(20000) }); "
        "freshet.track('click', { n: 1 }); }"
    )
    wait_for(lambda: len(site.fake.events) == 2, page)
    assert page.evaluate("() => heard.error.length") == 0
