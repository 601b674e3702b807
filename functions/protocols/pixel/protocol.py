"""The pixel, `GET /v1/pixel.gif?event=open&anonymous_id=a1`: for mail, and for pages without
scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.protocols.contract import Outcome, Reading, Translated
from functions.protocols.values import Joins, as_number, read_form, read_json
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.metadata_fields import NUMBER_METADATA
from pipeline.core.privacy.consent import FIELD
from pipeline.core.privacy.user_tokens import USER_TOKEN
from pipeline.core.timestamps import format_time
from pipeline.core.untrusted_json import read as read_untrusted

PATHS = {"/v1/pixel.gif": ("GET", "HEAD")}
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
        raise InvalidEvent(
            "query", f"expected at most {MAX_QUERY_LENGTH} characters", len(incoming.query)
        )
    given = read_form(incoming.query, "query", _JOINS)
    key, token = given.pop("key", None), given.pop(USER_TOKEN, None)
    fields: dict[str, Any] = {name: given.pop(name) for name in FIELDS if given.get(name)}
    fields.setdefault("event", "page_view")
    fields.setdefault("timestamp", format_time(incoming.received_at))
    whole, parts = (
        given.pop(FIELD, ""),
        {name: given.pop(name) for name in list(given) if name.startswith(_PART)},
    )
    consent, error = _consent(whole, parts)
    if error is not None:
        return Reading((Translated(incoming.query, (consent,), error),), key, key_paths=KEY_PATHS)
    told = {
        name: _value(name, value) for name, value in given.items() if value and name not in FIELDS
    }
    fields |= consent | {"metadata": told | consent["metadata"]}
    return Reading(
        (Translated(incoming.query, (fields,), user_token=token),), key, key_paths=KEY_PATHS
    )


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """The image, also where the event was rejected: a page that shows it cannot mend that, and it
    is in the dead letter.
    """
    return Answer(200, GIF, "image/gif", EMBEDDABLE)


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """The image and the status: a page shows nothing broken, and a proxy sees what is wrong."""
    return Answer(refusal.status, GIF, "image/gif", EMBEDDABLE)


def _consent(whole: str, parts: Mapping[str, str]) -> tuple[dict[str, Any], InvalidEvent | None]:
    """Consent of an event, where it has one, and the first part of it that cannot be read.

    Of what both forms answer only what both grant is granted, as of a consent beside the metadata
    and one in it.

    Args:
        whole: an object as JSON, or "".
        parts: `consent.analytics` and `consent.personalization`; what is empty says nothing.
    """
    said: dict[str, Any] = {}
    error: InvalidEvent | None = None
    for name, text in parts.items():
        question, answer = name.removeprefix(_PART), _ANSWERS.get(text.lower())
        if text:
            said[question] = text if answer is None else answer
        if text and answer is None and question in _QUESTIONS:
            error = error or InvalidEvent(name, "expected true, false, 1 or 0", text)
    found: dict[str, Any] = {FIELD: _whole(whole)} if whole else {}
    return found | {"metadata": {FIELD: said} if said else {}}, error


def _whole(text: str) -> Any:
    """Leave a value that is no JSON, to be rejected with its name."""
    try:
        value = read_json(text, FIELD)
    except InvalidEvent:
        return text
    if not isinstance(value, dict):
        return value
    return {
        name: bool(given) if type(given) is int and given in (0, 1) else given
        for name, given in value.items()
    }


def _join_wholes(texts: Sequence[str]) -> str:
    """One object of several: JSON in which a name comes again is read so that no denial is lost."""
    members = b",".join(
        b'"%s":%s' % (FIELD.encode(), _encoder.encode(_whole(text))) for text in texts if text
    )
    joined = read_untrusted(b"{%s}" % members).get(FIELD)
    return "" if joined is None else _encoder.encode(joined).decode()


def _join_answers(texts: Sequence[str]) -> str:
    """The first denial, else the last that says something."""
    said = [text for text in texts if text]
    denials = [text for text in said if _ANSWERS.get(text.lower()) is False]
    return next(iter(denials + said[-1:]), "")


_JOINS: Joins = {FIELD: _join_wholes} | {
    f"{_PART}{question}": _join_answers for question in _QUESTIONS
}


def _value(name: str, text: str) -> Any:
    """Numbers where the contract wants numbers; what is none stays, to be rejected with its
    name."""
    number = as_number(text) if name in NUMBER_METADATA else None
    return text if number is None else number
