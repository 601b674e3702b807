"""Search for denials in the text of a request that cannot be parsed."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from pipeline.core.privacy.consent import DENIED, GRANTED, Consent
from pipeline.core.privacy.signals import Signal

_MAX_QUOTED_BYTES = 64 * 1024
"""More than a query can have; to undo the quoting of a whole body would hold up all other
requests."""
_MAX_ESCAPES = 20_000
"""More than this, to be undone, would hold up all other requests: it counts as a denial."""
_ESCAPED = re.compile(rb"(?<!\\)\\++u00([2-7][0-9a-fA-F])")
"""A character of ASCII as JSON may write it, also in a text within a text."""
_MAX_MENTIONS = 2000
"""More often than any request of the contract names a question: it counts as a denial and is not
searched for."""
_ANSWER = rb"[\\\"']{0,4}\s{0,9}[:=]\s{0,9}[\\\"']{0,4}(?:false|0|no|denied)(?![a-z0-9_.])"
_DENIES = {
    # The word first and then what stands before it: a search for a fixed text takes a tenth of the
    # time.
    name: re.compile(rb"%b(?<![a-z0-9_]%b)%b" % (name.encode(), name.encode(), _ANSWER))
    for name in ("analytics", "personalization")
}


def search_consent(text: bytes, signal: Signal | None, default: Consent = GRANTED) -> Consent:
    """The consent of a request of which no event can be parsed.

    A question is denied where a signal or the default denies it, and where the text anywhere denies
    it in the contract's words, `"analytics": false` or `consent.analytics=0`: for which visitor
    cannot be known.
    """
    if signal is not None or text.count(rb"\u00") > _MAX_ESCAPES:
        return DENIED
    texts = [text, unquote_to_bytes(text[:_MAX_QUOTED_BYTES])] if b"%" in text else [text]
    texts = [_unescaped(one).lower() for one in texts]
    denied = {name for name in _DENIES if any(_is_denied(name, one) for one in texts)}
    return Consent(
        default.analytics and "analytics" not in denied,
        default.personalization and "personalization" not in denied,
    )


def _is_denied(name: str, text: bytes) -> bool:
    return text.count(name.encode()) > _MAX_MENTIONS or _DENIES[name].search(text) is not None


def _unescaped(text: bytes) -> bytes:
    return _ESCAPED.sub(_character, text) if rb"\u00" in text else text


def _character(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode())
