"""Mixpanel's ingestion API: `/track`, `/import`, `/engage`, and `/groups`, which says nothing of
visitors.

https://docs.mixpanel.com/reference/track-event, https://docs.mixpanel.com/reference/import-events
and
https://docs.mixpanel.com/reference/profile-set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from functions.http.exchange import Answer, Incoming, Refusal
from functions.http.problems import safe
from functions.protocols.contract import (
    Outcome,
    Reading,
    Rejected,
    Translated,
    Translations,
    as_it_is,
)
from functions.protocols.mixpanel.bodies import FORM, read_given
from functions.protocols.mixpanel.events import event, profile_update, time_of_event, token_of
from functions.protocols.pixel.protocol import EMBEDDABLE, GIF
from functions.protocols.values import basic_user, read_form, time_of
from pipeline.core.events import MAX_AGE
from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import parse_time

_METHODS = ("POST", "GET")
PATHS = {
    f"/{name}{slash}": _METHODS
    for name in ("track", "import", "engage", "groups")
    for slash in ("", "/")
}

body_around = as_it_is
KEY_PATHS = (("properties", "token"), ("$token",))
_TRUE = ("1", "true")
_encoder = msgspec.json.Encoder()


def read(incoming: Incoming) -> Reading:
    """The events or profile updates of a request.

    The write key is the token of the first that carries one, else the query's or form's `token` or
    `api_key`, else the user of basic authorization. An import is history as soon as one of its
    events is older than what is taken live. `sent_at` is the query's `_`, by which browsers keep
    caches away.

    Raises:
        InvalidEvent: the request as a whole cannot be read, or stands for too many events.
    """
    given = read_given(incoming)
    key = _write_key(incoming, given.events, given.options)
    translate = _TRANSLATORS.get(incoming.path.strip("/"), event)

    def translated(found: Any) -> Translated:
        if isinstance(found, Translated):
            return found
        return translate(found, key, incoming.received_at)

    events = Translations(given.events, translated)
    is_import = incoming.path.startswith("/import")
    history = is_import and _is_history(given.events, incoming.received_at)
    return Reading(events, key, _sent_at(given.options.get("_")), history, key_paths=KEY_PATHS)


def accepted(incoming: Incoming, outcome: Outcome) -> Answer:
    """`1`, or `{"status": 1}` where `verbose`; of a documented import `{"code": 200,
    "num_records_imported"}`.

    Where nothing was accepted, or something was not and an import is `strict`, 400 and what was
    wrong.
    """
    options = _options(incoming)
    if _is_documented_import(incoming):
        return _import_answer(outcome, options.get("strict") == "1")
    if options.get("img") in _TRUE:
        return Answer(200, GIF, "image/gif", EMBEDDABLE)
    failed = bool(outcome.rejected) and not outcome.accepted
    status = 400 if failed else 200
    if not _is_verbose(incoming, options):
        return Answer(status, b"0" if failed else b"1", "text/plain")
    return _json(status, {"status": 0 if failed else 1, "error": _summary(outcome.rejected)})


def refused(incoming: Incoming, refusal: Refusal) -> Answer:
    """`{"status": 0, "error"}`, which Mixpanel's libraries know; of a documented import `{"code",
    "error", "status"}`.

    Its browser library sends again after 429 and 5xx and splits after 413, with any body; its
    Python library reads the body.
    """
    error = f"{refusal.field}: {refusal.reason}"
    if _is_documented_import(incoming):
        phrase = HTTPStatus(refusal.status).phrase
        return _json(refusal.status, {"code": refusal.status, "error": error, "status": phrase})
    if incoming.method == "GET" and not _is_verbose(incoming, _options(incoming)):
        return Answer(refusal.status, b"0", "text/plain")
    return _json(refusal.status, {"status": 0, "error": error})


def _group_update(source: Any, token: str | None, received_at: datetime) -> Translated:
    return Translated(source)


_TRANSLATORS = {"engage": profile_update, "groups": _group_update}


def _write_key(incoming: Incoming, events: Iterable[Any], options: dict[str, str]) -> str | None:
    carried = next(filter(None, map(token_of, events)), None)
    return carried or options.get("token") or options.get("api_key") or basic_user(incoming.headers)


def _sent_at(milliseconds: str | None) -> datetime | None:
    """None for what is no time: it is there for caches and is no promise."""
    try:
        given = time_of(milliseconds, 0.001, "_")
        return None if given is None else parse_time("_", given)
    except InvalidEvent:
        return None


def _is_history(events: Iterable[Any], received_at: datetime) -> bool:
    oldest = received_at - MAX_AGE
    times = filter(None, map(time_of_event, events))
    return any(parse_time("time", given) < oldest for given in times)


def _import_answer(outcome: Outcome, strict: bool) -> Answer:
    counted = {"num_records_imported": outcome.accepted}
    if not outcome.rejected or (outcome.accepted and not strict):
        return _json(200, {"code": 200, **counted, "status": "OK"})
    failed = {"failed_records": [_failed_record(rejected) for rejected in outcome.rejected]}
    error = "some data points in the request failed validation"
    return _json(400, {"code": 400, "error": error, **failed, **counted, "status": "Bad Request"})


def _failed_record(rejected: Rejected) -> dict[str, Any]:
    error = rejected.error
    return {
        "index": rejected.index,
        "insert_id": rejected.event_id or "",
        "field": error.field,
        "message": f"{error.field}: {error.reason}",
    }


def _summary(rejected: Sequence[Rejected]) -> str | None:
    """Error of the first rejected event, and the number of others; None without any."""
    if not rejected:
        return None
    first = rejected[0]
    more = f" (and {len(rejected) - 1} more)" if len(rejected) > 1 else ""
    return f"event {first.index}: {first.error.field}: {first.error.reason}{more}"


def _is_documented_import(incoming: Incoming) -> bool:
    """As JSON; the libraries' own imports are forms and are answered as tracking is."""
    is_form = incoming.headers.get("content-type", "").lower().startswith(FORM)
    return incoming.path.startswith("/import") and incoming.method == "POST" and not is_form


def _is_verbose(incoming: Incoming, options: dict[str, str]) -> bool:
    """Also where the form says so; within its `data` no such text stands, for there `&` is
    escaped."""
    body = incoming.body
    return options.get("verbose") in _TRUE or body.startswith(b"verbose=1") or b"&verbose=1" in body


def _options(incoming: Incoming) -> dict[str, str]:
    try:
        return read_form(incoming.query, "query") if incoming.query else {}
    except InvalidEvent:
        return {}


def _json(status: int, content: dict[str, Any]) -> Answer:
    return Answer(status, safe(_encoder.encode(content)))
