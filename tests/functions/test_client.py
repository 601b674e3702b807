"""The client of back ends, with the real collector behind it: counted is what reaches Pub/Sub."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from functions.client import Freshet, NoRecommendations, Undelivered
from functions.client.retries import retry_delay_s
from pipeline.core.events import Event, decode_message
from tests.functions.conftest import SERVER_KEY
from tests.functions.pubsub import Topics
from tests.stack import Stack

NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"  # the port of "discard": nobody listens


def stored(topics: Topics, events: int) -> list[Event]:
    """All that arrives, in however many messages, until so many events have; and what comes after, too."""
    found: list[Event] = []
    deadline = time.monotonic() + 10.0
    while len(found) < events and time.monotonic() < deadline:
        for message in topics._pull(topics._events, 100, 1.0):
            found += decode_message(message.data)
    for message in topics._pull(topics._events, 100, 0.3):
        found += decode_message(message.data)
    return found


@pytest.fixture
def url(guarded_stack: Stack) -> str:
    """Where the collector with write keys answers."""
    return guarded_stack.env["FRESHET_COLLECTOR_URL"]


Answerer = Callable[[int, dict[str, Any]], tuple[int, dict[str, str], bytes]]


class Asked(list[tuple[dict[str, str], dict[str, Any]]]):
    """The requests that a server had: headers with lower-case names, and the body as JSON."""

    url = ""


@contextmanager
def server(answer: Answerer) -> Iterator[Asked]:
    """A server over real sockets that answers by the number of the request and its body."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one write: two would wait for each other's acknowledgement

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            content = json.loads(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
            asked.append((headers | {"peer": str(self.client_address), "path": self.path}, content))
            status, more, said = answer(len(asked), content)
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        asked.url = f"http://127.0.0.1:{running.server_port}"
        try:
            yield asked
        finally:
            running.shutdown()
            thread.join()


def taken(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return 202, {}, json.dumps({"accepted": len(body["events"]), "rejected": 0, "errors": []}).encode()


# ---- with the collector ----------------------------------------------------------------------------------------


def test_what_a_back_end_reports_is_stored_as_its_site_s_and_as_no_bot_s(url: str, guarded_topics: Topics) -> None:
    with Freshet(url, SERVER_KEY) as client:
        ids = [
            client.track(
                "view_product", user_id="u1", product_id="p1", price=Decimal("9.90"), consent={"analytics": True}
            ),
            client.identify("u1", anonymous_id="a1", plan="gold"),
            client.page("https://shop.example/x", anonymous_id="a1", title="X"),
        ]
    (message,) = guarded_topics.events(1)
    assert message.attributes["site"] == "shop" and message.attributes["protocol"] == "native"
    view, login, page = decode_message(message.data)
    assert [view.event_id, login.event_id, page.event_id] == ids
    assert view.product_id == "p1" and view.metadata["price"] == 9.9 and view.metadata["consent"]["analytics"] is True
    assert (login.event, login.user_id, login.anonymous_id) == ("identify", "u1", "a1") and login.metadata[
        "plan"
    ] == "gold"
    assert page.event == "page_view" and page.metadata["title"] == "X"
    assert "bot" not in view.metadata


def test_an_order_is_one_purchase_a_line_and_the_same_ids_when_reported_twice(url: str, guarded_topics: Topics) -> None:
    lines = [{"product_id": "p1", "price": 5.0, "quantity": 2}, {"product_id": "p2", "price": 7}]
    with Freshet(url, SERVER_KEY) as client:
        first = client.purchase("o1", lines, user_id="u1", currency="EUR")
        assert client.purchase("o1", lines, user_id="u1", currency="EUR") == first == ["order:o1:0", "order:o1:1"]
    events = stored(guarded_topics, 4)
    assert Counter(event.event_id for event in events) == {"order:o1:0": 2, "order:o1:1": 2}
    assert {(e.product_id, e.metadata["order_id"], e.metadata["currency"]) for e in events} == {
        ("p1", "o1", "EUR"),
        ("p2", "o1", "EUR"),
    }


@contextmanager
def reporting(client: Freshet, events: int, every_s: float) -> Iterator[list[str]]:
    """A thread of the shop's that tracks meanwhile; the ids, all of them at the end."""
    ids: list[str] = []

    def track() -> None:
        for number in range(events):
            ids.append(client.track("click", user_id=f"u{number}"))
            time.sleep(every_s)

    thread = threading.Thread(target=track)
    thread.start()
    try:
        yield ids
    finally:
        thread.join()


@pytest.mark.parametrize("how", ["stop_process", "kill_process"])
def test_over_an_outage_of_the_collector_nothing_is_lost_and_nothing_doubled(
    collector_stack: Stack, topics: Topics, how: str
) -> None:
    lost: list[Undelivered] = []
    client = Freshet(collector_stack.env["FRESHET_COLLECTOR_URL"], "any", flush_s=0.02, on_error=lost.append)
    with reporting(client, events=500, every_s=0.004) as ids:
        time.sleep(0.4)
        getattr(collector_stack, how)("collector")
        try:
            assert not client.flush(0.3), "nobody was there to take them"
        finally:
            collector_stack.start_process("collector")
            collector_stack.wait_for("collector")
    assert client.flush(40.0)
    client.close()
    counts = Counter(event.event_id for event in stored(topics, 500))
    assert set(counts) == set(ids) and len(ids) == 500 and lost == []
    if how == "stop_process":  # a kill between storing and answering has a batch sent twice, by the same ids
        assert counts == Counter(ids)


def test_close_sends_what_waits_for_more(url: str, guarded_topics: Topics) -> None:
    client = Freshet(url, SERVER_KEY, flush_s=3600.0)
    ids = {client.track("click", user_id="u1") for _ in range(250)}
    client.close()
    client.close()
    assert {event.event_id for event in stored(guarded_topics, 250)} == ids
    with pytest.raises(ValueError, match="client: expected an open one"):
        client.track("click", user_id="u1")


def test_the_end_of_the_process_sends_what_waits_for_more(url: str, guarded_topics: Topics) -> None:
    code = "import sys; from functions.client import Freshet; c = Freshet(*sys.argv[1:], flush_s=3600.0)"
    subprocess.run([sys.executable, "-c", f"{code}; c.track('click', user_id='u1')", url, SERVER_KEY], check=True)
    assert len(stored(guarded_topics, 1)) == 1


FORKED = """
import os, sys
from functions.client import Freshet
client = Freshet(*sys.argv[1:], flush_s=3600.0)
client.track("click", user_id="u1", event_id="warm"); assert client.flush()
client.track("click", user_id="u1", event_id="before")
child = os.fork()
client.track("click", user_id="u1", event_id="parent" if child else "child")
if child:
    assert os.waitpid(child, 0)[1] == 0
client.close()
"""


def test_after_a_fork_each_process_sends_its_own_events_once(url: str, guarded_topics: Topics) -> None:
    subprocess.run([sys.executable, "-c", FORKED, url, SERVER_KEY], check=True, timeout=30)
    assert Counter(e.event_id for e in stored(guarded_topics, 4)) == Counter(["warm", "before", "child", "parent"])


def test_after_a_fork_each_process_has_a_connection_of_its_own() -> None:
    with server(taken) as asked:
        subprocess.run([sys.executable, "-c", FORKED, asked.url, "key"], check=True, timeout=30)
    peers = {event["event_id"]: headers["peer"] for headers, body in asked for event in body["events"]}
    assert peers["warm"] == peers["before"] == peers["parent"] != peers["child"]


def test_a_wrong_key_is_told_once_and_its_events_are_not_kept(
    url: str, guarded_topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Undelivered] = []
    with caplog.at_level(logging.DEBUG), Freshet(url, "no such key", on_error=told.append) as client:
        ids = [client.track("click", user_id="anna@example.com") for _ in range(2)]
        assert client.flush()
    (refused,) = told
    assert (refused.status, refused.field) == (401, "write_key")
    assert [event["event_id"] for event in refused.events] == ids
    assert "anna@example.com" not in caplog.text and "no such key" not in caplog.text and "401" in caplog.text
    assert stored(guarded_topics, 0) == []


def test_of_a_batch_with_a_bad_event_the_good_ones_are_stored_and_the_bad_one_is_told(
    url: str, guarded_topics: Topics
) -> None:
    told: list[Undelivered] = []
    client = Freshet(url, SERVER_KEY, flush_s=3600.0, on_error=told.append)
    client.track("click", user_id="u1", event_id="e1")
    # The client's own check leaves nothing for the collector to reject: an event that has become too old does.
    client._outbox.put([b'{"event_id":"e2","event":"click","user_id":"u1","timestamp":"2020-01-01T00:00:00Z"}'])
    client.track("click", user_id="u1", event_id="e3")
    client.close()
    (rejected,) = told
    assert (rejected.field, rejected.status, [event["event_id"] for event in rejected.events]) == (
        "timestamp",
        None,
        ["e2"],
    )
    assert [event.event_id for event in stored(guarded_topics, 2)] == ["e1", "e3"]
    guarded_topics.dead_letters(1)


# ---- with any server -------------------------------------------------------------------------------------------


def test_requests_say_who_sends_when_and_are_zipped_above_a_kilobyte_on_one_connection() -> None:
    with server(taken) as asked, Freshet(asked.url, "key-1") as client:
        client.track("click", user_id="u1")
        assert client.flush()
        client.track("click", user_id="u1", note="x" * 2000)
        assert client.flush()
    (first, short), (second, _) = asked
    assert first["x-freshet-key"] == "key-1" and first["path"] == "/v1/events"
    assert first["user-agent"].startswith("freshet-python/") and first["peer"] == second["peer"]
    assert abs(datetime.fromisoformat(short["sent_at"]) - datetime.now(UTC)) < timedelta(seconds=10)
    assert "content-encoding" not in first and second["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_sent_again_as_it_was(status: int) -> None:
    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return taken(number, body) if number > 2 else (status, {}, b"<html>")

    with server(answer) as asked, Freshet(asked.url, "key") as client:
        client.track("click", user_id="u1")
        assert client.flush(10.0)
    assert len(asked) == 3
    assert asked[0][1]["events"] == asked[1][1]["events"] == asked[2][1]["events"]


def test_it_waits_as_long_as_the_collector_asks_and_close_waits_no_longer_than_it_may() -> None:
    times_s: list[float] = []

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        times_s.append(time.monotonic())
        return taken(number, body) if number == 2 else (429, {"retry-after": "1" if number == 1 else "60"}, b"")

    told: list[Undelivered] = []
    with server(answer) as asked:
        client = Freshet(asked.url, "key", on_error=told.append)
        client.track("click", user_id="u1")
        assert client.flush(10.0) and 1.0 <= times_s[1] - times_s[0] < 2.0
        client.track("click", user_id="u1", event_id="late")
        client.close(0.3)
        assert time.monotonic() - times_s[1] < 2.0
        assert "freshet" not in {thread.name for thread in threading.enumerate()}
    assert len(asked) == 3 and [event["event_id"] for gone in told for event in gone.events] == ["late"]


@pytest.mark.parametrize("status", [301, 400, 403, 404, 415])
def test_what_would_be_refused_again_is_told_at_once(status: int) -> None:
    told: list[Undelivered] = []
    with (
        server(lambda *_: (status, {}, b"no JSON")) as asked,
        Freshet(asked.url, "key", on_error=told.append) as client,
    ):
        client.track("click", user_id="u1")
        assert client.flush()
    assert len(asked) == 1 and [undelivered.status for undelivered in told] == [status]


def test_once_flush_returns_on_error_has_been_told() -> None:
    told: list[Undelivered] = []

    def slowly(undelivered: Undelivered) -> None:
        time.sleep(0.2)
        told.append(undelivered)

    with server(lambda *_: (400, {}, b"")) as asked, Freshet(asked.url, "key", on_error=slowly) as client:
        client.track("click", user_id="u1")
        assert client.flush() and len(told) == 1


def test_a_page_that_answers_200_in_the_collector_s_place_is_told() -> None:
    told: list[Undelivered] = []
    with server(lambda *_: (200, {}, b"<html>")) as asked, Freshet(asked.url, "key", on_error=told.append) as client:
        client.track("click", user_id="u1")
        assert client.flush()
    assert [undelivered.status for undelivered in told] == [200]


def test_a_batch_that_is_too_large_is_split_until_it_fits_and_one_event_that_never_fits_is_told() -> None:
    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        too_large = len(body["events"]) > 3 or body["events"][0]["event_id"] == "e5"
        return (413, {}, b"") if too_large else taken(number, body)

    told: list[Undelivered] = []
    with server(answer) as asked, Freshet(asked.url, "key", flush_s=3600.0, on_error=told.append) as client:
        for number in range(10):
            client.track("click", user_id="u1", event_id=f"e{number}")
        assert client.flush(10.0)
        arrived = [
            e["event_id"]
            for number, (_, body) in enumerate(asked)
            for e in body["events"]
            if answer(number, body)[0] == 202
        ]
    assert arrived == [f"e{number}" for number in range(10) if number != 5]
    assert [(gone.status, gone.events[0]["event_id"], len(gone.events)) for gone in told] == [(413, "e5", 1)]


def test_events_of_the_greatest_size_go_in_requests_that_the_collector_takes(url: str, guarded_topics: Topics) -> None:
    told: list[Undelivered] = []
    note = "x" * 65_000
    with Freshet(url, SERVER_KEY, flush_s=3600.0, on_error=told.append) as client:
        ids = {client.track("click", user_id="u1", note=note) for _ in range(40)}
        assert client.flush(20.0)
    assert {event.event_id for event in stored(guarded_topics, 40)} == ids and told == []
    with server(taken) as asked, Freshet(asked.url, "key", flush_s=3600.0) as client:
        for _ in range(20):
            client.track("click", user_id="u1", note=note)
        assert client.flush(20.0)
        assert [len(body["events"]) for _, body in asked] == [8, 8, 4], "as many as half a megabyte holds"


def test_a_full_queue_drops_the_oldest_and_tells_and_close_tells_the_rest() -> None:
    told: list[Undelivered] = []
    client = Freshet(NOWHERE, "key", queue_limit=5, flush_s=3600.0, on_error=told.append)
    for number in range(8):
        client.track("click", user_id="u1", event_id=f"e{number}")
    assert [event["event_id"] for gone in told for event in gone.events] == ["e0", "e1", "e2"]
    started = time.monotonic()
    client.close(0.3)
    assert time.monotonic() - started < 2.0
    assert [event["event_id"] for gone in told for event in gone.events] == [f"e{number}" for number in range(8)]


def test_the_queue_s_bound_holds_for_events_under_way_too() -> None:
    release = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        release.wait(10.0)
        return taken(number, body)

    told: list[Undelivered] = []
    with (
        server(answer) as asked,
        Freshet(asked.url, "key", queue_limit=5, batch_size=3, on_error=told.append) as client,
    ):
        for number in range(3):
            client.track("click", user_id="u1", event_id=f"e{number}")
        while not asked:
            time.sleep(0.01)
        for number in range(3, 7):
            client.track("click", user_id="u1", event_id=f"e{number}")
        release.set()
        assert client.flush(10.0)
        arrived = [event["event_id"] for _, body in asked for event in body["events"]]
    assert [event["event_id"] for gone in told for event in gone.events] == ["e3", "e4"]
    assert arrived == ["e0", "e1", "e2", "e5", "e6"]


def test_track_does_not_wait_for_a_collector_that_is_silent() -> None:
    release = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        release.wait(10.0)
        return taken(number, body)

    with server(answer) as asked, Freshet(asked.url, "key", batch_size=1) as client:
        started = time.monotonic()
        for _ in range(200):
            client.track("click", user_id="u1")
        assert time.monotonic() - started < 1.0
        release.set()
        assert client.flush(10.0)


def test_an_on_error_that_fails_stops_nothing_and_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    def fail(undelivered: Undelivered) -> None:
        raise RuntimeError(f"cannot keep {undelivered.events}")

    with server(lambda *_: (400, {}, b"")) as asked, Freshet(asked.url, "key", on_error=fail) as client:
        for _ in range(2):
            client.track("click", user_id="anna@example.com")
            assert client.flush()
    assert len(asked) == 2 and "on_error failed: RuntimeError" in caplog.text
    assert "anna" not in caplog.text


# ---- wrong arguments, and no collector at all ------------------------------------------------------------------

ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user_id": 7}, "user_id: expected a text, got 7"),
        ({"user_id": None}, "user_id: expected user_id or anonymous_id, got nothing"),
        ({"user_id": "\udc80"}, "user_id: expected"),
        ({"event": ""}, "event: expected 1 to 256 printable characters"),
        ({"event": "purchase"}, "product_id: required for purchase"),
        ({"timestamp": datetime(2025, 1, 1)}, "timestamp: expected an RFC 3339 time with a zone"),
        ({"timestamp": NOW}, "timestamp: expected at most 48 h before ingest"),
        ({"event_id": "x" * 257}, "event_id: expected 1 to 256"),
        ({"price": "9.90"}, "metadata.price: expected a finite number, got 9.90"),
        ({"price": float("nan")}, "metadata.price: expected a finite number"),
        ({"thing": object()}, "metadata.thing: expected what JSON can say, got object"),
        ({"thing": ITSELF}, "metadata.thing: expected what JSON can say, got list"),
        ({"note": "x" * 70_000}, "metadata: expected an event of at most 65536 bytes"),
        ({"consent": {"analytics": "yes"}}, "consent: expected"),
        ({"consent": True}, "consent: expected"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once_and_names_itself(wrong: dict[str, Any], field: str) -> None:
    with Freshet(NOWHERE, "key") as client:
        with pytest.raises(ValueError, match=field):
            client.track(**({"event": "click", "user_id": "u1"} | wrong))
        assert client.flush(0.0), "nothing was queued"


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (("", [{"product_id": "p1"}]), "order_id: expected a text of 1 to 240 characters"),
        (("o" * 241, [{"product_id": "p1"}]), "order_id: expected a text of 1 to 240 characters"),
        (("o1", []), "lines: expected one object or more"),
        (("o1", {"product_id": "p1"}), "lines: expected one object or more"),
        (("o1", [{"product_id": "p1"}, {"price": 1}]), "product_id: required for purchase"),
    ],
)
def test_of_a_wrong_order_no_line_is_queued(order: tuple[Any, Any], field: str) -> None:
    with Freshet(NOWHERE, "key") as client:
        with pytest.raises(ValueError, match=field):
            client.purchase(*order, user_id="u1")
        assert client.flush(0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"collector_url": "collector.example"},
        {"collector_url": "ftp://collector.example"},
        {"api_url": "https://"},
        {"write_key": "schlüssel"},
        {"write_key": ""},
        {"batch_size": 0},
        {"batch_size": 501},
        {"batch_size": 1.5},
        {"flush_s": -1},
        {"queue_limit": 0},
        {"timeout_s": float("nan")},
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) + ": expected"):
        Freshet(**({"collector_url": NOWHERE, "write_key": "key"} | wrong))


