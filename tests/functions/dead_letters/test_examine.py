"""Dead letters of our own protocol: read again, repaired by rule, with the consent that the
collector found.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.dead_letters.examine import Examined, examine
from functions.dead_letters.repairs import Repairs
from functions.dead_letters.stored import StoredDeadLetter
from pipeline.core.dead_letters import DeadLetter
from pipeline.core.events import decode_message, derived_event_id, encode_message
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import MAX_CONTAINERS, MAX_LONG_NUMBERS

NOW = datetime(2025, 1, 1, tzinfo=UTC)
RECEIVED = NOW - timedelta(hours=1)


def event(**fields: Any) -> dict[str, Any]:
    """An event that passes, but for what `fields` say; None leaves a field out."""
    base = {
        "event_id": "e1",
        "event": "click",
        "anonymous_id": "a",
        "timestamp": "2024-12-31T22:59:00Z",
    }
    return {name: value for name, value in {**base, **fields}.items() if value is not None}


def dead_letter(payload: Any, **more: Any) -> StoredDeadLetter:
    """The dead letter of an event, of a list of events as one body, or of bytes."""
    if isinstance(payload, list):
        payload = {"events": payload}
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    kept = DeadLetter.of(data, InvalidEvent("f", "r"), "pipeline", RECEIVED, {})
    return StoredDeadLetter(**{"dead_letter_id": "l1", **kept.row(), **more})


def tried(payload: Any, **repairs: Any) -> Examined:
    return examine(dead_letter(payload), Repairs(**repairs), NOW)


def reasons(found: Examined) -> list[str]:
    return [f"{one.error.field}: {one.error.reason}" for one in found.refused]


def test_an_event_that_was_refused_for_its_age_passes_as_a_backfill_and_keeps_its_id() -> None:
    found = tried(event(timestamp="2020-01-01T00:00:00Z"))
    assert [(e.event_id, e.timestamp.year) for e in found.good] == [("e1", 2020)]
    assert (found.refused, found.changed) == ([], 0)


def test_a_dead_letter_whose_user_is_unproven_is_replayed_without_the_user_id_alone() -> None:
    unproven = dead_letter(event(user_id="u1"), attributes=json.dumps({"unproven": "user_id"}))
    assert reasons(examine(unproven, Repairs(), NOW)) == [
        "user_token: expected an event without the user id, which nothing proves"
    ]
    found = examine(unproven, Repairs(drop=("user_id",)), NOW)
    assert [(e.user_id, e.anonymous_id) for e in found.good] == [(None, "a")] and found.changed == 1


def test_a_clock_that_ran_ahead_when_it_was_rejected_is_still_wrong_later_until_it_is_shifted() -> (
    None
):
    # half an hour after it was received, half an hour ago now
    ahead = event(timestamp="2024-12-31T23:30:00Z")
    assert reasons(tried(ahead)) == ["timestamp: expected at most 5 min after ingest"]
    found = tried(ahead, shift_s=-1800.0)
    assert [e.timestamp for e in found.good] == [RECEIVED] and found.changed == 1


@pytest.mark.parametrize(
    ("broken", "repairs", "field", "value"),
    [
        ({"event": None, "name": "click"}, {"rename": (("name", "event"),)}, "event", "click"),
        ({"event": 5}, {"assign": (("event", "search"),)}, "event", "search"),
        ({"user_id": ""}, {"drop": ("user_id",)}, "user_id", None),
        (
            {"metadata": {"price": "9.50"}},
            {"number": ("metadata.price",)},
            "metadata",
            {"price": 9.5},
        ),
        ({"metadata": {"price": "12"}}, {"number": ("metadata.price",)}, "metadata", {"price": 12}),
        ({"metadata": {"price": "?"}}, {"drop": ("metadata.price",)}, "metadata", {}),
        (
            {"metadata": {"price": "?"}},
            {"assign": (("metadata.price", "7"),)},
            "metadata",
            {"price": 7},
        ),
        ({"price": "?"}, {"assign": (("price", "7"),)}, "metadata", {"price": 7}),
        (
            {"metadata": 3},
            {"drop": ("metadata",), "assign": (("metadata.url", "/"),)},
            "metadata",
            {"url": "/"},
        ),
        (
            {"query": 3},
            {"drop": ("query",), "assign": (("metadata.query", "hat"),)},
            "metadata",
            {"query": "hat"},
        ),
    ],
)
def test_each_repair_mends_what_it_is_for(
    broken: dict[str, Any], repairs: dict[str, Any], field: str, value: Any
) -> None:
    found = tried(event(**broken), **repairs)
    assert getattr(found.good[0], field) == value and found.changed == 1


def test_setting_a_field_in_what_is_no_object_changes_nothing() -> None:
    found = tried(event(metadata=3), assign=(("metadata.query", "hat"),))
    assert reasons(found) == ["metadata: expected an object"] and found.changed == 0


@pytest.mark.parametrize(
    "text", ["", "1e999", "nan", "inf", "0x10", "1_000", "12,50", "9" * 5000, "٣"]
)
def test_a_text_that_is_no_plain_number_stays_and_is_refused(text: str) -> None:
    found = tried(event(metadata={"price": text}), number=("metadata.price",))
    assert reasons(found) == ["metadata.price: expected a finite number"] and found.changed == 0


def test_a_renaming_loses_nothing_where_the_new_name_is_taken_or_has_no_place() -> None:
    for broken, old, new in (
        (event(event="", name="search"), "name", "event"),
        (event(cat="hats", metadata="text"), "cat", "metadata.category"),
    ):
        found = tried(broken, rename=((old, new),))
        assert (found.changed, json.loads(found.dead_letter.payload)) == (0, broken)


def test_a_value_of_another_kind_is_replaced_also_where_python_holds_the_two_for_equal() -> None:
    found = tried(event(metadata={"price": True}), assign=(("metadata.price", "1"),))
    assert (found.good[0].metadata, found.changed) == ({"price": 1}, 1)


@pytest.mark.parametrize(
    "repairs",
    [{"assign": (("metadata.price", "cheap"),)}, {"shift_s": float("nan")}, {"shift_s": 1e12}],
)
def test_a_repair_that_cannot_be_done_is_refused_at_once(repairs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Repairs(**repairs)


def test_an_event_that_passes_as_it_is_stays_but_for_the_time_it_was_rejected_for() -> None:
    repairs = Repairs(assign=(("event", "search"),), shift_s=60.0)
    for field, second in (("timestamp", 60), ("body", 0)):
        found = examine(
            dead_letter(event(timestamp="2020-01-01T00:00:00Z"), field=field), repairs, NOW
        )
        at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
        assert [(e.event, e.timestamp) for e in found.good] == [("click", at)]


def test_of_a_body_only_the_events_that_break_the_contract_are_mended() -> None:
    good = (
        b'{"event_id":"e1","event":"click","anonymous_id":"a",'
        b'"timestamp":"2024-12-31T22:00:00Z","x":1.10}'
    )
    body = (
        b'{"events":['
        + good
        + b', {"event_id":"e2","event":"","anonymous_id":"a",'
        + good.split(b",", 3)[3]
        + b"]}"
    )
    found = examine(dead_letter(body), Repairs(assign=(("event", "page_view"),)), NOW)
    assert [(e.event_id, e.event) for e in found.good] == [("e1", "click"), ("e2", "page_view")]
    assert found.changed == 1
    assert json.loads(found.dead_letter.payload)["events"][0] == json.loads(good)


def test_a_body_with_a_bad_event_stays_whole_unless_it_may_be_split() -> None:
    body = [event(), event(event_id="e2", event=5), event(event_id="e3")]
    assert tried(body).replayable == [] and tried(body).remainders(NOW) == []
    found = tried(body, split=True)
    assert [e.event_id for e in found.replayable] == ["e1", "e3"]
    (left,) = found.remainders(NOW)
    assert json.loads(left.payload) == body[1]
    assert (left.source, left.field, left.reason) == ("pipeline", "event", "expected a text")
    assert left.received_at == "2024-12-31T23:00:00.000Z" and json.loads(left.attributes) == {
        "split_from": "l1"
    }


def test_a_body_without_a_good_event_stays_whole() -> None:
    found = tried([event(event=5), event(event=6)], split=True)
    assert (found.replayable, found.remainders(NOW)) == ([], [])


def test_a_file_can_say_of_a_dead_letter_that_it_may_be_split() -> None:
    found = examine(dead_letter([event(), event(event=5)], split=True), Repairs(), NOW)
    assert len(found.replayable) == 1


def test_an_event_without_an_id_gets_that_of_its_content_however_it_is_mended() -> None:
    nameless = event(event_id=None, metadata={"price": "1", "x": 2})
    assert tried(event(event_id=None)).good[0].event_id == derived_event_id(event(event_id=None))
    ways: list[dict[str, Any]] = [{"number": ("metadata.price",)}, {"drop": ("metadata",)}]
    assert {tried(nameless, **way).good[0].event_id for way in ways} == {derived_event_id(nameless)}


def test_an_event_that_is_too_large_stays_until_what_makes_it_so_is_dropped() -> None:
    large = event(metadata={"blob": "x" * 70_000})
    assert reasons(tried(large)) == ["body: expected at most 65536 bytes an event"]
    assert len(tried(large, drop=("metadata.blob",)).good) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "base64", "payload": "?"}, "payload: expected text in base64"),
        ({"encoding": "utf-16"}, "encoding: expected utf-8 or base64"),
    ],
)
def test_a_dead_letter_whose_encoding_does_not_fit_stays(
    change: dict[str, str], reason: str
) -> None:
    kept = msgspec.structs.replace(dead_letter(event()), **change)
    assert reasons(examine(kept, Repairs(), NOW)) == [reason]


@pytest.mark.parametrize("received_at", ["", "soon", "2999-01-01T00:00:00Z"])
def test_a_dead_letter_of_no_time_or_of_the_future_counts_as_received_now(received_at: str) -> None:
    assert dead_letter(event(), received_at=received_at).received(NOW) == NOW


EVERY_REPAIR = Repairs(
    rename=(("a", "metadata.b"), ("metadata.x", "event"), ("metadata", "y")),
    assign=(("event_id", "e"), ("event", "click"), ("metadata.price", "1"), ("anonymous_id", "a")),
    drop=("c", "metadata.d", "user_id"),
    number=("metadata.e", "f"),
    shift_s=1.0,
    split=True,
)
DEEP = 100_000
NASTY = [
    b"",
    b"\xff\xfe",
    b"NaN",
    b'{"events":[{"a":NaN}]}',
    b"[" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b'{"events":[' + b"[" * DEEP + b"]" * DEEP + b"]}",
    b'{"events":[{"metadata":' + b'{"a":' * 900 + b"1" + b"}" * 902 + b"]}",
    b'{"metadata":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"events":[{"a":"\xff"}, 5, null, [], {}]}',
    b'{"events":[]}',
    b'{"events":5}',
    b"null",
    b'{"x":' + b"9" * 5000 + b"}",
    b'{"x":1e999}',
    b'{"event":"\\ud800"}',
    b'{"timestamp":"0001-01-01T00:00:00Z","metadata":{"price":' + b"9" * 400 + b"}}",
    b'{"timestamp":"9999-12-31T23:59:59-23:59"}',
    b'{"a":"' + b"x" * 3_000_000 + b'"}',
]


@pytest.mark.parametrize("payload", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("repairs", [Repairs(), EVERY_REPAIR], ids=["as_it_is", "mended"])
def test_no_payload_raises_and_none_is_lost(payload: bytes, repairs: Repairs) -> None:
    found = examine(dead_letter(payload), repairs, NOW)
    assert found.good or found.refused
    assert found.changed or found.dead_letter.body() == payload
    assert len(found.remainders(NOW)) in (0, len(found.refused))
    assert decode_message(encode_message(found.good)) == found.good


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    "event_id event user_id anonymous_id product_id timestamp metadata price a f x".split()
)
EVENTS = st.dictionaries(
    FIELDS, JSON | st.dictionaries(st.sampled_from("price query a b e x".split()), JSON)
).map(lambda fields: {**event(), **fields})


@given(st.lists(EVENTS, min_size=1, max_size=4), st.sampled_from([Repairs(), EVERY_REPAIR]))
@settings(max_examples=60, deadline=None)
def test_what_passes_here_passes_in_the_pipeline_and_no_event_of_a_body_goes_missing(
    events: list[dict[str, Any]], repairs: Repairs
) -> None:
    found = examine(dead_letter(events), repairs, NOW)
    assert decode_message(encode_message(found.good)) == found.good
    assert len(found.good) + len(found.refused) == len(events)
    again = examine(found.dead_letter, Repairs(), NOW)
    assert (again.good, reasons(again)) == (found.good, reasons(found))


@given(st.binary(max_size=200))
@example(b'{"events"')
@example(b'{"":true}')
@example(b"[]")
def test_bytes_of_any_kind_raise_nothing_and_only_an_object_is_ever_mended(payload: bytes) -> None:
    found = examine(dead_letter(payload), EVERY_REPAIR, NOW)
    assert found.refused
    if found.dead_letter.body() != payload:
        assert found.changed == 1 and isinstance(json.loads(payload), dict)
    assert tried(payload).dead_letter.body() == payload


def test_an_event_that_no_message_may_hold_is_refused() -> None:
    metadata = {"x": [1e300] * (MAX_LONG_NUMBERS + 1), "text": "y" * MAX_CONTAINERS}
    found = tried(json.dumps(event(metadata=metadata)).encode())
    assert found.good == []
    assert reasons(found)[0].startswith(f"body: expected at most {MAX_LONG_NUMBERS} numbers")


def test_a_vendors_event_is_not_taken_for_one_of_ours_whatever_it_looks_like() -> None:
    whole = dead_letter(event(), attributes='{"protocol": "segment", "path": "/v1/track"}')
    found = examine(whole, Repairs(), NOW)
    assert found.good == []
    assert (
        examine(dead_letter(event(), attributes='{"protocol": "native"}'), Repairs(), NOW).good
        != []
    )


# ---- consent

ALL, ONLY_COUNTED = (
    {"analytics": True, "personalization": True},
    {"analytics": True, "personalization": False},
)


def replayed_consent(payload: dict[str, Any], told: Any = None, **repairs: Any) -> Any:
    """The consent of a dead letter's one event once it is replayed; `told` is the collector's
    word.
    """
    attributes = (
        {} if told is None else {"consent": told if isinstance(told, str) else json.dumps(told)}
    )
    stored = StoredDeadLetter(
        dead_letter_id="l",
        received_at="2024-12-31T23:00:00Z",
        payload=json.dumps(payload),
        attributes=json.dumps(attributes),
    )
    [good] = examine(stored, Repairs(**repairs), NOW).good
    return good.metadata.get("consent")


def test_a_dead_letter_of_nobody_who_denied_anything_is_replayed_without_a_word_of_consent() -> (
    None
):
    assert replayed_consent(event()) is None


def test_what_the_collector_found_the_visitor_agreed_to_goes_along_with_the_mended_event() -> None:
    broken = event(event="purchase")
    mended = replayed_consent(broken, ONLY_COUNTED, assign=(("product_id", "p9"),))
    assert mended == ONLY_COUNTED


@pytest.mark.parametrize("told", ["no JSON", "[]", "{}", {"personalization": "yes"}])
def test_what_nobody_can_read_is_no_agreement(told: Any) -> None:
    assert replayed_consent(event(), told) == {"analytics": False, "personalization": False}


def test_what_an_event_says_itself_stays() -> None:
    assert replayed_consent(event(metadata={"consent": ALL}), ONLY_COUNTED) == ALL
    assert replayed_consent(event(consent={"personalization": True}), ONLY_COUNTED) == ALL


def test_the_consent_beside_the_events_of_a_whole_body_goes_along() -> None:
    assert replayed_consent({"events": [event()], "consent": ONLY_COUNTED}) == ONLY_COUNTED


def test_what_a_split_leaves_behind_remembers_site_sender_and_consent() -> None:
    told = {"site": "shop", "sender": "server", "consent": json.dumps(ONLY_COUNTED)}
    body = json.dumps({"events": [event(), event(event_id="e2", timestamp="soon")]})
    stored = StoredDeadLetter(
        dead_letter_id="l",
        received_at="2024-12-31T23:00:00Z",
        payload=body,
        attributes=json.dumps(told),
    )
    [rest] = examine(stored, Repairs(split=True), NOW).remainders(NOW)
    assert json.loads(rest.attributes) == {**told, "split_from": "l"}
