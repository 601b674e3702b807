"""Dead letters: the input whole, whatever its bytes, with the reason it was refused for."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from pipeline.core.dead_letters import DeadLetter
from pipeline.core.invalid_event import InvalidEvent

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def test_a_dead_letter_of_text_keeps_the_text_the_reason_and_the_attributes() -> None:
    dead_letter = DeadLetter.of(
        '{"ü": 1}'.encode(), InvalidEvent("body", "expected events", 1), "pipeline", NOW, {"a": "b"}
    )
    assert dead_letter.row() == {
        "received_at": "2025-01-01T00:00:00.000Z",
        "source": "pipeline",
        "field": "body",
        "reason": "expected events",
        "payload": '{"ü": 1}',
        "encoding": "utf-8",
        "attributes": '{"a":"b"}',
    }


def test_bytes_that_are_no_text_are_kept_in_base64() -> None:
    dead_letter = DeadLetter.of(
        b"\xff\x00\xfe", InvalidEvent("body", "expected JSON"), "pipeline", NOW, {}
    )
    assert (
        dead_letter.encoding == "base64"
        and base64.b64decode(dead_letter.payload) == b"\xff\x00\xfe"
    )


def test_a_message_of_the_dead_letters_topic_brings_its_reason_as_attributes() -> None:
    attributes = {
        "source": "collector",
        "field": "event",
        "reason": "required",
        "received_at": "2024-12-31T23:00:00Z",
    }
    dead_letter = DeadLetter.received(b"{}", attributes, NOW)
    assert (dead_letter.source, dead_letter.field, dead_letter.reason, dead_letter.payload) == (
        "collector",
        "event",
        "required",
        "{}",
    )
    assert dead_letter.received_at == "2024-12-31T23:00:00.000Z"
    assert json.loads(dead_letter.attributes) == attributes


@pytest.mark.parametrize(
    "received_at", [{}, {"received_at": ""}, {"received_at": "soon"}, {"received_at": "2024-12-31"}]
)
def test_a_message_without_attributes_or_without_a_time_is_a_dead_letter_too(
    received_at: dict[str, str],
) -> None:
    dead_letter = DeadLetter.received(b"x", received_at, NOW)
    assert dead_letter.received_at == "2025-01-01T00:00:00.000Z"
    assert (dead_letter.source, dead_letter.field, dead_letter.reason) == (
        "unknown",
        "unknown",
        "unknown",
    )
