"""Publishes to Pub/Sub and returns once Pub/Sub has confirmed: cheap, bounded in time and in
memory.

The batching `PublisherClient` waits 10 ms for further messages before it sends. Here a message
leaves at once while fewer than `MAX_IN_FLIGHT` calls are under way; under load the messages that
arrive meanwhile leave together in the next call (group commit), each still a message of its own.
The call goes through a bare gRPC stub with the library's own channel and types: the generated
client's `publish` takes twice the time and the processor.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from google.pubsub_v1.types import PublishRequest, PublishResponse, PubsubMessage

from pipeline.runtime.pubsub import publisher_channel

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 2
MAX_CALL_MESSAGES = 1000
MAX_CALL_BYTES = 8 * 1024 * 1024
MAX_WAITING_BYTES = 64 * 1024 * 1024
ATTEMPTS = 3
BACKOFF_S = 0.1

_METHOD = "/google.pubsub.v1.Publisher/Publish"
_CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
_RequestPb = PublishRequest.pb()
_MessagePb = PubsubMessage.pb()

PublishCall = Callable[..., Awaitable[Any]]
"""A gRPC unary call: `await call(request, timeout=seconds, metadata=pairs)`."""


class PublishFailed(Exception):
    """Pub/Sub did not confirm in time.

    The message may have been stored nevertheless: publish it again.
    """


def message(data: bytes, attributes: Mapping[str, str]) -> Any:
    """One Pub/Sub message (the protocol buffer behind `PubsubMessage`)."""
    return _MessagePb(data=data, attributes=attributes)


class Publisher:
    """Publishes to the topics of one process, over one channel that opens at the first publish.

    Args:
        emulator_host: `host:port` of the emulator; None for Google Cloud with the default
            credentials.
        deadline_s: seconds from `publish` to `PublishFailed`.
        call: the Publish call to use in place of a channel's own.
    """

    def __init__(
        self, emulator_host: str | None, deadline_s: float, call: PublishCall | None = None
    ) -> None:
        self._emulator_host = emulator_host
        self._deadline_s = deadline_s
        self._call = call
        self._channel: grpc.aio.Channel | None = None
        self._lanes: dict[str, _Lane] = {}

    async def publish(
        self, topic: str, messages: Sequence[Any], within_s: float | None = None
    ) -> None:
        """Return when Pub/Sub has confirmed every message. They travel in one call: all are stored
        or none.

        Args:
            topic: full resource name.
            messages: of `message`.
            within_s: the deadline, where it is nearer than the publisher's own.

        Raises:
            PublishFailed: not confirmed within the deadline, refused, or too much is waiting
                already.
        """
        lane = self._lanes.get(topic)
        if lane is None:
            lane = self._lanes[topic] = _Lane(topic, self._connect(), self._deadline_s)
        if within_s is None:
            await lane.add(messages)
            return
        try:
            async with asyncio.timeout(within_s):
                await lane.add(messages)
        except TimeoutError:
            raise PublishFailed(f"{topic}: not confirmed within {within_s:g} s") from None

    async def close(self) -> None:
        """Close the channel; calls under way fail."""
        if self._channel is not None:
            await self._channel.close()

    def _connect(self) -> PublishCall:
        if self._call is None:
            self._channel = publisher_channel(self._emulator_host, _CHANNEL_OPTIONS)
            self._call = self._channel.unary_unary(
                _METHOD,
                request_serializer=_RequestPb.SerializeToString,
                response_deserializer=PublishResponse.pb().FromString,
            )
        return self._call


class _Parcel:
    """The messages of one `publish`, on their way."""

    __slots__ = ("confirmed", "expires", "messages", "size")

    def __init__(
        self, messages: Sequence[Any], expires: float, confirmed: asyncio.Future[None]
    ) -> None:
        self.messages = messages
        self.size = sum(message.ByteSize() for message in messages)
        self.expires = expires
        self.confirmed = confirmed

    def settle(self, error: PublishFailed | None) -> None:
        if self.confirmed.done():
            return
        if error is None:
            self.confirmed.set_result(None)
        else:
            self.confirmed.set_exception(error)


class _Lane:
    """The queue to one topic.

    A parcel waits at most the deadline: no call outlives the parcels in it.
    """

    def __init__(self, topic: str, call: PublishCall, deadline_s: float) -> None:
        self._topic = topic
        self._call = call
        self._deadline_s = deadline_s
        self._metadata = (("x-goog-request-params", f"topic={topic}"),)
        self._waiting: deque[_Parcel] = deque()
        self._waiting_bytes = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._wake_scheduled = False

    def add(self, messages: Sequence[Any]) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        parcel = _Parcel(messages, loop.time() + self._deadline_s, loop.create_future())
        if self._waiting_bytes + parcel.size > MAX_WAITING_BYTES:
            parcel.settle(
                PublishFailed(f"{self._topic}: {self._waiting_bytes} bytes are waiting already")
            )
            return parcel.confirmed
        self._waiting.append(parcel)
        self._waiting_bytes += parcel.size
        if not self._wake_scheduled and len(self._calls) < MAX_IN_FLIGHT:
            self._wake_scheduled = True
            loop.call_soon(self._wake)
        return parcel.confirmed

    def _wake(self) -> None:
        self._wake_scheduled = False
        while self._waiting and len(self._calls) < MAX_IN_FLIGHT:
            task = asyncio.create_task(self._deliver(self._take()))
            self._calls.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._wake()

    def _take(self) -> list[_Parcel]:
        """The oldest parcels that fit into one call; at least one."""
        parcels: list[_Parcel] = []
        count = size = 0
        while self._waiting:
            parcel = self._waiting[0]
            count += len(parcel.messages)
            size += parcel.size
            if parcels and (count > MAX_CALL_MESSAGES or size > MAX_CALL_BYTES):
                break
            parcels.append(self._waiting.popleft())
        self._waiting_bytes -= sum(parcel.size for parcel in parcels)
        return parcels

    async def _deliver(self, parcels: list[_Parcel]) -> None:
        request = _RequestPb(
            topic=self._topic, messages=[m for parcel in parcels for m in parcel.messages]
        )
        error: PublishFailed | None = PublishFailed(f"{self._topic}: cancelled")
        try:
            await self._publish(request, parcels[0].expires)
            error = None
        except PublishFailed as failure:
            error = failure
        finally:
            for parcel in parcels:
                parcel.settle(error)

    async def _publish(self, request: Any, expires: float) -> None:
        """Call, and call again after a transient error while attempts and time are left."""
        loop = asyncio.get_running_loop()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._call(
                    request, timeout=max(expires - loop.time(), 0.0), metadata=self._metadata
                )
                return
            except grpc.RpcError as error:
                code, pause_s = _status(error), BACKOFF_S * 2 ** (attempt - 1)
                if (
                    code not in _TRANSIENT
                    or attempt == ATTEMPTS
                    or loop.time() + pause_s >= expires
                ):
                    logger.error("publish failed", extra={"topic": self._topic, "code": code.name})
                    raise PublishFailed(f"{self._topic}: {code.name}") from error
            await asyncio.sleep(pause_s)


def _status(error: grpc.RpcError) -> grpc.StatusCode:
    code = error.code() if hasattr(error, "code") else None
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN
