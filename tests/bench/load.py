"""HTTP load for one process: as much as goes, or at a given rate; bare, so that it costs less than
the server.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvloop

from tests.stack.ports import HOST

Accepts = Callable[[bytes, bytes], bool]
"""Whether an answer, its head and its body, is the success that a request was to have."""


@dataclass(frozen=True)
class Load:
    """What a server answered: (n,) latencies in seconds, over so many seconds."""

    elapsed_s: float
    latencies_s: list[float]

    @property
    def rate_per_s(self) -> float:
        """Answers a second."""
        return len(self.latencies_s) / self.elapsed_s


def saturate(
    port: int, requests: list[bytes], connections: int, seconds: float, accepts: Accepts
) -> Load:
    """Keep `connections` requests under way for `seconds`.

    Raises:
        RuntimeError: an answer that is no success.
    """
    return _timed(_drive(port, requests, connections, seconds, accepts, None))


def pace(
    port: int,
    requests: list[bytes],
    connections: int,
    seconds: float,
    accepts: Accepts,
    rate_per_s: float,
) -> Load:
    """Send at `rate_per_s` in all, each connection in its turn, whether or not the answer before
    was quick.

    A latency counts from the moment at which the request was due, so that a server that stalls does
    not hide the requests that it kept from being sent.
    """
    return _timed(_drive(port, requests, connections, seconds, accepts, connections / rate_per_s))


def _timed(drive: object) -> Load:
    started = time.perf_counter()
    latencies: list[float] = uvloop.run(drive)  # type: ignore[arg-type]
    return Load(time.perf_counter() - started, latencies)


async def _drive(
    port: int,
    requests: list[bytes],
    connections: int,
    seconds: float,
    accepts: Accepts,
    interval_s: float | None,
) -> list[float]:
    loop = asyncio.get_running_loop()
    endless, latencies = itertools.cycle(requests), list[float]()
    now = time.perf_counter()
    callers = []
    for number in range(connections):
        first_s = now + (interval_s or 0.0) * number / connections
        callers.append(_Caller(endless, latencies, accepts, now + seconds, first_s, interval_s))
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, HOST, port)  # type: ignore[misc]
    await asyncio.gather(*(caller.done for caller in callers))
    return latencies


class _Caller(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(
        self,
        requests: Iterator[bytes],
        latencies: list[float],
        accepts: Accepts,
        stop_at: float,
        first_s: float,
        interval_s: float | None,
    ) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._latencies = latencies
        self._accepts = accepts
        self._stop_at = stop_at
        self._due_s = first_s
        self._interval_s = interval_s
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._schedule()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._due_s)
        if not self._accepts(head, body):
            self._finish(RuntimeError(f"expected success, got {self._received[:300]!r}"))
        elif now >= self._stop_at:
            self._finish(None)
        else:
            self._due_s = now if self._interval_s is None else self._due_s + self._interval_s
            self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection"))

    def _schedule(self) -> None:
        wait_s = 0.0 if self._interval_s is None else self._due_s - time.perf_counter()
        if wait_s > 0.0:
            asyncio.get_running_loop().call_later(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._received = b""
        if self._interval_s is None:
            self._due_s = time.perf_counter()
        self._transport.write(next(self._requests))  # type: ignore[attr-defined]

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
        self._transport.close()


def _content_length(head: bytes) -> int:
    start = head.find(b"content-length: ")
    return int(head[start + 16 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
