"""JSON of clients: half characters mended, and a name that stands twice in an object read so that
no denial is lost.

RFC 8259 (section 4) leaves open what a repeated name means; most readers take the last value. A
visitor's no that is followed by a yes is still a no, so here a denial stays, objects of one name
are one, and the rest is as most have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pipeline.core.invalid_event import TooMuch
from pipeline.core.unicode_surrogates import mended

MAX_REPEATING_VALUES = 10_000
"""In JSON that repeats names, which no client does: its reader takes a microsecond and more for
each."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors that `read` raises."""

CONSENT = b"consent"
"""Searched for first: an event without it has no consent to hide."""
_OUTER_NAMES = (b'"consent"', b'"analytics"', b'"personalization"')
_CONSENT_NAMES = (*_OUTER_NAMES, b'"metadata"')
_ESCAPED_LETTERS = (b"\\u006", b"\\u007", b"\\u004", b"\\u005")
_BACKSLASH, _ESCAPED_MARK = rb"\\", rb"\u0022"
"""An escaped backslash, after which `u0022` is text; and a quotation mark."""
_YES_DENIES = "non_personalized_ads"
_JOINED = "deniedConsentIds"
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def read(data: bytes | str) -> Any:
    """Any JSON value.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is none.
        TooMuch: above `MAX_REPEATING_VALUES`.
    """
    try:
        value = _decoder.decode(data)
    except UNREADABLE:
        whole = mended(data)
        if whole is None:
            raise
        return read(whole)
    plain = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    if not repeats(plain, value):
        return value
    if plain.count(b",") > MAX_REPEATING_VALUES:
        most = f"{MAX_REPEATING_VALUES} values where names stand twice in an object"
        raise TooMuch("body", f"expected at most {most}")
    return _merged(data)


def repeats(data: bytes, value: Any) -> bool:
    """True where names stand twice in the JSON that `value` was decoded from: `value` has fewer
    quotation marks.
    """
    return _quotation_marks(data) != _encoder.encode(value).count(b'"')


def _quotation_marks(json: bytes) -> int:
    """Those in escapes count as well: .NET and PHP write every one within a text as `\\u0022`."""
    marks = json.count(b'"')
    if _ESCAPED_MARK in json:
        marks += json.replace(_BACKSLASH, b"").count(_ESCAPED_MARK)
    return marks


def may_hide_consent(event: bytes) -> bool:
    """True where a name of a consent may stand twice in an event, or is written in escapes; rare,
    and cheap to find.
    """
    if has_escaped_letter(event):
        return True
    return CONSENT in event and any(event.count(name) > 1 for name in _CONSENT_NAMES)


def may_hide_consent_beside(body: bytes, events: Sequence[bytes]) -> bool:
    """`may_hide_consent`, of a body beside its `events`, each of which is in it to the byte."""
    if has_escaped_letter(body) and any(
        _beside(escape, body, events) for escape in _ESCAPED_LETTERS
    ):
        return True
    if CONSENT not in body:
        return False
    several = [name for name in _OUTER_NAMES if body.count(name) > 1]
    if not several or not _beside(CONSENT, body, events):
        return False
    return any(_beside(name, body, events) > 1 for name in several)


def _beside(piece: bytes, body: bytes, events: Sequence[bytes]) -> int:
    """The number of times that a piece is in a body and in none of its events."""
    return body.count(piece) - sum([event.count(piece) for event in events])


def has_escaped_letter(data: bytes) -> bool:
    """True where an ASCII letter is written as an escape, which no client does."""
    return b"\\" in data and b"\\u00" in data and any(escape in data for escape in _ESCAPED_LETTERS)


def _merged(data: bytes | str) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_object)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return _with({}, pairs)


def _with(found: dict[str, Any], pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Put them in, in place: a copy for each repetition would cost the square of their number."""
    for name, value in pairs:
        found[name] = _both(name, found[name], value) if name in found else value
    return found


def _both(name: str, one: Any, other: Any) -> Any:
    """The later value, but for a denial, an object, and null after anything."""
    if type(one) is dict and type(other) is dict:
        return _with(one, other.items())
    if type(one) is dict:
        return one
    if name == _JOINED and isinstance(one, list) and isinstance(other, list):
        one += other
        return one
    if other is None or _is_denial(name, one):
        return one
    return other


def _is_denial(name: str, value: Any) -> bool:
    if name == _YES_DENIES:
        return value is True
    return value is False or value == "DENIED"
