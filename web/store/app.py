"""The static server: the store's pages, the SDK, the catalog and where the browser finds the
rest."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.store.catalog import CatalogDocument, CatalogFile
from web.store.config import Config

log = logging.getLogger(__name__)

PUBLIC = Path(__file__).parent / "public"
SDK = Path(__file__).parents[1] / "sdk" / "src"

REVALIDATE = "no-cache"
CATALOG_CACHE = "public, max-age=60, stale-while-revalidate=600"
SDK_CACHE = "public, max-age=300, stale-while-revalidate=86400"


def create_app(config: Config) -> Starlette:
    """The store for one configuration.

    Every path that is no file is a page of the store, so a product's address can be opened
    directly.
    """
    catalog = CatalogFile(config.catalog)
    return Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/config.json", _config_endpoint(config)),
            Route("/catalog.json", _catalog_endpoint(catalog)),
            Route("/details/{item_id:path}", _details_endpoint(catalog)),
            Mount("/sdk", StaticFiles(directory=SDK)),
            Mount("/assets", StaticFiles(directory=PUBLIC)),
            Route("/{page:path}", _page),
        ],
        middleware=[
            Middleware(StandardHeaders, policy=content_security_policy(config)),
            Middleware(GZipMiddleware, minimum_size=1024),
        ],
    )


def content_security_policy(config: Config) -> str:
    """Everything from the store itself, except requests to the collector and the API."""
    origins = sorted({_origin(config.collector_url), _origin(config.api_url)})
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' {' '.join(origins)}; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _page(request: Request) -> Response:
    name = request.path_params["page"].rsplit("/", 1)[-1]
    if name == "favicon.ico":
        return FileResponse(PUBLIC / "favicon.svg")
    return FileResponse(PUBLIC / "index.html")


def _config_endpoint(config: Config) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse({"collector": config.collector_url, "api": config.api_url})

    return endpoint


def _catalog_endpoint(catalog: CatalogFile) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        document = _read(catalog)
        if document is None:
            return _problem(503, "catalog", "the catalog cannot be read")
        headers = {"ETag": document.etag, "Cache-Control": CATALOG_CACHE, "Vary": "Accept-Encoding"}
        if document.etag in request.headers.get("If-None-Match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(document.gzipped, media_type="application/json", headers=headers)
        return Response(document.plain, media_type="application/json", headers=headers)

    return endpoint


def _details_endpoint(catalog: CatalogFile) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        document = _read(catalog)
        if document is None:
            return _problem(503, "catalog", "the catalog cannot be read")
        item_id = request.path_params["item_id"]
        if item_id not in document.details:
            return _problem(404, "item_id", "expected an item of the catalog", item_id)
        headers = {"Cache-Control": CATALOG_CACHE}
        return Response(document.details[item_id], media_type="application/json", headers=headers)

    return endpoint


def _read(catalog: CatalogFile) -> CatalogDocument | None:
    try:
        return catalog.document()
    except (OSError, ValueError) as error:
        log.error("catalog cannot be read: %s", error)
        return None


def _problem(status: int, field: str, reason: str, value: str | None = None) -> Response:
    body: dict[str, Any] = {"error": {"field": field, "reason": reason, "value": value}}
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


class StandardHeaders:
    """Adds the security headers to every answer, and a cache rule to those that set none."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add(MutableHeaders(scope=message), scope["path"])
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _add(self, headers: MutableHeaders, path: str) -> None:
        headers["Content-Security-Policy"] = self._policy
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        headers["Permissions-Policy"] = "geolocation=(), camera=(), microphone=()"
        if path.startswith("/sdk/"):  # other sites load the SDK from here
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            headers.setdefault("Cache-Control", SDK_CACHE)
        headers.setdefault("Cache-Control", REVALIDATE)
