"""uvicorn with bounds of what one connection may take: headers' bytes, number and time, idle
connections, the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.runtime import logs
from pipeline.runtime.environ import InvalidConfig

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's target and headers."""
MAX_HEADERS = 100
"""Of one request, trailers among them."""
MAX_PIPELINED = 10
"""Requests of one connection that wait for the answer of an earlier one."""
HEAD_DEADLINE_S = 10.0
"""From the opening of a connection, or a request's first byte, to the end of its headers."""
KEEP_ALIVE_S = 620
"""An idle connection stays open longer than Google's load balancers keep theirs (600 s), so that
none of them, nor a browser (300 s at most), sends a request into a connection that is being closed
here."""
MAX_KEPT_CONNECTIONS = 500
"""With more of them open, each is closed after its answer."""
GRACE_S = 8
"""From SIGTERM to the end, with requests under way; Cloud Run kills after 10 s."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. uvicorn's own neither counts headers and waiting requests nor closes who
    sends them slowly.
    """

    head_deadline_s = HEAD_DEADLINE_S
    max_kept_connections = MAX_KEPT_CONNECTIONS

    _head_timer: asyncio.TimerHandle | None = None
    _is_within_message = False
    _unparsed_bytes = 0
    """Since the parser last gave something: the bytes of a head, of trailers or of a chunk's size
    that it keeps."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request its time."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and close where the parser only gathers or where nothing is asked."""
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unparsed_bytes > MAX_HEAD_BYTES or len(self.headers or ()) > MAX_HEADERS:
            self.send_400_response("Too many bytes or fields in the headers.")
        elif self._is_idle() and self.timeout_keep_alive_task is None:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._is_within_message = True
        self._unparsed_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Raise, which makes uvicorn answer 400 and close, where the head is too large or too many
        wait.
        """
        self._stop_waiting()
        self._unparsed_bytes = 0
        if len(self.headers) > MAX_HEADERS or self._head_bytes() > MAX_HEAD_BYTES:
            raise ValueError("too many bytes or fields in the headers")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        if len(self.connections) > self.max_kept_connections:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body: the app bounds those."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request's last byte, maybe after its answer."""
        self._is_within_message = False
        super().on_message_complete()
        if self._is_idle():
            self._stop_waiting()
            self._keep_alive()

    def on_response_complete(self) -> None:
        """Wait for the rest of a request that was answered early no longer than for a head."""
        super().on_response_complete()
        if self._is_within_message and self._is_idle():
            self._unset_keepalive_if_required()
            self._wait_for_head()

    def timeout_keep_alive_handler(self) -> None:
        """Close at once: who has not read the last answer by now never will."""
        self.transport.abort()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_deadline_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


SETTINGS: dict[str, Any] = {
    "http": BoundedProtocol,
    "ws": "none",
    "timeout_keep_alive": KEEP_ALIVE_S,
    "timeout_graceful_shutdown": GRACE_S,
}
"""Of `uvicorn.Config`, for every server of ours."""


class Address(Protocol):
    """The part of a configuration that says where to listen."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


Config = TypeVar("Config", bound=Address)


def run_server(
    name: str, read_config: Callable[[Mapping[str, str]], Config], make_app: Callable[[Config], Any]
) -> int:
    """Serve the app that the environment configures, until SIGTERM or Ctrl-C.

    Returns:
        The exit code: 1 for a configuration that cannot be used, which is printed.
    """
    try:
        config = read_config(os.environ)
        logs.configure()
        app = make_app(config)
    except InvalidConfig as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    serve(app, config.host, config.port)
    return 0


def serve(app: Any, host: str, port: int) -> None:
    """Serve an ASGI app until SIGTERM or Ctrl-C, then finish what is being answered; logs are the
    root logger's.
    """
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, **SETTINGS)
