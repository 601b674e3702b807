"""The pixel: what a query says, and that whoever shows it always gets an image."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.accept import Terms, sort_events
from functions.http.exchange import Incoming
from functions.protocols.pixel import protocol as pixel
from pipeline.core.events import decode_message
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import DENIED, GRANTED, Consent
from pipeline.core.privacy.field_policy import FieldPolicy
from pipeline.core.privacy.policy import Privacy
from tests.functions.pubsub import Topics

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)


def incoming(query: str) -> Incoming:
    return Incoming("GET", "/v1/pixel.gif", query, {}, b"", NOW)


def fields(query: str) -> dict[str, Any]:
    (translated,) = pixel.read(incoming(query)).events
    return dict(translated.facts[0])


def test_the_contracts_fields_are_taken_and_the_rest_is_metadata() -> None:
    query = (
        "event=view_product&user_id=u1&product_id=p%201&price=9.5&campaign=spring&key=k&session_id="
    )
    assert fields(query) == {
        "event": "view_product",
        "user_id": "u1",
        "product_id": "p 1",
        "timestamp": "2025-01-01T12:00:00.000Z",
        "metadata": {"price": 9.5, "campaign": "spring"},
    }
    assert pixel.read(incoming(query)).write_key == "k"


def test_without_an_event_it_is_a_page_view() -> None:
    assert fields("anonymous_id=a1")["event"] == "page_view"


def test_a_price_that_is_none_is_rejected_by_name() -> None:
    found = sort_events(pixel.read(incoming("user_id=u1&price=cheap")), NOW)
    assert [r.error.field for r in found.rejected] == ["metadata.price"]


@pytest.mark.parametrize(
    ("query", "consent"),
    [
        ("consent.analytics=false&consent.personalization=true", Consent(False, True)),
        ("consent.analytics=1&consent.personalization=0", Consent(True, False)),
        ("consent.personalization=False", Consent(True, False)),
        ("consent.analytics=&consent.personalization=0", Consent(True, False)),
        ('consent={"analytics":false,"personalization":true}', Consent(False, True)),
        ("consent=%7B%22analytics%22%3A0%2C%22personalization%22%3A1%7D", Consent(False, True)),
        ('consent={"analytics":false}&consent.personalization=false', DENIED),
        ('consent={"analytics":true}&consent.analytics=false', Consent(False, True)),
        ("consent={}&consent.marketing=maybe&consent.analytics=0", Consent(False, True)),
        ("consent.analytics=false&consent.analytics=true", Consent(False, True)),
        (
            "consent.analytics=true&consent.analytics=0&consent.analytics=&consent.analytics=1",
            Consent(False, True),
        ),
        ("consent.analytics=0&consent.analytics=maybe", Consent(False, True)),
        ("consent.analytics=1&consent.analytics=", GRANTED),
        (
            'consent={"analytics":0}&consent={"personalization":false}&consent={"analytics":1}',
            DENIED,
        ),
        ('consent={"analytics":false}&consent=yes&consent=', Consent(False, True)),
        ('consent=no&consent={"personalization":0}', Consent(True, False)),
        ("consent=null&consent=&consent=null", GRANTED),
        ("consent=null", GRANTED),
        ("consent=", GRANTED),
    ],
)
def test_a_visitors_consent_stands_in_the_query(query: str, consent: Consent) -> None:
    found = sort_events(pixel.read(incoming(f"user_id=u1&{query}")), NOW)
    assert found.rejected == []
    assert (found.consent, found.withheld, len(found.events)) == (
        consent,
        consent.is_none,
        not consent.is_none,
    )
    for event in found.events:
        stated = {"analytics": consent.analytics, "personalization": consent.personalization}
        assert event.metadata.get("consent") in (stated, None if consent.is_full else stated)
        assert not [name for name in event.metadata if name.startswith("consent.")]


@pytest.mark.parametrize(
    ("query", "field", "expectation"),
    [
        ("consent.analytics=no", "consent.analytics", "expected true, false, 1 or 0"),
        (
            "consent.analytics=1&consent.personalization=2",
            "consent.personalization",
            "expected true, false, 1 or 0",
        ),
        (
            "consent=denied",
            "consent",
            'expected {"analytics": true or false, "personalization": true or false}',
        ),
        (
            "consent.analytics=1&consent.analytics=2",
            "consent.analytics",
            "expected true, false, 1 or 0",
        ),
        (
            "consent=null&consent=false",
            "consent",
            'expected {"analytics": true or false, "personalization": true or',
        ),
        (
            "consent=false",
            "consent",
            'expected {"analytics": true or false, "personalization": true or false}',
        ),
        (
            "consent=[0,0]",
            "consent",
            'expected {"analytics": true or false, "personalization": true or false}',
        ),
        (
            'consent={"analytics":"false"}',
            "consent",
            'expected {"analytics": true or false, "personalization":',
        ),
        (
            'consent={"analytic":false}',
            "consent",
            'expected {"analytics": true or false, "personalization": true',
        ),
        (
            "consent.analytic=false",
            "consent",
            'expected {"analytics": true or false, "personalization": true or',
        ),
    ],
)
def test_a_consent_that_nobody_can_read_is_rejected_by_name(
    query: str, field: str, expectation: str
) -> None:
    [rejection] = sort_events(pixel.read(incoming(f"user_id=u1&{query}")), NOW).rejected
    assert rejection.error.field == field
    assert rejection.error.reason.startswith(expectation)


def test_what_can_be_read_of_a_consent_counts_of_the_rejected_event() -> None:
    query = "user_id=u1&consent.analytics=false&consent.personalization=maybe"
    [rejection] = sort_events(pixel.read(incoming(query)), NOW).rejected
    assert (rejection.error.field, rejection.payload) == ("consent.personalization", None)
    asks_first = Terms(privacy=Privacy(default=DENIED))
    [rejection] = sort_events(
        pixel.read(incoming("user_id=u1&consent.analytics=yes")), NOW, asks_first
    ).rejected
    assert (rejection.error.field, rejection.payload) == ("consent.analytics", None)


def test_a_dead_letter_of_the_pixels_has_no_more_of_a_person_than_one_in_json() -> None:
    policy = FieldPolicy(["metadata.email"], ["user_id"], b"k" * 16)
    terms = Terms(privacy=Privacy(fields=policy))
    query = "event=purchase&user_id=u1&email=a%40b&ip=192.0.2.77&note=a%26b&key=secret-1"
    [rejection] = sort_events(pixel.read(incoming(query)), NOW, terms).rejected
    hashed = policy.apply_id("user_id", "u1")
    assert rejection.payload == f"event=purchase&user_id={hashed}&ip=192.0.2.0&note=a%26b".encode()
    plain = "event=purchase&anonymous_id=a1&note=a%20b&note=c"
    [rejection] = sort_events(pixel.read(incoming(plain)), NOW, terms).rejected
    assert rejection.payload == plain.encode()


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_query_is_refused_or_sorted(query: str) -> None:
    try:
        reading = pixel.read(incoming(query))
    except InvalidEvent:
        return
    found = sort_events(reading, NOW)
    assert found.accepted + len(found.rejected) == 1


def test_a_query_of_any_length_costs_little() -> None:
    with pytest.raises(InvalidEvent, match="query"):
        pixel.read(incoming("a=1&" * 100_000))


def test_the_image_comes_with_good_events_and_bad_ones(
    client: httpx.Client, topics: Topics
) -> None:
    for query, status in (("event=open&anonymous_id=a1", 200), ("event=open", 200), ("%ff", 400)):
        answer = client.get(f"/v1/pixel.gif?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (status, "image/gif")
        assert answer.content == pixel.GIF
    (stored,) = decode_message(topics.events(1)[0].data)
    assert (stored.event, stored.anonymous_id) == ("open", "a1")
    dead_letters = topics.dead_letters(2)
    assert {
        (dead_letter.attributes["protocol"], dead_letter.data) for dead_letter in dead_letters
    } == {
        ("pixel", b"event=open"),
        ("pixel", b"%ff"),
    }
