"""The catalog: rows as JSON and CSV give them, and what is refused with field, expectation and
value.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.catalog import (
    Item,
    decode_item,
    department,
    encode_item,
    parse_item,
    stub_item,
)
from pipeline.core.invalid_item import InvalidItem
from tests.pipeline.core.streams import event, laws


def test_a_json_row_is_read_field_by_field() -> None:
    row = {
        "id": "p1",
        "title": " Lamp ",
        "category": "home.light",
        "brand": "b",
        "price": 12.5,
        "image": "i",
        "url": "u",
        "in_stock": False,
        "colour": "red",
    }
    assert parse_item(row) == Item("p1", "Lamp", "home.light", "b", 12.5, "i", "u", in_stock=False)


def test_a_csv_row_of_texts_is_read_the_same() -> None:
    row = {
        "item_id": " p1 ",
        "title": "Lamp",
        "price": "12.50",
        "in_stock": "No",
        "category": "",
        "brand": "",
    }
    assert parse_item(row) == Item("p1", "Lamp", price=12.5, in_stock=False)


def test_what_is_missing_or_null_has_its_default() -> None:
    assert parse_item({"id": "p1", "title": None, "price": None, "in_stock": None}) == Item("p1")
    assert parse_item({"id": "p1", "price": "", "in_stock": ""}) == Item("p1")


@pytest.mark.parametrize(("value", "expected"), [(7, "7"), (0, "0"), ("ü", "ü")])
def test_an_id_may_be_a_number(value: object, expected: str) -> None:
    assert parse_item({"id": value}).item_id == expected


@pytest.mark.parametrize("value", [True, "true", "1", "YES", "y", 1])
def test_true_has_many_spellings(value: object) -> None:
    assert parse_item({"id": "p", "in_stock": value}).in_stock is True


@pytest.mark.parametrize("value", [False, "false", "0", "no", " N ", 0])
def test_so_has_false(value: object) -> None:
    assert parse_item({"id": "p", "in_stock": value}).in_stock is False


@pytest.mark.parametrize(
    ("changes", "field", "reason", "value"),
    [
        ({"id": None}, "id", "expected 1 to 256 printable characters", ""),
        ({"id": "  "}, "id", "expected 1 to 256 printable characters", ""),
        ({"id": "x" * 257}, "id", "expected 1 to 256 printable characters", "x" * 77 + "..."),
        ({"id": "a\x00b"}, "id", "expected 1 to 256 printable characters", "a\x00b"),
        ({"id": True}, "id", "expected a text", "true"),
        ({"id": ["p"]}, "id", "expected a text", '["p"]'),
        ({"title": 5}, "title", "expected a text", "5"),
        ({"category": ["a"]}, "category", "expected a text", '["a"]'),
        ({"category": "c" * 257}, "category", "expected at most 256 characters", "c" * 77 + "..."),
        ({"brand": "b" * 257}, "brand", "expected at most 256 characters", "b" * 77 + "..."),
        ({"price": "cheap"}, "price", "expected a number", "cheap"),
        ({"price": []}, "price", "expected a number", "[]"),
        ({"price": 10**400}, "price", "expected a number", "1" + "0" * 76 + "..."),
        ({"price": True}, "price", "expected a finite number of at least 0", "true"),
        ({"price": "-1"}, "price", "expected a finite number of at least 0", "-1"),
        ({"price": "nan"}, "price", "expected a finite number of at least 0", "nan"),
        ({"price": float("inf")}, "price", "expected a finite number of at least 0", "Infinity"),
        ({"in_stock": "maybe"}, "in_stock", "expected true or false", "maybe"),
    ],
    ids=lambda v: None,
)
def test_a_bad_row_is_refused_by_field_expectation_and_value(
    changes: dict[str, Any], field: str, reason: str, value: str
) -> None:
    with pytest.raises(InvalidItem) as caught:
        parse_item({"id": "p1", **changes})
    assert caught.value.as_dict() == {"field": field, "reason": reason, "value": value}


@laws
@given(
    st.builds(
        Item,
        st.text(min_size=1),
        st.text(),
        st.text(),
        st.text(),
        st.floats(0, 1e9),
        st.text(),
        st.text(),
        st.booleans(),
        st.booleans(),
    )
)
def test_an_item_is_read_as_it_was_written(item: Item) -> None:
    assert decode_item(encode_item(item)) == item


def test_a_department_is_the_first_part_of_a_path() -> None:
    assert [department(c) for c in ("electronics.audio.tv", "shoes", "")] == [
        "electronics",
        "shoes",
        "",
    ]


def test_a_stub_is_what_the_event_tells_of_its_item() -> None:
    view = event(
        product_id="p9",
        metadata={"title": "Lamp", "category": "c", "brand": "b", "price": 3, "x": 1},
    )
    assert stub_item(view) == Item("p9", "Lamp", "c", "b", 3.0, stub=True)
    assert stub_item(event(product_id="p9")) == Item("p9", stub=True)


def test_an_event_without_a_product_makes_no_stub() -> None:
    with pytest.raises(InvalidItem, match="product_id: required to make a stub"):
        stub_item(event("scroll"))
