"""The collector as clients meet it: its own process over HTTP, with the real Pub/Sub emulator
behind it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from functions.routes import ROUTES, foreign_tracker
from pipeline.core.events import decode_message
from pipeline.core.privacy.addresses import address_key
from tests.functions.conftest import ADDRESS_KEY, BACKFILL_KEY, DEADLINE_S, ORIGIN
from tests.functions.pubsub import Topics
from tests.stack import Stack

MEGABYTE = 1024 * 1024


def event(**fields: Any) -> dict[str, Any]:
    """A valid event of now, with `fields` over it."""
    now = datetime.now(UTC).isoformat()
    return {"event_id": "e1", "event": "click", "user_id": "u1", "timestamp": now} | fields


def post(client: httpx.Client, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(
        "/v1/events", content=content, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_a_single_event_becomes_one_message_with_its_ingest_time(
    client: httpx.Client, topics: Topics
) -> None:
    answer = post(client, event())
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "rejected": 0, "errors": []}
    (message,) = topics.events(1)
    (stored,) = decode_message(message.data)
    assert stored.event_id == "e1"
    assert stored.ingest_time is not None
    assert abs(stored.ingest_time - datetime.now(UTC)) < timedelta(seconds=10)
    assert set(message.attributes) == {
        "schema_version",
        "site",
        "sender",
        "ingest_time",
        "trace_id",
        "protocol",
        "address",
    }
    # of an open collector's senders nobody is known
    assert message.attributes["sender"] == "browser"
    assert message.attributes["schema_version"] == "1"
    assert datetime.fromisoformat(message.attributes["ingest_time"]).tzinfo is not None
    topics.dead_letters(0)


def test_a_client_cannot_change_the_key_of_its_address_by_forwarded_for_of_its_own(
    client: httpx.Client, topics: Topics
) -> None:
    for hops in ("192.0.2.1", "203.0.113.9, 192.0.2.77", "198.51.100.1,nonsense,192.0.2.1"):
        post(client, event(), x_forwarded_for=hops)
    messages = topics.events(3)
    assert {message.attributes["address"] for message in messages} == {
        address_key("192.0.2.1", ADDRESS_KEY.encode())
    }
    assert not any(b"192.0.2" in message.data for message in messages)


def test_a_request_becomes_one_message_and_each_rejected_event_a_dead_letter(
    client: httpx.Client, topics: Topics
) -> None:
    bad = [
        event(event_id="late", timestamp="2001-01-01T00:00:00Z"),
        {"event": "purchase", "note": "ünïcode"},
    ]
    answer = post(client, {"events": [event(event_id="a"), *bad, event(event_id="b")]})
    assert answer.status_code == 202
    told = answer.json()
    assert (told["accepted"], told["rejected"]) == (2, 2)
    assert [(e["index"], e["field"]) for e in told["errors"]] == [
        (1, "timestamp"),
        (2, "timestamp"),
    ]
    assert told["errors"][0]["event_id"] == "late"
    assert told["errors"][0]["reason"] == "expected at most 48 h before ingest"
    assert told["errors"][0]["value"] == "2001-01-01T00:00:00.000Z"
    (message,) = topics.events(1)
    assert [e.event_id for e in decode_message(message.data)] == ["a", "b"]
    dead_letters = topics.dead_letters(2)
    assert sorted(json.loads(dead_letter.data)["event"] for dead_letter in dead_letters) == [
        "click",
        "purchase",
    ]
    for dead_letter in dead_letters:
        assert dead_letter.attributes["source"] == "collector"
        assert dead_letter.attributes["field"] == "timestamp"
        assert dead_letter.attributes["reason"].startswith("expected")
        assert datetime.fromisoformat(dead_letter.attributes["received_at"]).tzinfo is not None


@pytest.mark.parametrize("body", [b"", b"{not json", b"[1, 2]", b'{"events": {}}', b"\xff\xfe\x00"])
def test_a_body_that_cannot_be_read_is_refused_and_kept_whole(
    client: httpx.Client, topics: Topics, body: bytes
) -> None:
    answer = post(client, body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "body"
    (dead_letter,) = topics.dead_letters(1)
    assert dead_letter.data == body
    assert dead_letter.attributes["field"] == "body"
    topics.events(0)


def test_nesting_without_end_is_refused_and_the_collector_lives(client: httpx.Client) -> None:
    assert post(client, b'{"events": [' + b"[" * 10_000).status_code == 400
    assert post(client, b'{"events": [' + b"[" * 200_000).status_code == 413
    assert client.get("/healthz").status_code == 200


def test_an_empty_batch_is_accepted_and_publishes_nothing(
    client: httpx.Client, topics: Topics
) -> None:
    assert post(client, {"events": []}).json() == {"accepted": 0, "rejected": 0, "errors": []}
    topics.events(0)


def test_text_plain_is_read_as_json_because_browsers_send_beacons_so(
    client: httpx.Client, topics: Topics
) -> None:
    assert post(client, event(), content_type="text/plain;charset=UTF-8").status_code == 202
    topics.events(1)


def test_the_same_event_without_an_id_keeps_its_derived_id_when_sent_again(
    client: httpx.Client, topics: Topics
) -> None:
    anonymous = event()
    del anonymous["event_id"]
    post(client, anonymous)
    post(client, anonymous)
    first, second = (decode_message(m.data)[0].event_id for m in topics.events(2))
    assert first == second


def test_a_wrong_client_clock_is_repaired_by_sent_at(client: httpx.Client, topics: Topics) -> None:
    wrong = datetime.now(UTC) - timedelta(days=400)
    happened = wrong - timedelta(seconds=5)
    answer = post(
        client, {"events": [event(timestamp=happened.isoformat())], "sent_at": wrong.isoformat()}
    )
    assert answer.json()["accepted"] == 1
    (stored,) = decode_message(topics.events(1)[0].data)
    assert stored.ingest_time is not None
    assert abs(stored.ingest_time - stored.timestamp - timedelta(seconds=5)) < timedelta(seconds=2)


def test_500_events_pass_and_501_are_too_many(client: httpx.Client, topics: Topics) -> None:
    events = [event(event_id=str(n)) for n in range(501)]
    assert post(client, {"events": events[:500]}).json()["accepted"] == 500
    assert len(decode_message(topics.events(1)[0].data)) == 500
    assert post(client, {"events": events}).status_code == 413
    topics.events(0)
    topics.dead_letters(0)


def test_one_megabyte_passes_and_one_byte_more_is_too_large(client: httpx.Client) -> None:
    body = json.dumps(event()).encode()
    # one event of more than 64 kB
    [too_large] = post(client, body.ljust(MEGABYTE)).json()["errors"]
    assert (too_large["event_id"], too_large["field"]) == ("e1", "body")
    batch = json.dumps({"events": [event()]}).encode()
    assert post(client, batch.ljust(MEGABYTE)).status_code == 202
    assert post(client, batch.ljust(MEGABYTE + 1)).status_code == 413


def test_a_body_that_does_not_say_its_length_is_cut_off_at_the_limit(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * (64 * 1024)

    try:
        answer = client.post("/v1/events", content=endless())
    except httpx.WriteError:
        return  # the collector closed the connection while we were still sending: cut off as well
    assert answer.status_code == 413


def test_a_client_that_leaves_before_its_body_is_complete_does_no_harm(
    collector_stack: Stack, client: httpx.Client
) -> None:
    with socket.create_connection(("127.0.0.1", collector_stack.ports.collector)) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert client.get("/healthz").status_code == 200


def test_a_backfill_needs_its_key(client: httpx.Client, topics: Topics) -> None:
    old = {"events": [event(timestamp="2019-10-01T00:00:00Z")], "backfill": True}
    assert post(client, old).status_code == 403
    assert post(client, old, x_freshet_backfill_key="guess").status_code == 403
    topics.events(0)
    topics.dead_letters(0)
    assert post(client, old, x_freshet_backfill_key=BACKFILL_KEY).json()["accepted"] == 1
    (message,) = topics.events(1)
    assert message.attributes["backfill"] == "1"


def test_healthz_answers_get_and_head(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.head("/healthz").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1/events/", "/v2/events", "/v1", "/healthz/x", "/favicon.ico"]
)
def test_other_paths_are_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "tracker"),
    [
        ("/matomo.php", "Matomo"),
        ("/e/", "PostHog"),
        ("/capture", "PostHog"),
        ("/b/ss/suite/1/JS-2.22/s1", "Adobe Analytics"),
        ("/v3/JS/key/events", "mParticle"),
    ],
)
def test_a_path_of_a_tracker_that_is_not_supported_is_answered_with_what_to_use(
    client: httpx.Client, path: str, tracker: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"] == (
        f"path: {tracker}'s protocol is not read; send its events to /v1/events or, by a forwarder "
        "that speaks Segment,"
        " to /v1/batch: docs/protocols/others.md"
    )
    assert (
        client.get("/extra").json()["detail"] == "path: expected one of the paths in /openapi.json"
    )


def test_no_path_of_an_unsupported_tracker_stands_in_the_way_of_a_supported_one() -> None:
    assert [path for path in ROUTES if foreign_tracker(path)] == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/events", "POST, OPTIONS"),
        ("PUT", "/v1/events", "POST, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_methods_are_told_what_is_allowed(
    client: httpx.Client, method: str, path: str, allowed: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


def test_a_page_of_a_configured_origin_may_call_and_is_told_so_even_about_its_errors(
    client: httpx.Client,
) -> None:
    preflight = client.options(
        "/v1/events", headers={"origin": ORIGIN, "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert "content-type" in preflight.headers["access-control-allow-headers"].split(", ")
    for body in (event(), b"{"):
        answer = post(client, body, origin=ORIGIN)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "Origin"


def test_a_page_of_another_origin_gets_no_permission(client: httpx.Client) -> None:
    for answer in (
        client.options("/v1/events", headers={"origin": "https://evil.example"}),
        post(client, event(), origin="https://evil.example"),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_the_log_says_how_many_were_rejected_and_why_but_never_what(
    collector_stack: Stack, client: httpx.Client
) -> None:
    secret = "anna@example.com"
    post(client, {"events": [event(user_id=[secret])]}, x_cloud_trace_context="abc123/1;o=1")
    post(client, {"events": [{}]}, x_cloud_trace_context=f"{secret}/1;o=1")
    post(client, secret.encode())
    log = collector_stack.processes["collector"].log.read_text()
    assert secret not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (rejected,) = [
        line for line in lines if line.get("logging.googleapis.com/trace", "").endswith("/abc123")
    ]
    assert rejected["rejected"] == 1
    assert rejected["fields"] == ["user_id"]


def test_without_pubsub_the_answer_is_503_and_with_it_202_again(
    collector_stack: Stack, client: httpx.Client
) -> None:
    collector_stack.kill_process("pubsub")
    try:
        for body in (event(), {"events": [event(), {}]}, b"{"):
            started = time.monotonic()
            answer = post(client, body)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() - started < DEADLINE_S + 1.0
        assert client.get("/healthz").status_code == 200
    finally:
        collector_stack.start_process("pubsub")
        collector_stack.wait_for("pubsub")
        collector_stack.bootstrap({"pubsub"})
    deadline = time.monotonic() + 10.0
    while post(client, event()).status_code != 202:
        assert time.monotonic() < deadline, "the collector does not find Pub/Sub again"
        time.sleep(0.1)


def test_a_silent_pubsub_is_a_503_by_the_deadline(
    collector_stack: Stack, client: httpx.Client
) -> None:
    group = collector_stack.processes["pubsub"].pid
    os.killpg(group, signal.SIGSTOP)
    try:
        started = time.monotonic()
        answer = post(client, event())
        assert answer.status_code == 503
        assert DEADLINE_S - 0.1 < time.monotonic() - started < DEADLINE_S + 1.0
    finally:
        os.killpg(group, signal.SIGCONT)
    assert post(client, event()).status_code == 202
