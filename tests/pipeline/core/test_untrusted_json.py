"""JSON of clients is read as msgspec reads it, but no denial is lost to a name that comes again."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.untrusted_json import UNREADABLE, may_hide_consent, read

LAW = settings(deadline=None, derandomize=True)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
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
        ('{"consent": {"a": false}, "consent": {"a": true, "b": true}}', {"consent": {"a": False, "b": True}}),
        ('{"consent": {"a": false}, "consent": "yes"}', {"consent": {"a": False}}),
        (
            '{"metadata": {"consent": {"a": false}}, "metadata": {"x": 1}}',
            {"metadata": {"consent": {"a": False}, "x": 1}},
        ),
        ('{"ad_personalization": "DENIED", "ad_personalization": "GRANTED"}', {"ad_personalization": "DENIED"}),
        ('{"non_personalized_ads": true, "non_personalized_ads": false}', {"non_personalized_ads": True}),
        ('{"deniedConsentIds": ["a"], "deniedConsentIds": []}', {"deniedConsentIds": ["a"]}),
        ('{"query": "hat", "query": "cap", "price": 1, "price": 2}', {"query": "cap", "price": 2}),
        ('[{"a": 1, "a": 2}]', [{"a": 2}]),
    ],
)
def test_of_a_name_that_stands_twice_the_denial_counts_else_the_later_value(text: str, value: Any) -> None:
    assert read(text) == read(text.encode()) == value


@LAW
@given(ANY_JSON)
def test_without_repeated_names_it_is_plain_json(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert read(text) == value


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a": 1, "a"}', "{'a': 1}", "NaN", "\x00"])
def test_what_is_no_json_stays_none(text: str) -> None:
    with pytest.raises(UNREADABLE):
        read(text)


def test_half_a_character_is_mended_and_a_denial_beside_it_stays() -> None:
    assert read(rb'{"t": "\ud83d", "analytics": false, "analytics": true}') == {"t": "\ufffd", "analytics": False}


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


def test_repeated_names_cost_time_in_proportion_to_their_number() -> None:
    started_s = time.process_time()
    found = read(b"{" + b",".join(b'"a":{"%d":1}' % number for number in range(9000)) + b"}")
    assert time.process_time() - started_s < 0.3
    assert len(found["a"]) == 9000
