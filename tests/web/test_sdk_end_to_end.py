"""The SDK in a real browser with the real collector: nothing lost and nothing doubled, counted in
Pub/Sub.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.core.events import Event, decode_message
from pipeline.core.privacy.user_tokens import user_token
from tests.conftest import CHROMIUM_ARGS
from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.stack.ports import free_ports
from tests.stack.prerequisites import REPO
from tests.web.servers import serving

pytestmark = pytest.mark.browser

USER_KEY = "sixteen bytes or more"
SOURCE = REPO / "web" / "sdk" / "src"
PAGE = (
    "<!doctype html><title>page</title><body style='height:3000px'><a "
    "href='/other'>other</a></body>"
)


@pytest.fixture(scope="module")
def collecting() -> Iterator[Stack]:
    """A collector that takes events from pages of any origin, of accounts that are proved, and its
    Pub/Sub emulator.
    """
    env = {"FRESHET_CORS_ORIGINS": "*", "FRESHET_USER_KEY": USER_KEY}
    with Stack(f"test-sdk-{os.getpid()}", free_ports(), ("pubsub", "collector"), env) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


@pytest.fixture
def topics(collecting: Stack) -> Iterator[Topics]:
    with Topics(collecting.env) as topics:
        yield topics


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A host page of another origin than the collector's, which serves the SDK's modules itself."""

    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE)

    routes = [Mount("/sdk", StaticFiles(directory=SOURCE)), Route("/{path:path}", page)]
    with serving(Starlette(routes=routes)) as url:
        yield url.replace("127.0.0.1", "localhost")  # another site than 127.0.0.1


def open_page(page: Page, host: str, stack: Stack, path: str = "/", **settings: Any) -> None:
    page.goto(host + path)
    page.evaluate(
        """async ([settings]) => {
            const { createFreshet } = await import("/sdk/freshet.js");
            window.surprises = [];
            addEventListener("error", (event) => surprises.push(event.message));
            addEventListener("unhandledrejection", (event) => surprises.push(String(event.reason)));
            window.freshet = createFreshet(settings);
        }""",
        [{"collector": stack.env["FRESHET_COLLECTOR_URL"]} | settings],
    )


def track(page: Page, count: int, first: int = 0) -> None:
    page.evaluate(
        "([first, count]) => { for (let n = first; n < first + count; n += 1) "
        "freshet.track('scroll', { n }); }",
        [first, count],
    )


def stored(topics: Topics, expected: int) -> list[Event]:
    """What is in Pub/Sub: each event once."""
    messages = topics.all_events(expected)
    events = [event for message in messages for event in decode_message(message.data)]
    doubled = [
        event_id
        for event_id, times in Counter(event.event_id for event in events).items()
        if times > 1
    ]
    assert not doubled, f"{len(doubled)} of {len(events)} events came twice"
    return events


def numbers(events: list[Event]) -> list[int]:
    return sorted(int(event.metadata["n"]) for event in events if "n" in event.metadata)


def test_an_account_is_taken_with_the_token_that_the_shop_made_for_it_and_with_no_other(
    page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting)
    page.evaluate("() => freshet.on('rejected', ({ reason }) => (window.reason = reason))")
    page.evaluate(
        "token => freshet.identify('u2', null, token)", user_token(USER_KEY.encode(), "u1")
    )
    page.wait_for_function("() => window.reason")
    assert page.evaluate("() => window.reason").startswith("user_token: ")
    page.evaluate(
        "token => freshet.identify('u1', null, token)", user_token(USER_KEY.encode(), "u1")
    )
    (event,) = stored(topics, 1)
    assert (event.event, event.user_id, event.metadata.get("user_token")) == (
        "identify",
        "u1",
        None,
    )


