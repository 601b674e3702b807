"""Fields of JSON values, found, set and taken by their path."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.dead_letters import field_paths

EVENT: dict[str, Any] = {
    "a": {"b": {"c": 1}},
    "list": [{"x": 1}, {"x": 2}],
    "dotted.name": 3,
    "null": None,
    "text": "t",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b.c", 1),
        ("a.b", {"c": 1}),
        ("list.1.x", 2),
        ("list.2.x", None),
        ("list.-1.x", None),
        ("list.x", None),
        ("list.1", {"x": 2}),
        ("dotted.name", 3),
        ("text.a", None),
        ("null.a", None),
        ("", None),
        (".", None),
        ("a..c", None),
        ("list.9999999999", None),
    ],
)
def test_a_field_is_found_by_its_path(path: str, found: Any) -> None:
    assert field_paths.get(EVENT, path) == found


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("a.b.c", {"a": {"b": {"c": 9}}}),
        ("a.new", {"a": {"b": {"c": 1}, "new": 9}}),
        ("new.made.here", {"new": {"made": {"here": 9}}}),
        ("null.x", {"null": {"x": 9}}),
        ("list.0.x", {"list": [{"x": 9}, {"x": 2}]}),
        ("list.1", {"list": [{"x": 1}, 9]}),
        ("dotted.name", {"dotted.name": 9}),
    ],
)
def test_a_field_is_set_with_the_objects_that_lead_to_it(
    path: str, changed: dict[str, Any]
) -> None:
    event = copy.deepcopy(EVENT)
    assert field_paths.put(event, path, 9)
    assert event == EVENT | changed


@pytest.mark.parametrize("path", ["list.2", "list.2.x", "list.x", "text.x", "text.x.y"])
def test_what_nothing_can_hold_is_not_set(path: str) -> None:
    event = copy.deepcopy(EVENT)
    assert not field_paths.put(event, path, 9)
    assert event == EVENT


def test_a_field_is_taken_out() -> None:
    event = copy.deepcopy(EVENT)
    for path in ("a.b.c", "list.0", "dotted.name", "no.such", "list.7", "text.x"):
        field_paths.take(event, path)
    assert event == {"a": {"b": {}}, "list": [{"x": 2}], "null": None, "text": "t"}


def test_in_a_form_a_dot_is_a_part_of_the_name() -> None:
    form: dict[str, Any] = {"ep.name": "a", "ep": {"name": "b"}}
    assert field_paths.get(form, "ep.name", flat=True) == "a"
    assert field_paths.put(form, "epn.value", "1", flat=True)
    field_paths.take(form, "ep.name", flat=True)
    assert form == {"ep": {"name": "b"}, "epn.value": "1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "a.b", "0", ""]), inner)
    ),
    max_leaves=8,
)
PATHS = st.lists(st.sampled_from(["a", "b", "0", "1", "", "-1"]), min_size=1, max_size=4).map(
    ".".join
)


@given(value=JSON, path=PATHS, flat=st.booleans())
def test_what_is_set_is_found_and_what_is_taken_is_not(value: Any, path: str, flat: bool) -> None:
    before = copy.deepcopy(value)
    if not field_paths.put(value, path, "new", flat=flat):
        assert value == before
        return
    assert field_paths.get(value, path, flat=flat) == "new"
    if isinstance(value, dict):
        field_paths.take(value, path, flat=flat)
        assert field_paths.get(value, path, flat=flat) != "new"
