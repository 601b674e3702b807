"""A stream of visitors, what it must come to, and whether it did: the same after every fault."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from google.cloud import bigquery
from google.pubsub_v1 import PubsubMessage, SubscriberClient

from pipeline.core.catalog import Item
from pipeline.core.events import Event, encode_message
from pipeline.core.fold import fold
from pipeline.core.profile import UserProfile
from pipeline.core.profile_keys import profile_key
from pipeline.runtime.clock import now_ms
from pipeline.runtime.installation import Installation
from pipeline.store.blocking import Store
from pipeline.store.layout import PROFILE, item_write
from tests.simulator.parity import comparable, differences
from tests.stack import Stack
from tests.stack.bootstrap import bigquery_client
from tests.stack.readiness import publisher

Environment = Mapping[str, str]

PATIENCE_S = 60.0
LOOK_S = 0.5  # a look at BigQuery costs it 0.2 s of the processor that the pipeline needs
EVENTS_EACH = 96  # of a visitor: sent three times over, still within what a profile remembers
PRODUCTS = 30
CATALOG = {
    f"p{n}": Item(f"p{n}", category=f"c{n % 5}", brand=f"b{n % 4}", price=1.5 + n)
    for n in range(PRODUCTS * 9 // 10)
}
NAMES = (
    "page_view search impression view_product view_product click add_to_cart purchase dwell".split()
)
WITHOUT_PRODUCT = {"page_view", "search", "dwell"}


# The stream


def visits(visitors: int = 12, ended: timedelta = timedelta(), first: int = 0) -> list[Event]:
    """Two visits of each visitor in time order, the last `ended` ago; a tenth of the products is in
    no catalog.

    By turns a visitor is a browser without account, an account without browser, both at all times,
    and a browser that logs in between the visits. They are numbered from `first` on. Ids of events
    hold the second that they were made in, so that those of two tests differ.
    """
    rng = Random(first)
    until = datetime.now(UTC).replace(microsecond=0) - ended
    found = [
        _event(
            rng, visitor, number, until - timedelta(seconds=_age_s(rng, number)), f"{until:%H%M%S}"
        )
        for visitor in range(first, first + visitors)
        for number in range(EVENTS_EACH)
    ]
    return sorted(found, key=lambda event: event.timestamp)


def _age_s(rng: Random, number: int) -> float:
    """The first half of the events is of a visit four hours ago, the second of one that ended a
    minute ago.
    """
    return rng.randrange(60_000, 3_000_000) / 1000 + (14_400 if number < EVENTS_EACH // 2 else 0)


def _event(rng: Random, visitor: int, number: int, timestamp: datetime, made_at: str) -> Event:
    name, second_visit = rng.choice(NAMES), number >= EVENTS_EACH // 2
    metadata: dict[str, Any] = {"category": "said", "price": 2.5, "url": "https://shop.example/"}
    if name == "search":
        metadata["query"] = rng.choice(["lamp", "chair", "rug"])
    has_account = visitor % 4 in (1, 2) or (visitor % 4 == 3 and second_visit)
    return Event(
        event_id=f"v{visitor}-e{number}-{made_at}",
        event=name,
        timestamp=timestamp,
        user_id=f"user{visitor}" if has_account else None,
        anonymous_id=f"browser{visitor}" if visitor % 4 != 1 else None,
        session_id=f"v{visitor}-s{int(second_visit)}",
        product_id=None if name in WITHOUT_PRODUCT else f"p{rng.randrange(PRODUCTS)}",
        ingest_time=timestamp,
        metadata=metadata,
    )


def bodies(events: Sequence[Event], size: int = 8) -> list[bytes]:
    """The Pub/Sub bodies that a collector makes of the events: `size` of one visitor each, in time
    order.
    """
    by_visitor: dict[str, list[Event]] = {}
    for event in events:
        by_visitor.setdefault(event.event_id.partition("-")[0], []).append(event)
    messages = [
        found[at : at + size] for found in by_visitor.values() for at in range(0, len(found), size)
    ]
    return [
        encode_message(message)
        for message in sorted(messages, key=lambda message: message[-1].timestamp)
    ]


def publish(env: Environment, messages: Sequence[bytes], pause_s: float = 0.0) -> None:
    """Publish to the topic of events, one message after the other."""
    topic = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/topics/{env['FRESHET_EVENTS_TOPIC']}"
    with publisher(env) as client:
        for body in messages:
            client.publish(
                topic=topic, messages=[PubsubMessage(data=body, attributes={"schema_version": "1"})]
            )
            time.sleep(pause_s)


@contextmanager
def traffic(env: Environment, messages: Sequence[bytes], lasts_s: float) -> Iterator[None]:
    """Messages that go out evenly over `lasts_s` seconds while the block runs; at its end all are
    published.
    """
    failures: list[Exception] = []

    def go_out() -> None:
        try:
            publish(env, messages, lasts_s / len(messages))
        except Exception as error:  # raised where the test sees it
            failures.append(error)

    thread = threading.Thread(target=go_out, name="traffic")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures, failures


# The faults


def held(stack: Stack, part: str, seconds: float) -> None:
    """Hold a process as it is for some seconds, with all that it has in memory."""
    group = stack.processes[part].pid
    os.killpg(group, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.killpg(group, signal.SIGCONT)
    stack.check()


def shorten_ack_deadline(env: Environment, seconds: int) -> None:
    """Let what is not acknowledged come again after so long; before anything is published."""
    at = Installation.from_env(env)
    change = {"name": at.subscription(at.events_subscription), "ack_deadline_seconds": seconds}
    with at.subscriber() as client:
        client.update_subscription(
            {"subscription": change, "update_mask": {"paths": ["ack_deadline_seconds"]}}
        )


# What it must come to


def clean_profiles(events: Sequence[Event]) -> dict[str, UserProfile]:
    """Profiles by key when every event is folded in one place, in time order, and every login was
    known all along.
    """
    accounts = {
        event.anonymous_id: f"u#{event.user_id}"
        for event in events
        if event.anonymous_id and event.user_id
    }
    profiles: dict[str, UserProfile] = {}
    for event in sorted(events, key=lambda found: (found.timestamp, found.event_id)):
        key = accounts.get(event.anonymous_id or "", profile_key(event))
        fold(
            profiles.setdefault(key, UserProfile()), [(event, CATALOG.get(event.product_id or ""))]
        )
    browsers = {
        f"a#{browser}": UserProfile(account=account) for browser, account in accounts.items()
    }
    return {**{key: profile.copy() for key, profile in profiles.items()}, **browsers}


class Survey:
    """What the emulators of an environment hold.

    Bigtable's client asks this process' environment where it is.
    """

    def __init__(self, env: Environment) -> None:
        self._dataset = env["FRESHET_DATASET"]
        self._bigquery: bigquery.Client = bigquery_client(env)
        self._store = Store(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"])

    def load_catalog(self) -> None:
        """Write the products that are known."""
        self._store.write([item_write(item, now_ms()) for item in CATALOG.values()])

    def profiles(self) -> dict[str, UserProfile]:
        """Every stored profile."""
        return {key: UserProfile.decode(value) for key, value in self._store.scan(PROFILE)}

    def folded(self) -> int:
        """How many events the profiles count."""
        return sum(profile.events_total for profile in self.profiles().values())

    def logged(self) -> int:
        """How many different events the log holds."""
        return int(self._rows("select count(distinct event_id) as n from {}.events")[0]["n"])

    def log(self) -> Counter[str]:
        """Event ids of the view `events_unique`."""
        return Counter(
            row["event_id"] for row in self._rows("select event_id from {}.events_unique")
        )

    def rejected(self) -> int:
        """How many dead letters there are."""
        return int(self._rows("select count(*) as n from {}.dead_letters")[0]["n"])

    def dead_letters(self) -> list[dict[str, Any]]:
        """The dead letters, with their input as it came under `body`."""
        rows = self._rows("select payload, encoding, source, field, reason from {}.dead_letters")
        return [{**row, "body": _body(row)} for row in rows]

    def close(self) -> None:
        """Close both connections."""
        self._bigquery.close()
        self._store.close()

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self._bigquery.query_and_wait(sql.format(self._dataset))]


def _body(dead_letter: Mapping[str, Any]) -> bytes:
    payload: str = dead_letter["payload"]
    return base64.b64decode(payload) if dead_letter["encoding"] == "base64" else payload.encode()


@contextmanager
def survey(stack: Stack) -> Iterator[Survey]:
    """A survey of the stack's emulators, with the catalog loaded."""
    with closing(Survey(stack.env)) as found:
        found.load_catalog()
        yield found


