"""The catalog written over HTTP while the real service recommends from it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from freshet import Freshet, NoAnswer
from pipeline.core.catalog import Item, encode_item
from pipeline.runtime.clock import now_ms
from pipeline.store.catalog import write_items
from pipeline.store.layout import STUB, cell
from tests.attack.corpus import (
    Attack,
    item_attacks,
    question_attacks,
    rank_attacks,
    suggest_attacks,
)
from tests.stack import Stack, running_stack
from tests.vertex.api.test_service import bigtable_of, fill
from vertex.api.app import AT_ONCE

KEY = "a back end's key"
FRESH_S = 1.0
KNOWN_S = 10.0


@pytest.fixture(scope="module")
def service() -> Iterator[Stack]:
    """Bigtable and API with a small shop in them."""
    extra = {"FRESHET_BIGTABLE_DEADLINE_S": "0.5", "FRESHET_API_KEYS": KEY}
    name = f"test-catalog-{os.getpid()}"
    with running_stack(name, parts=("bigtable", "api"), extra_env=extra) as stack:
        fill(stack)
        stack.restart_process("api")
        yield stack
    shutil.rmtree(stack.folder)


@pytest.fixture
def client(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=service.env["FRESHET_API_URL"],
        headers={"x-freshet-key": KEY},
        timeout=10.0,
        trust_env=False,
    ) as client:
        yield client


def shown(client: httpx.Client) -> list[str]:
    """What a visitor is shown, at most 100 items."""
    asked = {"user_id": "visitor3", "k": 100}
    answer = client.post("/v1/recommendations", json=asked)
    assert answer.status_code == 200, answer.text
    ids: list[str] = answer.json()["recommendations"]
    return ids


def is_left_out(client: httpx.Client, item_id: str) -> bool:
    return item_id not in shown(client)


def seconds_until(is_so: Callable[[], bool]) -> float:
    """How long it takes, 10 s at most."""
    began = time.monotonic()
    while not is_so() and time.monotonic() < began + 10.0:
        time.sleep(0.02)
    return time.monotonic() - began


def changed(client: httpx.Client, method: str, item_id: str, **fields: Any) -> dict[str, Any]:
    """The answer to a write that is taken."""
    answer = client.request(method, f"/v1/items/{item_id}", json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_item_that_was_put_is_read_with_all_of_its_fields(client: httpx.Client) -> None:
    fields = {
        "title": "Lamp",
        "category": "home.light",
        "brand": "b",
        "price": 12.5,
        "image": "i",
        "url": "u",
        "in_stock": True,
        "description": "A lamp.",
        "attributes": {"color": "red", "watts": 5.0, "dimmable": True, "tags": ["new"]},
        "published_at": "2026-01-01T00:00:00.000Z",
        "expires_at": None,
        "group": "lamps",
        "prices": {"EUR": 11.0},
        "regions": ["nl"],
    }
    put = changed(client, "PUT", "shop/lamp 1", **fields)
    got = client.get("/v1/items/shop/lamp 1").json()
    assert put == {"item_id": "shop/lamp 1", **fields, "stub": False}
    assert got == {**put, "stats": got["stats"]}


def test_a_changed_price_is_answered_and_what_is_sold_out_leaves_slates_within_a_second(
    client: httpx.Client,
) -> None:
    for item_id in shown(client)[:5]:
        changed(client, "PATCH", item_id, price=1.25)
        assert client.get(f"/v1/items/{item_id}").json()["price"] == 1.25
        changed(client, "PATCH", item_id, in_stock=False)
        assert seconds_until(partial(is_left_out, client, item_id)) < FRESH_S, item_id
        changed(client, "PATCH", item_id, in_stock=True)
        assert client.get(f"/v1/items/{item_id}").json()["price"] == 1.25


def test_a_deleted_item_leaves_slates_within_a_second_and_events_do_not_bring_it_back(
    client: httpx.Client, service: Stack
) -> None:
    item_id = shown(client)[0]
    assert changed(client, "DELETE", item_id) == {"item_id": item_id, "deleted": True}
    assert seconds_until(lambda: item_id not in shown(client)) < FRESH_S
    assert client.get(f"/v1/items/{item_id}").status_code == 404
    assert client.patch(f"/v1/items/{item_id}", json={"price": 1}).status_code == 404
    with bigtable_of(service) as store:
        stub = encode_item(Item(item_id, "Made up", stub=True))
        store.write([cell(STUB, item_id, stub, now_ms())])
    assert client.get(f"/v1/items/{item_id}").status_code == 404
    assert item_id not in shown(client)


def test_what_the_loader_changes_is_seen_within_a_second(
    client: httpx.Client, service: Stack
) -> None:
    item_id = shown(client)[1]
    with bigtable_of(service) as store:
        write_items(store, [Item(item_id, "Gone", in_stock=False)])
    assert seconds_until(lambda: item_id not in shown(client)) < FRESH_S


def test_an_item_is_shown_to_its_end_and_not_after(client: httpx.Client) -> None:
    item_id = shown(client)[2]
    end = datetime.now(UTC) + timedelta(seconds=2)
    changed(client, "PATCH", item_id, expires_at=end.isoformat())
    assert seconds_until(lambda: item_id not in shown(client)) == pytest.approx(2.0, abs=FRESH_S)


def test_of_changes_at_the_same_time_none_is_lost(client: httpx.Client) -> None:
    changed(client, "PUT", "contended", price=1)

    def patch(number: int) -> int:
        body = {"attributes": {f"a{number}": number}}
        return client.patch("/v1/items/contended", json=body).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(patch, range(24)))
    attributes = client.get("/v1/items/contended").json()["attributes"]
    assert set(statuses) <= {200, 409} and statuses.count(200) > 12
    assert attributes == {
        f"a{number}": float(number) for number in range(24) if statuses[number] == 200
    }


def test_lines_are_written_but_for_those_that_are_wrong(client: httpx.Client) -> None:
    rows = [
        {"id": "bulk-1", "price": 1},
        {"id": "bulk-2", "price": "dear"},
        {"id": "bulk-1", "price": 3},
        *({"id": f"bulk-{number}", "attributes": {"n": number}} for number in range(10, 510)),
    ]
    answer = client.post("/v1/items", content="\n".join(map(json.dumps, rows)))
    assert answer.json() == {
        "written": 501,
        "errors": [{"line": 2, "field": "price", "reason": "expected a number", "value": "dear"}],
    }
    assert client.get("/v1/items/bulk-1").json()["price"] == 3.0
    assert client.get("/v1/items/bulk-509").json()["attributes"] == {"n": 509.0}
    assert client.get("/v1/items/bulk-2").status_code == 404


def test_many_requests_with_lines_at_once_take_no_place_of_recommendations(
    client: httpx.Client,
) -> None:
    lines = "\n".join(json.dumps({"id": f"busy-{number}"}) for number in range(1_000))

    def write(_: int) -> int:
        return client.post("/v1/items", content=lines).status_code

    with ThreadPoolExecutor(AT_ONCE + 4) as pool:
        writes = [pool.submit(write, number) for number in range(AT_ONCE + 4)]
        answers = 0
        while not all(each.done() for each in writes):
            shown(client)
            answers += 1

    assert answers > 0
    statuses = {each.result() for each in writes}
    assert 200 in statuses and statuses <= {200, 503}


def test_a_value_of_another_type_than_in_items_before_is_refused(client: httpx.Client) -> None:
    changed(client, "PUT", "typed-1", attributes={"weight": 5})
    answer = client.put("/v1/items/typed-2", json={"attributes": {"weight": "heavy"}})
    assert answer.status_code == 400
    assert answer.json()["error"]["reason"] == "expected a finite number, as in items before"


def test_types_of_the_items_in_memory_hold_for_what_is_written(
    client: httpx.Client, service: Stack
) -> None:
    with bigtable_of(service) as store:
        write_items(store, [Item("loaded", attributes={"volume": 5.0})])
    asked = {"user_id": "visitor3", "filter": "volume > 1"}  # refused until the name is known

    def is_known() -> bool:
        return client.post("/v1/recommendations", json=asked).status_code == 200

    assert seconds_until(is_known) < KNOWN_S
    answer = client.put("/v1/items/other", json={"attributes": {"volume": "loud"}})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "attributes.volume")


def test_an_item_that_only_events_name_is_not_patched(client: httpx.Client, service: Stack) -> None:
    with bigtable_of(service) as store:
        store.write([cell(STUB, "named", encode_item(Item("named", stub=True)), now_ms())])
    answer = client.patch("/v1/items/named", json={"price": 1})
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "field": "item_id",
        "reason": "expected an item of the catalog",
        "value": "named",
    }


def shown_to_reader(client: httpx.Client, viewed: str) -> list[str]:
    """What one is shown who has just viewed an item."""
    view = {
        "event_id": f"view-{viewed}",
        "event": "view_product",
        "product_id": viewed,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    asked = {"anonymous_id": "reader", "k": 100, "events": [view]}
    answer = client.post("/v1/recommendations", json=asked)
    assert answer.status_code == 200, answer.text
    ids: list[str] = answer.json()["recommendations"]
    return ids


def test_a_story_of_this_minute_reaches_who_read_of_the_same_thing_without_any_click(
    client: httpx.Client,
) -> None:
    def is_encoded() -> bool:
        health = client.get("/healthz").json()
        return bool(health["text_model"]) and health["texts_waiting"] == 0

    assert seconds_until(is_encoded) < 10.0
    title = "Parliament votes on the new climate law"
    changed(client, "PUT", "old", title=title, category="news.politics")
    assert seconds_until(lambda: "old" in shown_to_reader(client, "old")) < 2 * FRESH_S
    before = shown_to_reader(client, "old")
    title = "Climate law passes parliament after a long vote"
    changed(client, "PUT", "story", title=title, category="news.europe")

    took_s = seconds_until(lambda: "story" in shown_to_reader(client, "old"))

    assert took_s < 2 * FRESH_S
    # it takes one place; the last of those that were there may change
    assert len(set(before) - set(shown_to_reader(client, "old"))) <= 5


def test_the_python_client_writes_the_catalog_and_asks_each_route(service: Stack) -> None:
    api_url = service.env["FRESHET_API_URL"]
    with Freshet("http://127.0.0.1:9", "unused", api_url, api_key=KEY, timeout_s=10.0) as freshet:
        written = freshet.write_items(
            [
                {"item_id": "client-1", "title": "Client lamp", "category": "lamps", "price": 5},
                {"item_id": "client-2", "title": "Client sofa", "price": "dear"},
            ]
        )
        assert written["written"] == 1 and written["errors"][0]["line"] == 2
        assert freshet.put_item("client-2", title="Client sofa", price=50.0)["price"] == 50.0
        assert freshet.patch_item("client-2", price=40.0)["price"] == 40.0
        ranked = freshet.rank(["client-1", "client-2", "never-seen"], user_id="visitor3")
        assert set(ranked["ranked"][:2]) == {"client-1", "client-2"}
        assert ranked["unknown"] == ["never-seen"]
        rows = freshet.recommend_rows([{"placement": "home", "k": 3}], user_id="visitor3")
        assert len(rows["rows"][0]["recommendations"]) == 3
        assert freshet.similar("client-1", n=2)["item_id"] == "client-1"
        assert "suggestions" in freshet.suggest("cli", user_id="visitor3")
        answer = freshet.recommend(user_id="visitor3", filter='category == "lamps"', k=2)
        assert answer["recommendations"] == ["client-1"]
        freshet.delete_item("client-2")
        with pytest.raises(NoAnswer, match=r"400 \(filter\)") as refused:
            freshet.recommend(user_id="visitor3", filter="prise < 5")
        assert refused.value.reason == "column 1: expected a known field, such as price"


CONNECTIONS = 64
MAX_GROWN_BYTES = 128 * 1024 * 1024
"""Of the API's memory by two rounds of the corpus, whose bodies are twice as large."""


