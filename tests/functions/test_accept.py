"""From body to events, without a network: what is accepted, what is rejected and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions import accept
from functions.accept import Rejection, Terms
from functions.protocols.contract import Reading
from functions.protocols.native.protocol import read_batch
from pipeline.core.events import (
    CLOCK_TOLERANCE,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    Event,
    decode_message,
    derived_event_id,
    encode_message,
)
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.json_limits import MAX_DEPTH
from pipeline.core.privacy.consent import DENIED, Consent
from pipeline.core.privacy.policy import Privacy

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)
LAW = settings(deadline=None, derandomize=True)
ASKS_FIRST = Terms(privacy=Privacy(default=DENIED))
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def event(**fields: Any) -> dict[str, Any]:
    """A valid event at `NOW`, with `fields` over it; a field of None is left out."""
    valid = {"event_id": "e1", "event": "click", "user_id": "u1", "timestamp": NOW.isoformat()}
    return {name: value for name, value in (valid | fields).items() if value is not None}


def batch(*events: Any, **outer: Any) -> Reading:
    """The batch that a request with these events makes."""
    return read_batch(json.dumps({"events": events, **outer}).encode())


def sort_events(made: Reading, ingest_time: datetime) -> tuple[list[Event], list[Rejection]]:
    """What is accepted and what is rejected of a request."""
    found = accept.sort_events(made, ingest_time)
    return found.events, found.rejected


def test_one_event_is_a_batch_of_its_own() -> None:
    body = json.dumps(event()).encode()
    accepted, rejected = sort_events(read_batch(body), NOW)
    assert [e.event_id for e in accepted] == ["e1"]
    assert rejected == []
    assert accepted[0].ingest_time == NOW


def test_accepted_events_keep_their_order_around_a_rejected_one() -> None:
    accepted, rejected = sort_events(
        batch(event(event_id="a"), {"event": 1}, event(event_id="b")), NOW
    )
    assert [e.event_id for e in accepted] == ["a", "b"]
    assert [r.index for r in rejected] == [1]


def test_a_rejection_holds_the_very_bytes_that_were_sent() -> None:
    odd = b'{ "event" : "click",\t"event_id":"x" }'
    _, rejected = sort_events(read_batch(b'{"events": [' + odd + b"]}"), NOW)
    assert rejected[0].payload == odd
    assert (rejected[0].index, rejected[0].event_id) == (0, "x")
    assert rejected[0].error.as_dict() == {
        "field": "timestamp",
        "reason": "expected an RFC 3339 time with a zone",
        "value": None,
    }


def test_an_event_without_a_timestamp_is_rejected_and_not_given_the_time_of_its_arrival() -> None:
    _, rejected = sort_events(batch(event(timestamp=None)), NOW)
    assert rejected[0].error.field == "timestamp"


def test_an_event_that_is_no_object_is_rejected_alone() -> None:
    accepted, rejected = sort_events(batch(7, [1], "x", None, event()), NOW)
    assert len(accepted) == 1
    assert [r.error.field for r in rejected] == ["body"] * 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"x"',
        b'{"events": 7}',
        b'{"events": null}',
        b'{"a": NaN}',
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_no_json_object_is_refused_whole(body: bytes) -> None:
    with pytest.raises(InvalidEvent) as caught:
        read_batch(body)
    assert caught.value.field == "body"


def test_invalid_utf_8_in_a_single_event_is_refused_and_in_a_batch_rejects_only_that_event() -> (
    None
):
    bad = b'{"event_id": "\xff"}'
    with pytest.raises(InvalidEvent, match="body"):
        read_batch(bad)
    good = json.dumps(event()).encode()
    accepted, rejected = sort_events(read_batch(b'{"events": [' + bad + b"," + good + b"]}"), NOW)
    assert len(accepted) == 1
    assert rejected[0].payload == bad


def test_nesting_up_to_the_limit_passes_and_one_level_more_does_not() -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(levels - 2):  # the event and its metadata are two levels
            value = [value]
        return event(metadata={"deep": value})

    accepted, rejected = sort_events(batch(nested(MAX_DEPTH), nested(MAX_DEPTH + 1)), NOW)
    assert len(accepted) == 1
    assert [r.index for r in rejected] == [1]


def test_many_brackets_in_a_text_are_not_nesting() -> None:
    accepted, _ = sort_events(batch(event(metadata={"title": "[{" * 100})), NOW)
    assert len(accepted) == 1


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_deep_enough_to_exhaust_the_stack_is_refused(opening: bytes) -> None:
    with pytest.raises(InvalidEvent, match="body"):
        read_batch(b'{"events": [' + opening * 100_000)
    with pytest.raises(InvalidEvent, match="body"):
        read_batch(b'{"x": ' + opening * 100_000)


def test_500_events_pass_and_501_do_not() -> None:
    assert len(batch(*[event()] * MAX_EVENTS).events) == MAX_EVENTS
    with pytest.raises(InvalidEvent, match="events: expected at most 500, got 501"):
        batch(*[event()] * (MAX_EVENTS + 1))


def test_an_event_of_64_kb_passes_and_one_byte_more_does_not() -> None:
    padding = MAX_EVENT_BYTES - len(json.dumps(event(metadata={"x": ""})))
    fits, too_long = (
        event(metadata={"x": "." * padding}),
        event(metadata={"x": "." * (padding + 1)}),
    )
    accepted, rejected = sort_events(batch(fits, too_long), NOW)
    assert len(accepted) == 1
    assert rejected[0].error.reason == "expected at most 65536 bytes an event"


@pytest.mark.parametrize("number", ["1e400", "9" * 400, "9" * 4299, "9" * 5000, "-0.0", "1e-400"])
@pytest.mark.parametrize("name", ["price", "anything"])
def test_extreme_numbers_are_accepted_or_rejected_but_never_break_the_message(
    number: str, name: str
) -> None:
    odd = json.dumps(event(event_id="odd")).replace("}", f', "metadata": {{"{name}": {number}}}}}')
    body = f'{{"events": [{odd}, {json.dumps(event(event_id="good"))}]}}'.encode()
    accepted, rejected = sort_events(read_batch(body), NOW)
    assert len(accepted) + len(rejected) == 2
    assert [e.event_id for e in decode_message(encode_message(accepted))][-1] == "good"


def test_the_same_event_without_an_id_gets_the_same_id_however_its_keys_are_ordered() -> None:
    one = event(event_id=None, metadata={"a": 1, "b": {"c": 2, "d": 3}})
    other = event(event_id=None, metadata={"b": {"d": 3, "c": 2}, "a": 1})
    reordered = dict(reversed(other.items()))
    ids = {sort_events(batch(e), NOW)[0][0].event_id for e in (one, other, reordered)}
    assert len(ids) == 1
    assert len(ids.pop()) == 32


def test_a_derived_id_does_not_depend_on_when_the_event_arrives_or_how_its_clock_is_repaired() -> (
    None
):
    anonymous = event(event_id=None)
    late = NOW + timedelta(hours=1)
    plain = sort_events(batch(anonymous), NOW)[0][0]
    repaired = sort_events(batch(anonymous, sent_at=NOW.isoformat()), late)[0][0]
    assert repaired.timestamp == late
    assert repaired.event_id == plain.event_id


@LAW
@given(st.dictionaries(st.text(), ANY_JSON, max_size=5), st.text(), ANY_JSON)
def test_a_derived_id_changes_with_the_content(
    fields: dict[str, Any], name: str, value: Any
) -> None:
    changed = fields | {name: value}
    same = {k: v for k, v in changed.items() if v is not None} == {
        k: v for k, v in fields.items() if v is not None
    }
    if not same:
        assert derived_event_id(changed) != derived_event_id(fields)


def test_a_clock_within_the_tolerance_is_believed_and_beyond_it_repaired() -> None:
    for skew, moved in ((CLOCK_TOLERANCE, False), (CLOCK_TOLERANCE + timedelta(seconds=1), True)):
        for sign in (1, -1):
            clock = NOW + sign * skew
            sent = batch(event(timestamp=clock.isoformat()), sent_at=clock.isoformat())
            assert sort_events(sent, NOW)[0][0].timestamp == (NOW if moved else clock)


def test_a_clock_that_is_years_off_is_repaired_before_the_age_of_the_event_is_judged() -> None:
    sent_at = datetime(1999, 1, 1, tzinfo=UTC)
    happened = sent_at - timedelta(seconds=3)
    accepted, _ = sort_events(
        batch(event(timestamp=happened.isoformat()), sent_at=sent_at.isoformat()), NOW
    )
    assert accepted[0].timestamp == NOW - timedelta(seconds=3)


def test_a_repair_that_leaves_the_calendar_is_a_rejection() -> None:
    sent = batch(event(timestamp="9999-12-31T23:59:59Z"), sent_at="2001-01-01T00:00:00Z")
    assert sort_events(sent, NOW)[1][0].error.field == "timestamp"


def test_a_retry_with_a_good_clock_keeps_its_timestamps() -> None:
    sent = batch(event(), sent_at=NOW.isoformat())
    first, second = (sort_events(sent, NOW + timedelta(seconds=s))[0][0] for s in (0, 30))
    assert first.timestamp == second.timestamp == NOW


def test_a_backfill_keeps_old_timestamps_and_is_not_repaired() -> None:
    old = datetime(2019, 10, 1, tzinfo=UTC)
    sent = batch(event(timestamp=old.isoformat()), sent_at="2020-01-01T00:00:00Z", backfill=True)
    assert sort_events(sent, NOW)[0][0].timestamp == old


@pytest.mark.parametrize(
    ("outer", "field"),
    [
        ({"sent_at": "yesterday"}, "sent_at"),
        ({"sent_at": 5}, "sent_at"),
        ({"backfill": "yes"}, "backfill"),
    ],
)
def test_what_is_said_about_the_whole_batch_must_be_readable(
    outer: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidEvent) as caught:
        batch(event(), **outer)
    assert caught.value.field == field


def test_an_event_of_unreadable_consent_is_told_so_and_not_kept_where_one_has_to_ask() -> None:
    for consent in ("yes", {"analytic": True}, {"analytics": "true"}):
        found = accept.sort_events(batch(event(consent=consent)), NOW, ASKS_FIRST)
        assert [(r.error.field, r.payload) for r in found.rejected] == [("consent", None)]
        assert found.withheld == 0


@LAW
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_sorted(body: bytes) -> None:
    try:
        made = read_batch(body)
    except InvalidEvent:
        return
    accepted, rejected = sort_events(made, NOW)
    assert len(accepted) + len(rejected) == len(made.events)


@LAW
@given(
    st.lists(st.dictionaries(st.sampled_from([*event(), "metadata", "x"]), ANY_JSON), max_size=5)
)
def test_every_event_is_accepted_or_rejected_and_the_accepted_survive_the_message(
    changes: list[dict[str, Any]],
) -> None:
    made = batch(*[event() | change for change in changes])
    accepted, rejected = sort_events(made, NOW)
    assert len(accepted) + len(rejected) == len(changes)
    assert decode_message(encode_message(accepted)) == accepted


def test_of_a_consent_that_cannot_be_read_the_dead_letter_personalizes_nothing() -> None:
    [rejection] = accept.sort_events(batch(event(), consent="no"), NOW).rejected
    assert rejection.error.field == "consent"
    assert rejection.consent == Consent(analytics=True, personalization=False)
