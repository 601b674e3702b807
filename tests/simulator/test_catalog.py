"""The catalog: seeded, plausible, readable by the loader; and one read from a REES46 log."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from pipeline.core.catalog_rows import parse_item
from tests.simulator import catalog
from tests.simulator.catalog_details import kinds

ROW = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": "3900821",
    "category_id": "2053013552326770905",
    "category_code": "appliances.environment.water_heater",
    "brand": "aqua",
    "price": "33.20",
    "user_id": "554748717",
    "user_session": "9333dfbd",
}


def test_the_same_seed_gives_the_same_catalog_and_another_seed_another() -> None:
    assert catalog.generate(100, seed=1) == catalog.generate(100, seed=1)
    assert catalog.generate(100, seed=1) != catalog.generate(100, seed=2)


def test_two_thousand_products_differ_in_id_and_title_and_fill_every_category() -> None:
    products = catalog.generate()
    assert len({product.id for product in products}) == len(products) == 2_000
    assert len({product.title for product in products}) == 2_000
    per_category = Counter(product.category for product in products)
    assert set(per_category) == set(catalog.CATEGORIES) and min(per_category.values()) > 80
    assert len(per_category) == 24 and all(name.count(".") == 1 for name in per_category)


def test_prices_are_above_zero_and_a_few_products_are_out_of_stock() -> None:
    products = catalog.generate()
    assert min(product.price for product in products) > 0
    assert 0.01 < sum(not product.in_stock for product in products) / len(products) < 0.06


def test_each_product_is_described_by_what_it_is_made_of_and_measures() -> None:
    products = catalog.generate()
    nouns = {noun for _, nouns in catalog.CATEGORIES.values() for noun in nouns}
    assert set(kinds()) == nouns
    for product in products:
        assert product.description.count(". ") >= 1
        assert {"material", "colour"} < set(product.attributes)
        assert product.title.endswith(f", {product.attributes['colour'].title()}")
    assert len({product.description for product in products}) > 1_000


def test_the_loader_can_read_every_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "catalog.jsonl"
    assert catalog.main([str(path)]) == 0
    items = [parse_item(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [item.item_id for item in items] == [product.id for product in catalog.generate()]
    assert not any(item.stub for item in items)
    assert all(item.description and item.attributes["material"] for item in items)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    products = catalog.generate(50)
    catalog.write(products, tmp_path / "catalog.jsonl")
    assert catalog.read(tmp_path / "catalog.jsonl") == products


def test_a_rees46_log_gives_each_product_once_sorted_by_id_with_its_last_price() -> None:
    rows = [ROW, {**ROW, "product_id": "1004856"}, {**ROW, "price": "31.00"}]
    products = catalog.from_rees46(rows)
    assert [product.id for product in products] == ["1004856", "3900821"]
    assert products[1].price == 31.0
    assert (
        products[1].category == "appliances.environment.water_heater"
        and products[1].brand == "aqua"
    )


def test_a_rees46_product_without_a_category_code_takes_the_category_id() -> None:
    [product] = catalog.from_rees46([{**ROW, "category_code": "", "brand": "", "price": ""}])
    assert product.category == "cat.2053013552326770905"
    assert product.brand == "" and product.price == 0
