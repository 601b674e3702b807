"""Errors in one shape: RFC 9457, `application/problem+json`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from functions.http.exchange import Answer, Refusal

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:freshet:problem:"
_TYPES = {
    400: "invalid-request",
    401: "unknown-write-key",
    403: "not-allowed",
    404: "no-such-path",
    405: "method-not-allowed",
    408: "too-slow",
    413: "too-large",
    415: "unsupported-encoding",
    429: "too-many-requests",
    500: "internal-error",
    503: "not-stored",
}
# JSON never becomes a page here (content type, nosniff, CSP); should a proxy undo all that, nothing
# in it is markup.
_MARKUP = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
_encoder = msgspec.json.Encoder()


def problem(refusal: Refusal) -> Answer:
    """`{"type", "title", "status", "detail", "errors": [{"field", "reason", "value"}]}`.

    `type` is a URN, for it names the kind of problem and is no page. `value` is the offending one,
    at most 80 printable characters of it.
    """
    content: dict[str, Any] = {
        "type": TYPE_PREFIX + _TYPES.get(refusal.status, "problem"),
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": f"{refusal.field}: {refusal.reason}",
        "errors": [{"field": refusal.field, "reason": refusal.reason, "value": refusal.value}],
    }
    return Answer(refusal.status, safe(_encoder.encode(content)), CONTENT_TYPE)


def safe(json: bytes) -> bytes:
    """The same JSON without a character of markup in it."""
    if b"<" in json or b">" in json or b"&" in json:
        return json.decode().translate(_MARKUP).encode()
    return json
