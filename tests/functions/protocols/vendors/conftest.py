"""A page that has loaded the module's `SCRIPT`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.functions.protocols.vendors.pages import shop_page
from tests.stack import Stack


@pytest.fixture
def page(
    browser: Browser, collector_stack: Stack, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page of the shop with the vendor's script, which reaches the collector."""
    with shop_page(
        browser, request.module.SCRIPT, collector_stack.env["FRESHET_COLLECTOR_URL"]
    ) as page:
        yield page
