"""Clients of Pub/Sub: Google Cloud's or the emulator's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import (
    PublisherGrpcAsyncIOTransport,
    PublisherGrpcTransport,
)
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

_NO_LIMIT = [("grpc.max_receive_message_length", -1)]
"""As Google's own channel has it; a bare one refuses pulls of more than 4 MB."""


def publisher_client(emulator: str | None) -> PublisherClient:
    """A client for topics, to be used in a `with` block.

    Args:
        emulator: the emulator's `host:port`; None: Google Cloud.
    """
    if emulator is None:
        return PublisherClient()
    return PublisherClient(
        transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator))
    )


def subscriber_client(emulator: str | None) -> SubscriberClient:
    """A client for subscriptions, to be used in a `with` block.

    Args:
        emulator: the emulator's `host:port`; None: Google Cloud.
    """
    if emulator is None:
        return SubscriberClient()
    channel = grpc.insecure_channel(emulator, options=_NO_LIMIT)
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


def publisher_channel(
    emulator: str | None, options: Sequence[tuple[str, Any]] = ()
) -> grpc.aio.Channel:
    """An asynchronous channel for calls to Pub/Sub's publisher.

    Args:
        emulator: the emulator's `host:port`; None: Google Cloud with the default credentials.
        options: gRPC's channel arguments.
    """
    if emulator is None:
        return PublisherGrpcAsyncIOTransport.create_channel(options=options)
    return grpc.aio.insecure_channel(emulator, options=options)
