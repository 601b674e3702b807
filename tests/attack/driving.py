"""Does a request in this process, as the server would, and tells the processor time that it
took."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from starlette.requests import Request

from functions.collector import Collector
from functions.config import Config
from pipeline.core.privacy.policy import Privacy
from tests.bench.fuzz_corpus import NOW, FuzzRequest

REPEATS = 3
QUICK_S = 0.01


class Cost(msgspec.Struct, frozen=True):
    """What one request came to.

    Attributes:
        answer: whatever was answered.
        processor_s: of all of it, on this thread.
        longest_s: of its longest step, during which nobody else is served.
    """

    answer: Any
    processor_s: float
    longest_s: float


class Publishes:
    """Confirms everything, at once."""

    async def publish(
        self, topic: str, messages: Sequence[Any], within_s: float | None = None
    ) -> None:
        """See `collector.Publishes`."""


def collector(privacy: Privacy | None = None) -> Collector:
    """One for anybody, at `NOW`, that publishes to nobody."""
    config = Config("demo-project", "events", "dead-letters", privacy=privacy or Privacy())
    return Collector(config, Publishes(), lambda: NOW, time.monotonic, random.Random(1).getrandbits)


def collect(with_collector: Collector, request: FuzzRequest) -> Awaitable[Any]:
    """The collector's answer, as yet unasked."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    scope = {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.query.encode("latin-1"),
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers.items()
        ],
        "client": ("192.0.2.1", 1),
    }
    return with_collector(Request(scope, receive))


def cheapest(ask: Callable[[], Awaitable[Any]], quick_s: float = QUICK_S) -> Cost:
    """Of up to `REPEATS` runs, within a running loop: other programs share the machine, and garbage
    is collected.

    Args:
        ask: makes a request, as yet unasked.
        quick_s: a run whose longest step is below is not repeated.
    """
    costs: list[Cost] = []
    for _ in range(REPEATS):
        costs.append(_cost(ask()))
        if costs[-1].longest_s < quick_s:
            break
    return min(costs, key=lambda cost: cost.processor_s)


def _cost(asked: Awaitable[Any]) -> Cost:
    """Step by step: what waits for others has nobody to wait for here."""
    steps, running = list[float](), asked.__await__()
    while True:
        started_s = time.thread_time()
        try:
            next(running)
        except StopIteration as stopped:
            steps.append(time.thread_time() - started_s)
            return Cost(stopped.value, sum(steps), max(steps))
        steps.append(time.thread_time() - started_s)


async def cheapest_awaited(ask: Callable[[], Awaitable[Any]]) -> Cost:
    """As `cheapest`, for what waits for tasks of its own: all of it counts as one step."""
    costs: list[Cost] = []
    for _ in range(REPEATS):
        started_s = time.thread_time()
        answer = await ask()
        processor_s = time.thread_time() - started_s
        costs.append(Cost(answer, processor_s, processor_s))
        if processor_s < QUICK_S:
            break
    return min(costs, key=lambda cost: cost.processor_s)


@contextmanager
def spared_garbage_collector() -> Iterator[None]:
    """As `functions.main` sets it, for a while: what else lives in this process is not walked."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