def test_what_waits_when_a_page_is_left_arrives_once(
    context: BrowserContext, page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    for visit in range(3):
        open_page(page, host, collecting, flushMs=60_000)
        track(page, 10, first=10 * visit)
        page.goto(host + "/other") if visit < 2 else page.close()
    open_page(context.new_page(), host, collecting)
    assert numbers(stored(topics, 30)) == list(range(30))


def test_what_happens_offline_arrives_once_after_coming_back(
    context: BrowserContext, page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting, retryMs=100)
    track(page, 5)
    page.wait_for_timeout(600)
    context.set_offline(True)
    track(page, 20, first=5)
    page.wait_for_timeout(1500)
    context.set_offline(False)
    track(page, 5, first=25)
    page.wait_for_timeout(1000)
    assert numbers(stored(topics, 30)) == list(range(30))


def test_what_happened_offline_outlives_its_tab(
    context: BrowserContext, page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting, retryMs=100)
    context.set_offline(True)
    track(page, 20)
    page.wait_for_timeout(800)
    page.close()
    context.set_offline(False)
    later = context.new_page()
    open_page(later, host, collecting)
    later.wait_for_timeout(2500)
    assert numbers(stored(topics, 20)) == list(range(20))


def test_two_tabs_of_one_visitor_lose_and_double_nothing(
    context: BrowserContext, page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    other = context.new_page()
    open_page(page, host, collecting, flushMs=1500)
    open_page(other, host, collecting, flushMs=1500)
    for turn in range(4):
        track(page, 10, first=20 * turn)
        track(other, 10, first=20 * turn + 10)
    other.close()
    page.wait_for_timeout(3000)
    events = stored(topics, 80)
    assert numbers(events) == list(range(80))
    assert len({event.anonymous_id for event in events}) == 1
    assert len({event.session_id for event in events}) == 1


def test_after_consent_is_withdrawn_nothing_arrives_and_nothing_stays_in_the_browser(
    context: BrowserContext, page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting)
    track(page, 5)
    page.wait_for_timeout(800)
    page.evaluate("() => { freshet.consent({ analytics: false, personalization: false }); }")
    track(page, 10, first=5)
    page.wait_for_timeout(800)
    kept = page.evaluate(
        "() => Object.keys(localStorage).filter((key) => !key.includes('consent'))"
    )
    assert kept == []
    page.goto(host + "/other")
    assert numbers(stored(topics, 5)) == list(range(5))


def test_what_waited_for_a_decision_arrives_with_it(
    page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting, consent="pending")
    track(page, 5)
    page.wait_for_timeout(800)
    assert page.evaluate("() => Object.keys(localStorage)") == []
    page.evaluate("() => { freshet.consent({ analytics: true, personalization: false }); }")
    page.wait_for_timeout(800)
    events = stored(topics, 5)
    assert numbers(events) == list(range(5))
    assert all(
        event.metadata["consent"] == {"analytics": True, "personalization": False}
        for event in events
    )


def test_a_single_page_app_views_each_page_once(
    page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting, pages=True)
    page.wait_for_timeout(300)
    for step in (
        "history.pushState({}, '', '/a')",
        "history.pushState({}, '', '/b')",
        "history.back()",
    ):
        page.evaluate(f"() => {{ {step}; }}")
        page.wait_for_timeout(300)
    page.evaluate("() => { history.replaceState({}, '', location.href); }")
    page.wait_for_timeout(300)
    page.goto("about:blank")
    events = stored(topics, 5)
    viewed = [
        event.metadata["url"].removeprefix(host) for event in events if event.event == "page_view"
    ]
    assert sorted(viewed) == ["/", "/a", "/a", "/b"]
    assert {event.event for event in events} == {"page_view", "dwell"}


def test_a_collector_that_is_away_for_a_while_gets_each_event_once(
    page: Page, host: str, collecting: Stack, topics: Topics
) -> None:
    open_page(page, host, collecting, retryMs=100)
    collecting.stop_process("collector")
    track(page, 20)
    page.wait_for_timeout(1000)
    collecting.start_process("collector")
    collecting.wait_for("collector")
    page.wait_for_timeout(4000)
    assert numbers(stored(topics, 20)) == list(range(20))
    assert page.evaluate("() => surprises") == []


def test_where_third_parties_cookies_are_blocked_nothing_is_lost_for_none_is_needed(
    chromium: Path, host: str, collecting: Stack, topics: Topics, browser: Browser
) -> None:
    strict = browser.browser_type.launch(
        executable_path=str(chromium), args=[*CHROMIUM_ARGS, "--test-third-party-cookie-phaseout"]
    )
    try:
        page = strict.new_page()
        open_page(page, host, collecting)
        track(page, 5)
        page.wait_for_timeout(800)
        assert page.context.cookies() == []
    finally:
        strict.close()
    assert numbers(stored(topics, 5)) == list(range(5))
