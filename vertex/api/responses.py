"""Answers as HTTP responses, and those of refusals."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from pipeline.runtime.bodies import RETRY_AFTER_S, BodyRefused
from vertex.api.contract import InvalidRequest
from vertex.api.rates import Wait
from vertex.api.timing import StageTimer

_json = msgspec.json.Encoder()


def timed(answer: dict[str, Any], watch: StageTimer) -> Response:
    """The answer, with the time of each stage in a header."""
    response = respond(answer)
    watch.lap("write")
    response.headers["server-timing"] = watch.header()
    return response


def respond(content: Any, status: int = 200) -> Response:
    """The content as JSON."""
    return Response(_json.encode(content), status, media_type="application/json")


def error_response(status: int, error: Exception) -> Response:
    """The error as JSON: its field, reason and value."""
    if not isinstance(error, InvalidRequest):
        error = InvalidRequest("", str(error))
    return respond({"error": error.as_dict()}, status)


def refused_body(_: HttpRequest, error: Exception) -> Response:
    """The answer to a body that is not read; handles `BodyRefused`."""
    assert isinstance(error, BodyRefused)
    response = error_response(error.status, InvalidRequest(error.field, error.reason))
    response.headers.update(error.headers)
    return response


def refused(error: InvalidRequest) -> Response:
    """503: to be asked again soon."""
    response = error_response(503, error)
    response.headers["retry-after"] = str(RETRY_AFTER_S)
    return response


def too_many(wait: Wait) -> Response:
    """429, and when to ask again."""
    response = error_response(429, InvalidRequest(wait.field, "expected fewer requests"))
    response.headers["retry-after"] = str(wait.seconds)
    return response


def unavailable(_: HttpRequest, error: Exception) -> Response:
    """503 for want of Bigtable; handles `Unavailable`."""
    response = error_response(
        503, InvalidRequest("bigtable", "expected an answer in time", str(error))
    )
    response.headers["retry-after"] = "1"
    return response
