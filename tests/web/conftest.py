"""A headless Chromium, the fake collector and API, and the real store server, all on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.stack.prerequisites import REPO
from tests.web.fake_freshet import FakeFreshet
from tests.web.servers import serving
from web.store.app import create_app
from web.store.config import Config

SDK = REPO / "web" / "sdk"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@dataclass
class Site:
    """Addresses of a store whose collector and API are the fake's."""

    store: str
    freshet: str
    fake: FakeFreshet
    catalog: Path

    def write_catalog(self) -> None:
        """Write the fake's items to the store's file."""
        lines = [json.dumps(item) + "\n" for item in self.fake.catalog]
        self.catalog.write_text("".join(lines), encoding="utf-8")


def sample_catalog() -> list[dict[str, object]]:
    """48 items in four categories."""
    nouns = {
        "electronics.audio": "Headphones",
        "home.lighting": "Desk Lamp",
        "apparel.shoes": "Sneakers",
        "garden.plants": "Fern",
    }
    return [
        {
            "item_id": f"i{number:02d}",
            "title": f"Oakmere Classic {noun} {number}, Sand",
            "category": category,
            "brand": "Oakmere",
            "price": 20.0 + number,
        }
        for number, (category, noun) in enumerate([*nouns.items()] * 12)
    ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    fake = FakeFreshet(catalog=sample_catalog())
    catalog = tmp_path / "catalog.jsonl"
    with serving(fake.app()) as freshet:
        config = Config(collector_url=freshet, api_url=freshet, catalog=catalog)
        with serving(create_app(config)) as store:
            site = Site(store=store, freshet=freshet, fake=fake, catalog=catalog)
            site.write_catalog()
            yield site


@pytest.fixture(scope="session")
def sdk_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the SDK's two builds, made anew from the source."""
    if not (SDK / "node_modules" / ".bin" / "esbuild").exists():
        pytest.fail("the SDK's build tools are missing: make sdk")
    folder = tmp_path_factory.mktemp("sdk")
    subprocess.run(
        ["node", str(SDK / "build.mjs"), str(folder)], check=True, capture_output=True, timeout=60
    )
    return folder


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
