"""Requests a second through the collector on one core, beside an empty function in the same run.

Both run under functions-framework, pinned to one core; the load and the Pub/Sub emulator have the others. Rounds
alternate, so that what else the machine does meets both, and the median over the rounds is reported. Processor
time says the same where other programs take turns on the core. `python -m tests.bench.collector` prints the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.rows import Row, row
from tests.stack.ports import HOST
from tests.stack.processes import Reaper, ServerProcess
from tests.stack.stack import running_stack

ROUNDS = 5
ROUND_S = 2.0
CONNECTIONS = 256
REQUESTS = 2000
BATCH = 20
TARGET_SHARE = 0.4
START_S = 30.0

EMPTY_FUNCTION = 'async def collect(request):\n    return "ok"\n'
FLOOR = "empty async function under functions-framework"


@dataclass(frozen=True)
class Round:
    """What one server did in one round: (n,) latencies in seconds, and the processor seconds it used."""

    elapsed_s: float
    latencies_s: list[float]
    processor_s: float


def run() -> list[Row]:
    """Rows of `{name, value, unit, target, floor, floor_value}`; takes about 45 s."""
    with _servers() as (empty, collector), _pinned(_other_cores()):
        return _measure(empty, collector)


def _measure(empty: _Server, collector: _Server) -> list[Row]:
    single, batch = _requests(1), _requests(BATCH)
    for server, requests in ((empty, single), (collector, single), (collector, batch)):
        _load(server, requests, CONNECTIONS, 0.5)
    rounds = [
        (
            _load(empty, single, CONNECTIONS, ROUND_S),
            _load(collector, single, CONNECTIONS, ROUND_S),
            _load(collector, batch, CONNECTIONS, ROUND_S),
            _load(empty, single, 1, ROUND_S / 4),
            _load(collector, single, 1, ROUND_S / 4),
        )
        for _ in range(ROUNDS)
    ]
    return _rows(*(list(column) for column in zip(*rounds, strict=True)))


def _rows(
    empty: list[Round], single: list[Round], batch: list[Round], empty_alone: list[Round], alone: list[Round]
) -> list[Row]:
    rate = _median(empty, _rate)
    share = statistics.median(_rate(s) / _rate(e) for s, e in zip(single, empty, strict=True))
    cost, empty_cost = _median(single, _processor_us), _median(empty, _processor_us)
    return [
        _row("collector_requests", _median(single, _rate), "requests/s", rate),
        _row("collector_share_of_empty_function", share, "ratio", rate, TARGET_SHARE),
        _row("collector_processor_time", cost, "us/request", empty_cost, empty_cost / TARGET_SHARE),
        _row(f"collector_events_in_{BATCH}s", BATCH * _median(batch, _rate), "events/s", rate),
        _row("collector_p50_one_connection", _median(alone, _p50_ms), "ms", _median(empty_alone, _p50_ms)),
        _row("collector_p99_one_connection", _median(alone, _p99_ms), "ms", _median(empty_alone, _p99_ms)),
        _row(f"collector_p50_{CONNECTIONS}_connections", _median(single, _p50_ms), "ms", _median(empty, _p50_ms)),
        _row(f"collector_p99_{CONNECTIONS}_connections", _median(single, _p99_ms), "ms", _median(empty, _p99_ms)),
    ]


def _rate(measured: Round) -> float:
    return len(measured.latencies_s) / measured.elapsed_s


def _processor_us(measured: Round) -> float:
    return 1e6 * measured.processor_s / len(measured.latencies_s)


def _p50_ms(measured: Round) -> float:
    return 1e3 * statistics.median(measured.latencies_s)


def _p99_ms(measured: Round) -> float:
    ordered = sorted(measured.latencies_s)
    return 1e3 * ordered[int(0.99 * len(ordered))]


def _median(rounds: list[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(map(figure, rounds))


def _row(name: str, value: float, unit: str, floor_value: float, target: float | None = None) -> Row:
    return row(name, value, unit, target, FLOOR, floor_value)


@dataclass(frozen=True)
class _Server:
    port: int
    process: ServerProcess

    def processor_s(self) -> float:
        """Seconds of processor time of the server's process group so far."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(") ")[2].split()
                if int(fields[2]) == self.process.pid:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _servers() -> Iterator[tuple[_Server, _Server]]:
    """The empty function and the collector, both on one core; the emulator on the others."""
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        with _pinned(_other_cores()):
            stack = exits.enter_context(running_stack("bench-collector", parts=("pubsub",)))
        with _pinned({_server_core()}):
            stack.start_process("collector")
            empty = exits.enter_context(_empty_function(folder, stack.ports.store))
        stack.wait_for("collector")
        yield _Server(stack.ports.store, empty), _Server(stack.ports.collector, stack.processes["collector"])


