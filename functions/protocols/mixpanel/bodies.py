"""Bodies of Mixpanel's clients: JSON, lines of JSON, or a form's `data` as JSON or base64; or a
query.
"""

from __future__ import annotations

from typing import Any

import msgspec

from functions.http.exchange import Incoming
from functions.protocols.mixpanel.events import stated_consent, token_of
from functions.protocols.refused_events import object_of_any_depth, refused_event
from functions.protocols.values import checked_list, from_base64, read_form, read_json
from pipeline.core.invalid_event import InvalidEvent, TooMuch

FORM = "application/x-www-form-urlencoded"


class Given(msgspec.Struct, frozen=True):
    """The events of a request, not parsed, and the options in its query and form.

    An event that cannot be read, and does not take the request along, is a `Translated` with the
    error.
    """

    events: list[Any]
    options: dict[str, str]


def read_given(incoming: Incoming) -> Given:
    """Take a request apart.

    Raises:
        InvalidEvent: the request as a whole cannot be read; field `query`, `body`, `data` or
            `events`.
    """
    options = read_form(incoming.query, "query") if incoming.query else {}
    body = incoming.body.strip() if incoming.method == "POST" else b""
    if body[:1] in (b"[", b"{"):
        lines_allowed = incoming.path.startswith("/import")
        try:
            return Given(_of_json(body, lines_allowed), options)
        except InvalidEvent as error:
            return _too_deep(body, options, error)
    if body:
        options |= read_form(body)
    data = options.pop("data", None)
    if not data:
        raise InvalidEvent("data", "required")
    json = _json_of(data.strip())
    try:
        return Given(_as_list(read_json(json, "data")), options)
    except InvalidEvent as error:
        return _too_deep(json, options, error)


def _json_of(data: str) -> bytes:
    """A form's `data`, which is JSON or base64 of it."""
    if data[:1] in ("[", "{"):
        return data.encode("utf-8", "surrogatepass")
    return from_base64(data, "data")


def _of_json(body: bytes, lines_allowed: bool) -> list[Any]:
    try:
        return _as_list(read_json(body))
    except TooMuch:
        raise
    except InvalidEvent as error:
        if error.field == "body" and lines_allowed and body[:1] == b"{" and b"\n" in body:
            return [_of_line(line) for line in checked_list(_lines(body), "events")]
        raise


def _too_deep(body: bytes, options: dict[str, str], error: InvalidEvent) -> Given:
    """A lone event of which only the nesting is wrong is one that is rejected: its token and
    consent can be read.
    """
    event = object_of_any_depth(body)
    if event is None:
        raise error
    token = token_of(event)
    if token:
        options = options | {"token": token}
    return Given([refused_event(body, error, stated_consent(event))], options)


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.split(b"\n") if line.strip()]


def _of_line(line: bytes) -> Any:
    try:
        return read_json(line, "body")
    except InvalidEvent as error:
        return refused_event(line, error, stated_consent(object_of_any_depth(line)))


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value]
    return checked_list(value, "events")
