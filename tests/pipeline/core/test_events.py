"""The event contract: what passes, what does not, and that every refusal names field, expectation
and value.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.events import (
    MAX_AGE,
    MAX_AHEAD,
    MAX_ID_LENGTH,
    MAX_NUMBER,
    Event,
    WireEvent,
    accept_event,
    accept_wire,
    decode_message,
    encode_message,
    parse_event,
)
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import MAX_DEPTH
from pipeline.core.profile_keys import profile_key
from pipeline.core.timestamps import format_time
from tests.pipeline.core.streams import laws

NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
GOOD: dict[str, Any] = {
    "event_id": "e1",
    "event": "click",
    "timestamp": "2025-01-01T12:00:00Z",
    "user_id": "u1",
}
HUGE = 10**5000  # more digits than Python turns into a text


def parse(**changes: Any) -> Event:
    return parse_event({**GOOD, **changes}, ingest_time=NOW)


def refusal(raw: dict[str, Any] | bytes, backfill: bool = False) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(raw, ingest_time=NOW, backfill=backfill)
    return caught.value


def message(**changes: Any) -> bytes:
    return json.dumps({"events": [{**GOOD, **changes}]}).encode()


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_whole_event_is_read_field_by_field() -> None:
    raw = {
        **GOOD,
        "anonymous_id": "a1",
        "session_id": "s1",
        "product_id": "p1",
        "timestamp": "2025-01-01T13:30:00.250+01:30",
        "metadata": {"category": "shoes", "price": 9.5, "position": 0},
    }
    expected = Event(
        event_id="e1",
        event="click",
        timestamp=NOW + 250 * MS,
        user_id="u1",
        anonymous_id="a1",
        session_id="s1",
        product_id="p1",
        ingest_time=NOW,
        metadata={"category": "shoes", "price": 9.5, "position": 0},
    )
    assert parse_event(raw, ingest_time=NOW) == expected
    assert parse_event(json.dumps(raw).encode(), ingest_time=NOW) == expected
    assert expected.time_ms == 1735732800250


LONG = "x" * 10_000
BAD_FIELDS: list[tuple[dict[str, Any], str, str, str | None]] = [
    # changes, field, expectation, value shown
    ({"event": None}, "event", "required", None),
    ({"event": ""}, "event", "expected 1 to 256 printable characters", ""),
    ({"event": 7}, "event", "expected a text", "7"),
    ({"event_id": None}, "event_id", "required", None),
    ({"event_id": LONG}, "event_id", "expected 1 to 256 printable characters", LONG[:77] + "..."),
    ({"event_id": ["e"]}, "event_id", "expected a text", '["e"]'),
    ({"user_id": None}, "user_id", "expected user_id or anonymous_id", None),
    ({"user_id": ""}, "user_id", "expected 1 to 256 printable characters", ""),
    ({"user_id": HUGE}, "user_id", "expected a text", "unprintable int"),
    ({"user_id": nested(5000)}, "user_id", "expected a text", "[[[["),
    ({"anonymous_id": True}, "anonymous_id", "expected a text", "true"),
    ({"session_id": "s\n1"}, "session_id", "expected 1 to 256 printable characters", "s\n1"),
    ({"product_id": "p\x00"}, "product_id", "expected 1 to 256 printable characters", "p\x00"),
    ({"product_id": 1.5}, "product_id", "expected a text", "1.5"),
    ({"timestamp": None}, "timestamp", "expected an RFC 3339 time with a zone", None),
    ({"timestamp": 1735732800}, "timestamp", "expected an RFC 3339 time with a zone", "1735732800"),
    ({"timestamp": "yesterday"}, "timestamp", "expected an RFC 3339 time with a zone", "yesterday"),
    (
        {"timestamp": "2025-01-01T12:00:00"},
        "timestamp",
        "expected an RFC 3339 time with a zone",
        "2025-01-01T12:00:00",
    ),
    (
        {"timestamp": "1970-01-01T00:00:00Z"},
        "timestamp",
        "expected at most 48 h before ingest",
        "1970-01-01T00:00:00",
    ),
    (
        {"timestamp": "2100-01-01T00:00:00Z"},
        "timestamp",
        "expected at most 5 min after ingest",
        "2100-01-01T00:00:00",
    ),
    (
        {"timestamp": "0001-01-01T00:00:00+10:00"},
        "timestamp",
        "expected an RFC 3339 time with a zone",
        "0001-01-01",
    ),
    (
        {"timestamp": "9999-12-31T23:59:59-10:00"},
        "timestamp",
        "expected an RFC 3339 time with a zone",
        "9999-12-31",
    ),
    ({"metadata": [1]}, "metadata", "expected an object", "[1]"),
    ({"metadata": {"price": "9"}}, "metadata.price", "expected a finite number", "9"),
    ({"metadata": {"price": float("nan")}}, "metadata.price", "expected a finite number", "NaN"),
    (
        {"metadata": {"price": float("inf")}},
        "metadata.price",
        "expected a finite number",
        "Infinity",
    ),
    (
        {"metadata": {"price": HUGE}},
        "metadata.price",
        "expected a finite number",
        "unprintable int",
    ),
    ({"metadata": {"price": -0.01}}, "metadata.price", "expected a number of 0 to 1e+15", "-0.01"),
    (
        {"metadata": {"position": 10**19}},
        "metadata.position",
        "expected a number of 0 to 1e+15",
        "1" + "0" * 19,
    ),
    ({"metadata": {"quantity": True}}, "metadata.quantity", "expected a finite number", "true"),
    ({"propensity": "high"}, "metadata.propensity", "expected a finite number", "high"),
    ({"metadata": {"category": 3}}, "metadata.category", "expected a text", "3"),
    ({"metadata": {"query": ["a"]}}, "metadata.query", "expected a text", '["a"]'),
    (
        {"metadata": {"deep": nested(MAX_DEPTH - 1)}},
        "metadata.deep",
        "expected at most 32 levels of nesting",
        None,
    ),
]


@pytest.mark.parametrize(("changes", "field", "reason", "value"), BAD_FIELDS, ids=lambda v: None)
def test_a_bad_field_is_refused_by_name_expectation_and_value(
    changes: dict[str, Any], field: str, reason: str, value: str | None
) -> None:
    error = refusal({**GOOD, **changes})
    assert error.field == field
    assert error.reason.startswith(reason)
    assert (error.value or "").startswith(value or "") and len(error.value or "") <= 80
    assert (error.value is None) == (value is None)
    assert (
        str(error)
        == f"{error.field}: {error.reason}, got {'nothing' if value is None else error.value}"
    )
    assert error.as_dict() == {"field": error.field, "reason": error.reason, "value": error.value}


@pytest.mark.parametrize(
    "name", ["view_product", "add_to_cart", "remove_from_cart", "purchase", "impression"]
)
def test_an_event_about_a_product_must_name_it(name: str) -> None:
    error = refusal({**GOOD, "event": name})
    assert (error.field, error.reason) == ("product_id", f"required for {name}")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "body"),
        (b"\xff\xfe\xfa", "body"),
        (b'{"user_id": "\xc3\x28"}', "body"),
        (b'{"event": NaN}', "body"),
        (b"{" * 100_000, "body"),
        (b"[" * 100_000 + b"]" * 100_000, "body"),
        (b"[]", "event"),
        (b"null", "event"),
        (b'"text"', "event"),
    ],
)
def test_bytes_that_hold_no_json_object_are_refused(raw: bytes, field: str) -> None:
    assert refusal(raw).field == field


def test_an_integer_of_thousands_of_digits_is_refused_from_bytes_too() -> None:
    digits = b"9" * 5000
    raw = (
        b'{"event": "click", "event_id": "e", "user_id": "u", "timestamp": "2025-01-01T12:00:00Z", '
        b'"price": ' + digits
    )
    assert refusal(raw + b"}").field in ("metadata.price", "body")


def test_unknown_fields_are_kept_under_metadata_where_metadata_itself_wins() -> None:
    parsed = parse(colour="red", price=3, metadata={"price": 4, "size": "L"})
    assert parsed.metadata == {"colour": "red", "price": 4, "size": "L"}


def test_the_clients_own_ingest_time_is_not_believed() -> None:
    parsed = parse(ingest_time="1999-01-01T00:00:00Z")
    assert parsed.ingest_time == NOW and parsed.metadata == {}


def test_metadata_null_is_none_at_all_and_null_values_pass() -> None:
    assert parse(metadata=None).metadata == {}
    assert parse(metadata={"price": None, "category": None}).metadata == {
        "price": None,
        "category": None,
    }


def test_a_custom_event_name_passes() -> None:
    assert parse(event="my_own_event").event == "my_own_event"


def test_an_id_of_the_longest_length_passes_and_one_more_character_does_not() -> None:
    assert parse(user_id="ü" * MAX_ID_LENGTH).user_id == "ü" * MAX_ID_LENGTH
    assert refusal({**GOOD, "user_id": "ü" * (MAX_ID_LENGTH + 1)}).field == "user_id"


def test_the_largest_number_passes() -> None:
    assert parse(metadata={"price": MAX_NUMBER}).number("price") == MAX_NUMBER


def test_nesting_to_the_limit_passes() -> None:
    assert parse(metadata={"deep": nested(MAX_DEPTH - 2)}).metadata["deep"] == nested(MAX_DEPTH - 2)


@pytest.mark.parametrize(
    ("moment", "backfill", "passes"),
    [
        (NOW - MAX_AGE, False, True),
        (NOW - MAX_AGE - MS, False, False),
        (NOW + MAX_AHEAD, False, True),
        (NOW + MAX_AHEAD + MS, False, False),
        (NOW - MAX_AGE - MS, True, True),
        (datetime(2000, 1, 1, tzinfo=UTC), True, True),
        (datetime(2000, 1, 1, tzinfo=UTC) - MS, True, False),
        (datetime(1970, 1, 1, tzinfo=UTC), True, False),
        (NOW + MAX_AHEAD, True, True),
        (NOW + MAX_AHEAD + MS, True, False),
        (datetime(2100, 1, 1, tzinfo=UTC), True, False),
    ],
)
def test_time_limits_hold_to_the_millisecond(
    moment: datetime, backfill: bool, passes: bool
) -> None:
    raw = {**GOOD, "timestamp": format_time(moment)}
    if passes:
        assert parse_event(raw, ingest_time=NOW, backfill=backfill).timestamp == moment
    else:
        assert refusal(raw, backfill).field == "timestamp"


def test_text_and_number_give_the_default_where_metadata_holds_something_else() -> None:
    odd = Event(
        event_id="e",
        event="x",
        timestamp=NOW,
        metadata={"price": HUGE, "category": 5, "brand": "b" * 300},
    )
    assert odd.number("price", 7.0) == 7.0 and odd.number("nothing") == 0.0
    assert odd.text("category") == "" and odd.text("nothing") == ""
    assert odd.text("brand") == "b" * 256


def test_a_message_holds_what_was_put_in() -> None:
    events = [
        parse(),
        parse(event_id="e2", product_id="p", metadata={"price": 1, "more": {"a": [1, None, "ü"]}}),
    ]
    assert decode_message(encode_message(events)) == events
    assert decode_message(encode_message([])) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"[]", "body"),
        (b'{"events": null}', "body"),
        (b'{"events": [{}]}', "body"),
        (b'{"events": [1]}', "body"),
        (b"\xff", "body"),
        (b'{"events":' + b"[" * 100_000, "body"),
        (message(event_id=""), "event_id"),
        (message(event_id=LONG), "event_id"),
        (message(event=""), "event"),
        (message(user_id=None), "user_id"),
        (message(user_id=""), "user_id"),
        (message(user_id=5), "body"),
        (message(product_id=""), "product_id"),
        (message(product_id=LONG), "product_id"),
        (message(event="purchase"), "product_id"),
        (message(timestamp="2025-01-01T12:00:00"), "timestamp"),
        (message(timestamp="1999-12-31T23:59:59Z"), "timestamp"),
        (message(timestamp="2100-01-01T00:00:00Z"), "timestamp"),
        (message(timestamp="0001-01-01T00:00:00+10:00"), "timestamp"),
        (message(ingest_time="0001-01-01T00:00:00+10:00"), "ingest_time"),
        (message(metadata={"price": "much"}), "metadata.price"),
        (message(metadata={"position": 10**19}), "metadata.position"),
        (message(metadata={"query": 5}), "metadata.query"),
        (message(metadata={"deep": nested(40)}), "metadata.deep"),
        (message(metadata={"deep": nested(900)}), "metadata.deep"),
    ],
    ids=lambda v: None,
)
def test_a_message_that_skipped_the_collector_is_refused_where_it_would_stop_the_stream(
    body: bytes, field: str
) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode_message(body)
    assert caught.value.field == field


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
ALMOST_EVENTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from([good, "", "x" * 300, "2025-01-01", "9999-12-31T23:59:59-23:59"])
        | JSON_VALUES
        for name, good in {
            **GOOD,
            "product_id": "p",
            "session_id": "s",
            "ingest_time": "2025-01-01T00:00:00Z",
        }.items()
    }
    | {
        "metadata": st.dictionaries(
            st.sampled_from(["price", "category", "position", "x"]), JSON_VALUES
        )
    },
)


def outcome(body: bytes) -> list[Event] | InvalidEvent:
    try:
        return decode_message(body)
    except InvalidEvent as error:
        return error


@laws
@given(st.binary(max_size=200))
def test_whatever_bytes_come_only_invalid_event_is_raised(body: bytes) -> None:
    outcome(body)
    with pytest.raises(InvalidEvent):
        parse_event(body, ingest_time=NOW)


@laws
@given(st.lists(ALMOST_EVENTS, max_size=3))
def test_whatever_json_comes_a_message_is_events_or_one_refusal(
    events: list[dict[str, Any]],
) -> None:
    found = outcome(json.dumps({"events": events}).encode())
    if isinstance(found, list):
        assert decode_message(encode_message(found)) == found
        assert all(
            format_time(event.timestamp) and event.time_ms > 0 and profile_key(event)
            for event in found
        )


@laws
@given(ALMOST_EVENTS)
def test_whatever_object_comes_an_accepted_event_passes_the_pipelines_own_check(
    raw: dict[str, Any],
) -> None:
    try:
        accepted = parse_event(raw, ingest_time=NOW, backfill=True)
    except InvalidEvent:
        return
    assert decode_message(encode_message([accepted])) == [accepted]


def wires() -> st.SearchStrategy[dict[str, Any]]:
    """Events as a quick reader takes them, some of them broken in ways that its types do not
    see."""
    texts = st.sampled_from(["e1", "", "x" * 256, "x" * 257, "tab\t", "ünï", "\u200b"])
    metadata = st.dictionaries(
        st.sampled_from(["price", "category", "quantity", "other"]),
        st.sampled_from([1, -1, 1.5, 1e16, True, None, "x", [1], {"a": {"b": 1}}]),
        max_size=3,
    )
    return st.fixed_dictionaries(
        {
            "event_id": texts,
            "event": st.sampled_from(["click", "purchase", "custom", "", "x" * 257]),
            "timestamp": st.sampled_from(
                [
                    "2025-01-01T12:00:00Z",
                    "2025-01-01T13:00:00+01:00",
                    "2025-01-01T12:00:00",
                    "2001-01-01T00:00:00Z",
                ]
            ),
        },
        optional={"user_id": texts, "anonymous_id": texts, "session_id": texts, "product_id": texts}
        | {"metadata": metadata},
    )


@settings(max_examples=500, deadline=None, derandomize=True)
@given(wires(), st.sampled_from([None, timedelta(hours=1), timedelta(days=400)]))
def test_the_quick_way_accepts_what_the_other_accepts_and_makes_the_same_of_it(
    fields: dict[str, Any], shift: timedelta | None
) -> None:
    ingest_time = datetime(2025, 1, 1, 12, 0, tzinfo=UTC) + (shift or timedelta())
    quick = accept_wire(msgspec.convert(fields, WireEvent), ingest_time=ingest_time, shift=shift)
    try:
        slow = accept_event(dict(fields), ingest_time=ingest_time, shift=shift)
    except InvalidEvent:
        assert quick is None
    else:
        assert quick == slow
