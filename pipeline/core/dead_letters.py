"""Input that breaks the contract, kept whole with the reason, ready to be repaired and replayed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from pipeline.core.invalid_event import InvalidEvent
from pipeline.core.timestamps import format_time, parse_time


class DeadLetter(msgspec.Struct, frozen=True):
    """One rejected event or body. The fields are the columns of the table `dead_letters`, times as
    RFC 3339.

    `payload` is the input as text when it is UTF-8 (`encoding` "utf-8"), else in base64 (`encoding`
    "base64").
    """

    received_at: str
    source: str
    field: str
    reason: str
    payload: str
    encoding: str
    attributes: str

    @staticmethod
    def of(
        payload: bytes,
        error: InvalidEvent,
        source: str,
        received_at: datetime,
        attributes: Mapping[str, str],
    ) -> DeadLetter:
        """The dead letter for `payload`, rejected by `source` ("collector" or "pipeline") because
        of `error`.
        """
        text, encoding = _as_text(payload)
        return DeadLetter(
            received_at=format_time(received_at),
            source=source,
            field=error.field,
            reason=error.reason,
            payload=text,
            encoding=encoding,
            attributes=msgspec.json.encode(dict(attributes)).decode(),
        )

    @staticmethod
    def received(payload: bytes, attributes: Mapping[str, str], now: datetime) -> DeadLetter:
        """The dead letter that a message of the dead-letters topic is: the input as data, the
        reason as attributes.

        `now` stands in for a `received_at` that is missing or no time.
        """
        error = InvalidEvent(
            attributes.get("field", "unknown"), attributes.get("reason", "unknown")
        )
        try:
            received_at = parse_time("received_at", attributes.get("received_at"))
        except InvalidEvent:
            received_at = now
        return DeadLetter.of(
            payload, error, attributes.get("source", "unknown"), received_at, attributes
        )

    def row(self) -> dict[str, Any]:
        """The row of the BigQuery table."""
        return msgspec.structs.asdict(self)


def _as_text(payload: bytes) -> tuple[str, str]:
    """The payload as text, and the encoding that says how."""
    try:
        return payload.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode("ascii"), "base64"
