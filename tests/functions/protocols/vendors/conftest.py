"""A browser for a module, and in it a page that has loaded the module's `SCRIPT`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.functions.protocols.vendors.pages import shop_page
from tests.stack import Stack
from tests.web.conftest import CHROMIUM_ARGS


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=CHROMIUM_ARGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, collector_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of the shop with the vendor's script, which reaches the collector."""
    with shop_page(browser, request.module.SCRIPT, collector_stack.env["FRESHET_COLLECTOR_URL"]) as page:
        yield page
