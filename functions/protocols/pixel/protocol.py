"""The pixel, `GET /v1/pixel.gif?event=open&anonymous_id=a1`: for mail, and for pages without
scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.protocols.contract import Outcome, Reading, Translated, as_it_is
from functions.protocols.values import Joins, as_number, read_form, read_json
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.metadata_fields import NUMBER_METADATA
from pipeline.core.privacy.consent import FIELD
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time
from pipeline.core.untrusted_json import read as read_untrusted

PATHS = {"/v1/pixel.gif": ("GET", "HEAD")}
body_around = as_it_is
KEY_PATHS = (("key",),)
MAX_QUERY_LENGTH = 8192
FIELDS = ("event_id", "event", "timestamp", "user_id", "anonymous_id", "session_id", "product_id")
# Shown by other sites, that is what it is for, also by those that isolate themselves (COEP).
EMBEDDABLE = {"cross-origin-resource-policy": "cross-origin"}
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""1 x 1, transparent."""

_encoder = msgspec.json.Encoder()
_PART = f"{FIELD}."
_QUESTIONS = ("analytics", "personalization")
_ANSWERS = {"true": True, "1": True, "false": False, "0": False}


def read(incoming: Incoming) -> Reading:
    """One event of the query: the contract's fields under their names, `key` and `user_token`, all
    else metadata.

    Without `event` it is a `page_view`, without `timestamp` it happens now, and without an
    `event_id` each request is an event of its own: a mail program that asks twice counts twice.
    Consent is `consent.analytics=false` and `consent.personalization=false`, or `consent` as JSON;
    of one that comes several times a denial counts.

    Raises:
        InvalidEvent: the query cannot be read.
    """
    if len(incoming.query) > MAX_QUERY_LENGTH:
        expected = f"expected at most {MAX_QUERY_LENGTH} characters"
        raise InvalidEvent("query", expected, len(incoming.query))
    given = read_form(incoming.query, "query", _JOINS)
    key = given.pop("key", None)
    event = _translated(incoming, given)
    return Reading((event,), key, key_paths=KEY_PATHS)


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """The image, also where the event was rejected: a page that shows it cannot mend that, and it
    is in the dead letter.
    """
    return Answer(200, GIF, "image/gif", EMBEDDABLE)


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """The image and the status: a page shows nothing broken, and a proxy sees what is wrong."""
    return Answer(refusal.status, GIF, "image/gif", EMBEDDABLE)


def _translated(incoming: Incoming, given: dict[str, str]) -> Translated:
    token = given.pop(USER_TOKEN, None)
    fields: dict[str, Any] = {name: given.pop(name) for name in FIELDS if given.get(name)}
    fields.setdefault("event", "page_view")
    fields.setdefault("timestamp", format_time(incoming.received_at))
    whole = given.pop(FIELD, "")
    parts = {name: given.pop(name) for name in list(given) if name.startswith(_PART)}
    consent, error = _consent(whole, parts)
    if error is not None:
        return Translated(incoming.query, (consent,), error)
    metadata = {
        name: _value(name, value) for name, value in given.items() if value and name not in FIELDS
    }
    fields |= consent | {"metadata": metadata | consent["metadata"]}
    return Translated(incoming.query, (fields,), user_token=token)


def _consent(whole: str, parts: Mapping[str, str]) -> tuple[dict[str, Any], InvalidEvent | None]:
    """Consent of an event, where it has one, and the first part of it that cannot be read.

    Of what both forms answer only what both grant is granted, as of a consent beside the metadata
    and one in it.

    Args:
        whole: an object as JSON, or "".
        parts: `consent.analytics` and `consent.personalization`; what is empty says nothing.
    """
    answers: dict[str, Any] = {}
    error: InvalidEvent | None = None
    for name, text in parts.items():
        if not text:
            continue
        question = name.removeprefix(_PART)
        answers[question] = _ANSWERS.get(text.lower(), text)
        if answers[question] is text and question in _QUESTIONS:
            error = error or InvalidEvent(name, "expected true, false, 1 or 0", text)
    found: dict[str, Any] = {"metadata": {FIELD: answers} if answers else {}}
    if whole:
        found[FIELD] = _whole(whole)
    return found, error


def _whole(text: str) -> Any:
    """Leave a value that is no JSON, to be rejected with its name."""
    try:
        value = read_json(text, FIELD)
    except InvalidEvent:
        return text
    if not isinstance(value, dict):
        return value
    return {name: _as_bool(given) for name, given in value.items()}


def _as_bool(value: Any) -> Any:
    """0 and 1 as False and True; any other value as it is."""
    if type(value) is int and value in (0, 1):
        return bool(value)
    return value


def _join_wholes(texts: Sequence[str]) -> str:
    """One object of several: JSON in which a name comes again is read so that no denial is lost."""
    wholes = [_encoder.encode(_whole(text)) for text in texts if text]
    members = b",".join(b'"%s":%s' % (FIELD.encode(), whole) for whole in wholes)
    joined = read_untrusted(b"{%s}" % members).get(FIELD)
    if joined is None:
        return ""
    return _encoder.encode(joined).decode()


def _join_answers(texts: Sequence[str]) -> str:
    """The first denial, else the last that is not empty."""
    answers = [text for text in texts if text]
    denials = [text for text in answers if _ANSWERS.get(text.lower()) is False]
    return next(iter(denials + answers[-1:]), "")


_JOINS: Joins = {FIELD: _join_wholes} | {
    f"{_PART}{question}": _join_answers for question in _QUESTIONS
}


def _value(name: str, text: str) -> Any:
    """Numbers where the contract wants numbers; what is none stays, to be rejected with its
    name."""
    if name not in NUMBER_METADATA:
        return text
    number = as_number(text)
    return text if number is None else number
