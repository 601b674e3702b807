"""Requests beyond the limit are refused at once, and let in again once others are answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipeline.runtime.bodies import BodyRefused
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
    await limited({"type": "http", "path": path, "headers": []}, None, None)


class Body:
    """A body that ends when the test lets it."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.may_end.wait()
        return {"type": "http.request", "body": b"{}"}


async def post(limited: LimitsRequests, body: Body) -> None:
    await limited(
        {"type": "http", "path": "/", "headers": [(b"content-length", b"2")]}, body.receive, None
    )


class ReadsBody(App):
    """An app that reads the body first."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await super().__call__(scope, receive, send)


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


async def test_bodies_that_never_end_take_no_place() -> None:
    app, refusal, silent = ReadsBody(), App(), Body()
    app.may_answer.set()
    limited = LimitsRequests(app, refusal, max_requests=1)
    under_way = [asyncio.create_task(post(limited, silent)) for _ in range(3)]
    await asyncio.sleep(0)
    whole = Body()
    whole.may_end.set()
    await post(limited, whole)
    assert (app.calls, refusal.calls) == (1, 0)
    silent.may_end.set()
    await asyncio.gather(*under_way)


async def test_bodies_that_end_at_once_get_no_more_places_than_there_are() -> None:
    app, refusal, silent = ReadsBody(), App(), Body()
    limited = LimitsRequests(app, refusal, max_requests=2)
    under_way = [asyncio.create_task(post(limited, silent)) for _ in range(5)]
    await asyncio.sleep(0)
    silent.may_end.set()
    await asyncio.sleep(0.01)
    app.may_answer.set()
    ended = await asyncio.gather(*under_way, return_exceptions=True)
    assert app.calls == 2
    assert [error.status for error in ended if isinstance(error, BodyRefused)] == [503, 503, 503]


async def test_a_request_waits_for_a_place_and_gets_the_first_that_is_free() -> None:
    app, refusal = App(), App()
    limited = LimitsRequests(app, refusal, max_requests=1, max_waiting=1, max_wait_s=10.0)
    requests = [asyncio.create_task(call(limited)) for _ in range(2)]
    await asyncio.sleep(0)
    assert app.calls == 1
    app.may_answer.set()
    await asyncio.gather(*requests)
    assert (app.calls, refusal.calls) == (2, 0)


async def test_no_more_requests_wait_than_may() -> None:
    app, refusal = App(), App()
    refusal.may_answer.set()
    limited = LimitsRequests(app, refusal, max_requests=1, max_waiting=2, max_wait_s=10.0)
    requests = [asyncio.create_task(call(limited)) for _ in range(3)]
    await asyncio.sleep(0)
    await call(limited)
    assert refusal.calls == 1
    app.may_answer.set()
    await asyncio.gather(*requests)
    assert app.calls == 3


@pytest.mark.parametrize("has_body", [False, True])
async def test_a_request_that_waited_too_long_is_never_begun_and_takes_no_place(
    has_body: bool,
) -> None:
    app, refusal, body = ReadsBody(), App(), Body()
    refusal.may_answer.set()
    body.may_end.set()
    limited = LimitsRequests(app, refusal, max_requests=1, max_waiting=9, max_wait_s=0.02)
    under_way = asyncio.create_task(post(limited, body))
    await asyncio.sleep(0)
    if has_body:
        with pytest.raises(BodyRefused, match="503"):
            await post(limited, body)
    else:
        await call(limited)
        assert refusal.calls == 1
    app.may_answer.set()
    await under_way
    await post(limited, body)
    assert app.calls == 2


async def test_a_request_that_leaves_while_it_waits_gives_its_place_to_the_next() -> None:
    app, refusal = App(), App()
    limited = LimitsRequests(app, refusal, max_requests=1, max_waiting=9, max_wait_s=10.0)
    first, leaving, last = [asyncio.create_task(call(limited)) for _ in range(3)]
    await asyncio.sleep(0)
    leaving.cancel()
    app.may_answer.set()
    await asyncio.gather(first, last)
    assert (leaving.cancelled(), app.calls) == (True, 2)
