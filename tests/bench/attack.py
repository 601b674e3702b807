"""Costs of hostile requests: the dearest of the attack corpus by endpoint, and everybody else's p99
meanwhile.

The first figures are processor time in this process, of the whole request and of its longest step:
between two steps the collector serves others. Beside each stands the median over the corpus. The
others are of a collector of its own on one core: people send single events from many addresses at
`PEOPLE_PER_S`, while one address sends the corpus at 1 MB/s, as it is, then gzipped, and gzipped
where an address has a rate; beside the same people without it. Takes 2 minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from starlette.exceptions import HTTPException

from pipeline.core.events import decode_message
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.invalid_event import InvalidEvent
from tests.attack.corpus import (
    Attack,
    collector_attacks,
    message_attacks,
    prediction_attacks,
    profile_attacks,
    question_attacks,
    rank_attacks,
    recommendation_attacks,
)
from tests.attack.driving import (
    Cost,
    cheapest,
    cheapest_awaited,
    collect,
    collector,
    spared_garbage_collector,
)
from tests.bench import payloads
from tests.bench.collector import (
    _other_cores,
    _pinned,
    _quantile_ms,
    _server_core,
    _succeeded,
    _unsubscribe,
)
from tests.bench.fuzz_corpus import FuzzRequest
from tests.bench.load import pace
from tests.bench.rows import Row, row
from tests.stack.ports import HOST
from tests.stack.stack import Stack, running_stack
from tests.vertex.api.fakes import NOW_MS, Service, shop
from vertex.api.contract import (
    InvalidRequest,
    parse_page_request,
    parse_profile_request,
    parse_rank_request,
    parse_request,
)
from vertex.api.deadline import TooLate
from vertex.api.timing import StageTimer
from vertex.models.registry import prior_model
from vertex.predictor.app import json_predict

TARGET_MS = 30.0
MAX_SHARE = 2.0
"""Of everybody else's p99 without the attack."""
PEOPLE, PEOPLE_PER_S, PEOPLE_S = 64, 400.0, 12.0
ATTACK_BYTES_PER_S, ATTACK_CONNECTIONS = 1_000_000, 16
ATTACK_S = 60.0
"""At most; the benchmark ends it when the people are done."""
ADDRESS_REQUESTS_PER_S = 20
"""Of one address, in the last measurement; each of the people has an address of its own."""
MEDIAN = "the median over the same corpus"


def run() -> list[Row]:
    """Rows of the bench report."""
    with spared_garbage_collector():
        costs = asyncio.run(_costs())
    return [
        made for endpoint, found in costs.items() for made in _rows(endpoint, found)
    ] + _measure_flood()


def _rows(endpoint: str, costs: list[Cost]) -> list[Row]:
    rows = []
    for name, times in (
        ("request", [1e3 * cost.processor_s for cost in costs]),
        ("step", [1e3 * cost.longest_s for cost in costs]),
    ):
        median_ms = statistics.median(times)
        rows.append(
            row(f"attack_{endpoint}_worst_{name}", max(times), "ms", TARGET_MS, MEDIAN, median_ms)
        )
    return rows


# ---- in this process


async def _costs() -> dict[str, list[Cost]]:
    found: dict[str, list[Cost]] = {}
    asked = collector()
    for attack in collector_attacks():
        found.setdefault(attack.endpoint, []).append(
            cheapest(partial(collect, asked, attack.request))
        )
    service, model = Service(shop()), prior_model()
    await service.items.load()
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC).isoformat().encode()

    async def recommend(body: bytes) -> Any:
        return await service.recommender.answer(parse_request(body, False), StageTimer())

    async def page(body: bytes) -> Any:
        return await service.recommender.answer_page(parse_page_request(body, False), StageTimer())

    async def rank(body: bytes) -> Any:
        return await service.list_ranker.answer(parse_rank_request(body, False), StageTimer())

    async def profile(body: bytes) -> Any:
        return parse_profile_request(body, False)

    async def predict(body: bytes) -> Any:
        return json_predict(model, body)

    async def decode(body: bytes) -> Any:
        return decode_message(body)

    doors: list[tuple[str, Iterable[Attack], Callable[[bytes], Awaitable[Any]]]] = [
        ("recommendations", recommendation_attacks(now), recommend),
        ("questions", question_attacks("/v1/recommendations", now), recommend),
        ("pages", question_attacks("/v1/pages", now), page),
        ("rank", rank_attacks(now), rank),
        ("profile", profile_attacks(), profile),
        ("predict", prediction_attacks(len(FEATURE_NAMES)), predict),
        ("message", message_attacks(), decode),
    ]
    for endpoint, attacks, do in doors:
        found[endpoint] = [
            await cheapest_awaited(partial(_refusing, do, attack.request.body))
            for attack in attacks
        ]
    return found


