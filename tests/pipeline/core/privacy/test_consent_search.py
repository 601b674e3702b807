"""A denial in the text of a request that cannot be parsed counts."""

from __future__ import annotations

import pytest

from pipeline.core.privacy.consent import DENIED, GRANTED, Consent
from pipeline.core.privacy.consent_search import search_consent
from pipeline.core.privacy.signals import Signal

NOT_COUNTED, NOT_SHOWN = (
    Consent(analytics=False, personalization=True),
    Consent(analytics=True, personalization=False),
)


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
        (
            b'{"categoryPreferences": {"Analytics": false, "Personalization": false',
            None,
            GRANTED,
            DENIED,
        ),
        (b'{"data": "{\\"analytics\\": false', None, GRANTED, NOT_COUNTED),
        (b'{"cons\\u0065nt":{"anal\\u0079tics":false', None, GRANTED, NOT_COUNTED),
        (b'{"data": "{\\u0022analytics\\\\u0022: \\u0066alse', None, GRANTED, NOT_COUNTED),
        (b'{"personalization":"d\\u0065nied"', None, GRANTED, NOT_SHOWN),
        (b"consent.analytics=0&a=%ff", None, GRANTED, NOT_COUNTED),
        (b"consent=%7B%22analytics%22%3Afalse%7D&a=%ff", None, GRANTED, NOT_COUNTED),
        (
            b'{"analytics": 0.5, "web_analytics": false, "analytics_storage": 0',
            None,
            GRANTED,
            GRANTED,
        ),
    ],
)
def test_of_a_request_that_cannot_be_read_a_no_in_its_text_counts(
    text: bytes, signal: Signal | None, default: Consent, expected: Consent
) -> None:
    assert search_consent(text, signal, default) == expected


def test_a_word_that_stands_too_often_to_be_searched_for_counts_as_a_no() -> None:
    assert search_consent(b"analytics " * 2000, None) == GRANTED
    assert search_consent(b"analytics " * 2001, None) == Consent(False, True)
    assert search_consent(b"Personalization " * 2001, None) == Consent(True, False)
