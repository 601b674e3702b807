"""The browser SDK: what it weighs, and the main thread's time for its load and for 100 events, in Chromium.

Time is the main thread's task time by the DevTools protocol (`Performance.getMetrics`, TaskDuration), of the page with
the SDK less that of the same page without; medians over fresh pages, on the machine's own speed and slowed down four
times, as a phone is. `python -m tests.bench.sdk` prints the rows.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.bench.rows import Row, row
from tests.stack import prerequisites
from tests.web.conftest import CHROMIUM_ARGS
from tests.web.servers import serving

SDK = prerequisites.REPO / "web" / "sdk"
TARGET_BYTES = 6000.0
PAGES = 15
EVENTS = 100
SLOWDOWNS = (1, 4)
SETTLED_MS = 400
FLOOR = "the same page without the SDK"

PLAIN = "<!doctype html><title>page</title><body><script>window.ready = true</script></body>"
WITH_SDK = (
    "<!doctype html><title>page</title><body>"
    '<script src="/sdk/freshet.global.js" data-collector="/collect"></script></body>'
)


def run() -> list[Row]:
    """Rows of `{name, value, unit, target, floor, floor_value}`; takes about a minute."""
    subprocess.run(["npm", "run", "--silent", "build"], cwd=SDK, check=True, capture_output=True)
    return _sizes() + _times()


def _sizes() -> list[Row]:
    rows = []
    for name, file in (("module", "freshet.js"), ("script", "freshet.global.js")):
        code = (SDK / "dist" / file).read_bytes()
        packed = len(gzip.compress(code, 9, mtime=0))
        rows.append(row(f"sdk_{name}_gzipped", packed, "bytes", TARGET_BYTES, "minified", len(code)))
    return rows


def _times() -> list[Row]:
    rows: list[Row] = []
    with _host() as url, _browser() as browser:
        for slowdown in SLOWDOWNS:
            plain = [_load_ms(browser, f"{url}/plain", slowdown) for _ in range(PAGES)]
            loaded = [_load_ms(browser, f"{url}/with", slowdown) for _ in range(PAGES)]
            events = [_events_ms(browser, f"{url}/with", slowdown) for _ in range(PAGES)]
            floor = statistics.median(plain)
            suffix = "" if slowdown == 1 else f"_{slowdown}x_slower"
            rows.append(row(f"sdk_load{suffix}", statistics.median(loaded) - floor, "ms", None, FLOOR, floor))
            rows.append(row(f"sdk_{EVENTS}_events{suffix}", statistics.median(events), "ms"))
    return rows


def _load_ms(browser: Browser, url: str, slowdown: int) -> float:
    """Main-thread milliseconds from before the navigation until the page is idle."""
    page = browser.new_page()
    try:
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        client.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
        before = _task_ms(client.send("Performance.getMetrics"))
        page.goto(url)
        page.wait_for_timeout(SETTLED_MS)
        return _task_ms(client.send("Performance.getMetrics")) - before
    finally:
        page.close()


def _events_ms(browser: Browser, url: str, slowdown: int) -> float:
    """Main-thread milliseconds for 100 events, until they are answered, less what an idle page takes as long."""
    page = browser.new_page()
    try:
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable")
        page.goto(url)
        page.wait_for_timeout(SETTLED_MS)
        client.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
        track = f"() => {{ for (let n = 0; n < {EVENTS}; n += 1) freshet.track('click', {{ product_id: 'p' + n }}); }}"
        spent = []
        for script in ("() => {}", track):
            before = _task_ms(client.send("Performance.getMetrics"))
            page.evaluate(script)
            page.wait_for_timeout(SETTLED_MS)
            spent.append(_task_ms(client.send("Performance.getMetrics")) - before)
        return spent[1] - spent[0]
    finally:
        page.close()


def _task_ms(metrics: dict[str, list[dict[str, float]]]) -> float:
    return next(1e3 * metric["value"] for metric in metrics["metrics"] if metric["name"] == "TaskDuration")  # type: ignore[comparison-overlap]


@contextmanager
def _host() -> Iterator[str]:
    async def collect(request: Request) -> JSONResponse:
        events = len(json.loads(await request.body())["events"])
        return JSONResponse({"accepted": events, "rejected": 0, "errors": []}, 202)

    async def plain(request: Request) -> HTMLResponse:
        return HTMLResponse(PLAIN)

    async def with_sdk(request: Request) -> HTMLResponse:
        return HTMLResponse(WITH_SDK)

    routes = [
        Route("/plain", plain),
        Route("/with", with_sdk),
        Route("/collect/v1/events", collect, methods=["POST"]),
        Mount("/sdk", StaticFiles(directory=SDK / "dist")),
    ]
    with serving(Starlette(routes=routes)) as url:
        yield url


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = str(prerequisites.chromium(os.environ))
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
