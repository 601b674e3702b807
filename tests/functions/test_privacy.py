"""Who agreed to what, and which word counts when several are said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.invalid import InvalidConfig
from functions.privacy import (
    Privacy,
    Signal,
    Stated,
    event_consent,
    record,
    signalled,
    unread_consent,
    unreadable_consent,
    wire_consent,
)
from pipeline.core.consent import DENIED, GRANTED, Consent
from pipeline.core.events import InvalidEvent

ONLY_ANALYTICS = {"analytics": True, "personalization": False}
ONLY_PERSONALIZATION = {"analytics": False, "personalization": True}
BOTH, NEITHER = {"analytics": True, "personalization": True}, {"analytics": False, "personalization": False}


@pytest.mark.parametrize(
    ("headers", "signal"),
    [
        ({}, None),
        ({"dnt": "1"}, Signal.DNT),
        ({"sec-gpc": "1"}, Signal.GPC),
        ({"dnt": "1", "sec-gpc": "1"}, Signal.GPC),
        ({"dnt": "0", "sec-gpc": "0"}, None),
        ({"dnt": "null"}, None),
        ({"sec-gpc": "?1", "dnt": "true"}, None),
        ({"sec-gpc": " 1 "}, Signal.GPC),
        ({"dnt": "1\t"}, Signal.DNT),
        ({"sec-gpc": "0, 1", "dnt": "1"}, Signal.GPC),
        ({"dnt": "1,0"}, Signal.DNT),
        ({"dnt": "0, 11", "sec-gpc": ", "}, None),
    ],
)
def test_only_the_value_1_is_a_signal_and_the_one_that_binds_goes_first(
    headers: dict[str, str], signal: Signal | None
) -> None:
    assert signalled(headers) is signal
    assert Privacy().signal(headers) is signal
    assert Privacy(signals=False).signal(headers) is None


class TestWhoseWordCounts:
    def test_without_any_word_the_default_holds(self) -> None:
        assert event_consent({"event": "click"}, None, None) == GRANTED
        assert event_consent({"event": "click"}, None, None, DENIED) == DENIED
        assert wire_consent({}, None, None, ONLY := Consent(True, False)) == ONLY

    def test_the_events_own_consent_goes_before_that_of_the_request(self) -> None:
        for fields in ({"consent": ONLY_ANALYTICS}, {"metadata": {"consent": ONLY_ANALYTICS}}):
            assert event_consent(fields, BOTH, None) == Consent(True, False)
        assert wire_consent({"consent": ONLY_ANALYTICS}, BOTH, None) == Consent(True, False)
        assert event_consent({}, ONLY_PERSONALIZATION, None) == Consent(False, True)
        assert wire_consent({}, ONLY_PERSONALIZATION, None) == Consent(False, True)

    def test_of_two_in_one_event_what_both_grant_is_granted(self) -> None:
        fields = {"consent": ONLY_ANALYTICS, "metadata": {"consent": ONLY_PERSONALIZATION}}
        assert event_consent(fields, BOTH, None) == DENIED

    def test_do_not_track_goes_before_the_default_and_after_every_explicit_answer(self) -> None:
        assert event_consent({}, None, Signal.DNT) == DENIED
        assert event_consent({}, BOTH, Signal.DNT) == GRANTED
        assert event_consent({"consent": ONLY_ANALYTICS}, None, Signal.DNT) == Consent(True, False)

    @given(
        fields=st.sampled_from([{}, {"consent": BOTH}, {"consent": "nonsense"}]), batch=st.sampled_from([None, BOTH])
    )
    def test_global_privacy_control_goes_before_everything(self, fields: dict[str, Any], batch: Any) -> None:
        assert event_consent(fields, batch, Signal.GPC) == DENIED

    def test_what_the_event_does_not_name_its_request_says_and_then_the_browser_and_then_the_default(self) -> None:
        said = {"consent": {"analytics": True, "personalization": None}}
        assert event_consent(said, NEITHER, None) == Consent(True, False)
        assert event_consent(said, {"analytics": False}, Signal.DNT) == Consent(True, False)
        assert event_consent(said, {"personalization": True}, Signal.DNT, DENIED) == GRANTED
        assert event_consent(said, None, Signal.DNT) == Consent(True, False)
        assert event_consent(said, None, None, DENIED) == Consent(True, False)
        assert event_consent(said, None, None) == GRANTED
        assert wire_consent(said, NEITHER, None) == Consent(True, False)
        assert event_consent({}, {"personalization": True}, Signal.DNT) == Consent(False, True)

    def test_two_in_one_event_may_each_answer_one_question(self) -> None:
        fields = {"consent": {"analytics": True}, "metadata": {"consent": {"personalization": False}}}
        assert event_consent(fields, BOTH, None) == Consent(True, False)

    @pytest.mark.parametrize("nothing", [None, {}, {"analytics": None}])
    def test_who_says_nothing_leaves_both_questions_to_the_next(self, nothing: Any) -> None:
        for fields in ({"consent": nothing}, {"metadata": {"consent": nothing}}):
            assert event_consent(fields, ONLY_ANALYTICS, None) == Consent(True, False)
            assert event_consent(fields, None, Signal.DNT) == DENIED
            assert event_consent(fields, nothing, None) == GRANTED

    def test_a_consent_that_was_read_already_is_as_good(self) -> None:
        assert event_consent({}, Stated(personalization=False), None) == Consent(True, False)
        assert event_consent({}, Stated(), Signal.DNT) == DENIED

    def test_a_consent_platform_may_have_more_purposes_than_two(self) -> None:
        said = {"marketing": 1, "personalization": False}
        assert event_consent({"consent": said}, None, None) == Consent(True, False)

    @pytest.mark.parametrize("misspelt", [{"analytic": False, "personalisation": False}, {"marketing": True}])
    def test_who_names_neither_question_is_told_what_is_expected(self, misspelt: dict[str, bool]) -> None:
        for fields, batch in (
            ({"consent": misspelt}, None),
            ({"metadata": {"consent": misspelt}}, None),
            ({}, misspelt),
        ):
            with pytest.raises(InvalidEvent, match=r'consent: expected \{"analytics": true or false'):
                event_consent(fields, batch, None)

    def test_a_request_is_not_asked_what_its_event_has_answered(self) -> None:
        assert event_consent({"consent": BOTH}, "nonsense", None) == GRANTED
        with pytest.raises(InvalidEvent, match="consent: expected"):
            event_consent({"consent": {"analytics": True}}, "nonsense", None)


@pytest.mark.parametrize("consent", [True, "granted", 1, [], {"analytics": "yes"}, {"personalization": 0}])
def test_a_consent_that_nobody_can_read_is_named_and_guessed_by_nobody(consent: Any) -> None:
    for fields, batch in (({"consent": consent}, None), ({"metadata": {"consent": consent}}, BOTH), ({}, consent)):
        with pytest.raises(InvalidEvent, match="consent: expected"):
            event_consent(fields, batch, None)
        with pytest.raises(InvalidEvent, match="consent: expected"):
            event_consent(fields, batch, Signal.DNT)


@pytest.mark.parametrize(
    ("said", "signal", "default", "kept"),
    [
        ("yes", None, GRANTED, True),
        ({"personalization": "maybe", "analytics": True}, None, GRANTED, True),
        ({"analytic": False}, None, GRANTED, True),
        ({"analytics": False, "personalization": "maybe"}, None, GRANTED, False),
        ({"analytics": "no"}, None, GRANTED, False),
        ("yes", Signal.DNT, GRANTED, False),
        ({"analytics": True, "personalization": "maybe"}, None, DENIED, False),
    ],
)
def test_an_event_whose_consent_nobody_can_read_is_never_withheld_and_kept_only_where_nothing_denies_it(
    said: Any, signal: Signal | None, default: Consent, kept: bool
) -> None:
    for fields in ({"consent": said}, {"metadata": {"consent": said}}, {"consent": {}, "metadata": {"consent": said}}):
        assert unread_consent(fields, None, signal, default) == Consent(kept, not kept)
    assert unread_consent({}, said, signal, default) == Consent(kept, not kept)


NOT_COUNTED, NOT_SHOWN = Consent(analytics=False, personalization=True), Consent(analytics=True, personalization=False)


@pytest.mark.parametrize(
    ("text", "signal", "default", "expected"),
    [
        (b"{", None, GRANTED, GRANTED),
        (b"{", None, DENIED, DENIED),
        (b"{", Signal.DNT, GRANTED, DENIED),
        (b"{", Signal.GPC, GRANTED, DENIED),
        (b'{"consent": {"analytics": true', None, DENIED, DENIED),
        (b'{"consent": {"analytics": true, "personalization": 1', None, GRANTED, GRANTED),
        (b'{"consent":{"analytics":false', None, GRANTED, NOT_COUNTED),
        (b'{"consent":{"personalization" : "denied"', None, GRANTED, NOT_SHOWN),
        (b'{"categoryPreferences": {"Analytics": false, "Personalization": false', None, GRANTED, DENIED),
        (b'{"data": "{\\"analytics\\": false', None, GRANTED, NOT_COUNTED),
        (b'{"cons\\u0065nt":{"anal\\u0079tics":false', None, GRANTED, NOT_COUNTED),
        (b'{"data": "{\\u0022analytics\\\\u0022: \\u0066alse', None, GRANTED, NOT_COUNTED),
        (b'{"personalization":"d\\u0065nied"', None, GRANTED, NOT_SHOWN),
        (b"consent.analytics=0&a=%ff", None, GRANTED, NOT_COUNTED),
        (b"consent=%7B%22analytics%22%3Afalse%7D&a=%ff", None, GRANTED, NOT_COUNTED),
        (b'{"analytics": 0.5, "web_analytics": false, "analytics_storage": 0', None, GRANTED, GRANTED),
    ],
)
def test_of_a_request_that_cannot_be_read_a_no_in_its_text_counts(
    text: bytes, signal: Signal | None, default: Consent, expected: Consent
) -> None:
    assert unreadable_consent(text, signal, default) == expected


def test_a_word_that_stands_too_often_to_be_searched_for_counts_as_a_no() -> None:
    assert unreadable_consent(b"analytics " * 2000, None) == GRANTED
    assert unreadable_consent(b"analytics " * 2001, None) == Consent(False, True)
    assert unreadable_consent(b"Personalization " * 2001, None) == Consent(True, False)


@given(
    st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda v: st.dictionaries(st.text(max_size=14), v))
)
def test_whatever_is_said_is_a_consent_or_invalid(said: Any) -> None:
    for fields in ({"consent": said}, {"metadata": said}, {"metadata": {"consent": said}}):
        found: Consent | str
        try:
            found = event_consent(fields, said, None)
        except InvalidEvent as error:
            found = error.field
        assert found == "consent" or isinstance(found, Consent)


class TestRecord:
    def test_a_visitor_who_said_nothing_and_agreed_by_default_leaves_no_trace(self) -> None:
        metadata: dict[str, Any] = {"category": "c"}
        record(metadata, GRANTED)
        assert metadata == {"category": "c"}

    @pytest.mark.parametrize("empty", [{}, None, {"analytics": None}])
    def test_nor_does_one_whose_consent_says_nothing(self, empty: Any) -> None:
        metadata = {"category": "c", "consent": empty}
        record(metadata, GRANTED, empty)
        assert metadata == {"category": "c"}

    def test_what_was_denied_or_said_is_written_whole(self) -> None:
        for before, consent, batch in (
            ({}, Consent(False, True), None),
            ({}, GRANTED, BOTH),
            ({"consent": {"analytics": True}}, GRANTED, None),
            ({"consent": {"analytics": True, "more": 1}}, Consent(True, False), None),
        ):
            record(before, consent, batch)
            assert before == {"consent": {"analytics": consent.analytics, "personalization": consent.personalization}}


class TestConfiguration:
    def test_the_least_environment_grants_by_default_and_honours_signals(self) -> None:
        privacy = Privacy.from_env({})
        assert (privacy.default, privacy.signals) == (GRANTED, True)

    def test_an_installation_may_ask_first_and_may_ignore_signals(self) -> None:
        environ = {"FRESHET_DEFAULT_CONSENT": " Denied ", "FRESHET_SIGNALS": "ignore"}
        privacy = Privacy.from_env(environ)
        assert (privacy.default, privacy.signals) == (DENIED, False)

    @pytest.mark.parametrize("key", ["FRESHET_DEFAULT_CONSENT", "FRESHET_SIGNALS"])
    def test_another_word_is_refused_by_name(self, key: str) -> None:
        with pytest.raises(InvalidConfig, match=f"{key}: expected .+ or .+, got 'yes'"):
            Privacy.from_env({key: "yes"})
