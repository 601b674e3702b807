"""What is sent to a collector, and what becomes of answers that no collector of ours gives."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from functions.dead_letters.collector import (
    MAX_REQUEST,
    CollectorClient,
    CollectorError,
    CollectorRefused,
    Origin,
    event_size,
    request_body,
)
from functions.http.bodies import MAX_BODY_BYTES
from pipeline.core.events import Event
from pipeline.core.json_limits import MAX_LONG_NUMBERS, check_work
from pipeline.core.packing import packed

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHOP = Origin("shop", "server")


def event(event_id: str, **metadata: object) -> Event:
    return Event(
        event_id=event_id,
        event="lamp",
        timestamp=NOW,
        user_id="u",
        ingest_time=NOW,
        metadata=metadata,
    )


class Fake(HTTPServer):
    """Answers every request as it is told."""

    status, body = 202, b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answering(BaseHTTPRequestHandler):
    server: Fake

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.paths.append(self.path)
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.server.status)
        self.send_header("location", f"{self.server.url}/elsewhere")
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_places_of_rejected_events_are_returned(fake: Fake) -> None:
    fake.body = (
        b'{"accepted":1,"rejected":1,"errors":'
        b'[{"index":1,"event_id":null,"field":"f","reason":"r","value":1}]}'
    )
    assert CollectorClient(f"{fake.url}/", "key").send([event("e1"), event("e2")], SHOP, NOW) == [1]
    assert fake.paths == ["/v1/events"]


@pytest.mark.parametrize(
    ("origin", "site", "sender"),
    [
        (SHOP, "shop", "server"),
        (Origin("", "browser"), "", "browser"),
        (Origin("é\r\nx: y", "\n"), "%C3%A9%0D%0Ax%3A%20y", "%0A"),
    ],
)
def test_site_and_sender_go_along_and_cannot_become_other_headers(
    fake: Fake, origin: Origin, site: str, sender: str
) -> None:
    fake.body = b'{"accepted":1,"rejected":0,"errors":[]}'
    CollectorClient(fake.url, "key").send([event("e1")], origin, NOW)
    [headers] = fake.headers
    names = ("x-freshet-replay", "x-freshet-sender", "x-freshet-backfill-key", "x")
    assert [headers.get(name) for name in names] == [site, sender, "key", None]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (202, b"<html>", "cannot be read"),
        (202, b"{}", "cannot be read"),
        (202, b'{"accepted":1,"rejected":0,"errors":[]}', "does not say of each event"),
        (202, b'{"accepted":0,"rejected":2,"errors":[]}', "does not say of each event"),
        (
            202,
            b'{"accepted":1,"rejected":1,"errors":[{"index":2,"field":"f","reason":"r"}]}',
            "not say of each",
        ),
        (200, b"Hello", "answered 200: Hello"),
        (302, b"", "answered 302"),
        (503, b'{"detail":"server: not stored"}', "answered 503: server: not stored"),
        (500, b'{"detail":5', "answered 500"),
        (400, b'{"detail":"site: expected"}', "answered 400: site: expected"),
        (413, b"", "answered 413"),
    ],
)
def test_any_other_answer_is_an_error(fake: Fake, status: int, body: bytes, told: str) -> None:
    fake.status, fake.body = status, body
    with pytest.raises(CollectorError, match=told) as raised:
        CollectorClient(fake.url, "key").send([event("e1"), event("e2")], SHOP, NOW)
    assert isinstance(raised.value, CollectorRefused) is (status in (400, 413))
    assert fake.paths == ["/v1/events"]


def test_the_key_is_shown_nowhere() -> None:
    assert "secret" not in repr(CollectorClient("https://collect.shop.example", "secret-1"))


def test_only_on_the_local_stack_the_environment_says_which_collector_it_is() -> None:
    env = {"FRESHET_COLLECTOR_URL": "http://127.0.0.1:8080", "FRESHET_BACKFILL_KEY": "key"}
    assert CollectorClient.from_env(env, local=True) == CollectorClient(
        "http://127.0.0.1:8080", "key"
    )
    asked = CollectorClient("https://collect.shop.example", "key")
    assert {CollectorClient.from_env(env, asked.url, local=local) for local in (True, False)} == {
        asked
    }
    with pytest.raises(ValueError, match="--collector: expected the address"):
        CollectorClient.from_env(env, local=False)
    with pytest.raises(ValueError, match="FRESHET_BACKFILL_KEY: expected"):
        CollectorClient.from_env(env | {"FRESHET_BACKFILL_KEY": ""}, local=True)


def test_places_are_counted_over_all_requests(fake: Fake) -> None:
    fake.body = b'{"accepted":499,"rejected":1,"errors":[{"index":7,"field":"f","reason":"r"}]}'
    events = [event(f"e{number}") for number in range(1000)]
    assert CollectorClient(fake.url, "key").send(events, SHOP, NOW) == [7, 507]
    assert len(fake.paths) == 2


def batches_of(events: Iterable[Event]) -> list[list[Event]]:
    return list(packed(events, event_size, MAX_REQUEST))


def test_a_request_holds_up_to_500_events_or_a_megabyte() -> None:
    assert [len(batch) for batch in batches_of(event(f"e{number}") for number in range(1001))] == [
        500,
        500,
        1,
    ]
    large = batches_of(event(f"e{number}", text="x" * 50_000) for number in range(40))
    assert [len(batch) for batch in large] == [20, 20]
    assert batches_of([]) == []


def test_an_event_beyond_the_bounds_is_a_request_of_its_own() -> None:
    over = event("e2", numbers=[1e300] * (MAX_LONG_NUMBERS + 1))
    assert batches_of([event("e1"), over, event("e3")]) == [[event("e1")], [over], [event("e3")]]


@pytest.mark.parametrize("size", [1, 900, 2056, 60_000])
def test_a_request_is_full_and_within_its_bounds(size: int) -> None:
    batches = batches_of(event(f"e{number}", text="x" * size) for number in range(1200))
    assert len(batches) > 1
    assert max(len(request_body(batch, NOW)) for batch in batches) <= MAX_BODY_BYTES
    assert (
        sum(len(msgspec.json.decode(request_body(batch, NOW))["events"]) for batch in batches)
        == 1200
    )


@pytest.mark.parametrize("value", [[[]] * 100, [1] * 5000, "\\ud83d" * 3000])
def test_a_request_is_no_more_work_than_the_collector_takes(value: Any) -> None:
    batches = batches_of(event(f"e{number}", text=value) for number in range(400))
    assert 1 < len(batches) < 200
    for batch in batches:
        check_work(request_body(batch, NOW))
