"""`/v1/search/suggest`: what may be asked, whose queries are shown to whom, and how it may be
cached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from pipeline.core.privacy.consent import StatedConsent
from pipeline.core.privacy.policy import Privacy
from pipeline.core.privacy.signals import Signal
from pipeline.core.privacy.user_tokens import user_token
from tests.vertex.api.fakes import FakeReader
from tests.vertex.api.suggest.test_answer import searcher, shop, top_of
from tests.vertex.api.test_app import api, nowhere
from vertex.api.contract import SuggestRequest
from vertex.api.items import ItemCache
from vertex.api.suggest.route import CACHED_FOR_ALL, CACHED_FOR_NOBODY, SuggestRoute
from vertex.api.visitor import Visitors

PATH = "/v1/search/suggest"
KEY = b"k" * 16

__all__ = ["nowhere"]


async def route_of(
    privacy: Privacy | None = None, shows_profiles: bool = False
) -> tuple[SuggestRoute, FakeReader]:
    """A route over a shop in which u1 and the browser a1 searched."""
    suggestions, _, reader = await shop(top_of(lamp=(6, 6, 3)))
    reader.profiles = {"u#u1": searcher("lamp of u1"), "a#a1": searcher("lamp of a1")}
    privacy = privacy or Privacy()
    visitors = Visitors(reader, ItemCache(reader, 10), privacy)
    reader.read.clear()
    return SuggestRoute(suggestions, visitors, privacy, shows_profiles), reader


async def ask(route: SuggestRoute, signal: Signal | None = None, **asked: Any) -> list[str]:
    response = await route.answer(SuggestRequest(**{"q": "lamp", **asked}), signal)
    found = msgspec.json.decode(response.body)["suggestions"]
    return [one["text"] for one in found if one["kind"] == "query"]


async def test_a_browser_is_shown_its_own_queries_and_nobody_else_is() -> None:
    route, _ = await route_of()
    assert await ask(route, anonymous_id="a1") == ["lamp of a1", "lamp"]
    assert await ask(route, anonymous_id="a2") == await ask(route) == ["lamp"]


@pytest.mark.parametrize(
    ("asked", "signal"),
    [
        ({"consent": StatedConsent(True, False)}, None),
        ({}, Signal.GPC),
        ({}, Signal.DNT),
    ],
)
async def test_of_one_who_denied_personalization_nothing_is_read(
    asked: dict[str, Any], signal: Signal | None
) -> None:
    route, reader = await route_of()
    assert await ask(route, signal, anonymous_id="a1", **asked) == ["lamp"]
    assert reader.read == []


async def test_the_queries_of_an_account_are_shown_where_its_user_can_be_told() -> None:
    unproven, reader = await route_of()
    assert await ask(unproven, user_id="u1") == ["lamp"] and reader.read == []
    proven, _ = await route_of(Privacy(user_key=KEY))
    assert await ask(proven, user_id="u1") == ["lamp of u1", "lamp"]
    open_, _ = await route_of(shows_profiles=True)
    assert await ask(open_, user_id="u1") == ["lamp of u1", "lamp"]


async def test_while_bigtable_is_down_the_answer_is_everybodys_from_memory() -> None:
    route, reader = await route_of()
    reader.is_up = False
    assert await ask(route, anonymous_id="a1") == ["lamp"]


async def test_an_answer_for_all_may_be_cached_and_one_that_names_a_visitor_may_not() -> None:
    route, _ = await route_of()
    for_all = await route.answer(SuggestRequest(q="lamp"), None)
    assert for_all.headers["cache-control"] == CACHED_FOR_ALL
    for signal in (None, Signal.GPC):
        personal = await route.answer(SuggestRequest(q="lamp", anonymous_id="a1"), signal)
        assert personal.headers["cache-control"] == CACHED_FOR_NOBODY


async def test_an_answer_that_was_kept_gives_way_to_what_is_refreshed() -> None:
    suggestions, _, reader = await shop()
    visitors = Visitors(reader, ItemCache(reader, 10))
    route = SuggestRoute(suggestions, visitors, Privacy(), shows_profiles=False)
    assert await ask(route) == await ask(route) == []
    reader.top = top_of(lamp=(6, 6, 3))
    await suggestions.refresh()
    assert await ask(route) == ["lamp"]


# over HTTP, with a Bigtable that is not there


@pytest.fixture
async def client(nowhere: None, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with api(tmp_path, cors_origins=("https://shop.example",)) as client:
        yield client


async def test_a_shop_without_bigtable_is_answered_with_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get(PATH, params={"q": "lamp"})
    assert response.status_code == 200 and response.json()["suggestions"] == []
    assert response.json()["took_ms"] >= 0 and "suggest;dur=" in response.headers["server-timing"]
    assert (await client.post(PATH, json={"q": "lamp"})).json()["suggestions"] == []
    assert (await client.get("/healthz")).json()["suggestions"] == {"titles": 0, "phrases": 0}


async def test_pages_of_the_shop_may_ask(client: httpx.AsyncClient) -> None:
    response = await client.get(PATH, headers={"origin": "https://shop.example"})
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


INVALID = [
    ({"q": "x" * 101}, "q"),
    ({"n": "0"}, "n"),
    ({"n": "21"}, "n"),
    ({"n": "many"}, "n"),
    ({"n": "-1"}, "n"),
    ({"n": "٣"}, "n"),
    ({"anonymous_id": ""}, "anonymous_id"),
    ({"user_id": "x" * 257}, "user_id"),
    ({"consent": "{}"}, "consent"),
    ({"as_of": "2025-01-01"}, "as_of"),
]
INVALID_BODIES = [
    (b"{", "body"),
    (b"[]", "body"),
    (b'{"q": 7}', "q"),
    (b'{"n": "8"}', "n"),
    (b'{"consent": {"personalisation": false}}', "consent"),
]
TYPED = ["", " ", "\x00", "%", "\U0001f4a9", "ﷺ" * 100, "\u0301" * 100, "a b " * 25, "(" * 100]


async def test_what_cannot_be_asked_is_a_400_that_names_the_field(
    client: httpx.AsyncClient,
) -> None:
    for params, field in INVALID:
        response = await client.get(PATH, params=params)
        assert response.status_code == 400 and response.json()["error"]["field"] == field, params
    for body, field in INVALID_BODIES:
        response = await client.post(PATH, content=body)
        assert response.status_code == 400, body
        assert response.json()["error"]["field"].startswith(field)


async def test_anything_may_be_typed(client: httpx.AsyncClient) -> None:
    for q in TYPED:
        assert (await client.get(PATH, params={"q": q})).status_code == 200, q
    alone = await client.post(PATH, content=b'{"q": "\\ud83d"}')
    assert alone.status_code in (200, 400)


async def test_a_user_id_needs_its_token_where_there_is_a_key(
    nowhere: None, tmp_path: Path
) -> None:
    async with api(tmp_path, privacy=Privacy(user_key=KEY)) as client:
        asked = {"q": "lamp", "user_id": "u1"}
        assert (await client.get(PATH, params=asked)).status_code == 401
        wrong = {**asked, "user_token": "x"}
        assert (await client.get(PATH, params=wrong)).status_code == 403
        token = {**asked, "user_token": user_token(KEY, "u1")}
        assert (await client.get(PATH, params=token)).status_code == 200
