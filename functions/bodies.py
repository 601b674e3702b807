"""Reads a request's body and never holds more of it than is allowed, compressed or not."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import brotli  # type: ignore[import-untyped]

MAX_BODY_BYTES = 1024 * 1024
"""Of one request, and of what it unpacks to."""
MAX_HELD_BYTES = 64 * 1024 * 1024
"""Of all requests whose bodies one process is reading or has not answered yet."""
READ_DEADLINE_S = 10.0
"""Until the last byte; a sender that trickles holds its connection no longer."""
ENCODINGS = ("identity", "gzip", "br", "deflate")

Receive = Callable[[], Awaitable[Any]]


class BodyRefused(Exception):
    """A body that is not taken: the status to answer with, the field, and what was expected."""

    def __init__(self, status: int, field: str, reason: str) -> None:
        self.status = status
        self.field = field
        self.reason = reason
        super().__init__(f"{status}: {field}: {reason}")


class Bodies:
    """Reads bodies for one process, within `max_held_bytes` of all that are held at once."""

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES, deadline_s: float = READ_DEADLINE_S) -> None:
        self._max_held_bytes = max_held_bytes
        self._deadline_s = deadline_s
        self.held_bytes = 0

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """The body, decoded. Its bytes count as held until `release` is told of them.

        Args:
            receive: ASGI's.
            headers: with lower-case names.

        Raises:
            BodyRefused: 400 (left, or not as its Content-Encoding says), 408, 413, 415 or 503 (too much is held).
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:12]) > MAX_BODY_BYTES:
            raise _too_large()
        part = await receive()
        if part["type"] == "http.request" and not part.get("more_body", False):
            body: bytes = part.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
        else:
            body = await self._rest(part, receive)
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding != b"identity":
            body = decoded(body, encoding.decode("latin-1").strip().lower())
        self._hold(len(body))
        return body

    def release(self, body: bytes) -> None:
        """The request of this body has been answered."""
        self.held_bytes -= len(body)

    def _hold(self, size: int) -> None:
        if self.held_bytes + size > self._max_held_bytes:
            raise BodyRefused(503, "server", "too many requests are being read, send the same request again")
        self.held_bytes += size

    async def _rest(self, part: Any, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    if part["type"] == "http.disconnect":
                        raise BodyRefused(400, "body", "the client left before it was complete")
                    chunk = part.get("body", b"")
                    size += len(chunk)
                    if size > MAX_BODY_BYTES:
                        raise _too_large()
                    self._hold(len(chunk))
                    chunks.append(chunk)
                    if not part.get("more_body", False):
                        return b"".join(chunks)
                    part = await receive()
        except TimeoutError:
            raise BodyRefused(408, "body", f"expected all of it within {self._deadline_s:g} s") from None
        finally:
            self.held_bytes -= sum(map(len, chunks))


def decoded(body: bytes, encoding: str) -> bytes:
    """What `body` unpacks to; unpacking stops above `MAX_BODY_BYTES`, so a small bomb stays small.

    Raises:
        BodyRefused: 415 for an encoding that is none of `ENCODINGS`, 413, or 400 for bytes that are not so encoded.
    """
    if encoding in ("gzip", "x-gzip"):
        return _inflated(body, zlib.MAX_WBITS | 16)
    if encoding == "deflate":
        return _inflated(body, zlib.MAX_WBITS)
    if encoding == "br":
        return _unbrotlied(body)
    if encoding == "identity":
        return body
    raise BodyRefused(415, "content-encoding", f"expected one of {', '.join(ENCODINGS)}")


def _inflated(body: bytes, window_bits: int) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    try:
        plain = unpacker.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise _not_as_encoded() from None
    if len(plain) > MAX_BODY_BYTES:
        raise _too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise _not_as_encoded()
    return plain


def _unbrotlied(body: bytes) -> bytes:
    unpacker = brotli.Decompressor()
    parts: list[bytes] = []
    size, given = 0, body
    try:
        while True:
            part = unpacker.process(given, output_buffer_limit=MAX_BODY_BYTES + 1 - size)
            size += len(part)
            parts.append(part)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            if unpacker.is_finished():
                return b"".join(parts)
            if unpacker.can_accept_more_data():
                raise _not_as_encoded()
            given = b""
    except brotli.error:
        raise _not_as_encoded() from None


def _too_large() -> BodyRefused:
    return BodyRefused(413, "body", f"expected at most {MAX_BODY_BYTES} bytes, unpacked")


def _not_as_encoded() -> BodyRefused:
    return BodyRefused(400, "content-encoding", "expected a body that is encoded so, whole")
