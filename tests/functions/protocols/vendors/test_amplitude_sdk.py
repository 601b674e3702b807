"""Amplitude's own libraries, pointed at the running collector: what reaches Pub/Sub, and what they
make of answers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from amplitude import (  # type: ignore[import-untyped]
    Amplitude,
    BaseEvent,
    Config,
    EventOptions,
    GroupIdentifyEvent,
    Identify,
    Revenue,
)
from amplitude.storage import InMemoryStorage, InMemoryStorageProvider  # type: ignore[import-untyped]
from playwright.sync_api import Page

from pipeline.core.events import Event, decode_message
from tests.functions.conftest import BROWSER_KEY, NEWS_KEY, ORIGIN, SLOW_KEY
from tests.functions.protocols.vendors.pages import without_pubsub
from tests.functions.pubsub import Topics
from tests.stack import Stack

SCRIPT = "@amplitude/analytics-browser/lib/scripts/amplitude-min.js"
QUIET = {
    "autocapture": False,
    "enableDiagnostics": False,
    "remoteConfig": {"fetchRemoteConfig": False},
    "flushIntervalMillis": 600_000,
    "defaultTracking": False,
}
"""Nothing is sent unless it is told to, or to any other address."""


def url_of(stack: Stack, path: str = "/2/httpapi") -> str:
    return stack.env["FRESHET_COLLECTOR_URL"] + path


def arrived(topics: Topics, messages: int) -> list[Event]:
    """The events of so many messages, in order."""
    return [event for message in topics.events(messages) for event in decode_message(message.data)]


class Told(list[tuple[str, int]]):
    """What the Python library tells of each event when it is done with it: its type and the
    answer's code.
    """

    def __call__(self, event: Any, code: int, message: str | None) -> None:
        self.append((event["event_type"], code))


@pytest.fixture
def told() -> Told:
    return Told()


def sdk(
    stack: Stack, told: Told, key: str = "any-key-1", path: str = "/2/httpapi", **settings: Any
) -> Amplitude:
    """A client that sends when it is told to."""
    config = {"flush_interval_millis": 600_000, "callback": told} | settings
    client = Amplitude(key, Config(api_key=key, server_url=url_of(stack, path), **config))
    _clients.append(client)
    return client


_clients: list[Amplitude] = []


@pytest.fixture(autouse=True)
def _shut_down() -> Iterator[None]:
    """The threads of a client that stays open keep the process from ending."""
    yield
    while _clients:
        _clients.pop().shutdown()


def send(client: Amplitude) -> None:
    for flushed in client.flush():
        if flushed is not None:  # nothing waited
            flushed.result(timeout=20)


# ---- Python


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
def test_events_of_a_back_end_arrive_in_one_request(
    collector_stack: Stack, topics: Topics, told: Told, path: str
) -> None:
    client = sdk(collector_stack, told, path=path)
    before = datetime.now(UTC)
    client.track(
        BaseEvent(
            "Product Added", user_id="anna", event_properties={"product_id": "p1", "price": 9.5}
        )
    )
    client.track(BaseEvent("Lamp", device_id="d1", session_id=-1, language="pt-PT"))
    send(client)
    client.shutdown()
    added, lamp = arrived(topics, 1)
    assert (added.event, added.user_id, added.product_id) == ("add_to_cart", "anna", "p1")
    assert (added.metadata["price"], abs(added.timestamp - before) < timedelta(seconds=5)) == (
        9.5,
        True,
    )
    assert (lamp.event, lamp.anonymous_id, lamp.session_id) == ("Lamp", "d1", None)
    assert lamp.metadata["language"] == "pt-PT"
    assert told == [("Product Added", 200), ("Lamp", 200)]


def test_identify_revenue_and_groups(collector_stack: Stack, topics: Topics, told: Told) -> None:
    client = sdk(collector_stack, told)
    options = EventOptions(user_id="anna", device_id="d1")
    client.identify(Identify().set("plan", "gold"), options)
    client.revenue(Revenue(price=9.5, quantity=2, product_id="p1"), options)
    client.track(
        GroupIdentifyEvent(groups={"company": "oakmere"}, group_properties={"$set": {"size": 3}})
    )
    send(client)
    client.shutdown()
    login, purchase = arrived(topics, 1)
    assert (login.event, login.user_id, login.anonymous_id) == ("identify", "anna", "d1")
    assert login.metadata["traits"] == {"plan": "gold"}
    assert (purchase.event, purchase.product_id) == ("purchase", "p1")
    assert (purchase.metadata["price"], purchase.metadata["quantity"]) == (9.5, 2)
    assert [code for _, code in told] == [200, 200, 200]


def test_a_batch_with_one_bad_event_keeps_the_good_ones(
    collector_stack: Stack, topics: Topics, told: Told
) -> None:
    client = sdk(collector_stack, told)
    client.track(BaseEvent("Lamp", user_id="anna"))
    client.track(BaseEvent("Lamp", user_id="anna", time=1))
    send(client)
    client.shutdown()
    assert [event.event for event in arrived(topics, 1)] == ["Lamp"]
    [dead_letter] = topics.dead_letters(1)
    assert (dead_letter.attributes["protocol"], dead_letter.attributes["field"]) == (
        "amplitude",
        "timestamp",
    )


def test_a_batch_of_bad_events_is_given_up(
    collector_stack: Stack, topics: Topics, told: Told
) -> None:
    client = sdk(collector_stack, told)
    client.track(BaseEvent("Lamp", user_id="anna", time=1))
    send(client)
    client.shutdown()
    topics.events(0)
    topics.dead_letters(1)
    assert told == [("Lamp", 400)]


def test_an_unknown_key_is_told_and_not_tried_again(
    guarded_stack: Stack, guarded_topics: Topics, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    client = sdk(guarded_stack, told, "no-such-key")
    client.track(BaseEvent("Lamp", user_id="anna"))
    with caplog.at_level(logging.ERROR, "amplitude"):
        send(client)
    client.shutdown()
    assert "Invalid API Key" in caplog.messages
    guarded_topics.events(0)
    guarded_topics.dead_letters(0)


def test_a_known_key_names_the_site(
    guarded_stack: Stack, guarded_topics: Topics, told: Told
) -> None:
    client = sdk(guarded_stack, told, BROWSER_KEY)
    client.track(BaseEvent("Lamp", user_id="anna"))
    send(client)
    client.shutdown()
    assert [message.attributes["site"] for message in guarded_topics.events(1)] == ["shop"]


def test_a_site_that_takes_no_replays_takes_nothing_of_a_library_that_does_not_tell_its_clock(
    guarded_stack: Stack, guarded_topics: Topics, told: Told
) -> None:
    client = sdk(guarded_stack, told, NEWS_KEY)
    client.track(BaseEvent("Lamp", user_id="anna"))
    send(client)
    client.shutdown()
    [dead_letter] = guarded_topics.dead_letters(1)
    assert (dead_letter.attributes["field"], told) == ("sent_at", [("Lamp", 400)])


class Kept(InMemoryStorageProvider):  # type: ignore[misc]  # the library has no types
    """A storage that can be looked into."""

    def __init__(self) -> None:
        self.storage = InMemoryStorage()

    def get_storage(self) -> InMemoryStorage:
        return self.storage

    def waits_s(self) -> list[float]:
        """For how long each event that waits will wait."""
        return [due_ms / 1000 - time.time() for due_ms, _ in self.storage.buffer_data]


def test_who_is_too_fast_waits_and_loses_nothing(
    guarded_stack: Stack, guarded_topics: Topics, told: Told
) -> None:
    kept = Kept()
    client = sdk(guarded_stack, told, SLOW_KEY, storage_provider=kept)
    for number in range(4):
        client.track(BaseEvent(f"Lamp {number}", user_id="anna"))
        send(client)
    waits_s = kept.waits_s()
    assert len(waits_s) == 4 - len(told) >= 1
    assert min(waits_s) > 25
    assert {code for _, code in told} <= {200}
    assert len(arrived(guarded_topics, len(told))) == len(told)
    kept.storage.pull_all()
    client.shutdown()


def test_events_of_an_outage_are_sent_again_and_arrive_once(
    collector_stack: Stack, topics: Topics, told: Told
) -> None:
    client = sdk(collector_stack, told, flush_interval_millis=200)
    with without_pubsub(collector_stack):
        client.track(BaseEvent("Lamp", user_id="anna"))
        send(client)
        assert told == []
    # its own thread sleeps through a retry now and then, until the next event wakes it
    send(client)
    assert [event.event for event in arrived(topics, 1)] == ["Lamp"]
    client.shutdown()
    assert told == [("Lamp", 200)]


# ---- the browser


def start(page: Page, stack: Stack, **settings: Any) -> None:
    given = QUIET | {"serverUrl": url_of(stack)} | settings
    page.evaluate("settings => amplitude.init('any-key-1', settings).promise", given)


def flush(page: Page, script: str) -> list[int]:
    """The codes that the library tells of each event that `script`, a list of calls, made."""
    body = f"async () => {{ const made = {script}; await amplitude.flush().promise;"
    codes: list[int] = page.evaluate(
        body + " return (await Promise.all(made.map((m) => m.promise))).map((r) => r.code) }"
    )
    return codes


@pytest.mark.browser
def test_page_views_clicks_and_sessions_of_the_browser_arrive(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    captured = {"autocapture": {"pageViews": True, "sessions": True, "elementInteractions": True}}
    start(page, collector_stack, **captured)
    page.click("#buy")
    page.wait_for_timeout(1_000)
    page.evaluate("() => amplitude.flush().promise")
    found = {event.event: event for event in arrived(topics, 1)}
    assert {"session_start", "page_view", "click"} <= found.keys()
    viewed, clicked = found["page_view"], found["click"]
    assert viewed.metadata["url"] == f"{ORIGIN}/lamps?utm_source=mail"
    assert (viewed.metadata["title"], viewed.metadata["utm_source"]) == ("Lamps", "mail")
    assert clicked.metadata["element_text"] == "Buy"
    assert viewed.anonymous_id == clicked.anonymous_id is not None
    assert viewed.session_id == clicked.session_id is not None
    assert "ip" not in viewed.metadata


@pytest.mark.browser
@pytest.mark.parametrize(
    "settings", [{}, {"transport": "xhr"}, {"enableRequestBodyCompression": True}]
)
def test_a_login_and_a_purchase_of_the_browser_arrive(
    page: Page, collector_stack: Stack, topics: Topics, settings: dict[str, Any]
) -> None:
    start(page, collector_stack, **settings)
    bought = "new amplitude.Revenue().setProductId('p1').setPrice(9.5).setQuantity(2)"
    page.evaluate("() => amplitude.setUserId('anna')")
    calls = (
        "[amplitude.identify(new amplitude.Identify().set('plan', 'gold ☕')), "
        f"amplitude.revenue({bought})]"
    )
    assert flush(page, calls) == [200, 200]
    login, purchase = arrived(topics, 1)
    assert (login.event, login.user_id, login.metadata["traits"]) == (
        "identify",
        "anna",
        {"plan": "gold ☕"},
    )
    assert login.anonymous_id == purchase.anonymous_id is not None
    assert (purchase.event, purchase.product_id, purchase.metadata["price"]) == (
        "purchase",
        "p1",
        9.5,
    )


@pytest.mark.browser
def test_events_of_the_browser_are_sent_again_after_an_outage_and_arrive_once(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    start(page, collector_stack, flushIntervalMillis=300, flushMaxRetries=30)
    with without_pubsub(collector_stack):
        with page.expect_response("**/2/httpapi") as refused:
            page.evaluate("() => { for (let i = 0; i < 3; i += 1) amplitude.track('Lamp ' + i); }")
        assert refused.value.status == 503
    with page.expect_response(
        lambda answer: answer.status == 200 and "httpapi" in answer.url, timeout=30_000
    ):
        pass
    assert [event.event for event in arrived(topics, 1)] == ["Lamp 0", "Lamp 1", "Lamp 2"]
    page.wait_for_timeout(1_000)
    topics.events(0)


@pytest.mark.browser
def test_a_wrong_clock_of_the_browser_is_repaired(
    page: Page, collector_stack: Stack, topics: Topics
) -> None:
    page.clock.install(time=datetime.now(UTC) - timedelta(hours=3))
    start(page, collector_stack)
    assert flush(page, "[amplitude.track('Lamp')]") == [200]
    [event] = arrived(topics, 1)
    assert abs(event.timestamp - datetime.now(UTC)) < timedelta(seconds=10)
