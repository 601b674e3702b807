"""The installation, local or on Google Cloud, that an operator's command works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.cloud import bigquery
from google.pubsub_v1 import PublisherClient, SubscriberClient

from pipeline.runtime.bigquery import bigquery_client
from pipeline.runtime.environ import (
    InvalidConfig,
    bigquery_emulator,
    dataset_name,
    project_id,
    pubsub_emulator,
)
from pipeline.runtime.pubsub import publisher_client, subscriber_client


@dataclass(frozen=True)
class Installation:
    """Names of one installation, and clients for it. An emulator of None means Google Cloud."""

    project: str
    dataset: str = "freshet"
    events_topic: str = "events"
    events_subscription: str = "events-pipeline"
    dead_letters_subscription: str = "dead-letters-pipeline"
    pubsub_emulator: str | None = None
    bigquery_emulator: str | None = None

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> Installation:
        """Read the environment; names that are not there are those that Terraform gives.

        Raises:
            InvalidConfig: naming a variable that is missing, or when only some of the emulators are
                named.
        """
        pubsub, warehouse = pubsub_emulator(environ), bigquery_emulator(environ)
        if (pubsub is None) != (warehouse is None):
            raise InvalidConfig(
                "PUBSUB_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST: expected both or neither, got "
                "one,"
                " which would mix the local stack with Google Cloud"
            )
        return Installation(
            project=project_id(environ),
            dataset=dataset_name(environ),
            events_topic=environ.get("FRESHET_EVENTS_TOPIC") or "events",
            events_subscription=environ.get("FRESHET_EVENTS_SUBSCRIPTION") or "events-pipeline",
            dead_letters_subscription=environ.get("FRESHET_DEAD_LETTER_SUBSCRIPTION")
            or "dead-letters-pipeline",
            pubsub_emulator=pubsub,
            bigquery_emulator=warehouse,
        )

    def topic(self) -> str:
        """The full name of the events topic."""
        return f"projects/{self.project}/topics/{self.events_topic}"

    def subscription(self, name: str) -> str:
        """The full name of a subscription; a full name stays as it is."""
        return name if "/" in name else f"projects/{self.project}/subscriptions/{name}"

    def table(self, name: str) -> str:
        """The full name of a table or view."""
        return f"{self.project}.{self.dataset}.{name}"

    def bigquery(self) -> bigquery.Client:
        """A client of BigQuery, or of the emulator, which needs no credentials."""
        return bigquery_client(self.project, self.bigquery_emulator)

    def publisher(self) -> PublisherClient:
        """A client that publishes, to be used in a `with` block."""
        return publisher_client(self.pubsub_emulator)

    def subscriber(self) -> SubscriberClient:
        """A client for subscriptions, to be used in a `with` block."""
        return subscriber_client(self.pubsub_emulator)