async def test_hostile_requests_on_64_connections_are_answered_and_memory_stays_flat(
    service: Stack,
) -> None:
    attacks = [
        *question_attacks("/v1/recommendations"),
        *question_attacks("/v1/pages"),
        *rank_attacks(),
        *suggest_attacks(),
        *item_attacks(),
    ]
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(
        base_url=service.env["FRESHET_API_URL"],
        headers={"x-freshet-key": KEY},
        limits=limits,
        timeout=60.0,
        trust_env=False,
    ) as client:

        async def send(attack: Attack) -> None:
            asked = attack.request
            answer = await client.request(asked.method, asked.path, content=asked.body)
            assert answer.status_code in {200, 400, 404, 409, 413, 503}, f"{attack}"
            assert answer.status_code != 503 or "retry-after" in answer.headers, f"{attack}"

        async def send_all() -> None:
            await asyncio.gather(*map(send, attacks))

        await send_all()
        before = resident_bytes(service)
        await send_all()
        await send_all()
        grown = resident_bytes(service) - before
        assert grown < MAX_GROWN_BYTES
        await client.delete("/v1/items/p1")


def resident_bytes(service: Stack) -> int:
    """Memory of the API's processes."""
    group = service.processes["api"].pid
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return sum(_resident_bytes(pid) for pid in pids if _group_of(pid) == group)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
