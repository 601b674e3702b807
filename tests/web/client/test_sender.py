"""The client's thread against servers that answer anything, late or never: retries and reports."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from freshet import Freshet, Undelivered
from freshet.retries import retry_delay_s
from tests.web.client.http_server import NOWHERE, accept_all, server

NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


def test_requests_say_who_sends_when_and_are_zipped_above_a_kilobyte_on_one_connection() -> None:
    with server(accept_all) as requests, Freshet(requests.url, "key-1") as client:
        client.track("click", user_id="u1")
        assert client.flush()
        client.track("click", user_id="u1", note="x" * 2000)
        assert client.flush()
    (first, short), (second, _) = requests
    assert first["x-freshet-key"] == "key-1" and first["path"] == "/v1/events"
    assert first["user-agent"].startswith("freshet-python/") and first["peer"] == second["peer"]
    assert abs(datetime.fromisoformat(short["sent_at"]) - datetime.now(UTC)) < timedelta(seconds=10)
    assert "content-encoding" not in first and second["content-encoding"] == "gzip"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_after_a_temporary_failure_the_same_events_are_sent_again(status: int) -> None:
    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return accept_all(number, body) if number > 2 else (status, {}, b"<html>")

    with server(answer) as requests, Freshet(requests.url, "key") as client:
        client.track("click", user_id="u1")
        assert client.flush(10.0)
    assert len(requests) == 3
    assert requests[0][1]["events"] == requests[1][1]["events"] == requests[2][1]["events"]


def test_it_waits_as_long_as_the_collector_asks_and_close_waits_no_longer_than_it_may() -> None:
    times_s: list[float] = []

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        times_s.append(time.monotonic())
        return (
            accept_all(number, body)
            if number == 2
            else (429, {"retry-after": "1" if number == 1 else "60"}, b"")
        )

    reports: list[Undelivered] = []
    with server(answer) as requests:
        client = Freshet(requests.url, "key", on_error=reports.append)
        client.track("click", user_id="u1")
        assert client.flush(10.0) and 1.0 <= times_s[1] - times_s[0] < 2.0
        client.track("click", user_id="u1", event_id="late")
        client.close(0.3)
        assert time.monotonic() - times_s[1] < 2.0
        assert "freshet" not in {thread.name for thread in threading.enumerate()}
    assert len(requests) == 3 and [
        event["event_id"] for report in reports for event in report.events
    ] == ["late"]


@pytest.mark.parametrize("status", [301, 400, 403, 404, 415])
def test_a_batch_that_would_be_refused_again_is_reported_at_once(status: int) -> None:
    reports: list[Undelivered] = []
    with (
        server(lambda *_: (status, {}, b"no JSON")) as requests,
        Freshet(requests.url, "key", on_error=reports.append) as client,
    ):
        client.track("click", user_id="u1")
        assert client.flush()
    assert len(requests) == 1 and [report.status for report in reports] == [status]


def test_once_flush_returns_on_error_has_been_called() -> None:
    reports: list[Undelivered] = []

    def slowly(undelivered: Undelivered) -> None:
        time.sleep(0.2)
        reports.append(undelivered)

    with (
        server(lambda *_: (400, {}, b"")) as requests,
        Freshet(requests.url, "key", on_error=slowly) as client,
    ):
        client.track("click", user_id="u1")
        assert client.flush() and len(reports) == 1


@pytest.mark.parametrize("said", [b"<html>", b"{}", b'{"accepted":0,"errors":[{"index":7}]}'])
def test_a_page_that_answers_200_in_the_collector_s_place_is_reported(said: bytes) -> None:
    reports: list[Undelivered] = []
    with (
        server(lambda *_: (200, {}, said)) as requests,
        Freshet(requests.url, "key", on_error=reports.append) as client,
    ):
        client.track("click", user_id="u1")
        assert client.flush()
    assert [report.status for report in reports] == [200]


def test_a_collector_that_does_not_answer_in_time_is_asked_again() -> None:
    release = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if number == 1:
            release.wait(10.0)
        return accept_all(number, body)

    with server(answer) as requests, Freshet(requests.url, "key", timeout_s=0.1) as client:
        client.track("click", user_id="u1")
        assert client.flush(3.0)
        release.set()
    assert len(requests) == 2 and requests[0][1]["events"] == requests[1][1]["events"]


def test_a_batch_too_large_is_split_until_it_fits_and_an_event_that_never_fits_is_reported() -> (
    None
):
    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        too_large = len(body["events"]) > 3 or body["events"][0]["event_id"] == "e5"
        return (413, {}, b"") if too_large else accept_all(number, body)

    reports: list[Undelivered] = []
    with (
        server(answer) as requests,
        Freshet(requests.url, "key", flush_s=3600.0, on_error=reports.append) as client,
    ):
        for number in range(10):
            client.track("click", user_id="u1", event_id=f"e{number}")
        assert client.flush(10.0)
        arrived = [
            e["event_id"]
            for number, (_, body) in enumerate(requests)
            for e in body["events"]
            if answer(number, body)[0] == 202
        ]
    assert arrived == [f"e{number}" for number in range(10) if number != 5]
    assert [
        (report.status, report.events[0]["event_id"], len(report.events)) for report in reports
    ] == [(413, "e5", 1)]


def test_a_request_holds_as_many_events_as_half_a_megabyte() -> None:
    with server(accept_all) as requests, Freshet(requests.url, "key", flush_s=3600.0) as client:
        for _ in range(20):
            client.track("click", user_id="u1", note="x" * 65_000)
        assert client.flush(20.0)
        assert [len(body["events"]) for _, body in requests] == [8, 8, 4]


def test_a_full_queue_drops_and_reports_the_oldest_and_close_reports_the_rest() -> None:
    reports: list[Undelivered] = []
    client = Freshet(NOWHERE, "key", queue_limit=5, flush_s=3600.0, on_error=reports.append)
    for number in range(8):
        client.track("click", user_id="u1", event_id=f"e{number}")
    assert [event["event_id"] for report in reports for event in report.events] == [
        "e0",
        "e1",
        "e2",
    ]
    started = time.monotonic()
    client.close(0.3)
    assert time.monotonic() - started < 2.0
    assert [event["event_id"] for report in reports for event in report.events] == [
        f"e{number}" for number in range(8)
    ]


def test_the_bound_of_the_queue_holds_for_events_in_flight_too() -> None:
    release = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        release.wait(10.0)
        return accept_all(number, body)

    reports: list[Undelivered] = []
    with (
        server(answer) as requests,
        Freshet(
            requests.url, "key", queue_limit=5, batch_size=3, on_error=reports.append
        ) as client,
    ):
        for number in range(3):
            client.track("click", user_id="u1", event_id=f"e{number}")
        while not requests:
            time.sleep(0.01)
        for number in range(3, 7):
            client.track("click", user_id="u1", event_id=f"e{number}")
        release.set()
        assert client.flush(10.0)
        arrived = [event["event_id"] for _, body in requests for event in body["events"]]
    assert [event["event_id"] for report in reports for event in report.events] == ["e3", "e4"]
    assert arrived == ["e0", "e1", "e2", "e5", "e6"]


def test_track_does_not_wait_for_a_collector_that_is_silent() -> None:
    release = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        release.wait(10.0)
        return accept_all(number, body)

    with server(answer) as requests, Freshet(requests.url, "key", batch_size=1) as client:
        started = time.monotonic()
        for _ in range(200):
            client.track("click", user_id="u1")
        assert time.monotonic() - started < 1.0
        release.set()
        assert client.flush(10.0)


def test_an_on_error_that_fails_stops_nothing_and_is_not_quoted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(undelivered: Undelivered) -> None:
        raise RuntimeError(f"cannot keep {undelivered.events}")

    with (
        server(lambda *_: (400, {}, b"")) as requests,
        Freshet(requests.url, "key", on_error=fail) as client,
    ):
        for _ in range(2):
            client.track("click", user_id="anna@example.com")
            assert client.flush()
    assert len(requests) == 2 and "on_error failed: RuntimeError" in caplog.text
    assert "anna" not in caplog.text


def test_waits_double_up_to_30_s_and_are_no_shorter_than_asked_for() -> None:
    assert [retry_delay_s(n, None, NOW, 0.0) for n in (1, 2, 3, 8, 9, 10_000)] == [
        0.125,
        0.25,
        0.5,
        15.0,
        15.0,
        15.0,
    ]
    assert retry_delay_s(1, None, NOW, 0.5) == 0.1875
    assert retry_delay_s(1, "7", NOW, 0.0) == 7.0
    assert retry_delay_s(1, "Wed, 01 Jan 2025 12:00:20 GMT", NOW, 0.0) == 20.0
    assert retry_delay_s(1, "9" * 400, NOW, 0.0) == 300.0
    for nonsense in (
        "",
        "soon",
        "-5",
        "²",
        "Wed, 01 Jan 2024 12:00:20 GMT",
        f"Wed, 01 Jan {'9' * 20} 12:00:20 GMT",
    ):
        assert retry_delay_s(1, nonsense, NOW, 0.0) == 0.125


def test_after_a_response_that_cannot_be_read_the_batch_is_reported_and_the_next_one_is_sent() -> (
    None
):
    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        deep = b'{"accepted":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        return (202, {}, deep) if number == 1 else accept_all(number, body)

    reports: list[Undelivered] = []
    with (
        server(answer) as requests,
        Freshet(requests.url, "key", on_error=reports.append) as client,
    ):
        for event_id in ("e1", "e2"):
            client.track("click", user_id="u1", event_id=event_id)
            assert client.flush()
    assert [(report.reason, report.events[0]["event_id"]) for report in reports] == [
        ("cannot be sent (RecursionError)", "e1")
    ]


def test_flush_waits_for_what_was_tracked_before_it_and_not_for_what_others_go_on_tracking() -> (
    None
):
    def slowly(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.05)
        return accept_all(number, body)

    ended = threading.Event()

    def track() -> None:
        while not ended.wait(0.002):
            client.track("click", user_id="u2")

    with (
        server(slowly) as requests,
        Freshet(requests.url, "key", flush_s=0.0, batch_size=5) as client,
    ):
        others = threading.Thread(target=track)
        others.start()
        try:
            client.track("click", user_id="u1", event_id="mine")
            assert client.flush(3.0)
            assert "mine" in {event["event_id"] for _, body in requests for event in body["events"]}
        finally:
            ended.set()
            others.join()
            client.close(0.0)


def test_close_reports_events_in_flight_too_and_a_later_response_does_not_again() -> None:
    release = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        release.wait(10.0)
        return 400, {}, b""

    reports: list[Undelivered] = []
    with server(answer) as requests:
        client = Freshet(requests.url, "key", flush_s=0.0, on_error=reports.append)
        client.track("click", user_id="u1", event_id="e1")
        while not requests:
            time.sleep(0.01)
        client.track("click", user_id="u1", event_id="e2")
        client.close(0.1)
        assert [event["event_id"] for report in reports for event in report.events] == ["e1", "e2"]
        release.set()
        assert client._sender.join(5.0)
    assert len(requests) == 1 and len(reports) == 1


def test_an_event_that_was_given_up_can_be_tracked_again_as_it_was() -> None:
    reports: list[Undelivered] = []
    with server(accept_all) as requests:
        with Freshet(NOWHERE, "key", queue_limit=1, on_error=reports.append) as client:
            client.track(
                "add_to_cart",
                user_id="u1",
                product_id="p1",
                timestamp=datetime.now(UTC) - timedelta(hours=1),
                consent={"personalization": False},
                price=9.9,
            )
            client.track("click", user_id="u1")
            client.close(0.0)
        (event,) = reports[0].events
        with Freshet(requests.url, "key") as client:
            client.track(
                **{
                    **event.get("metadata", {}),
                    **{k: v for k, v in event.items() if k != "metadata"},
                }
            )
    assert requests[0][1]["events"] == [event]


def test_a_process_that_can_have_no_thread_is_not_kept_waiting(installed: dict[str, str]) -> None:
    code = (
        "import sys, threading; from freshet import Freshet; threading.stack_size(1 << 47)\n"
        "client = Freshet(*sys.argv[1:], on_error=lambda gone: print(gone.reason, "
        "len(gone.events)))\n"
        "client.track('click', user_id='u1'); assert not client.flush(60.0)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, NOWHERE, "key"],
        check=True,
        timeout=30,
        env=installed,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "not delivered before the client was closed 1\n"


# ---- the log


def test_the_log_of_a_full_queue_is_one_line_with_the_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Freshet(NOWHERE, "key", queue_limit=5, flush_s=3600.0)
    for _ in range(105):
        client.track("click", user_id="anna@example.com")
    client.close(0.1)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("freshet")]
    assert len(lines) == 3 and "100 events were dropped for newer ones, the queue was full" in lines
    assert (
        "5 events were not delivered before the client was closed" in lines
        and "anna" not in caplog.text
    )


def test_the_log_of_rejected_events_is_one_line_a_request_with_their_fields(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = [
        {"index": i, "field": "metadata.price", "reason": "is anna's", "value": "anna"}
        for i in range(50)
    ]
    said = json.dumps({"accepted": 0, "rejected": 50, "errors": errors}).encode()
    reports: list[Undelivered] = []
    with (
        caplog.at_level(logging.DEBUG, "freshet"),
        server(lambda *_: (202, {}, said)) as requests,
        Freshet(requests.url, "key", flush_s=3600.0, on_error=reports.append) as client,
    ):
        for _ in range(50):
            client.track("click", user_id="anna@example.com")
        assert client.flush()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("freshet")]
    assert (
        lines == ["50 events were not taken: status 202, fields ['metadata.price']"]
        and len(reports) == 50
    )
