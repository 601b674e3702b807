"""The client with the real collector behind it: the events that reach Pub/Sub are counted."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from freshet import Freshet, Undelivered
from pipeline.core.events import Event, decode_message
from tests.functions.pubsub import Topics
from tests.stack import Stack
from tests.web.client.conftest import SERVER_KEY
from tests.web.client.http_server import accept_all, server


def stored(topics: Topics, events: int) -> list[Event]:
    """All that arrives, in however many messages, until so many events have; and what comes after,
    too.
    """
    found: list[Event] = []
    deadline = time.monotonic() + 10.0
    while len(found) < events and time.monotonic() < deadline:
        for message in topics._pull(topics._events, 100, 1.0):
            found += decode_message(message.data)
    for message in topics._pull(topics._events, 100, 0.3):
        found += decode_message(message.data)
    return found


def test_what_a_back_end_reports_is_stored_as_its_site_s_and_as_no_bot_s(
    url: str, topics: Topics
) -> None:
    with Freshet(url, SERVER_KEY) as client:
        ids = [
            client.track(
                "view_product",
                user_id="u1",
                product_id="p1",
                price=Decimal("9.90"),
                consent={"analytics": True},
            ),
            client.identify("u1", anonymous_id="a1", plan="gold"),
            client.page("https://shop.example/x", anonymous_id="a1", title="X"),
        ]
    (message,) = topics.events(1)
    assert message.attributes["site"] == "shop" and message.attributes["protocol"] == "native"
    view, login, page = decode_message(message.data)
    assert [view.event_id, login.event_id, page.event_id] == ids
    assert (
        view.product_id == "p1"
        and view.metadata["price"] == 9.9
        and view.metadata["consent"]["analytics"] is True
    )
    assert (login.event, login.user_id, login.anonymous_id) == (
        "identify",
        "u1",
        "a1",
    ) and login.metadata["plan"] == "gold"
    assert page.event == "page_view" and page.metadata["title"] == "X"
    assert "bot" not in view.metadata


def test_an_order_is_one_purchase_a_line_and_the_same_ids_when_reported_twice(
    url: str, topics: Topics
) -> None:
    lines = [{"product_id": "p1", "price": 5.0, "quantity": 2}, {"product_id": "p2", "price": 7}]
    with Freshet(url, SERVER_KEY) as client:
        first = client.purchase("o1", lines, user_id="u1", currency="EUR")
        assert (
            client.purchase("o1", lines, user_id="u1", currency="EUR")
            == first
            == ["o1#p1#1", "o1#p2#1"]
        )
    events = stored(topics, 4)
    assert Counter(event.event_id for event in events) == {"o1#p1#1": 2, "o1#p2#1": 2}
    assert {(e.product_id, e.metadata["order_id"], e.metadata["currency"]) for e in events} == {
        ("p1", "o1", "EUR"),
        ("p2", "o1", "EUR"),
    }


def test_an_orders_ids_do_not_depend_on_the_order_of_its_lines(url: str, topics: Topics) -> None:
    lines = [
        {"product_id": name, "size": size} for name, size in (("p1", "S"), ("p2", "M"), ("p1", "L"))
    ]
    with Freshet(url, SERVER_KEY) as client:
        ids = client.purchase("o1", lines, user_id="u1")
        # the browser's too: tests/web/test_sdk_elements.py
        assert ids == ["o1#p1#1", "o1#p2#1", "o1#p1#2"]
        assert client.purchase("o1", [lines[1], lines[0], lines[2]], user_id="u1") == [
            ids[1],
            ids[0],
            ids[2],
        ]
    assert Counter(event.event_id for event in stored(topics, 6)) == dict.fromkeys(ids, 2)


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
    collector: Stack, url: str, topics: Topics, how: str
) -> None:
    lost: list[Undelivered] = []
    client = Freshet(url, SERVER_KEY, flush_s=0.02, on_error=lost.append)
    with reporting(client, events=500, every_s=0.004) as ids:
        time.sleep(0.4)
        getattr(collector, how)("collector")
        try:
            assert not client.flush(0.3), "nobody was there to take them"
        finally:
            collector.start_process("collector")
            collector.wait_for("collector")
    assert client.flush(40.0)
    client.close()
    counts = Counter(event.event_id for event in stored(topics, 500))
    assert set(counts) == set(ids) and len(ids) == 500 and lost == []
    # a kill between storing and answering has a batch sent twice, by the same ids
    if how == "stop_process":
        assert counts == Counter(ids)


def test_close_sends_what_waits_for_more(url: str, topics: Topics) -> None:
    client = Freshet(url, SERVER_KEY, flush_s=3600.0)
    ids = {client.track("click", user_id="u1") for _ in range(250)}
    client.close()
    client.close()
    assert {event.event_id for event in stored(topics, 250)} == ids
    with pytest.raises(ValueError, match="client: expected an open one"):
        client.track("click", user_id="u1")


def test_the_end_of_the_process_sends_what_waits_for_more(
    url: str, topics: Topics, installed: dict[str, str]
) -> None:
    code = "import sys; from freshet import Freshet; c = Freshet(*sys.argv[1:], flush_s=3600.0)"
    track = "c.track('click', user_id='u1')"
    forgotten = "c = Freshet(*sys.argv[1:], flush_s=3600.0)"
    script = f"{code}; {track}; {forgotten}; {track}"
    subprocess.run(
        [sys.executable, "-S", "-c", script, url, SERVER_KEY], check=True, timeout=30, env=installed
    )
    assert len(stored(topics, 2)) == 2


FORKED = """
import os, sys
from freshet import Freshet
client = Freshet(*sys.argv[1:], flush_s=3600.0)
client.track("click", user_id="u1", event_id="warm"); assert client.flush()
client.track("click", user_id="u1", event_id="before")
child = os.fork()
client.track("click", user_id="u1", event_id="parent" if child else "child")
if child:
    assert os.waitpid(child, 0)[1] == 0
