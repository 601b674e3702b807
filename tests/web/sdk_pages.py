"""Pages of another site that load the SDK, and waiting for what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

from tests.web.conftest import Site

_START = """async ([sdk, settings]) => {
    const { createFreshet } = await import(sdk);
    window.heard = { answered: [], rejected: [], error: [] };
    window.freshet = createFreshet(settings);
    for (const name in heard) freshet.on(name, (detail) => heard[name].push(detail));
    window.surprises = [];
    addEventListener("error", (event) => surprises.push(event.message));
    addEventListener("unhandledrejection", (event) => surprises.push(String(event.reason)));
}"""
_SHOW = """(state) => {
    Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def start(page: Page, site: Site, collector: str | None = None, **settings: Any) -> None:
    """Load the SDK from the store into the open page and keep it as `freshet`."""
    addresses = {"collector": collector or site.freshet, "api": site.freshet}
    page.evaluate(_START, [f"{site.store}/sdk/freshet.js", addresses | settings])


def open_blank(page: Page, site: Site, collector: str | None = None, **settings: Any) -> None:
    """An empty page of another site with the SDK."""
    page.goto(f"{site.freshet}/blank")
    start(page, site, collector, **settings)


def open_html(page: Page, site: Site, html: str, **settings: Any) -> None:
    """A page of that HTML with the SDK."""
    site.fake.pages["test"] = html
    page.goto(f"{site.freshet}/pages/test")
    start(page, site, **settings)


def hide(page: Page) -> None:
    """As when the visitor turns to another tab."""
    page.evaluate(_SHOW, "hidden")


def show(page: Page) -> None:
    """As when the visitor comes back."""
    page.evaluate(_SHOW, "visible")


def wait_for(condition: Callable[[], bool], page: Page, within_s: float = 5) -> None:
    """Let the page live until the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        page.wait_for_timeout(20)


def metadata(events: list[dict[str, Any]], key: str) -> list[Any]:
    """One field of each event's metadata."""
    return [event["metadata"].get(key) for event in events]
