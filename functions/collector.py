"""The collector as an HTTP endpoint: reads a request, has it sorted, publishes, and only then answers."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from functions.addresses import address_key, client_address
from functions.collection import MAX_BODY_BYTES, Batch, Rejection, TooManyEvents, read_batch, sort_events
from functions.config import Config
from functions.publisher import PublishFailed, message
from pipeline.core.events import Event, InvalidEvent, encode_message, format_time

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
PREFLIGHT_MAX_AGE_S = 86_400
_METHODS = {"/v1/events": ("POST", "OPTIONS"), "/healthz": ("GET", "HEAD")}
_encoder = msgspec.json.Encoder()


class Publishes(Protocol):
    """What the collector needs of a publisher."""

    async def publish(self, topic: str, messages: Sequence[Any]) -> None:
        """Return when every message is confirmed, raise `PublishFailed` otherwise."""


class Refused(Exception):
    """A request that gets no 202: the status to answer with, what was wrong, headers that help the client."""

    def __init__(
        self, status: int, field: str, reason: str, value: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.error = {"field": field, "reason": reason, "value": value}
        self.headers = headers
        super().__init__(f"{status}: {field}: {reason}")


class Collector:
    """Answers requests; called as an async function of a Starlette request.

    Args:
        config: topics, CORS origins, keys.
        publisher: where accepted and rejected events go.
        now: the clock, in UTC.
    """

    def __init__(self, config: Config, publisher: Publishes, now: Callable[[], datetime]) -> None:
        self._config = config
        self._publisher = publisher
        self._now = now

    async def __call__(self, request: Request) -> Response:
        """Route, and turn every refusal and failure into its status code. The one place that does so."""
        try:
            response = await self._route(request)
        except Refused as refusal:
            response = _json(refusal.status, {"error": refusal.error}, refusal.headers)
        except PublishFailed:
            response = _unavailable()
        except Exception:  # the framework would log the exception's text, which may quote an event
            logger.exception("request failed", extra=_trace(request, self._config.project))
            response = _json(500, {"error": _server_error("unexpected failure")})
        return self._with_cors(request, response)

    async def _route(self, request: Request) -> Response:
        path, method = request.scope["path"], request.scope["method"]
        if path == "/v1/events" and method == "POST":
            return await self._collect(request)
        allowed = _METHODS.get(path)
        if allowed is None:
            raise Refused(404, "path", "expected /v1/events or /healthz", path[:80])
        if method not in allowed:
            raise Refused(405, "method", f"expected {' or '.join(allowed)}", method, {"allow": ", ".join(allowed)})
        return Response(status_code=204) if method == "OPTIONS" else _json(200, {"status": "ok"})

    async def _collect(self, request: Request) -> Response:
        body = await _read_body(request)
        ingest_time = self._now()
        try:
            batch = read_batch(body)
        except TooManyEvents as error:
            raise Refused(413, "events", str(error)) from None
        except InvalidEvent as error:
            await self._publish_dead_letters([(body, error)], ingest_time)
            return _json(400, {"error": error.as_dict()})
        self._check_backfill(request, batch)
        accepted, rejected = sort_events(batch, ingest_time)
        # Events go first: after a failure the client sends all of it again, and an event stored twice is
        # known by its id, a dead letter is not.
        if accepted:
            await self._publish_events(accepted, self._attributes(request, batch, ingest_time))
        if rejected:
            await self._publish_dead_letters([(r.payload, r.error) for r in rejected], ingest_time)
            self._log_rejected(request, len(accepted), rejected)
        return _json(202, _answer(len(accepted), rejected))

    def _check_backfill(self, request: Request, batch: Batch) -> None:
        if not batch.backfill:
            return
        given = request.headers.get("x-freshet-backfill-key", "").encode()
        key = self._config.backfill_key
        if key is None or not hmac.compare_digest(given, key.encode()):
            raise Refused(403, "backfill", "expected the backfill key in X-Freshet-Backfill-Key")

    def _attributes(self, request: Request, batch: Batch, ingest_time: datetime) -> dict[str, str]:
        attributes = {"schema_version": "1", "ingest_time": format_time(ingest_time)}
        if batch.backfill:  # comes from us, whoever the visitors were
            attributes["backfill"] = "1"
        elif address := self._address(request):
            attributes["address"] = address
        return attributes

    def _address(self, request: Request) -> str | None:
        """The key of the client's network, where there is a secret to make it with."""
        secret = self._config.address_key
        if secret is None:
            return None
        peer = request.client.host if request.client else None
        return address_key(client_address(request.headers.getlist("x-forwarded-for"), peer), secret)

    async def _publish_events(self, events: list[Event], attributes: dict[str, str]) -> None:
        await self._publisher.publish(self._config.events_path, [message(encode_message(events), attributes)])

    async def _publish_dead_letters(self, letters: list[tuple[bytes, InvalidEvent]], received_at: datetime) -> None:
        messages = [message(data, _letter_attributes(error, received_at)) for data, error in letters]
        await self._publisher.publish(self._config.dead_letter_path, messages)

    def _log_rejected(self, request: Request, accepted: int, rejected: list[Rejection]) -> None:
        fields = sorted({rejection.error.field for rejection in rejected})
        counts = {"accepted": accepted, "rejected": len(rejected), "fields": fields}
        logger.info("events rejected", extra=counts | _trace(request, self._config.project))

    def _with_cors(self, request: Request, response: Response) -> Response:
        origins = self._config.cors_origins
        if not origins:
            return response
        response.raw_headers.append((b"vary", b"Origin"))
        origin = request.headers.get("origin")
        if origin is None or not (origin in origins or "*" in origins):
            return response
        response.raw_headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
        if request.scope["method"] == "OPTIONS":
            response.raw_headers += _PREFLIGHT
        return response


_PREFLIGHT = [
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-max-age", str(PREFLIGHT_MAX_AGE_S).encode()),
]


async def _read_body(request: Request) -> bytes:
    """The body, never holding more than `MAX_BODY_BYTES` and one chunk of it."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_large(declared)
    chunks: list[bytes] = []
    size = 0
    while True:
        part = await request.receive()
        if part["type"] == "http.disconnect":
            raise Refused(400, "body", "the client left before it was complete")
        chunk = part.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large(f"{size} or more")
        chunks.append(chunk)
        if not part.get("more_body", False):
            return b"".join(chunks)


def _too_large(size: str) -> Refused:
    return Refused(413, "body", f"expected at most {MAX_BODY_BYTES} bytes", size, {"connection": "close"})


def _letter_attributes(error: InvalidEvent, received_at: datetime) -> dict[str, str]:
    return {
        "source": "collector",
        "field": error.field[:256],
        "reason": error.reason[:256],
        "received_at": format_time(received_at),
    }


def _answer(accepted: int, rejected: list[Rejection]) -> dict[str, Any]:
    return {"accepted": accepted, "rejected": len(rejected), "errors": [r.as_dict() for r in rejected]}


def _unavailable() -> Response:
    error = _server_error("not stored, send the same request again")
    return _json(503, {"error": error}, {"retry-after": str(RETRY_AFTER_S)})


def _server_error(reason: str) -> dict[str, str | None]:
    return {"field": "server", "reason": reason, "value": None}


def _json(status: int, content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(_encoder.encode(content), status, headers, "application/json")


def _trace(request: Request, project: str) -> dict[str, str]:
    trace = request.headers.get("x-cloud-trace-context", "").partition("/")[0]
    return {"logging.googleapis.com/trace": f"projects/{project}/traces/{trace}"} if trace else {}
