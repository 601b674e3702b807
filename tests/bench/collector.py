"""Requests a second through the collector on one core, beside two functions in the same run.

The empty function answers at once. The publishing one hands each body to Pub/Sub as it is and waits
for it to be confirmed: what lies between the two is the price of waiting, what lies between it and
the collector is ours.

All run under functions-framework, pinned to one core; the load and the Pub/Sub emulator have the
others. Rounds alternate, so that what else the machine does meets all, and the median over the
rounds is reported. Processor time says the same where other programs take turns on the core. Nobody
subscribes to the topic: the emulator would keep what nobody reads, and stop the world to move it
about. `python -m tests.bench.collector` prints the rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import payloads
from tests.bench.load import Load, pace, saturate
from tests.bench.rows import Row, row
from tests.stack.ports import HOST
from tests.stack.processes import Reaper, ServerProcess
from tests.stack.readiness import subscriber
from tests.stack.stack import running_stack

ROUNDS = 5
ROUND_S = 2.0
PACED_S = 10.0
CONNECTIONS = 256
PACED_CONNECTIONS = 128
BATCH = 20
TARGET_SHARE = 0.5
TARGET_P99_MS = 25.0
TARGET_EVENTS_PER_S = 15_000.0
START_S = 30.0

EMPTY_FUNCTION = 'async def collect(request):\n    return "ok"\n'
PUBLISHING_FUNCTION = """
import gc, os
from functions.publisher import Publisher, message

publisher = Publisher(os.environ["PUBSUB_EMULATOR_HOST"], 5.0)
topic = f"projects/{os.environ['GOOGLE_CLOUD_PROJECT']}/topics/{os.environ['FRESHET_EVENTS_TOPIC']}"
gc.collect()
gc.freeze()  # as the collector does

async def collect(request):
    await publisher.publish(topic, [message(await request.body(), {})])
    return "ok"