client.close()
"""


def test_after_a_fork_each_process_sends_its_own_events_once(
    url: str, topics: Topics, installed: dict[str, str]
) -> None:
    subprocess.run(
        [sys.executable, "-S", "-c", FORKED, url, SERVER_KEY], check=True, timeout=30, env=installed
    )
    assert Counter(e.event_id for e in stored(topics, 4)) == Counter(
        ["warm", "before", "child", "parent"]
    )


def test_after_a_fork_each_process_has_a_connection_of_its_own(installed: dict[str, str]) -> None:
    with server(accept_all) as requests:
        command = [sys.executable, "-S", "-c", FORKED, requests.url, "key"]
        subprocess.run(command, check=True, timeout=30, env=installed)
    peers = {
        event["event_id"]: headers["peer"] for headers, body in requests for event in body["events"]
    }
    assert peers["warm"] == peers["before"] == peers["parent"] != peers["child"]


def test_a_wrong_key_is_reported_once_and_its_events_are_not_kept(
    url: str, topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[Undelivered] = []
    with (
        caplog.at_level(logging.DEBUG),
        Freshet(url, "no such key", on_error=reports.append) as client,
    ):
        ids = [client.track("click", user_id="anna@example.com") for _ in range(2)]
        assert client.flush()
    (refused,) = reports
    assert (refused.status, refused.field) == (401, "write_key")
    assert [event["event_id"] for event in refused.events] == ids
    assert (
        "anna@example.com" not in caplog.text
        and "no such key" not in caplog.text
        and "401" in caplog.text
    )
    assert stored(topics, 0) == []


def test_of_a_batch_with_a_bad_event_the_good_ones_are_stored_and_the_bad_one_is_reported(
    url: str, topics: Topics
) -> None:
    reports: list[Undelivered] = []
    client = Freshet(url, SERVER_KEY, flush_s=3600.0, on_error=reports.append)
    client.track("click", user_id="u1", event_id="e1")
    # The client's own check leaves nothing for the collector to reject: an event that has become
    # too old does.
    client._events.put(
        [b'{"event_id":"e2","event":"click","user_id":"u1","timestamp":"2020-01-01T00:00:00Z"}']
    )
    client.track("click", user_id="u1", event_id="e3")
    client.close()
    (rejected,) = reports
    assert (rejected.field, rejected.status, [event["event_id"] for event in rejected.events]) == (
        "timestamp",
        None,
        ["e2"],
    )
    assert [event.event_id for event in stored(topics, 2)] == ["e1", "e3"]
    topics.dead_letters(1)


def test_events_of_the_greatest_size_go_in_requests_that_the_collector_takes(
    url: str, topics: Topics
) -> None:
    reports: list[Undelivered] = []
    note = "x" * 65_000
    with Freshet(url, SERVER_KEY, flush_s=3600.0, on_error=reports.append) as client:
        ids = {client.track("click", user_id="u1", note=note) for _ in range(40)}
        assert client.flush(20.0)
    assert {event.event_id for event in stored(topics, 40)} == ids and reports == []
