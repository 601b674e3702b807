"""The real service over the real emulator and predictor: what it answers, and what it does when
they die.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from pipeline.core.catalog import Item
from pipeline.core.events import Event
from pipeline.core.profile import UserProfile
from pipeline.core.queries import TopQueries, TopQuery
from pipeline.runtime.clock import now_ms
from pipeline.store.blocking import Store
from pipeline.store.layout import PROFILE, TOP_QUERIES, cell, item_write, top_queries_row
from tests.bench.shop import Shop
from tests.stack import Stack, running_stack
from tests.stack.prerequisites import REPO

Answer = dict[str, Any]
RECOVERY_S = 30.0


@pytest.fixture(scope="module")
def service() -> Iterator[Stack]:
    """Bigtable, predictor and API with a small shop in them."""
    # the machine may be busy
    extra = {"FRESHET_BIGTABLE_DEADLINE_S": "0.5", "FRESHET_VERTEX_DEADLINE_S": "0.5"}
    name = f"test-api-{os.getpid()}"
    with running_stack(name, parts=("bigtable", "predictor", "api"), extra_env=extra) as stack:
        fill(stack)
        stack.restart_process("predictor")
        stack.restart_process("api")
        yield stack
    shutil.rmtree(stack.folder)


def fill(stack: Stack, model: bool = True) -> None:
    """A shop of 300 items and 20 visitors; the same each time."""
    shop = Shop(items=300, visitors=20, sessions=400, now_ms=now_ms())
    shop.items = [with_attributes(item, index) for index, item in enumerate(shop.items)]
    with bigtable_of(stack) as store:
        shop.write(store)
    if model:
        shop.write_model(stack.env["FRESHET_MODEL_DIR"])


def with_attributes(item: Item, index: int) -> Item:
    """The item with fields of the shop's own."""
    sizes = ["s", "m", "l"][index % 3 :]
    return msgspec.structs.replace(item, attributes={"adult": index % 7 == 0, "sizes": sizes})


def write_profile(stack: Stack, key: str, value: bytes) -> None:
    """One row, as some pipeline has stored it."""
    with bigtable_of(stack) as store:
        store.write([cell(PROFILE, key, value, now_ms())])