async def _refusing(do: Callable[[bytes], Awaitable[Any]], body: bytes) -> Any:
    """The answer, or why there is none."""
    try:
        return await do(body)
    except (InvalidEvent, InvalidRequest, TooLate, HTTPException) as error:
        return error


# ---- beside others


def _measure_flood() -> list[Row]:
    with contextlib.ExitStack() as exits:
        with _pinned(_other_cores()):
            stack = exits.enter_context(running_stack("bench-attack", parts=("pubsub",)))
            _unsubscribe(stack.env)
        rows = _start_and_measure(stack, ("plain", "gzipped"))
        stack.stop_process("collector")
        stack.env["FRESHET_ADDRESS_REQUESTS_PER_S"] = str(ADDRESS_REQUESTS_PER_S)
        return rows + _start_and_measure(stack, ("gzipped",), "_with_a_rate_by_address")


def _start_and_measure(stack: Stack, kinds: tuple[str, ...], setting: str = "") -> list[Row]:
    """Start a collector on a core of its own, and measure the people without the attack and with
    each kind of it.
    """
    with _pinned({_server_core()}):
        stack.start_process("collector")
    stack.wait_for("collector")
    with _pinned(_other_cores()):
        port = stack.ports.collector
        _people_p99_ms(port, 2.0)
        alone_ms = _people_p99_ms(port, PEOPLE_S)
        rows = []
        for kind in kinds:
            with _flood(port, kind):
                p99_ms = _people_p99_ms(port, PEOPLE_S)
            name = f"p99_of_others_under_attack_{kind}{setting}"
            rows.append(
                row(
                    name,
                    p99_ms,
                    "ms",
                    MAX_SHARE * alone_ms,
                    "the same without the attack",
                    alone_ms,
                )
            )
    return rows


def _people_p99_ms(port: int, seconds: float) -> float:
    return _quantile_ms(pace(port, _people(), PEOPLE, seconds, _succeeded, PEOPLE_PER_S), 0.99)


def _people() -> list[bytes]:
    """Single events, each of another address."""
    return [
        request.replace(
            b"\r\n", b"\r\nx-forwarded-for: 198.51.%d.%d\r\n" % divmod(number % 65_536, 256), 1
        )
        for number, request in enumerate(payloads.native(1))
    ]


@contextlib.contextmanager
def _flood(port: int, kind: str) -> Iterator[None]:
    """The attack, in a process of its own: it must not keep the people from reading the clock."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.attack", "flood", kind, str(port)]
    )
    try:
        time.sleep(3.0)
        yield
    finally:
        process.terminate()
        process.wait()


async def _attack(port: int, kind: str) -> None:
    """Send the corpus at `ATTACK_BYTES_PER_S`, for `ATTACK_S`."""
    requests = itertools.cycle([_bytes_of(attack.request, kind) for attack in collector_attacks()])
    sent = _Pace(time.monotonic())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ATTACK_S):
            await asyncio.gather(
                *(_attacker(port, requests, sent) for _ in range(ATTACK_CONNECTIONS))
            )


class _Pace(msgspec.Struct):
    """When the next bytes are due."""

    due_s: float

    async def wait(self, size: int) -> None:
        """For as many bytes; what could not be sent in time is not made up for."""
        now_s = time.monotonic()
        self.due_s = max(self.due_s, now_s) + size / ATTACK_BYTES_PER_S
        await asyncio.sleep(self.due_s - now_s)


async def _attacker(port: int, requests: Iterator[bytes], sent: _Pace) -> None:
    while True:
        reader, writer = await asyncio.open_connection(HOST, port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not reader.at_eof():
                request = next(requests)
                await sent.wait(len(request))
                writer.write(request)
                await _read_answer(reader)
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    start = head.find(b"content-length: ")
    if start >= 0:
        await reader.readexactly(int(head[start + 16 :].split(b"\r\n", 1)[0]))


def _bytes_of(request: FuzzRequest, kind: str) -> bytes:
    body = gzip.compress(request.body, 6) if kind == "gzipped" else request.body
    headers = request.headers | {
        "host": HOST,
        "x-forwarded-for": "203.0.113.9",
        "content-length": str(len(body)),
    }
    if kind == "gzipped":
        headers["content-encoding"] = "gzip"
    target = f"{request.path}?{request.query}" if request.query else request.path
    lines = [
        f"{request.method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1") + body


if __name__ == "__main__":
    if sys.argv[1:2] == ["flood"]:
        asyncio.run(_attack(int(sys.argv[3]), sys.argv[2]))
    else:
        print(json.dumps(run(), indent=1))
