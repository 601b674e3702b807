"""The optional cookie over the whole collector, without a network: who gets it, and what it is
for."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.requests import Request

from functions.collector import Collector
from functions.config import Config
from functions.http.cookie import CookieOptions
from pipeline.core.events import decode_message
from pipeline.core.privacy.field_policy import FieldPolicy
from pipeline.core.privacy.policy import Privacy

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)
PIXEL = "/v1/pixel.gif"
PAGE = "https://shop.example"


class Kept:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def publish(self, topic: str, messages: Any, within_s: float | None = None) -> None:
        self.messages += messages


async def ask(
    fields: dict[str, Any], path: str = "/v1/events", privacy: Privacy | None = None, **headers: str
) -> tuple[str | None, list[str | None]]:
    """The Set-Cookie header, and the anonymous ids of what was stored."""
    kept = Kept()
    config = Config(
        "demo-project",
        "events",
        "dead-letters",
        cors_origins=frozenset({PAGE, "*"}),
        cookie=CookieOptions(),
        privacy=privacy or Privacy(),
    )
    collector = Collector(config, kept, lambda: NOW, lambda: 0.0, random.Random(7).getrandbits)
    told = {"event_id": "e1", "event": "click", "timestamp": NOW.isoformat()} | fields
    body = json.dumps(told).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    named = {"host": "events.shop.example", "user-agent": "app"} | headers
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    method = "GET" if path == PIXEL else "POST"
    query = "" if path == "/v1/events" else urlencode(told)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": raw,
    }
    answer = await collector(Request(scope | {"client": ("192.0.2.1", 1)}, receive))
    assert answer.status_code in (200, 202, 204)
    cookie = dict(answer.headers).get(b"set-cookie")
    ids = [
        event.anonymous_id for message in kept.messages for event in decode_message(message.data)
    ]
    return cookie.decode() if cookie else None, ids


async def test_a_visitor_without_an_id_gets_one_that_lasts_and_comes_back_with_it() -> None:
    cookie, (made,) = await ask({})
    assert cookie is not None and made is not None
    assert cookie.startswith(f"freshet_id={made}; ")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    again, ids = await ask({}, cookie=f"other=1; freshet_id={made}")
    assert ids == [made]
    assert again is not None and made in again


async def test_an_id_of_a_listed_pages_own_wins_over_the_cookies() -> None:
    cookie, ids = await ask({"anonymous_id": "a1"}, cookie="freshet_id=old", origin=PAGE)
    assert ids == ["a1"]
    assert cookie is not None and cookie.startswith("freshet_id=a1;")


async def test_who_denies_something_gets_no_cookie_and_loses_the_one_that_was() -> None:
    denied = {"consent": {"analytics": True, "personalization": False}}
    assert (await ask({"anonymous_id": "a1"} | denied))[0] is None
    taken_back, _ = await ask({"anonymous_id": "a1"} | denied, cookie="freshet_id=a1")
    assert taken_back is not None and "Max-Age=0" in taken_back
    signalled, ids = await ask({"anonymous_id": "a1"}, cookie="freshet_id=a1", sec_gpc="1")
    assert ids == []
    assert signalled is not None and "Max-Age=0" in signalled


GA4 = {"v": "2", "en": "page_view", "cid": "theirs"}
HASHED = Privacy(fields=FieldPolicy(hash=["anonymous_id"], key=b"k" * 16))


@pytest.mark.parametrize("privacy", [Privacy(), HASHED])
async def test_a_pixel_gives_no_cookie_for_an_id_that_somebody_put_into_its_address(
    privacy: Privacy,
) -> None:
    for headers in ({}, {"cookie": "freshet_id=mine"}):
        cookie, ids = await ask({"anonymous_id": "theirs"}, PIXEL, privacy, **headers)
        assert cookie is None and len(ids) == 1
    for headers in ({}, {"cookie": "freshet_id=mine"}):
        cookie, (own,) = await ask({}, PIXEL, privacy, **headers)
        assert cookie is not None and cookie.startswith(f"freshet_id={own};")


@pytest.mark.parametrize("path", ["/v1/events", "/g/collect"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
async def test_no_form_of_another_page_gives_a_visitor_the_id_that_it_brings(
    path: str, origin: str | None
) -> None:
    theirs = {"anonymous_id": "theirs"} if path == "/v1/events" else GA4
    headers = {} if origin is None else {"origin": origin}
    for own in ({}, {"cookie": "freshet_id=mine"}):
        cookie, ids = await ask(theirs, path, None, **headers, **own)
        assert cookie is None and ids == ["theirs"]
    cookie, ids = await ask(theirs, path, origin=PAGE)
    assert cookie is not None and cookie.startswith("freshet_id=theirs;")


async def test_a_form_of_another_page_takes_no_visitors_id_away() -> None:
    cookie, _ = await ask({}, origin="https://evil.example")
    assert cookie is None
