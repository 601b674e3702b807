"""The predictor's HTTP: Vertex AI's container contract, JSON `predict` and binary `rawPredict`.

One route answers both, as Vertex AI forwards both to AIP_PREDICT_ROUTE: they differ by content
type. The paths of the public API (`/v1/projects/.../endpoints/ID:predict`) are served too, so that
Google's own client can talk to this process as if it were the endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.core.invalid_event import TooMuch
from pipeline.runtime.bodies import Bodies, BodyRefused
from vertex.models.click_model import InvalidModel
from vertex.models.raw_predict import (
    CONTENT_TYPE,
    MAX_BODY_BYTES,
    VERSION_HEADER,
    InvalidBody,
    decode_matrix,
    encode_predictions,
)
from vertex.models.registry import Model
from vertex.predictor.config import Config
from vertex.predictor.instances import InvalidInstances, parse_instances
from vertex.predictor.served import CHECK_S, Served

ENDPOINT = "/v1/projects/{project}/locations/{location}/endpoints/{endpoint}"
_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    503: "UNAVAILABLE",
}


def make_app(config: Config, watch_every_s: float = CHECK_S) -> Starlette:
    """The application; it loads the model when it starts, and answers 503 until there is one."""
    served = Served(config)
    bodies = Bodies(MAX_BODY_BYTES)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(served.refresh)
        watching = asyncio.create_task(served.watch(watch_every_s))
        yield
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    async def health(_: Request) -> Response:
        model = _model(served)
        return _json({"status": "ok", "model_version": model.version, "kind": model.kind})

    async def predict(request: Request) -> Response:
        model = _model(served)
        binary = request.headers.get("content-type", "").partition(";")[0].strip() == CONTENT_TYPE
        async with bodies.reading(request.receive, dict(request.scope["headers"])) as body:
            return raw_predict(model, body) if binary else json_predict(model, body)

    predict_paths = (config.predict_route, f"{ENDPOINT}:predict", f"{ENDPOINT}:rawPredict")
    return Starlette(
        routes=[
            Route(config.health_route, health),
            *(Route(path, predict, methods=["POST"]) for path in predict_paths),
        ],
        exception_handlers={
            HTTPException: _refusal,
            BodyRefused: _refused_body,
            Exception: _failure,
        },
        lifespan=lifespan,
    )


def raw_predict(model: Model, body: bytes) -> Response:
    """The answer to a binary body."""
    try:
        features = decode_matrix(body)
        scores = model.score(features.matrix, features.names)
    except (InvalidBody, InvalidModel) as error:
        raise HTTPException(400, str(error)) from None
    answer = encode_predictions(scores)
    return Response(answer, media_type=CONTENT_TYPE, headers={VERSION_HEADER: model.version})


def json_predict(model: Model, body: bytes) -> Response:
    """The answer to `{"instances": [...]}`."""
    try:
        matrix = parse_instances(body, model.feature_names)
    except TooMuch as error:
        raise HTTPException(413, str(error)) from None
    except InvalidInstances as error:
        raise HTTPException(400, str(error)) from None
    predictions = model.score(matrix, model.feature_names).tolist()
    answer = {"predictions": predictions, "modelVersionId": model.version}
    return _json(answer, headers={VERSION_HEADER: model.version})


def _model(served: Served) -> Model:
    if served.model is None:
        raise HTTPException(503, "model: expected one to be loaded, got none; the log says why")
    return served.model


async def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, error.headers)


async def _refused_body(_: Request, error: Exception) -> Response:
    assert isinstance(error, BodyRefused)
    return _error(error.status, f"{error.field}: {error.reason}", error.headers)


async def _failure(_: Request, error: Exception) -> Response:
    """The answer to a fault of ours; the server logs it."""
    return _error(500, "the prediction failed; the log says why")


def _error(code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as Google's APIs write them."""
    return _json(
        {"error": {"code": code, "message": message, "status": _STATUS.get(code, "INTERNAL")}},
        code,
        headers,
    )


def _json(content: object, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content),
        code,
        media_type="application/json",
        headers=dict(headers or {}),
    )
