"""Our own protocol as a pure function: what is one event's fault stays that event's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.accept import Sorted, Terms, sort_events
from functions.protocols.native.protocol import read_batch
from functions.protocols.values import read_json
from pipeline.core.events import MAX_EVENT_BYTES
from pipeline.core.json_limits import MAX_DEPTH
from pipeline.core.unicode_surrogates import mended
from pipeline.core.untrusted_json import MAX_REPEATING_VALUES

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DENIED = {"analytics": False, "personalization": False}
LAW = settings(deadline=None, derandomize=True)


def event(**fields: Any) -> dict[str, Any]:
    return {
        "event_id": "e1",
        "event": "click",
        "user_id": "u1",
        "timestamp": NOW.isoformat(),
        **fields,
    }


def took(body: Any) -> Sorted:
    return sort_events(
        read_batch(body if isinstance(body, bytes) else json.dumps(body).encode()), NOW
    )


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("name", ['"consent"', '"cons\\u0065nt"'])
def test_a_denial_is_not_lost_to_a_consent_that_comes_again(name: str) -> None:
    no, yes = json.dumps(DENIED), '{"analytics": true, "personalization": true}'
    own = json.dumps(event())
    bodies = (
        f'{{{name}: {no}, {own[1:-1]}, "consent": {yes}}}',
        f'{{{name}: {no}, "events": [{own}], "consent": {yes}}}',
        f'{{"events": [{{{name}: {no}, {own[1:-1]}, "consent": {yes}}}]}}',
        f'{{"events": [{{"metadata": {{{name}: {no}}}, {own[1:-1]}, "metadata": {{"consent": '
        f"{yes}}}}}]}}",
        f'{{{name}: {{"analytics": false, "analytics": true, "personalization": false}}, "events": '
        f"[{own}]}}",
        f'{{"events": [1, {own}], {name}: {no}, "consent": {yes}}}',
    )
    for body in bodies:
        found = took(body.encode())
        assert (found.events, found.rejected) == ([], []), body
        assert found.withheld == found.accepted


@pytest.mark.parametrize("blanks", [0, 1, 150, 300, 1000])
def test_nor_do_blanks_between_events_hide_it(blanks: int) -> None:
    no, yes, blank = (
        json.dumps(DENIED),
        '{"analytics": true, "personalization": true}',
        " " * blanks,
    )
    own = json.dumps(event(metadata={}))
    twice = own.replace('"metadata": {}', f'"metadata": {{"consent": {no}, "consent": {yes}}}')
    for body in (
        f'{{"events": [{blank}{twice}]}}',
        f'{{"events": [{twice},{blank}{own}{blank}], "sent_at": null}}',
    ):
        found = took(body.encode())
        assert (found.withheld, found.rejected) == (1, []), body
    outer = f'{{"events": [{blank}{own},{blank}{own}], "consent": {no}, "consent": {yes}}}'
    assert took(outer.encode()).withheld == 2


TOO_MUCH = ",".join(['"a": 1'] * (MAX_REPEATING_VALUES + 2))


@pytest.mark.parametrize("size", [0, MAX_EVENT_BYTES])
def test_an_event_of_too_many_repeated_names_leaves_its_batch_alone(size: int) -> None:
    much = f'{{"title": "{"x" * size}", {TOO_MUCH}}}'
    found = took(f'{{"events": [{json.dumps(event())}, {much}, {json.dumps(event())}]}}'.encode())
    assert len(found.events) == 2
    [rejection] = found.rejected
    assert (rejection.index, rejection.error.field, rejection.payload) == (1, "body", much.encode())


@pytest.mark.parametrize(
    ("stated", "rejected", "kept"),
    [
        ('"analytics": false, "personalization": false', 0, 0),
        ('"analytics": false', 1, 0),
        ('"personalization": false', 1, 1),
    ],
)
def test_the_text_of_an_event_that_cannot_be_read_is_searched_for_a_denial(
    stated: str, rejected: int, kept: int
) -> None:
    found = took(f'{{"events": [{{"consent": {{{stated}}}, {TOO_MUCH}}}]}}'.encode())
    assert (found.events, found.withheld, len(found.rejected)) == ([], 1 - rejected, rejected)
    assert sum(rejection.payload is not None for rejection in found.rejected) == kept
    assert all(rejection.consent.personalization is not bool(kept) for rejection in found.rejected)


def test_a_rejected_event_is_kept_as_its_consent_was_read() -> None:
    twice = (
        '"consent": {"analytics": true, "personalization": false}, "consent": '
        '{"personalization": true}'
    )
    (rejection,) = took(
        f'{{"events": [{{"event": 1, "user_id": "u1", {twice}}}]}}'.encode()
    ).rejected
    assert rejection.payload is not None and not rejection.consent.personalization
    assert json.loads(rejection.payload)["consent"] == {"analytics": True, "personalization": False}


# ---- half a character


def test_a_text_that_was_cut_within_an_emoji_takes_neither_itself_nor_its_batch_along() -> None:
    cut = event(event_id="cut", event="search", metadata={"query": "abc\ud83d"})
    found = took({"events": [event(), cut]})
    assert [(e.event_id, e.metadata.get("query")) for e in found.events] == [
        ("e1", None),
        ("cut", "abc\ufffd"),
    ]


def test_a_lone_event_may_be_cut_as_well() -> None:
    [kept] = took(event(metadata={"title": "\ude00x"})).events
    assert kept.metadata["title"] == "\ufffdx"


@pytest.mark.parametrize(
    "json_text",
    [rb'"\\ud83d"', rb'"\ud83d\ude00"', rb'"\\\\\\ud83d"', rb'"\ud83"', b'"plain"', b""],
)
def test_what_holds_no_half_is_left_alone(json_text: bytes) -> None:
    assert mended(json_text) is None


@LAW
@given(st.text(st.characters(), max_size=12))
def test_whatever_text_javascript_can_hold_is_read_as_json_and_only_halves_are_changed(
    text: str,
) -> None:
    """What Python writes of such a text is what `JSON.stringify` does: halves as escapes, all else
    as it is.
    """
    units = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    escaped = json.dumps(text).encode()
    whole = read_json(escaped)
    assert "\ufffd" in whole or whole == text
    assert whole.replace("\ufffd", "") == units.replace("\ufffd", "")


# ---- refused, and whose


def test_a_lone_event_that_is_too_deep_is_rejected_by_its_id_as_in_a_batch() -> None:
    deep = event(metadata={"a": nested(MAX_DEPTH)})
    alone, together = took(deep), took({"events": [deep]})
    assert [r.event_id for r in alone.rejected] == [r.event_id for r in together.rejected] == ["e1"]


@pytest.mark.parametrize(
    "stated", [{"consent": DENIED}, {"metadata": {"consent": DENIED, "a": nested(MAX_DEPTH)}}]
)
def test_of_a_visitor_who_agreed_to_nothing_no_refused_event_is_kept(
    stated: dict[str, Any],
) -> None:
    found = took(event(a=nested(MAX_DEPTH), **stated))
    assert (found.events, found.rejected, found.withheld) == ([], [], 1)


def test_nor_one_that_is_too_large() -> None:
    found = took(event(consent=DENIED, metadata={"title": "a" * MAX_EVENT_BYTES}))
    assert (found.rejected, found.withheld) == ([], 1)


# ---- sent again


def test_a_replay_window_asks_for_the_time_of_sending_save_of_history() -> None:
    strict = Terms(replay_window_s=60.0)
    old = event(timestamp="2025-01-01T00:00:00Z")
    fresh = read_batch(json.dumps({"events": [event()]}).encode())
    history = read_batch(json.dumps({"events": [old], "backfill": True}).encode())
    assert [r.error.field for r in sort_events(fresh, NOW, strict).rejected] == ["sent_at"]
    assert len(sort_events(history, NOW, strict).events) == 1
