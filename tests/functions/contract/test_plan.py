"""A site's own plan: what it takes, what it says of the rest, and that nothing broken or foreign
gets into one.
"""

from __future__ import annotations

import copy
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.contract.plan import MAX_PLAN_BYTES, Plan
from pipeline.core.invalid_event import InvalidEvent
from pipeline.runtime.environ import InvalidConfig

EVENT: dict[str, Any] = {
    "event_id": "e1",
    "event": "purchase",
    "timestamp": "2026-01-01T12:00:00Z",
    "user_id": "u1",
    "product_id": "p1",
    "metadata": {"price": 12.5, "currency": "EUR"},
}
PURCHASE: dict[str, Any] = {
    "required": ["user_id"],
    "properties": {
        "metadata": {
            "required": ["price"],
            "properties": {
                "price": {"type": "number", "exclusiveMinimum": 0, "maximum": 10_000},
                "currency": {"enum": ["EUR", "USD"]},
                "items": {
                    "type": "array",
                    "items": {"properties": {"sku": {"$ref": "#/$defs/sku"}}},
                },
            },
        }
    },
    "$defs": {"sku": {"type": "string", "pattern": "^[a-z]+$"}},
}
PLAN = Plan.load({"events": {"purchase": PURCHASE}})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def violation(event: dict[str, Any], plan: Plan = PLAN) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as raised:
        plan.check(event)
    return raised.value


def told_of(plan: Plan, event: dict[str, Any]) -> str:
    """Field and reason of a violation; nothing when there is none."""
    try:
        plan.check(event)
    except InvalidEvent as error:
        return f"{error.field}: {error.reason}"
    return ""


def with_metadata(**metadata: Any) -> dict[str, Any]:
    return {**EVENT, "metadata": {**EVENT["metadata"], **metadata}}


def plan_of(schema: Any) -> Plan:
    return Plan.load({"events": {"purchase": schema}})


# ---- what it says of events


def test_an_event_that_keeps_the_plan_passes_and_stays_as_it_was() -> None:
    event = copy.deepcopy(EVENT)
    PLAN.check(event)
    assert event == EVENT


def test_a_violation_tells_the_path_the_rule_and_the_value() -> None:
    error = violation(with_metadata(price=10_001))
    assert error.field == "metadata.price"
    assert error.reason == (
        "violates rule /events/purchase/properties/metadata/properties/price/maximum:"
        " the value is greater than the maximum of 10000"
    )
    assert error.value == "10001"


def test_the_bounds_of_a_range_are_those_of_json_schema() -> None:
    PLAN.check(with_metadata(price=10_000))
    PLAN.check(with_metadata(price=5e-324))
    assert violation(with_metadata(price=0)).reason.endswith(
        "less than or equal to the minimum of 0"
    )


def test_what_is_missing_is_named() -> None:
    error = violation({**EVENT, "metadata": {}})
    assert (error.field, error.value) == ("metadata.price", None)
    assert "/properties/metadata/required: " in error.reason


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}, {"metadata": {}}])
def test_metadata_that_is_not_there_lacks_what_is_required_in_it(metadata: dict[str, Any]) -> None:
    event = {name: value for name, value in EVENT.items() if name != "metadata"}
    assert violation({**event, **metadata}).field == "metadata.price"


def test_a_field_that_is_null_is_not_there() -> None:
    assert violation({**EVENT, "user_id": None}).field == "user_id"
    for event in (with_metadata(price=None), {**EVENT, "metadata": {}, "price": None}):
        assert "/properties/metadata/required: " in violation(event).reason


def test_fields_beside_metadata_are_judged_as_they_will_be_stored() -> None:
    PLAN.check({**EVENT, "metadata": {}, "price": 3})
    PLAN.check({**EVENT, "price": -3})  # what metadata says goes first
    assert violation({**EVENT, "metadata": {}, "price": -3}).field == "metadata.price"


def test_a_path_goes_through_lists_and_references() -> None:
    error = violation(with_metadata(items=[{"sku": "a"}, {"sku": "B"}]))
    assert error.field == "metadata.items.1.sku"
    assert "/items/items/properties/sku/$ref/pattern: " in error.reason


