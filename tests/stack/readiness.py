"""Asks each part of the stack the question that only a working one answers.

Every question takes the stack's environment, returns when it was answered and raises `NotYet`
otherwise.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import grpc
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.cloud.bigtable_admin_v2 import BigtableTableAdminClient
from google.cloud.bigtable_admin_v2.services.bigtable_table_admin.transports import (
    BigtableTableAdminGrpcTransport,
)
from google.pubsub_v1 import PublisherClient, PubsubMessage, ReceivedMessage, SubscriberClient

from pipeline.runtime.pubsub import publisher_client, subscriber_client
from tests.stack.presence import Silent

Environment = Mapping[str, str]
CALL_S = 5.0
# How long a pipeline that reads gets to take a message before we conclude that nobody reads.
TAKEN_S = 0.5


class NotYet(RuntimeError):
    """It does not answer, or not as it should; the message says what came instead."""


def publisher(env: Environment) -> PublisherClient:
    """A client of the Pub/Sub emulator at `env`, whatever this process' own environment says."""
    return publisher_client(env["PUBSUB_EMULATOR_HOST"])


def subscriber(env: Environment) -> SubscriberClient:
    """As `publisher`, for subscriptions."""
    return subscriber_client(env["PUBSUB_EMULATOR_HOST"])


def table_admin(env: Environment) -> BigtableTableAdminClient:
    """A client for the tables of the Bigtable emulator at `env`."""
    channel = grpc.insecure_channel(env["BIGTABLE_EMULATOR_HOST"])
    return BigtableTableAdminClient(transport=BigtableTableAdminGrpcTransport(channel=channel))


def ask_pubsub(env: Environment) -> None:
    """Lists topics."""
    _refuse_closed_port(env["PUBSUB_EMULATOR_HOST"])
    with _grpc_errors(), publisher(env) as client:
        project = f"projects/{env['GOOGLE_CLOUD_PROJECT']}"
        list(client.list_topics(project=project, timeout=CALL_S, retry=None))


def ask_bigtable(env: Environment) -> None:
    """Lists tables."""
    _refuse_closed_port(env["BIGTABLE_EMULATOR_HOST"])
    parent = f"projects/{env['GOOGLE_CLOUD_PROJECT']}/instances/{env['FRESHET_BIGTABLE_INSTANCE']}"
    with _grpc_errors(), table_admin(env) as client:
        list(client.list_tables(parent=parent, timeout=CALL_S, retry=None))


def ask_bigquery(env: Environment) -> None:
    """Lists datasets."""
    _get(
        f"{env['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{env['GOOGLE_CLOUD_PROJECT']}/datasets"
    )


def ask_collector(env: Environment) -> None:
    _get(f"{env['FRESHET_COLLECTOR_URL']}/healthz")


def ask_predictor(env: Environment) -> None:
    _get(f"http://{env['FRESHET_VERTEX_HOST']}{env['AIP_HEALTH_ROUTE']}")


def ask_api(env: Environment) -> None:
    _get(f"{env['FRESHET_API_URL']}/healthz")


def ask_store(env: Environment) -> None:
    _get(f"{env['FRESHET_STORE_URL']}/")


def ask_pipeline(env: Environment) -> None:
    """Publishes a message of no events and sees whether somebody takes it.

    The pipeline has no port. A message of no events changes nothing anywhere; where nobody reads
    the subscription it comes back to us, we acknowledge it, and the pipeline is not there yet.
    """
    project = env["GOOGLE_CLOUD_PROJECT"]
    topic = f"projects/{project}/topics/{env['FRESHET_EVENTS_TOPIC']}"
    subscription = f"projects/{project}/subscriptions/{env['FRESHET_EVENTS_SUBSCRIPTION']}"
    attributes = {
        "schema_version": "1",
        "ingest_time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    with _grpc_errors(), publisher(env) as sender, subscriber(env) as reader:
        message = PubsubMessage(data=json.dumps({"events": []}).encode(), attributes=attributes)
        sender.publish(topic=topic, messages=[message], timeout=CALL_S)
        time.sleep(TAKEN_S)
        left = _waiting(reader, subscription)
        if left:
            _put_back(reader, subscription, left)
            raise NotYet("nobody reads its subscription")


def _waiting(reader: SubscriberClient, subscription: str) -> Sequence[ReceivedMessage]:
    """What the subscription holds now, without staying for what comes: that would be the
    pipeline's.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The return_immediately flag is deprecated", DeprecationWarning
        )
        request = {"subscription": subscription, "max_messages": 10, "return_immediately": True}
        return reader.pull(request, timeout=CALL_S).received_messages


def _put_back(reader: SubscriberClient, subscription: str, left: Sequence[ReceivedMessage]) -> None:
    """Acknowledges our own empty messages; whatever else waited there goes back at once."""
    ours = [
        message.ack_id
        for message in left
        if json.loads(message.message.data or b"{}") == {"events": []}
    ]
    others = [message.ack_id for message in left if message.ack_id not in ours]
    if ours:
        reader.acknowledge(subscription=subscription, ack_ids=ours)
    if others:
        reader.modify_ack_deadline(
            subscription=subscription, ack_ids=others, ack_deadline_seconds=0
        )


def ask_dead_letters(env: Environment) -> None:
    """Asks nothing: it has no port, and any message would be logged as a rejected event.

    What is rejected before it reads waits in the subscription; if it cannot run it ends, which the
    stack notices.
    """


QUESTIONS: dict[str, Callable[[Environment], None]] = {
    "pubsub": ask_pubsub,
    "bigtable": ask_bigtable,
    "bigquery": ask_bigquery,
    "collector": ask_collector,
    "pipeline": ask_pipeline,
    "dead_letters": ask_dead_letters,
    "predictor": ask_predictor,
    "api": ask_api,
    "store": ask_store,
}


def wait_until_answered(
    part: str, env: Environment, timeout_s: float, check: Callable[[], None] = lambda: None
) -> None:
    """Asks again and again; `check` may end the wait by raising. Raises Silent after `timeout_s`
    seconds.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        check()
        try:
            return QUESTIONS[part](env)
        except NotYet as error:
            if time.monotonic() > deadline:
                raise Silent(f"{part} did not answer within {timeout_s:.0f} s: {error}") from error
        time.sleep(0.1)


class _grpc_errors:
    """Turns a failed call into `NotYet`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GoogleAPICallError | RetryError | grpc.RpcError | ValueError):
            raise NotYet(str(error)) from error


def _refuse_closed_port(address: str) -> None:
    """A gRPC channel to a closed port backs off for seconds; a socket knows at once."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CALL_S).close()
    except OSError as error:
        raise NotYet(f"{address}: {error}") from error


def _get(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=CALL_S) as answer:
            answer.read()
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise NotYet(f"{url}: {error}") from error
