"""Who agreed to what, and which word counts when several are said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.privacy.consent import (
    DENIED,
    GRANTED,
    Consent,
    StatedConsent,
    consent_of_rejected,
    record,
    resolve_consent,
)
from pipeline.core.privacy.signals import Signal

ONLY_ANALYTICS = {"analytics": True, "personalization": False}
ONLY_PERSONALIZATION = {"analytics": False, "personalization": True}
BOTH, NEITHER = (
    {"analytics": True, "personalization": True},
    {"analytics": False, "personalization": False},
)


class TestWhoseWordCounts:
    def test_without_any_word_the_default_holds(self) -> None:
        assert resolve_consent({"event": "click"}, None, None) == GRANTED
        assert resolve_consent({"event": "click"}, None, None, DENIED) == DENIED
        assert resolve_consent({"metadata": {}}, None, None, ONLY := Consent(True, False)) == ONLY

    def test_the_events_own_consent_goes_before_that_of_the_request(self) -> None:
        for fields in ({"consent": ONLY_ANALYTICS}, {"metadata": {"consent": ONLY_ANALYTICS}}):
            assert resolve_consent(fields, BOTH, None) == Consent(True, False)
        assert resolve_consent({"metadata": {"consent": ONLY_ANALYTICS}}, BOTH, None) == Consent(
            True, False
        )
        assert resolve_consent({}, ONLY_PERSONALIZATION, None) == Consent(False, True)
        assert resolve_consent({"metadata": {}}, ONLY_PERSONALIZATION, None) == Consent(False, True)

    def test_of_two_in_one_event_what_both_grant_is_granted(self) -> None:
        fields = {"consent": ONLY_ANALYTICS, "metadata": {"consent": ONLY_PERSONALIZATION}}
        assert resolve_consent(fields, BOTH, None) == DENIED

    def test_do_not_track_goes_before_the_default_and_after_every_explicit_answer(self) -> None:
        assert resolve_consent({}, None, Signal.DNT) == DENIED
        assert resolve_consent({}, BOTH, Signal.DNT) == GRANTED
        assert resolve_consent({"consent": ONLY_ANALYTICS}, None, Signal.DNT) == Consent(
            True, False
        )

    @given(
        fields=st.sampled_from([{}, {"consent": BOTH}, {"consent": "nonsense"}]),
        batch=st.sampled_from([None, BOTH]),
    )
    def test_global_privacy_control_goes_before_everything(
        self, fields: dict[str, Any], batch: Any
    ) -> None:
        assert resolve_consent(fields, batch, Signal.GPC) == DENIED

    def test_what_the_event_leaves_open_its_request_answers_then_browser_then_default(
        self,
    ) -> None:
        said = {"consent": {"analytics": True, "personalization": None}}
        assert resolve_consent(said, NEITHER, None) == Consent(True, False)
        assert resolve_consent(said, {"analytics": False}, Signal.DNT) == Consent(True, False)
        assert resolve_consent(said, {"personalization": True}, Signal.DNT, DENIED) == GRANTED
        assert resolve_consent(said, None, Signal.DNT) == Consent(True, False)
        assert resolve_consent(said, None, None, DENIED) == Consent(True, False)
        assert resolve_consent(said, None, None) == GRANTED
        assert resolve_consent({"metadata": said}, NEITHER, None) == Consent(True, False)
        assert resolve_consent({}, {"personalization": True}, Signal.DNT) == Consent(False, True)

    def test_two_in_one_event_may_each_answer_one_question(self) -> None:
        fields = {
            "consent": {"analytics": True},
            "metadata": {"consent": {"personalization": False}},
        }
        assert resolve_consent(fields, BOTH, None) == Consent(True, False)

    @pytest.mark.parametrize("nothing", [None, {}, {"analytics": None}])
    def test_who_says_nothing_leaves_both_questions_to_the_next(self, nothing: Any) -> None:
        for fields in ({"consent": nothing}, {"metadata": {"consent": nothing}}):
            assert resolve_consent(fields, ONLY_ANALYTICS, None) == Consent(True, False)
            assert resolve_consent(fields, None, Signal.DNT) == DENIED
            assert resolve_consent(fields, nothing, None) == GRANTED

    def test_a_consent_that_was_read_already_is_as_good(self) -> None:
        assert resolve_consent({}, StatedConsent(personalization=False), None) == Consent(
            True, False
        )
        assert resolve_consent({}, StatedConsent(), Signal.DNT) == DENIED

    def test_a_consent_platform_may_have_more_purposes_than_two(self) -> None:
        said = {"marketing": 1, "personalization": False}
        assert resolve_consent({"consent": said}, None, None) == Consent(True, False)

    @pytest.mark.parametrize(
        "misspelt", [{"analytic": False, "personalisation": False}, {"marketing": True}]
    )
    def test_who_names_neither_question_is_told_what_is_expected(
        self, misspelt: dict[str, bool]
    ) -> None:
        for fields, batch in (
            ({"consent": misspelt}, None),
            ({"metadata": {"consent": misspelt}}, None),
            ({}, misspelt),
        ):
            with pytest.raises(
                InvalidEvent, match=r'consent: expected \{"analytics": true or false'
            ):
                resolve_consent(fields, batch, None)

    def test_a_request_is_not_asked_what_its_event_has_answered(self) -> None:
        assert resolve_consent({"consent": BOTH}, "nonsense", None) == GRANTED
        with pytest.raises(InvalidEvent, match="consent: expected"):
            resolve_consent({"consent": {"analytics": True}}, "nonsense", None)


@pytest.mark.parametrize(
    "consent", [True, "granted", 1, [], {"analytics": "yes"}, {"personalization": 0}]
)
def test_a_consent_that_nobody_can_read_is_named_and_guessed_by_nobody(consent: Any) -> None:
    for fields, batch in (
        ({"consent": consent}, None),
        ({"metadata": {"consent": consent}}, BOTH),
        ({}, consent),
    ):
        with pytest.raises(InvalidEvent, match="consent: expected"):
            resolve_consent(fields, batch, None)
        with pytest.raises(InvalidEvent, match="consent: expected"):
            resolve_consent(fields, batch, Signal.DNT)


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
def test_an_event_of_unreadable_consent_is_never_withheld_and_kept_only_without_denial(
    said: Any, signal: Signal | None, default: Consent, kept: bool
) -> None:
    for fields in (
        {"consent": said},
        {"metadata": {"consent": said}},
        {"consent": {}, "metadata": {"consent": said}},
    ):
        assert consent_of_rejected(fields, None, signal, default) == Consent(kept, not kept)
    assert consent_of_rejected({}, said, signal, default) == Consent(kept, not kept)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=3),
        lambda v: st.dictionaries(st.text(max_size=14), v),
    )
)
def test_whatever_is_said_is_a_consent_or_invalid(said: Any) -> None:
    for fields in ({"consent": said}, {"metadata": said}, {"metadata": {"consent": said}}):
        found: Consent | str
        try:
            found = resolve_consent(fields, said, None)
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
            assert before == {
                "consent": {
                    "analytics": consent.analytics,
                    "personalization": consent.personalization,
                }
            }
