"""The app on its own, with a Bigtable that is not there: what is open, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.core.catalog import Item
from pipeline.core.item_columns import ItemColumns
from pipeline.core.items import ItemRow, ItemStats
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.user_tokens import user_token
from pipeline.runtime.bodies import Bodies
from pipeline.store.item_snapshot import FILE_NAME, save_items
from vertex.api.app import AT_ONCE, MAX_BODY_BYTES, create_app, reason_of
from vertex.api.breaker import Unavailable
from vertex.api.config import Config
from vertex.api.recommend import Recommender


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", "127.0.0.1:1")


@contextlib.asynccontextmanager
async def api(model_dir: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Config("demo-project", "freshet", str(model_dir), **settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "Connecting to Bigtable emulator"
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client,
        ):
            yield client


@pytest.mark.usefixtures("nowhere")
async def test_profiles_are_shown_only_where_that_was_switched_on(tmp_path: Path) -> None:
    who = {"user_id": "anna"}
    async with api(tmp_path) as client:
        closed = [
            await client.get("/v1/profile", params=who),
            await client.post("/v1/profile", json=who),
        ]
    async with api(tmp_path, profile_view=True) as client:
        opened = [
            await client.get("/v1/profile", params=who),
            await client.post("/v1/profile", json=who),
        ]

    assert [answer.status_code for answer in closed] == [404, 404]
    assert "FRESHET_PROFILE_VIEW" in closed[0].json()["error"]["reason"]
    assert [answer.status_code for answer in opened] == [503, 503]  # Bigtable was asked


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/rank", "/v1/profile"])
async def test_where_there_is_a_key_a_user_id_counts_with_its_own_token_alone(
    tmp_path: Path, path: str
) -> None:
    key = b"sixteen bytes or more"
    browser, who = {"anonymous_id": "a1", "items": ["p1"]}, {"user_id": "anna", "items": ["p1"]}
    theirs = {"user_token": user_token(key, "another")}
    async with api(tmp_path, profile_view=True, privacy=Privacy(user_key=key)) as client:
        missing, wrong = [await client.post(path, json=asked) for asked in (who, who | theirs)]
        proven, unnamed = [
            await client.post(path, json=asked)
            for asked in (who | {"user_token": user_token(key, "anna")}, browser)
        ]

    assert [missing.status_code, wrong.status_code] == [401, 403]
    for refused in (missing, wrong):
        assert (refused.json()["error"]["field"], refused.json()["error"]["value"]) == (
            "user_token",
            None,
        )
    assert proven.status_code == unnamed.status_code == (503 if path == "/v1/profile" else 200)


@pytest.mark.usefixtures("nowhere")
async def test_a_fault_is_an_answer_that_the_page_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("about anna")

    monkeypatch.setattr(Recommender, "answer", broken)
    async with api(tmp_path, cors_origins=("http://shop",)) as client:
        answer = await client.post(
            "/v1/recommendations", json={"user_id": "anna"}, headers={"origin": "http://shop"}
        )
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "http://shop"
    assert answer.json()["error"]["field"] == "server" and "anna" not in answer.text


@pytest.mark.usefixtures("nowhere")
async def test_more_requests_at_a_time_than_the_limit_are_503_that_a_page_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = asyncio.Event()

    async def waiting(*_: Any) -> dict[str, Any]:
        await may_answer.wait()
        return {}

    monkeypatch.setattr(Recommender, "answer", waiting)
    async with api(tmp_path, cors_origins=("http://shop",)) as client:

        def ask() -> asyncio.Task[httpx.Response]:
            question = client.post(
                "/v1/recommendations", json={"user_id": "u"}, headers={"origin": "http://shop"}
            )
            return asyncio.create_task(question)

        under_way = [ask() for _ in range(AT_ONCE)]
        refused = await asyncio.wait_for(ask(), 10.0)
        healthy = await client.get("/healthz")
        may_answer.set()
        answers = await asyncio.gather(*under_way)
        after = await ask()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert refused.json()["error"]["field"] == "server"
    assert refused.headers["access-control-allow-origin"] == "http://shop"
    assert healthy.status_code == 200
    assert {answer.status_code for answer in (*answers, after)} == {200}


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/pages", "/v1/rank"])
async def test_a_request_whose_deadline_passed_before_it_was_begun_is_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def slow(*_: Any) -> bytes:
        await asyncio.sleep(0.01)
        return b'{"deadline_ms": 5, "items": ["p1"], "rows": [{"placement": "home"}]}'

    monkeypatch.setattr(Bodies, "read", slow)
    async with api(tmp_path) as client:
        answer = await client.post(path, json={})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["field"] == "deadline_ms"


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/rank", "/v1/profile"])
async def test_a_body_over_the_limit_is_413(tmp_path: Path, path: str) -> None:
    async with api(tmp_path, profile_view=True) as client:
        answer = await client.post(path, content=bytes(MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["field"] == "body"


@pytest.mark.usefixtures("nowhere")
async def test_bodies_beyond_what_may_be_held_at_once_are_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vertex.api.app.Bodies", lambda limit: Bodies(limit, max_held_bytes=10))
    async with api(tmp_path) as client:
        answer = await client.post("/v1/recommendations", json={"user_id": "somebody"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.usefixtures("nowhere")
async def test_beyond_an_addresss_rate_a_page_reads_429_and_health_is_not_counted(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "address_requests_per_s": 0.1,
        "address_burst": 1.0,
        "cors_origins": ("http://shop",),
    }
    async with api(tmp_path, **settings) as client:
        healthy = [await client.get("/healthz") for _ in range(3)]
        first = await client.get("/v1/items/p1")
        asked = {"user_id": "anna"}
        refused = await client.post(
            "/v1/recommendations", json=asked, headers={"origin": "http://shop"}
        )
    assert {answer.status_code for answer in healthy} == {200}
    assert first.status_code == 404
    assert refused.status_code == 429
    assert 9 <= int(refused.headers["retry-after"]) <= 10
    assert refused.json()["error"] == {
        "field": "address",
        "reason": "expected fewer requests",
        "value": None,
    }
    assert refused.headers["access-control-allow-origin"] == "http://shop"
    assert "retry-after" in refused.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimeoutError(), "TimeoutError"), (Unavailable("bigtable: closed"), "bigtable: closed")],
)
def test_a_failure_is_named_also_when_it_brings_no_message(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.usefixtures("nowhere")
async def test_a_start_without_the_catalog_says_why_and_health_says_that_it_is_not_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with api(tmp_path) as client:
        health = (await client.get("/healthz")).json()

    assert "starting without the catalog: bigtable: " in caplog.text
    assert (health["items"], health["catalog"], health["full"]) == (0, None, [])


@pytest.mark.usefixtures("nowhere")
async def test_from_a_snapshot_the_api_recommends_before_bigtable_answers(tmp_path: Path) -> None:
    rows = [ItemRow(Item(f"p{n}", category="toys"), ItemStats()) for n in range(30)]
    items = ItemColumns.of(rows)
    save_items(str(tmp_path), items, items.all_rows(), began_ms=1_750_000_000_000)
    async with api(tmp_path, snapshot_dir=str(tmp_path), max_items=25) as client:
        answer = await client.post("/v1/recommendations", json={"anonymous_id": "a", "k": 20})
        health = (await client.get("/healthz")).json()

    assert len(answer.json()["recommendations"]) == 20
    assert (health["items"], health["catalog"]) == (25, 30)
    assert health["snapshot"] == {"items": 30, "began": "2025-06-15T15:06:40.000Z"}


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "expected a file items.npz, got none"), (b"PK\x03", "expected a whole items.npz, got")],
)
async def test_a_missing_or_damaged_snapshot_is_in_log_and_health_and_the_start_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    async with api(tmp_path, snapshot_dir=str(tmp_path)) as client:
        health = (await client.get("/healthz")).json()

    assert f"starting without the snapshot in {tmp_path}: {reason}" in caplog.text
    assert health["snapshot"]["error"].startswith(reason)
    assert "starting without the catalog" in caplog.text  # it was read as without a snapshot
