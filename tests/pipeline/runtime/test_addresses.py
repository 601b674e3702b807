"""Addresses name their sender, however they are written; hashed, they tell nothing to whoever lacks the secret."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pipeline.runtime.addresses import NO_ADDRESS, address_key, client_address, sender_of

SECRET = b"a secret of the tests"


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


@pytest.mark.parametrize(
    "text", [None, "", "unknown", "192.0.2", "192.0.2.256", "192.0.2.1:", "[192.0.2.1", "::g", "1" * 10_000]
)
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


def scope(address: str, *headers: str) -> dict[str, Any]:
    """An ASGI scope of a request through a front end that saw this address."""
    values = [*headers, address]
    return {"client": ("169.254.1.1", 1), "headers": [(b"x-forwarded-for", value.encode()) for value in values]}


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


@pytest.mark.parametrize("text", ["", "unknown", "192.0.2.256", "[]", "[::1]:x", "1.2.3.4.5:80", "a" * 10_000])
def test_what_is_no_address_is_one_sender(text: str) -> None:
    assert sender_of(scope(text, "192.0.2.1")) == NO_ADDRESS


def test_without_a_peer_there_is_no_address() -> None:
    assert sender_of({"client": None, "headers": []}) == NO_ADDRESS
