"""What is told of events that are given up, by the callback that the caller gave."""

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
    """Events that will not be sent again, for `on_error` to keep or to report. It holds user data: do not log it.

    Attributes:
        reason: what the collector said, or what happened here.
        events: as they would have been sent.
        status: of the answer; None where there was none, or where only these events of the request were rejected.
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


class _Taken(msgspec.Struct):
    accepted: int
    errors: list[_Error] = []


class _Problem(msgspec.Struct):
    detail: str = ""
    errors: list[_Error] = []


def refused(answer: httpx.Response, batch: list[bytes]) -> list[Undelivered]:
    """What an answer that is the last one says of events that were not taken: of each by itself, or of all."""
    status = answer.status_code
    try:
        if answer.is_success:
            errors = msgspec.json.decode(answer.content, type=_Taken).errors
            return [undelivered(error.reason, [batch[error.index]], None, error.field) for error in errors]
        problem = msgspec.json.decode(answer.content, type=_Problem)
        field = problem.errors[0].field if problem.errors else None
        return [undelivered(problem.detail or f"status {status}", batch, status, field)]
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
        return [undelivered(f"status {status}, and an answer that is no collector's", batch, status)]


def undelivered(
    reason: str, payloads: Iterable[bytes], status: int | None = None, field: str | None = None
) -> Undelivered:
    """`Undelivered`, of events as bytes."""
    return Undelivered(reason, tuple(map(msgspec.json.decode, payloads)), status, field)


def tell(on_error: OnError | None, gone: Undelivered) -> None:
    """Call the caller's function, if there is one. What it raises stops nothing."""
    if on_error is None:
        return
    try:
        on_error(gone)
    except Exception as error:  # theirs; its text may quote an event
        logger.error("on_error failed: %s", type(error).__name__)
