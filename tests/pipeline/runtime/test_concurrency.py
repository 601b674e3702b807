"""Requests beyond the limit are refused at once, and let in again once others are answered."""

from __future__ import annotations

import asyncio
from typing import Any

from pipeline.runtime.concurrency import LimitsRequests


class App:
    """An ASGI app that answers when the test lets it; `calls` counts who came."""

    def __init__(self) -> None:
        self.calls = 0
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        await self.may_answer.wait()
        if scope["path"] == "/broken":
            raise ZeroDivisionError


async def call(limited: LimitsRequests, path: str = "/") -> None:
    await limited({"type": "http", "path": path}, None, None)


async def test_what_comes_beyond_the_limit_is_refused_until_a_request_ends_well_or_badly() -> None:
    app, refusal = App(), App()
    refusal.may_answer.set()
    limited = LimitsRequests(app, refusal, max_requests=2)
    under_way = [asyncio.create_task(call(limited, path)) for path in ("/", "/broken")]
    await asyncio.sleep(0)
    await call(limited)
    assert (app.calls, refusal.calls) == (2, 1)
    app.may_answer.set()
    await asyncio.gather(*under_way, return_exceptions=True)
    await call(limited)
    assert (app.calls, refusal.calls) == (3, 1)


async def test_a_free_path_is_answered_however_many_there_are() -> None:
    app, refusal = App(), App()
    limited = LimitsRequests(app, refusal, max_requests=1, free_paths=["/healthz"])
    under_way = asyncio.create_task(call(limited))
    await asyncio.sleep(0)
    app.may_answer.set()
    await call(limited, "/healthz")
    await under_way
    assert (app.calls, refusal.calls) == (2, 0)
