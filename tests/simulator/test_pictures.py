"""Pictures of the store: which there are, and that they stay small."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.simulator import catalog
from tests.simulator.pictures import take_pictures
from tests.web.fake_freshet import FakeFreshet
from tests.web.servers import serving
from web.store.app import create_app
from web.store.config import Config

MAX_BYTES = 150_000

pytestmark = pytest.mark.browser


@pytest.mark.timeout(120)
def test_three_small_pictures_are_taken_of_a_walk_through_the_store(
    browser: Browser, tmp_path: Path
) -> None:
    products = catalog.generate()
    catalog.write(products, tmp_path / "catalog.jsonl")
    items = [asdict(product) | {"item_id": product.id} for product in products]
    fake = FakeFreshet(catalog=items)
    with serving(fake.app()) as freshet:
        config = Config(freshet, freshet, tmp_path / "catalog.jsonl")
        with serving(create_app(config)) as store:
            taken = take_pictures(browser, store, tmp_path / "pictures")
    assert [path.name for path in taken] == [
        "store-home.png",
        "store-phone.png",
        "store-product.png",
    ]
    assert all(5_000 < path.stat().st_size < MAX_BYTES for path in taken)
    assert {event["event"] for event in fake.events} >= {"search", "click", "view_product"}
