"""Addresses leave the collector as keys: the same for one network, of no use to whoever lacks the
secret.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request

from functions.collector import Collector
from functions.config import Config
from pipeline.core.privacy.addresses import address_key

SECRET = b"a secret of the tests"
NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)


class Published:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def publish(
        self, topic: str, messages: Sequence[Any], within_s: float | None = None
    ) -> None:
        self.messages += messages


async def attributes(
    secret: bytes | None,
    headers: dict[str, str],
    peer: str | None = "192.0.2.1",
    body: dict[str, Any] | None = None,
) -> dict[str, str]:
    """The attributes of the message that a request becomes."""
    published = Published()
    config = Config(
        "demo-project", "events", "dead-letters", backfill_key="key", address_key=secret
    )
    answer = await Collector(config, published, lambda: NOW, lambda: 0.0, lambda bits: 0)(
        request(headers, peer, body)
    )
    assert answer.status_code == 202
    (message,) = published.messages
    assert b"192.0.2" not in message.SerializeToString()
    return dict(message.attributes)


def request(
    headers: dict[str, str], peer: str | None = "192.0.2.1", body: dict[str, Any] | None = None
) -> Request:
    """A request with one event."""
    event = {"event": "click", "user_id": "u1", "timestamp": NOW.isoformat()}
    content = json.dumps({"events": [event]} | (body or {})).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/events",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": (peer, 40_000) if peer else None,
    }
    return Request(scope, receive)


async def test_a_message_carries_the_key_of_its_clients_network() -> None:
    through_google = await attributes(
        SECRET, {"x-forwarded-for": "203.0.113.9,192.0.2.1"}, peer="169.254.1.1"
    )
    at_once = await attributes(SECRET, {})
    assert through_google["address"] == at_once["address"] == address_key("192.0.2.1", SECRET)


async def test_without_the_secret_a_message_carries_no_address() -> None:
    assert "address" not in await attributes(None, {"x-forwarded-for": "192.0.2.1"})


@pytest.mark.parametrize(
    ("header", "peer"),
    [("", "192.0.2.1"), ("unknown", "192.0.2.1"), (None, "testclient"), (None, None)],
)
async def test_where_the_client_is_not_known_a_message_carries_no_address(
    header: str | None, peer: str | None
) -> None:
    headers = {} if header is None else {"x-forwarded-for": header}
    assert "address" not in await attributes(SECRET, headers, peer)


async def test_a_backfill_carries_no_address_because_it_is_the_senders_and_no_visitors() -> None:
    headers = {"x-forwarded-for": "192.0.2.1", "x-freshet-backfill-key": "key"}
    assert "address" not in await attributes(SECRET, headers, body={"backfill": True})


async def test_a_rate_holds_for_a_whole_network_of_ipv6_and_for_all_that_say_no_address() -> None:
    config = Config(
        "demo-project", "events", "dead-letters", address_requests_per_s=1.0, address_burst=1.0
    )
    collector = Collector(config, Published(), lambda: NOW, lambda: 0.0, lambda bits: 0)
    addresses = [
        "2001:db8::1",
        "[2001:db8::2]:443",
        "::ffff:192.0.2.1",
        "192.0.2.1:80",
        "unknown",
        "_hidden",
    ]
    answers = [await collector(request({"x-forwarded-for": address})) for address in addresses]
    assert [answer.status_code for answer in answers] == [202, 429] * 3
