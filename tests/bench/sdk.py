"""The browser SDK's size, and what it costs a page's main thread in Chromium, plainly and on a CPU
slowed to a quarter.

A load is measured beside the same page without the SDK: DevTools' TaskDuration, all that the main
thread did until the page was idle, in the thread's own time, so that other programs do not count.
100 events are tracked in one go: the time that `track` itself held the thread, and all that
followed until they were sent.
"""

from __future__ import annotations

import gzip
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from tests.bench.rows import Row, row
from tests.conftest import CHROMIUM_ARGS
from tests.stack.prerequisites import REPO, chromium
from tests.web.fake_freshet import FakeFreshet
from tests.web.servers import serving

SDK = REPO / "web" / "sdk"
MAX_GZIPPED_BYTES = 6_000
SLOWDOWNS = {"": 1, "_slow_cpu": 4}
LOADS, BURSTS = 15, 9
LONG_TASK_MS = 50  # what browsers call one
SETTLE_MS = 1_500
EVENTS = 100
PAGE = (
    """<title>A page</title><link rel="icon" href="data:,">{tag}<h1>A page</h1>
<ul>"""
    + "".join(
        f"<li data-freshet-click data-freshet-product='p{n}'>Product {n}</li>" for n in range(200)
    )
    + "</ul>"
)
TAG = (
    '<script async src="{own}/files/sdk/freshet.global.js" data-collector="{own}" '
    'data-api="{own}"></script>'
)
WATCH_LONG_TASKS = """window.longTasks = [];
new PerformanceObserver((list) => list.getEntries().forEach((task) => longTasks.push(task.duration)))
    .observe({ type: "longtask", buffered: true });"""
BURST = f"""() => {{
    const startedMs = performance.now();
    for (let n = 0; n < {EVENTS}; n += 1) freshet.track("view_product", {{ product_id: `p${{n}}`, price: n, category: "home" }});
    return performance.now() - startedMs;
}}"""


def run() -> list[Row]:
    """Measure; takes about three minutes."""
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        subprocess.run(
            ["node", str(SDK / "build.mjs"), folder], check=True, capture_output=True, timeout=60
        )
        fake = FakeFreshet(folders={"sdk": build})
        with serving(fake.app()) as own, sync_playwright() as playwright:
            fake.pages = {
                "without": PAGE.format(tag=""),
                "with": PAGE.format(tag=TAG.format(own=own)),
            }
            browser = playwright.chromium.launch(
                executable_path=str(chromium(os.environ)), args=CHROMIUM_ARGS
            )
            try:
                return _sizes(build) + [
                    it
                    for name, slow in SLOWDOWNS.items()
                    for it in _times(browser, own, name, slow)
                ]
            finally:
                browser.close()


def _sizes(build: Path) -> list[Row]:
    packed = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in build.iterdir()}
    return [
        row("sdk_module_gzipped", packed["freshet.js"], "bytes", MAX_GZIPPED_BYTES),
        row("sdk_script_tag_gzipped", packed["freshet.global.js"], "bytes", MAX_GZIPPED_BYTES),
    ]


def _times(browser: Browser, own: str, name: str, slowdown: int) -> list[Row]:
    without, loaded = _loads(browser, (f"{own}/pages/without", f"{own}/pages/with"), slowdown)
    held, total, longest = _bursts(browser, f"{own}/pages/with", slowdown)
    return [
        row(f"sdk_load{name}", loaded - without, "ms", None, "the page without it", without),
        row(f"sdk_{EVENTS}_events{name}", held, "ms", None, "and all that follows", total),
        row(f"sdk_{EVENTS}_events_longest_task{name}", longest, "ms", LONG_TASK_MS),
    ]


def _loads(browser: Browser, urls: tuple[str, str], slowdown: int) -> tuple[float, float]:
    """Medians for the two pages, loaded in turns."""
    pairs = [[_load(browser, url, slowdown) for url in urls] for _ in range(LOADS + 1)]
    first, second = zip(*pairs[1:], strict=True)  # the first loads fill caches
    return statistics.median(first), statistics.median(second)


def _open(browser: Browser, url: str, slowdown: int) -> tuple[Page, CDPSession]:
    page = browser.new_context().new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    session.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    page.add_init_script(WATCH_LONG_TASKS)
    page.goto(url)
    page.wait_for_timeout(SETTLE_MS)
    return page, session


def _load(browser: Browser, url: str, slowdown: int) -> float:
    """ms of main thread that one load takes."""
    page, session = _open(browser, url, slowdown)
    used_ms = _task_ms(session)
    page.context.close()
    return used_ms


def _bursts(browser: Browser, url: str, slowdown: int) -> tuple[float, float, float]:
    """Medians of (ms in `track`, ms of main thread until all is sent), and the longest task of 50
    ms or more among them, or 0.
    """
    held, total, longest = [], [], 0.0
    for _ in range(BURSTS):
        page, session = _open(browser, url, slowdown)
        page.evaluate("() => { longTasks.length = 0; }")
        before = _task_ms(session)
        held.append(float(page.evaluate(BURST)))
        page.wait_for_timeout(SETTLE_MS)
        total.append(_task_ms(session) - before)
        longest = max(longest, *page.evaluate("() => [0, ...longTasks]"))
        page.context.close()
    return statistics.median(held), statistics.median(total), longest


def _task_ms(session: CDPSession) -> float:
    metrics = {it["name"]: it["value"] for it in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"]) * 1000
