"""The messages to Pub/Sub that the accepted events of a request become."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from pipeline.core.events import MAX_EVENTS, Event, encode_message
from pipeline.core.json_limits import MESSAGE_TIMES, check_work

T = TypeVar("T")


def messages_of(events: list[Event], received_at: datetime) -> list[list[Event]]:
    """The events of each message; of most requests one.

    A backfill identifies messages by their arrival: each has its own, by a millisecond.
    """
    messages = [events[:MAX_EVENTS]] if events else []
    for number in range(1, -(-len(events) // MAX_EVENTS)):
        arrived_at = received_at + timedelta(milliseconds=number)
        part = events[number * MAX_EVENTS : (number + 1) * MAX_EVENTS]
        messages.append([msgspec.structs.replace(event, ingest_time=arrived_at) for event in part])
    return messages


def message_body(events: list[Event]) -> bytes:
    """The body of one message to Pub/Sub, within the pipeline's bounds: a small request may stand
    for many events.

    Raises:
        TooMuch: more than `check_work` allows.
    """
    body = encode_message(events)
    check_work(body, "events", MESSAGE_TIMES)
    return body


def parts(whole: list[T], size: int) -> Iterator[list[T]]:
    """Consecutive parts of at most `size`."""
    return (whole[start : start + size] for start in range(0, len(whole), size))
