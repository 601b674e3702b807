"""What is sent to a collector, and what becomes of answers that no collector of ours gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from functions.bodies import MAX_BODY_BYTES
from pipeline.collecting import Collector, CollectorError, request_body
from pipeline.core.deadletter import messages
from pipeline.core.events import Event, check_work

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(event_id: str, **metadata: object) -> Event:
    return Event(event_id=event_id, event="lamp", timestamp=NOW, user_id="u", ingest_time=NOW, metadata=metadata)


class Fake(HTTPServer):
    """Answers every request as it is told."""

    status, body = 202, b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    server: Fake

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("location", f"{self.server.url}/elsewhere")
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_rejections_are_told_by_the_place_of_the_event(fake: Fake) -> None:
    fake.body = b'{"accepted":1,"rejected":1,"errors":[{"index":1,"event_id":null,"field":"f","reason":"r","value":1}]}'
    assert Collector(f"{fake.url}/", "key").send([event("e1"), event("e2")], NOW) == {1: "f: r"}
    assert fake.paths == ["/v1/events"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (202, b"<html>", "cannot be read"),
        (202, b"{}", "cannot be read"),
        (202, b'{"accepted":1,"rejected":0,"errors":[]}', "does not tell of each event"),
        (202, b'{"accepted":0,"rejected":2,"errors":[]}', "does not tell of each event"),
        (202, b'{"accepted":1,"rejected":1,"errors":[{"index":2,"field":"f","reason":"r"}]}', "not tell of each"),
        (200, b"Hello", "answered 200: Hello"),
        (302, b"", "answered 302"),
        (503, b'{"detail":"server: not stored"}', "answered 503: server: not stored"),
        (500, b'{"detail":5', "answered 500"),
    ],
)
def test_any_other_answer_is_an_error(fake: Fake, status: int, body: bytes, told: str) -> None:
    fake.status, fake.body = status, body
    with pytest.raises(CollectorError, match=told):
        Collector(fake.url).send([event("e1"), event("e2")], NOW)
    assert fake.paths == ["/v1/events"]


def test_keys_are_shown_nowhere() -> None:
    assert "secret" not in repr(Collector("https://collect.shop.example", "secret-1", "secret-2"))


def test_only_on_the_local_stack_the_environment_says_which_collector_it_is() -> None:
    env = {"FRESHET_COLLECTOR_URL": "http://127.0.0.1:8080", "FRESHET_WRITE_KEY": "key", "FRESHET_BACKFILL_KEY": ""}
    assert Collector.from_env(env, local=True) == Collector("http://127.0.0.1:8080", "key", None)
    assert Collector.from_env(env, local=False) is None
    asked = Collector("https://collect.shop.example", "key", None)
    assert {Collector.from_env(env, "https://collect.shop.example", local=local) for local in (True, False)} == {asked}
    assert Collector.from_env({}, local=True) is None


@pytest.mark.parametrize("size", [1, 900, 2056, 60_000])
def test_what_fits_a_message_fits_a_request(size: int) -> None:
    batches = list(messages(event(f"e{number}", text="x" * size) for number in range(1200)))
    assert len(batches) > 1
    assert max(len(request_body(batch, NOW)) for batch in batches) <= MAX_BODY_BYTES
    assert sum(len(msgspec.json.decode(request_body(batch, NOW))["events"]) for batch in batches) == 1200


@pytest.mark.parametrize("value", [[[]] * 100, [1] * 5000, "\\ud83d" * 3000])
def test_what_fits_a_message_is_no_more_work_than_a_request(value: Any) -> None:
    batches = list(messages(event(f"e{number}", text=value) for number in range(400)))
    assert 1 < len(batches) < 200
    for batch in batches:
        check_work(request_body(batch, NOW))
