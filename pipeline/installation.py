"""Which Freshet an operator's command talks to: the one that the environment names, local or on Google Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport


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
            ValueError: naming a variable that is missing, or when only some of the emulators are named.
        """
        emulators = [environ.get(name) or None for name in ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")]
        if len({emulator is None for emulator in emulators}) > 1:
            raise ValueError(
                "PUBSUB_EMULATOR_HOST and BIGQUERY_EMULATOR_HOST: expected both or neither, got one,"
                " which would mix the local stack with Google Cloud"
            )
        project = environ.get("GOOGLE_CLOUD_PROJECT")
        if not project:
            raise ValueError("GOOGLE_CLOUD_PROJECT: expected a project id, got nothing")
        return Installation(
            project=project,
            dataset=environ.get("FRESHET_DATASET") or "freshet",
            events_topic=environ.get("FRESHET_EVENTS_TOPIC") or "events",
            events_subscription=environ.get("FRESHET_EVENTS_SUBSCRIPTION") or "events-pipeline",
            dead_letters_subscription=environ.get("FRESHET_DEAD_LETTER_SUBSCRIPTION") or "dead-letters-pipeline",
            pubsub_emulator=emulators[0],
            bigquery_emulator=emulators[1],
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
        """A client of BigQuery, or of the emulator, which asks nobody who they are."""
        if self.bigquery_emulator is None:
            return bigquery.Client(project=self.project)
        return bigquery.Client(
            project=self.project,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=self.bigquery_emulator),
        )

    def publisher(self) -> PublisherClient:
        """A client that publishes, to be used in a `with` block."""
        if self.pubsub_emulator is None:
            return PublisherClient()
        return PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(self.pubsub_emulator)))

    def subscriber(self) -> SubscriberClient:
        """A client for subscriptions, to be used in a `with` block."""
        if self.pubsub_emulator is None:
            return SubscriberClient()
        return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(self.pubsub_emulator)))
