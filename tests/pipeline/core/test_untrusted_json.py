"""JSON of clients is read as msgspec reads it, but no denial is lost to a name that comes again."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.untrusted_json import (
    UNREADABLE,
    may_hide_consent,
    may_hide_consent_beside,
    read,
    repeats,
)

LAW = settings(deadline=None, derandomize=True)
TEXT = st.text(max_size=5) | st.text(r"""\u02"'""", max_size=8)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"analytics": false, "analytics": true}', {"analytics": False}),
        ('{"analytics": true, "analytics": false}', {"analytics": False}),
        ('{"analytics": false, "analytics": null}', {"analytics": False}),
        ('{"analytics": false, "analytics": "yes"}', {"analytics": False}),
        ('{"anal\\u0079tics": false, "analytics": true}', {"analytics": False}),
        (
            '{"consent": {"a": false}, "consent": {"a": true, "b": true}}',
            {"consent": {"a": False, "b": True}},
        ),
        ('{"consent": {"a": false}, "consent": "yes"}', {"consent": {"a": False}}),
        (
            '{"metadata": {"consent": {"a": false}}, "metadata": {"x": 1}}',
            {"metadata": {"consent": {"a": False}, "x": 1}},
        ),
        (
            '{"ad_personalization": "DENIED", "ad_personalization": "GRANTED"}',
            {"ad_personalization": "DENIED"},
        ),
        (
            '{"non_personalized_ads": true, "non_personalized_ads": false}',
            {"non_personalized_ads": True},
        ),
        ('{"deniedConsentIds": ["a"], "deniedConsentIds": []}', {"deniedConsentIds": ["a"]}),
        ('{"query": "hat", "query": "cap", "price": 1, "price": 2}', {"query": "cap", "price": 2}),
        ('[{"a": 1, "a": 2}]', [{"a": 2}]),
    ],
)
def test_of_a_name_that_stands_twice_the_denial_counts_else_the_later_value(
    text: str, value: Any
) -> None:
    assert read(text) == read(text.encode()) == value


@LAW
@given(ANY_JSON)
def test_without_repeated_names_it_is_plain_json(value: Any) -> None:
    plain = json.dumps(value)
    for text in (plain, json.dumps(value, ensure_ascii=False), _escaped_marks(plain)):
        assert read(text) == value
        assert not repeats(text.encode(), value)


def test_a_backslash_before_u0022_is_no_quotation_mark() -> None:
    for text in (rb'{"a": "\\u0022"}', rb'{"a": "\\\u0022"}', rb'{"a": "\u0022\\\\u0022"}'):
        assert not repeats(text, json.loads(text))


def _escaped_marks(text: str) -> str:
    """As .NET and PHP write JSON."""
    return r"\\".join(part.replace(r"\"", r"\u0022") for part in text.split(r"\\"))


@pytest.mark.parametrize("mark", [r"\u0022", r"\\u0022", r"\\\u0022", r"\""])
@pytest.mark.parametrize("count", range(12))
def test_no_number_of_quotation_marks_hides_a_denial(mark: str, count: int) -> None:
    text = f'{{"analytics": false, "analytics": true, "title": "{mark * count}"}}'
    assert read(text)["analytics"] is False
    assert repeats(text.encode(), json.loads(text))


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a": 1, "a"}', "{'a': 1}", "NaN", "\x00"])
def test_what_is_no_json_stays_none(text: str) -> None:
    with pytest.raises(UNREADABLE):
        read(text)


def test_half_a_character_is_mended_and_a_denial_beside_it_stays() -> None:
    assert read(rb'{"t": "\ud83d", "analytics": false, "analytics": true}') == {
        "t": "\ufffd",
        "analytics": False,
    }


@pytest.mark.parametrize(
    ("event", "may"),
    [
        (b'{"consent": {"analytics": true, "personalization": false}, "metadata": {}}', False),
        (b'{"metadata": {"a": 1}, "metadata": {"b": 2}}', False),
        (b'{"consent": {"analytics": true}, "consent": null}', True),
        (b'{"consent": {"analytics": true, "analytics": false}}', True),
        (b'{"metadata": {"consent": {}}, "metadata": {}}', True),
        (b'{"cons\\u0065nt": {}}', True),
        (b'{"title": "caf\\u00e9"}', False),
    ],
)
def test_only_events_that_may_hide_a_consent_are_read_the_slow_way(event: bytes, may: bool) -> None:
    assert may_hide_consent(event) is may


@pytest.mark.parametrize(
    ("body", "may"),
    [
        (b'{"consent": {"analytics": true}, "events": [EVENT,   EVENT]}', False),
        (
            b'{"events": [EVENT, EVENT], "consent": {"analytics": true}, "metadata": 1, '
            b'"metadata": 2}',
            False,
        ),
        (b'{"events": [EVENT,   EVENT], "consent": {"analytics": true, "analytics": false}}', True),
        (b'{"consent": {}, "events": [EVENT, EVENT], "consent": null}', True),
        (b'{"events": [EVENT], "consent": {}, "consent": null, "events": [EVENT, EVENT]}', True),
        (b'{"events": [EVENT, EVENT], "cons\\u0065nt": {}}', True),
        (b'{"events": [EVENT, EVENT], "sent_at": "caf\\u00e9"}', False),
    ],
)
def test_the_consents_of_events_are_none_of_their_request(body: bytes, may: bool) -> None:
    for event in (
        b'{"consent": {"analytics": true}}',
        b'{"metadata": {"consent": {}}}',
        b'{"q": "\\u0061"}',
        b"1",
    ):
        assert may_hide_consent_beside(body.replace(b"EVENT", event), [event, event]) is may


def test_repeated_names_cost_time_in_proportion_to_their_number() -> None:
    started_s = time.process_time()
    found = read(b"{" + b",".join(b'"a":{"%d":1}' % number for number in range(9000)) + b"}")
    assert time.process_time() - started_s < 0.3
    assert len(found["a"]) == 9000
