"""Attributes in columns are those that were put last, each of its column's type."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.attribute_columns import MAX_COLUMNS, AttributeColumns
from pipeline.core.attributes import AttributeType, AttributeValue

TYPES: dict[str, AttributeType] = {
    "colour": "text",
    "weight": "number",
    "adult": "boolean",
    "published": "time",
    "sizes": "list",
}
ATTRIBUTES = st.fixed_dictionaries(
    {},
    optional={
        "colour": st.sampled_from(["red", "blue"]),
        "weight": st.floats(-5, 5),
        "adult": st.booleans(),
        "published": st.integers(0, 2_000_000_000_000),
        "sizes": st.lists(st.sampled_from(["s", "m", "l"]), min_size=1, max_size=3),
    },
)
ROWS = st.integers(0, 90)


def at(row: int) -> np.ndarray:
    return np.array([row], np.int32)


def read(columns: AttributeColumns, row: int) -> dict[str, AttributeValue]:
    """The known attributes of a row."""
    found: dict[str, AttributeValue] = {}
    for name, kind in columns.types.items():
        if kind == "text":
            found[name] = columns.texts(name).text(row)
        elif kind == "list":
            found[name] = columns.lists(name).texts(row)
        else:
            found[name] = float(columns.values(name).get(at(row))[0])
    return {name: value for name, value in found.items() if is_known(value)}


def is_known(value: AttributeValue) -> bool:
    if isinstance(value, float):
        return value == value
    return bool(value)


@given(st.lists(st.tuples(ROWS, st.none() | ATTRIBUTES), max_size=40), st.booleans())
def test_a_row_has_the_attributes_that_were_put_last_and_no_others(
    writes: list[tuple[int, dict[str, AttributeValue] | None]], is_declared: bool
) -> None:
    columns = AttributeColumns(TYPES if is_declared else {"published": "time"})
    columns.reserve(91)
    expected: list[dict[str, AttributeValue]] = [{} for _ in range(91)]
    for row, attributes in writes:
        if attributes is None:
            columns.remove(row)
        else:
            columns.put(row, attributes)
        expected[row] = attributes or {}
    assert [read(columns, row) for row in range(91)] == expected
    assert columns.mistyped == {} and columns.left_out == 0


def test_a_value_of_another_type_than_its_column_is_unknown_and_counted() -> None:
    columns = AttributeColumns()
    columns.put(0, {"weight": 2.5, "adult": True})
    columns.put(1, {"weight": "heavy", "adult": False})
    columns.put(0, {"weight": True, "adult": 1.0})
    assert [read(columns, row) for row in (0, 1)] == [{}, {"adult": 0.0}]
    assert columns.mistyped == {"weight": 2, "adult": 1}


def test_names_beyond_the_bound_are_left_out_and_counted() -> None:
    columns = AttributeColumns()
    columns.put(0, {f"a{number}": float(number) for number in range(MAX_COLUMNS)})
    columns.put(1, {"one_more": "x", "a0": 7.0, f"a{MAX_COLUMNS - 1}": 8.0})
    assert len(columns.types) == MAX_COLUMNS and "one_more" not in columns.types
    assert read(columns, 1) == {"a0": 7.0, f"a{MAX_COLUMNS - 1}": 8.0}
    assert columns.left_out == 1
    columns.put(0, {})
    assert read(columns, 0) == {}


def test_rows_before_an_attribute_came_lack_it() -> None:
    columns = AttributeColumns()
    columns.put(500, {})
    columns.put(3, {"colour": "red"})
    assert read(columns, 500) == {} and read(columns, 3) == {"colour": "red"}


def test_the_mapping_of_types_is_another_one_as_soon_as_a_name_is_added() -> None:
    columns = AttributeColumns({"colour": "text"})
    before = columns.types
    columns.put(0, {"colour": "red"})
    assert columns.types is before
    columns.put(0, {"weight": 1.0})
    assert columns.types is not before and columns.types["weight"] == "number"
