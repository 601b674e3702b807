"""Reads what the collector published, from the real subscriptions."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1 import ReceivedMessage

from tests.stack.readiness import subscriber

WAIT_S = 10.0
QUIET_S = 0.3
POLL_S = 0.02


@dataclass(frozen=True)
class Received:
    """One Pub/Sub message."""

    data: bytes
    attributes: dict[str, str]


class Topics:
    """Both subscriptions, emptied at the start."""

    def __init__(self, env: Mapping[str, str]) -> None:
        path = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/subscriptions/"
        self._events = path + env["FRESHET_EVENTS_SUBSCRIPTION"]
        self._dead_letters = path + env["FRESHET_DEAD_LETTER_SUBSCRIPTION"]
        self._client = subscriber(env)

    def __enter__(self) -> Topics:
        for subscription in (self._events, self._dead_letters):
            self._client.seek({"subscription": subscription, "time": datetime.now(UTC)})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.transport.close()

    def events(self, messages: int) -> list[Received]:
        """The next `messages` messages of the events topic; fails unless there are exactly so
        many."""
        return self._exactly(self._events, messages)

    def dead_letters(self, messages: int) -> list[Received]:
        """The next `messages` dead letters; fails unless there are exactly so many."""
        return self._exactly(self._dead_letters, messages)

    def all_events(self, expected: int, quiet_s: float = 1.5) -> list[Received]:
        """Every message of the events topic, until `expected` events are in and nothing comes for
        `quiet_s`.
        """
        received: list[Received] = []
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            came = self._pull(self._events, 100, quiet_s)
            received += came
            if (
                not came
                and sum(message.data.count(b'"event_id"') for message in received) >= expected
            ):
                break
        return received

    def _exactly(self, subscription: str, messages: int) -> list[Received]:
        received: list[Received] = []
        deadline = time.monotonic() + WAIT_S
        while len(received) < messages and time.monotonic() < deadline:
            received += self._pull(subscription, messages - len(received), WAIT_S)
        received += self._pull(subscription, 10, QUIET_S)
        assert len(received) == messages, (
            f"{subscription}: expected {messages} messages, got {received}"
        )
        return received

    def _pull(self, subscription: str, most: int, wait_s: float) -> list[Received]:
        """What is there within `wait_s`.

        A pull that waits and is given up may take the next test's message along.
        """
        deadline = time.monotonic() + wait_s
        while not (found := self._pull_at_once(subscription, most)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if found:
            ids = [message.ack_id for message in found]
            self._client.acknowledge({"subscription": subscription, "ack_ids": ids})
        return [Received(m.message.data, dict(m.message.attributes)) for m in found]

    def _pull_at_once(self, subscription: str, most: int) -> Sequence[ReceivedMessage]:
        request = {"subscription": subscription, "max_messages": most, "return_immediately": True}
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The return_immediately flag is deprecated", DeprecationWarning
            )
            try:
                return list(
                    self._client.pull(request, timeout=WAIT_S, retry=None).received_messages
                )
            except DeadlineExceeded:
                return []
