"""A question is read whole or refused with field, expectation and value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.protocols.native.protocol import read_batch
from pipeline.core.privacy.consent import StatedConsent
from vertex.api.contract import (
    InvalidRequest,
    ProfileRequest,
    Request,
    parse_profile_request,
    parse_rank_request,
    parse_request,
)


def parse(allow_as_of: bool = False, **fields: Any) -> Request:
    return parse_request(json.dumps(fields).encode(), allow_as_of)


def test_an_empty_question_asks_for_the_home_page_and_as_many_items_as_it_shows() -> None:
    request = parse()

    assert (request.placement, request.k, request.variant) == ("home", None, "personalized")
    assert request.profile_keys() == []


def test_null_is_as_good_as_absent_and_unknown_fields_are_no_mistake() -> None:
    assert parse(product_id=None, colour="blue") == Request()


def test_half_a_character_in_a_pending_event_is_mended_as_the_collector_mends_it() -> None:
    event = {"event": "search", "anonymous_id": "a1", "metadata": {"query": "abc\ud83d"}}
    body = json.dumps({"anonymous_id": "a1", "events": [event]}).encode()
    mended, collected = (
        parse_request(body, False).events[0],
        read_batch(json.dumps(event).encode()).events[0].facts[0],
    )
    assert mended["metadata"] == collected["metadata"] == {"query": "abc\ufffd"}


def test_a_denial_is_not_lost_to_a_consent_that_comes_again() -> None:
    body = b'{"consent": {"personalization": false}, "cons\\u0065nt": {"personalization": true}}'
    assert parse_request(body, False).consent == StatedConsent(personalization=False)


def test_both_ids_name_two_profiles_the_account_first() -> None:
    assert parse(user_id="1", anonymous_id="2").profile_keys() == ["u#1", "a#2"]


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"k": 0}, "k", "0"),
        ({"k": 101}, "k", "101"),
        ({"k": "many"}, "k", "many"),
        ({"user_id": ""}, "user_id", ""),
        ({"user_id": "u" * 257}, "user_id", None),
        ({"variant": "best"}, "variant", "best"),
        ({"events": {}}, "events", "{}"),
        ({"exclude": "p1"}, "exclude", "p1"),
        ({"product_ids": "p1"}, "product_ids", "p1"),
        ({"product_ids": ["p1", ""]}, "product_ids[1]", None),
        ({"product_ids": ["p"] * 21}, "product_ids", None),
        ({"cursor": "page 2"}, "cursor", "page 2"),
        ({"cursor": 2}, "cursor", "2"),
        ({"explain": "yes"}, "explain", "yes"),
        ({"sent_at": "yesterday"}, "sent_at", "yesterday"),
        ({"sent_at": "2025-01-01T00:00:00"}, "sent_at", "2025-01-01T00:00:00"),
        ({"as_of": "2025-01-01T00:00:00Z"}, "as_of", "2025-01-01T00:00:00Z"),
    ],
)
def test_a_mistake_is_named(fields: dict[str, Any], field: str, value: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)

    assert caught.value.field == field
    assert value is None or caught.value.value == value


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({}, "items", None),
        ({"items": []}, "items", "[]"),
        ({"items": "p1"}, "items", "p1"),
        ({"items": ["p1", ""]}, "items[1]", None),
        ({"items": ["p1", 2]}, "items[1]", None),
        ({"items": ["p"] * 1_001}, "items", None),
        ({"items": ["p1"], "keep": -1}, "keep", "-1"),
        ({"items": ["p1"], "keep": "much"}, "keep", "much"),
        ({"items": ["p1"], "keep": 1, "scores": [1, 2]}, "scores", "2"),
        ({"items": ["p1"], "keep": 1, "scores": [None]}, "scores[0]", None),
        ({"items": ["p1"], "keep": 1, "scores": [10**400]}, "scores[0]", None),
        ({"items": ["p1"], "scores": [1]}, "keep", "0.0"),
        ({"items": ["p1"], "explain": True}, "explain", "true"),
        ({"items": ["p1"], "as_of": "2025-01-01T00:00:00Z"}, "as_of", "2025-01-01T00:00:00Z"),
        ({"items": ["p1"], "user_id": ""}, "user_id", ""),
    ],
)
def test_a_mistake_in_a_list_is_named(
    fields: dict[str, Any], field: str, value: str | None
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_rank_request(json.dumps(fields).encode(), False, allow_explain=False)

    assert caught.value.field == field
    assert value is None or caught.value.value == value


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="body"):
        parse_request(body, False)


def test_another_moment_may_be_asked_for_where_that_is_allowed() -> None:
    request = parse(allow_as_of=True, as_of="2019-10-01T02:00:00+02:00")

    assert request.as_of is not None
    assert request.as_of.isoformat() == "2019-10-01T00:00:00+00:00"
    with pytest.raises(InvalidRequest, match="as_of"):
        parse(allow_as_of=True, as_of="yesterday")


@pytest.mark.parametrize(
    "question",
    [
        {"user_id": "1", "event_id": "e1", "event": "click"},
        b'{"user_id": "1", "event_id": "e1", "event": "click"}',
    ],
)
def test_a_look_at_a_profile_is_read_from_a_query_or_a_body(
    question: bytes | dict[str, str],
) -> None:
    request = parse_profile_request(question, False)

    assert request == ProfileRequest(user_id="1", event_id="e1", event="click")
    assert request.profile_keys() == ["u#1"]


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "u" * 257}, "user_id"),
        ({"anonymous_id": "a" * 257}, "anonymous_id"),
        ({"user_id": "1", "event_id": "e" * 257}, "event_id"),
        ({"user_id": "1", "event_id": "e1"}, "event"),
        (
            {"user_id": "1", "event_id": "e1", "event": "click", "product_id": "p" * 257},
            "product_id",
        ),
        ({"user_id": "1", "as_of": "2025-01-01T00:00:00Z"}, "as_of"),
        (b'{"anonymous_id": 7}', "anonymous_id"),
        (b"7", "body"),
    ],
)
def test_a_mistaken_look_at_a_profile_is_named(
    question: bytes | dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_profile_request(question, False)

    assert caught.value.field == field
