"""The client's copy of the wire contract says the same as the collector and the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freshet
import vertex.api.contract as api
from freshet import contract, questions
from freshet.events import encode_event
from pipeline.core import events, invalid_event, json_limits
from pipeline.core.event_types import EVENT_CODES, PRODUCT_EVENTS
from pipeline.core.metadata_fields import NUMBER_METADATA, TEXT_METADATA
from pipeline.core.privacy.consent import Consent
from pipeline.core.privacy.user_tokens import user_token
from pipeline.core.timestamps import format_time, parse_time
from vertex.api import catalog_routes

LAW = settings(deadline=None, derandomize=True)
NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


MOMENTS = [
    NOW,
    NOW + contract.MAX_AHEAD,
    NOW + contract.MAX_AHEAD + MS,
    NOW - contract.MAX_AGE,
    NOW - contract.MAX_AGE - MS,
]
IDS = [None, "u1", "", "x" * 256, "x" * 257, "a\nb", "\u200b", 7, True, ["u1"], {"id": "u1"}]
NUMBERS = [0, -1, -0.5, 1e15, 10**15, 10**15 + 1, 2e15, 10**400, True, "9.90", None]
NESTED = [nested(29), nested(30), nested(31), {"a": nested(29)}, {"a": nested(30)}]
METADATA = [
    {name: value}
    for name in sorted(TEXT_METADATA | NUMBER_METADATA | {"note", ""})
    for value in (*IDS, *NUMBERS, *NESTED)
]
EVENT: dict[str, list[Any]] = {
    "event_id": IDS,
    "event": [*EVENT_CODES, "size_guide", "", 7, None],
    "timestamp": [
        *(moment.isoformat() for moment in MOMENTS),
        None,
        "soon",
        "2025-01-01T12:00:00",
        1735732800,
    ],
    "user_id": IDS,
    "anonymous_id": IDS,
    "session_id": IDS,
    "product_id": IDS,
    "metadata": METADATA,
}
VALID: dict[str, Any] = {
    "event_id": "e1",
    "event": "click",
    "timestamp": NOW.isoformat(),
    "user_id": "u1",
    "metadata": {},
}
REQUEST: dict[str, list[Any]] = {
    "user_id": IDS,
    "user_token": [None, "", "t", 7],
    "anonymous_id": IDS,
    "session_id": IDS,
    "placement": IDS,
    "product_id": IDS,
    "product_ids": [None, [], ["p1"] * 20, ["p1"] * 21, [""], [7], "p1"],
    "k": [None, 0, 1, 100, 101, -1, "1", 1.5, True],
    "exclude": [None, [], ["p1"] * 1000, ["p1"] * 1001, [7], "p1"],
    "consent": [None, {"analytics": False}, {"analytics": "no"}, "no"],
    "deadline_ms": [None, 1, 0, -1, "1", 1.5],
    "context": [None, {}, {"country": "NL"}, {"country": 7}, "NL"],
}
ROWS = [
    [],
    [{"placement": "home"}],
    [{"placement": "home", "k": 0}],
    [{}],
    [{"placement": "h"}] * 13,
]
RANKED = [[], ["p1"], ["p1"] * 1_000, ["p1"] * 1_001, [""], [7], "p1"]
TYPED = ["", "so", "x" * 100, "x" * 101, 7]


def complaint(check: Callable[[], object]) -> str | None:
    """The field and the expectation of the error that a check raises."""
    try:
        check()
    except ValueError as error:
        return str(error).partition(", got")[0]
    return None


def compared(event: dict[str, Any]) -> str | None:
    """The complaint about an event, once it is the client's and the collector's alike."""
    here = complaint(partial(contract.check_event, event, NOW))
    assert here == complaint(partial(events.parse_event, dict(event), ingest_time=NOW)), event
    return here


def test_limits_are_the_collectors() -> None:
    assert contract.MAX_ID_LENGTH == events.MAX_ID_LENGTH
    assert contract.MAX_NUMBER == events.MAX_NUMBER
    assert contract.MAX_DEPTH == json_limits.MAX_DEPTH
    assert contract.MAX_EVENTS == events.MAX_EVENTS
    assert contract.MAX_EVENT_BYTES == events.MAX_EVENT_BYTES
    assert (contract.MAX_AGE, contract.MAX_AHEAD) == (events.MAX_AGE, events.MAX_AHEAD)
    assert contract.MAX_SHOWN == invalid_event.MAX_SHOWN


@pytest.mark.parametrize(
    "name",
    [
        "MAX_K",
        "MAX_EXCLUDED",
        "MAX_SEEDS",
        "MAX_ROWS",
        "MAX_RANKED",
        "MAX_TYPED",
        "MAX_SUGGESTIONS",
    ],
)
def test_limits_of_recommendations_are_the_apis(name: str) -> None:
    assert getattr(contract, name) == getattr(api, name)


def test_limits_of_lines_are_the_apis() -> None:
    assert contract.MAX_LINES == catalog_routes.MAX_LINES
    assert contract.MAX_LINES_BYTES == catalog_routes.MAX_LINES_BYTES


def test_names_are_the_collectors() -> None:
    assert contract.PRODUCT_EVENTS == PRODUCT_EVENTS
    assert contract.TEXT_METADATA == TEXT_METADATA
    assert contract.NUMBER_METADATA == NUMBER_METADATA
    assert contract.Consent.__struct_fields__ == Consent.__struct_fields__


@pytest.mark.parametrize("name", EVENT)
def test_a_field_is_valid_here_where_it_is_at_the_collector_and_the_error_is_the_same(
    name: str,
) -> None:
    complaints = {compared(VALID | {name: value}) for value in EVENT[name]}
    assert None in complaints and len(complaints) > 1


@settings(LAW, max_examples=300)
@given(
    st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in EVENT.items()}
    )
)
def test_of_several_invalid_fields_the_same_is_named_first(fields: dict[str, Any]) -> None:
    compared(VALID | fields)


SCALARS = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text())


@LAW
@given(st.dictionaries(st.text(max_size=9), SCALARS, max_size=3))
def test_an_event_that_the_client_encodes_is_valid_at_the_collector(
    metadata: dict[str, Any],
) -> None:
    fields = {"event_id": "e1", "event": "click", "user_id": "u1"}
    try:
        payload = encode_event(fields, metadata, None)
    except ValueError:
        return
    event = events.parse_event(payload, ingest_time=datetime.now(UTC))
    assert event.metadata == {name: value for name, value in metadata.items() if value is not None}


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@LAW
@given(st.datetimes(timezones=st.one_of(st.none(), ZONES)), st.booleans())
def test_times_are_read_and_written_as_the_collector_does(moment: datetime, as_text: bool) -> None:
    value = moment.isoformat() if as_text else moment
    here = complaint(partial(contract.parse_time, "timestamp", value))
    assert here == complaint(partial(parse_time, "timestamp", value))
    if here is None:
        parsed = contract.parse_time("timestamp", value)
        assert parsed == parse_time("timestamp", value) and parsed.tzinfo is UTC
        assert contract.format_time(parsed) == format_time(parsed)


@pytest.mark.parametrize("name", REQUEST)
def test_a_request_is_valid_here_where_it_is_at_the_api(name: str) -> None:
    for value in REQUEST[name]:
        fields = {"user_id": "u1"} | {name: value}
        here = complaint(partial(questions.encode_question, fields))
        there = complaint(
            partial(api.parse_request, msgspec.json.encode(fields), allow_as_of=False)
        )
        assert (here is None) == (there is None), fields


@pytest.mark.parametrize(
    ("kind", "parse", "field", "values"),
    [
        (questions.RowsQuestion, api.parse_page_request, "rows", ROWS),
        (questions.RankQuestion, api.parse_rank_request, "items", RANKED),
        (questions.SuggestQuestion, api.parse_suggest_request, "q", TYPED),
    ],
)
def test_other_questions_are_valid_here_where_they_are_at_the_api(
    kind: type[msgspec.Struct], parse: Callable[..., object], field: str, values: list[Any]
) -> None:
    complaints = set()
    for value in values:
        fields = {"user_id": "u1", field: value}
        body = msgspec.json.encode(fields)
        asked = (body,) if parse is api.parse_suggest_request else (body, False)
        here = complaint(partial(questions.encode_question, fields, kind))
        there = complaint(partial(parse, *asked))
        assert (here is None) == (there is None), (fields, here, there)
        complaints.add(here)
    assert None in complaints and len(complaints) > 1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (questions.Question, api.Request),
        (questions.RowsQuestion, api.PageRequest),
        (questions.Row, api.RowRequest),
        (questions.RankQuestion, api.RankRequest),
        (questions.SuggestQuestion, api.SuggestRequest),
    ],
)
def test_a_field_that_a_request_leaves_out_means_the_same_at_the_api(
    ours: type[msgspec.Struct], theirs: type[msgspec.Struct]
) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(theirs)}
    for field in msgspec.structs.fields(ours):
        same = fields[field.name].default
        assert field.default == same or field.name == "context", field.name


@LAW
@given(st.binary(min_size=16, max_size=64), st.text())
def test_a_user_token_is_the_one_that_the_collector_expects(key: bytes, user_id: str) -> None:
    assert freshet.user_token(key, user_id) == user_token(key, user_id)