def test_formats_are_checked() -> None:
    plan = plan_of({"properties": {"user_id": {"format": "email"}}})
    plan.check({**EVENT, "user_id": "a@example.com"})
    assert violation(EVENT, plan).field == "user_id"


def test_events_that_the_plan_does_not_name_are_taken_or_not_as_it_says() -> None:
    PLAN.check({**EVENT, "event": "newsletter_signup", "metadata": {}})
    strict = Plan.load({"unknown_events": "reject", "events": {"page_view": True}})
    strict.check({**EVENT, "event": "page_view"})
    error = violation(EVENT, strict)
    assert (error.field, error.value) == ("event", "purchase")
    assert error.reason == "violates rule /unknown_events: expected an event of the plan"


def test_an_event_may_be_forbidden() -> None:
    assert violation(EVENT, plan_of(False)).field == "event"


@pytest.mark.parametrize("event", [None, 3, [], {}, ["purchase"]])
def test_an_event_without_a_readable_name_is_left_to_the_contract(event: Any) -> None:
    Plan.load({"unknown_events": "reject", "events": {}}).check({**EVENT, "event": event})


SECRETIVE: dict[str, Any] = {
    "const": 1,
    "enum": [1],
    "pattern": "^1",
    "maxLength": 1,
    "format": "email",
    "type": "number",
    "not": {"type": "string"},
    "anyOf": [{"type": "number"}],
    "oneOf": [{"type": "string"}, {"minLength": 1}],
    "if": {"type": "string"},
    "contains": {"type": "number"},
    "uniqueItems": True,
    "maxItems": 1,
    "items": {"type": "number"},
    "prefixItems": [{"type": "number"}],
    "unevaluatedItems": False,
    "additionalProperties": False,
    "unevaluatedProperties": False,
    "propertyNames": {"maxLength": 1},
    "patternProperties": {"^S": False},
    "maxProperties": 0,
    "minProperties": 5,
    "dependentRequired": {"SECRET": ["b"]},
}


@pytest.mark.parametrize("keyword", SECRETIVE)
def test_neither_field_nor_reason_quotes_what_was_sent(keyword: str) -> None:
    """They are logged and become attributes of dead letters; what the plan itself says may stand in
    them.
    """
    rules = {keyword: SECRETIVE[keyword], **({"then": False} if keyword == "if" else {})}
    plan = plan_of({"properties": {"metadata": {"properties": {"x": rules}}}})
    values: list[Any] = ["SECRET!", ["SECRET!", "SECRET!"], {"SECRET": "SECRET!"}]
    told = "".join(told_of(plan, with_metadata(x=value)) for value in values)
    assert told
    assert "SECRET!" not in told
    assert "SECRET" not in told or keyword == "dependentRequired"


def test_of_an_object_or_a_list_nothing_is_shown() -> None:
    for value in ({"a": "whole basket"}, ["whole basket"]):
        assert violation(with_metadata(price=value)).value is None


@pytest.mark.parametrize("keyword", ["additionalProperties", "unevaluatedProperties"])
def test_a_name_that_only_the_sender_knows_is_a_star_and_shown_to_the_sender(keyword: str) -> None:
    plan = plan_of(
        {
            "properties": {
                "metadata": {"properties": {"price": True, "currency": True}, keyword: False}
            }
        }
    )
    error = violation(with_metadata(prise=1), plan)
    assert (error.field, error.value) == ("metadata.*", "prise")
    assert error.reason.endswith("no other fields are allowed")
    assert violation(
        with_metadata(deep={"x": 1}),
        plan_of({"properties": {"metadata": {keyword: {"type": "string"}}}}),
    )


def test_names_of_fields_that_a_rule_forbids_are_not_quoted() -> None:
    error = violation(
        with_metadata(SECRET=1),
        plan_of({"properties": {"metadata": {"propertyNames": {"maxLength": 5}}}}),
    )
    assert error.field == "metadata.*"
    assert error.reason.endswith("a name of a field is not allowed")


