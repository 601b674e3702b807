"""What Mixpanel's clients put on the wire: JSON, lines of JSON, or a form's `data` as JSON or base64; or a query."""

from __future__ import annotations

from typing import Any

import msgspec

from functions.protocols.contract import Incoming, Translated
from functions.protocols.values import checked_list, from_base64, read_form, read_json
from pipeline.core.events import InvalidEvent

FORM = "application/x-www-form-urlencoded"


class Given(msgspec.Struct, frozen=True):
    """The events of a request, unread, and what its query and form say beside them.

    An event whose line is no JSON is a `Translated` with the error.
    """

    events: list[Any]
    options: dict[str, str]


def read_given(incoming: Incoming) -> Given:
    """Take a request apart.

    Raises:
        InvalidEvent: the request as a whole cannot be read; field `query`, `body`, `data` or `events`.
    """
    options = read_form(incoming.query, "query") if incoming.query else {}
    body = incoming.body.strip() if incoming.method == "POST" else b""
    if body[:1] in (b"[", b"{"):
        lines_allowed = incoming.path.startswith("/import")
        return Given(_of_json(body, lines_allowed), options)
    if body:
        options |= read_form(body)
    data = options.pop("data", None)
    if not data:
        raise InvalidEvent("data", "required", None)
    return Given(_of_data(data.strip()), options)


def _of_data(data: str) -> list[Any]:
    if data[:1] in ("[", "{"):
        return _as_list(read_json(data, "data"))
    return _as_list(read_json(from_base64(data, "data"), "data"))


def _of_json(body: bytes, lines_allowed: bool) -> list[Any]:
    try:
        return _as_list(read_json(body))
    except InvalidEvent as error:
        if error.field == "body" and lines_allowed and body[:1] == b"{" and b"\n" in body:
            return [_of_line(line) for line in checked_list(_lines(body), "events")]
        raise


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.split(b"\n") if line.strip()]


def _of_line(line: bytes) -> Any:
    try:
        return read_json(line, "body")
    except InvalidEvent as error:
        return Translated(line, (), error)


def _as_list(value: Any) -> list[Any]:
    return checked_list([value] if isinstance(value, dict) else value, "events")
