"""A user id from a browser counts with its token alone, wherever a protocol has a place for it; no
token is stored.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from functions.accept import Sorted, Terms, sort_events
from functions.http.exchange import Incoming
from functions.routes import ROUTES
from pipeline.core.events import decode_message
from pipeline.core.privacy.user_tokens import user_token
from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.stack.ports import free_ports

KEY = "sixteen bytes or more"
TOKEN, WRONG = user_token(KEY.encode(), "u1"), user_token(KEY.encode(), "u2")
NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)
AT = NOW.isoformat()
CLICK = {"event_id": "e1", "event": "click", "user_id": "u1", "timestamp": AT}
SNOWPLOW = {
    "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "data": [{"e": "pv", "uid": "u1", "aid": "shop", "url": "https://shop.example/"}],
}

Sent = tuple[str, str, dict[str, str], Any]


def sent(protocol: str, token: str | None) -> Sent:
    """Method, path, query and body of one event of `u1` with a token in the protocol's place for
    it.
    """
    told = {} if token is None else {"user_token": token}
    traits = {name: {"value": value} for name, value in told.items()}
    return {
        "native": ("POST", "/v1/events", {}, CLICK | told),
        "native, with more beside it": ("POST", "/v1/events", {}, CLICK | told | {"colour": "red"}),
        "native, once": ("POST", "/v1/events", {}, {"events": [CLICK]} | told),
        "pixel": ("GET", "/v1/pixel.gif", {"event": "open", "user_id": "u1"} | told, None),
        "segment": ("POST", "/v1/t", {}, {"event": "Lit", "userId": "u1", "context": told}),
        "segment, once": (
            "POST",
            "/v1/b",
            {},
            {"batch": [{"type": "page", "userId": "u1"}], "context": told},
        ),
        "ga4": (
            "POST",
            "/mp/collect",
            {},
            {"user_id": "u1", "user_properties": traits, "events": [{"name": "lit"}]},
        ),
        "ga4, short": (
            "GET",
            "/g/collect",
            {"en": "lit", "uid": "u1"} | {f"up.{n}": v for n, v in told.items()},
            None,
        ),
        "snowplow": ("POST", "/com.snowplowanalytics.snowplow/tp2", told, SNOWPLOW),
        "mixpanel": (
            "POST",
            "/track",
            {},
            [{"event": "lit", "properties": {"$user_id": "u1"} | told}],
        ),
        "mixpanel, a profile": (
            "POST",
            "/engage",
            {},
            [{"$distinct_id": "u1", "$set": {"plan": "a"} | told}],
        ),
        "amplitude": (
            "POST",
            "/2/httpapi",
            {},
            {"events": [{"event_type": "lit", "user_id": "u1", "event_properties": told}]},
        ),
    }[protocol]


PROTOCOLS = (
    "native",
    "native, with more beside it",
    "native, once",
    "pixel",
    "segment",
    "segment, once",
    "ga4",
    "ga4, short",
    "snowplow",
    "mixpanel",
    "mixpanel, a profile",
    "amplitude",
)


def taken(protocol: str, token: str | None, terms: Terms) -> Sorted:
    method, path, query, content = sent(protocol, token)
    body = b"" if content is None else json.dumps(content).encode()
    headers = {"content-type": "application/json"}
    incoming = Incoming(method, path, urlencode(query), headers, body, NOW)
    return sort_events(ROUTES[path].protocol.read(incoming), NOW, terms)


ASKS = Terms(user_key=KEY.encode())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_token_in_the_protocols_place_proves_the_user_and_is_in_no_event(protocol: str) -> None:
    for terms in (ASKS, Terms()):
        found = taken(protocol, TOKEN, terms)
        assert not found.rejected
        (event,) = found.events
        assert event.user_id == "u1" and "user_token" not in json.dumps(msgspec.to_builtins(event))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("token", "reason"), [(None, "required with a user_id"), (WRONG, "expected the HMAC-SHA256")]
)
def test_without_its_own_token_a_user_id_is_rejected_and_kept_without_what_was_given(
    protocol: str, token: str | None, reason: str
) -> None:
    found = taken(protocol, token, ASKS)
    assert not found.events
    (rejection,) = found.rejected
    assert rejection.error.field == "user_token" and rejection.error.reason.startswith(reason)
    assert rejection.error.value is None and rejection.unproven
    assert rejection.payload is not None and WRONG.encode() not in rejection.payload


def test_visitors_without_a_user_id_need_no_token() -> None:
    reading = ROUTES["/v1/events"].protocol.read(
        Incoming(
            "POST",
            "/v1/events",
            "",
            {},
            json.dumps(CLICK | {"user_id": None, "anonymous_id": "a1"}).encode(),
            NOW,
        )
    )
    assert len(sort_events(reading, NOW, ASKS).events) == 1


def test_a_dead_letter_is_of_an_unproven_user_whatever_else_was_wrong_with_it() -> None:
    for token, unproven in ((TOKEN, False), (WRONG, True)):
        body = json.dumps(CLICK | {"user_token": token, "metadata": {"price": "dear"}}).encode()
        found = sort_events(
            ROUTES["/v1/events"].protocol.read(Incoming("POST", "/v1/events", "", {}, body, NOW)),
            NOW,
            ASKS,
        )
        (rejection,) = found.rejected
        assert rejection.unproven is unproven
        assert rejection.payload is not None and b"user_token" not in rejection.payload


# ---- over HTTP


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A collector that asks browsers for tokens."""
    sites = {"shop": {"write_keys": {"browser": ["browser-key-1"], "server": ["server-key-1"]}}}
    env = {
        "FRESHET_SITES": json.dumps(sites),
        "FRESHET_USER_KEY": KEY,
        "FRESHET_BACKFILL_KEY": "open sesame",
    }
    with Stack(
        f"test-user-tokens-{os.getpid()}", free_ports(), ("pubsub", "collector"), env
    ) as stack:
        yield stack
        stack.check()
    shutil.rmtree(stack.folder)


