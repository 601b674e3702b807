"""One request on its way through the collector."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.http.exchange import Incoming
from functions.routes import ROUTES, Route
from pipeline.runtime.headers import Headers, by_name


class Call:
    """One request on its way: all that is known of it so far, for its answer."""

    __slots__ = ("body", "cookie", "headers", "method", "path", "route", "scope")

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = by_name(scope["headers"])
        self.route: Route | None = ROUTES.get(self.path)
        self.body = b""
        self.cookie: str | None = None

    def incoming(self, received_at: datetime) -> Incoming:
        """The part of the request that its protocol may see."""
        query = self.scope["query_string"].decode("latin-1")
        return Incoming(
            self.method, self.path, query, Headers(self.headers), self.body, received_at
        )
