"""Messages of a subscription: taken without waiting, acknowledged once they are processed."""

# Beam's private classes are half typed, and their attributes are of the classes that we replace.
# mypy: disable-error-code="no-untyped-call,attr-defined,no-any-return,union-attr,override,arg-type"

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any

from apache_beam.pipeline import AppliedPTransform
from apache_beam.runners.direct import transform_evaluator as evaluators
from apache_beam.runners.direct.util import TransformResult
from google.api_core.exceptions import ServerError, TooManyRequests
from google.api_core.grpc_helpers import wrap_errors
from google.api_core.retry import Retry, if_exception_type
from google.pubsub_v1 import PullRequest

from pipeline.runtime.environ import pubsub_emulator
from pipeline.runtime.pubsub import subscriber_client

MIN_MESSAGES, MAX_MESSAGES = 10, 100  # of a bundle: as many as wait, fewer where a turn takes long
LONG_TURN_S = 0.5
PAUSE_S, LONG_PAUSE_S = 0.02, 0.1  # before the next pull, when nothing waited
PULL_S, RETRY_S = 10.0, 300.0


class Subscription:
    """Takes what is there, waiting for nothing; to Beam's evaluator it looks like a subscriber
    client.

    Pulls that wait on the server would bring a lone message some milliseconds earlier. But the
    emulator does not notice when such a pull is given up, hands it the next message, and that is
    not seen until its ack deadline is over.
    """

    def __init__(self) -> None:
        self._client = subscriber_client(pubsub_emulator(os.environ))
        self._retry = Retry(if_exception_type(ServerError, TooManyRequests), timeout=RETRY_S)
        # Past the client's own method, which warns of `return_immediately`: it is dear on Google
        # Cloud, not here.
        self._pull = self._retry(wrap_errors(self._client.transport.pull))
        self._name = ""
        self._most = MIN_MESSAGES
        self._pulled_s = self._last_message_s = time.monotonic()
        self._taken: list[str] = []
        self._settled: deque[tuple[float, list[str]]] = deque()

    def pull(self, subscription: str, **unused: Any) -> Any:
        """Messages for one bundle, as many as are there."""
        self._name, self._pulled_s = subscription, time.monotonic()
        request = PullRequest(
            subscription=subscription, max_messages=self._most, return_immediately=True
        )
        response = self._pull(request, timeout=PULL_S)
        if response.received_messages:
            self._last_message_s = self._pulled_s
        return response

    def acknowledge(self, subscription: str, ack_ids: list[str]) -> None:
        """Remember them: `acknowledge_settled` acknowledges."""
        self._taken = list(ack_ids)

    def pause_s(self, now_s: float) -> float:
        """Seconds to wait before the next pull: the longer, up to a bound, the longer nothing has
        come.
        """
        quiet_s = now_s - self._last_message_s
        return (
            0.0
            if self._last_message_s == self._pulled_s
            else min(max(quiet_s / 20, PAUSE_S), LONG_PAUSE_S)
        )

    def settle(self, now_s: float, flushed_s: float) -> None:
        """Note that what the last pull brought is processed, but for timers that fire until
        `flushed_s`.
        """
        if not self._taken:
            return
        self._settled.append((flushed_s, self._taken))
        self._taken = []
        if now_s - self._pulled_s > LONG_TURN_S:
            self._most = max(self._most // 2, MIN_MESSAGES)
        else:
            self._most = min(self._most * 2, MAX_MESSAGES)

    def acknowledge_settled(self, now_s: float) -> None:
        """Acknowledge what is processed, its timers included."""
        ids = []
        while self._settled and self._settled[0][0] <= now_s:
            ids += self._settled.popleft()[1]
        if ids:
            self._client.acknowledge(
                subscription=self._name, ack_ids=ids, retry=self._retry, timeout=PULL_S
            )

    def close(self) -> None:
        self._client.transport.close()


class ReadPubSub(evaluators._PubSubReadEvaluator):
    """Beam's reading, from a `Subscription`.

    When all is to stop, its watermark goes to the end of time.
    """

    def _get_subscriber_client(self, transform: AppliedPTransform) -> Subscription:
        subscriptions = self._evaluation_context.subscriptions
        if transform not in subscriptions:
            subscriptions[transform] = Subscription()
        return subscriptions[transform]

    def finish_bundle(self) -> TransformResult:
        if self._evaluation_context.stopping.is_set():
            return TransformResult(self, [], [], None, {None: None})
        return super().finish_bundle()