def test_a_body_that_cannot_be_read_is_not_kept_with_the_token_that_it_may_hold(
    stack: Stack,
) -> None:
    body = f'{{"user_token": "{TOKEN}", "events": ['
    url = stack.env["FRESHET_COLLECTOR_URL"]
    with (
        Topics(stack.env) as topics,
        httpx.Client(base_url=url, trust_env=False, timeout=10.0) as client,
    ):
        answer = client.post("/v1/events", content=body, headers={"x-freshet-key": "browser-key-1"})
        assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "body"
        topics.dead_letters(0)


def test_a_browser_proves_its_user_and_a_back_end_speaks_for_others(stack: Stack) -> None:
    now = datetime.now(UTC).isoformat()

    def post(key: str, **fields: Any) -> dict[str, Any]:
        body = {"events": [CLICK | {"timestamp": now}]} | fields
        answer = client.post("/v1/events", json=body, headers={"x-freshet-key": key})
        assert answer.status_code == 202
        told: dict[str, Any] = answer.json()
        return told

    url = stack.env["FRESHET_COLLECTOR_URL"]
    with (
        Topics(stack.env) as topics,
        httpx.Client(base_url=url, trust_env=False, timeout=10.0) as client,
    ):
        refused = post("browser-key-1", user_token=WRONG)
        assert [
            post("browser-key-1", user_token=TOKEN)["accepted"],
            post("server-key-1")["accepted"],
        ] == [1, 1]
        messages = topics.events(2)
        (dead_letter,) = topics.dead_letters(1)
    assert (refused["accepted"], refused["errors"][0]["field"], refused["errors"][0]["value"]) == (
        0,
        "user_token",
        None,
    )
    assert [event.user_id for message in messages for event in decode_message(message.data)] == [
        "u1",
        "u1",
    ]
    assert (dead_letter.attributes["field"], dead_letter.attributes["unproven"]) == (
        "user_token",
        "user_id",
    )
    for message in (*messages, dead_letter):
        assert b"user_token" not in message.data and TOKEN.encode() not in message.data