@given(JSON, st.sampled_from(["metadata", "price", "user_id", "event_id", "x", "\ud800"]))
def test_whatever_is_sent_passes_or_is_invalid(value: Any, name: str) -> None:
    for event in ({**EVENT, name: value}, with_metadata(**{name: value})):
        told = told_of(PLAN, event)
        assert not told or ": violates rule /events/purchase" in told


@pytest.mark.parametrize("value", ["\ud800", b"bytes", {1: 2}, datetime(2026, 1, 1, tzinfo=UTC)])
def test_what_is_no_json_is_invalid(value: Any) -> None:
    error = violation(with_metadata(currency=value))
    assert (error.field, error.reason) == (
        "event",
        "violates rule /events/purchase: expected plain JSON",
    )


def test_patterns_take_linear_time() -> None:
    plan = plan_of({"properties": {"user_id": {"pattern": "^(a+)+$"}}})
    started_s = time.perf_counter()
    assert violation({**EVENT, "user_id": "a" * 60_000 + "b"}, plan).field == "user_id"
    assert time.perf_counter() - started_s < 1.0


# ---- what a plan may be


def refused(source: Any) -> str:
    with pytest.raises(InvalidConfig) as raised:
        Plan.load(source)
    return str(raised.value)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (
            {"properties": {"metadata": {"properties": {"price": {"minimun": 1}}}}},
            "/properties/metadata/properties/price:",
        ),
        (
            {"requird": ["user_id"]},
            ": Unevaluated properties are not allowed ('requird' was unexpected)",
        ),
        ({"properties": {"user_id": {"type": "strin"}}}, "/properties/user_id/type: "),
        ({"properties": {"user_id": {"minLength": -1}}}, "/properties/user_id/minLength: "),
        ({"properties": {"a/b": {"pattern": "("}}}, "/properties/a~1b/pattern: "),
        ({"pattern": "(?=a)b"}, "/pattern: "),
        ({"pattern": r"(a)\1"}, "/pattern: "),
        ({"format": "emial"}, "/format: "),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema: "),
        ({"dependencies": {"a": ["b"]}}, "/dependencies: "),
        ({"$ref": "#/$defs/missing"}, ": "),
    ],
)
def test_a_broken_rule_stops_the_start_with_its_place(schema: Any, place: str) -> None:
    assert f"plan: /events/purchase{place}" in refused({"events": {"purchase": schema}})


def test_no_reference_leads_outside(tmp_path: Path) -> None:
    target = tmp_path / "other.json"
    target.write_text("{}")
    beside = (tmp_path / "plan.json").as_uri()
    for reference in (
        "https://example.com/x.json",
        "http://127.0.0.1:9/",
        target.as_uri(),
        str(target),
        "other.json",
    ):
        assert "/events/purchase" in refused({"events": {"purchase": {"$ref": reference}}})
        assert "/events/purchase" in refused({"events": {"purchase": {"$dynamicRef": reference}}})
        assert "/events/purchase" in refused(
            {"events": {"purchase": {"$id": beside, "$ref": reference}}}
        )


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"events": []},
        {"events": {"purchase": 3}},
        {"events": {"": {}}},
        {"events": {"a" * 257: {}}},
        {"events": {"a\n": {}}},
        {"events": {}, "unknown_events": "drop"},
        {"events": {}, "unknown_event": "reject"},
    ],
)
def test_the_outer_shape_is_checked(source: dict[str, Any]) -> None:
    assert refused(source).startswith("plan: ")


def test_keywords_of_ones_own_begin_with_x() -> None:
    plan_of({"x-owner": "shop", "properties": {"requird": {"x-note": 1}}}).check(EVENT)


def test_a_plan_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"events": {"purchase": PURCHASE}}))
    for source in (path, str(path)):
        assert violation(with_metadata(price=-1), Plan.load(source)).field == "metadata.price"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"events": {}}' + b" " * MAX_PLAN_BYTES],
)
def test_a_file_that_is_no_plan_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    assert refused(path).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_refused_with_its_path(tmp_path: Path) -> None:
    assert str(tmp_path / "missing.json") in refused(tmp_path / "missing.json")
