"""Rows of the catalog: as JSON and CSV give them, what is refused with field, expectation and
value, and what a patch changes.
"""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.attributes import AttributeSchema
from pipeline.core.catalog import Item
from pipeline.core.catalog_rows import (
    check_fields,
    describe_item,
    parse_item,
    patch_item,
    read_row,
)
from pipeline.core.invalid_item import InvalidItem

TIME = "an RFC 3339 time with a zone, or ms since the Unix epoch"
CURRENCIES = [f"A{a}{b}" for a in "ABC" for b in "ABCDEFGHIJKLMNOPQ"]
LARGE = {f"a{n}": [f"{m}" + "x" * 200 for m in range(100)] for n in range(4)}
FULL = {
    "item_id": "p1",
    "title": "Lamp",
    "category": "home.light",
    "brand": "b",
    "price": 12.5,
    "image": "i",
    "url": "u",
    "in_stock": True,
    "description": "A lamp.",
    "attributes": {"color": "red", "weight": 2.5, "adult": False, "tags": ["new", "sale"]},
    "published_at": "2026-01-01T00:00:00.000Z",
    "expires_at": "2026-02-01T00:00:00.000Z",
    "group": "lamps",
    "prices": {"EUR": 11.0, "GBP": 10.0},
    "regions": ["nl", "be"],
}


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
        (
            {"description": "d" * 5001},
            "description",
            "expected at most 5000 characters",
            "d" * 77 + "...",
        ),
        ({"attributes": []}, "attributes", "expected an object", "[]"),
        ({"attributes": {"a": {}}}, "attributes.a", "expected a text", "{}"),
        ({"group": "g" * 257}, "group", "expected at most 256 characters", "g" * 77 + "..."),
        ({"published_at": "soon"}, "published_at", f"expected {TIME}", "soon"),
        ({"expires_at": True}, "expires_at", f"expected {TIME}", "true"),
        (
            {"published_at": 5, "expires_at": 5},
            "expires_at",
            "expected a time after published_at",
            "1970-01-01T00:00:00.005Z",
        ),
        ({"prices": [1]}, "prices", "expected an object of prices by currency", "[1]"),
        ({"prices": {"eur": 1}}, "prices", "expected a currency such as EUR", "eur"),
        ({"prices": {"EUR": "dear"}}, "prices.EUR", "expected a number", "dear"),
        ({"prices": dict.fromkeys(CURRENCIES, 1)}, "prices", "expected at most 50", "51"),
        ({"regions": "nl"}, "regions", "expected a list of texts", "nl"),
        ({"regions": [" "]}, "regions", "expected 1 to 64 characters", " "),
        ({"regions": list(map(str, range(501)))}, "regions", "expected at most 500", "501"),
        (
            {"attributes": LARGE},
            "item",
            "expected at most 65536 bytes as stored",
            None,
        ),
    ],
    ids=lambda v: None,
)
def test_a_bad_row_is_refused_by_field_expectation_and_value(
    changes: dict[str, Any], field: str, reason: str, value: str | None
) -> None:
    with pytest.raises(InvalidItem) as caught:
        parse_item({"id": "p1", **changes})
    expected = {"field": field, "reason": reason, "value": value or caught.value.value}
    assert caught.value.as_dict() == expected


def test_a_row_with_all_fields_is_described_as_it_was_read() -> None:
    item = parse_item(FULL)
    assert describe_item(item) == {**FULL, "stub": False}
    assert parse_item(describe_item(item)) == item
    assert (item.published_ms, item.expires_ms) == (1_767_225_600_000, 1_769_904_000_000)


def test_a_patch_changes_the_fields_that_it_names_and_no_other() -> None:
    patched = patch_item(parse_item(FULL), {"price": 9, "in_stock": False}, AttributeSchema())
    assert describe_item(patched) == {**FULL, "price": 9.0, "in_stock": False, "stub": False}


def test_a_patch_changes_attributes_and_prices_name_by_name_and_null_is_the_default() -> None:
    changes = {
        "attributes": {"weight": None, "color": "blue"},
        "prices": {"GBP": None, "USD": 12},
        "group": None,
        "expires_at": None,
        "regions": ["de"],
    }
    patched = patch_item(parse_item(FULL), changes, AttributeSchema())
    assert patched.attributes == {"color": "blue", "adult": False, "tags": ["new", "sale"]}
    assert patched.prices == {"EUR": 11.0, "USD": 12.0}
    assert (patched.group, patched.expires_ms, patched.regions) == ("", None, ["de"])
    emptied = patch_item(patched, {"attributes": None, "prices": None}, AttributeSchema())
    assert (emptied.attributes, emptied.prices) == ({}, {})


def test_a_misspelt_field_is_refused_with_a_guess() -> None:
    check_fields(FULL)
    with pytest.raises(InvalidItem) as caught:
        check_fields({"id": "p", "in_stok": False})
    assert str(caught.value) == (
        "in_stok: expected a field of an item, or a name in attributes (did you mean in_stock?), "
        "got false"
    )


@pytest.mark.parametrize(
    ("json", "shown"),
    [(b"not json", "not json"), (b"[1]", "[1]"), (b"[" * 30_000, None), (b"", "")],
)
def test_what_is_no_json_object_is_refused(json: bytes, shown: str | None) -> None:
    with pytest.raises(InvalidItem, match=r"^item: expected ") as caught:
        read_row(json)
    assert caught.value.value == shown


def test_a_row_of_json_has_its_half_characters_mended() -> None:
    title = parse_item(read_row(rb'{"id": "p", "title": "a\ud800"}')).title
    assert title == "a\ufffd"