"""
FLOOR = "empty async function under functions-framework"
PUBLISHING = "function that only publishes the body"


@dataclass(frozen=True)
class Round:
    """What one server did in one round, and the processor seconds that it used."""

    load: Load
    processor_s: float


def run() -> list[Row]:
    """Rows of `{name, value, unit, target, floor, floor_value}`; takes about 80 s."""
    with _servers() as (empty, publishing, collector), _pinned(_other_cores()):
        return _measure(empty, publishing, collector) + _measure_vendors(collector)


def _measure(empty: _Server, publishing: _Server, collector: _Server) -> list[Row]:
    single, batch = payloads.native(1), payloads.native(BATCH)
    for server, requests in (
        (empty, single),
        (publishing, single),
        (collector, single),
        (collector, batch),
    ):
        _load(server, requests, CONNECTIONS, 0.5)
    rounds = [
        (
            _load(empty, single, CONNECTIONS, ROUND_S),
            _load(publishing, single, CONNECTIONS, ROUND_S),
            _load(collector, single, CONNECTIONS, ROUND_S),
            _load(collector, batch, CONNECTIONS, ROUND_S),
            _load(empty, single, 1, ROUND_S / 4),
            _load(collector, single, 1, ROUND_S / 4),
        )
        for _ in range(ROUNDS)
    ]
    rows = _rows(*(list(column) for column in zip(*rounds, strict=True)))
    half_per_s = _median([single for _, _, single, *_ in rounds], _rate) / 2
    paced = [
        pace(server.port, single, PACED_CONNECTIONS, PACED_S, _succeeded, half_per_s)
        for server in (empty, collector)
    ]
    empty_ms, collector_ms = (_quantile_ms(load, 0.99) for load in paced)
    return [
        *rows,
        _row("collector_p99_at_half_of_maximum", collector_ms, "ms", empty_ms, TARGET_P99_MS),
    ]


def _rows(
    empty: list[Round],
    publishing: list[Round],
    single: list[Round],
    batch: list[Round],
    empty_alone: list[Round],
    alone: list[Round],
) -> list[Row]:
    rate, publishing_rate = _median(empty, _rate), _median(publishing, _rate)
    cost, empty_cost = _median(single, _processor_us), _median(empty, _processor_us)
    return [
        _row("collector_requests", _median(single, _rate), "requests/s", rate),
        _row(
            "collector_share_of_empty_function", _share(single, empty), "ratio", rate, TARGET_SHARE
        ),
        row(
            "collector_share_of_publishing",
            _share(single, publishing),
            "ratio",
            None,
            PUBLISHING,
            publishing_rate,
        ),
        _row("collector_processor_time", cost, "us/request", empty_cost, empty_cost / TARGET_SHARE),
        _row(
            f"collector_events_in_{BATCH}s",
            BATCH * _median(batch, _rate),
            "events/s",
            rate,
            TARGET_EVENTS_PER_S,
        ),
        _row(
            "collector_p50_one_connection",
            _median(alone, _p50_ms),
            "ms",
            _median(empty_alone, _p50_ms),
        ),
        _row(
            "collector_p99_one_connection",
            _median(alone, _p99_ms),
            "ms",
            _median(empty_alone, _p99_ms),
        ),
        _row(
            f"collector_p50_{CONNECTIONS}_connections",
            _median(single, _p50_ms),
            "ms",
            _median(empty, _p50_ms),
        ),
        _row(
            f"collector_p99_{CONNECTIONS}_connections",
            _median(single, _p99_ms),
            "ms",
            _median(empty, _p99_ms),
        ),
    ]


def _share(ours: list[Round], others: list[Round]) -> float:
    return statistics.median(
        _rate(our) / _rate(other) for our, other in zip(ours, others, strict=True)
    )


def _measure_vendors(collector: _Server) -> list[Row]:
    """Each protocol beside the native one, in turns; product views of which all are accepted."""
    all_requests = {"native": payloads.native(BATCH), **payloads.vendors(BATCH)}
    for requests in all_requests.values():
        _load(collector, requests, CONNECTIONS, 0.3)
    rounds = [
        {
            name: _load(collector, requests, CONNECTIONS, ROUND_S / 2)
            for name, requests in all_requests.items()
        }
        for _ in range(ROUNDS)
    ]
    events = {
        name: BATCH * _median([found[name] for found in rounds], _rate) for name in all_requests
    }
    beside = events.pop("native")
    return [
        row(f"collector_{name}_in_{BATCH}s", value, "events/s", None, "the native protocol", beside)
        for name, value in events.items()
    ]


def _load(server: _Server, requests: list[bytes], connections: int, seconds: float) -> Round:
    before = server.processor_s()
    load = saturate(server.port, requests, connections, seconds, _succeeded)
    return Round(load, server.processor_s() - before)


def _succeeded(head: bytes, body: bytes) -> bool:
    return head[9:12] in (b"200", b"202", b"204") and (
        b'"rejected":' not in body or b'"rejected":0' in body
    )


def _rate(measured: Round) -> float:
    return measured.load.rate_per_s


def _processor_us(measured: Round) -> float:
    return 1e6 * measured.processor_s / len(measured.load.latencies_s)


def _p50_ms(measured: Round) -> float:
    return _quantile_ms(measured.load, 0.5)


def _p99_ms(measured: Round) -> float:
    return _quantile_ms(measured.load, 0.99)


def _quantile_ms(load: Load, share: float) -> float:
    ordered = sorted(load.latencies_s)
    return 1e3 * ordered[int(share * len(ordered))]


def _median(rounds: list[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(map(figure, rounds))


def _row(
    name: str, value: float, unit: str, floor_value: float, target: float | None = None
) -> Row:
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
def _servers() -> Iterator[tuple[_Server, _Server, _Server]]:
    """The empty function, the publishing one and the collector, all on one core; the emulator on
    the others.
    """
    with contextlib.ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        with _pinned(_other_cores()):
            stack = exits.enter_context(running_stack("bench-collector", parts=("pubsub",)))
            _unsubscribe(stack.env)
        with _pinned({_server_core()}):
            stack.start_process("collector")
            empty, publishing = (
                exits.enter_context(
                    _function(folder, name, source, port, {**os.environ, **stack.env})
                )
                for name, source, port in (
                    ("empty", EMPTY_FUNCTION, stack.ports.store),
                    ("publishing", PUBLISHING_FUNCTION, stack.ports.api),
                )
            )
        stack.wait_for("collector")
        collector = _Server(stack.ports.collector, stack.processes["collector"])
        yield empty, publishing, collector


def _unsubscribe(env: Mapping[str, str]) -> None:
    project, name = env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_EVENTS_SUBSCRIPTION"]
    with subscriber(env) as subscriptions:
        subscriptions.delete_subscription(subscription=f"projects/{project}/subscriptions/{name}")


@contextlib.contextmanager
def _function(
    folder: Path, name: str, text: str, port: int, env: Mapping[str, str]
) -> Iterator[_Server]:
    source = folder / f"{name}.py"
    source.write_text(text, encoding="utf-8")
    command = (
        f"exec {sys.executable} -m functions_framework --asgi --target collect"
        f" --source {source} --host {HOST} --port {port}"
    )
    reaper = Reaper()
    process = ServerProcess(name, command, env, folder / f"{name}.log", reaper)
    try:
        _wait_for_port(port, process)
        yield _Server(port, process)
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
                raise RuntimeError(f"{process.name} did not start: {process.tail()}") from error
        time.sleep(0.1)


def _server_core() -> int:
    return min(_cores())


def _other_cores() -> set[int]:
    return _cores() - {_server_core()} or _cores()


def _cores() -> set[int]:
    return set(range(os.cpu_count() or 1))


@contextlib.contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Keep this thread, and the processes it starts meanwhile, on `cores`; no effect where Linux is
    not.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
