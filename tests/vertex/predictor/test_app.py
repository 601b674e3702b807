"""The predictor behind the Vertex endpoint, over HTTP as Vertex AI and the API ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.core.features.matrix import prior_ctr
from pipeline.core.features.ranking import FEATURE_NAMES
from pipeline.core.vectors import VectorIndex
from pipeline.runtime.bodies import Bodies
from tests.stack.ports import free_ports
from vertex.models.logistic import Logistic
from vertex.models.raw_predict import MAX_BODY_BYTES, decode_predictions, encode_matrix
from vertex.predictor.app import make_app
from vertex.predictor.config import Config
from vertex.training.prior import PRIOR
from vertex.training.publish import model_files, publish

D = len(FEATURE_NAMES)
MATRIX = np.random.default_rng(1).normal(size=(5, D)).astype(np.float32)
BINARY = {"content-type": "application/octet-stream"}
ENDPOINT = "/v1/projects/demo-project/locations/us-central1/endpoints/1"


@contextlib.asynccontextmanager
async def predictor(config: Config | None = None) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(config or Config(), watch_every_s=0.02)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://predictor") as client,
    ):
        yield client


def publish_version(directory: Path, version: str, bias: float = 0.0) -> None:
    manifest = {"version": version, "kind": "logistic", "feature_names": list(FEATURE_NAMES)}
    publish(
        str(directory),
        version,
        model_files(manifest, Logistic(FEATURE_NAMES, {}, bias), VectorIndex.empty()),
    )


async def answered_by(client: httpx.AsyncClient) -> str:
    answer = await client.post(
        "/predict", content=encode_matrix(MATRIX, FEATURE_NAMES), headers=BINARY
    )
    return str(answer.headers.get("x-freshet-model-version"))


async def eventually_answered_by(client: httpx.AsyncClient, version: str) -> None:
    async with asyncio.timeout(5):
        while await answered_by(client) != version:  # noqa: ASYNC110  # the predictor signals by answering
            await asyncio.sleep(0.01)


# -- predictions


@pytest.mark.parametrize("path", ["/predict", f"{ENDPOINT}:rawPredict"])
async def test_a_binary_body_gets_a_binary_answer(path: str) -> None:
    async with predictor() as client:
        answer = await client.post(
            path, content=encode_matrix(MATRIX, FEATURE_NAMES), headers=BINARY
        )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-freshet-model-version"] == "prior"
    np.testing.assert_allclose(decode_predictions(answer.content, 5), prior_ctr(MATRIX), rtol=1e-5)


@pytest.mark.parametrize("path", ["/predict", f"{ENDPOINT}:predict"])
async def test_json_rows_get_json_predictions(path: str) -> None:
    async with predictor() as client:
        answer = await client.post(path, json={"instances": MATRIX.tolist()})
    assert answer.status_code == 200
    assert answer.json()["modelVersionId"] == "prior"
    np.testing.assert_allclose(answer.json()["predictions"], prior_ctr(MATRIX), rtol=1e-5)


async def test_features_may_be_named_and_position_left_out() -> None:
    named = dict(zip(FEATURE_NAMES, MATRIX[0].tolist(), strict=True))
    row = [named["position"] * 0, *MATRIX[0].tolist()[1:]]
    del named["position"]
    async with predictor() as client:
        by_name = await client.post("/predict", json={"instances": [named]})
        by_place = await client.post("/predict", json={"instances": [row]})
    assert by_name.json()["predictions"] == by_place.json()["predictions"]


async def test_no_instances_get_no_predictions() -> None:
    async with predictor() as client:
        assert (await client.post("/predict", json={"instances": []})).json()["predictions"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "body: expected JSON"),
        (b"\xff", "body: expected JSON"),
        (b'{"instances": "\xff"}', "body: expected JSON"),
        (b"[]", 'body: expected {"instances": [...]}'),
        (b'{"instances": [[1, 2]]}', f"instances[0]: expected {D} numbers, got 2"),
        (b'{"instances": [7]}', "instances[0]: expected a list or an object, got int"),
        (
            json.dumps({"instances": [[True] * D]}).encode(),
            "instances[0]: expected numbers, got bool",
        ),
        (
            json.dumps({"instances": [["1"] * D]}).encode(),
            "instances[0]: expected numbers, got str",
        ),
        (
            json.dumps({"instances": [[0] * D, [1e39] * D]}).encode(),
            "instances[1]: expected numbers that",
        ),
        (
            json.dumps({"instances": [[10**400] * D]}).encode(),
            "instances[0]: expected numbers that",
        ),
        (
            b'{"instances": [{"shoe_size": 46}]}',
            "instances[0]: expected the features position, is_current",
        ),
    ],
)
async def test_a_wrong_request_is_refused_as_vertex_does(body: bytes, message: str) -> None:
    async with predictor() as client:
        answer = await client.post(
            "/predict", content=body, headers={"content-type": "application/json"}
        )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert error["message"].startswith(message)


async def test_a_wrong_binary_body_is_refused_in_words() -> None:
    async with predictor() as client:
        answer = await client.post("/predict", content=b"FSM1" + bytes(12), headers=BINARY)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "magic: expected b'FSM2', got b'FSM1'"


async def test_a_binary_body_without_a_feature_of_the_model_is_refused_with_its_name() -> None:
    body = encode_matrix(MATRIX[:, 1:], FEATURE_NAMES[1:])
    async with predictor() as client:
        answer = await client.post("/predict", content=body, headers=BINARY)
    message = "features: expected those of model prior; missing: position"
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize("kind", ["binary", "rows", "objects"])
async def test_a_model_of_other_features_takes_its_own_by_name(tmp_path: Path, kind: str) -> None:
    """Older than the client, or newer: neither knows of the other more than the names."""
    model = Logistic(("seen", "recency"), {"seen": 1.0, "recency": 0.5}, 0.0)
    manifest = {"kind": model.kind, "feature_names": list(model.feature_names)}
    publish(str(tmp_path), "v1", model_files(manifest, model, VectorIndex.empty()))
    matrix = np.array([[2.0, 7.0, -1.0]], np.float32)  # recency, another, seen
    requests: dict[str, dict[str, Any]] = {
        "binary": {
            "content": encode_matrix(matrix, ["recency", "another", "seen"]),
            "headers": BINARY,
        },
        "rows": {"json": {"instances": [[-1.0, 2.0]]}},
        "objects": {"json": {"instances": [{"recency": 2.0, "another": 7.0, "seen": -1.0}]}},
    }
    async with predictor(Config(model_dir=str(tmp_path))) as client:
        answer = await client.post("/predict", **requests[kind])
    assert answer.status_code == 200, answer.text
    if kind == "binary":
        [predicted] = decode_predictions(answer.content, 1)
    else:
        [predicted] = answer.json()["predictions"]
    assert predicted == pytest.approx(0.5)  # 1.0 * -1 + 0.5 * 2 = 0


async def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    async with predictor() as client:
        answer = await client.post("/predict", content=bytes(MAX_BODY_BYTES + 1), headers=BINARY)
    assert answer.status_code == 413


async def test_requests_whose_bodies_do_not_come_keep_nobody_else_waiting() -> None:
    may_end = asyncio.Event()

    async def slow_body() -> AsyncIterator[bytes]:
        await may_end.wait()
        yield b'{"instances": []}'

    async with predictor() as client:
        silent = [
            asyncio.create_task(client.post("/predict", content=slow_body())) for _ in range(300)
        ]
        await asyncio.sleep(0.5)
        answer = await client.post("/predict", json={"instances": []})
        may_end.set()
        answers = await asyncio.gather(*silent)
    assert {answer.status_code, *(each.status_code for each in answers)} == {200}


async def test_bodies_beyond_what_may_be_held_at_once_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "vertex.predictor.app.Bodies", lambda limit: Bodies(limit, max_held_bytes=10)
    )
    async with predictor() as client:
        answer = await client.post("/predict", json={"instances": []})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_other_paths_and_methods_are_refused_as_json() -> None:
    async with predictor() as client:
        assert (await client.get("/nowhere")).json()["error"]["status"] == "NOT_FOUND"
        assert (await client.get("/predict")).json()["error"]["code"] == 405


# -- the model that is served


async def test_health_names_the_model() -> None:
    async with predictor() as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()["model_version"]) == (200, "prior")


async def test_a_newly_published_model_is_served_without_a_restart(tmp_path: Path) -> None:
    async with predictor(Config(model_dir=str(tmp_path))) as client:
        assert await answered_by(client) == "prior"
        publish_version(tmp_path, "v1")
        await eventually_answered_by(client, "v1")


async def test_a_broken_new_model_leaves_the_old_one_serving_until_a_good_one_comes(
    tmp_path: Path,
) -> None:
    publish_version(tmp_path, "v1")
    async with predictor(Config(model_dir=str(tmp_path))) as client:
        (tmp_path / "LATEST").write_text("v2")
        await asyncio.sleep(0.2)
        assert await answered_by(client) == "v1"
        publish_version(tmp_path, "v3")
        await eventually_answered_by(client, "v3")


async def test_without_a_model_it_is_unhealthy_and_says_so_until_one_comes(tmp_path: Path) -> None:
    (tmp_path / "LATEST").write_text("v1")
    async with predictor(Config(model_dir=str(tmp_path))) as client:
        health = await client.get("/healthz")
        refused = await client.post("/predict", json={"instances": []})
        assert (health.status_code, refused.json()["error"]["status"]) == (503, "UNAVAILABLE")
        publish_version(tmp_path, "v1")
        await eventually_answered_by(client, "v1")


async def test_on_vertex_the_artifact_folder_is_served_on_the_routes_it_names(
    tmp_path: Path,
) -> None:
    publish_version(tmp_path, "v7")
    config = Config.from_env(
        {
            "AIP_STORAGE_URI": str(tmp_path / "v7"),
            "AIP_HTTP_PORT": "9999",
            "AIP_HEALTH_ROUTE": "/health-of/7",
            "AIP_PREDICT_ROUTE": "/predict-by/7",
        }
    )
    assert (config.host, config.port) == ("0.0.0.0", 9999)
    async with predictor(config) as client:
        assert (await client.get("/health-of/7")).json()["model_version"] == "v7"
        answer = await client.post(
            "/predict-by/7", content=encode_matrix(MATRIX, FEATURE_NAMES), headers=BINARY
        )
        assert decode_predictions(answer.content, 5).tolist() == [0.5] * 5


# -- configuration


def test_locally_it_listens_on_the_loopback() -> None:
    assert Config.from_env({}) == Config(host="127.0.0.1", port=8082)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"AIP_HTTP_PORT": "http"},
            "AIP_HTTP_PORT: expected a whole number from 1 to 65535, got 'http'",
        ),
        (
            {"AIP_HTTP_PORT": "70000"},
            "AIP_HTTP_PORT: expected a whole number from 1 to 65535, got '70000'",
        ),
        ({"AIP_HEALTH_ROUTE": "health"}, "AIP_HEALTH_ROUTE: expected a path that starts with /"),
        (
            {"AIP_HEALTH_ROUTE": "/x", "AIP_PREDICT_ROUTE": "/x"},
            "AIP_PREDICT_ROUTE: expected another path",
        ),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        Config.from_env(environ)
    assert str(refused.value).startswith(message)


# -- the process


def test_the_process_answers_logs_json_and_stops_when_asked(tmp_path: Path) -> None:
    publish_version(tmp_path, "v1", bias=PRIOR.bias)
    port = free_ports().predictor
    env = {**os.environ, "AIP_HTTP_PORT": str(port), "FRESHET_MODEL_DIR": str(tmp_path)}
    env.pop("AIP_STORAGE_URI", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "vertex.predictor"], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(
                    f"{url}{env.get('AIP_HEALTH_ROUTE', '/healthz')}", trust_env=False
                ).is_success:
                    break
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode in (0, -signal.SIGTERM)
    entries = [json.loads(line) for line in log.splitlines()]
    assert any(entry["message"] == "serving model v1 (logistic)" for entry in entries)
    assert {entry["severity"] for entry in entries} == {"INFO"}
    assert all(entry.keys() >= {"severity", "message", "logger"} for entry in entries)
