"""What stands before all routes: limits by rate, and the answer to a fault of ours."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vertex.api.contract import InvalidRequest
from vertex.api.rates import Rates
from vertex.api.responses import error_response, too_many

log = logging.getLogger(__name__)

HEALTH = "/healthz"


class LimitsRates:
    """Answers 429 to who asks too much, before anything is read; ASGI."""

    def __init__(self, app: ASGIApp, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        wait = None
        if scope["type"] == "http" and scope["path"] != HEALTH:
            wait = self._rates.check(scope)
        if wait is None:
            await self._app(scope, receive, send)
        else:
            await too_many(wait)(scope, receive, send)


class AnswersFaults:
    """Answers a fault of ours within the headers of all answers, and logs it; ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app; a fault after the answer has begun is the server's to end."""
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            if began or scope["type"] != "http":
                raise
            log.exception("request failed")
            await error_response(500, InvalidRequest("server", "unexpected failure", None))(
                scope, receive, send
            )
