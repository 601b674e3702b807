"""Senders of requests: one client is one sender, however its address is written."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.runtime.addresses import NO_ADDRESS, sender_of


def scope(address: str, *headers: str) -> dict[str, Any]:
    """An ASGI scope of a request through a front end that saw this address."""
    values = [*headers, address]
    return {
        "client": ("169.254.1.1", 1),
        "headers": [(b"x-forwarded-for", value.encode()) for value in values],
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1:40000", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "::FFFF:C000:0201", True),
        ("192.0.2.1", "[::ffff:192.0.2.1]:443", True),
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::3", "2001:0DB8:0001:0002:0000:0000:0000:0003", True),
        ("2001:db8:1:2::3", "[2001:db8:1:2::4]", True),
        ("2001:db8:1:2::3", "[2001:db8:1:2::3]:443", True),
        ("2001:db8:1:2::3", "2001:db8:1:3::3", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
    ],
)
def test_a_sender_is_an_ipv4_address_or_a_64_bit_network_of_ipv6_however_it_is_written(
    one: str, other: str, same: bool
) -> None:
    assert (sender_of(scope(one)) == sender_of(scope(other))) == same
    assert NO_ADDRESS not in (sender_of(scope(one)), sender_of(scope(other)))


@pytest.mark.parametrize(
    "text", ["", "unknown", "192.0.2.256", "[]", "[::1]:x", "1.2.3.4.5:80", "a" * 10_000]
)
def test_what_is_no_address_is_one_sender(text: str) -> None:
    assert sender_of(scope(text, "192.0.2.1")) == NO_ADDRESS


def test_without_a_peer_there_is_no_address() -> None:
    assert sender_of({"client": None, "headers": []}) == NO_ADDRESS
