"""Refusals: requests of which nothing is accepted, and what their senders are answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.http.exchange import Refusal
from functions.publisher import PublishFailed
from functions.routes import foreign_tracker
from pipeline.core.invalid_event import TooMuch
from pipeline.runtime.bodies import RETRY_AFTER_S, BodyRefused


class Refused(Exception):
    """A request of which nothing is taken.

    Attributes:
        refusal: the answer to the client.
        headers: that help the client.
        dead_letter: the message for the dead letter, where the request is kept.
    """

    def __init__(
        self, refusal: Refusal, headers: Mapping[str, str] | None = None, dead_letter: Any = None
    ) -> None:
        self.refusal = refusal
        self.headers = dict(headers or {})
        self.dead_letter = dead_letter
        super().__init__(f"{refusal.status}: {refusal.field}: {refusal.reason}")

    @staticmethod
    def because(status: int, field: str, reason: str, **headers: str) -> Refused:
        """With `headers`, underscores for hyphens."""
        return Refused(
            Refusal(status, field, reason),
            {name.replace("_", "-"): v for name, v in headers.items()},
        )


def as_refused(error: Refused | BodyRefused | PublishFailed) -> Refused:
    if isinstance(error, Refused):
        return error
    return _refused_body(error) if isinstance(error, BodyRefused) else _not_stored()


def no_such_path(path: str) -> str:
    tracker = foreign_tracker(path)
    if tracker is None:
        return "expected one of the paths in /openapi.json"
    return (
        f"{tracker}'s protocol is not read; send its events to /v1/events or, by a forwarder that "
        "speaks Segment,"
        " to /v1/batch: docs/protocols/others.md"
    )


def too_much(error: TooMuch) -> Refused:
    return Refused(Refusal(413, error.field, error.reason, value=error.value))


def _refused_body(error: BodyRefused) -> Refused:
    wait = RETRY_AFTER_S if error.status == 503 else None
    return Refused(Refusal(error.status, error.field, error.reason, wait), error.headers)


def _not_stored() -> Refused:
    refusal = Refusal(503, "server", "not stored, send the same request again", RETRY_AFTER_S)
    return Refused(refusal, {"retry-after": str(RETRY_AFTER_S)})