def test_waits_double_up_to_30_s_and_are_no_shorter_than_asked_for() -> None:
    assert [retry_delay_s(n, None, NOW, 0.0) for n in (1, 2, 3, 8, 9, 10_000)] == [0.125, 0.25, 0.5, 15.0, 15.0, 15.0]
    assert retry_delay_s(1, None, NOW, 0.5) == 0.1875
    assert retry_delay_s(1, "7", NOW, 0.0) == 7.0
    assert retry_delay_s(1, "Wed, 01 Jan 2025 12:00:20 GMT", NOW, 0.0) == 20.0
    assert retry_delay_s(1, "9" * 400, NOW, 0.0) == 300.0
    for nonsense in ("", "soon", "-5", "²", "Wed, 01 Jan 2024 12:00:20 GMT"):
        assert retry_delay_s(1, nonsense, NOW, 0.0) == 0.125


# ---- recommendations -------------------------------------------------------------------------------------------


def test_recommendations_are_the_api_s_answer() -> None:
    said = b'{"recommendations":["p1"]}'
    with server(lambda *_: (200, {}, said)) as asked, Freshet(NOWHERE, "key", asked.url) as client:
        assert client.recommend(user_id="u1", placement="cart", k=3) == {"recommendations": ["p1"]}
    ((headers, body),) = asked
    assert headers["path"] == "/v1/recommendations" and "x-freshet-key" not in headers
    assert body["user_id"] == "u1" and body["placement"] == "cart" and body["k"] == 3


def test_without_an_answer_there_is_an_error_with_the_status() -> None:
    with (
        server(lambda *_: (503, {}, b"")) as asked,
        Freshet(NOWHERE, "key", asked.url) as client,
        pytest.raises(NoRecommendations, match="503") as raised,
    ):
        client.recommend(user_id="u1")
    assert raised.value.status == 503
    with Freshet(NOWHERE, "key", NOWHERE) as client, pytest.raises(NoRecommendations, match="ConnectError"):
        client.recommend(user_id="u1")


def test_a_wrong_question_is_an_error_that_names_the_argument() -> None:
    with Freshet(NOWHERE, "key", NOWHERE) as client, pytest.raises(ValueError, match="k: expected"):
        client.recommend(user_id="u1", k=101)
    with Freshet(NOWHERE, "key") as client, pytest.raises(ValueError, match="api_url: expected"):
        client.recommend(user_id="u1")
