"""An answer of the endpoint is read within bounds and believed only where it can be true; over real
sockets.
"""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipeline.core.features.ranking import FEATURE_NAMES
from vertex.api.breaker import Unavailable
from vertex.api.endpoint import Endpoint
from vertex.api.ranking import Ranker
from vertex.models import raw_predict
from vertex.models.registry import prior_model

NAME = "projects/demo-project/locations/us-central1/endpoints/1"
MATRIX = np.random.default_rng(1).random((5, len(FEATURE_NAMES)), np.float32)
GOOD = raw_predict.encode_predictions(np.full(5, 0.25, np.float32))
MEGABYTE = bytes(1024 * 1024)

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """The `host:port` of a predictor that answers so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


def saying(body: bytes, status: int = 200, **headers: str) -> Answer:
    """This body, with its length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def claiming(probability: float) -> Answer:
    """This probability for each row."""
    values = np.full(5, probability, "<f4")
    return saying(GOOD[:8] + values.tobytes())


async def predicted(host: str) -> None:
    """Asks once."""
    endpoint = Endpoint(NAME, host, 5.0)
    try:
        await endpoint.predict(MATRIX)
    finally:
        await endpoint.aclose()


async def test_good_answers_come_over_one_connection() -> None:
    peers = set()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        peers.add(handler.client_address)
        saying(GOOD, x_freshet_model_version="7")(handler)

    with answering(answer) as host:
        endpoint = Endpoint(NAME, host, 5.0)
        for _ in range(3):
            predictions, version = await endpoint.predict(MATRIX)
        await endpoint.aclose()
    assert predictions.tolist() == [0.25] * 5
    assert version == "7"
    assert len(peers) == 1


async def test_an_answer_without_end_is_not_read_beyond_what_was_expected() -> None:
    left = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            handler.wfile.write(GOOD)
            for _ in range(256):
                handler.wfile.write(MEGABYTE)
        except OSError:
            left.set()

    with answering(answer) as host:
        with pytest.raises(
            Unavailable, match=r"vertex: body: expected 28 bytes for 5 values, got 29"
        ):
            await predicted(host)
        assert await asyncio.to_thread(left.wait, 5.0), "it was read to its end"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (saying(b"", status=503), "status 503"),
        (saying(GOOD[:-1]), "expected 28 bytes"),
        (saying(b"<html>busy</html>", content_type="text/html"), "magic"),
        (saying(GOOD[:4] + b"\x04" + GOOD[5:]), "n: expected 5 predictions"),
        (saying(gzip.compress(MEGABYTE), content_encoding="gzip"), "magic"),
        (saying(b"no gzip", content_encoding="gzip"), "expected at least 8 bytes"),
    ],
)
async def test_any_other_answer_is_none(answer: Answer, reason: str) -> None:
    with answering(answer) as host, pytest.raises(Unavailable, match=reason):
        await predicted(host)


async def test_who_waits_no_longer_leaves_the_way_to_the_endpoint_to_who_comes_next() -> None:
    with answering(saying(GOOD)) as host:
        endpoint = Endpoint(NAME, host, 5.0)
        for _ in range(100):
            try:
                async with asyncio.timeout(0.001):
                    await endpoint.predict(MATRIX)
                break
            except TimeoutError:
                continue
        predictions, _ = await endpoint.predict(MATRIX)
        await endpoint.aclose()
    assert predictions.tolist() == [0.25] * 5


@pytest.mark.parametrize("probability", [1.5, -0.1, float("nan"), float("inf")])
async def test_where_the_endpoint_claims_what_is_no_probability_the_process_ranks(
    probability: float,
) -> None:
    with answering(claiming(probability)) as host:
        ranker = Ranker(Endpoint(NAME, host, 5.0), prior_model, 5.0)
        prediction = await ranker.predict(MATRIX)
        await ranker.aclose()
    assert prediction.served_by == "local"
    assert (
        prediction.fallback == "vertex: predictions: expected numbers in [0, 1], got 5 that are not"
    )
    np.testing.assert_array_equal(prediction.ctr, prior_model().score(MATRIX, FEATURE_NAMES))


async def test_certain_clicks_are_probabilities_too() -> None:
    with answering(claiming(1.0)) as host:
        ranker = Ranker(Endpoint(NAME, host, 5.0), prior_model, 5.0)
        prediction = await ranker.predict(MATRIX)
        await ranker.aclose()
    assert prediction.served_by == "vertex"
    assert prediction.ctr.tolist() == [1.0] * 5
