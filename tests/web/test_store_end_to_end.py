"""One click in a real browser, through collector, Pub/Sub, pipeline, Bigtable and API, and back
onto the page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.simulator import catalog
from tests.stack import Stack
from tests.stack.bootstrap import bigquery_client
from tests.stack.prerequisites import REPO

pytestmark = [pytest.mark.browser, pytest.mark.end_to_end, pytest.mark.timeout(300)]

CARDS = ".picks .card:not(.skeleton)"
PROFILE_WITHIN_S = 20.0
LOG_WITHIN_S = 60.0

T = TypeVar("T")


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Stack:
    """The whole stack with a catalog of 240 products, which the API has read."""
    path = Path(stack.env["FRESHET_CATALOG"])
    catalog.write(catalog.generate(240, seed=5), path)
    command = [sys.executable, "-m", "pipeline.ops.catalog", str(path)]
    subprocess.run(command, cwd=REPO, env={**os.environ, **stack.env}, check=True)
    stack.restart_process("api")
    return stack


def eventually(read: Callable[[], T], good: Callable[[T], bool], within_s: float) -> T:
    """The first value that is good; what was read last when none was in time."""
    deadline = time.monotonic() + within_s
    while not good(value := read()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return value


def row(page: Page) -> list[str]:
    ids: list[str] = page.eval_on_selector_all(
        CARDS, "(cards) => cards.map((card) => card.dataset.item)"
    )
    return ids


def logged(env: dict[str, str], visitor: str) -> Counter[str]:
    """event id -> rows of it in the event log of this visitor."""
    query = f"select event_id from `{env['FRESHET_DATASET']}.events` where visitor = '{visitor}'"
    with bigquery_client(env) as client:
        return Counter(line["event_id"] for line in client.query_and_wait(query))


def test_one_click_changes_the_page_and_reaches_profile_and_log(shop: Stack, page: Page) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.goto(shop.env["FRESHET_STORE_URL"])
    page.evaluate("() => { window.neverReloaded = true; }")
    page.wait_for_selector(CARDS)
    page.get_by_role("button", name="What Freshet knows").click()
    before, headline = row(page), page.inner_text(".banner h2")
    assert len(before) == 12

    item = before[0]
    page.click(f".picks .card[data-item={item}] a")

    page.wait_for_function(
        """([before, headline]) => {
            const cards = [...document.querySelectorAll(".picks .card:not(.skeleton)")];
            const shown = cards.map((card) => card.dataset.item);
            const title = document.querySelector(".banner h2");
            return shown.length > 0 && shown.join() !== before.join() && title !== null && title.innerText !== headline;
        }""",
        arg=[before, headline],
    )
    assert page.evaluate("() => window.neverReloaded") is True
    assert item not in row(page)

    view = page.locator(f".events li[data-event=view_product][data-item={item}]")
    expect(view).to_have_attribute("data-state", "in-profile", timeout=PROFILE_WITHIN_S * 1000)
    expect(page.locator(f"[data-profile-item={item}]")).to_have_count(1)
    expect(view).to_contain_text("profile +")
    assert page.get_attribute("[data-served-by]", "data-served-by") in (
        "vertex",
        "local",
        "trending",
    )

    anonymous_id = page.evaluate("() => JSON.parse(localStorage['freshet.identity']).anonymousId")
    view_id = view.get_attribute("data-event-id") or ""
    question = {
        "anonymous_id": anonymous_id,
        "event_id": view_id,
        "event": "view_product",
        "product_id": item,
    }
    profile = httpx.get(
        f"{shop.env['FRESHET_API_URL']}/v1/profile", params=question, timeout=10
    ).json()
    assert profile["contains_event"] is True
    assert profile["last_item"] == item

    rows = eventually(
        lambda: logged(shop.env, f"a#{anonymous_id}"), lambda found: view_id in found, LOG_WITHIN_S
    )
    assert rows[view_id] == 1
    assert complaints == []
