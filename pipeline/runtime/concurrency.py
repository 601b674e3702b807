"""A bound on the requests that a process answers at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pipeline.runtime.bodies import BodyRefused

MAX_REQUESTS = 256
"""Under way in one process; Cloud Run sends far fewer at a time (terraform:
max_instance_request_concurrency)."""


class LimitsRequests:
    """Answers what comes beyond a number of requests under way at once, so that nothing queues up;
    ASGI.

    A request is under way once its body is whole: a client that announces a body and is silent
    takes no place.

    Args:
        app: what answers. Where the last place is taken while a body is read, reading it raises
            `BodyRefused`.
        refusal: what answers the others, an ASGI app too.
        max_requests: that `app` answers at a time.
        free_paths: requests for these are always let through: a process that is busy is in good
            health.
    """

    def __init__(
        self,
        app: Any,
        refusal: Any,
        max_requests: int = MAX_REQUESTS,
        free_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._refusal = refusal
        self._max_requests = max_requests
        self._free_paths = free_paths
        self._under_way = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in self._free_paths:
            await self._app(scope, receive, send)
        elif self._under_way >= self._max_requests:
            await self._refusal(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        counted = not _announces_body(scope["headers"])
        self._under_way += counted

        async def receiving() -> Any:
            nonlocal counted
            part = await receive()
            if not counted and not part.get("more_body", False):
                self._check_place()
                self._under_way += 1
                counted = True
            return part

        try:
            await self._app(scope, receiving, send)
        finally:
            self._under_way -= counted

    def _check_place(self) -> None:
        if self._under_way >= self._max_requests:
            raise BodyRefused(503, "server", "expected fewer requests at a time")


def _announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name in (b"content-length", b"transfer-encoding") and value != b"0"
        for name, value in headers
    )
