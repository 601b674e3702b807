"""Expressions find the catalog's fields and the shop's attributes of the items in memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.core.attributes import RESERVED
from pipeline.core.catalog import Item
from pipeline.core.expressions.compiler import compile_expression
from pipeline.core.expressions.syntax import KEYWORDS
from pipeline.core.item_columns import ItemColumns
from pipeline.core.item_fields import CATALOG_KINDS
from pipeline.core.items import ItemRow, ItemStats

NOW_MS = 1_764_547_200_000
DAY_MS = 86_400_000
SHIRT = Item(
    "shirt",
    category="clothes.men",
    brand="acme",
    price=20.0,
    published_ms=NOW_MS - 2 * DAY_MS,
    expires_ms=NOW_MS + DAY_MS,
    group="shirts",
    regions=["nl", "be"],
    attributes={"adult": True, "sizes": ["s", "m"], "weight": 1.5, "colour": "red"},
)
BARE = Item("bare", in_stock=False)


def shelf(*items: Item) -> ItemColumns:
    return ItemColumns.of(ItemRow(item, ItemStats()) for item in items)


def chosen(items: ItemColumns, text: str) -> list[str]:
    """The ids of the items that an expression accepts."""
    rows = items.all_rows()
    expression = compile_expression(text, items.fields.types)
    return items.ids(rows[expression.mask(items.fields, rows, {"now": NOW_MS})])


@pytest.mark.parametrize(
    "text",
    [
        'item_id in ["shirt", "unheard-of"]',
        'item_id = "shirt"',
        "price <= 20",
        'category under "clothes"',
        'brand = "acme"',
        'group = "shirts"',
        "in_stock",
        "not in_stock = false",
        "age < 3d and age > 1d",
        "published_at < now and expires_at > now",
        "has(regions) and has(group) and has(price) and has(item_id) and has(age)",
        'adult and "m" in sizes and weight > 1 and colour = "red"',
    ],
)
def test_a_field_is_that_of_the_item(text: str) -> None:
    items = shelf(SHIRT, BARE)
    assert chosen(items, text) == ["shirt"]


def test_no_attribute_has_the_name_of_a_field_or_a_word_of_the_language() -> None:
    assert {*CATALOG_KINDS, *KEYWORDS} <= RESERVED


def test_an_item_without_regions_is_available_everywhere() -> None:
    items = shelf(SHIRT, BARE)
    assert chosen(items, '"be" in regions') == ["shirt", "bare"]
    assert chosen(items, '"de" in regions') == ["bare"]
    assert chosen(items, "not has(regions)") == ["bare"]


def test_an_item_written_anew_has_no_value_of_before() -> None:
    items = shelf(SHIRT)
    items.put(ItemRow(msgspec.structs.replace(BARE, item_id="shirt"), ItemStats()))
    known = ("price", "brand", "group", "regions", "age", "adult", "sizes", "weight", "colour")
    assert [name for name in known if chosen(items, f"has({name})")] == []


def test_a_row_that_another_item_gets_has_no_value_of_the_one_before() -> None:
    items = shelf(SHIRT)
    items.remove("shirt")
    items.put(ItemRow(BARE, ItemStats()))
    assert len(items.all_rows()) == 1
    assert chosen(items, "has(adult) or has(sizes) or has(regions) or has(age)") == []


def test_the_types_are_the_same_object_until_an_attribute_comes() -> None:
    items = shelf(SHIRT)
    before = items.fields.types
    items.put(ItemRow(msgspec.structs.replace(SHIRT, item_id="other"), ItemStats()))
    assert items.fields.types is before
    material: dict[str, Any] = {"material": "wool"}
    items.put(ItemRow(Item("wool", attributes=material), ItemStats()))
    assert chosen(items, 'material = "wool"') == ["wool"]
