"""A page of the shop in Chromium with a vendor's script in it: the SDK is real, and so is the
collector it talks to.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route

from tests.functions.conftest import ORIGIN
from tests.stack import Stack

NODE_MODULES = Path(__file__).parents[3] / "web" / "vendors" / "node_modules"
PAGE = (
    "<!doctype html><title>Lamps</title><h1>Lamps</h1><button id=buy>Buy</button><script "
    "src=/vendor.js></script>"
)


@contextmanager
def shop_page(browser: Browser, script: str, collector_url: str) -> Iterator[Page]:
    """A page at `ORIGIN` that has loaded `script`, a path within node_modules.

    It reaches the collector and nothing else; whatever goes wrong in it fails the test.
    """
    # a page of the web asks a loopback address
    context = browser.new_context(permissions=["local-network-access"])
    context.set_default_timeout(10_000)
    collector = urlsplit(collector_url).netloc

    def answer(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.path == "/vendor.js":
            route.fulfill(path=NODE_MODULES / script)
        elif f"{url.scheme}://{url.netloc}" == ORIGIN:
            route.fulfill(body=PAGE, content_type="text/html")
        else:
            route.abort()

    # A request that is answered here waits while the test does anything but talk to the browser,
    # such as read Pub/Sub.
    context.route(re.compile(rf"^(?!http://{re.escape(collector)}/)"), answer)
    page = context.new_page()
    surprises: list[str] = []
    page.on("pageerror", lambda error: surprises.append(str(error)))
    page.goto(f"{ORIGIN}/lamps?utm_source=mail")
    yield page
    context.close()
    assert surprises == []


@contextmanager
def without_pubsub(stack: Stack) -> Iterator[None]:
    """Pub/Sub is killed, and comes back empty."""
    stack.kill_process("pubsub")
    try:
        yield
    finally:
        # An event that comes to a topic before its subscription is there is lost, as on Google
        # Cloud: the collector stands still until both are.
        collector = stack.processes["collector"].pid
        os.killpg(collector, signal.SIGSTOP)
        try:
            stack.start_process("pubsub")
            stack.wait_for("pubsub")
            stack.bootstrap({"pubsub"})
        finally:
            os.killpg(collector, signal.SIGCONT)
