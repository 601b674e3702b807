"""The client's copy of the wire contract says what the collector and the API say, value by value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.core.events as collector
import vertex.api.contract as api
from freshet import contract, recommendations
from freshet import user_token as client_user_token
from freshet.events import encode_event
from pipeline.core.consent import Consent
from pipeline.core.user_tokens import user_token

LAW = settings(deadline=None, derandomize=True)
NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
MOMENTS = [
    NOW,
    NOW + contract.MAX_AHEAD,
    NOW + contract.MAX_AHEAD + MS,
    NOW - contract.MAX_AGE,
    NOW - contract.MAX_AGE - MS,
]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


TEXTS = st.sampled_from([None, "u1", "", "x" * 256, "x" * 257, "a\nb", "\u200b", 7, True, ["u1"], {"id": "u1"}])
TIMES = st.sampled_from([moment.isoformat() for moment in MOMENTS] + [None, "soon", "2025-01-01T12:00:00", 1735732800])
NUMBERS = st.sampled_from([0, -1, -0.5, 1e15, 1.1e15, 10**15, 10**15 + 1, 10**400, True, "9.90", None])
NAMES = st.sampled_from([*sorted(collector.EVENT_NAMES), "size_guide", None, "", 7])
METADATA = st.dictionaries(
    st.sampled_from(sorted(collector.TEXT_METADATA | collector.NUMBER_METADATA | {"note", "", "x y"})),
    st.one_of(NUMBERS, TEXTS, st.integers(29, 33).map(nested), st.just({"a": nested(30)})),
    max_size=2,
)
EVENTS = st.fixed_dictionaries(
    {
        "event_id": TEXTS,
        "event": NAMES,
        "timestamp": TIMES,
        "user_id": TEXTS,
        "anonymous_id": TEXTS,
        "session_id": TEXTS,
        "product_id": TEXTS,
        "metadata": METADATA,
    }
)
# Most of a generated event is valid, so that each check gets its turn.
VALID = {"event_id": "e1", "event": "click", "timestamp": NOW.isoformat(), "user_id": "u1", "metadata": {}}


def complaint(check: Callable[[], object]) -> str | None:
    """The field and the expectation of the error that a check raises."""
    try:
        check()
    except ValueError as error:
        return str(error).partition(", got")[0]
    return None


@pytest.mark.parametrize(
    "name",
    [
        "MAX_ID_LENGTH",
        "MAX_NUMBER",
        "MAX_DEPTH",
        "MAX_EVENTS",
        "MAX_EVENT_BYTES",
        "MAX_AGE",
        "MAX_AHEAD",
        "PRODUCT_EVENTS",
        "TEXT_METADATA",
        "NUMBER_METADATA",
        "MAX_SHOWN",
    ],
)
def test_limits_are_the_collectors(name: str) -> None:
    assert getattr(contract, name) == getattr(collector, name)


@pytest.mark.parametrize("name", ["MAX_K", "MAX_EXCLUDED"])
def test_limits_of_recommendations_are_the_apis(name: str) -> None:
    assert getattr(contract, name) == getattr(api, name)


@settings(LAW, max_examples=300)
@given(EVENTS, st.sets(st.sampled_from(sorted({*VALID, "anonymous_id", "session_id", "product_id"})), max_size=3))
def test_an_event_is_valid_here_where_it_is_there_and_an_error_says_the_same(
    generated: dict[str, Any], invalid: set[str]
) -> None:
    event = VALID | {name: generated[name] for name in invalid}
    here = complaint(lambda: contract.check_event(event, NOW))
    assert here == complaint(lambda: collector.parse_event(dict(event), ingest_time=NOW))


@pytest.mark.parametrize("name", ["event_id", "event", "timestamp", "user_id", "session_id", "metadata"])
def test_the_comparison_reaches_the_check_of_each_field(name: str) -> None:
    wrong: dict[str, Any] = {"timestamp": "soon", "metadata": {"price": -1}}
    event = VALID | {name: wrong.get(name, "")}
    here = complaint(lambda: contract.check_event(event, NOW))
    assert here is not None and here.startswith(name)


@LAW
@given(
    st.dictionaries(
        st.text(max_size=9), st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text()), max_size=3
    )
)
def test_an_event_that_the_client_encodes_is_valid_at_the_collector(metadata: dict[str, Any]) -> None:
    try:
        payload = encode_event({"event_id": "e1", "event": "click", "user_id": "u1"}, metadata, None)
    except ValueError:
        return
    event = collector.parse_event(payload, ingest_time=datetime.now(UTC))
    assert event.metadata == {name: value for name, value in metadata.items() if value is not None}


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@LAW
@given(st.datetimes(timezones=st.one_of(st.none(), ZONES)), st.booleans())
def test_times_are_read_and_written_as_the_collector_does(moment: datetime, as_text: bool) -> None:
    value = moment.isoformat() if as_text else moment
    here = complaint(lambda: contract.parse_time("timestamp", value))
    assert here == complaint(lambda: collector.parse_time("timestamp", value))
    if here is None:
        parsed = contract.parse_time("timestamp", value)
        assert parsed == collector.parse_time("timestamp", value) and parsed.tzinfo is UTC
        assert contract.format_time(parsed) == collector.format_time(parsed)


def test_a_consent_answers_the_collectors_questions() -> None:
    assert contract.Consent.__struct_fields__ == Consent.__struct_fields__


@settings(LAW, max_examples=300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "user_id": TEXTS,
            "user_token": TEXTS,
            "anonymous_id": TEXTS,
            "session_id": TEXTS,
            "placement": TEXTS,
            "product_id": TEXTS,
            "k": st.sampled_from([1, 0, 100, 101, -1, "1", 1.5, True]),
            "exclude": st.sampled_from([[], ["p1"] * 1000, ["p1"] * 1001, [7], "p1"]),
            "consent": st.sampled_from([None, {"analytics": False}, {"analytics": "no"}]),
        },
    )
)
def test_a_request_is_valid_here_where_it_is_at_the_api(fields: dict[str, Any]) -> None:
    here = complaint(lambda: recommendations.encode_request(fields))
    there = complaint(lambda: api.parse_request(msgspec.json.encode(fields), allow_as_of=False))
    assert (here is None) == (there is None)


def test_what_a_request_leaves_out_means_the_same_at_the_api() -> None:
    theirs = {field.name: field for field in msgspec.structs.fields(api.Request)}
    for field in msgspec.structs.fields(recommendations.Request):
        assert field.default == theirs[field.name].default


@LAW
@given(st.binary(min_size=16, max_size=64), st.text())
def test_a_user_token_is_the_one_that_the_collector_expects(key: bytes, user_id: str) -> None:
    assert client_user_token(key, user_id) == user_token(key, user_id)
