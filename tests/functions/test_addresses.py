"""Addresses leave the collector as keys: the same for one network, of no use to whoever lacks the secret."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request

from functions.addresses import address_key, client_address
from functions.collector import Collector
from functions.config import Config

SECRET = b"a secret of the tests"
NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)


def key(address: str | None, secret: bytes = SECRET) -> str:
    found = address_key(address, secret)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.255", "192.0.3.0", False),
        ("2001:db8:1:2::3", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::3", "2001:0DB8:0001:0002:0000:0000:0000:0003", True),
        ("2001:db8:1::", "2001:db8:2::", False),
        ("::ffff:192.0.2.1", "192.0.2.77", True),
        ("::ffff:192.0.2.1", "::ffff:198.51.100.1", False),
        ("32.1.13.184", "2001:db8::", False),  # whose first bytes are those four
    ],
)
def test_a_key_is_of_the_24_bit_network_of_ipv4_and_of_the_48_bit_network_of_ipv6(
    one: str, other: str, same: bool
) -> None:
    assert (key(one) == key(other)) == same


def test_a_key_is_16_hexadecimal_digits() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{16}", key(address)) for address in ("192.0.2.1", "2001:db8::1"))


def test_another_secret_makes_another_key() -> None:
    assert key("192.0.2.1") == key("192.0.2.1") != key("192.0.2.1", b"the next secret")


@pytest.mark.parametrize("text", [None, "", "unknown", "192.0.2", "192.0.2.256", "192.0.2.1:80", "::g", "1" * 10_000])
def test_what_is_no_address_has_no_key(text: str | None) -> None:
    assert address_key(text, SECRET) is None


@pytest.mark.parametrize(
    "forwarded_for",
    [
        ["192.0.2.1"],
        ["10.0.0.1, 192.0.2.1"],
        ["203.0.113.9, nonsense ,,192.0.2.1"],
        ["203.0.113.9", "192.0.2.1"],
        ["203.0.113.9", "198.51.100.1,192.0.2.1 "],
    ],
)
def test_the_client_is_the_last_that_was_appended_whatever_the_client_wrote_before_it(forwarded_for: list[str]) -> None:
    assert client_address(forwarded_for, "169.254.1.1") == "192.0.2.1"


def test_without_the_header_the_client_is_the_peer() -> None:
    assert client_address([], "192.0.2.1") == "192.0.2.1"
    assert client_address([], None) is None


class Published:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def publish(self, topic: str, messages: Sequence[Any], within_s: float | None = None) -> None:
        self.messages += messages


async def attributes(
    secret: bytes | None, headers: dict[str, str], peer: str | None = "192.0.2.1", body: dict[str, Any] | None = None
) -> dict[str, str]:
    """The attributes of the message that a request becomes."""
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
    published = Published()
    config = Config("demo-project", "events", "dead-letters", backfill_key="key", address_key=secret)
    answer = await Collector(config, published, lambda: NOW, lambda: 0.0, lambda bits: 0)(Request(scope, receive))
    assert answer.status_code == 202
    (message,) = published.messages
    assert b"192.0.2" not in message.SerializeToString()
    return dict(message.attributes)


async def test_a_message_carries_the_key_of_its_clients_network() -> None:
    through_google = await attributes(SECRET, {"x-forwarded-for": "203.0.113.9,192.0.2.1"}, peer="169.254.1.1")
    at_once = await attributes(SECRET, {})
    assert through_google["address"] == at_once["address"] == key("192.0.2.1")


async def test_without_the_secret_a_message_carries_no_address() -> None:
    assert "address" not in await attributes(None, {"x-forwarded-for": "192.0.2.1"})


@pytest.mark.parametrize(
    ("header", "peer"), [("", "192.0.2.1"), ("unknown", "192.0.2.1"), (None, "testclient"), (None, None)]
)
async def test_where_the_client_is_not_known_a_message_carries_no_address(header: str | None, peer: str | None) -> None:
    headers = {} if header is None else {"x-forwarded-for": header}
    assert "address" not in await attributes(SECRET, headers, peer)


async def test_a_backfill_carries_no_address_because_it_is_the_senders_and_no_visitors() -> None:
    headers = {"x-forwarded-for": "192.0.2.1", "x-freshet-backfill-key": "key"}
    assert "address" not in await attributes(SECRET, headers, body={"backfill": True})
