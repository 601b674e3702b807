"""Attributes: values by type, and what contradicts a type that is declared or known."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.attributes import (
    MAX_ATTRIBUTES,
    MAX_NAMES,
    AttributeSchema,
    AttributeType,
    AttributeValue,
)
from pipeline.core.invalid_item import InvalidItem

DECLARED: dict[str, AttributeType] = {
    "color": "text",
    "weight": "number",
    "adult": "boolean",
    "published": "time",
    "tags": "list",
}


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("color", " red ", "red"),
        ("weight", 2, 2.0),
        ("weight", "2.5", 2.5),
        ("adult", True, True),
        ("adult", "No", False),
        ("adult", 1, True),
        ("published", "2026-01-01T01:00:00+01:00", 1_767_225_600_000),
        ("published", 1_767_225_600_000, 1_767_225_600_000),
        ("published", "1950-01-01T00:00:00Z", -631_152_000_000),
        ("tags", ["new", " sale ", "new"], ["new", "sale"]),
        ("tags", "new", ["new"]),
        ("tags", "", []),
    ],
)
def test_a_value_is_read_as_its_declared_type(name: str, raw: Any, expected: Any) -> None:
    value = AttributeSchema(DECLARED).parse(name, raw)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("color", 5, "attributes.color: expected a text, got 5"),
        ("color", "x" * 257, "attributes.color: expected at most 256 characters, got xxx"),
        ("weight", "heavy", "attributes.weight: expected a finite number, got heavy"),
        ("weight", True, "attributes.weight: expected a finite number, got true"),
        ("weight", float("nan"), "attributes.weight: expected a finite number, got NaN"),
        ("weight", 10**400, "attributes.weight: expected a finite number, got 1000"),
        ("weight", {"kg": 5}, 'attributes.weight: expected a finite number, got {"kg": 5}'),
        ("adult", "maybe", "attributes.adult: expected true or false, got maybe"),
        ("adult", [], r"attributes.adult: expected true or false, got \[\]"),
        ("published", "yesterday", "attributes.published: expected an RFC 3339 time"),
        ("published", "2026-01-01", "attributes.published: expected an RFC 3339 time"),
        ("published", True, "attributes.published: expected an RFC 3339 time"),
        (
            "published",
            "9999-12-31T23:59:59.9999Z",
            "attributes.published: expected an RFC 3339 time",
        ),
        ("published", -1e14, "attributes.published: expected an RFC 3339 time"),
        ("published", 1e300, "attributes.published: expected an RFC 3339 time"),
        ("tags", [1], r"attributes.tags: expected a list of texts, got \[1\]"),
        ("tags", [["a"]], "attributes.tags: expected a list of texts"),
        ("tags", ["x" * 257], "attributes.tags: expected at most 256 characters"),
        ("tags", list(map(str, range(101))), "attributes.tags: expected at most 100 texts, got"),
        ("colour", "red", "attributes.colour: expected one of color, weight, adult, published"),
    ],
)
def test_a_value_of_another_type_is_refused_by_field_type_and_value(
    name: str, raw: Any, message: str
) -> None:
    with pytest.raises(InvalidItem, match=message):
        AttributeSchema(DECLARED).parse(name, raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("red", "text"), (2, "number"), (2.5, "number"), (False, "boolean"), (["a"], "list")],
)
def test_without_a_declaration_the_first_value_sets_the_type(
    raw: Any, expected: AttributeType
) -> None:
    schema = AttributeSchema()
    schema.learn({"x": schema.parse("x", raw)})
    assert schema.types == {"x": expected}


def test_a_value_that_contradicts_the_type_before_is_refused_and_changes_nothing() -> None:
    schema = AttributeSchema()
    schema.learn({"weight": 2.0})
    with pytest.raises(InvalidItem) as caught:
        schema.parse("weight", "heavy")
    assert str(caught.value) == (
        "attributes.weight: expected a finite number, as in items before, got heavy"
    )
    assert schema.parse("weight", "3") == 3.0
    assert schema.types == {"weight": "number"}


def test_parsing_alone_sets_no_type_for_the_item_may_be_refused() -> None:
    schema = AttributeSchema()
    schema.parse("weight", 2)
    assert schema.types == {}


def test_learning_leaves_declared_types_as_they_are() -> None:
    schema = AttributeSchema({"color": "text"})
    attributes: dict[str, AttributeValue] = {"color": 2.0, "weight": 1.0}
    schema.learn(attributes)
    assert schema.types == {"color": "text"}


def test_types_that_are_known_elsewhere_are_taken_for_names_that_have_none() -> None:
    schema = AttributeSchema()
    schema.learn({"weight": 2.0})
    schema.adopt({"weight": "text", "color": "text"})
    assert schema.types == {"weight": "number", "color": "text"}
    declared = AttributeSchema({"color": "text"})
    declared.adopt({"weight": "number"})
    assert declared.types == {"color": "text"}


@pytest.mark.parametrize("name", ["", "a-b", "1st", "x" * 65, "ü", "price", "and", "a b", 5])
def test_a_name_that_a_filter_cannot_hold_is_refused(name: Any) -> None:
    with pytest.raises(InvalidItem, match="attributes: expected a name"):
        AttributeSchema().parse(name, "x")
    with pytest.raises(InvalidItem, match="attributes: expected a name"):
        AttributeSchema({name: "text"})


def test_attributes_of_an_item_are_an_object_and_null_is_none() -> None:
    schema = AttributeSchema()
    assert schema.parse_all({"color": "red", "size": None}) == {"color": "red"}
    assert schema.parse_all(None) == {}
    with pytest.raises(InvalidItem, match=r"attributes: expected an object, got \[\]"):
        schema.parse_all([])


def test_attributes_of_an_item_and_names_in_all_are_bounded() -> None:
    many = {f"a{number}": 1 for number in range(MAX_ATTRIBUTES + 1)}
    with pytest.raises(InvalidItem, match="attributes: expected at most 100, got 101"):
        AttributeSchema().parse_all(many)
    schema = AttributeSchema()
    schema.learn({f"a{number}": 1.0 for number in range(MAX_NAMES)})
    with pytest.raises(InvalidItem, match=r"attributes\.b: expected at most 500 names in all"):
        schema.learn({"b": 1.0})
