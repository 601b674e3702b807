"""Who may write the catalog, and what is refused before anything is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from pipeline.core.attributes import AttributeSchema
from pipeline.runtime.bodies import BodyRefused
from pipeline.store.catalog import CatalogTable
from tests.vertex.api.test_app import api
from vertex.api.catalog_routes import (
    LINES_AT_ONCE,
    MAX_ITEM_BODY_BYTES,
    MAX_LINES,
    MAX_LINES_BYTES,
    CatalogRoutes,
)

KEY = "k" * 16
HEADERS = {"x-freshet-key": KEY}
WRITES = [
    ("PUT", "/v1/items/p1"),
    ("PATCH", "/v1/items/p1"),
    ("DELETE", "/v1/items/p1"),
    ("POST", "/v1/items"),
]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGTABLE_EMULATOR_HOST", "127.0.0.1:1")


async def refused(client: httpx.AsyncClient, method: str, path: str, **asked: Any) -> list[Any]:
    """The status and the error's field of an answer."""
    answer = await client.request(method, path, **asked)
    return [answer.status_code, answer.json()["error"]["field"]]


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_only_a_back_end_with_its_key_writes(tmp_path: Path, method: str, path: str) -> None:
    body: dict[str, Any] = {"content": b"{}"}
    async with api(tmp_path, api_keys=(KEY,)) as client:
        assert await refused(client, method, path, **body) == [401, "X-Freshet-Key"]
        wrong = {"x-freshet-key": "w" * 16}
        assert await refused(client, method, path, headers=wrong, **body) == [403, "X-Freshet-Key"]
        if path != "/v1/items":  # in which no line is good
            right = await refused(client, method, path, headers=HEADERS, **body)
            assert right == [503, "bigtable"]


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_without_keys_nobody_writes_and_the_answer_names_the_setting(
    tmp_path: Path, method: str, path: str
) -> None:
    async with api(tmp_path) as client:
        answer = await client.request(method, path, headers=HEADERS, content=b"{}")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "field": "path",
        "reason": "not open here: FRESHET_API_KEYS is not set",
        "value": path,
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", {"field": "item", "reason": "expected a JSON object", "value": "{"}),
        (b"[]", {"field": "item", "reason": "expected a JSON object", "value": "[]"}),
        (
            b'{"id": "p2"}',
            {"field": "id", "reason": "expected the id of the path, or none", "value": "p2"},
        ),
        (
            b'{"pric": 5}',
            {
                "field": "pric",
                "reason": "expected a field of an item, or a name in attributes "
                "(did you mean price?)",
                "value": "5",
            },
        ),
        (b'{"price": "dear"}', {"field": "price", "reason": "expected a number", "value": "dear"}),
        (
            b'{"attributes": {"weight": "heavy"}}',
            {
                "field": "attributes.weight",
                "reason": "expected a finite number",
                "value": "heavy",
            },
        ),
        (
            b'{"attributes": {"height": 5}}',
            {"field": "attributes.height", "reason": "expected one of weight", "value": "5"},
        ),
    ],
)
async def test_what_is_wrong_with_an_item_is_named(
    tmp_path: Path, body: bytes, error: dict[str, Any]
) -> None:
    async with api(tmp_path, api_keys=(KEY,), attributes={"weight": "number"}) as client:
        answer = await client.put("/v1/items/p1", headers=HEADERS, content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_lines_that_are_wrong_are_named_by_number_and_the_request_is_taken(
    tmp_path: Path,
) -> None:
    lines = [b"not json", b"", b'{"price": 5}', b'{"id": "p1", "in_stock": "perhaps"}']
    async with api(tmp_path, api_keys=(KEY,)) as client:
        answer = await client.post("/v1/items", headers=HEADERS, content=b"\r\n".join(lines))
    assert answer.status_code == 200
    assert answer.json()["written"] == 0
    assert [(error["line"], error["field"]) for error in answer.json()["errors"]] == [
        (1, "item"),
        (3, "id"),
        (4, "in_stock"),
    ]


class HeldStore:
    """A store whose writes wait until they are let through."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.let_through = asyncio.Event()

    async def write(self, write: Callable[[CatalogTable], Awaitable[Any]]) -> Any:
        self.begun.release()
        await self.let_through.wait()


async def test_lines_of_a_few_requests_are_written_at_a_time_and_others_come_again() -> None:
    store = HeldStore()
    routes = CatalogRoutes((KEY,), store, AttributeSchema(None), dict)
    transport = httpx.ASGITransport(Starlette(routes=routes.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:

        async def bulk() -> int:
            lines = b'{"id": "p1"}'
            return (await client.post("/v1/items", headers=HEADERS, content=lines)).status_code

        held = [asyncio.create_task(bulk()) for _ in range(LINES_AT_ONCE)]
        async with asyncio.timeout(10.0):
            for _ in held:
                await store.begun.acquire()
        with pytest.raises(BodyRefused) as refusal:
            await bulk()
        store.let_through.set()
        statuses = [await each for each in (*held, bulk())]

    assert (refusal.value.status, "retry-after" in refusal.value.headers) == (503, True)
    assert statuses == [200] * (LINES_AT_ONCE + 1)


async def test_more_than_may_be_in_one_request_is_413_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    line = json.dumps({"id": "p"}).encode() + b"\n"
    async with api(tmp_path, api_keys=(KEY,)) as client:
        lines = await client.post("/v1/items", headers=HEADERS, content=line * (MAX_LINES + 1))
        large = await client.post("/v1/items", headers=HEADERS, content=bytes(MAX_LINES_BYTES + 1))
        item = bytes(MAX_ITEM_BODY_BYTES + 1)
        one = await client.put("/v1/items/p", headers=HEADERS, content=item)
    assert lines.json()["error"]["reason"] == f"expected at most {MAX_LINES} lines"
    assert [answer.status_code for answer in (lines, large, one)] == [413, 413, 413]
