"""The report of events that are given up, made to the callback that the caller gave."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Events that will not be sent again, for `on_error` to keep. Holds user data: do not log it.

    Attributes:
        reason: the collector's, or the client's own.
        events: as they would have been sent.
        status: of the response; None where there was none, or where it rejected only these events
            of the request.
        field: of the event or request, where the collector named one.
    """

    reason: str
    events: tuple[dict[str, Any], ...]
    status: int | None = None
    field: str | None = None


OnError = Callable[[Undelivered], object]


class _Error(msgspec.Struct):
    field: str | None = None
    reason: str = ""
    index: int = 0


class _Accepted(msgspec.Struct):
    """The collector's response to a request that it took."""

    accepted: int
    errors: list[_Error] = []


class _Problem(msgspec.Struct):
    """The collector's response to a request that it refused, RFC 9457."""

    detail: str = ""
    errors: list[_Error] = []


def rejected(response: httpx.Response, batch: list[bytes]) -> list[Undelivered]:
    """Read from a final response which events of its batch were not stored."""
    status = response.status_code
    try:
        if response.is_success:
            errors = msgspec.json.decode(response.content, type=_Accepted).errors
            return [_rejected_event(error, batch) for error in errors]
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        reason = f"status {status}, and a response that is not a collector's"
        return [undelivered(reason, batch, status=status)]
    field = problem.errors[0].field if problem.errors else None
    return [undelivered(problem.detail or f"status {status}", batch, status=status, field=field)]


def _rejected_event(error: _Error, batch: list[bytes]) -> Undelivered:
    return undelivered(error.reason, [batch[error.index]], field=error.field)


def undelivered(
    reason: str, payloads: Iterable[bytes], *, status: int | None = None, field: str | None = None
) -> Undelivered:
    """Make an `Undelivered` of encoded events."""
    events = tuple(msgspec.json.decode(payload) for payload in payloads)
    return Undelivered(reason, events, status, field)


def report(on_error: OnError | None, gone: Undelivered) -> None:
    """Call the caller's function, if there is one. An exception of its own stops nothing."""
    if on_error is None:
        return
    try:
        on_error(gone)
    except Exception as error:  # its text may quote an event
        logger.error("on_error failed: %s", type(error).__name__)