@contextlib.contextmanager
def _empty_function(folder: Path, port: int) -> Iterator[ServerProcess]:
    source = folder / "empty.py"
    source.write_text(EMPTY_FUNCTION, encoding="utf-8")
    command = (
        f"exec {sys.executable} -m functions_framework --asgi --target collect"
        f" --source {source} --host {HOST} --port {port}"
    )
    reaper = Reaper()
    process = ServerProcess("empty", command, os.environ, folder / "empty.log", reaper)
    try:
        _wait_for_port(port, process)
        yield process
    finally:
        process.stop()
        reaper.close()


def _wait_for_port(port: int, process: ServerProcess) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError as error:
            if process.exit_code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the empty function did not start: {process.tail()}") from error
        time.sleep(0.1)


def _server_core() -> int:
    return min(_cores())


def _other_cores() -> set[int]:
    return _cores() - {_server_core()} or _cores()


def _cores() -> set[int]:
    return set(range(os.cpu_count() or 1))


@contextlib.contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Keep this thread, and the processes it starts meanwhile, on `cores`; no effect where Linux is not."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _requests(events: int) -> list[bytes]:
    """Whole HTTP requests of `events` events each; every event has an id of its own."""
    now = datetime.now(UTC).isoformat()
    numbers = itertools.count()
    return [_request([_event(next(numbers), now) for _ in range(events)]) for _ in range(REQUESTS)]


def _event(number: int, now: str) -> dict[str, Any]:
    return {
        "event_id": f"bench-{number:012d}",
        "event": "view_product",
        "user_id": f"u{number % 5000}",
        "session_id": f"s{number % 5000}",
        "product_id": f"p{number % 2000}",
        "timestamp": now,
        "metadata": {"category": "electronics.audio", "price": 49.9},
    }


def _request(events: list[dict[str, Any]]) -> bytes:
    body = json.dumps(events[0] if len(events) == 1 else {"events": events}).encode()
    head = (
        f"POST /v1/events HTTP/1.1\r\nhost: {HOST}\r\norigin: http://{HOST}:8000\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _load(server: _Server, requests: list[bytes], connections: int, seconds: float) -> Round:
    """Keep `connections` requests under way for `seconds`; every answer must be a success."""
    before = server.processor_s()
    started = time.perf_counter()
    latencies = uvloop.run(_drive(server.port, requests, connections, seconds))
    return Round(time.perf_counter() - started, latencies, server.processor_s() - before)


async def _drive(port: int, requests: list[bytes], connections: int, seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    endless, latencies = itertools.cycle(requests), list[float]()
    stop_at = time.perf_counter() + seconds
    callers = [_Caller(endless, latencies, stop_at) for _ in range(connections)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, HOST, port)  # type: ignore[misc]
    await asyncio.gather(*(caller.done for caller in callers))
    return latencies


class _Caller(asyncio.Protocol):
    """One keep-alive connection with one request under way; bare, so that it costs less than the server."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], stop_at: float) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._latencies = latencies
        self._stop_at = stop_at
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        if head[9:12] not in (b"200", b"202") or (b'"rejected":' in body and b'"rejected":0' not in body):
            self._finish(RuntimeError(f"expected success, got {self._received[:300]!r}"))
        elif now >= self._stop_at:
            self._finish(None)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        self._received = b""
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))  # type: ignore[attr-defined]

    def _finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
        self._transport.close()


def _content_length(head: bytes) -> int:
    start = head.index(b"content-length: ") + 16
    return int(head[start:].split(b"\r\n", 1)[0])


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
