"""Answers as bytes on the wire: security headers on each, CORS where a page asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from functions.http.exchange import Answer

RawHeaders = list[tuple[bytes, bytes]]
CorsHeaders = tuple[tuple[bytes, bytes], ...]

MAX_REMEMBERED = 1024
PREFLIGHT_MAX_AGE_S = 86_400
SECURITY: RawHeaders = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"strict-transport-security", b"max-age=31536000"),
]
SECURITY_CACHED: RawHeaders = [header for header in SECURITY if header[0] != b"cache-control"]
# Ours, and what the vendors' browser SDKs set: Snowplow's, RudderStack's and Segment's among them.
ALLOWED_HEADERS = ", ".join(
    "content-type content-encoding authorization x-freshet-key traceparent sp-anonymous "
    "anonymousid sentat x-retry-count rsa-recovered rsa-retry-attempt rsa-retry-reason "
    "rsa-since-last-attempt rsa-since-first-attempt".split()
)


class WireResponse:
    """One answer, ready to send: what Starlette's Response is, at a fifth of its cost."""

    __slots__ = ("body", "headers", "status_code")

    def __init__(self, status_code: int, headers: RawHeaders, body: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.body = body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it (ASGI); of a HEAD request only the head."""
        body = b"" if scope["method"] == "HEAD" else self.body
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})


def response(
    answer: Answer, cors: CorsHeaders, extra: Mapping[str, str] | None = None
) -> WireResponse:
    """`answer` with the security headers, `cors`, and `extra` ones."""
    length = len(answer.body)
    if not extra and not answer.headers:
        usual = _usual_headers(answer.status, answer.content_type, length, cors)
        return WireResponse(answer.status, usual, answer.body)
    security = SECURITY if "cache-control" not in answer.headers else SECURITY_CACHED
    headers = [*security, *cors, *_content(answer.status, answer.content_type, length)]
    for given in (answer.headers, extra):
        if given:
            headers += [(name.lower().encode(), value.encode()) for name, value in given.items()]
    if extra and cors and "retry-after" in extra:
        headers.append((b"access-control-expose-headers", b"retry-after"))
    return WireResponse(answer.status, headers, answer.body)


@lru_cache(maxsize=MAX_REMEMBERED)
def _usual_headers(status: int, content_type: str, length: int, cors: CorsHeaders) -> RawHeaders:
    """The headers of most answers; they are shared and must not be changed."""
    return [*SECURITY, *cors, *_content(status, content_type, length)]


def _content(status: int, content_type: str, length: int) -> RawHeaders:
    if not length and status in (204, 304):
        return []
    return [(b"content-length", str(length).encode()), (b"content-type", content_type.encode())]


class Cors:
    """Origins of pages that may read the answers.

    A page of a listed origin may send along what its browser keeps (`credentials: include`, as some
    vendors' SDKs do); where every origin is allowed (`*`) none may.

    Args:
        origins: `scheme://host[:port]` each, or `*`.
    """

    def __init__(self, origins: frozenset[str]) -> None:
        self._any = "*" in origins
        self._listed = frozenset(origin.encode("latin-1", "ignore") for origin in origins)

    def lists(self, origin: bytes) -> bool:
        """True for the origin of a listed page; `*` lists none."""
        return origin in self._listed

    def headers(self, origin: bytes | None, preflight_methods: str | None = None) -> CorsHeaders:
        """The headers for a request of `origin`; with `preflight_methods` for the question before
        it.
        """
        if not self._listed:
            return ()
        if origin is None:
            return _VARY
        if self.lists(origin):
            allowed = (*_VARY, (b"access-control-allow-origin", origin), _CREDENTIALS)
        elif self._any:
            allowed = _ANY
        else:
            return _VARY
        if preflight_methods is None:
            return allowed
        return (
            *allowed,
            (b"access-control-allow-methods", preflight_methods.encode()),
            *_PREFLIGHT,
        )


_VARY: CorsHeaders = ((b"vary", b"Origin"),)
_ANY: CorsHeaders = (*_VARY, (b"access-control-allow-origin", b"*"))
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_PREFLIGHT: CorsHeaders = (
    (b"access-control-allow-headers", ALLOWED_HEADERS.encode()),
    (b"access-control-max-age", str(PREFLIGHT_MAX_AGE_S).encode()),
)
