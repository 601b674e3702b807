"""The client's thread against servers that say anything, late or not at all: what is sent again, and what is told."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.client import Freshet, Undelivered
from functions.client.retries import retry_delay_s
from tests.functions.answering import NOWHERE, server, taken

NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


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


def test_a_request_holds_as_many_events_as_half_a_megabyte() -> None:
    with server(taken) as asked, Freshet(asked.url, "key", flush_s=3600.0) as client:
        for _ in range(20):
            client.track("click", user_id="u1", note="x" * 65_000)
        assert client.flush(20.0)
        assert [len(body["events"]) for _, body in asked] == [8, 8, 4]


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


def test_waits_double_up_to_30_s_and_are_no_shorter_than_asked_for() -> None:
    assert [retry_delay_s(n, None, NOW, 0.0) for n in (1, 2, 3, 8, 9, 10_000)] == [0.125, 0.25, 0.5, 15.0, 15.0, 15.0]
    assert retry_delay_s(1, None, NOW, 0.5) == 0.1875
    assert retry_delay_s(1, "7", NOW, 0.0) == 7.0
    assert retry_delay_s(1, "Wed, 01 Jan 2025 12:00:20 GMT", NOW, 0.0) == 20.0
    assert retry_delay_s(1, "9" * 400, NOW, 0.0) == 300.0
    for nonsense in ("", "soon", "-5", "²", "Wed, 01 Jan 2024 12:00:20 GMT"):
        assert retry_delay_s(1, nonsense, NOW, 0.0) == 0.125
