"""What the collector does for a visitor's privacy and adds to events, over HTTP and in Pub/Sub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import BROWSER_KEY, SERVER_KEY
from tests.functions.pubsub import Topics

BROWSER = {
    "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko)"
    " Version/18.1 Mobile/15E148 Safari/604.1",
    "accept-language": "de-AT,de;q=0.9,en;q=0.5",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "cross-site",
}


def event(**fields: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"event_id": "e1", "event": "page_view", "anonymous_id": "a1", "timestamp": now} | fields


def post(
    client: httpx.Client, *events: Any, consent: Mapping[str, bool] | None = None, **headers: Any
) -> dict[str, Any]:
    batch = {} if consent is None else {"consent": consent}
    named = BROWSER | {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(
        "/v1/events", content=json.dumps({"events": events} | batch), headers=named
    )
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def stored(topics: Topics, messages: int = 1) -> list[Event]:
    return [event for message in topics.events(messages) for event in decode_message(message.data)]


@pytest.mark.parametrize("name", ["Sec-GPC", "DNT"])
def test_a_signal_counts_in_whichever_line_of_a_request_it_stands(
    client: httpx.Client, topics: Topics, name: str
) -> None:
    for lines in (["0, 1"], ["1", "0"], ["0", "1"]):
        answer = client.post("/v1/events", json=event(), headers=[(name, line) for line in lines])
        assert answer.json() == {"accepted": 1, "rejected": 0, "withheld": 1, "errors": []}
    topics.events(0)


def test_an_event_gets_its_agent_language_and_campaign_and_keeps_what_it_says_itself(
    client: httpx.Client, topics: Topics
) -> None:
    url = "https://shop.example/p/1?utm_source=news&utm_campaign=spring"
    post(
        client,
        event(metadata={"url": url, "referrer": "https://www.google.com/", "language": "fr"}),
    )
    (found,) = stored(topics)
    assert found.metadata == {
        "url": url,
        "referrer": "https://www.google.com/",
        "referrer_kind": "search",
        "utm_source": "news",
        "utm_campaign": "spring",
        "language": "fr",
        "user_agent_family": "Mobile Safari",
        "os_family": "iOS",
        "device_class": "mobile",
    }


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (
            {
                "user_agent": "Mozilla/5.0 (compatible; Googlebot/2.1; "
                "+http://www.google.com/bot.html)"
            },
            "user_agent",
        ),
        ({"user_agent": ""}, "no_user_agent"),
        ({"accept_language": ""}, "no_browser_signals"),
        ({}, None),
    ],
)
def test_who_is_no_person_is_marked_and_not_refused(
    client: httpx.Client, topics: Topics, headers: dict[str, Any], reason: str | None
) -> None:
    post(client, event(metadata={"bot": "says who"}), **headers)
    (found,) = stored(topics)
    assert found.metadata.get("bot") == reason


def test_a_back_end_is_no_bot_and_may_say_who_is(
    guarded: httpx.Client, guarded_topics: Topics
) -> None:
    agent = "python-httpx/0.28"
    post(
        guarded,
        event(),
        event(metadata={"bot": "fraud"}),
        user_agent=agent,
        x_freshet_key=SERVER_KEY,
    )
    marks = [found.metadata.get("bot") for found in stored(guarded_topics)]
    assert marks == [None, "fraud"]


def test_consent_of_the_batch_and_of_the_event_is_stored_and_who_denies_all_is_not(
    client: httpx.Client, topics: Topics
) -> None:
    analytics_only = {"analytics": True, "personalization": False}
    nothing = {"analytics": False, "personalization": False}
    told = post(
        client, event(event_id="b"), event(event_id="n", consent=nothing), consent=analytics_only
    )
    assert (told["accepted"], told["withheld"], told["rejected"]) == (2, 1, 0)
    (found,) = stored(topics)
    assert (found.event_id, found.metadata["consent"]) == ("b", analytics_only)
    topics.dead_letters(0)


def test_of_a_request_that_cannot_be_read_nothing_is_kept_where_anything_in_it_denies(
    client: httpx.Client, topics: Topics
) -> None:
    nothing, not_shown = (
        b'"consent": {"analytics": false}',
        b'{"consent":{"personalization":false},"events":[',
    )
    clicked = b'"event": "click", "user_id": "u1", "timestamp": "2025-01-01T00:00:00Z"'
    for path, body in (
        (
            "/v1/events",
            b'{"sent_at": "yesterday", ' + nothing + b', "events": [{' + clicked + b"}]}",
        ),
        (
            "/v1/events",
            b'{"sent_at": "yesterday", "events": [{' + clicked + b", " + nothing + b"}]}",
        ),
        ("/v1/events", b"[{" + clicked + b", " + nothing + b"}]"),
        ("/v1/events", b"{" + clicked + b", " + nothing),
        (
            "/v1/batch",
            b'{"batch": [{"context": {"consent": {"categoryPreferences": {"Analytics": false',
        ),
    ):
        assert client.post(path, content=body).status_code == 400
    long = "consent.analytics=0&x=" + "x" * 9000
    assert client.get(f"/v1/pixel.gif?{long}").status_code == 400
    assert client.post("/v1/events", content=b"{", headers={"dnt": "1"}).status_code == 400
    topics.dead_letters(0)
    assert client.post("/v1/events", content=not_shown).status_code == 400
    (dead_letter,) = topics.dead_letters(1)
    assert json.loads(dead_letter.attributes["consent"]) == {
        "analytics": True,
        "personalization": False,
    }


def test_global_privacy_control_binds_and_do_not_track_gives_way_to_an_answer(
    client: httpx.Client, topics: Topics
) -> None:
    granted = {"analytics": True, "personalization": True}
    assert post(client, event(), {"event": 1}, consent=granted, sec_gpc="1")["withheld"] == 2
    assert post(client, event(), dnt="1")["withheld"] == 1
    topics.dead_letters(0)
    topics.events(0)
    assert "withheld" not in post(client, event(), consent=granted, dnt="1")
    assert stored(topics)[0].metadata["consent"] == granted


def test_of_a_broken_event_no_more_is_kept_than_its_visitor_allowed(
    client: httpx.Client, topics: Topics
) -> None:
    broken = {"event": "purchase", "timestamp": "never"}
    nothing = {"analytics": False, "personalization": False}
    uncounted = {"analytics": False, "personalization": True}
    assert post(client, broken | {"consent": nothing})["withheld"] == 1
    assert post(client, 7, consent=nothing)["withheld"] == 1
    assert post(client, broken | {"consent": uncounted})["rejected"] == 1
    assert post(client, 7, consent=uncounted)["rejected"] == 1
    assert post(client, broken, dnt="1")["withheld"] == 1
    topics.dead_letters(0)
    assert post(client, broken)["rejected"] == 1
    topics.dead_letters(1)


def test_a_consent_that_cannot_be_read_is_a_rejection_by_name(
    client: httpx.Client, topics: Topics
) -> None:
    told = post(client, event(consent="yes"))
    assert told["errors"][0]["field"] == "consent"
    topics.dead_letters(1)


def test_an_address_in_an_event_is_cut_also_in_the_dead_letter(
    client: httpx.Client, topics: Topics
) -> None:
    post(client, event(metadata={"ip": "192.0.2.77"}), event(timestamp="never", ip="192.0.2.78"))
    assert stored(topics)[0].metadata["ip"] == "192.0.2.0"
    (dead_letter,) = topics.dead_letters(1)
    assert b"192.0.2.0" in dead_letter.data and b"192.0.2.78" not in dead_letter.data


def test_without_a_configured_cookie_none_is_set(guarded: httpx.Client) -> None:
    answer = guarded.get(f"/v1/pixel.gif?key={BROWSER_KEY}&anonymous_id=a1", headers=BROWSER)
    assert "set-cookie" not in answer.headers


def test_the_description_names_every_path_that_is_answered(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/events",
        "/v1/pixel.gif",
        "/v1/batch",
        "/com.snowplowanalytics.snowplow/tp2",
        "/2/httpapi",
    } <= set(described)
    for path, operations in described.items():
        for method in operations:
            assert client.request(method, path).status_code not in (404, 405), (method, path)


def test_the_description_may_be_kept_for_a_while_and_nothing_else_may(client: httpx.Client) -> None:
    assert client.get("/openapi.json").headers.get_list("cache-control") == ["max-age=300"]
    assert client.get("/healthz").headers.get_list("cache-control") == ["no-store"]


def test_a_dead_letter_says_what_its_visitor_agreed_to_where_anything_was_denied(
    client: httpx.Client, topics: Topics
) -> None:
    bad = event(event="purchase")
    post(client, bad, consent={"analytics": True, "personalization": False})
    post(client, bad | {"event_id": "e2"})
    told = {
        json.loads(dead_letter.data)["event_id"]: dead_letter.attributes.get("consent")
        for dead_letter in topics.dead_letters(2)
    }
    assert told == {"e1": '{"analytics":true,"personalization":false}', "e2": None}
