"""Reads requests' bodies within bounds of size, of time, and of all that a process holds of them at
once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pipeline.runtime.time_limit import TimeLimit

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Of all requests whose bodies one process is reading or has not answered yet."""
READ_DEADLINE_S = 10.0
"""From the headers to the body's last byte; a sender that is silent or trickles holds its
connection no longer."""
RETRY_AFTER_S = 2

Receive = Callable[[], Awaitable[Any]]
Unpack = Callable[[bytes, bytes], bytes]
"""The body that bytes of a Content-Encoding stand for; raises `BodyRefused`."""


class BodyRefused(Exception):
    """A body that is not taken: the status to answer with, the field, and what was expected."""

    def __init__(self, status: int, field: str, reason: str) -> None:
        self.status = status
        self.field = field
        self.reason = reason
        super().__init__(f"{status}: {field}: {reason}")

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer. A body that was not read to its end takes its connection along."""
        if self.status == 503:
            return {"retry-after": str(RETRY_AFTER_S)}
        return {"connection": "close"} if self.status in (408, 413) else {}


class Bodies:
    """Reads bodies for one process.

    Args:
        max_body_bytes: of one body as it is sent.
        max_held_bytes: of all that are held at once.
        deadline_s: from the headers to the last byte.
        unpack: undoes a Content-Encoding; without it bodies stay as they are sent.
    """

    def __init__(
        self,
        max_body_bytes: int,
        max_held_bytes: int = MAX_HELD_BYTES,
        deadline_s: float = READ_DEADLINE_S,
        unpack: Unpack | None = None,
    ) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_held_bytes = max_held_bytes
        self._limit = TimeLimit(deadline_s)
        self._unpack = unpack
        self.held_bytes = 0

    async def read(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """The body. Its bytes count as held until `release`.

        Args:
            receive: ASGI's.
            headers: with lower-case names.

        Raises:
            BodyRefused: 400 (the client left), 408, 413, 503 (too much is held), or what unpacking
                raises.
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:12]) > self._max_body_bytes:
            raise self._too_large()
        try:
            with self._limit:
                body = await self._whole(receive)
        except TimeoutError:
            raise BodyRefused(
                408, "body", f"expected all of it within {self._limit.seconds:g} s"
            ) from None
        encoding = headers.get(b"content-encoding")
        if self._unpack is not None and encoding is not None:
            body = self._unpack(body, encoding)
        self._hold(len(body))
        return body

    def release(self, body: bytes) -> None:
        """The request of this body has been answered."""
        self.held_bytes -= len(body)

    @asynccontextmanager
    async def reading(
        self, receive: Receive, headers: Mapping[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        """As `read`, held until the end of the block."""
        body = await self.read(receive, headers)
        try:
            yield body
        finally:
            self.release(body)

    async def _whole(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        more = True
        try:
            while more:
                part = await receive()
                if part["type"] == "http.disconnect":
                    raise BodyRefused(400, "body", "the client left before it was complete")
                chunk = part.get("body", b"")
                size += len(chunk)
                if size > self._max_body_bytes:
                    raise self._too_large()
                self._hold(len(chunk))
                chunks.append(chunk)
                more = part.get("more_body", False)
        finally:
            self.held_bytes -= sum(map(len, chunks))
        return b"".join(chunks)

    def _hold(self, size: int) -> None:
        if self.held_bytes + size > self._max_held_bytes:
            raise BodyRefused(
                503, "server", "too many requests are being read, send the same request again"
            )
        self.held_bytes += size

    def _too_large(self) -> BodyRefused:
        return BodyRefused(413, "body", f"expected at most {self._max_body_bytes} bytes")
