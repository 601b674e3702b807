"""Winding back, on the real Pub/Sub: what was read is read again, and what cannot be reached is
refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1 import PubsubMessage, SubscriberClient

from pipeline.core.timestamps import format_time
from pipeline.ops.rewind import RewindError, check_reach, main
from pipeline.runtime.installation import Installation
from tests.stack.bootstrap import bigquery_client

NOW = datetime(2025, 1, 8, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
WAIT_S = 15.0


def test_the_reach_goes_from_now_to_exactly_what_is_kept() -> None:
    check_reach(NOW, NOW, WEEK)
    check_reach(NOW - WEEK, NOW, WEEK)


@pytest.mark.parametrize(
    ("since", "message"),
    [
        (
            NOW + timedelta(milliseconds=1),
            "SINCE: expected a time that is past at .*, got 2025-01-08T12:00:00.001Z",
        ),
        (
            NOW - WEEK - timedelta(milliseconds=1),
            "SINCE: expected at most 7 days ago, .* got 2025-01-01T11:59:59.999Z",
        ),
    ],
)
def test_the_future_and_what_is_no_longer_kept_are_refused(since: datetime, message: str) -> None:
    with pytest.raises(RewindError, match=message):
        check_reach(since, NOW, WEEK)


def publish(env: Mapping[str, str], kind: str, *texts: bytes) -> None:
    at = Installation.from_env(env)
    with at.publisher() as client:
        topic = f"projects/{at.project}/topics/{env[f'FRESHET_{kind}_TOPIC']}"
        client.publish(topic=topic, messages=[PubsubMessage(data=text) for text in texts])


def read(env: Mapping[str, str], kind: str, count: int) -> list[bytes]:
    """The next `count` messages, acknowledged; fewer when no more come. More than `count` fail."""
    at = Installation.from_env(env)
    found: list[bytes] = []
    deadline = time.monotonic() + WAIT_S
    with at.subscriber() as client:
        subscription = at.subscription(env[f"FRESHET_{kind}_SUBSCRIPTION"])
        while len(found) < count and time.monotonic() < deadline:
            found += pull(client, subscription, 2.0)
        found += pull(client, subscription, 0.5)
    return sorted(found)


def pull(client: SubscriberClient, subscription: str, wait_s: float) -> list[bytes]:
    try:
        answer = client.pull(
            {"subscription": subscription, "max_messages": 10}, timeout=wait_s, retry=None
        )
    except DeadlineExceeded:
        return []
    if ids := [message.ack_id for message in answer.received_messages]:
        client.acknowledge({"subscription": subscription, "ack_ids": ids})
    return [bytes(message.message.data) for message in answer.received_messages]


def wind_back(env: Mapping[str, str], *arguments: str) -> int:
    return main(arguments, env, datetime.now(UTC))


def test_what_was_read_is_read_again_and_what_was_published_before_is_not(
    fresh: dict[str, str],
) -> None:
    publish(fresh, "EVENTS", b"before")
    assert read(fresh, "EVENTS", 1) == [b"before"]
    time.sleep(0.2)
    since = format_time(datetime.now(UTC))
    time.sleep(0.2)
    publish(fresh, "EVENTS", b"one", b"two")
    assert read(fresh, "EVENTS", 2) == [b"one", b"two"]
    assert read(fresh, "EVENTS", 0) == []
    assert wind_back(fresh, since) == 0
    assert read(fresh, "EVENTS", 2) == [b"one", b"two"]
    assert read(fresh, "EVENTS", 0) == []


def test_dead_letters_are_wound_back_only_when_asked(fresh: dict[str, str]) -> None:
    publish(fresh, "EVENTS", b"event")
    publish(fresh, "DEAD_LETTER", b"dead letter")
    assert (read(fresh, "EVENTS", 1), read(fresh, "DEAD_LETTER", 1)) == (
        [b"event"],
        [b"dead letter"],
    )
    assert wind_back(fresh, "10m") == 0
    assert (read(fresh, "EVENTS", 1), read(fresh, "DEAD_LETTER", 0)) == ([b"event"], [])
    assert wind_back(fresh, "--all", "10m") == 0
    assert (read(fresh, "EVENTS", 1), read(fresh, "DEAD_LETTER", 1)) == (
        [b"event"],
        [b"dead letter"],
    )


@pytest.mark.parametrize(
    ("since", "message"),
    [
        ("8d", "SINCE: expected at most 7 days ago"),
        ("2999-01-01T00:00:00Z", "SINCE: expected a time that is past"),
        ("yesterday", "SINCE: expected an RFC 3339 time with a zone"),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(
    fresh: dict[str, str], capsys: pytest.CaptureFixture[str], since: str, message: str
) -> None:
    publish(fresh, "EVENTS", b"waits")
    assert wind_back(fresh, since) == 2
    assert f"rewind: {message}" in capsys.readouterr().err
    assert read(fresh, "EVENTS", 1) == [b"waits"]


def test_a_subscription_that_is_not_there_is_named_and_the_other_is_left_alone(
    fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    publish(fresh, "EVENTS", b"read")
    assert read(fresh, "EVENTS", 1) == [b"read"]
    assert wind_back({**fresh, "FRESHET_DEAD_LETTER_SUBSCRIPTION": "nobody"}, "--all", "10m") == 2
    error = capsys.readouterr().err
    assert (
        "subscription: expected one that exists, got projects/demo-project/subscriptions/nobody"
        in error
    )
    assert read(fresh, "EVENTS", 0) == []


def test_a_subscription_that_forgets_what_was_read_is_refused(
    fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    at = Installation.from_env(fresh)
    forgetful = f"{fresh['FRESHET_EVENTS_SUBSCRIPTION']}-forgetful"
    with at.subscriber() as client:
        client.create_subscription({"name": at.subscription(forgetful), "topic": at.topic()})
    assert wind_back({**fresh, "FRESHET_EVENTS_SUBSCRIPTION": forgetful}, "10m") == 2
    assert "expected one that keeps acknowledged messages" in capsys.readouterr().err


def test_it_says_what_it_did_and_how_many_events_of_the_log_come_again(
    warehouse: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    times = [now - timedelta(minutes=minutes) for minutes in (5, 5, 1, 20)]
    rows = [
        {"event_id": name, "event": "click", "visitor": "u#1", "timestamp": at, "ingest_time": at}
        for name, at in zip("aabc", map(format_time, times), strict=True)
    ]
    client = bigquery_client(warehouse)
    assert not client.insert_rows_json(f"{warehouse['FRESHET_DATASET']}.events", rows)
    client.close()
    assert main(["10m"], warehouse, now) == 0
    said = capsys.readouterr().out
    assert f"{warehouse['FRESHET_EVENTS_SUBSCRIPTION']} of demo-project: read again from" in said
    assert "at least 2 events are read again" in said
    assert "what was published before counts as read" in said


def test_where_the_log_is_not_there_the_number_is_not_known(
    fresh: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert wind_back(fresh, "10m") == 0
    assert (
        "how many wait is not known: BigQuery did not answer (NotFound)" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "missing", ["GOOGLE_CLOUD_PROJECT", "BIGQUERY_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"]
)
def test_an_environment_that_lacks_something_is_refused_by_its_name(
    capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    names = ("GOOGLE_CLOUD_PROJECT", "BIGQUERY_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST")
    assert main(["10m"], {name: "somewhere" for name in names if name != missing}, NOW) == 2
    assert f"{missing}" in capsys.readouterr().err


def test_without_emulators_the_names_are_those_of_google_cloud() -> None:
    at = Installation.from_env({"GOOGLE_CLOUD_PROJECT": "shop-1"})
    assert (at.pubsub_emulator, at.bigquery_emulator) == (None, None)
    assert (
        at.subscription(at.events_subscription) == "projects/shop-1/subscriptions/events-pipeline"
    )
    assert (at.topic(), at.table("events")) == (
        "projects/shop-1/topics/events",
        "shop-1.freshet.events",
    )
    assert at.subscription("projects/other/subscriptions/s") == "projects/other/subscriptions/s"
