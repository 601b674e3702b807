"""The Vertex AI endpoint, asked with Google's own client: a binary `rawPredict` over a connection
that stays open.

`PredictionServiceRestTransport.raw_predict` writes the body as JSON with base64 inside, which is
not what an endpoint reads over REST, and doubles the time. `aiplatform.Endpoint.raw_predict` posts
the bytes through Google's authorized session instead, to hosts of its own choosing. This does the
same through the transport, whose host can be set.
"""

from __future__ import annotations

import threading

import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud.aiplatform_v1.services.prediction_service.transports.rest import (
    PredictionServiceRestTransport,
)

from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.api.breaker import Unavailable
from vertex.models import raw_predict

# Set by Vertex AI; a predictor of ours also says its model's version.
DEPLOYED_MODEL_HEADER = "x-vertex-ai-deployed-model-id"


class RawTransport(PredictionServiceRestTransport):
    """Google's REST transport with one method more."""

    def post_raw(self, endpoint: str, body: bytes, timeout_s: float) -> requests.Response:
        """Post the bytes to the endpoint's `rawPredict`, the answer's body unread; raises as
        `requests` does.
        """
        url = f"{self._host}/v1/{endpoint}:rawPredict"
        headers = {"content-type": raw_predict.CONTENT_TYPE}
        response: requests.Response = self._session.post(
            url, data=body, headers=headers, timeout=timeout_s, stream=True
        )
        return response


class Endpoint:
    """One endpoint; blocking, and safe to share among threads: each has a connection of its own.

    Args:
        name: `projects/P/locations/L/endpoints/E`.
        host: as `Config.vertex_host`.
        timeout_s: for connecting, and again for the answer.
    """

    def __init__(self, name: str, host: str | None, timeout_s: float) -> None:
        self.name = name
        self._host = host or f"{name.split('/')[3]}-aiplatform.googleapis.com"
        self._is_local = host is not None and "://" not in host
        self._timeout_s = timeout_s
        self._threads = threading.local()

    def predict(self, matrix: raw_predict.Matrix) -> tuple[raw_predict.Predictions, str]:
        """Click probabilities `(n,)` of the features `(n, d)`, in the order of `FEATURE_NAMES`, and
        the version of the model that said so.

        Raises:
            Unavailable: when the endpoint does not answer, or not with that.
        """
        body = raw_predict.encode_matrix(matrix, FEATURE_NAMES)
        try:
            with self._transport().post_raw(self.name, body, self._timeout_s) as response:
                if response.status_code != 200:
                    raise Unavailable(f"vertex: status {response.status_code}")
                answer = _read(response, raw_predict.predictions_bytes(len(matrix)))
        except (requests.RequestException, GoogleAuthError) as error:
            raise Unavailable(f"vertex: {type(error).__name__}") from error
        try:
            predictions = raw_predict.decode_predictions(answer, rows=len(matrix))
        except raw_predict.InvalidBody as error:
            raise Unavailable(f"vertex: {error}") from error
        return predictions, _version(response)

    def _transport(self) -> RawTransport:
        transport: RawTransport | None = getattr(self._threads, "transport", None)
        if transport is None:
            transport = self._threads.transport = self._connect()
        return transport

    def _connect(self) -> RawTransport:
        if not self._is_local:
            return RawTransport(host=self._host.removeprefix("https://"))
        transport = RawTransport(
            host=self._host, credentials=AnonymousCredentials(), url_scheme="http"
        )
        # Looking for proxies and passwords in environment and home for each request costs 0.6 ms.
        transport._session.trust_env = False
        return transport


def _read(response: requests.Response, expected_bytes: int) -> bytes:
    """The body; of one that is longer than expected so much that its length shows it."""
    body = bytearray()
    for chunk in response.iter_content(expected_bytes + 1):
        body += chunk
        if len(body) > expected_bytes:
            break
    return bytes(body)


def _version(response: requests.Response) -> str:
    headers = response.headers
    return (
        headers.get(raw_predict.VERSION_HEADER) or headers.get(DEPLOYED_MODEL_HEADER) or "unknown"
    )