# Whether it did


def wait_until(stack: Stack, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return when the condition holds or patience ends: the assertions that follow say what is
    missing.

    Raises StackError when a process of the stack has ended.
    """
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        stack.check()
        time.sleep(LOOK_S)
    stack.check()


def wait_until_all_is_there(stack: Stack, found: Survey, events: Sequence[Event]) -> None:
    """Return when profiles and log hold as many events as they should, or patience ends."""
    wait_until(stack, lambda: found.folded() >= len(events) and found.logged() >= len(events))


def wait_until_all_is_read(stack: Stack) -> None:
    """Return when the pipeline has taken all that was published, or patience ends; a stop makes it
    finish that.
    """
    at = Installation.from_env(stack.env)
    subscription = at.subscription(at.events_subscription)
    with at.subscriber() as client:
        wait_until(stack, lambda: not _waits(client, subscription))


def _waits(client: SubscriberClient, subscription: str) -> bool:
    """Whether a message waits to be read; it goes on waiting."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The return_immediately flag is deprecated", DeprecationWarning
        )
        request = {"subscription": subscription, "max_messages": 1, "return_immediately": True}
        found = client.pull(request, timeout=10.0).received_messages
    if found:
        ids = [message.ack_id for message in found]
        client.modify_ack_deadline(subscription=subscription, ack_ids=ids, ack_deadline_seconds=0)
    return bool(found)


def assert_nothing_lost_or_doubled(found: Survey, events: Sequence[Event]) -> None:
    """Profiles are those of the clean run, and the log holds every event once."""
    assert found.log() == Counter(event.event_id for event in events)
    stored, clean = found.profiles(), clean_profiles(events)
    assert stored.keys() == clean.keys()
    wrong = [
        f"{key}{reason}"
        for key in clean
        for reason in differences(comparable(stored[key]), comparable(clean[key]))
    ]
    assert not wrong, "\n".join(wrong[:10])


def counters(stack: Stack, part: str = "pipeline") -> dict[str, int]:
    """The counts that the pipeline last wrote into its log; it writes them when it is stopped."""
    lines = (stack.folder / "logs" / f"{part}.log").read_text(encoding="utf-8").splitlines()
    reports = [line for line in lines if '"metrics":' in line]
    found: dict[str, int] = json.loads(reports[-1][reports[-1].index("{") :])["metrics"]
    return found