@contextmanager
def bigtable_of(stack: Stack) -> Iterator[Store]:
    """The stack's Bigtable, whatever this process' environment says."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "Connecting to Bigtable emulator"
        patch.setenv("BIGTABLE_EMULATOR_HOST", stack.env["BIGTABLE_EMULATOR_HOST"])
        store = Store(stack.env["GOOGLE_CLOUD_PROJECT"], stack.env["FRESHET_BIGTABLE_INSTANCE"])
        try:
            yield store
        finally:
            store.close()


@pytest.fixture
def client(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=service.env["FRESHET_API_URL"], timeout=10.0, trust_env=False
    ) as client:
        yield client


def ask(client: httpx.Client, **question: Any) -> Answer:
    response = client.post("/v1/recommendations", json={"user_id": "visitor3", **question})
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


def bought(event_id: str, product_id: str) -> UserProfile:
    """The profile of a visitor who has bought one product."""
    profile = UserProfile()
    known = Event(
        event_id=event_id,
        event="purchase",
        user_id="buyer",
        product_id=product_id,
        timestamp=datetime.now(UTC),
    )
    profile.add(known)
    return profile


def eventually(client: httpx.Client, expected: Callable[[Answer], bool]) -> Answer:
    """The first answer as expected; every one until then is an answer too."""
    deadline = time.monotonic() + RECOVERY_S
    while not expected(answer := ask(client)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer


def by(path: str) -> Callable[[Answer], bool]:
    return lambda answer: bool(answer["served_by"] == path)


def test_titles_of_the_catalog_and_queries_that_were_just_written_are_suggested(
    service: Stack, client: httpx.Client
) -> None:
    top = TopQueries(now_ms(), {"zebra lamp": TopQuery(1, 5_000.0)})
    with bigtable_of(service) as store:
        store.write(
            [
                cell(TOP_QUERIES, top_queries_row("zebra lamp"), top.encode(), now_ms()),
                item_write(Item("zebra", "Zebra rug", "home.rugs", price=3.0), now_ms()),
            ]
        )
    expected = {("query", "zebra lamp", None), ("product", "Zebra rug", "zebra")}
    found: set[tuple[str, str, str | None]] = set()
    deadline = time.monotonic() + 90.0  # the catalog is scanned once a minute
    while not expected <= found:
        assert time.monotonic() < deadline, found
        answer = client.get("/v1/search/suggest", params={"q": "zerba"}).json()
        found = {(one["kind"], one["text"], one.get("id")) for one in answer["suggestions"]}
        time.sleep(0.2)


def test_a_known_visitor_is_served_by_vertex_from_200_candidates(client: httpx.Client) -> None:
    answer = eventually(client, by("vertex"))

    assert answer["candidates"] == 200
    assert answer["model_version"] == "bench"
    assert answer["profile"]["found"] is True
    assert {shown["source"] for shown in answer["ranked_feed"]} > {"recent"}
    for shown in answer["ranked_feed"]:
        assert sum(shown["parts"].values()) == pytest.approx(shown["score"], abs=1e-6)


def test_a_filter_holds_for_all_items_of_an_answer(client: httpx.Client) -> None:
    where = 'price < 120 and "s" in sizes and not adult'
    for question in ({}, {"variant": "popular"}):
        answer = ask(client, k=15, filter=where, **question)
        assert answer["recommendations"]
        for item_id in answer["recommendations"]:
            item = client.get(f"/v1/items/{item_id}").json()
            attributes = item["attributes"]
            assert item["price"] < 120 and "s" in attributes["sizes"] and not attributes["adult"]


@pytest.mark.parametrize(
    ("body", "field", "reason", "value"),
    [
        (
            {"filter": "price < 50 and adlt"},
            "filter",
            "column 16: expected a known field, such as adult",
            "adlt",
        ),
        ({"filter": "price <"}, "filter", "column 8: expected a field or a value", "the end"),
        ({"filter": 5}, "filter", "expected `str | null`", "5"),
        (
            {"filter": "a" * 3_000},
            "filter",
            "column 2001: expected at most 2,000 characters",
            "3,000",
        ),
        (
            {"context": {"contry": "nl"}},
            "context",
            "object contains unknown field `contry`",
            '{"contry": "nl"}',
        ),
    ],
)
def test_a_wrong_filter_is_answered_with_its_place(
    client: httpx.Client, body: Answer, field: str, reason: str, value: str
) -> None:
    response = client.post("/v1/recommendations", json={"anonymous_id": "a1", **body})
    assert response.status_code == 400
    assert response.json() == {"error": {"field": field, "reason": reason, "value": value}}


def test_a_filter_may_ask_for_the_browsers_device_and_for_traits_of_the_request(
    client: httpx.Client,
) -> None:
    where = 'context.device = "mobile" and "tier=gold" in context.traits'
    question = {"anonymous_id": "a1", "filter": where, "context": {"traits": {"tier": "gold"}}}
    phone = {"origin": "https://shop.example", "user-agent": "Mozilla/5.0 (iPhone) Mobile Safari"}
    found = client.post("/v1/recommendations", json=question, headers=phone).json()
    others = client.post("/v1/recommendations", json=question).json()
    assert found["recommendations"] and not others["recommendations"]
    refused = client.post("/v1/rank", json={"items": ["p1"], "context": {"device": 7}})
    assert refused.status_code == 400 and "context.device" in refused.text


def test_a_click_that_is_not_stored_yet_changes_the_answer(client: httpx.Client) -> None:
    before = ask(client, anonymous_id="stranger", user_id=None)
    pending = {
        "event_id": "e1",
        "event": "view_product",
        "product_id": "p77",
        "timestamp": rfc3339(now_ms()),
    }

    after = ask(client, anonymous_id="stranger", user_id=None, events=[pending])

    assert before["recommendations"] != after["recommendations"]
    assert "p77" in after["recommendations"]
    assert after["profile"]["pending"] == 1


def test_the_profile_is_readable(client: httpx.Client) -> None:
    profile = client.get("/v1/profile", params={"user_id": "visitor3"}).json()

    assert profile["found"] is True
    assert profile["contains_event"] is None
    assert profile["events_total"] == ask(client)["profile"]["events_total"]
    assert profile["recent_items"][0].keys() == {"id", "time"}
    assert 0 < profile["encoded_bytes"] < 8192


@pytest.mark.parametrize(
    ("named", "contained"),
    [
        ({}, True),
        ({"event_id": "e2"}, False),
        ({"event": "click"}, False),
        ({"product_id": "p9"}, False),
    ],
)
def test_the_profile_says_whether_it_holds_an_event(
    client: httpx.Client, service: Stack, named: dict[str, str], contained: bool
) -> None:
    write_profile(service, "u#buyer", bought("e1", "p1").encode())
    asked = {"user_id": "buyer", "event_id": "e1", "event": "purchase", "product_id": "p1", **named}

    assert client.post("/v1/profile", json=asked).json()["contains_event"] is contained
    assert client.get("/v1/profile", params=asked).json()["contains_event"] is contained


def test_a_browser_merged_into_an_account_is_served_as_the_account(
    client: httpx.Client, service: Stack
) -> None:
    write_profile(service, "a#merged", UserProfile(account="u#visitor3").encode())
    account, other = ask(client)["profile"], ask(client, user_id="visitor4")["profile"]

    assert ask(client, user_id=None, anonymous_id="merged")["profile"] == account
    assert ask(client, anonymous_id="merged")["profile"] == account
    assert ask(client, user_id="visitor4", anonymous_id="merged")["profile"] == other != account
    assert ask(client, user_id="new", anonymous_id="merged")["profile"]["found"] is False


def test_a_stored_profile_of_the_first_version_is_served(
    client: httpx.Client, service: Stack
) -> None:
    written = json.loads((REPO / "tests/pipeline/golden/version_1.json").read_text())
    write_profile(service, "u#old", b64decode(written["profile"]))

    answer = ask(client, user_id="old")

    assert (answer["profile"]["found"], answer["profile"]["events_total"]) == (
        True,
        len(written["events"]),
    )
    assert len(answer["recommendations"]) == 20


def test_the_visitor_of_a_newer_releases_profile_is_served_as_unknown_and_counted(
    client: httpx.Client, service: Stack
) -> None:
    before = client.get("/healthz").json()["unreadable"]
    write_profile(service, "u#newer", b"\x63" + UserProfile(events_total=5).encode()[1:])

    answer = ask(client, user_id="newer")

    health = client.get("/healthz").json()
    assert answer["profile"]["found"] is False
    assert len(answer["recommendations"]) == 20
    assert (health["bigtable"], health["unreadable"]) == (True, before + 1)


def test_an_item_comes_with_its_live_statistics(client: httpx.Client) -> None:
    answer = client.get("/v1/items/p0").json()

    assert answer["title"] == "Product 0"
    assert answer["stats"]["views"] > 0


def test_mistakes_are_named_with_their_status(client: httpx.Client) -> None:
    refused = client.post("/v1/recommendations", json={"k": 0})
    assert refused.status_code == 400
    assert refused.json()["error"]["field"] == "k"
    assert client.get("/v1/profile").status_code == 400
    assert (
        client.post("/v1/profile", json={"user_id": "u" * 257}).json()["error"]["field"]
        == "user_id"
    )
    assert client.get("/v1/items/unheard-of").status_code == 404
    assert client.post("/v1/recommendations", content=b"x" * 1_000_001).status_code == 413


def test_a_page_of_the_store_may_call(client: httpx.Client, service: Stack) -> None:
    origin = service.env["FRESHET_CORS_ORIGINS"].split(",")[0]
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }

    preflight = client.options("/v1/recommendations", headers=headers)
    foreign = client.options(
        "/v1/recommendations", headers={**headers, "origin": "http://elsewhere.test"}
    )

    assert preflight.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-origin" not in foreign.headers


def test_health_says_which_parts_answer(client: httpx.Client) -> None:
    health = client.get("/healthz").json()

    expected = {
        "status": "ok",
        "bigtable": True,
        "vertex": True,
        "stubs": 0,
        "full": [],
        "mistyped": {},
        "model_version": "bench",
    }
    assert {name: health[name] for name in expected} == expected
    assert health["items"] == health["catalog"] >= 300  # other tests add some
    assert {"unreadable", "suggestions", "snapshot"} < set(health)


def test_without_the_predictor_the_process_ranks_until_it_is_back(
    client: httpx.Client, service: Stack
) -> None:
    eventually(client, by("vertex"))
    service.kill_process("predictor")

    during = ask(client)
    assert during["served_by"] == "local"
    assert during["candidates"] == 200
    assert during["model_version"] == "bench"

    service.start_process("predictor")
    service.wait_for("predictor")
    eventually(client, by("vertex"))


def test_without_bigtable_it_shows_what_was_trending_until_it_is_back(
    client: httpx.Client, service: Stack
) -> None:
    eventually(client, by("vertex"))
    popular = ask(client, variant="popular")["recommendations"]
    service.kill_process("bigtable")

    during = ask(client)
    assert during["served_by"] == "trending"
    assert during["recommendations"] == popular
    time.sleep(5.0)  # long enough for the channel to wait ever longer between its attempts
    assert ask(client)["took_ms"] < 500
    assert client.get("/healthz").json()["bigtable"] is False
    assert client.get("/v1/profile", params={"user_id": "visitor3"}).status_code == 503

    service.start_process("bigtable")
    service.wait_for("bigtable")
    service.bootstrap(["bigtable"])
    fill(service, model=False)
    assert eventually(client, by("vertex"))["profile"]["found"] is True


def test_it_starts_without_bigtable_and_without_the_predictor(
    client: httpx.Client, service: Stack
) -> None:
    service.kill_process("bigtable")
    service.kill_process("predictor")
    service.restart_process("api")

    answer = ask(client)
    assert answer["served_by"] == "trending"
    assert answer["recommendations"] == []

    service.start_parts(["bigtable"])
    fill(service, model=False)
    service.start_parts(["predictor"])
    eventually(
        client, lambda answer: len(answer["recommendations"]) == 20 and answer["profile"]["found"]
    )
    eventually(client, by("vertex"))


def rfc3339(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))
