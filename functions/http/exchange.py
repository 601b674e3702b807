"""One HTTP request and its answer, as the protocols see them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec


class Incoming(msgspec.Struct, frozen=True):
    """One HTTP request.

    Attributes:
        method, path: as in the request line, e.g. `POST`, `/v1/batch`.
        query: the raw query string, `""` where there is none.
        headers: lower-case names; of a header that came several times, the last.
        body: at most `MAX_BODY_BYTES`, any Content-Encoding already undone.
        received_at: when the collector had it, in UTC.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


class Refusal(msgspec.Struct, frozen=True):
    """A request of which nothing was taken.

    Attributes:
        status: 400 (unreadable), 401 (unknown write key), 403 (origin), 405, 413, 415, 429 or 503.
        field, reason: what was wrong and what was expected; no input in them.
        value: the offending value, short and printable; for JSON answers only.
        retry_after_s: for 429 and 503.
    """

    status: int
    field: str
    reason: str
    retry_after_s: int | None = None
    value: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; the collector adds CORS, Retry-After and the security headers."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = {}
