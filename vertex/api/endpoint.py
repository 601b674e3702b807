"""The Vertex AI endpoint, asked with Google's own asynchronous client: a binary `rawPredict` over
connections that stay open.

`AsyncPredictionServiceRestTransport.raw_predict` writes the body as JSON with base64 inside, which
is not what an endpoint reads over REST, and doubles the time. `aiplatform.Endpoint.raw_predict`
posts the bytes through Google's authorized session instead, to hosts of its own choosing. This does
the same through the transport, whose host can be set.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from google.auth.aio.credentials import AnonymousCredentials
from google.auth.aio.transport import Response
from google.auth.aio.transport.aiohttp import Request
from google.auth.aio.transport.sessions import AsyncAuthorizedSession
from google.auth.exceptions import GoogleAuthError
from google.cloud.aiplatform_v1.services.prediction_service.transports.rest_asyncio import (
    AsyncPredictionServiceRestTransport,
)

from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.api.breaker import Unavailable
from vertex.models import raw_predict

# Set by Vertex AI; a predictor of ours also says its model's version.
DEPLOYED_MODEL_HEADER = "x-vertex-ai-deployed-model-id"
_HEADERS = {"content-type": raw_predict.CONTENT_TYPE, "accept-encoding": "identity"}


class RawTransport(AsyncPredictionServiceRestTransport):
    """Google's REST transport with one method more."""

    def keep_open(self) -> None:
        """Keep connections, and bodies as they come; called in the event loop."""
        session = aiohttp.ClientSession(auto_decompress=False)
        assert self._credentials is not None  # those found where none were given
        self._session = AsyncAuthorizedSession(self._credentials, Request(session))

    async def post_raw(self, endpoint: str, body: bytes, timeout_s: float) -> Response:
        """Post the bytes to the endpoint's `rawPredict`, once, the answer's body unread.

        Raises:
            GoogleAuthError: no answer, none in time, or no credentials.
        """
        return await self._session.request(
            "POST",
            f"{self._host}/v1/{endpoint}:rawPredict",
            data=body,
            headers=_HEADERS,
            timeout=timeout_s,
            max_allowed_time=timeout_s,
            total_attempts=1,
        )


class Endpoint:
    """One endpoint; to be closed in the event loop that asked it.

    Args:
        name: `projects/P/locations/L/endpoints/E`.
        host: as `Config.vertex_host`.
        timeout_s: for an answer.
    """

    def __init__(self, name: str, host: str | None, timeout_s: float) -> None:
        self.name = name
        self._host = host or f"{name.split('/')[3]}-aiplatform.googleapis.com"
        self._is_local = host is not None and "://" not in host
        self._timeout_s = timeout_s
        self._transport: RawTransport | None = None
        self._connecting: asyncio.Task[RawTransport] | None = None

    async def predict(self, matrix: raw_predict.Matrix) -> tuple[raw_predict.Predictions, str]:
        """Click probabilities `(n,)` of the features `(n, d)`, in the order of `FEATURE_NAMES`, and
        the version of the model that said so.

        Raises:
            Unavailable: when the endpoint does not answer, or not with that.
        """
        body = raw_predict.encode_matrix(matrix, FEATURE_NAMES)
        try:
            transport = self._transport or await self._connected()
            response = await transport.post_raw(self.name, body, self._timeout_s)
            try:
                if response.status_code != 200:
                    raise Unavailable(f"vertex: status {response.status_code}")
                answer = await _read(response, raw_predict.predictions_bytes(len(matrix)))
            finally:
                await response.close()
        except (GoogleAuthError, aiohttp.ClientError) as error:
            raise Unavailable(f"vertex: {type(error).__name__}") from error
        try:
            predictions = raw_predict.decode_predictions(answer, rows=len(matrix))
        except raw_predict.InvalidBody as error:
            raise Unavailable(f"vertex: {error}") from error
        return predictions, _version(response)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.close()  # type: ignore[no-untyped-call]

    async def _connected(self) -> RawTransport:
        """The transport; who waits no longer leaves the look for credentials to who comes next."""
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> RawTransport:
        transport = await asyncio.to_thread(self._with_credentials)
        transport.keep_open()
        self._transport = transport
        return transport

    def _with_credentials(self) -> RawTransport:
        """Looks for them in files and on the network."""
        if self._is_local:
            return RawTransport(
                host=self._host, credentials=AnonymousCredentials(), url_scheme="http"
            )
        return RawTransport(host=self._host.removeprefix("https://"))


async def _read(response: Response, expected_bytes: int) -> bytes:
    """The body; of one that is longer than expected so much that its length shows it."""
    body = bytearray()
    chunks: Any = response.content(expected_bytes + 1)  # declared as a coroutine, is a generator
    async for chunk in chunks:
        body += chunk
        if len(body) > expected_bytes:
            break
    return bytes(body[: expected_bytes + 1])


def _version(response: Response) -> str:
    headers: Any = {name.lower(): value for name, value in response.headers.items()}
    version: str = (
        headers.get(raw_predict.VERSION_HEADER) or headers.get(DEPLOYED_MODEL_HEADER) or "unknown"
    )
    return version
