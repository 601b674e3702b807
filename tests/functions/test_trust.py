"""A collector with sites: who may send, from where, how much and how old, and what the answers say
and do not say.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.functions.conftest import (
    BACKFILL_KEY,
    BROWSER_KEY,
    NEWS_KEY,
    ORIGIN,
    SERVER_KEY,
    SLOW_KEY,
)
from tests.functions.pubsub import Topics

SECURITY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=31536000",
}


def event(**fields: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"event_id": "e1", "event": "click", "user_id": "u1", "timestamp": now} | fields


def post(client: httpx.Client, key: str | None, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        "/v1/events",
        content=json.dumps(body or event()),
        headers=named | ({"x-freshet-key": key} if key else {}),
    )


def test_a_key_in_the_header_or_in_the_query_names_the_site(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    assert post(guarded, BROWSER_KEY).status_code == 202
    assert guarded.post(f"/v1/events?key={NEWS_KEY}", json={"events": []}).status_code == 202
    assert guarded.post(f"/v1/events?key={BROWSER_KEY}", json=event()).status_code == 202
    assert [message.attributes["site"] for message in guarded_topics.events(2)] == ["shop", "shop"]


@pytest.mark.parametrize(
    ("key", "headers", "sender"),
    [
        (SERVER_KEY, {}, "server"),
        (SERVER_KEY, {"x_freshet_sender": "browser"}, "browser"),
        (SERVER_KEY, {"x_freshet_sender": "server"}, "server"),
        (BROWSER_KEY, {}, "browser"),
        (BROWSER_KEY, {"x_freshet_sender": "server"}, "browser"),
        (BROWSER_KEY, {"x_freshet_backfill_key": BACKFILL_KEY}, "browser"),
    ],
)
def test_a_message_and_a_dead_letter_tell_whether_a_servers_key_answers_for_their_ids(
    guarded: httpx.Client, guarded_topics: Topics, key: str, headers: dict[str, str], sender: str
) -> None:
    post(
        guarded,
        key,
        {"events": [event(), event(event_id="")], "backfill": "x_freshet_backfill_key" in headers},
        **headers,
    )
    assert (
        guarded.post(
            "/v1/events",
            content=b"{",
            headers={"x-freshet-key": key}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        ).status_code
        == 400
    )
    [message] = guarded_topics.events(1)
    assert message.attributes["sender"] == sender
    assert [dead_letter.attributes["sender"] for dead_letter in guarded_topics.dead_letters(2)] == [
        sender
    ] * 2


@pytest.mark.parametrize("key", [None, "wrong-key-1", BROWSER_KEY + "x"])
def test_without_a_known_key_nothing_is_taken_or_kept(
    guarded: httpx.Client, guarded_topics: Topics, key: str | None
) -> None:
    for body in (event(), {"event": 1}):
        answer = post(guarded, key, body)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:freshet:problem:unknown-write-key"
        assert "wrong-key-1" not in answer.text
    assert guarded.post("/v1/events", content=b"{").status_code == 401
    guarded_topics.events(0)
    guarded_topics.dead_letters(0)


def test_a_body_that_cannot_be_read_is_kept_when_its_key_is_known(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    assert (
        guarded.post("/v1/events", content=b"{", headers={"x-freshet-key": BROWSER_KEY}).status_code
        == 400
    )
    assert guarded.post(f"/v1/events?key={BROWSER_KEY}", content=b"{{").status_code == 400
    assert sorted(dead_letter.data for dead_letter in guarded_topics.dead_letters(2)) == [
        b"{",
        b"{{",
    ]


def test_what_cannot_be_read_remembers_its_site_and_comes_from_its_pages_only(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    headers = {"x-freshet-key": BROWSER_KEY, "origin": ORIGIN}
    assert guarded.post("/v1/events", content=b"{", headers=headers).status_code == 400
    (dead_letter,) = guarded_topics.dead_letters(1)
    assert dead_letter.attributes["site"] == "shop"
    headers["origin"] = "https://elsewhere.example"
    assert guarded.post("/v1/events", content=b"{", headers=headers).status_code == 403
    guarded_topics.dead_letters(0)


def test_signals_say_nothing_of_what_a_back_end_sends_and_nobody_can_read(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    for key, kept in ((BROWSER_KEY, 0), (SERVER_KEY, 1)):
        for signal in ("dnt", "sec-gpc"):
            assert guarded.post(
                "/v1/events", content=b"{", headers={"x-freshet-key": key, signal: "1"}
            ).is_error
            guarded_topics.dead_letters(kept)


def test_a_servers_key_is_in_no_dead_letter_that_nobody_could_read(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    url = f"/v1/pixel.gif?key={SERVER_KEY}&a=" + "%ff"
    assert guarded.get(url).status_code == 400
    body = f'{{"writeKey": "{SERVER_KEY}", "batch": '
    assert guarded.post("/v1/batch", content=body, auth=(SERVER_KEY, "")).status_code == 400
    dead_letters = guarded_topics.dead_letters(2)
    assert all(SERVER_KEY.encode() not in dead_letter.data for dead_letter in dead_letters)
    assert all(b"***" in dead_letter.data for dead_letter in dead_letters)


@pytest.mark.parametrize("key", [SERVER_KEY, BROWSER_KEY])
def test_an_app_id_is_kept_unless_it_is_a_servers_key(
    guarded: httpx.Client, guarded_topics: Topics, key: str
) -> None:
    clicked = {"e": "se", "se_ac": "Lamp", "uid": "anna", "aid": key}
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    body = {"schema": schema, "data": [clicked, clicked | {"e": "unknown"}]}
    assert guarded.post("/com.snowplowanalytics.snowplow/tp2", json=body).status_code == 200
    [message], [dead_letter] = guarded_topics.events(1), guarded_topics.dead_letters(1)
    is_kept = key == BROWSER_KEY
    assert [key.encode() in kept.data for kept in (message, dead_letter)] == [is_kept, is_kept]
    assert b"Lamp" in message.data and b"Lamp" in dead_letter.data


def test_a_browser_key_works_on_its_sites_pages_only(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    assert post(guarded, BROWSER_KEY, origin=ORIGIN).status_code == 202
    refused = post(guarded, BROWSER_KEY, origin="https://evil.example")
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert "evil" not in refused.text
    assert post(guarded, SERVER_KEY, origin="https://evil.example").status_code == 202
    guarded_topics.events(2)


def test_a_back_ends_request_carries_no_address(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    post(guarded, SERVER_KEY)
    post(guarded, BROWSER_KEY)
    assert ["address" in message.attributes for message in guarded_topics.events(2)] == [
        False,
        True,
    ]


def test_a_back_end_may_send_history_and_a_browser_may_not(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    old = {"events": [event(timestamp="2019-10-01T00:00:00Z")], "backfill": True}
    assert post(guarded, BROWSER_KEY, old).status_code == 403
    assert post(guarded, SERVER_KEY, old).json()["accepted"] == 1
    assert guarded_topics.events(1)[0].attributes["backfill"] == "1"


def test_more_than_a_keys_rate_is_429_with_the_time_to_wait(guarded: httpx.Client) -> None:
    answers = [post(guarded, SLOW_KEY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 10
    assert post(guarded, BROWSER_KEY).status_code == 202


def test_a_request_sent_again_after_the_replay_window_goes_to_the_dead_letter(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    now = datetime.now(UTC)
    for sent_at, taken in (
        (now, 1),
        (now - timedelta(seconds=90), 0),
        (now + timedelta(seconds=90), 0),
    ):
        answer = post(guarded, NEWS_KEY, {"events": [event()], "sent_at": sent_at.isoformat()})
        assert answer.json()["accepted"] == taken
    assert post(guarded, NEWS_KEY).json()["errors"][0]["field"] == "sent_at"
    guarded_topics.events(1)
    assert {dead_letter.attributes["field"] for dead_letter in guarded_topics.dead_letters(3)} == {
        "sent_at"
    }


def test_every_answer_carries_the_security_headers(guarded: httpx.Client) -> None:
    answers = [
        post(guarded, BROWSER_KEY),
        post(guarded, None),
        guarded.get("/healthz"),
        guarded.get("/nowhere"),
        guarded.get(f"/v1/pixel.gif?key={BROWSER_KEY}&user_id=u1"),
        guarded.options("/v1/events"),
    ]
    assert [answer.status_code for answer in answers] == [202, 401, 200, 404, 200, 204]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY


def test_no_input_comes_back_as_markup(guarded: httpx.Client) -> None:
    markup = "<script>alert(1)</script>&amp;"
    answers = [
        post(guarded, BROWSER_KEY, {"events": [event(timestamp=markup, event_id=markup)]}),
        post(guarded, BROWSER_KEY, {"events": [], "sent_at": markup}),
        guarded.get(f"/{markup}"),
        guarded.get(
            f"/v1/pixel.gif?key={BROWSER_KEY}&user_id=u1&event={markup}&timestamp={markup}"
        ),
    ]
    for answer in answers:
        assert b"<" not in answer.content
    assert answers[0].json()["errors"][0]["value"] == markup


def test_a_page_of_a_site_is_asked_no_second_question(guarded: httpx.Client) -> None:
    preflight = guarded.options(
        "/v1/events", headers={"origin": ORIGIN, "access-control-request-method": "POST"}
    )
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert "x-freshet-key" in preflight.headers["access-control-allow-headers"]
