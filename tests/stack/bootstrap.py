"""Makes what the applications expect to find: topics, subscriptions, tables and views.

On Google Cloud this is Terraform's work; the names come from the same environment, the tables from
the same files. Doing it twice changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from google.api_core.exceptions import AlreadyExists
from google.cloud import bigquery

from pipeline.runtime import bigquery as clients
from pipeline.store.tables import ensure_tables
from sql import schema
from tests.stack.readiness import publisher, subscriber

Environment = Mapping[str, str]
RETENTION = timedelta(days=7)
ACK_DEADLINE_S = 60
NAMES = (
    "FRESHET_EVENTS_TOPIC",
    "FRESHET_DEAD_LETTER_TOPIC",
    "FRESHET_CAMPAIGNS_TOPIC",
    "FRESHET_ANOMALIES_TOPIC",
    "FRESHET_EVENTS_SUBSCRIPTION",
    "FRESHET_DEAD_LETTER_SUBSCRIPTION",
    "FRESHET_BIGTABLE_INSTANCE",
    "FRESHET_DATASET",
)


def bootstrap(env: Environment, parts: set[str]) -> None:
    """Fills those of the three emulators that are among `parts`."""
    if "pubsub" in parts:
        make_topics(env)
    if "bigtable" in parts:
        make_bigtable_tables(env)
    if "bigquery" in parts:
        make_warehouse(env)


def make_topics(env: Environment) -> None:
    """The topics that the pipeline reads, each with its subscription, and those that it publishes
    to.

    A subscription keeps acknowledged messages for 7 days, so that a reader can be wound back after
    a crash.
    """
    project = f"projects/{env['GOOGLE_CLOUD_PROJECT']}"
    with publisher(env) as topics, subscriber(env) as subscriptions:
        for kind in ("EVENTS", "DEAD_LETTER"):
            topic = f"{project}/topics/{env[f'FRESHET_{kind}_TOPIC']}"
            subscription = f"{project}/subscriptions/{env[f'FRESHET_{kind}_SUBSCRIPTION']}"
            _unless_there(topics.create_topic, {"name": topic})
            _unless_there(subscriptions.create_subscription, _subscription(subscription, topic))
        for kind in ("CAMPAIGNS", "ANOMALIES"):
            _unless_there(
                topics.create_topic, {"name": f"{project}/topics/{env[f'FRESHET_{kind}_TOPIC']}"}
            )


def _subscription(name: str, topic: str) -> dict[str, object]:
    return {
        "name": name,
        "topic": topic,
        "retain_acked_messages": True,
        "message_retention_duration": RETENTION,
        "ack_deadline_seconds": ACK_DEADLINE_S,
    }


def _unless_there(
    create: Callable[[dict[str, object]], object], request: dict[str, object]
) -> None:
    try:
        create(request)
    except AlreadyExists:
        return


def make_bigtable_tables(env: Environment) -> None:
    """The tables of `pipeline.store.layout`; the emulator knows every instance by itself."""
    host = env["BIGTABLE_EMULATOR_HOST"]
    with _own_environment("BIGTABLE_EMULATOR_HOST", host), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Connecting to Bigtable emulator", RuntimeWarning)
        ttl_days = env.get("FRESHET_ITEM_TTL_DAYS")
        age = None if ttl_days is None else float(ttl_days)
        ensure_tables(env["GOOGLE_CLOUD_PROJECT"], env["FRESHET_BIGTABLE_INSTANCE"], age)


@contextlib.contextmanager
def _own_environment(name: str, value: str) -> Iterator[None]:
    """Bigtable's admin client learns of an emulator in no other way than from this process'
    environment.
    """
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def make_warehouse(env: Environment) -> None:
    """The dataset with its tables, staging views and marts."""
    client = bigquery_client(env)
    client.create_dataset(env["FRESHET_DATASET"], exists_ok=True)
    for statement in schema.statements(env["FRESHET_DATASET"]):
        client.query_and_wait(statement)


def empty_warehouse(env: Environment) -> None:
    """The dataset's tables without rows, for whoever comes next; tens of times quicker than to make
    them.

    The local BigQuery still knows the insert ids of the last minute: rows need ids that nobody has
    used.
    """
    client = bigquery_client(env)
    for table in schema.tables():
        client.query_and_wait(f"truncate table `{env['FRESHET_DATASET']}.{table.name}`")
    client.close()


def bigquery_client(env: Environment) -> bigquery.Client:
    """A client of the local BigQuery at `env`, whatever this process' own environment says."""
    return clients.bigquery_client(env["GOOGLE_CLOUD_PROJECT"], env["BIGQUERY_EMULATOR_HOST"])


def fresh_names(env: Environment, tag: str = "") -> dict[str, str]:
    """`env` with topics, subscriptions, instance and dataset of new names, which nobody else
    uses."""
    suffix = tag or f"t{uuid.uuid4().hex[:8]}"
    return {
        **env,
        **{name: f"{env[name]}{'_' if 'DATASET' in name else '-'}{suffix}" for name in NAMES},
    }
