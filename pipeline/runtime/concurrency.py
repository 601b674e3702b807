"""A bound on the requests that a process answers at a time, and on how long others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

from pipeline.runtime.bodies import BodyRefused


class LimitsRequests:
    """Refuses what comes beyond a number of requests under way at once, or has waited too long for
    one of them to end, so that nothing queues up without bound; ASGI.

    A request is under way once its body is whole: a client that announces a body and is silent
    takes no place.

    Args:
        app: what answers. Where the last place is taken while a body is read, reading it raises
            `BodyRefused`.
        refusal: what answers the others, an ASGI app too.
        max_requests: that `app` answers at a time.
        max_waiting: that wait for a place, the first that came first; the others are refused at
            once.
        max_wait_s: after that a request that waits is refused.
        free_paths: requests for these are always let through: a process that is busy is in good
            health.
    """

    def __init__(
        self,
        app: Any,
        refusal: Any,
        max_requests: int,
        max_waiting: int = 0,
        max_wait_s: float = 0.0,
        free_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._refusal = refusal
        self._places = asyncio.Semaphore(max_requests)
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._free_paths = free_paths
        self._waiting = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in self._free_paths:
            await self._app(scope, receive, send)
        elif _announces_body(scope["headers"]):
            await self._answer_with_body(scope, receive, send)
        elif await self._takes_place():
            try:
                await self._app(scope, receive, send)
            finally:
                self._places.release()
        else:
            await self._refusal(scope, receive, send)

    async def _answer_with_body(self, scope: Any, receive: Any, send: Any) -> None:
        if self._is_full():
            await self._refusal(scope, receive, send)
            return
        has_place = False

        async def receiving() -> Any:
            nonlocal has_place
            part = await receive()
            if not has_place and not part.get("more_body", False):
                has_place = await self._takes_place()
                if not has_place:
                    raise BodyRefused(503, "server", "expected fewer requests at a time")
            return part

        try:
            await self._app(scope, receiving, send)
        finally:
            if has_place:
                self._places.release()

    def _is_full(self) -> bool:
        """True where a request would be refused at once."""
        return self._places.locked() and self._waiting >= self._max_waiting

    async def _takes_place(self) -> bool:
        """Take a place, waiting for it if need be; False where none is free in time."""
        if not self._places.locked():
            await self._places.acquire()  # at once
            return True
        if self._is_full():
            return False
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


def _announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name in (b"content-length", b"transfer-encoding") and value != b"0"
        for name, value in headers
    )
